import type { Dependency, Operation } from "./wasm.js";
import { Runs, valuesFrom, valuesOf, type Stored } from "./runs.js";
import { LAST, type Key, type Reader, type Table, type Writer } from "./store.js";
import { PandaError } from "./errors.js";

/** The state of an operation of this page. Those of others are `stored`. */
export type State = "queued" | "signed" | "stored" | "blocked";

/** The state of a message of this page. */
export interface StateChange {
  request: string;
  id: string;
  state: State;
  reason: string | undefined;
}

/** A verified operation, in the order of arrival at this page. */
export interface PlaceRow {
  topic: string;
  place: number;
  id: string;
  author: string;
  logId: string;
  log: string | undefined;
  seq: number;
  backlink: string | undefined;
  timestamp: number;
  deps: Dependency[];
  header: Uint8Array;
  body: Uint8Array | undefined;
  /** Dependencies that were missing when it arrived. */
  missing: Dependency[];
  state: State;
  /** Why it is blocked. */
  reason: string | undefined;
  /** Of an own operation: the request id that its publisher chose. */
  request: string | undefined;
  /** In a space: whether it is shown. */
  shown?: boolean;
}

/** A topic that is exchanged. */
export interface TopicRow {
  topic: string;
  at: number;
  /** Whether it carries an encrypted space. */
  space?: boolean;
}

/** In a space: content that is shown or withdrawn from here on. */
export interface FeedRow {
  place: number;
  stands: boolean;
}

/** A row of the spaces, sealed. */
export interface RoomRow {
  key: string;
  sealed: Uint8Array;
}

export interface LogRow {
  author: string;
  logId: string;
  /** Name of one of this page's own logs. */
  name: string | undefined;
  seq: number;
  id: string;
  place: number;
}

/** A published message that has no place in a log yet. */
export interface RequestRow {
  number: number;
  request: string;
  topic: string;
  body: Uint8Array;
  log: string | undefined;
  /** The body is sealed for this browser until it is sealed for a space. */
  sealed?: boolean;
  reason?: string;
  /** When it was queued, in microseconds; earlier versions did not keep it. */
  at?: number;
}

/** By request id. */
export interface PublishedRow {
  topic: string;
  hash: string;
  number: number;
  /** Earlier versions kept it here, not by number. */
  place?: number;
}

/** Where an operation is. */
export interface Placed {
  place: number;
}

/** What a node has sent and stored. */
export interface NodeRow {
  node?: string;
  topic?: string;
  arrival: number;
  /** The first arrival that the page could not store. */
  refused?: number;
  last?: { author: string; logId: string; log: string | undefined; seq: number; id: string };
  /** By log id: the last own operation that the node says it has stored. */
  acked: Record<string, number>;
}

/** Raises a counter and returns its value. */
export async function next(writer: Writer, ...name: string[]): Promise<number> {
  const value = ((await writer.get<number>("meta", ["counter", ...name])) ?? 0) + 1;
  writer.put("meta", ["counter", ...name], value);
  return value;
}

/** Only the leader of the last election writes logs. */
export async function checkEpoch(writer: Writer, epoch: number): Promise<void> {
  if ((await writer.get("meta", ["epoch"])) !== epoch) {
    throw new PandaError("not-leader", "another tab writes now");
  }
}

/** A writer that reads each head and counter once and writes it once, in `flush`. */
export function buffered(writer: Writer): Writer & { flush(): void } {
  const kept = new Map<
    string,
    { table: "logs" | "meta"; key: Key; value: unknown; isNew: boolean }
  >();
  const isKept = (table: Table): table is "logs" | "meta" => table === "logs" || table === "meta";
  const put = (table: Table, key: Key, value: unknown): void => {
    if (!isKept(table)) writer.put(table, key, value);
    else kept.set(`${table} ${key.join(" ")}`, { table, key, value, isNew: true });
  };
  return {
    async get<T>(table: Table, key: Key) {
      if (!isKept(table)) return writer.get<T>(table, key);
      const name = `${table} ${key.join(" ")}`;
      const known = kept.get(name);
      if (known !== undefined) return known.value as T | undefined;
      const value = await writer.get<T>(table, key);
      kept.set(name, { table, key, value, isNew: false });
      return value;
    },
    range: (table, from, to, options) => writer.range(table, from, to, options),
    put,
    delete: (table, key) => writer.delete(table, key),
    flush() {
      for (const { table, key, value, isNew } of kept.values()) {
        if (isNew) writer.put(table, key, value);
      }
    },
  };
}

/** The key range of a topic. */
export function all<T>(reader: Reader, table: "logs", topic: string): Promise<T[]> {
  return reader.range<T>(table, [topic], [topic, LAST]);
}

/** An operation of a log, by its number. */
export interface Entry {
  place: number;
  id: string;
}

/** The operations of a topic in one transaction, by place and by log. `flush` writes what is new or changed. */
export class Operations {
  readonly #places: Runs<PlaceRow>;
  #logs = new Map<string, Runs<Entry>>();
  #unsent = new Map<string, Runs<Placed>>();

  constructor(
    readonly writer: Writer,
    readonly topic: string,
  ) {
    this.#places = new Runs(writer, "places", [topic]);
  }

