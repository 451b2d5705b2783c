/** Evidence against a node or an author: signed headers that anyone can check. */
export interface Evidence {
  headers: Uint8Array[];
  body?: Uint8Array;
  /** The node's answer, where it is not signed. */
  said?: string;
}

/** A log of which another node keeps nothing new, because a quota of that node is used up. */
export interface NotKept {
  node: string;
  author: string;
  /** Whether it is a log with a name. */
  named: boolean;
  /** Sequence number of the first operation that the node does not keep. */
  from: number;
  quota: "author" | "topic" | "all" | "other";
}

/** Details of an error. */
export interface Details {
  hint?: string | undefined;
  /** With `log-moved`: where the log continues. */
  expected?: { seq: number; backlink?: string | null } | undefined;
  /** With `refused-operation` and `node-forged`: the rule that was broken. */
  reason?: string | undefined;
  evidence?: Evidence | undefined;
  topic?: string | undefined;
  /** With `not-kept`: the nodes that do not keep the message. */
  notKept?: NotKept[] | undefined;
}

/** An error of the node, of the connection or of this package. `code` is stable. */
export class PandaError extends Error {
  override readonly name = "PandaError";
  readonly hint: string | undefined;
  readonly expected: Details["expected"];
  readonly reason: string | undefined;
  readonly evidence: Evidence | undefined;
  readonly topic: string | undefined;
  readonly notKept: NotKept[] | undefined;

  constructor(
    readonly code: string,
    message: string,
    details: Details = {},
  ) {
    super(message);
    this.hint = details.hint;
    this.expected = details.expected;
    this.reason = details.reason;
    this.evidence = details.evidence;
    this.topic = details.topic;
    this.notKept = details.notKept;
  }

  /** A form that can be posted to another thread. */
  static plain(error: unknown): PlainError {
    if (error instanceof PandaError) {
      const { code, message, hint, expected, reason, evidence, topic, notKept } = error;
      const details = { hint, expected, reason, evidence, topic, notKept };
      return { code, message, details };
    }
    if (error instanceof Error) {
      const code = (error as { code?: unknown }).code;
      return {
        code: typeof code === "string" ? code : "internal",
        message: error.message,
        details: {},
      };
    }
    return { code: "internal", message: String(error), details: {} };
  }

  static of(plain: PlainError): PandaError {
    return new PandaError(plain.code, plain.message, plain.details);
  }
}

export interface PlainError {
  code: string;
  message: string;
  details: Details;
}

export function closed(why = "the connection to the node is over"): PandaError {
  return new PandaError("closed", why, { hint: "is the node running?" });
}

/** Turns an error of WebAssembly or of the platform into ours. */
export function ours(error: unknown): PandaError {
  return error instanceof PandaError ? error : PandaError.of(PandaError.plain(error));
}

/** The result of this work, which fails with our errors only. */
export async function typed<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw ours(error);
  }
}

/** Rejects when the signal is aborted; otherwise settles as the work does. */
export async function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return work;
  try {
    checkSignal(signal);
  } catch (error) {
    // Nobody waits for it any more.
    work.catch(() => undefined);
    throw error;
  }
  let stop = (): void => undefined;
  const abort = new Promise<never>((_, reject) => {
    stop = () => reject(aborted(signal));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, abort]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Fails if it was aborted before it began. */
export function checkSignal(signal?: AbortSignal): void {
  if (signal === undefined) return;
  if (typeof signal?.addEventListener !== "function") {
    throw new PandaError("invalid", "the option `signal` is not an AbortSignal");
  }
  if (signal.aborted) throw aborted(signal);
}

function aborted(signal: AbortSignal): PandaError {
  const why = signal.reason instanceof Error ? signal.reason.message : "it was aborted";
  return new PandaError("aborted", why);
}
