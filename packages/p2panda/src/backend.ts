import { PandaError, type PlainError } from "./errors.js";
import type { Engine, Event, Status } from "./engine.js";

/** The methods of an engine that a page may call. */
export type Method =
  | "identity"
  | "status"
  | "open"
  | "publish"
  | "receipt"
  | "read"
  | "waiting"
  | "cursor"
  | "ack"
  | "last"
  | "order"
  | "announce"
  | "delivery"
  | "notKept"
  | "checkMember"
  | "ticket"
  | "invite"
  | "spaceAct"
  | "spaceLook"
  | "spaces"
  | "recover"
  | "wake"
  | "close"
  | "wipe";

/** An engine in this thread or in a worker. */
export interface Backend {
  call<T>(method: Method, ...args: unknown[]): Promise<T>;
  listen(listener: (event: Event) => void): () => void;
  /** Ends the worker, if there is one. */
  end(): void;
}

/** An engine in this thread. */
export function inThread(engine: Engine): Backend {
  let over: PandaError | undefined;
  return {
    async call<T>(method: Method, ...args: unknown[]) {
      if (over !== undefined) throw over;
      const work = engine[method] as (...args: unknown[]) => unknown;
      try {
        return (await work.apply(engine, args)) as T;
      } catch (error) {
        throw PandaError.of(PandaError.plain(error));
      }
    },
    listen: (listener) => engine.listen(listener),
    end: () => void (over = ended()),
  };
}

/** A message from the page to the worker. */
export type ToWorker =
  | { kind: "start"; options: WorkerOptions }
  | { kind: "call"; number: number; method: Method; args: unknown[] };
/** A message from the worker to the page. */
export type FromWorker =
  | { kind: "started"; error?: PlainError }
  | { kind: "result"; number: number; result?: unknown; error?: PlainError }
  | { kind: "event"; event: Event };

export interface WorkerOptions {
  url: string;
  name: string;
  storage: "indexeddb" | "memory";
  token?: string | undefined;
  node?: string | undefined;
  invite?: string | undefined;
  key?: CryptoKeyPair | undefined;
  passphrase?: string | undefined;
}

/** An engine in a worker. */
export async function inWorker(worker: Worker, options: WorkerOptions): Promise<Backend> {
  const waiting = new Map<
    number,
    { resolve(result: unknown): void; reject(error: PandaError): void }
  >();
  const listeners = new Set<(event: Event) => void>();
  let count = 0;
  let over: PandaError | undefined;
  let status: Status | undefined;
  const tell = (event: Event): void => {
    if (event.kind === "status") status = event.status;
    for (const listener of listeners) listener(event);
  };
  await new Promise<void>((resolve, reject) => {
    const fail = (error: PandaError): void => {
      over = error;
      reject(error);
      for (const one of waiting.values()) one.reject(error);
      waiting.clear();
      // Streams and receipts wait for events of the worker.
      tell({ kind: "fault", error: PandaError.plain(error) });
      tell({ kind: "status", status: closedAfter(status, error) });
    };
    worker.onerror = (event) => {
      event.preventDefault();
      fail(
        new PandaError(
          "no-worker",
          `the worker does not run: ${event.message ?? "it was not found"}`,
        ),
      );
    };
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === "event") {
        tell(data.event);
      } else if (data.kind === "started") {
        if (data.error === undefined) resolve();
        else fail(PandaError.of(data.error));
      } else {
        const one = waiting.get(data.number);
        waiting.delete(data.number);
        if (data.error === undefined) one?.resolve(data.result);
        else one?.reject(PandaError.of(data.error));
      }
    };
    try {
      worker.postMessage({ kind: "start", options } satisfies ToWorker);
    } catch (error) {
      fail(new PandaError("invalid", `an option cannot be sent: ${String(error)}`));
    }
  });
  return {
    call<T>(method: Method, ...args: unknown[]) {
      if (over !== undefined) return Promise.reject(over);
      const number = (count += 1);
      return new Promise<T>((resolve, reject) => {
        waiting.set(number, { resolve: resolve as (result: unknown) => void, reject });
        try {
          worker.postMessage({ kind: "call", number, method, args } satisfies ToWorker);
        } catch (error) {
          waiting.delete(number);
          reject(new PandaError("invalid", `this cannot be sent: ${String(error)}`));
        }
      });
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    end() {
      const error = (over = ended());
      worker.terminate();
      // No answer comes to these.
      for (const one of waiting.values()) one.reject(error);
      waiting.clear();
    },
  };
}

/** The state once the worker runs no longer. */
function closedAfter(status: Status | undefined, error: PandaError): Status {
  const before = status ?? { behind: 0, unsent: 0, node: undefined };
  return { ...before, state: "closed", leader: false, lastError: PandaError.plain(error) };
}

function ended(): PandaError {
  return new PandaError("closed", "it was closed");
}
