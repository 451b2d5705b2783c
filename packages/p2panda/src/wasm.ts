import { randomBytes } from "./bytes.js";
import init, * as wasm from "../wasm/p2panda_web.js";
import type * as Spaces from "../wasm/p2panda_spaces.js";

import type { Dependency } from "../wasm/p2panda_web.js";
export type { Dependency, Draft, Operation } from "../wasm/p2panda_web.js";
export type {
  SpaceActed,
  SpaceDeed,
  SpaceEffects,
  SpaceInvite,
  SpaceLook,
  SpaceRole,
  SpaceRow,
} from "../wasm/p2panda_spaces.js";
export { wasm };
export type SpacesWasm = typeof Spaces;

let loaded: Promise<void> | undefined;
let spaces: Promise<SpacesWasm> | undefined;

/** Loads the module once: in Node from its file, elsewhere from next to this file. */
export function loadWasm(): Promise<void> {
  loaded ??= read(new URL("./p2panda_web_bg.wasm", import.meta.url)).then(async (module) => {
    await init({ module_or_path: module });
  });
  return loaded;
}

/** Loads the module for spaces, once the first one is opened. */
export function loadSpaces(): Promise<SpacesWasm> {
  spaces ??= (async () => {
    const module = await import("../wasm/p2panda_spaces.js");
    const bytes = await read(new URL("./p2panda_spaces_bg.wasm", import.meta.url));
    await module.default({ module_or_path: bytes });
    return module;
  })();
  // It may load the next time.
  spaces.catch(() => (spaces = undefined));
  return spaces;
}

/** Sealed bodies, and what the headers around them name. */
export interface Sealed {
  bodies: Uint8Array[];
  deps: Dependency[];
}

/** Seals bodies for the members of a space, in one call: each array that goes into a module takes time. */
export function sealAll(
  module: SpacesWasm,
  page: number,
  topic: string,
  bodies: Uint8Array[],
  isEphemeral: boolean,
): Sealed {
  const lengths = Uint32Array.from(bodies, (body) => body.length);
  const data = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let start = 0;
  for (const body of bodies) {
    data.set(body, start);
    start += body.length;
  }
  const seed = randomBytes(32);
  const sealed = module.spacesSeal(page, topic, data, lengths, isEphemeral, seed);
  start = 0;
  const each = Array.from(sealed.lengths, (length) => sealed.data.slice(start, (start += length)));
  return { bodies: each, deps: sealed.deps };
}

async function read(url: URL): Promise<URL | BufferSource> {
  if (url.protocol !== "file:") return url;
  // Only Node loads modules from files.
  const name = "node:fs/promises";
  const { readFile } = (await import(/* @vite-ignore */ name)) as {
    readFile(url: URL): Promise<BufferSource>;
  };
  return readFile(url);
}
