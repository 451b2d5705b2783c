/** For who had p2panda-js: keys, operations and a session without storage. Call `loadWasm` first. */
import { fromBase64, randomBytes, toBase64, toHex } from "./bytes.js";
import type { Signer } from "./key.js";
import { loginByKey } from "./login.js";
import { Rpc, type SocketConstructor } from "./rpc.js";
import { wasm, type Draft, type Operation } from "./wasm.js";

export { KeyPair } from "./protected.js";
export { loadWasm } from "./wasm.js";
export type { Dependency, Draft, Operation } from "./wasm.js";

/** An operation with its body. */
export interface Encoded extends Operation {
  body: Uint8Array | undefined;
}

/** Signs an operation whose body is this value. */
export async function signAndEncode(
  signer: Signer,
  draft: Omit<Draft, "body">,
  value?: unknown,
): Promise<Encoded> {
  const body = value === undefined ? undefined : wasm.encode(value);
  const whole: Draft = body === undefined ? draft : { ...draft, body };
  const bytes = wasm.signingBytes(signer.publicKey, whole) as Uint8Array<ArrayBuffer>;
  return { ...wasm.assemble(signer.publicKey, whole, await signer.sign(bytes)), body };
}

/** Verifies an operation of a topic. The `code` of the error is the rule that is broken. */
export function decodeOperation(topic: string, header: Uint8Array, body?: Uint8Array): Operation {
  return wasm.verify(topic, header, body);
}

/** The value of a body. */
export function decodeBody(body: Uint8Array): unknown {
  return wasm.decode(body);
}

export function newTopic(): string {
  return toHex(randomBytes(32));
}

/** A connection to a node by a key, that remembers nothing. */
export class Session {
  private constructor(
    readonly rpc: Rpc,
    readonly signer: Signer,
  ) {}

  static async open(url: string, signer: Signer, WebSocket?: SocketConstructor): Promise<Session> {
    const rpc = await Rpc.open(url, WebSocket);
    await loginByKey(rpc, url, signer);
    return new Session(rpc, signer);
  }

  /** Where the log goes on, as the node says. Only who keeps the log itself may believe it. */
  async nextArgs(topic: string): Promise<{ seq: number; backlink?: string }> {
    const params = { topic, author: this.signer.publicKey };
    const { expected } = await this.rpc.call<{
      expected: { seq: number; backlink: string | null };
    }>("log.next", params);
    return expected.backlink === null
      ? { seq: expected.seq }
      : { seq: expected.seq, backlink: expected.backlink };
  }

  /** Brings an operation to the node: it is on its disk when this resolves. */
  async publish(topic: string, { header, body }: Encoded): Promise<string> {
    const params = { topic, header: toBase64(header) };
    const more = body === undefined ? {} : { body: toBase64(body) };
    return (await this.rpc.call<{ id: string }>("operation.submit", { ...params, ...more })).id;
  }

  close(): void {
    this.rpc.close();
  }
}

export { fromBase64, toBase64, toHex };
