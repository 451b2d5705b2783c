import { fromBase64 } from "./bytes.js";
import { ours, PandaError, type Details } from "./errors.js";
import { buffered, checkEpoch, Operations, type LogRow, type NodeRow, type PlaceRow } from "./rows.js";
import type { Store } from "./store.js";
import { wasm, type Dependency, type Operation } from "./wasm.js";

/** What to do when the page's own log continued elsewhere. */
export const MOVED =
  "the key is in use elsewhere, or storage was lost: make a new key with `recover`";

/** An operation as a node sends it. */
export interface Shown {
  arrival: number;
  header: string;
  body?: string;
}

/** The result of a batch from a node. */
export interface Received {
  /** New operations of others. */
  rows: PlaceRow[];
  /** Operations of this page that the node turns out to have. */
  stored: PlaceRow[];
  /** Faults of the node or of an author. */
  faults: PandaError[];
}

interface Checked {
  operation: Operation;
  body: Uint8Array | undefined;
}

/** Verified operations that are not stored yet. */
export interface Verified {
  arrivals: number[];
  checked: (Checked | "passed" | undefined)[];
  faults: PandaError[];
}

/** The operation was stored, has to be read again, or was reported as a fault. */
type Verdict = "taken" | "again" | "told";
type Fault = (code: string, message: string, details?: Details) => Verdict;

/**
 * Takes what a node sends: verifies each operation and its place in its log, and stores what follows.
 * Nothing that a node claims is trusted here.
 */
export class Receiving {
  constructor(
    readonly store: Store,
    readonly publicKey: string,
  ) {}

  /** Verifies what came, which can happen while what came before is being stored. */
  verify(topic: string, shown: Shown[]): Verified {
    const faults: PandaError[] = [];
    const checked = shown.map((one) => check(topic, one, faults));
    return { arrivals: shown.map(({ arrival }) => arrival), checked, faults };
  }

  /** Stores what was verified, in one transaction. */
  async batch(epoch: number, topic: string, node: string, all: Verified[]): Promise<Received> {
    const faults = all.flatMap((verified) => verified.faults);
    const received: Received = { rows: [], stored: [], faults };
    const arrivals = all.flatMap((verified) => verified.arrivals);
    const checked = all.flatMap((verified) => verified.checked);
    await this.store.write(async (direct) => {
      await checkEpoch(direct, epoch);
      const writer = buffered(direct);
      const operations = new Operations(writer, topic);
      const seen = (await writer.get<NodeRow>("nodes", [node, topic])) ?? {
        arrival: 0,
        acked: {},
      };
      for (const [place, one] of checked.entries()) {
        const arrival = arrivals[place]!;
        seen.arrival = Math.max(seen.arrival, arrival);
        if (one === "passed") continue;
        const verdict =
          one === undefined ? "again" : await this.#take(operations, one, received);
        // Where the node may answer differently next time, the next connection reads again.
        if (verdict === "again") seen.refused = Math.min(seen.refused ?? arrival, arrival);
        if (verdict !== "taken") continue;
        if (seen.refused === arrival) delete seen.refused;
        const { author, logId, log, seq, id } = one!.operation;
        seen.last = { author, logId, log, seq, id };
      }
      writer.put("nodes", [node, topic], { ...seen, node, topic });
      operations.flush();
      writer.flush();
      // A power cut loses messages and position together, and the node sends them again.
    }, "relaxed");
    return received;
  }

  async #take(operations: Operations, one: Checked, received: Received): Promise<Verdict> {
    const { writer, topic } = operations;
    const { operation, body } = one;
    const { author, logId, seq, header } = operation;
    const head = await writer.get<LogRow>("logs", [topic, author, logId]);
    const fault: Fault = (code, message, details) => {
      received.faults.push(new PandaError(code, message, { topic, ...details }));
      return code === "node-gap" ? "again" : "told";
    };
    switch (wasm.place(header, operation.prune, head?.seq, head?.id)) {
      case "next":
        break;
      case "taken":
        return this.#taken(operations, operation, received, fault);
      case "early":
        return fault("node-gap", `the node leaves out what comes before entry ${seq} of a log`, {
          evidence: { headers: [header] },
        });
      default: {
        const last = await operations.at(head!.place);
        return fault("log-forked", "an author has signed two logs in one place", {
          evidence: { headers: last === undefined ? [header] : [last.header, header] },
        });
      }
    }
    if (author === this.publicKey) {
      return fault(
        "own-log-moved",
        "the node shows an entry of this page's log that it did not write",
        {
          hint: MOVED,
          evidence: { headers: [header] },
        },
      );
    }
    const missing = await this.#missing(operations, operation.deps);
    const more = { body, missing, state: "stored" as const, request: undefined, name: undefined };
    received.rows.push(await operations.append(operation, more));
    return "taken";
  }

  async #taken(
    operations: Operations,
    operation: Operation,
    received: Received,
    fault: Fault,
  ): Promise<Verdict> {
    const { author, logId, seq, id, header } = operation;
    const known = await operations.entry(author, logId, seq);
    // Below the first entry that the page has of a log.
    if (known === undefined) return "told";
    const row = await operations.at(known.place);
    if (known.id !== id) {
      const code = author === this.publicKey ? "own-log-forked" : "log-forked";
      return fault(code, "an author has signed two entries for one place", {
        hint: author === this.publicKey ? MOVED : undefined,
        evidence: { headers: row === undefined ? [header] : [row.header, header] },
      });
    }
    if (row !== undefined && row.state !== "stored") {
      const stored: PlaceRow = { ...row, state: "stored", reason: undefined };
      await operations.change(stored);
      await operations.sent(logId, seq);
      received.stored.push(stored);
    }
    return "taken";
  }

  async #missing(operations: Operations, deps: Dependency[]): Promise<Dependency[]> {
    const missing = [];
    for (const dependency of deps) {
      const { author, log, seq } = dependency;
      const entry = await operations.entry(author, log ?? wasm.logId(operations.topic), seq);
      if (entry === undefined) missing.push(dependency);
    }
    return missing;
  }
}

/** Nothing if it is forged; `passed` if it is from a later release. */
function check(topic: string, shown: Shown, faults: PandaError[]): Checked | "passed" | undefined {
  let header = new Uint8Array();
  let body: Uint8Array | undefined;
  try {
    header = fromBase64(shown.header);
    body = shown.body === undefined ? undefined : fromBase64(shown.body);
    return { operation: wasm.verify(topic, header, body), body };
  } catch (error) {
    const reason = ours(error).code;
    // An author may use a later release than this page; that is not a fault.
    if (reason === "unknown-extensions") return "passed";
    const evidence = body === undefined ? { headers: [header] } : { headers: [header], body };
    const message = `the node shows an operation that nobody signed (${reason})`;
    faults.push(new PandaError("node-forged", message, { topic, reason, evidence }));
    return undefined;
  }
}
