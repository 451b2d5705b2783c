import { fromBase64, randomBytes, toBase64 } from "./bytes.js";
import { PandaError } from "./errors.js";
import type { Signer } from "./key.js";
import { wasm } from "./wasm.js";

const PREFIX = "panda-key:";
const VERSION = 1;
const SALT_BYTES = 16;
const IV_BYTES = 12;

/** A key whose seed is in memory, where this page can read it. Prefer the keys of `connect`. */
export class KeyPair implements Signer {
  readonly publicKey: string;
  readonly #seed: Uint8Array;

  constructor(seed: Uint8Array = randomBytes(32)) {
    if (!(seed instanceof Uint8Array) || seed.length !== 32) {
      throw new PandaError("invalid", "a seed is a Uint8Array of 32 bytes");
    }
    this.publicKey = wasm.publicKey(seed);
    this.#seed = seed.slice();
  }

  /** The seed, from which anyone can make the key again: a secret. */
  exportSeed(): Uint8Array {
    return this.#seed.slice();
  }

  async sign(bytes: Uint8Array): Promise<Uint8Array> {
    return wasm.sign(this.#seed, bytes);
  }

  /** Encrypts the key under a passphrase: Argon2id, then AES-GCM. */
  async protect(passphrase: string): Promise<string> {
    checkPassphrase(passphrase);
    if (passphrase === "") throw new PandaError("invalid", "the passphrase is empty");
    const [salt, iv] = [randomBytes(SALT_BYTES), randomBytes(IV_BYTES)];
    const key = await aes(passphrase, salt, "encrypt");
    const front = Uint8Array.of(VERSION);
    const algorithm = { name: "AES-GCM", iv, additionalData: front };
    const sealed = await crypto.subtle.encrypt(algorithm, key, this.#seed as BufferSource);
    return PREFIX + toBase64(Uint8Array.of(VERSION, ...salt, ...iv, ...new Uint8Array(sealed)));
  }

  /** A key that `protect` wrote. */
  static async open(text: string, passphrase: string): Promise<KeyPair> {
    checkPassphrase(passphrase);
    const bytes = read(text);
    const salt = bytes.slice(1, 1 + SALT_BYTES);
    const iv = bytes.slice(1 + SALT_BYTES, 1 + SALT_BYTES + IV_BYTES);
    const key = await aes(passphrase, salt, "decrypt");
    const algorithm = { name: "AES-GCM", iv, additionalData: bytes.slice(0, 1) };
    try {
      const rest = bytes.slice(1 + SALT_BYTES + IV_BYTES);
      return new KeyPair(new Uint8Array(await crypto.subtle.decrypt(algorithm, key, rest)));
    } catch {
      throw new PandaError("wrong-passphrase", "the passphrase is another one");
    }
  }
}

function checkPassphrase(passphrase: unknown): void {
  if (typeof passphrase !== "string") {
    throw new PandaError("invalid", "the passphrase is not a text");
  }
}

function read(text: string): Uint8Array<ArrayBuffer> {
  try {
    const bytes = fromBase64(text.slice(PREFIX.length));
    const isWhole = bytes.length === 1 + SALT_BYTES + IV_BYTES + 32 + 16;
    if (text.startsWith(PREFIX) && isWhole && bytes[0] === VERSION) return bytes;
  } catch {
    // Reported below.
  }
  throw new PandaError("invalid", "this is not a complete protected key");
}

function aes(
  passphrase: string,
  salt: Uint8Array,
  usage: "encrypt" | "decrypt",
): Promise<CryptoKey> {
  // The same passphrase can be typed as different code points.
  const key = wasm.stretch(passphrase.normalize("NFKC"), salt) as BufferSource;
  return crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
}
