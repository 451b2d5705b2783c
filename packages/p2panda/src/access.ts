import { fromHex, toHex } from "./bytes.js";
import { PandaError } from "./errors.js";
import { loadWasm, wasm } from "./wasm.js";

const SCHEME = "panda-access:";
const VERSION = 1;
const CHECKSUM = "p2panda rpc invite checksum v1";
const DIGITS = "abcdefghijklmnopqrstuvwxyz234567";
/** Bytes of version, node, id, secret and checksum. */
const BYTES = 1 + 32 + 8 + 32 + 4;
const CHECKSUM_BYTES = 4;

/** An invite to a node (docs/protocol/rpc.md#4). */
export interface Invite {
  /** The node that made it. */
  node: string;
  id: string;
  /** Never sent. */
  secret: Uint8Array;
}

/** Reads an invite, as `panda node invite` prints it. */
export async function readInvite(text: string): Promise<Invite> {
  await loadWasm();
  if (typeof text !== "string") throw new PandaError("invalid", "the invite is not a text");
  const trimmed = text.trim();
  if (!trimmed.startsWith(SCHEME)) {
    throw new PandaError("invalid", `an invite to a node begins with ${SCHEME}`);
  }
  const bytes = fromBase32(trimmed.slice(SCHEME.length));
  const front = bytes.subarray(0, -CHECKSUM_BYTES);
  const sum = wasm.hash(front, undefined, CHECKSUM).slice(0, 2 * CHECKSUM_BYTES);
  if (front.length === 0 || toHex(bytes.subarray(-CHECKSUM_BYTES)) !== sum) throw damaged();
  if (front[0] !== VERSION) {
    throw new PandaError("invalid", `the invite has version ${front[0]}`, {
      hint: "use a newer version of this package",
    });
  }
  if (bytes.length !== BYTES) throw damaged();
  return {
    node: toHex(bytes.subarray(1, 33)),
    id: toHex(bytes.subarray(33, 41)),
    secret: bytes.slice(41, 73),
  };
}

/** Proves an invite with the text that a key signs, without its secret. */
export function inviteProof(invite: Invite, text: string, key: string): Uint8Array {
  const said = new TextEncoder().encode(`${text}key: ${key}\n`);
  return fromHex(wasm.hash(said, invite.secret));
}

/** RFC 4648 without padding, in either case. */
function fromBase32(text: string): Uint8Array {
  if (text.length > 2 * BYTES || !/^[a-zA-Z2-7]+$/.test(text)) throw damaged();
  const bytes = new Uint8Array(Math.floor((5 * text.length) / 8));
  let [value, bits, place] = [0, 0, 0];
  for (const letter of text.toLowerCase()) {
    value = (value << 5) | DIGITS.indexOf(letter);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[place] = value >>> bits;
    place += 1;
    value &= (1 << bits) - 1;
  }
  // What is left is less than a digit, and zero.
  if (bits >= 5 || value !== 0) throw damaged();
  return bytes;
}

function damaged(): PandaError {
  return new PandaError("invalid", "a character of the invite is wrong or missing", {
    hint: "copy it again",
  });
}
