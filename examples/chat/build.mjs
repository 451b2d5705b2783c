// Bundles the chat into examples/chat/dist: `node build.mjs`, after `npm run build` of the package.
import { cp, mkdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const { build } = createRequire(at("../../packages/p2panda/package.json"))("esbuild");
const dist = at("dist/");

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await build({
  entryPoints: { chat: at("src/main.ts"), worker: at("../../packages/p2panda/dist/worker.js") },
  outdir: dist,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  // The first space loads the module for spaces.
  splitting: true,
  // The engine runs in the worker; the page uses its own copy only where there are no workers.
  logLevel: "warning",
});
for (const file of ["index.html", "style.css", "panda.svg", "face.svg"]) await cp(at(file), `${dist}${file}`);
for (const file of ["p2panda_web_bg.wasm", "p2panda_spaces_bg.wasm"])
  await cp(at(`../../packages/p2panda/wasm/${file}`), `${dist}${file}`);
