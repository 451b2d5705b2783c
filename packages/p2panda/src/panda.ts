import { inThread, inWorker, type Backend } from "./backend.js";
import { Engine, type Event, type PublishOptions, type Status } from "./engine.js";
import { abortable, PandaError } from "./errors.js";
import { IdbStore } from "./idb.js";
import { checkPlatform } from "./key.js";
import type { SocketConstructor } from "./rpc.js";
import { Space, Spaces } from "./spaces.js";
import { MemoryStore } from "./store.js";
import { Topic, type Message } from "./topic.js";

export interface ConnectOptions {
  /** A key of WebCrypto. Without one the page makes a key that nobody can read, and keeps it. */
  key?: CryptoKeyPair;
  /** Opens the key that is kept where the browser has no Ed25519. */
  passphrase?: string;
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
  const { name = "default", token, node, key, passphrase } = options;
  const has = typeof indexedDB !== "undefined";
  const storage = options.storage ?? (has ? "indexeddb" : "memory");
  if (typeof Worker === "undefined" || options.WebSocket !== undefined) {
    const store =
      storage === "memory" ? new MemoryStore() : await IdbStore.open(`p2panda ${name}`);
    const shared = storage === "memory" ? undefined : `p2panda ${name}`;
    const settings = { url, token, node, key, passphrase, WebSocket: options.WebSocket };
    return inThread(await Engine.start(store, settings, shared));
  }
  const settings = { url, name, storage, token, node, key, passphrase };
  return inWorker(workerOf(options.worker), settings);
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
  /** Encrypted spaces. */
  readonly spaces: Spaces = new Spaces(this);
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

  /** The same as a space, which `spaces.create` or `spaces.join` made. */
  space(topic: string): Space {
    const known = this.#topics.get(topic);
    if (known instanceof Space) return known;
    const made = new Space(this, topic);
    this.#topics.set(topic, made);
    return made;
  }

  /** The topic of a ticket, as `panda topic invite` prints it; with an invite its space. */
  async join(ticket: string): Promise<Topic> {
    const read = await this.backend.call<{ topic: string; invite?: Uint8Array }>("ticket", ticket);
    return read.invite === undefined ? this.topic(read.topic) : this.spaces.join(ticket);
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

  /**
   * Gives the page a new key, for where its log went on elsewhere (`own-log-moved`): a key never comes to a
   * second writer. Messages stay, and what no node has stored is published once more. In spaces the page is
   * somebody else then: it joins them again, and is shown again what it may read. Connect again afterwards.
   */
  async recover(): Promise<void> {
    await this.backend.call("recover");
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
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
