import { inThread, inWorker, type Backend } from "./backend.js";
import {
  Engine,
  type Event,
  type PublishOptions,
  type Receipt as Kept,
  type Shown,
  type Status,
} from "./engine.js";
import { abortable, PandaError } from "./errors.js";
import { IdbStore } from "./idb.js";
import { checkPlatform } from "./key.js";
import type { SocketConstructor } from "./rpc.js";
import type { State } from "./rows.js";
import { MemoryStore } from "./store.js";

/** Messages that are read at once. */
const PAGE = 128;
/** Milliseconds between two questions who has received an operation. */
const SENT_EVERY = 1_000;

export interface ConnectOptions {
  /** A key of WebCrypto. Without one the page makes a key that nobody can read, and keeps it. */
  key?: CryptoKeyPair;
  /** Of the storage; tabs with the same name are one author. */
  name?: string;
  /** A token of the node's configuration, instead of proving the key. */
  token?: string;
  /** Id of the node: nobody else is taken for it. */
  node?: string;
  /** `memory` keeps nothing. The default is IndexedDB where there is one. */
  storage?: "indexeddb" | "memory";
  /** Where there is none, such as in Node 20. */
  WebSocket?: SocketConstructor;
  /** Where the worker is, for who moves it. */
  worker?: URL | Worker;
  signal?: AbortSignal;
}

export type { PublishOptions, Status };

/**
 * Opens what the page keeps, and stays connected to a node by itself. It resolves without a connection:
 * everything works offline.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Panda> {
  checkPlatform();
  const address = addressOf(url);
  const { signal } = options;
  const opening = backendOf(address, options);
  const backend = await abortable(opening, signal).catch((error: unknown) => {
    // Nobody will close it.
    void opening
      .then((backend) => backend.call("close").finally(() => backend.end()))
      .catch(() => undefined);
    throw error;
  });
  const isPersisted = await promised(options.storage, "persisted");
  return new Panda(
    backend,
    await backend.call("identity"),
    await backend.call("status"),
    isPersisted,
  );
}

async function backendOf(url: string, options: ConnectOptions): Promise<Backend> {
  const { name = "default", token, node, key } = options;
  const has = typeof indexedDB !== "undefined";
  const storage = options.storage ?? (has ? "indexeddb" : "memory");
  if (typeof Worker === "undefined" || options.WebSocket !== undefined) {
    const store =
      storage === "memory" ? new MemoryStore() : await IdbStore.open(`p2panda ${name}`);
    const shared = storage === "memory" ? undefined : `p2panda ${name}`;
    const settings = { url, token, node, key, WebSocket: options.WebSocket };
    return inThread(await Engine.start(store, settings, shared));
  }
  return inWorker(workerOf(options.worker), { url, name, storage, token, node, key });
}

function workerOf(worker: URL | Worker | undefined): Worker {
  if (worker instanceof Worker) return worker;
  // Written so that bundlers see it.
  if (worker === undefined)
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return new Worker(worker, { type: "module" });
}

function addressOf(url: string): string {
  try {
    const address = new URL(url);
    if (address.protocol === "ws:" || address.protocol === "wss:") return address.href;
  } catch {
    // It is said below.
  }
  throw new PandaError("invalid", `${url} is no address of a node`, {
    hint: "ws://HOST:PORT/rpc",
  });
}

/** Whether the browser promises to keep what is stored; undefined where it does not say. */
async function promised(
  storage: ConnectOptions["storage"],
  question: "persist" | "persisted",
): Promise<boolean | undefined> {
  if (storage === "memory" || globalThis.navigator?.storage?.[question] === undefined)
    return undefined;
  try {
    return await navigator.storage[question]();
  } catch {
    return undefined;
  }
}

/** A page's place in the network: its key, its storage and its node. */
export class Panda {
  #status: Status;
  #faults = new Set<(error: PandaError) => void>();
  #changes = new Set<(status: Status) => void>();
  #topics = new Map<string, Topic>();
  #isPersisted: boolean | undefined;
  readonly #wake = (): void => void this.backend.call("wake").catch(() => undefined);

