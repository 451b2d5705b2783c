/** Evidence against a node or an author: signed headers that anyone can check. */
export interface Evidence {
  headers: Uint8Array[];
  body?: Uint8Array;
  /** The node's answer, where it is not signed. */
  said?: string;
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
}

/** An error of the node, of the connection or of this package. `code` is stable. */
export class PandaError extends Error {
  override readonly name = "PandaError";
  readonly hint: string | undefined;
  readonly expected: Details["expected"];
  readonly reason: string | undefined;
  readonly evidence: Evidence | undefined;
  readonly topic: string | undefined;

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
  }

  /** A form that can be posted to another thread. */
  static plain(error: unknown): PlainError {
    if (error instanceof PandaError) {
      const { code, message, hint, expected, reason, evidence, topic } = error;
      return { code, message, details: { hint, expected, reason, evidence, topic } };
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

/** Rejects when the signal is aborted; otherwise settles as the work does. */
export async function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return work;
  if (signal.aborted) throw aborted(signal);
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

function aborted(signal: AbortSignal): PandaError {
  const why = signal.reason instanceof Error ? signal.reason.message : "it was aborted";
  return new PandaError("aborted", why);
}
