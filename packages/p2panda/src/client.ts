/** A client without storage: the daemon keeps positions under named consumers (docs/protocol/rpc.md#7). */
import { fromBase64, toBase64 } from "./bytes.js";
import { abortable, checkSignal, PandaError, typed, type NotKept } from "./errors.js";
import { signerOf } from "./key.js";
import { loginByKey, loginByToken, type KeyLogin } from "./login.js";
import {
  endedWith,
  Rpc,
  type Hello,
  type Note,
  type Params,
  type SocketConstructor,
} from "./rpc.js";
import { checkValue } from "./value.js";

export { PandaError, type NotKept } from "./errors.js";

/** A text, bytes, or any JSON value. */
export type Content = string | Uint8Array | object | number | boolean | null;

interface Connecting {
  WebSocket?: SocketConstructor;
  signal?: AbortSignal;
}
/** A token of the node's configuration, or a key that is listed there or comes with an invite. */
export type ClientOptions =
  | (Connecting & { token: string })
  | (Connecting & KeyLogin & { key: CryptoKeyPair });

/** Connects to a node by a token or a key. */
export async function connectClient(url: string, options: ClientOptions): Promise<Client> {
  const { signal, token, key } = (options ?? {}) as Connecting & { token?: string; key?: object };
  if ((token === undefined) === (key === undefined)) {
    throw new PandaError("invalid", "a client logs in by a token or by a key", {
      hint: "connectClient(url, { token }), or with `key`",
    });
  }
  const rpc = await Rpc.open(url, options.WebSocket, signal);
  try {
    await abortable(
      typed(() => login(rpc, url, options)),
      signal,
    );
  } catch (error) {
    rpc.close();
    throw error;
  }
  return new Client(rpc);
}

async function login(rpc: Rpc, url: string, options: ClientOptions): Promise<Hello> {
  if ("token" in options && options.token !== undefined) return loginByToken(rpc, options.token);
  if (!("key" in options)) throw new PandaError("invalid", "there is no key");
  const { key, node, invite } = options;
  return loginByKey(rpc, url, await signerOf(key), { node, invite });
}

/** For every call: an aborted call waits no longer; the node may have done it. */
export interface Abortable {
  signal?: AbortSignal | undefined;
}

export class Client {
  constructor(readonly rpc: Rpc) {}

  get hello(): Hello {
    return this.rpc.hello;
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<PandaError> {
    return this.rpc.closed;
  }

  call<T = unknown>(
    method: string,
    params: Params = {},
    { signal }: Abortable = {},
  ): Promise<T> {
    return this.rpc.call<T>(method, params, signal);
  }

  topic(name: string): ClientTopic {
    return new ClientTopic(this, name);
  }

  /** Events of the node, such as `peer-found`, `rejected` and `not-kept`. */
  events({ signal }: Abortable = {}): Promise<ClientEvents> {
    return ClientEvents.open(this, signal);
  }

  /** Where an operation is, and which peers have it. */
  trace(id: string, options: Abortable = {}): Promise<Trace> {
    return this.call("trace", { id }, options);
  }

  /** The teams that the node knows. They need the scope `space:read`, changes of them `space:admin`. */
  async teams(options: Abortable = {}): Promise<Team[]> {
    return (await this.call<{ teams: Team[] }>("team.list", {}, options)).teams;
  }

  /** Makes a team that the person of the node manages. */
  createTeam(name = "", options: Abortable = {}): Promise<Team> {
    return this.call("team.create", { name }, options);
  }

  /** Adds a device, person or team to a team; an owner manages it. */
  async addToTeam(
    team: string,
    member: string,
    role: Role = "editor",
    options: Abortable = {},
  ): Promise<void> {
    await this.call("team.add", { team, member, role }, options);
  }

  async removeFromTeam(team: string, member: string, options: Abortable = {}): Promise<void> {
    await this.call("team.remove", { team, member }, options);
  }

  close(): void {
    this.rpc.close();
  }
}

export type Role = "owner" | "editor" | "reader" | "courier";

/** A team, as far as the node knows. */
export interface Team {
  team: string;
  name?: string;
  /** Whether the node may change it. */
  manages: boolean;
  /** Devices, and with `group` persons and teams. */
  members: { member: string; group?: boolean; role: Role }[];
  /** Aliases of the spaces that it is in, and those that have not been told of its changes yet. */
  spaces: string[];
  pending?: string[];
}

export interface Sent {
  id: string;
  seq: number;
}

export interface Published extends Sent {
  /** Peers whose transport has acknowledged it. */
  sent_to: string[];
  /** Peers that report having stored it. */
  held_by: string[];
  /** Whether as many peers have stored it as the call was told to wait for. */
  waited: boolean;
  /** Peers that do not keep it. If too few others are left, the call waits no longer. */
  not_kept: NotKept[];
}

/** Counts of a topic. The answer has more fields. */
export interface TopicStatus {
  topic: string;
  logs: number;
  operations: number;
  bytes: number;
  waiting: number;
  rejected: Record<string, number>;
  forks: number;
  blocked: number;
  consumers: string[];
  /** Logs of which a peer keeps nothing new. */
  not_kept: NotKept[];
}

/** Where an operation is. The answer has more fields. */
export interface Trace {
  id: string;
  topic: string;
  author: string | null;
  seq: number | null;
  state: string;
  reason: string | null;
  sent_to: string[];
  stored_by: string[];
  not_kept: NotKept[];
}

export interface ClientPublishOptions extends Abortable {
  /** The same message with the same id is stored once. */
  request?: string;
  log?: string;
  /** Waits until so many peers have stored it; `waited` says whether they have. */
  stored?: number;
  timeoutMs?: number;
}

export class ClientTopic {
  constructor(
    readonly client: Client,
    readonly name: string,
  ) {}

