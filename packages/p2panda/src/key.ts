import { isHex32, toHex } from "./bytes.js";
import { PandaError } from "./errors.js";
import { loginText } from "./login-text.js";

/** Signs for a public key. The private key may be elsewhere. */
export interface Signer {
  /** 64 hexadecimal digits. */
  readonly publicKey: string;
  sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

/** Throws where WebCrypto is missing: on pages that come neither by https nor from this computer. */
export function checkPlatform(): void {
  if (globalThis.isSecureContext === false || globalThis.crypto?.subtle === undefined) {
    throw new PandaError(
      "insecure-context",
      "this page came over a connection that anybody can change",
      {
        hint: "open it by https or from localhost: only there the browser keeps keys",
      },
    );
  }
}

/** Makes a non-extractable key: not even this page can read it. */
export async function makeKey(): Promise<CryptoKeyPair> {
  checkPlatform();
  try {
    return (await crypto.subtle.generateKey("Ed25519", false, [
      "sign",
      "verify",
    ])) as CryptoKeyPair;
  } catch (error) {
    throw new PandaError("no-ed25519", `this browser has no Ed25519: ${String(error)}`, {
      hint: "Firefox 130, Safari 17, Chromium 137 and newer have it; with a `passphrase` it works here, too",
    });
  }
}

/** Refuses what is not a pair of WebCrypto keys for Ed25519 that can sign. */
export function checkPair(pair: unknown): asserts pair is CryptoKeyPair {
  const { publicKey, privateKey } = (pair ?? {}) as Partial<CryptoKeyPair>;
  const isFit =
    isEd25519(publicKey, "public") &&
    isEd25519(privateKey, "private") &&
    publicKey.extractable &&
    privateKey.usages.includes("sign");
  if (!isFit) throw unfit("the key is not a pair of Ed25519 keys that can sign");
}

function isEd25519(key: unknown, type: KeyType): key is CryptoKey {
  const { algorithm, type: found } = (key ?? {}) as Partial<CryptoKey>;
  return found === type && algorithm?.name === "Ed25519";
}

function unfit(message: string): PandaError {
  return new PandaError("invalid", message, {
    hint: 'crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])',
  });
}

/** Refuses what cannot sign for a public key. */
export function checkSigner(signer: unknown): asserts signer is Signer {
  const { publicKey, sign } = (signer ?? {}) as Partial<Signer>;
  if (!isHex32(publicKey) || typeof sign !== "function") {
    throw new PandaError("invalid", "the key has no `publicKey` of 64 digits, or no `sign`", {
      hint: "pass a `KeyPair`",
    });
  }
}

/**
 * What is signed to find out whether the two keys of a pair belong together: a login that has expired, since a key
 * signs nothing but the kinds of docs/protocol/operations.md 1.8.
 */
function probeOf(publicKey: string): Uint8Array<ArrayBuffer> {
  const none = new Uint8Array(32);
  return new TextEncoder().encode(loginText(publicKey, "", none, none, 0));
}

/** A signer over a WebCrypto key. */
export async function signerOf(pair: CryptoKeyPair): Promise<Signer> {
  checkPair(pair);
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  const publicKey = toHex(new Uint8Array(raw));
  const probe = probeOf(publicKey);
  const signature = await crypto.subtle.sign("Ed25519", pair.privateKey, probe);
  const verifying = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  if (!(await crypto.subtle.verify("Ed25519", verifying, signature, probe))) {
    throw unfit("the private key is not the one of the public key");
  }
  return {
    publicKey,
    async sign(bytes) {
      return new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, bytes));
    },
  };
}
