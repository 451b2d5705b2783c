/** Keys, operations and a session without storage, for users of p2panda-js. Call `loadWasm` first. */
import { checkBytes, fromBase64, randomBytes, toBase64, toHex } from "./bytes.js";
import { abortable, typed } from "./errors.js";
import { checkSigner, type Signer } from "./key.js";
import { loginByKey } from "./login.js";
import { endedWith, Rpc, type Note, type SocketConstructor } from "./rpc.js";
import { checkValue } from "./value.js";
import { loadWasm, wasm, type Draft, type Operation } from "./wasm.js";

export { KeyPair } from "./protected.js";
export { loadWasm };
/** The name that p2panda-js had for it. */
export { loadWasm as initWebAssembly };
export type { Dependency, Draft, Operation } from "./wasm.js";

/** An operation: header and body. */
export interface Encoded extends Operation {
  body: Uint8Array | undefined;
}

/** A verified operation that a node delivered. */
export interface Arrived extends Encoded {
  /** Where `operations` continues. */
  arrival: number;
}

/** Encodes a value as the body of an operation: deterministic CBOR. */
export function encodeBody(value: unknown): Uint8Array {
  checkValue(value);
  return wasm.encode(value);
}

/** BLAKE3 of these bytes; the hash of a header is the id of its operation. */
export function generateHash(bytes: Uint8Array): string {
  checkBytes("message", bytes);
  return wasm.hash(bytes);
}

/** Whether this key signed this message. */
export function verifySignature(key: string, message: Uint8Array, signature: Uint8Array): boolean {
  checkBytes("message", message);
  checkBytes("signature", signature);
  return wasm.verifySignature(key, message, signature);
}

/** Signs an operation with this value as its body. */
export async function signAndEncode(
  signer: Signer,
  draft: Omit<Draft, "body">,
  value?: unknown,
): Promise<Encoded> {
  checkSigner(signer);
  const body = value === undefined ? undefined : encodeBody(value);
  const whole: Draft = body === undefined ? draft : { ...draft, body };
  const bytes = wasm.signingBytes(signer.publicKey, whole) as Uint8Array<ArrayBuffer>;
  return { ...wasm.assemble(signer.publicKey, whole, await signer.sign(bytes)), body };
}

/** Verifies an operation of a topic. The `code` of the error is the rule that is broken. */
export function decodeOperation(topic: string, header: Uint8Array, body?: Uint8Array): Operation {
  checkBytes("header", header);
  if (body !== undefined) checkBytes("body", body);
  return wasm.verify(topic, header, body);
}

/** The value of a body. */
export function decodeBody(body: Uint8Array): unknown {
  checkBytes("body", body);
  return wasm.decode(body);
}

export function newTopic(): string {
  return toHex(randomBytes(32));
}

/** A connection to a node that logs in by a key and stores nothing. */
export class Session {
  private constructor(
    readonly rpc: Rpc,
    readonly signer: Signer,
  ) {}

  static async open(
    url: string,
    signer: Signer,
    WebSocket?: SocketConstructor,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Session> {
    const rpc = await Rpc.open(url, WebSocket, signal);
    try {
      await abortable(
        typed(() => loginByKey(rpc, url, signer)),
        signal,
      );
    } catch (error) {
      rpc.close();
      throw error;
    }
    return new Session(rpc, signer);
  }

  /** Where the log continues according to the node. Check it against your own copy of the log. */
  async nextArgs(
    topic: string,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<{ seq: number; backlink?: string }> {
    const params = { topic, author: this.signer.publicKey };
    const { expected } = await this.rpc.call<{
      expected: { seq: number; backlink: string | null };
    }>("log.next", params, signal);
    return expected.backlink === null
      ? { seq: expected.seq }
      : { seq: expected.seq, backlink: expected.backlink };
  }

  /** Sends an operation to the node. It is on the node's disk when this resolves. */
  async publish(
    topic: string,
    operation: Encoded,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<string> {
    const { header, body } = operation ?? {};
    checkBytes("header of the operation", header);
    if (body !== undefined) checkBytes("body of the operation", body);
    const params = { topic, header: toBase64(header) };
    const more = body === undefined ? {} : { body: toBase64(body) };
    const all = { ...params, ...more };
    return (await this.rpc.call<{ id: string }>("operation.submit", all, signal)).id;
  }

  /**
   * The operations of a topic in the order in which the node got them, those that are stored first. Each is
   * verified, and the first that is forged ends it. It does not report gaps, forks and missing operations:
   * `connect` does.
   */
  async *operations(
    topic: string,
    { after = 0, signal }: { after?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<Arrived, void, void> {
    const { rpc } = this;
    const notes: Note[] = [];
    let wake = (): void => undefined;
    const listen = (note: Note): void => {
      notes.push(note);
      wake();
    };
    const params = { topic, after };
    const subscription = await rpc.subscribe("operations.subscribe", params, listen, signal);
    try {
      for (;;) {
        const note = notes.shift();
        if (note === undefined) {
          const came = new Promise<undefined>((resolve) => (wake = () => resolve(undefined)));
          const over = await abortable(Promise.race([came, rpc.closed]), signal);
          if (over !== undefined) throw over;
          continue;
        }
        if (note.method === "ended") throw endedWith(note);
        const { bytes, operations } = note.params as unknown as Batch;
        for (const one of operations) yield arrived(topic, one);
        rpc.tell("messages.credit", { subscription, bytes });
      }
    } finally {
      rpc.end(subscription);
    }
  }

  close(): void {
    this.rpc.close();
  }
}

interface Batch {
  bytes: number;
  operations: { arrival: number; header: string; body?: string }[];
}

function arrived(topic: string, { arrival, header, body }: Batch["operations"][number]): Arrived {
  const bytes = body === undefined ? undefined : fromBase64(body);
  return { ...decodeOperation(topic, fromBase64(header), bytes), body: bytes, arrival };
}

export { fromBase64, toBase64, toHex };