  /** Publishes with the node's key. The message is on the node's disk when this resolves. */
  async publish(content: Content, options: ClientPublishOptions = {}): Promise<Published> {
    const { signal, stored, timeoutMs = 30_000, ...rest } = options;
    const message = { content: contentOf(content), ...rest };
    const wait = stored === undefined ? {} : { wait: { stored, timeout_ms: timeoutMs } };
    return this.client.call("publish", { topic: this.name, message, ...wait }, { signal });
  }

  /** Publishes all of these messages or none. */
  async publishAll(contents: Content[], options: Abortable = {}): Promise<Sent[]> {
    const messages = contents.map((content) => ({ content: contentOf(content) }));
    const params = { topic: this.name, messages };
    const done = await this.client.call<{ published: Sent[] }>("publish.batch", params, options);
    return done.published;
  }

  status(options: Abortable = {}): Promise<TopicStatus> {
    return this.client.call("topic.status", { topic: this.name }, options);
  }

  /**
   * Messages as they arrive. With a consumer the node remembers which ones were acknowledged. Leave the loop
   * or call `close`: only then the consumer is free for another reader. The signal also ends the iteration.
   */
  async stream(
    options: Abortable & { consumer?: string; takeOver?: boolean; start?: unknown } = {},
  ): Promise<ClientStream> {
    const { consumer, takeOver = false, start, signal } = options;
    if (consumer === undefined && takeOver) {
      const hint = "stream({ consumer })";
      throw new PandaError("invalid", "`takeOver` needs a consumer", { hint });
    }
    const params = {
      topics: [this.name],
      ...(consumer === undefined ? {} : { consumer: { name: consumer, take_over: takeOver } }),
      ...(start === undefined ? {} : { start }),
    };
    return ClientStream.open(this.client, params, signal);
  }
}

/** What a subscription gives. */
abstract class Subscription<T> implements AsyncIterableIterator<T, undefined> {
  protected number = 0;
  #waiting: T[] = [];
  #ended: PandaError | undefined;
  #isClosed = false;
  #wakes = new Set<() => void>();

  protected constructor(
    readonly client: Client,
    readonly signal: AbortSignal | undefined,
  ) {}

