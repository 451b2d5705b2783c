import { inThread, inWorker, type Backend } from "./backend.js";
import { Engine, type Event, type PublishOptions, type Status } from "./engine.js";
import { abortable, checkSignal, ours, PandaError } from "./errors.js";
import { IdbStore } from "./idb.js";
import { checkPair, checkPlatform } from "./key.js";
import { isHex32 } from "./bytes.js";
import { addressOf, type SocketConstructor } from "./rpc.js";
import { Space, Spaces } from "./spaces.js";
import { MemoryStore } from "./store.js";
import { Topic, type Abortable, type Message } from "./topic.js";

export interface ConnectOptions {
  /** A WebCrypto key. Without one, the page makes a non-extractable key and keeps it. */
  key?: CryptoKeyPair;
  /** Protects the key where the browser has no Ed25519. */
  passphrase?: string;
  /** Name of the storage; tabs with the same name are one author. */
  name?: string;
  /** A token of the node's configuration, instead of proving the key. */
  token?: string;
  /** Id of the node; any other node is refused. */
  node?: string;
  /** An invite that admits the key of the page at the node: `panda-access:...`. It is needed once. */
  invite?: string;
  /** `memory` keeps nothing. The default is IndexedDB where it is available. */
  storage?: "indexeddb" | "memory";
  /** The WebSocket class where the platform has none, such as Node 20. */
  WebSocket?: SocketConstructor;
  /** URL of the worker, if you serve it from another place. */
  worker?: URL | Worker;
  signal?: AbortSignal;
}

export type { PublishOptions, Status };

/**
 * Opens the page's storage and keeps a connection to a node. It resolves without a connection:
 * everything works offline.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Panda> {
  checkPlatform();
  const address = addressOf(url).href;
  checkOptions(options);
  const { signal } = options;
  checkSignal(signal);
  const opening = backendOf(address, options);
  const panda = opening.then(async (backend) => {
    const isPersisted = await promised(options.storage, "persisted");
    const id = await backend.call<string>("identity");
    return new Panda(backend, id, await backend.call("status"), isPersisted);
  });
  return abortable(panda, signal).catch((error: unknown) => {
    // Nobody else will close it.
    void opening
      .then((backend) => backend.call("close").finally(() => backend.end()))
      .catch(() => undefined);
    throw ours(error);
  });
}

/** Refuses options of which one would be taken for another, or fail later. */
function checkOptions(options: ConnectOptions): void {
  const { key, node, storage, WebSocket } = options;
  if (storage !== undefined && storage !== "indexeddb" && storage !== "memory") {
    throw wrong("storage", `is neither "indexeddb" nor "memory"`);
  }
  if (storage === "indexeddb" && typeof indexedDB === "undefined") {
    throw new PandaError("storage", "there is no IndexedDB here", { hint: 'storage: "memory"' });
  }
  if (key !== undefined) checkPair(key);
  for (const name of ["passphrase", "name", "token", "invite"] as const) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "string") throw wrong(name, "is not a text");
  }
  if (node !== undefined && !isHex32(node)) {
    throw wrong("node", "is not the id of a node: 64 lower-case hexadecimal digits");
  }
  if (WebSocket !== undefined && typeof WebSocket !== "function") {
    throw wrong("WebSocket", "is not a class");
  }
}

function wrong(name: keyof ConnectOptions, why: string): PandaError {
  return new PandaError("invalid", `the option \`${name}\` ${why}`);
}

async function backendOf(url: string, options: ConnectOptions): Promise<Backend> {
  const { name = "default", token, node, invite, key, passphrase } = options;
  const has = typeof indexedDB !== "undefined";
  const storage = options.storage ?? (has ? "indexeddb" : "memory");
  if (typeof Worker === "undefined" || options.WebSocket !== undefined) {
    const store =
      storage === "memory" ? new MemoryStore() : await IdbStore.open(`p2panda ${name}`);
    const shared = storage === "memory" ? undefined : `p2panda ${name}`;
    const settings = { url, token, node, invite, key, passphrase, WebSocket: options.WebSocket };
    return inThread(await Engine.start(store, settings, shared));
  }
  const settings = { url, name, storage, token, node, invite, key, passphrase };
  return inWorker(workerOf(options.worker), settings);
}

function workerOf(worker: URL | Worker | undefined): Worker {
  if (worker instanceof Worker) return worker;
  // In the form that bundlers recognise.
  if (worker === undefined)
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return new Worker(worker, { type: "module" });
}

/** Begins work unless it was aborted before. */
async function begun<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  checkSignal(signal);
  return abortable(work(), signal);
}

