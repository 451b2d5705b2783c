import { inviteProof, readInvite } from "./access.js";
import { fromBase64, randomBytes, toBase64 } from "./bytes.js";
import { PandaError } from "./errors.js";
import { checkSigner, type Signer } from "./key.js";
import { loginText } from "./login-text.js";
import { CLIENT, RPC_VERSION, type Hello, type Rpc } from "./rpc.js";

export { loginText };

/** Seconds for which a proof is valid; a node accepts up to 60. */
const PROOF_SECONDS = 50;

/** What may be said with the proof of a key. */
export interface KeyLogin {
  /** Id of the node; any other node is refused. */
  node?: string | undefined;
  /** An invite that admits the key: `panda-access:...`. Only the node that made it learns of it. */
  invite?: string | undefined;
}

/** Proves a key on a connection. */
export async function loginByKey(
  rpc: Rpc,
  url: string,
  signer: Signer,
  { node, invite }: KeyLogin = {},
): Promise<Hello> {
  checkSigner(signer);
  const code = invite === undefined ? undefined : await readInvite(invite);
  const challenge = await rpc.call<{ node: string; nonce: string; now?: number }>(
    "auth.challenge",
  );
  for (const meant of [node, code?.node]) {
    if (meant !== undefined && challenge.node !== meant) {
      throw new PandaError("other-node", `this is the node ${challenge.node}, not ${meant}`);
    }
  }
  const server = decodeNonce(challenge.nonce);
  const nonce = randomBytes(32);
  // The node's clock, since ours may be wrong: its nonce makes the proof valid once at any time.
  const expires = Math.floor(challenge.now ?? Date.now() / 1000) + PROOF_SECONDS;
  const text = loginText(challenge.node, new URL(url).host, nonce, server, expires);
  const signature = await signer.sign(new TextEncoder().encode(text));
  const key = {
    key: signer.publicKey,
    nonce: toBase64(nonce),
    expires,
    signature: toBase64(signature),
    ...(code === undefined
      ? {}
      : { invite: { id: code.id, proof: toBase64(inviteProof(code, text, signer.publicKey)) } }),
  };
  return hello(rpc, { key });
}

export function loginByToken(rpc: Rpc, token: string): Promise<Hello> {
  return hello(rpc, { token });
}

async function hello(rpc: Rpc, auth: object): Promise<Hello> {
  rpc.hello = await rpc.call<Hello>("hello", { rpc: RPC_VERSION, client: CLIENT, auth });
  return rpc.hello;
}

/** Only 32 bytes of the server enter the signed text. */
function decodeNonce(text: string): Uint8Array {
  try {
    const bytes = fromBase64(text);
    if (bytes.length === 32) return bytes;
  } catch {
    // Reported below.
  }
  throw new PandaError("closed", "the challenge of the node is none");
}
