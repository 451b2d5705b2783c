/** A key: compared element by element, numbers before texts. */
export type Key = readonly (string | number)[];

/** The tables of a store. */
export const TABLES = [
  "meta",
  "topics",
  "logs",
  "operations",
  "places",
  "requests",
  "published",
  "unsent",
  "cursors",
  "nodes",
  "rooms",
  "feed",
] as const;
export type Table = (typeof TABLES)[number];

/** Sorts after every element of a key. */
export const LAST = "\uffff";

export interface Reader {
  get<T>(table: Table, key: Key): Promise<T | undefined>;
  /** The values between two keys, inclusive. */
  range<T>(table: Table, from: Key, to: Key, options?: RangeOptions): Promise<T[]>;
}
export interface RangeOptions {
  limit?: number;
  /** The same in descending order. */
  backwards?: boolean;
}
export interface Writer extends Reader {
  put(table: Table, key: Key, value: unknown): void;
  delete(table: Table, key: Key): void;
}

/** The page's storage. Work in a transaction must await nothing but the transaction. */
export interface Store {
  read<T>(work: (reader: Reader) => Promise<T>): Promise<T>;
  /** All or nothing, on the disk once it resolves; with `relaxed`, for what the node has too, soon after. */
  write<T>(work: (writer: Writer) => Promise<T>, durability?: "strict" | "relaxed"): Promise<T>;
  close(): void;
  /** Deletes everything for good. */
  wipe(): Promise<void>;
  /** Called when another version of this package takes over the store, or another tab has deleted it. */
  onTaken: ((isWiped: boolean) => void) | undefined;
}

export function compare(one: Key, other: Key): number {
  for (let place = 0; place < Math.min(one.length, other.length); place += 1) {
    const [a, b] = [one[place]!, other[place]!];
    if (a === b) continue;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a < b ? -1 : 1;
  }
  return one.length - other.length;
}

/** A store in memory: for Node, tests, and private windows without storage. */
export class MemoryStore implements Store {
  onTaken: ((isWiped: boolean) => void) | undefined;
  #tables = new Map<Table, Row[]>(TABLES.map((table) => [table, []]));
  #last: Promise<unknown> = Promise.resolve();

  read<T>(work: (reader: Reader) => Promise<T>): Promise<T> {
    return this.#inOrder(() => work(this.#transaction([])));
  }

  write<T>(work: (writer: Writer) => Promise<T>): Promise<T> {
    return this.#inOrder(async () => {
      const undo: (() => void)[] = [];
      try {
        return await work(this.#transaction(undo));
      } catch (error) {
        for (const step of undo.reverse()) step();
        throw error;
      }
    });
  }

  close(): void {
    this.onTaken = undefined;
  }

  async wipe(): Promise<void> {
    for (const rows of this.#tables.values()) rows.length = 0;
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #transaction(undo: (() => void)[]): Writer {
    const rows = (table: Table): Row[] => this.#tables.get(table)!;
    const change = (table: Table, key: Key, value: unknown): void => {
      const all = rows(table);
      const place = placeOf(all, key);
      const before = all[place];
      const isThere = before !== undefined && compare(before.key, key) === 0;
      const row = value === undefined ? [] : [{ key, value }];
      all.splice(place, isThere ? 1 : 0, ...row);
      undo.push(() => all.splice(place, row.length, ...(isThere ? [before] : [])));
    };
    return {
      async get<T>(table: Table, key: Key) {
        const row = rows(table)[placeOf(rows(table), key)];
        return row !== undefined && compare(row.key, key) === 0 ? (row.value as T) : undefined;
      },
      async range<T>(table: Table, from: Key, to: Key, options: RangeOptions = {}) {
        const all = rows(table);
        const end = placeOf(all, [...to, LAST]);
        const limit = options.limit ?? Infinity;
        const found: T[] = [];
        if (options.backwards === true) {
          for (let place = end - 1; place >= 0 && found.length < limit; place -= 1) {
            if (compare(all[place]!.key, from) < 0) break;
            found.push(all[place]!.value as T);
          }
          return found;
        }
        for (let place = placeOf(all, from); place < end && found.length < limit; place += 1) {
          found.push(all[place]!.value as T);
        }
        return found;
      },
      put: change,
      delete: (table, key) => change(table, key, undefined),
    };
  }
}

interface Row {
  key: Key;
  value: unknown;
}

/** The index of the key, or where it belongs. */
function placeOf(rows: Row[], key: Key): number {
  let [from, to] = [0, rows.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (compare(rows[middle]!.key, key) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
