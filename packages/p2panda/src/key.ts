import { toHex } from "./bytes.js";
import { PandaError } from "./errors.js";

/** Who signs. The key itself may be somewhere else. */
export interface Signer {
  /** 64 hexadecimal digits. */
  readonly publicKey: string;
  sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
}

/** Refuses where the platform has no keys: pages that do not come by https or from this computer. */
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

/** A new key that nobody can read, not even this page. */
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

/** A key of WebCrypto as signer. */
export async function signerOf(pair: CryptoKeyPair): Promise<Signer> {
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  return {
    publicKey: toHex(new Uint8Array(raw)),
    async sign(bytes) {
      return new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, bytes));
    },
  };
}
