import { randomBytes } from "./bytes.js";
import type { Store } from "./store.js";

const IV_BYTES = 12;
const text = new TextEncoder();

/** Seals stored rows of spaces under a non-extractable key. */
export class Vault {
  private constructor(
    readonly key: CryptoKey,
    readonly pepper: Uint8Array,
  ) {}

  static async open(store: Store): Promise<Vault> {
    const key = await kept(store, "vault", () =>
      crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]),
    );
    const bare = new Vault(key, new Uint8Array());
    const pepper = await kept(store, "pepper", () => bare.seal("pepper", randomBytes(32)));
    return new Vault(key, await bare.open("pepper", pepper));
  }

  /** Binds the name: a row does not open under another one. */
  async seal(name: string, bytes: Uint8Array): Promise<Uint8Array> {
    const iv = randomBytes(IV_BYTES);
    const algorithm = { name: "AES-GCM", iv, additionalData: text.encode(name) };
    const sealed = await crypto.subtle.encrypt(algorithm, this.key, bytes as BufferSource);
    const all = new Uint8Array(IV_BYTES + sealed.byteLength);
    all.set(iv);
    all.set(new Uint8Array(sealed), IV_BYTES);
    return all;
  }

  async open(name: string, sealed: Uint8Array): Promise<Uint8Array> {
    const iv = sealed.slice(0, IV_BYTES);
    const algorithm = { name: "AES-GCM", iv, additionalData: text.encode(name) };
    const rest = sealed.slice(IV_BYTES);
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, this.key, rest));
  }
}

/** The value under this name; made if there is none. Of two tabs, the first one's counts. */
async function kept<T>(store: Store, name: string, make: () => Promise<T>): Promise<T> {
  const found = await store.read((reader) => reader.get<T>("meta", [name]));
  if (found !== undefined) return found;
  const made = await make();
  return store.write(async (writer) => {
    const other = await writer.get<T>("meta", [name]);
    if (other === undefined) writer.put("meta", [name], made);
    return other ?? made;
  });
}
