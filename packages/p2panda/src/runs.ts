import type { Key, Reader, Table, Writer } from "./store.js";

/** The most values, and about the most bytes, of a record. */
const VALUES = 64;
const BYTES = 64 * 1024;

/** Values with consecutive numbers in one record, under the number of the first one. */
interface Together<T> {
  first: number;
  together: (T | undefined)[];
}
export type Stored<T> = T | Together<T>;

interface Run<T> {
  first: number;
  values: (T | undefined)[];
  bytes: number;
  isChanged: boolean;
}

/**
 * Numbered values of a table under a prefix, in one transaction. A browser takes as long for a record of one
 * value as for one of many, so that values appended in one transaction share records. `flush` writes.
 */
export class Runs<T extends object> {
  /** By the number of the first value: read or made in this transaction. */
  #runs = new Map<number, Run<T>>();
  #last: Run<T> | undefined;

  constructor(
    readonly reader: Reader,
    readonly table: Table,
    readonly prefix: Key,
  ) {}

  async get(number: number): Promise<T | undefined> {
    const run = await this.#find(number);
    return run?.values[number - run.first];
  }

  /** The values of one record, from this number on. */
  async rest(number: number): Promise<T[]> {
    const run = await this.#find(number);
    if (run === undefined) return [];
    return run.values.slice(number - run.first).filter((value) => value !== undefined);
  }

  /** Replaces a value that is there; with `undefined` deletes it. */
  async set(number: number, value: T | undefined): Promise<void> {
    const run = await this.#find(number);
    if (run === undefined) return;
    run.values[number - run.first] = value;
    run.isChanged = true;
    // What ends a record may be appended once more.
    while (run.values.length > 0 && run.values.at(-1) === undefined) run.values.pop();
  }

  /** Adds a value, also where a record has lost the one of this number. */
  async put(number: number, value: T, bytes: number): Promise<void> {
    if ((await this.#find(number)) === undefined) this.append(number, value, bytes);
    else await this.set(number, value);
  }

  /** Adds a value of about so many bytes, for a number that has none. */
  append(number: number, value: T, bytes: number): void {
    const last = this.#last;
    const fits =
      last !== undefined &&
      last.first + last.values.length === number &&
      last.values.length < VALUES &&
      last.bytes + bytes <= BYTES;
    if (fits) {
      last.values.push(value);
      last.bytes += bytes;
      return;
    }
    this.#last = { first: number, values: [value], bytes, isChanged: true };
    this.#runs.set(number, this.#last);
  }

  flush(writer: Writer): void {
    for (const { first, values, isChanged } of this.#runs.values()) {
      if (!isChanged) continue;
      const key = [...this.prefix, first];
      if (values.every((value) => value === undefined)) writer.delete(this.table, key);
      else if (values.length === 1) writer.put(this.table, key, values[0]);
      else writer.put(this.table, key, { first, together: values } satisfies Together<T>);
    }
  }

  async #find(number: number): Promise<Run<T> | undefined> {
    for (let first = number; first > number - VALUES && first >= 0; first -= 1) {
      const run = this.#runs.get(first);
      if (run !== undefined && number < first + run.values.length) return run;
    }
    const { reader, table, prefix } = this;
    const exact = await reader.get<Stored<T>>(table, [...prefix, number]);
    const [found] =
      exact !== undefined
        ? [exact]
        : await reader.range<Stored<T>>(
            table,
            [...prefix, Math.max(0, number - VALUES + 1)],
            [...prefix, number],
            { backwards: true, limit: 1 },
          );
    if (found === undefined) return undefined;
    const { first, together } = isTogether(found)
      ? found
      : { first: number, together: exact === undefined ? [] : [found] };
    if (number >= first + together.length) return undefined;
    const run = { first, values: [...together], bytes: BYTES, isChanged: false };
    this.#runs.set(first, run);
    return run;
  }
}

/** The values of records in their order. */
export function valuesOf<T extends object>(records: Stored<T>[]): T[] {
  return records.flatMap((record) =>
    isTogether(record)
      ? record.together.filter((value): value is T => value !== undefined)
      : [record],
  );
}

/** The values from one number to another, both included, where every number has one. */
export async function valuesFrom<T extends object>(
  reader: Reader,
  table: Table,
  prefix: Key,
  from: number,
  to: number,
): Promise<T[]> {
  // The record that holds the first one may begin before it.
  const values = await new Runs<T>(reader, table, prefix).rest(from);
  const next = from + values.length;
  if (values.length > 0 && next <= to) {
    const others = await reader.range<Stored<T>>(table, [...prefix, next], [...prefix, to]);
    values.push(...valuesOf(others));
  }
  return values.slice(0, Math.max(0, to - from + 1));
}

function isTogether<T extends object>(record: Stored<T>): record is Together<T> {
  return "together" in record;
}