  at(place: number): Promise<PlaceRow | undefined> {
    return this.#places.get(place);
  }

  entry(author: string, logId: string, seq: number): Promise<Entry | undefined> {
    return this.#log(author, logId).get(seq);
  }

  /** Replaces the row of its place. */
  change(row: PlaceRow): Promise<void> {
    return this.#places.set(row.place, row);
  }

  /** Takes an operation out of its log. */
  async forget({ author, logId, seq }: PlaceRow): Promise<void> {
    await this.#log(author, logId).set(seq, undefined);
  }

  /** Appends an operation to the page's order and to its log. */
  async append(operation: Operation, more: More): Promise<PlaceRow> {
    const { topic, writer } = this;
    const place = await next(writer, "places", topic);
    const { id, author, logId, log, seq, backlink, timestamp, deps, header } = operation;
    const { name, ...rest } = more;
    const row: PlaceRow = {
      ...{ topic, place, id, author, logId, log, seq, backlink, timestamp, deps, header },
      ...rest,
      reason: undefined,
    };
    this.#places.append(place, row, header.length + (row.body?.length ?? 0));
    this.#log(author, logId).append(seq, { place, id }, id.length);
    const head: LogRow = { author, logId, name, seq, id, place };
    writer.put("logs", [topic, author, logId], head);
    return row;
  }

  /** A new operation of this page is to be sent. */
  send({ logId, seq, place }: PlaceRow): void {
    this.#unsentOf(logId).append(seq, { place }, 0);
  }

  /** An operation that was sent is to be sent again. */
  async sendAgain(logId: string, seq: number, place: number): Promise<void> {
    await this.#unsentOf(logId).put(seq, { place }, 0);
  }

  /** It need not be sent any more. */
  async sent(logId: string, seq: number): Promise<void> {
    await this.#unsentOf(logId).set(seq, undefined);
  }

  flush(): void {
    for (const runs of [this.#places, ...this.#logs.values(), ...this.#unsent.values()])
      runs.flush(this.writer);
  }

  #unsentOf(logId: string): Runs<Placed> {
    const known = this.#unsent.get(logId);
    if (known !== undefined) return known;
    const made = new Runs<Placed>(this.writer, "unsent", [this.topic, logId]);
    this.#unsent.set(logId, made);
    return made;
  }

  #log(author: string, logId: string): Runs<Entry> {
    const name = `${author} ${logId}`;
    const known = this.#logs.get(name);
    if (known !== undefined) return known;
    const made = new Runs<Entry>(this.writer, "operations", [this.topic, author, logId]);
    this.#logs.set(name, made);
    return made;
  }
}

type More = Pick<PlaceRow, "body" | "missing" | "state" | "request"> & { name: string | undefined };

/** Queued messages, by number. `flush` writes what is new or changed. */
export function requestsOf(reader: Reader): Runs<RequestRow> {
  return new Runs<RequestRow>(reader, "requests", []);
}

/** The places of messages that were signed, by the number of their requests. */
export function placesOf(reader: Reader): Runs<Placed> {
  return new Runs<Placed>(reader, "published", ["placed"]);
}

/** The own operations of a topic, or all, that no node has stored: up to so many records. */
export async function unsent(
  reader: Reader,
  topic: string[],
  limit?: number,
): Promise<Placed[]> {
  const options = limit === undefined ? {} : { limit };
  const bounds = [topic, [...topic, LAST]] as const;
  return valuesOf(await reader.range<Stored<Placed>>("unsent", ...bounds, options));
}

/** Queued messages, up to so many records, and whether there may be more. */
export async function queued(
  reader: Reader,
  limit?: number,
): Promise<{ requests: RequestRow[]; isMore: boolean }> {
  const options = limit === undefined ? {} : { limit };
  const bounds = [[0], [Infinity]] as const;
  const records = await reader.range<Stored<RequestRow>>("requests", ...bounds, options);
  return { requests: valuesOf<RequestRow>(records), isMore: records.length === limit };
}

/** The rows of these places, all of which are there, until they have so many bytes. */
export async function rowsAt(
  reader: Reader,
  topic: string,
  places: { place: number }[],
  most = Infinity,
): Promise<PlaceRow[]> {
  const runs = new Runs<PlaceRow>(reader, "places", [topic]);
  const rows = [];
  let bytes = 0;
  for (const { place } of places) {
    if (bytes >= most) break;
    const row = (await runs.get(place))!;
    rows.push(row);
    bytes += row.header.length + (row.body?.length ?? 0);
  }
  return rows;
}

/** Up to `most` rows after a place. */
export async function rowsAfter(
  reader: Reader,
  topic: string,
  after: number,
  most: number,
): Promise<PlaceRow[]> {
  const last = (await reader.get<number>("meta", ["counter", "places", topic])) ?? 0;
  const to = Math.min(last, after + most);
  return to <= after ? [] : valuesFrom<PlaceRow>(reader, "places", [topic], after + 1, to);
}

/** All rows, or those of a topic. */
export async function allRows(reader: Reader, ...topic: string[]): Promise<PlaceRow[]> {
  return valuesOf<PlaceRow>(await reader.range("places", topic, [...topic, LAST]));
}
