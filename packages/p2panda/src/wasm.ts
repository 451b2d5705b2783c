import init, * as wasm from "../wasm/p2panda_web.js";
import type * as Spaces from "../wasm/p2panda_spaces.js";

export type { Dependency, Draft, Operation } from "../wasm/p2panda_web.js";
export type {
  SpaceActed,
  SpaceDeed,
  SpaceEffects,
  SpaceInvite,
  SpaceLook,
  SpaceRole,
  SpaceRow,
  SpaceSealed,
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

async function read(url: URL): Promise<URL | BufferSource> {
  if (url.protocol !== "file:") return url;
  // Only Node loads modules from files.
  const name = "node:fs/promises";
  const { readFile } = (await import(/* @vite-ignore */ name)) as {
    readFile(url: URL): Promise<BufferSource>;
  };
  return readFile(url);
}
