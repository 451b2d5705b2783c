import type { PlaceRow } from "./rows.js";

/** About the most bytes of headers and bodies that are kept. */
const BYTES = 4 * 1024 * 1024;

/**
 * What the node sent last, as it was stored: a page that shows messages while they come reads them from here,
 * not from the storage. Operations of others do not change.
 */
export class Recent {
  #batches: { topic: string; rows: PlaceRow[]; bytes: number }[] = [];
  #bytes = 0;

  /** Adds what was stored in one transaction, in consecutive places. */
  add(topic: string, rows: PlaceRow[]): void {
    let bytes = 0;
    for (const { header, body } of rows) bytes += header.length + (body?.length ?? 0);
    this.#batches.push({ topic, rows, bytes });
    this.#bytes += bytes;
    while (this.#bytes > BYTES) this.#bytes -= this.#batches.shift()!.bytes;
  }

  /** Rows that follow a place without a gap, at most so many; none if the first one is not here. */
  after(topic: string, place: number, most: number): PlaceRow[] {
    const found: PlaceRow[] = [];
    let wanted = place + 1;
    for (const batch of this.#batches) {
      const first = batch.rows[0]?.place;
      if (batch.topic !== topic || first === undefined) continue;
      const from = wanted - first;
      if (from < 0 || from >= batch.rows.length) continue;
      found.push(...batch.rows.slice(from, from + most - found.length));
      wanted = place + 1 + found.length;
      if (found.length >= most) break;
    }
    return found;
  }

  clear(): void {
    this.#batches = [];
    this.#bytes = 0;
  }
}