/** Topics are written in lower case, and read in either. */
function lowerCase(topic: string): string {
  return typeof topic === "string" ? topic.toLowerCase() : topic;
}

/** Whether the browser promises to keep the storage; undefined where it does not say. */
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

/** A page as a participant: its key, its storage and its node. */
export class Panda {
  #status: Status;
  #faults = new Set<(error: PandaError) => void>();
  #changes = new Set<(status: Status) => void>();
  #topics = new Map<string, Topic>();
  /** Also topics that were opened before they were known to be spaces. */
  #listening = new Set<Topic>();
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

  /** The state: offline, behind, unsent, the last error. */
  get status(): Status {
    return this.#status;
  }

  /** Whether the browser promised to keep the storage; undefined where it does not say. */
  get isPersisted(): boolean | undefined {
    return this.#isPersisted;
  }

  /** Asks the browser to keep the storage. Some browsers ask the person first. */
  async persist({ signal }: Abortable = {}): Promise<boolean | undefined> {
    checkSignal(signal);
    const asked = promised(undefined, "persist").then((answer) => {
      this.#isPersisted = answer ?? this.#isPersisted;
    });
    await abortable(asked, signal);
    return this.#isPersisted;
  }

  onStatus(listener: (status: Status) => void): () => void {
    this.#changes.add(listener);
    return () => this.#changes.delete(listener);
  }

  /** Calls back with errors: a node that lies, storage that is full. */
  onError(listener: (error: PandaError) => void): () => void {
    this.#faults.add(listener);
    return () => this.#faults.delete(listener);
  }

  /** Opens a topic: 64 hexadecimal digits of either case, known only to those who may read it. */
  topic(topic: string): Topic {
    const id = lowerCase(topic);
    const known = this.#topics.get(id);
    if (known !== undefined) return known;
    return this.#opened(id, new Topic(this, id));
  }

  /** Opens a topic as a space that `spaces.create` or `spaces.join` made. */
  space(topic: string): Space {
    const id = lowerCase(topic);
    const known = this.#topics.get(id);
    if (known instanceof Space) return known;
    return this.#opened(id, new Space(this, id));
  }

  #opened<T extends Topic>(id: string, made: T): T {
    this.#topics.set(id, made);
    this.#listening.add(made);
    return made;
  }

  /** Opens the topic of a ticket from `panda topic invite`; if the ticket has an invite, joins its space. */
  async join(ticket: string, options: Abortable = {}): Promise<Topic> {
    const reading = this.backend.call<{ topic: string; invite?: Uint8Array }>("ticket", ticket);
    const read = await abortable(reading, options.signal);
    return read.invite === undefined ? this.topic(read.topic) : this.spaces.join(ticket, options);
  }

  /** The indices of these messages in an order that is the same for all who have them. */
  async order(
    messages: Pick<Message, "id" | "timestamp" | "after">[],
    { signal }: Abortable = {},
  ): Promise<number[]> {
    checkSignal(signal);
    if (!Array.isArray(messages)) throw new PandaError("invalid", "the messages are not an array");
    const fields = messages.map(({ id, timestamp, after }) => ({ id, timestamp, after }));
    return abortable(this.backend.call("order", fields), signal);
  }

  /** Ends everything. It goes on when the call is aborted. */
  close({ signal }: Abortable = {}): Promise<void> {
    return abortable(this.#close(), signal);
  }

  async #close(): Promise<void> {
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    await this.backend.call("close").catch((error: PandaError) => {
      // It was closed before.
      if (error.code !== "closed") throw error;
    });
    for (const topic of this.#listening) topic.hear({ kind: "status", status: this.#status });
    this.backend.end();
  }

  /**
   * Gives the page a new key after its log continued elsewhere (`own-log-moved`): a key must not have a
   * second writer. Messages stay; those that no node has stored are published again. In spaces the page is
   * a different member then. Connect again afterwards. It goes on when the call is aborted.
   */
  recover({ signal }: Abortable = {}): Promise<void> {
    return begun(() => this.#recover(), signal);
  }

  async #recover(): Promise<void> {
    await this.backend.call("recover");
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.backend.end();
  }

  /**
   * Deletes the key, the messages and everything else under this name. This cannot be undone, and goes on when the
   * call is aborted.
   */
  wipe({ signal }: Abortable = {}): Promise<void> {
    return begun(() => this.#wipe(), signal);
  }

  async #wipe(): Promise<void> {
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
    for (const topic of this.#listening) topic.hear(event);
  }
}
