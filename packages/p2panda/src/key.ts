import { toHex } from "./bytes.js";
import { PandaError } from "./errors.js";

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

/** A signer over a WebCrypto key. */
export async function signerOf(pair: CryptoKeyPair): Promise<Signer> {
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  return {
    publicKey: toHex(new Uint8Array(raw)),
    async sign(bytes) {
      return new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, bytes));
    },
  };
}
