import { PandaError } from "./errors.js";
import { buffered, next, requestsOf, type PublishedRow, type RequestRow } from "./rows.js";
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
      // What the page has sent already comes along.
      await taken();
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

/** Resolves when the messages that have arrived in this thread are taken. */
function taken(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}

/** For each message whether it is new, or why it is refused, which does not concern the others. */
async function put(direct: Writer, all: Waiting[]): Promise<(boolean | PandaError)[]> {
  const writer = buffered(direct);
  const results: (boolean | PandaError)[] = [];
  const known = await publishedBefore(direct, all);
  const requests = requestsOf(direct);
  for (const { message } of all) {
    const { request, topic, body, log, sealed, hash } = message;
    const before = known.get(request);
    if (before !== undefined) {
      const isSame = before.hash === hash;
      results.push(!isSame && new PandaError("key-taken", "another message has this request id"));
      continue;
    }
    const number = await next(writer, "requests");
    const row: RequestRow = { number, request, topic, body, log, at: Date.now() * 1000 };
    if (sealed) row.sealed = true;
    requests.append(number, row, body.length);
    const published: PublishedRow = { topic, hash, number };
    known.set(request, published);
    writer.put("published", [request], published);
    results.push(true);
  }
  requests.flush(writer);
  writer.flush();
  return results;
}

/** All are read at once: a browser takes as long for one answer as for many. */
async function publishedBefore(
  writer: Writer,
  all: Waiting[],
): Promise<Map<string, PublishedRow>> {
  const known = new Map<string, PublishedRow>();
  const read = async ({ message: { request } }: Waiting): Promise<void> => {
    const row = await writer.get<PublishedRow>("published", [request]);
    if (row !== undefined) known.set(request, row);
  };
  await Promise.all(all.map(read));
  return known;
}
