/** A client without storage: the daemon keeps positions under named consumers (docs/protocol/rpc.md#7). */
import { fromBase64, toBase64 } from "./bytes.js";
import { abortable, closed, PandaError } from "./errors.js";
import { signerOf } from "./key.js";
import { loginByKey, loginByToken, type KeyLogin } from "./login.js";
import { Rpc, type Hello, type Note, type Params, type SocketConstructor } from "./rpc.js";

export { PandaError } from "./errors.js";

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

export async function connectClient(url: string, options: ClientOptions): Promise<Client> {
  const rpc = await abortable(Rpc.open(url, options.WebSocket), options.signal);
  try {
    await abortable(login(rpc, url, options), options.signal);
  } catch (error) {
    rpc.close();
    throw error;
  }
  return new Client(rpc);
}

async function login(rpc: Rpc, url: string, options: ClientOptions): Promise<Hello> {
  if ("token" in options) return loginByToken(rpc, options.token);
  const { key, node, invite } = options;
  return loginByKey(rpc, url, await signerOf(key), { node, invite });
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

  call<T = unknown>(method: string, params: Params = {}): Promise<T> {
    return this.rpc.call<T>(method, params);
  }

  topic(name: string): ClientTopic {
    return new ClientTopic(this, name);
  }

  close(): void {
    this.rpc.close();
  }
}

export interface Published {
  id: string;
  seq: number;
}

export class ClientTopic {
  constructor(
    readonly client: Client,
    readonly name: string,
  ) {}

  /** Publishes with the node's key. The message is on the node's disk when this resolves. */
  publish(content: Content, options: { request?: string; log?: string } = {}): Promise<Published> {
    const message = { content: contentOf(content), ...options };
    return this.client.call("publish", { topic: this.name, message });
  }

  /** Publishes all of these messages or none. */
  async publishAll(contents: Content[]): Promise<Published[]> {
    const messages = contents.map((content) => ({ content: contentOf(content) }));
    const params = { topic: this.name, messages };
    return (await this.client.call<{ published: Published[] }>("publish.batch", params)).published;
  }

  /** Messages as they arrive. With a consumer the node remembers which ones were acknowledged. */
  async stream(
    options: { consumer?: string; takeOver?: boolean; start?: unknown } = {},
  ): Promise<ClientStream> {
    const { consumer, takeOver = false, start } = options;
    const params = {
      topics: [this.name],
      ...(consumer === undefined ? {} : { consumer: { name: consumer, take_over: takeOver } }),
      ...(start === undefined ? {} : { start }),
    };
    return ClientStream.open(this.client, params);
  }
}

export class ClientStream implements AsyncIterableIterator<ClientMessage> {
  #subscription = 0;
  #waiting: ClientMessage[] = [];
  #paid: { left: number; bytes: number }[] = [];
  #ended: PandaError | undefined;
  #more: () => void = () => undefined;

  private constructor(readonly client: Client) {}

  static async open(client: Client, params: Params): Promise<ClientStream> {
    const stream = new ClientStream(client);
    const listen = (note: Note): void => stream.#take(note);
    stream.#subscription = await client.rpc.subscribe("messages.subscribe", params, listen);
    void client.closed.then((error) => stream.#end(error));
    return stream;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<ClientMessage, undefined>> {
    while (this.#waiting.length === 0) {
      if (this.#ended !== undefined) throw this.#ended;
      await new Promise<void>((resolve) => (this.#more = resolve));
    }
    const value = this.#waiting.shift()!;
    this.#give();
    return { value, done: false };
  }

  async return(): Promise<IteratorResult<ClientMessage, undefined>> {
    await this.close();
    return { value: undefined, done: true };
  }

  /** Ends the subscription. Messages that were not acknowledged are redelivered. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#end(closed("the stream was closed"));
    this.client.rpc.forget(this.#subscription);
    await this.client.call("subscription.end", { subscription: this.#subscription });
  }

  async settle(method: string, params: Params): Promise<void> {
    await this.client.call(method, { subscription: this.#subscription, ...params });
  }

  /** Grants credit for a notification once all of its messages are taken. */
  #give(): void {
    const first = this.#paid[0];
    if (first === undefined) return;
    first.left -= 1;
    if (first.left > 0) return;
    this.#paid.shift();
    this.client.rpc.tell("messages.credit", {
      subscription: this.#subscription,
      bytes: first.bytes,
    });
  }

  #take({ method, params }: Note): void {
    if (method === "ended") {
      const { message, data } = params as unknown as { message: string; data: { code?: string } };
      return this.#end(new PandaError(data.code ?? "closed", message));
    }
    if (method !== "messages") return;
    const { messages, bytes } = params as unknown as { messages: Fields[]; bytes: number };
    this.#waiting.push(...messages.map((fields) => new ClientMessage(this, fields)));
    if (messages.length > 0) this.#paid.push({ left: messages.length, bytes });
    this.#more();
  }

  #end(error: PandaError): void {
    this.#ended ??= error;
    this.#more();
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
  ack(): Promise<void> {
    return this.stream.settle("consumer.ack", { deliveries: [this.#delivery()] });
  }

  /** Asks for redelivery. */
  nak(delayMs?: number): Promise<void> {
    const delay = delayMs === undefined ? {} : { delay_ms: delayMs };
    return this.stream.settle("consumer.nak", { delivery: this.#delivery(), ...delay });
  }

  /** Makes the message a dead letter: it cannot be handled. */
  term(reason = ""): Promise<void> {
    return this.stream.settle("consumer.term", { delivery: this.#delivery(), reason });
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
  return { json: content };
}
