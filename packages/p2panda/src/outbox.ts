import { PandaError } from "./errors.js";
import { buffered, next, type PublishedRow, type RequestRow } from "./rows.js";
import type { Store, Writer } from "./store.js";

/** The most messages in one transaction. */
const AT_ONCE = 256;

/** A message to be published. */
export interface Outgoing {
  request: string;
  topic: string;
  body: Uint8Array;
  log: string | undefined;
  /** The body is sealed for this browser, and is to be sealed for a space. */
  sealed: boolean;
  /** Of everything that makes the message another one. */
  hash: string;
}

interface Waiting {
  message: Outgoing;
  taken(isNew: boolean): void;
  failed(error: unknown): void;
}

/** Queues messages on the disk. Those that come during a transaction share the next one. */
export class Outbox {
  #waiting: Waiting[] = [];
  #busy = false;

  constructor(
    readonly store: Store,
    /** Called after each transaction with the topics of spaces for which something was queued. */
    readonly queued: (spaces: Set<string>) => void,
  ) {}

  /** Resolves once the message is on the disk: whether it was not there before. */
  add(message: Outgoing): Promise<boolean> {
    return new Promise((taken, failed) => {
      this.#waiting.push({ message, taken, failed });
      if (!this.#busy) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#busy = true;
    while (this.#waiting.length > 0) {
      const all = this.#waiting.splice(0, AT_ONCE);
      try {
        const results = await this.store.write((writer) => put(writer, all));
        const added = all.filter((_, index) => results[index] === true).map(({ message }) => message);
        const spaces = new Set(added.filter(({ sealed }) => sealed).map(({ topic }) => topic));
        if (added.length > 0) this.queued(spaces);
        for (const [index, { taken, failed }] of all.entries()) {
          const result = results[index]!;
          if (typeof result === "boolean") taken(result);
          else failed(result);
        }
      } catch (error) {
        for (const { failed } of all) failed(error);
      }
    }
    this.#busy = false;
  }
}

/** For each message whether it is new, or why it is refused, which does not concern the others. */
async function put(direct: Writer, all: Waiting[]): Promise<(boolean | PandaError)[]> {
  const writer = buffered(direct);
  const results: (boolean | PandaError)[] = [];
  for (const { message } of all) {
    const { request, topic, body, log, sealed, hash } = message;
    const before = await writer.get<PublishedRow>("published", [request]);
    if (before !== undefined) {
      const isSame = before.hash === hash;
      results.push(!isSame && new PandaError("key-taken", "another message has this request id"));
      continue;
    }
    const number = await next(writer, "requests");
    const row: RequestRow = { number, request, topic, body, log, hash };
    if (sealed) row.sealed = true;
    writer.put("requests", [number], row);
    writer.put("published", [request], { topic, hash, number } satisfies PublishedRow);
    results.push(true);
  }
  writer.flush();
  return results;
}
