import { toBase64, fromBase64 } from "./bytes.js";
import { ours, PandaError, type NotKept } from "./errors.js";
import type { Signer } from "./key.js";
import { loginByKey, loginByToken } from "./login.js";
import { MOVED, Receiving, type Received, type Shown, type Verified } from "./receiving.js";
import {
  all,
  checkEpoch,
  Operations,
  rowsAt,
  unsent,
  type LogRow,
  type NodeRow,
  type PlaceRow,
} from "./rows.js";
import { endedWith, Rpc, type Hello, type Note, type SocketConstructor } from "./rpc.js";
import type { Store } from "./store.js";

/** Operations sent before their answers are stored, and about the most bytes of them. */
const ACKED_AT_ONCE = 128;
const ACKED_BYTES = 1024 * 1024;
/** Milliseconds until the next attempt to connect; doubled each time. */
const RETRY_FIRST = 250;
const RETRY_MOST = 30_000;
/** Milliseconds between signs of life, and until a silent node counts as gone. */
const ALIVE_EVERY = 20_000;
const ALIVE_WITHIN = 10_000;
/** Milliseconds until a refused operation is sent again. */
const REFUSED_RETRY = 30_000;
const BUSY_RETRY = 1_000;
/** Milliseconds until a connection ends whose operations the page could not store. */
const STORAGE_RETRY = 5_000;
/** Bytes waiting to be stored at which credit is withheld from the node. */
const QUEUED_BYTES = 1024 * 1024;

export interface SyncOptions {
  url: string;
  token?: string | undefined;
  node?: string | undefined;
  invite?: string | undefined;
  WebSocket?: SocketConstructor | undefined;
}

/** Which other nodes have an operation, as the node of the page says. */
export interface Delivery {
  sentTo: string[];
  notKept: NotKept[];
  /** Nodes that exchange the topic with the node now. */
  peers: string[];
}

/** Callbacks to the engine. */
export interface SyncEvents {
  connected(hello: Hello | undefined): void;
  received(topic: string, received: Received): void;
  behind(topic: string, count: number): void;
  stored(rows: PlaceRow[]): void;
  ephemeral(topic: string, message: Uint8Array): void;
  fault(error: PandaError): void;
  /** The page can no longer write. */
  deposed(): void;
}

/** Maintains the connection to the node and exchanges topics over it. */
export class Syncing {
  readonly #receiving: Receiving;
  #rpc: Rpc | undefined;
  #over = false;
  #wake: () => void = () => undefined;
  #topics = new Map<string, TopicSync>();
  #wanted = new Set<string>();

  constructor(
    readonly store: Store,
    readonly signer: Signer,
    readonly epoch: number,
    readonly options: SyncOptions,
    readonly events: SyncEvents,
  ) {
    this.#receiving = new Receiving(store, signer.publicKey);
    void this.#run();
  }

  close(): void {
    this.#over = true;
    this.#rpc?.close();
    this.#wake();
  }

  /** Tries to connect now. */
  wake(): void {
    this.#wake();
  }

  /** Starts exchanging a topic. */
  want(topic: string): void {
    this.#wanted.add(topic);
    this.#begin(topic);
  }

  /** Sends queued operations. */
  flush(topic: string): void {
    this.#topics.get(topic)?.flush();
  }

