import { randomBytes } from "./bytes.js";
import { abortable, checkSignal, ours, PandaError } from "./errors.js";
import init, * as module from "../wasm/p2panda_web.js";
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
export type SpacesWasm = typeof Spaces;

let loaded: Promise<void> | undefined;
let spaces: Promise<SpacesWasm> | undefined;

let isLoaded = false;

type Functions = Omit<typeof module, "default" | "initSync">;

/** The functions of the module. They fail with our errors only, also before it is loaded. */
export const wasm = Object.fromEntries(
  Object.entries(module).map(([name, work]) => [name, checked(work as Work)]),
) as unknown as Functions;

type Work = (...args: unknown[]) => unknown;

function checked(work: Work): Work {
  return (...args) => {
    if (!isLoaded) {
      const hint = "await loadWasm()";
      throw new PandaError("not-loaded", "the WebAssembly module is not loaded yet", { hint });
    }
    try {
      return work(...args);
    } catch (error) {
      throw ofModule(error);
    }
  };
}

/** The module names what is wrong; the code around it fails only for a value of a wrong type. */
function ofModule(error: unknown): PandaError {
  if (!(error instanceof TypeError)) return ours(error);
  return new PandaError("invalid", `a value has the wrong type: ${error.message}`);
}

/** Loads the module once: in Node from its file, elsewhere from next to this file. */
export async function loadWasm({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
  checkSignal(signal);
  loaded ??= (async () => {
    const bytes = await read(new URL("./p2panda_web_bg.wasm", import.meta.url));
    await init({ module_or_path: bytes });
    isLoaded = true;
  })().catch((error: unknown) => {
    // It may load the next time.
    loaded = undefined;
    throw unloaded(error);
  });
  return abortable(loaded, signal);
}

function unloaded(error: unknown): PandaError {
  const why = error instanceof Error ? error.message : String(error);
  return new PandaError("no-wasm", `the WebAssembly module does not load: ${why}`, {
    hint: "serve the files *_bg.wasm next to the scripts",
  });
}

/** Loads the module for spaces, once the first one is opened. */
export function loadSpaces(): Promise<SpacesWasm> {
  spaces ??= (async () => {
    const module = await import("../wasm/p2panda_spaces.js");
    const bytes = await read(new URL("./p2panda_spaces_bg.wasm", import.meta.url));
    await module.default({ module_or_path: bytes });
    return module;
  })().catch((error: unknown) => {
    // It may load the next time.
    spaces = undefined;
    throw unloaded(error);
  });
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
