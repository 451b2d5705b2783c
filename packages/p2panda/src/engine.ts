import { readInvite } from "./access.js";
import { isHex32, randomBytes, toHex } from "./bytes.js";
import { ours, PandaError, type NotKept, type PlainError } from "./errors.js";
import { Election, type Leadership } from "./election.js";
import { makeKey, signerOf, type Signer } from "./key.js";
import { Outbox } from "./outbox.js";
import { KeyPair } from "./protected.js";
import { Recent } from "./recent.js";
import { recover, recovered } from "./recovery.js";
import { requestName, Rooms, type SpaceNews } from "./rooms.js";
import {
  next,
  placesOf,
  queued,
  requestsOf,
  rowsAfter,
  rowsAt,
  unsent,
  type FeedRow,
  type PlaceRow,
  type PublishedRow,
  type RequestRow,
  type State,
  type StateChange,
  type TopicRow,
} from "./rows.js";
import { Signing } from "./signing.js";
import { LAST, type Store } from "./store.js";
import { Syncing, type Delivery, type SyncOptions } from "./syncing.js";
import { loadWasm, wasm, type Dependency, type SpaceDeed, type SpaceLook } from "./wasm.js";

/** The most topics that are exchanged. */
const TOPICS = 64;
/** The most bytes of a message: with the largest header it still fits into one request to a node. */
const BODY_BYTES = 512 * 1024 - 4096;
const REQUEST_BYTES = 128;
/** Milliseconds in which the leading tab has to answer. */
const ASKED_WITHIN = 5_000;

/** The state of the exchange with the node. */
export interface Status {
  state: "connecting" | "online" | "offline" | "closed";
  /** Operations on the node that the page has not received. */
  behind: number;
  /** Own messages that the node has not stored yet. */
  unsent: number;
  /** Whether this tab leads, that is, holds the connection to the node. */
  leader: boolean;
  node: string | undefined;
  lastError: PlainError | undefined;
}

/** Events from an engine to its page and the other tabs. */
export type Event =
  | { kind: "grown"; topic: string }
  | { kind: "states"; topic: string; changes: StateChange[] }
  | { kind: "status"; status: Status }
  | { kind: "space"; topic: string; news: SpaceNews }
  | { kind: "fault"; error: PlainError }
  | { kind: "ephemeral"; topic: string; author: string; timestamp: string; value: unknown };

/** Messages between tabs. */
type Ping =
  | { kind: "who" }
  | { kind: "requests"; spaces?: Set<string> }
  | { kind: "recovered" }
  | { kind: "topic"; topic: string }
  | { kind: "announce"; topic: string; value: unknown }
  | { kind: "ask"; ask: string; method: Asked; args: unknown[] }
  | { kind: "answer"; ask: string; result: unknown; error: PlainError | undefined };
/** A request from another tab to the leading one. */
type Asked = "delivery" | "notKept" | "spaceAct" | "recover";

/** Requests of this tab that the leading one has not answered. */
interface Waiting {
  method: Asked;
  args: unknown[];
  answered(result: unknown, error: PlainError | undefined): void;
}

/** A message as it is shown. */
export interface Shown {
  topic: string;
  place: number;
  id: string;
  author: string;
  seq: number;
  log: string | undefined;
  /** Microseconds since 1970, by the clock of its author. */
  timestamp: number;
  /** What the author published. */
  value: unknown;
  mine: boolean;
  state: State;
  reason: string | undefined;
  request: string | undefined;
  /** In a space: the message was withdrawn, since its author was removed. It has no value. */
  withdrawn: boolean;
  /** Ids of the operations that this one depends on. */
  after: string[];
  /** Those dependencies that were missing when it arrived. */
  missing: Dependency[];
  header: Uint8Array;
}

export interface PublishOptions {
  request?: string | undefined;
  log?: string | undefined;
}
/** With `sealed`, nothing is published unless the topic carries a space. */
type Publishing = PublishOptions & { sealed?: boolean };
export interface Receipt {
  request: string;
  state: State;
  id: string | undefined;
  seq: number | undefined;
  reason: string | undefined;
}

export interface EngineOptions extends SyncOptions {
  key?: CryptoKeyPair | undefined;
  passphrase?: string | undefined;
}

