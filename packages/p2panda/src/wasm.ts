import init, * as wasm from "../wasm/p2panda_web.js";

export type { Dependency, Draft, Operation } from "../wasm/p2panda_web.js";
export { wasm };

let loaded: Promise<void> | undefined;

/** Loads the module once; in Node from its file, elsewhere from where this file came from. */
export function loadWasm(): Promise<void> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<void> {
  const url = new URL("./p2panda_web_bg.wasm", import.meta.url);
  if (url.protocol !== "file:") {
    await init({ module_or_path: url });
    return;
  }
  // Only Node has modules in files.
  const name = "node:fs/promises";
  const { readFile } = (await import(/* @vite-ignore */ name)) as {
    readFile(url: URL): Promise<BufferSource>;
  };
  await init({ module_or_path: await readFile(url) });
}
