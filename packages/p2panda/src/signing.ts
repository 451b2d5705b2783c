import {
  buffered,
  checkEpoch,
  all,
  Operations,
  placesOf,
  queued,
  requestsOf,
  type LogRow,
  type PlaceRow,
  type RequestRow,
  type TopicRow,
} from "./rows.js";
import type { Signer } from "./key.js";
import type { Reader, Store, Writer } from "./store.js";
import { wasm, type Dependency, type Draft, type Operation } from "./wasm.js";
import { ours } from "./errors.js";

/** The most requests signed in one transaction. */
const BATCH = 256;
/** Records that are examined first, and the most. */
const FEW = 8;
const REQUESTS = 1024;
/** The most dependencies of an operation (docs/protocol/operations.md#7). */
const DEPENDENCIES = 16;

interface Signed {
  request: RequestRow;
  operation: Operation;
}
type Drafts = { request: RequestRow; draft: Draft }[];
interface Batch {
  epoch: number;
  signed: Signed[];
  refused: RequestRow[];
}

/** Gives requests their places in this page's logs. Only the leader uses it. */
export class Signing {
  /** What came behind the last batch, as of its transaction; it is signed while that is written. */
  #ahead: Promise<Batch> | undefined;

  constructor(
    readonly store: Store,
    readonly signer: Signer,
  ) {}

  /** Whether requests came behind those of the last batch. */
  get isAhead(): boolean {
    return this.#ahead !== undefined;
  }

  /** Signs and stores the next requests. Empty if there were none. */
  async batch(epoch: number): Promise<PlaceRow[]> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    let batch = await ahead;
    if (batch?.epoch !== epoch) {
      batch = await this.#signAll(epoch, await this.store.read((reader) => this.#drafts(reader)));
    }
    if (batch.signed.length === 0 && batch.refused.length === 0) return [];
    try {
      return await this.store.write((writer) => this.#write(writer, batch));
    } catch (error) {
      // What continues it is not written either.
      this.#ahead = undefined;
      throw error;
    }
  }

  async #write(direct: Writer, { epoch, signed, refused }: Batch): Promise<PlaceRow[]> {
    await checkEpoch(direct, epoch);
    const writer = buffered(direct);
    const requests = requestsOf(direct);
    const places = placesOf(direct);
    for (const request of refused) await requests.set(request.number, request);
    const rows: PlaceRow[] = [];
    const topics = new Map<string, Operations>();
    const spaces = await spacesAmong(
      direct,
      signed.map(({ request }) => request),
    );
    for (const { request, operation } of signed) {
      const { topic, request: id, body, log: name } = request;
      // The topic carries a space since this was signed: it is given up, and the request is sealed.
      if (spaces.has(topic)) continue;
      const more = { body, missing: [], state: "signed" as const, request: id, name };
      const operations = topics.get(topic) ?? new Operations(writer, topic);
      topics.set(topic, operations);
      const row = await operations.append(operation, more);
      operations.send(row);
      await requests.set(request.number, undefined);
      places.append(request.number, { place: row.place }, 0);
      rows.push(row);
    }
    for (const operations of topics.values()) operations.flush();
    requests.flush(writer);
    places.flush(writer);
    writer.flush();
    const next = await this.#drafts(direct);
    if (next.length > 0) this.#ahead = this.#signAll(epoch, next);
    return rows;
  }

  async #signAll(epoch: number, drafts: Drafts): Promise<Batch> {
    const [signed, refused]: [Signed[], RequestRow[]] = [[], []];
    const before = new Map<string, Operation>();
    for (const { request, draft } of drafts) {
      const log = `${request.topic} ${request.log ?? ""}`;
      const last = before.get(log);
      if (last !== undefined) Object.assign(draft, { seq: last.seq + 1, backlink: last.id });
      try {
        const operation = await this.#sign(draft);
        before.set(log, operation);
        signed.push({ request, operation });
      } catch (error) {
        refused.push({ ...request, reason: ours(error).message });
      }
    }
    return { epoch, signed, refused };
  }

  async #sign(draft: Draft): Promise<Operation> {
    const author = this.signer.publicKey;
    const bytes = wasm.signingBytes(author, draft) as Uint8Array<ArrayBuffer>;
    return wasm.assemble(author, draft, await this.signer.sign(bytes));
  }

  async #drafts(reader: Reader): Promise<Drafts> {
    const open = await this.#open(reader);
    const heads = new Map<string, LogRow | undefined>();
    const drafts = [];
    let now = Date.now() * 1000;
    for (const request of open) {
      const { topic, log, body } = request;
      const logId = wasm.logId(topic, log);
      const isFirst = !heads.has(logId);
      if (isFirst) {
        const key = [topic, this.signer.publicKey, logId];
        heads.set(logId, await reader.get<LogRow>("logs", key));
      }
      const head = heads.get(logId);
      const draft: Draft = { topic, seq: 0, timestamp: (now += 1), body };
      if (log !== undefined) draft.log = log;
      if (head !== undefined) Object.assign(draft, { seq: head.seq + 1, backlink: head.id });
      // The first operation of a batch names what came before; the others imply it.
      if (isFirst) draft.deps = await this.#deps(reader, topic, logId, head?.place ?? 0);
      drafts.push({ request, draft });
    }
    return drafts;
  }

  /**
   * The next requests that can be signed. Those for spaces are sealed first, elsewhere, also if they were queued
   * before their topic carried one.
   */
  async #open(reader: Reader): Promise<RequestRow[]> {
    let open: RequestRow[] = [];
    // A record has one request or many.
    for (const [limit, enough] of [[FEW, BATCH], [BATCH, 1], [REQUESTS, 1]] as const) {
      const { requests, isMore } = await queued(reader, limit);
      const plain = requests.filter((row) => row.reason === undefined && row.sealed !== true);
      const spaces = await spacesAmong(reader, plain);
      open = plain.filter(({ topic }) => !spaces.has(topic));
      // Others may be in front of them.
      if (open.length >= enough || !isMore) break;
    }
    return open.slice(0, BATCH);
  }

  /** Heads of other logs that arrived since the page last wrote, the newest first. */
  async #deps(reader: Reader, topic: string, own: string, since: number): Promise<Dependency[]> {
    const first = wasm.logId(topic);
    const logs = await all<LogRow>(reader, "logs", topic);
    const isOther = (log: LogRow): boolean =>
      log.author !== this.signer.publicKey || log.logId !== own;
    const fresh = logs.filter((log) => log.place > since && isOther(log));
    fresh.sort((one, other) => other.place - one.place);
    return fresh.slice(0, DEPENDENCIES).map(({ author, logId, seq, id }) => {
      return logId === first ? { author, seq, id } : { author, log: logId, seq, id };
    });
  }
}

/** Topics of requests that carry a space now. */
async function spacesAmong(reader: Reader, requests: RequestRow[]): Promise<Set<string>> {
  const topics = [...new Set(requests.map(({ topic }) => topic))];
  const rows = await Promise.all(topics.map((topic) => reader.get<TopicRow>("topics", [topic])));
  return new Set(topics.filter((_, place) => rows[place]?.space === true));
}