/** Keys, storage, signing and the exchange with the node. Runs in a worker. */
export class Engine {
  readonly #signing: Signing;
  readonly #rooms: Rooms;
  readonly #outbox: Outbox;
  readonly #recent = new Recent();
  readonly #election: Election<Event | Ping>;
  #listeners = new Set<(event: Event) => void>();
  #epoch: number | undefined;
  #closed = false;
  #syncing: Syncing | undefined;
  #signs: Promise<void> | undefined;
  #signAgain = false;
  #counting = false;
  #countAgain = false;
  #asked = new Map<string, Waiting>();
  #clock = 0;
  #heard = new Map<string, string>();
  #behind = new Map<string, number>();
  #status: Status = {
    ...{ state: "connecting", behind: 0, unsent: 0, leader: false },
    ...{ node: undefined, lastError: undefined },
  };

  private constructor(
    readonly store: Store,
    readonly signer: Signer,
    readonly options: EngineOptions,
    shared: string | undefined,
  ) {
    this.#signing = new Signing(store, signer);
    this.#outbox = new Outbox(store, (spaces) => this.#queued(spaces));
    this.#rooms = new Rooms(store, signer, () => this.#epoch, {
      grown: (topic) => this.#emit({ kind: "grown", topic }),
      changed: (topic, news) => this.#emit({ kind: "space", topic, news }),
      signed: (topic, rows) => {
        this.#states(rows);
        this.#syncing?.want(topic);
        this.#syncing?.flush(topic);
      },
      blocked: ({ topic, request, reason }) => {
        const change: StateChange = { request, state: "blocked", id: "", reason };
        this.#emit({ kind: "states", topic, changes: [change] });
      },
      fault: (error) => this.#fault(error),
    });
    this.#election = new Election(shared, {
      lead: (leadership) => this.#lead(leadership),
      lost: () => this.#stopLeading(),
      hear: (message) => this.#hear(message),
    });
    this.#tell({ kind: "who" });
    store.onTaken = (isWiped) => {
      const error = isWiped
        ? new PandaError("wiped", "another tab deleted everything")
        : new PandaError("newer-version", "a newer version of this page took over", {
            hint: "reload the page",
          });
      this.#closeFor(error);
    };
  }

  /** With `shared`, all tabs with this name are one author. */
  static async start(
    store: Store,
    options: EngineOptions,
    shared?: string,
  ): Promise<Engine> {
    await loadWasm();
    const { key, passphrase, invite } = options;
    // Refuse it now rather than at each connection.
    if (invite !== undefined) await readInvite(invite);
    const signer = await (key === undefined ? storedKey(store, passphrase) : signerOf(key));
    return new Engine(store, signer, options, shared);
  }

  listen(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // Calls of the page.

  identity(): string {
    return this.signer.publicKey;
  }

  status(): Status {
    return this.#status;
  }

  /** Remembers a topic, and exchanges it from now on. */
  async open(topic: string): Promise<void> {
    checkTopic(topic);
    await this.store.write(async (writer) => {
      const at = await next(writer, "topics");
      const known = await writer.get<TopicRow>("topics", [topic]);
      writer.put("topics", [topic], { ...known, topic, at } satisfies TopicRow);
    });
    this.#syncing?.want(topic);
    this.#tell({ kind: "topic", topic });
  }

  /** Queues a message for publishing. The request is on the disk when this resolves. */
  async publish(topic: string, value: unknown, options: Publishing = {}): Promise<Receipt> {
    checkTopic(topic);
    const body = wasm.encode(value);
    const request: unknown = options.request ?? toHex(randomBytes(16));
    const log: unknown = options.log;
    if (body.length > BODY_BYTES) {
      const message = `the message has ${body.length} bytes; ${BODY_BYTES} fit`;
      throw new PandaError("too-large", message);
    }
    if (typeof request !== "string" || request === "" || request.length > REQUEST_BYTES) {
      throw new PandaError("invalid", "a request id has 1 to 128 characters");
    }
    if (log !== undefined && typeof log !== "string") {
      throw new PandaError("invalid", "the name of a log is a text");
    }
    // Refuse it now rather than when it is signed.
    if (log !== undefined) wasm.logId(topic, log);
    const isSpace = await this.#rooms.isSpace(topic);
    if (isSpace && log !== undefined && log !== "content") {
      throw new PandaError("invalid", "what is published in a space goes into its content");
    }
    await this.checkMember(topic, options.sealed);
    // Content of a space is never on the disk in the clear.
    const vault = isSpace ? await this.#rooms.vault() : undefined;
    const kept = vault === undefined ? body : await vault.seal(requestName(request), body);
    const pepper = vault === undefined ? [] : [vault.pepper];
    const hash = wasm.hash(wasm.encode([topic, log ?? null, body, ...pepper]));
    const message = { request, topic, body: kept, log, sealed: isSpace, hash };
    if (!(await this.#outbox.add(message))) return (await this.receipt(request))!;
    return { request, state: "queued", id: undefined, seq: undefined, reason: undefined };
  }

  /**
   * Fails for a space that this page has left, was removed from or has not asked to join; with `sealed` for a topic
   * in which it knows no space, too.
   */
  async checkMember(topic: string, sealed = false): Promise<void> {
    const isSpace = await this.#rooms.isSpace(topic);
    if (!isSpace ? !sealed : !(await this.#rooms.isOutside(topic))) return;
    throw new PandaError("not-a-member", "this page is not a member of the space", {
      hint: "join it by an invite",
      topic,
    });
  }

  /** Messages are queued, those of spaces in these topics. */
  #queued(spaces: Set<string>): void {
    this.#election.expect();
    if (this.#epoch !== undefined) for (const topic of spaces) this.#rooms.pump(topic);
    this.#sign();
    this.#tell({ kind: "requests", spaces });
  }

  /** The state of a published message. */
  async receipt(request: string): Promise<Receipt | undefined> {
    return this.store.read(async (reader) => {
      const published = await reader.get<PublishedRow>("published", [request]);
      if (published === undefined) return undefined;
      const { topic, number } = published;
      const place = published.place ?? (await placesOf(reader).get(number))?.place;
      if (place === undefined) {
        const row = await requestsOf(reader).get(number);
        const state: State = row?.reason === undefined ? "queued" : "blocked";
        return { request, state, id: undefined, seq: undefined, reason: row?.reason };
      }
      const [row] = await rowsAt(reader, topic, [{ place }]);
      const { state, id, seq, reason } = row!;
      return { request, state, id, seq, reason };
    });
  }

  /** Messages after a place, and the place of the last one that was examined. */
  async read(
    topic: string,
    after: number,
    most: number,
  ): Promise<{ messages: Shown[]; place: number }> {
    if (await this.#rooms.isSpace(topic)) return this.#readSpace(topic, after, most);
    let rows = this.#recent.after(topic, after, most);
    if (rows.length === 0)
      rows = await this.store.read((reader) => rowsAfter(reader, topic, after, most));
    const place = rows.at(-1)?.place ?? after;
    return {
      messages: rows.filter((row) => row.body !== undefined).map((row) => this.#shown(row)),
      place,
    };
  }

  async #readSpace(
    topic: string,
    after: number,
    most: number,
  ): Promise<{ messages: Shown[]; place: number }> {
    const entries = await this.store.read(async (reader) => {
      const limit = { limit: most };
      const feed = await reader.range<FeedRow>("feed", [topic, after + 1], [topic, Infinity], limit);
      const rows = await rowsAt(reader, topic, feed);
      return rows.map((row, index) => ({ row, stands: feed[index]!.stands }));
    });
    const rows = entries.map(({ row }) => row);
    const opened = rows.length === 0 ? [] : await this.#rooms.open(topic, rows);
    const messages: Shown[] = [];
    for (const [index, { row, stands }] of entries.entries()) {
      const [body, place] = [opened[index], after + 1 + index];
      if (!stands) messages.push({ ...this.#shown(row, undefined), place, withdrawn: true });
      // A message that is withdrawn by now comes later, as withdrawn.
      else if (body !== undefined) messages.push({ ...this.#shown(row, body), place });
    }
    return { messages, place: after + entries.length };
  }

  /** Own messages that have no place yet and keep waiting: in a space, or refused. */
  async waiting(topic: string): Promise<Shown[]> {
    const isSpace = await this.#rooms.isSpace(topic);
    const { requests } = await this.store.read((reader) => queued(reader));
    const here = requests.filter((row) => row.topic === topic);
    return Promise.all(
      here
        .filter(({ reason }) => isSpace || reason !== undefined)
        .map(async (row) => this.#waits(row, await this.#rooms.queuedBody(row))),
    );
  }

  #waits(row: RequestRow, body: Uint8Array): Shown {
    const { topic, request, reason, at = Date.now() * 1000 } = row;
    const state: State = reason === undefined ? "queued" : "blocked";
    return {
      ...{ topic, request, reason, state, place: 0, id: "", seq: -1, log: undefined },
      ...{ author: this.signer.publicKey, mine: true, timestamp: at, value: valueOf(body) },
      ...{ withdrawn: false, after: [], missing: [], header: new Uint8Array() },
    };
  }

  async cursor(topic: string, consumer: string): Promise<number> {
    return this.store.read(
      async (reader) => (await reader.get<number>("cursors", [topic, consumer])) ?? 0,
    );
  }

  /** Moves the position of a consumer forward. */
  async ack(topic: string, consumer: string, place: number): Promise<void> {
    await this.store.write(async (writer) => {
      const before = (await writer.get<number>("cursors", [topic, consumer])) ?? 0;
      if (place > before) writer.put("cursors", [topic, consumer], place);
    });
  }

  /** The last place of a topic. */
  async last(topic: string): Promise<number> {
    const of = (await this.#rooms.isSpace(topic)) ? "feed" : "places";
    return this.store.read(
      async (reader) => (await reader.get<number>("meta", ["counter", of, topic])) ?? 0,
    );
  }

  /** The indices of these messages in the order in which they are shown. */
  order(messages: { id: string; timestamp: number; after: string[] }[]): number[] {
    return [...wasm.causalOrder(messages)];
  }

  /** Sends an ephemeral message to those who are online. It is signed and never stored. */
  async announce(topic: string, value: unknown, sealed = false): Promise<void> {
    if (sealed) await this.checkMember(topic, sealed);
    if (this.#syncing === undefined) return this.#tell({ kind: "announce", topic, value });
    this.#clock = Math.max(Date.now() * 1000, this.#clock + 1);
    let body = wasm.encode(value);
    const isSpace = await this.#rooms.isSpace(topic);
    if (isSpace) body = await this.#rooms.sealEphemeral(topic, body);
    const author = this.signer.publicKey;
    const bytes = wasm.ephemeralSigningBytes(
      author,
      this.#clock,
      0,
      body,
    ) as Uint8Array<ArrayBuffer>;
    const signature = await this.signer.sign(bytes);
    // It may have become one meanwhile.
    if (!isSpace && (await this.#rooms.isSpace(topic))) return this.announce(topic, value);
    const message = wasm.ephemeralAssemble(author, this.#clock, 0, body, signature);
    await this.#syncing.announce(topic, message);
  }

  /** Which other nodes have an operation, and which could get it, according to the node. */
  async delivery(topic: string, id: string): Promise<Delivery> {
    return this.#syncing?.delivery(topic, id) ?? this.#askLeader("delivery", [topic, id]);
  }

  /** The logs of a topic of which other nodes keep nothing new, according to the node. */
  async notKept(topic: string): Promise<NotKept[]> {
    checkTopic(topic);
    return this.#syncing?.notKept(topic) ?? this.#askLeader("notKept", [topic]);
  }

  /** Performs an action in a space. With an offer, returns its invite. */
  async spaceAct(topic: string, deed: SpaceDeed): Promise<Uint8Array | undefined> {
    checkTopic(topic);
    if (this.#epoch === undefined) return this.#askLeader("spaceAct", [topic, deed]);
    return this.#rooms.act(topic, deed);
  }

  /** The current state of a space. */
  spaceLook(topic: string): Promise<SpaceLook> {
    checkTopic(topic);
    return this.#rooms.look(topic);
  }

  /** Topics that carry spaces. */
  spaces(): Promise<string[]> {
    return this.#rooms.topics();
  }

  /** Another tab leads: it holds the connection and writes. */
  #askLeader<T>(method: Asked, args: unknown[]): Promise<T> {
    const ask = toHex(randomBytes(16));
    return new Promise((resolve, reject) => {
      const settle = (work: () => void): void => {
        clearTimeout(timer);
        this.#asked.delete(ask);
        work();
      };
      const timer = setTimeout(() => {
        settle(() => reject(new PandaError("offline", "no tab speaks with the node")));
      }, ASKED_WITHIN);
      const answered = (result: unknown, error: PlainError | undefined): void => {
        settle(() => (error === undefined ? resolve(result as T) : reject(PandaError.of(error))));
      };
      this.#asked.set(ask, { method, args, answered });
      this.#tell({ kind: "ask", ask, method, args });
    });
  }

  /** The new leader answers its own open requests. */
  #answerOwn(): void {
    for (const { method, args, answered } of this.#asked.values()) {
      const work = this[method] as (...args: unknown[]) => Promise<unknown>;
      void work.apply(this, args).then(
        (result) => answered(result, undefined),
        (error: unknown) => answered(undefined, PandaError.plain(error)),
      );
    }
  }

  async #answer(ask: string, method: Asked, args: unknown[]): Promise<void> {
    if (this.#epoch === undefined) return;
    try {
      const work = this[method] as (...args: unknown[]) => Promise<unknown>;
      const result = await work.apply(this, args);
      this.#tell({ kind: "answer", ask, result, error: undefined });
    } catch (error) {
      this.#tell({ kind: "answer", ask, result: undefined, error: PandaError.plain(error) });
    }
  }

  ticket(text: string): { topic: string; invite?: Uint8Array } {
    return wasm.readTicket(text);
  }

  invite(topic: string, invite?: Uint8Array): string {
    return wasm.writeTicket(topic, invite);
  }

  /** Reconnects at once: the network may be back. */
  wake(): void {
    this.#syncing?.wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#election.close();
    this.#stopLeading();
    this.#update({ state: "closed" });
    this.#rooms.close();
    this.#recent.clear();
    await this.#signs?.catch(() => undefined);
    this.store.close();
  }

  /** Makes a new key, and closes all tabs. */
  async recover(): Promise<void> {
    const epoch = this.#epoch;
    if (epoch === undefined) return void (await this.#askLeader("recover", []));
    if (this.options.key !== undefined) {
      throw new PandaError("invalid", "the key is not one that this page keeps");
    }
    const made = await newKey(this.options.passphrase);
    await recover(this.store, this.#rooms, epoch, made);
    this.#tell({ kind: "recovered" });
    this.#closeFor(recovered());
  }

  #closeFor(error: PandaError): void {
    this.#fault(error);
    void this.close();
  }

  /** Deletes the key and everything else of this name. */
  async wipe(): Promise<void> {
    await this.close();
    await this.store.wipe();
  }

  // The leading tab signs, and holds the connection to the node.

  async #lead({ resign }: Leadership): Promise<void> {
    const epoch = await this.store.write(async (writer) => {
      const epoch = ((await writer.get<number>("meta", ["epoch"])) ?? 0) + 1;
      writer.put("meta", ["epoch"], epoch);
      return epoch;
    });
    if (this.#closed) return;
    this.#epoch = epoch;
    const step = (): void => {
      this.#stopLeading();
      resign();
    };
    this.#syncing = new Syncing(this.store, this.signer, epoch, this.options, {
      connected: (hello) => {
        if (this.#epoch !== epoch) return;
        this.#update({ state: hello === undefined ? "offline" : "online", node: hello?.node });
      },
      received: (topic, { rows, stored, faults }) => {
        for (const fault of faults) this.#fault(fault);
        this.#behind.set(topic, Math.max(0, (this.#behind.get(topic) ?? 0) - rows.length));
        if (rows.length > 0) this.#recent.add(topic, rows);
        if (rows.length > 0) void this.#came(topic);
        this.#states(stored);
        this.#update({});
      },
      behind: (topic, count) => {
        this.#behind.set(topic, count);
        this.#update({});
      },
      stored: (rows) => this.#states(rows),
      ephemeral: (topic, message) => this.#ephemeral(topic, message),
      fault: (error) => this.#fault(error),
      deposed: step,
    });
    const topics = await this.store.read((reader) => {
      return reader.range<{ topic: string; at: number }>("topics", [], [LAST]);
    });
    topics.sort((one, other) => other.at - one.at);
    for (const { topic } of topics.slice(0, TOPICS)) this.#syncing.want(topic);
    this.#update({ leader: true });
    this.#answerOwn();
    this.#count();
    this.#sign();
    void this.#rooms.begin().catch((error: unknown) => this.#fault(ours(error)));
  }

  /** A space has opened content that it could not open before. */
  async #came(topic: string): Promise<void> {
    if (await this.#rooms.isSpace(topic).catch(() => false)) this.#rooms.pump(topic);
    else this.#emit({ kind: "grown", topic });
  }

  #stopLeading(): void {
    this.#epoch = undefined;
    this.#rooms.rest();
    this.#syncing?.close();
    this.#syncing = undefined;
    this.#update({ leader: false });
  }

  /** Signs queued messages and gives them their places in the logs. */
  #sign(): void {
    this.#signAgain = true;
    if (this.#signs !== undefined || this.#epoch === undefined) return;
    this.#signs = this.#signAll().finally(() => (this.#signs = undefined));
  }

  async #signAll(): Promise<void> {
    while (this.#signAgain && this.#epoch !== undefined) {
      this.#signAgain = false;
      try {
        const rows = await this.#signing.batch(this.#epoch);
        if (this.#signing.isAhead) this.#signAgain = true;
        this.#tellStates(rows);
        // Queuing changes the count, signing does not.
        if (!this.#signAgain) this.#count();
        for (const topic of new Set(rows.map((row) => row.topic))) {
          this.#emit({ kind: "grown", topic });
          this.#syncing?.want(topic);
          this.#syncing?.flush(topic);
        }
      } catch (error) {
        const fault = ours(error);
        if (fault.code === "not-leader") return this.#stopLeading();
        this.#fault(fault);
        // Nothing is lost: the next message or connection tries again.
        return;
      }
    }
  }

  #ephemeral(topic: string, message: Uint8Array): void {
    try {
      const { author, timestamp, body } = wasm.ephemeralOpen(message);
      // Ignore what a node repeats.
      const key = `${topic} ${author}`;
      const [before, now] = [this.#heard.get(key) ?? "0/0", timestamp];
      if (laterThan(now, before)) {
        this.#heard.set(key, now);
        void this.#say(topic, author, timestamp, body);
      }
    } catch (error) {
      this.#fault(
        new PandaError("node-forged", "the node shows a message that nobody signed", { topic }),
      );
      void error;
    }
  }

  async #say(topic: string, author: string, timestamp: string, body: Uint8Array): Promise<void> {
    try {
      const isSpace = await this.#rooms.isSpace(topic);
      const open = isSpace ? await this.#rooms.openEphemeral(topic, author, body) : body;
      if (open === undefined) return;
      this.#emit({ kind: "ephemeral", topic, author, timestamp, value: valueOf(open) });
    } catch {
      // An ephemeral message that does not open now is dropped.
    }
  }

  // Events to the page and the other tabs.

  #hear(message: Event | Ping): void {
    switch (message.kind) {
      case "who":
        // A new tab has received no event yet.
        if (this.#epoch !== undefined) this.#update({});
        return;
      case "ask":
        void this.#answer(message.ask, message.method, message.args);
        return;
      case "answer":
        return this.#asked.get(message.ask)?.answered(message.result, message.error);
      case "requests":
        if (this.#epoch !== undefined) {
          // Another version may leave them out.
          for (const topic of message.spaces ?? []) this.#rooms.pump(topic);
        }
        return this.#sign();
      case "topic":
        return this.#syncing?.want(message.topic);
      case "announce":
        if (this.#syncing !== undefined)
          void this.announce(message.topic, message.value).catch(() => undefined);
        return;
      case "status":
        // The leader's state, without the part about the tab itself.
        if (this.#epoch !== undefined || message.status.state === "closed") return;
        this.#status = { ...message.status, leader: false };
        return this.#local({ kind: "status", status: this.#status });
      case "recovered":
        return this.#closeFor(recovered());
      case "space":
        this.#rooms.became(message.topic);
        this.#rooms.changed(message.topic);
        return this.#local(message);
      default:
        this.#local(message);
    }
  }

  #tell(message: Event | Ping): void {
    this.#election.tell(message);
  }

  #local(event: Event): void {
    for (const listener of this.#listeners) listener(event);
  }

  #emit(event: Event): void {
    this.#local(event);
    this.#tell(event);
  }

  #states(rows: PlaceRow[]): void {
    this.#tellStates(rows);
    if (rows.length > 0) this.#count();
  }

  #tellStates(rows: PlaceRow[]): void {
    const topics = new Map<string, StateChange[]>();
    for (const { topic, request, state, id, reason } of rows) {
      if (request === undefined) continue;
      const changes = topics.get(topic) ?? [];
      topics.set(topic, changes);
      changes.push({ request, state, id, reason });
    }
    for (const [topic, changes] of topics) this.#emit({ kind: "states", topic, changes });
  }

  #count(): void {
    void this.#countUnsent().catch(() => undefined);
  }

  /** Counts of one after the other; what changes during a count is counted by the next one. */
  async #countUnsent(): Promise<void> {
    this.#countAgain = true;
    if (this.#counting) return;
    this.#counting = true;
    try {
      while (this.#countAgain) {
        this.#countAgain = false;
        const count = await this.store.read(async (reader) => {
          const signed = await unsent(reader, []);
          return signed.length + (await queued(reader)).requests.length;
        });
        this.#update({ unsent: count });
      }
    } finally {
      this.#counting = false;
    }
  }

  #fault(error: PandaError): void {
    const plain = PandaError.plain(error);
    if (this.#epoch !== undefined || TAKEN.has(error.code)) this.#update({ lastError: plain });
    this.#emit({ kind: "fault", error: plain });
  }

  #update(change: Partial<Status>): void {
    const behind = [...this.#behind.values()].reduce((sum, count) => sum + count, 0);
    const status = { ...this.#status, behind, ...change };
    if (status.state === "online" && change.state === "online") status.lastError = undefined;
    this.#status = status;
    const event: Event = { kind: "status", status };
    if (this.#epoch !== undefined) this.#emit(event);
    else this.#local(event);
  }

  #shown(row: PlaceRow, body = row.body): Shown {
    const { topic, place, id, author, seq, log, timestamp } = row;
    const { state, reason, request, missing, header } = row;
    const mine = author === this.signer.publicKey;
    const after = row.deps.map((dependency) => dependency.id);
    if (row.backlink !== undefined) after.push(row.backlink);
    return {
      ...{ topic, place, id, author, seq, log, timestamp },
      ...{ state, reason, request, missing, header },
      ...{ mine, after, withdrawn: false },
      value: body === undefined ? undefined : valueOf(body),
    };
  }
}

const TAKEN = new Set(["newer-version", "wiped", "new-key"]);

/** Items without a counterpart in JavaScript stay encoded. */
function valueOf(body: Uint8Array): unknown {
  try {
    return wasm.decode(body);
  } catch {
    return { cbor: body };
  }
}

function laterThan(one: string, other: string): boolean {
  const [micros, count] = one.split("/").map(BigInt);
  const [beforeMicros, beforeCount] = other.split("/").map(BigInt);
  return micros! > beforeMicros! || (micros === beforeMicros && count! > beforeCount!);
}

function checkTopic(topic: string): void {
  if (!isHex32(topic)) {
    throw new PandaError("invalid", "a topic has 64 hexadecimal digits", {
      hint: "is the link complete?",
    });
  }
}

/** The key of the store; a new one in a new store. */
async function storedKey(store: Store, passphrase: string | undefined): Promise<Signer> {
  const find = (): Promise<{ key?: CryptoKeyPair; text?: string }> =>
    store.read(async (reader) => {
      const key = await reader.get<CryptoKeyPair>("meta", ["key"]);
      const text = await reader.get<string>("meta", ["protected"]);
      return { ...(key && { key }), ...(text !== undefined && { text }) };
    });
  let found = await find();
  if (found.key === undefined && found.text === undefined) {
    const made = await newKey(passphrase);
    // Another tab may have made one meanwhile: the first one counts.
    await store.write(async (writer) => {
      const other = [
        await writer.get("meta", ["key"]),
        await writer.get("meta", ["protected"]),
      ];
      if (other.some((one) => one !== undefined)) return;
      if (typeof made === "string") writer.put("meta", ["protected"], made);
      else writer.put("meta", ["key"], made);
    });
    found = await find();
  }
  if (found.key !== undefined) return signerOf(found.key);
  if (passphrase === undefined) {
    throw new PandaError("locked", "the key of this page opens with a passphrase", {
      hint: "pass it as the option `passphrase`",
    });
  }
  return KeyPair.open(found.text!, passphrase);
}

/** A non-extractable key; where the browser has no Ed25519, one that a passphrase opens. */
async function newKey(passphrase: string | undefined): Promise<CryptoKeyPair | string> {
  try {
    return await makeKey();
  } catch (error) {
    if (ours(error).code !== "no-ed25519" || passphrase === undefined) throw error;
    return new KeyPair().protect(passphrase);
  }
}