  announce(topic: string, message: Uint8Array): Promise<unknown> {
    if (this.#rpc === undefined)
      throw new PandaError("offline", "there is no connection to the node");
    return this.#rpc.call("ephemeral.submit", { topic, message: toBase64(message) });
  }

  /** Which other nodes have an operation, and which could get it. */
  async delivery(topic: string, id: string): Promise<Delivery> {
    const [trace, shared] = await Promise.all([
      this.#call<{ sent_to: string[]; not_kept?: NotKept[] }>("trace", { id }),
      this.#call<{ peers: { node: string }[] }>("topic.peers", { topic }),
    ]);
    const peers = shared.peers.map(({ node }) => node);
    return { sentTo: trace.sent_to, notKept: trace.not_kept ?? [], peers };
  }

  /** The logs of a topic of which other nodes keep nothing new. */
  async notKept(topic: string): Promise<NotKept[]> {
    const status = await this.#call<{ not_kept?: NotKept[] }>("topic.status", { topic });
    return status.not_kept ?? [];
  }

  /** Calls the node, if it is connected. */
  async #call<T>(method: string, params: Record<string, unknown>): Promise<T> {
    if (this.#rpc === undefined)
      throw new PandaError("offline", "there is no connection to the node");
    return this.#rpc.call(method, params);
  }

  async #run(): Promise<void> {
    let wait = RETRY_FIRST;
    while (!this.#over) {
      try {
        const rpc = await Rpc.open(this.options.url, this.options.WebSocket);
        this.#rpc = rpc;
        if (this.#over) rpc.close();
        const { token, node, invite } = this.options;
        const hello = await (token === undefined
          ? loginByKey(rpc, this.options.url, this.signer, { node, invite })
          : loginByToken(rpc, token));
        wait = RETRY_FIRST;
        this.events.connected(hello);
        const alive = keepAlive(rpc);
        for (const topic of this.#wanted) this.#begin(topic);
        this.events.fault(await rpc.closed);
        clearInterval(alive);
      } catch (error) {
        this.#rpc?.close();
        this.events.fault(ours(error));
      }
      this.#rpc = undefined;
      for (const topic of this.#topics.values()) topic.close();
      this.#topics.clear();
      this.events.connected(undefined);
      // Spread the reconnects of pages that lost the same node.
      if (!this.#over) await this.#pause(wait * (0.5 + Math.random()));
      wait = Math.min(2 * wait, RETRY_MOST);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #begin(topic: string): void {
    const rpc = this.#rpc;
    if (rpc === undefined || rpc.hello.node === "" || this.#topics.has(topic)) return;
    const { store, signer, epoch, events } = this;
    const context = { store, signer, epoch, events, rpc, receiving: this.#receiving };
    this.#topics.set(topic, new TopicSync(topic, context));
  }
}

interface Context {
  store: Store;
  signer: Signer;
  epoch: number;
  events: SyncEvents;
  rpc: Rpc;
  receiving: Receiving;
}

/** The exchange of one topic on one connection. */
class TopicSync {
  #over = false;
  #sending = false;
  #again = false;
  #notes: Waiting[] = [];
  #queued = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #restart: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly topic: string,
    readonly context: Context,
  ) {
    void this.#begin();
  }

  close(): void {
    this.#over = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#restart);
  }

  /** Ends with its connection; the next one starts its own. */
  #isOver(): boolean {
    return this.#over || this.context.rpc.isOver;
  }

  async #begin(): Promise<void> {
    const { rpc, events } = this.context;
    try {
      const after = await this.#compare();
      const params = { topic: this.topic, after };
      await rpc.subscribe("operations.subscribe", params, (note) => this.#heard(note));
      await rpc.subscribe("ephemeral.subscribe", { topic: this.topic }, ({ method, params }) => {
        if (method !== "ephemeral" || typeof params["message"] !== "string") return;
        events.ephemeral(this.topic, fromBase64(params["message"]));
      });
      this.flush();
      await this.#countBehind();
    } catch (error) {
      this.#failed(error);
      this.#beginLater();
    }
  }

  /** The node may accept later a topic that it refuses now. */
  #beginLater(): void {
    clearTimeout(this.#restart);
    if (!this.#isOver()) this.#restart = setTimeout(() => void this.#begin(), REFUSED_RETRY);
  }

  /** Compares the node's state with its earlier one. Returns where to continue reading. */
  async #compare(): Promise<number> {
    const { store, rpc, signer } = this.context;
    const node = rpc.hello.node;
    const read = await store.read(async (reader) => ({
      seen: await reader.get<NodeRow>("nodes", [node, this.topic]),
      logs: await all<LogRow>(reader, "logs", this.topic),
    }));
    const seen = read.seen ?? { arrival: 0, acked: {} };
    let isBack = false;
    const last = seen.last;
    // The RPC names a log by its name; another author's header has only the hash of it.
    if (last !== undefined && last.log === undefined && last.author !== signer.publicKey) {
      isBack = (await this.#next(last.author)).seq <= last.seq;
    }
    for (const log of read.logs.filter((log) => log.author === signer.publicKey)) {
      const expected = await this.#next(log.author, log.name);
      isBack ||= expected.seq <= (seen.acked[log.logId] ?? -1);
      await this.#goOn(log, expected.seq);
    }
    if (!isBack) return seen.refused === undefined ? seen.arrival : seen.refused - 1;
    await this.#rolledBack(node, seen);
    return 0;
  }

  async #next(author: string, log?: string): Promise<{ seq: number }> {
    const params = { topic: this.topic, author, ...(log === undefined ? {} : { log }) };
    const { expected } = await this.context.rpc.call<{ expected: { seq: number } }>(
      "log.next",
      params,
    );
    return expected;
  }

  /** Sends own operations again that this node lacks; closes a log of which it has more. */
  async #goOn(log: LogRow, seq: number): Promise<void> {
    const { store, epoch, events } = this.context;
    if (seq > log.seq + 1) {
      const message = "the node has entries of this page's log that the page did not write";
      events.fault(
        new PandaError("own-log-moved", message, { topic: this.topic, hint: MOVED }),
      );
      return;
    }
    // It has them all.
    if (seq === log.seq + 1) return;
    await store.write(async (writer) => {
      await checkEpoch(writer, epoch);
      const operations = new Operations(writer, this.topic);
      for (let next = seq; next <= log.seq; next += 1) {
        const entry = await operations.entry(log.author, log.logId, next);
        if (entry === undefined) continue;
        await operations.sendAgain(log.logId, next, entry.place);
      }
      operations.flush();
    });
  }

  async #rolledBack(node: string, seen: NodeRow): Promise<void> {
    const { store, epoch, events } = this.context;
    const evidence = await store.write(async (writer) => {
      await checkEpoch(writer, epoch);
      writer.put("nodes", [node, this.topic], { arrival: 0, acked: {} } satisfies NodeRow);
      if (seen.last === undefined) return [];
      const { author, logId, seq } = seen.last;
      const operations = new Operations(writer, this.topic);
      const known = await operations.entry(author, logId, seq);
      const row = known && (await operations.at(known.place));
      return row === undefined ? [] : [row.header];
    });
    const message = "the node has lost what it had shown or stored before";
    const details = { topic: this.topic, evidence: { headers: evidence, said: "log.next" } };
    events.fault(new PandaError("node-rolled-back", message, details));
  }

  async #countBehind(): Promise<void> {
    const { rpc, store, events } = this.context;
    const status = await rpc.call<{ operations: number }>("topic.status", { topic: this.topic });
    const own = await store.read((reader) =>
      reader.get<number>("meta", ["counter", "places", this.topic]),
    );
    events.behind(this.topic, Math.max(0, status.operations - (own ?? 0)));
  }

  #heard({ method, params }: Note): void {
    if (method === "ended") {
      this.#failed(endedWith({ method, params }));
      this.#beginLater();
    } else if (method === "operations") {
      const { subscription, bytes, operations } = params as unknown as OperationsNote;
      const verified = this.context.receiving.verify(this.topic, operations);
      const note: Waiting = { subscription, bytes, verified, isPaid: false };
      this.#notes.push(note);
      this.#queued += bytes;
      // The next ones arrive while these are stored.
      note.isPaid = this.#queued <= QUEUED_BYTES;
      if (note.isPaid) this.#pay(note);
      if (this.#notes.length === 1) void this.#take();
    }
  }

  #pay({ subscription, bytes }: Waiting): void {
    this.context.rpc.tell("messages.credit", { subscription, bytes });
  }

  /** Everything that arrived during a transaction goes into the next one. */
  async #take(): Promise<void> {
    const { receiving, epoch, rpc, events } = this.context;
    while (this.#notes.length > 0 && !this.#over) {
      const notes = [...this.#notes];
      try {
        const verified = notes.map(({ verified }) => verified);
        const received = await receiving.batch(epoch, this.topic, rpc.hello.node, verified);
        events.received(this.topic, received);
      } catch (error) {
        this.#failed(error);
        // Another connection reads again what could not be stored.
        this.close();
        this.#retry = setTimeout(() => rpc.close(), STORAGE_RETRY);
        return;
      }
      this.#notes.splice(0, notes.length);
      for (const note of notes) {
        this.#queued -= note.bytes;
        if (!note.isPaid) this.#pay(note);
      }
    }
  }

  /** Sends unsent operations. */
  flush(): void {
    this.#again = true;
    if (this.#sending || this.#over) return;
    this.#sending = true;
    clearTimeout(this.#retry);
    void this.#send().finally(() => (this.#sending = false));
  }

  async #send(): Promise<void> {
    while (this.#again && !this.#over) {
      this.#again = false;
      const rows = await this.#unsent();
      if (rows.length === 0) return;
      const { rpc } = this.context;
      // The node stores them in this order, and syncs them together.
      const answers = await Promise.allSettled(
        rows.map((row) => rpc.call("operation.submit", submitted(row))),
      );
      const stored = rows.filter((_, index) => answers[index]!.status === "fulfilled");
      // What follows a refused operation in its log is refused as well.
      const failed = answers.findIndex(({ status }) => status === "rejected");
      const answer = answers[failed];
      const fault = answer?.status === "rejected" ? ours(answer.reason) : undefined;
      await this.#write(stored, fault, rows[failed]);
      if (fault === undefined) this.#again = true;
    }
  }

  #unsent(): Promise<PlaceRow[]> {
    return this.context.store.read(async (reader) => {
      const places = await unsent(reader, [this.topic], ACKED_AT_ONCE);
      return rowsAt(reader, this.topic, places.slice(0, ACKED_AT_ONCE), ACKED_BYTES);
    });
  }

  async #write(
    stored: PlaceRow[],
    fault: PandaError | undefined,
    failed: PlaceRow | undefined,
  ): Promise<void> {
    const { store, epoch, rpc, events } = this.context;
    const node = rpc.hello.node;
    const rows = stored.map((row): PlaceRow => ({ ...row, state: "stored", reason: undefined }));
    const isBlocked = fault !== undefined && !PASSING.has(fault.code) && failed !== undefined;
    if (isBlocked) rows.push({ ...failed, state: "blocked", reason: fault.reason ?? fault.code });
    try {
      await store.write(async (writer) => {
        await checkEpoch(writer, epoch);
        const seen = (await writer.get<NodeRow>("nodes", [node, this.topic])) ?? {
          arrival: 0,
          acked: {},
        };
        const operations = new Operations(writer, this.topic);
        for (const row of rows) {
          await operations.change(row);
          if (row.state !== "stored") continue;
          await operations.sent(row.logId, row.seq);
          seen.acked[row.logId] = row.seq;
        }
        operations.flush();
        writer.put("nodes", [node, this.topic], { ...seen, node, topic: this.topic });
      });
      events.stored(rows);
    } catch (error) {
      return this.#failed(error);
    }
    if (fault !== undefined) await this.#refused(fault, failed);
  }