  /** Opens it; an aborted one is also closed at the node. */
  protected async begin(method: string, params: Params): Promise<void> {
    const { rpc } = this.client;
    const listen = (note: Note): void => {
      if (note.method === "ended") this.#end(endedWith(note));
      else this.take(note);
    };
    this.number = await rpc.subscribe(method, params, listen, this.signal);
    void rpc.closed.then((error) => this.#end(error));
    this.signal?.addEventListener("abort", this.#abort, { once: true });
    if (this.signal?.aborted === true) this.#abort();
  }

  protected abstract take(note: Note): void;

  protected give(values: T[]): void {
    if (this.#isClosed) return;
    this.#waiting.push(...values);
    this.#wake();
  }

  /** A value is taken. */
  protected taken(): void {
    // Only messages have credit.
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    while (this.#waiting.length === 0) {
      checkSignal(this.signal);
      if (this.#isClosed) return { value: undefined, done: true };
      if (this.#ended !== undefined) throw this.#ended;
      await new Promise<void>((resolve) => this.#wakes.add(resolve));
    }
    const value = this.#waiting.shift()!;
    this.taken();
    return { value, done: false };
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    await this.close();
    return { value: undefined, done: true };
  }

  /** Ends the subscription, and an iteration over it. What was not acknowledged is redelivered. */
  async close(options: Abortable = {}): Promise<void> {
    if (!this.#stop()) return;
    const params = { subscription: this.number };
    // The node is told in any case.
    const told = this.client.call("subscription.end", params).catch((error: PandaError) => {
      if (!OVER.has(error.code)) throw error;
    });
    await abortable(told, options.signal);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  readonly #abort = (): void => {
    if (this.#stop()) this.client.rpc.end(this.number);
  };

  /** Whether the node has to be told. */
  #stop(): boolean {
    const isOpen = !this.#isClosed && this.#ended === undefined;
    this.#isClosed = true;
    this.#waiting = [];
    this.signal?.removeEventListener("abort", this.#abort);
    this.client.rpc.forget(this.number);
    this.#wake();
    return isOpen;
  }

  #end(error: PandaError): void {
    this.#ended ??= error;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakes) wake();
    this.#wakes.clear();
  }
}

/** The node, or the connection, has ended it already. */
const OVER = new Set(["closed", "unknown-subscription"]);

export class ClientStream extends Subscription<ClientMessage> {
  #paid: { left: number; bytes: number }[] = [];

  static async open(
    client: Client,
    params: Params,
    signal?: AbortSignal,
  ): Promise<ClientStream> {
    const stream = new ClientStream(client, signal);
    await stream.begin("messages.subscribe", params);
    return stream;
  }

  async settle(method: string, params: Params, options: Abortable = {}): Promise<void> {
    if (this.isClosed) throw new PandaError("closed", "the stream was closed");
    await this.client.call(method, { subscription: this.number, ...params }, options);
  }

  /** Grants credit for a notification once all of its messages are taken. */
  protected override taken(): void {
    const first = this.#paid[0];
    if (first === undefined) return;
    first.left -= 1;
    if (first.left > 0) return;
    this.#paid.shift();
    const params = { subscription: this.number, bytes: first.bytes };
    this.client.rpc.tell("messages.credit", params);
  }

  protected override take({ method, params }: Note): void {
    if (method !== "messages") return;
    const { messages, bytes } = params as unknown as { messages: Fields[]; bytes: number };
    if (messages.length > 0) this.#paid.push({ left: messages.length, bytes });
    this.give(messages.map((fields) => new ClientMessage(this, fields)));
  }
}

/** Something that happened at the node. */
export interface NodeEvent {
  event: string;
  /** Alias of the topic concerned. */
  topic?: string;
  /** The node or author concerned. */
  peer?: string;
  /** For people. */
  detail?: string;
}

export class ClientEvents extends Subscription<NodeEvent> {
  static async open(client: Client, signal?: AbortSignal): Promise<ClientEvents> {
    const events = new ClientEvents(client, signal);
    await events.begin("events.subscribe", {});
    return events;
  }

  protected override take({ method, params }: Note): void {
    if (method !== "event") return;
    const { subscription: _, ...event } = params;
    this.give([event as unknown as NodeEvent]);
  }
}

export interface Fields {
  id: string;
  author: string;
  seq: number;
  offset: number;
  timestamp: number;
  text?: string;
  bytes?: string;
  cbor?: string;
  delivery?: number;
  count?: number;
}

export class ClientMessage {
  constructor(
    readonly stream: ClientStream,
    readonly fields: Fields,
  ) {}

  get id(): string {
    return this.fields.id;
  }

  get text(): string | undefined {
    return this.fields.text;
  }

  get bytes(): Uint8Array | undefined {
    return this.fields.bytes === undefined ? undefined : fromBase64(this.fields.bytes);
  }

  /** Acknowledges the message. The acknowledgement is on the node's disk when this resolves. */
  ack(options: Abortable = {}): Promise<void> {
    return this.stream.settle("consumer.ack", { deliveries: [this.#delivery()] }, options);
  }

  /** Asks for redelivery. */
  nak(delayMs?: number, options: Abortable = {}): Promise<void> {
    const delay = delayMs === undefined ? {} : { delay_ms: delayMs };
    return this.stream.settle("consumer.nak", { delivery: this.#delivery(), ...delay }, options);
  }

  /** Makes the message a dead letter: it cannot be handled. */
  term(reason = "", options: Abortable = {}): Promise<void> {
    return this.stream.settle("consumer.term", { delivery: this.#delivery(), reason }, options);
  }

  /** Says that the message is still being handled, which postpones redelivery. */
  progress(options: Abortable = {}): Promise<void> {
    return this.stream.settle("consumer.progress", { deliveries: [this.#delivery()] }, options);
  }

  #delivery(): number {
    const { delivery } = this.fields;
    if (delivery === undefined) {
      throw new PandaError("invalid", "it was read without a consumer", {
        hint: "stream({ consumer })",
      });
    }
    return delivery;
  }
}

function contentOf(content: Content): Params {
  if (typeof content === "string") return { text: content };
  if (content instanceof Uint8Array) return { bytes: toBase64(content) };
  checkValue(content, "json");
  return { json: content };
}
