// Builds the page into the folder that the daemon embeds, crates/rpc/ui. With --check it only compares.

import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const GZIP_MAX = 120_000;
const target = new URL("../../crates/rpc/ui/", import.meta.url);
const check = process.argv.includes("--check");

const script = await build({
  entryPoints: ["src/main.ts"],
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  write: false,
});
const files = new Map([["app.js", script.outputFiles[0].contents]]);
for (const name of ["index.html", "style.css", "panda.svg"]) {
  files.set(name, await readFile(new URL(`src/${name}`, import.meta.url)));
}

let zipped = 0;
for (const [name, bytes] of files) {
  zipped += gzipSync(bytes).length;
  const path = new URL(name, target);
  if (check) {
    const there = await readFile(path).catch(() => Buffer.alloc(0));
    if (Buffer.compare(there, bytes) !== 0) {
      throw new Error(`crates/rpc/ui/${name} is not what packages/ui builds: run npm run build there`);
    }
  } else {
    await mkdir(target, { recursive: true });
    await writeFile(path, bytes);
  }
}
if (zipped > GZIP_MAX) throw new Error(`the page has ${zipped} bytes in gzip, ${GZIP_MAX} at most`);
console.log(`status page: ${zipped} bytes in gzip`);