  async #refused(fault: PandaError, failed: PlaceRow | undefined): Promise<void> {
    if (fault.code === "closed") return;
    this.context.events.fault(this.#about(fault));
    const expected = fault.expected;
    if (fault.code === "log-moved" && failed !== undefined && expected !== undefined) {
      // The node lost entries while connected: send again from there.
      await this.#compare().catch((error: unknown) => this.#failed(error));
      if (expected.seq < failed.seq) return this.flushLater(0);
    }
    this.flushLater(BUSY.has(fault.code) ? BUSY_RETRY : REFUSED_RETRY);
  }

  flushLater(ms: number): void {
    clearTimeout(this.#retry);
    if (!this.#isOver()) this.#retry = setTimeout(() => this.flush(), ms);
  }

  #failed(error: unknown): void {
    const { events, rpc } = this.context;
    const fault = ours(error);
    if (fault.code === "not-leader") return events.deposed();
    if (fault.code === "closed" && rpc.isOver) return;
    events.fault(this.#about(fault));
  }

  /** The same error with the topic that it is about. */
  #about(fault: PandaError): PandaError {
    const { code, message, details } = PandaError.plain(fault);
    return new PandaError(code, message, { ...details, topic: details.topic ?? this.topic });
  }
}

/** Errors that may pass by themselves (docs/protocol/rpc.md#6). */
const BUSY = new Set(["quota", "storage", "timeout"]);
/** Errors that do not block an operation. */
const PASSING = new Set([...BUSY, "closed", "unanswered", "log-moved"]);

interface OperationsNote {
  subscription: number;
  bytes: number;
  operations: Shown[];
}

/** What came and is not stored yet. */
interface Waiting {
  subscription: number;
  bytes: number;
  verified: Verified;
  /** The node may send as much once more. */
  isPaid: boolean;
}

function submitted({ topic, header, body }: PlaceRow): Record<string, string> {
  const params = { topic, header: toBase64(header) };
  return body === undefined ? params : { ...params, body: toBase64(body) };
}

/** Ends a connection that was cut silently by sleep or a change of network. */
function keepAlive(rpc: Rpc): ReturnType<typeof setInterval> {
  return setInterval(() => {
    const timer = setTimeout(() => rpc.close(), ALIVE_WITHIN);
    const heard = (): void => clearTimeout(timer);
    rpc.call("auth.challenge").then(heard, heard);
  }, ALIVE_EVERY);
}