  constructor(
    readonly backend: Backend,
    /** Public key of this page. */
    readonly id: string,
    status: Status,
    isPersisted: boolean | undefined,
  ) {
    this.#isPersisted = isPersisted;
    this.#status = status;
    backend.listen((event) => this.#hear(event));
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  /** How things are: offline, behind, unsent, the last error. */
  get status(): Status {
    return this.#status;
  }

  /** Whether the browser promised to keep what is stored; undefined where it does not say. */
  get isPersisted(): boolean | undefined {
    return this.#isPersisted;
  }

  /** Asks the browser to keep what is stored. Some ask the person, and answer when it does. */
  async persist(): Promise<boolean | undefined> {
    this.#isPersisted = (await promised(undefined, "persist")) ?? this.#isPersisted;
    return this.#isPersisted;
  }

  onStatus(listener: (status: Status) => void): () => void {
    this.#changes.add(listener);
    return () => this.#changes.delete(listener);
  }

  /** Hears what went wrong: a node that lies, storage that is full. */
  onError(listener: (error: PandaError) => void): () => void {
    this.#faults.add(listener);
    return () => this.#faults.delete(listener);
  }

  /** A topic: 64 hexadecimal digits that are a secret of its members. */
  topic(topic: string): Topic {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const made = new Topic(this, topic);
    this.#topics.set(topic, made);
    return made;
  }

  /** The topic of a ticket, as `panda topic invite` prints it. */
  async join(ticket: string): Promise<Topic> {
    const { topic } = await this.backend.call<{ topic: string }>("ticket", ticket);
    return this.topic(topic);
  }

  /** Indices of messages in the order that everybody sees who has the same messages. */
  order(messages: Pick<Message, "id" | "timestamp" | "after">[]): Promise<number[]> {
    const fields = messages.map(({ id, timestamp, after }) => ({ id, timestamp, after }));
    return this.backend.call("order", fields);
  }

  async close(): Promise<void> {
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    await this.backend.call("close");
    for (const topic of this.#topics.values())
      topic.hear({ kind: "status", status: this.#status });
    this.backend.end();
  }

  /** Deletes the key, the messages and everything else of this name. It cannot be undone. */
  async wipe(): Promise<void> {
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    await this.backend.call("wipe");
    this.backend.end();
  }

  #hear(event: Event): void {
    if (event.kind === "status") {
      this.#status = event.status;
      for (const listener of this.#changes) listener(event.status);
    } else if (event.kind === "fault") {
      for (const listener of this.#faults) listener(PandaError.of(event.error));
    }
    for (const topic of this.#topics.values()) topic.hear(event);
  }
}

export interface StreamOptions {
  /** Name under which the position is kept in this browser. */
  consumer?: string;
  /** `resume` goes on behind what was acknowledged; the default with a consumer. */
  start?: "resume" | "beginning" | "now";
  signal?: AbortSignal;
}

/** Somebody said something to those who are here. */
export interface Heard {
  author: string;
  timestamp: string;
  value: unknown;
}

/** What became of a message of this page. */
export interface StateChange {
  request: string;
  id: string;
  state: State;
  reason: string | undefined;
}

/** A topic of a node. */
export class Topic {
  #opened: Promise<void> | undefined;
  #waiting = new Set<() => void>();
  #heard = new Set<(heard: Heard) => void>();
  #states = new Set<(change: StateChange) => void>();

  constructor(
    readonly panda: Panda,
    readonly id: string,
  ) {}

  /** Stores a message here; it is sent once the node is there. */
  async publish(
    value: unknown,
    options: PublishOptions & { signal?: AbortSignal } = {},
  ): Promise<Receipt> {
    await this.#open();
    const { signal, ...rest } = options;
    const kept = this.panda.backend.call<Kept>("publish", this.id, value, rest);
    return new Receipt(this, await abortable(kept, signal));
  }

  /** Messages as they come, those that are stored first. */
  async *stream(options: StreamOptions = {}): AsyncGenerator<Message, void, void> {
    await this.#open();
    const { signal, consumer } = options;
    const { backend } = this.panda;
    let place = await this.#begin(options);
    for (;;) {
      const grown = this.#grown();
      const page = await abortable(
        backend.call<{ messages: Shown[]; place: number }>("read", this.id, place, PAGE),
        signal,
      );
      for (const shown of page.messages) {
        if (signal?.aborted === true) await abortable(Promise.resolve(), signal);
        yield new Message(this, shown, consumer);
      }
      if (page.place > place) {
        place = page.place;
        continue;
      }
      if (this.panda.status.state === "closed") return;
      await abortable(grown, signal);
    }
  }

  /** Says something to those who are here now; it is signed and stored nowhere. */
  async announce(value: unknown): Promise<void> {
    await this.#open();
    await this.panda.backend.call("announce", this.id, value);
  }

  /** Hears what others announce. */
  onAnnounce(listener: (heard: Heard) => void): () => void {
    void this.#open().catch(() => undefined);
    this.#heard.add(listener);
    return () => this.#heard.delete(listener);
  }

  /** Hears how far messages of this page are. */
  onState(listener: (change: StateChange) => void): () => void {
    this.#states.add(listener);
    return () => this.#states.delete(listener);
  }

  /** What became of a message, by the id that its publisher chose. */
  async receipt(request: string): Promise<Receipt | undefined> {
    const kept = await this.panda.backend.call<Kept | undefined>("receipt", request);
    return kept === undefined ? undefined : new Receipt(this, kept);
  }

  /** A ticket of the topic, to be shared with those who may read it. */
  ticket(): Promise<string> {
    return this.panda.backend.call("invite", this.id);
  }

  hear(event: Event): void {
    if (event.kind === "status") {
      if (event.status.state === "closed") this.#wakeAll();
      return;
    }
    if (event.kind === "fault" || event.topic !== this.id) return;
    if (event.kind === "grown") this.#wakeAll();
    if (event.kind === "state") for (const listener of this.#states) listener(event);
    if (event.kind === "ephemeral") for (const listener of this.#heard) listener(event);
  }

  #wakeAll(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #open(): Promise<void> {
    this.#opened ??= this.panda.backend.call<void>("open", this.id);
    return this.#opened;
  }

  async #begin({ consumer, start }: StreamOptions): Promise<number> {
    const { backend } = this.panda;
    switch (start ?? (consumer === undefined ? "beginning" : "resume")) {
      case "beginning":
        return 0;
      case "now":
        return backend.call("last", this.id);
      default:
        if (consumer === undefined) {
          throw new PandaError("invalid", "`resume` needs a consumer", {
            hint: 'stream({ consumer: "ui" })',
          });
        }
        return backend.call("cursor", this.id, consumer);
    }
  }

  /** Asked before reading, so that nothing that comes meanwhile is missed. */
  #grown(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }
}

/** A message of a topic, verified. */
export class Message implements Shown {
  declare readonly topic: string;
  declare readonly place: number;
  declare readonly id: string;
  declare readonly author: string;
  declare readonly seq: number;
  declare readonly log: string | undefined;
  declare readonly timestamp: number;
  declare readonly value: unknown;
  declare readonly mine: boolean;
  declare readonly state: State;
  declare readonly reason: string | undefined;
  declare readonly request: string | undefined;
  declare readonly after: string[];
  declare readonly missing: Shown["missing"];
  declare readonly header: Uint8Array;
  readonly #topic: Topic;
  readonly #consumer: string | undefined;

  constructor(topic: Topic, shown: Shown, consumer: string | undefined) {
    Object.assign(this, shown);
    this.#topic = topic;
    this.#consumer = consumer;
  }

  /** The message and those before it were handled: the consumer goes on behind it. */
  async ack(): Promise<void> {
    if (this.#consumer === undefined) {
      throw new PandaError("invalid", "it was read without a consumer", {
        hint: 'stream({ consumer: "ui" })',
      });
    }
    await this.#topic.panda.backend.call("ack", this.topic, this.#consumer, this.place);
  }
}

/** What to wait for: the message is signed, on the node's disk, or sent on to so many other nodes. */
export type WaitFor = "signed" | "node" | { sent: number };

/** A message that was published. */
export class Receipt {
  #kept: Kept;

  constructor(
    readonly topic: Topic,
    kept: Kept,
  ) {
    this.#kept = kept;
  }

  /** The id that the publisher chose: the same message with the same id is stored once. */
  get request(): string {
    return this.#kept.request;
  }

  get state(): State {
    return this.#kept.state;
  }

  /** Id of the operation, once it is signed. */
  get id(): string | undefined {
    return this.#kept.id;
  }

  get seq(): number | undefined {
    return this.#kept.seq;
  }

  /** Why it is blocked. It is tried again, and dropped never. */
  get reason(): string | undefined {
    return this.#kept.reason;
  }

  /** Waits, however long it takes. */
  async wait(what: WaitFor, { signal }: { signal?: AbortSignal } = {}): Promise<Receipt> {
    const states: State[] = what === "signed" ? ["signed", "stored"] : ["stored"];
    let changed: () => void = () => undefined;
    let change = new Promise<void>(() => undefined);
    const arm = (): void => void (change = new Promise((resolve) => (changed = resolve)));
    const stop = this.topic.onState(({ request }) => request === this.request && changed());
    try {
      for (;;) {
        arm();
        await this.#refresh();
        if (states.includes(this.state)) break;
        await abortable(change, signal);
      }
    } finally {
      stop();
    }
    if (typeof what === "object") await this.#sent(what.sent, signal);
    return this;
  }

  /** Nodes that have received it, as the node of this page says. */
  async sentTo(): Promise<string[]> {
    await this.#refresh();
    if (this.id === undefined || this.state !== "stored") return [];
    const trace = await this.topic.panda.backend.call<{ sent_to: string[] }>("trace", this.id);
    return trace.sent_to;
  }

  async #sent(count: number, signal: AbortSignal | undefined): Promise<void> {
    // Without a connection nobody can be asked; it comes back.
    const ask = async (): Promise<string[]> => {
      return this.sentTo().catch((error: PandaError) => {
        if (error.code !== "offline" && error.code !== "closed") throw error;
        return [];
      });
    };
    while ((await ask()).length < count) {
      await abortable(new Promise((resolve) => setTimeout(resolve, SENT_EVERY)), signal);
    }
  }

  async #refresh(): Promise<void> {
    const kept = await this.topic.panda.backend.call<Kept | undefined>("receipt", this.request);
    if (kept !== undefined) this.#kept = kept;
  }
}
