// The examples of the guide for React, Vue and Svelte, as printed, in a page that each of them renders.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { newTopic, server } from "../support.js";
import { bare, browsers, launch, serve } from "./support.js";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const soon = { polling: 20, timeout: 60_000 };

/** Mounts a list of the texts of a topic, and returns what unmounts it. */
const mounts = {
  react: `
    import { createElement } from "react";
    import { createRoot } from "react-dom/client";
    import { useMessages } from "./react.jsx";
    const List = ({ topic }) => useMessages(topic).map(({ id, value }) => createElement("li", { key: id }, value));
    export function mount(topic, element) {
      const root = createRoot(element);
      root.render(createElement(List, { topic }));
      return () => root.unmount();
    }`,
  vue: `
    import { createApp, h } from "vue";
    import { useMessages } from "./vue.js";
    export function mount(topic, element) {
      const setup = () => {
        const messages = useMessages(topic);
        return () => messages.value.map(({ id, value }) => h("li", { key: id }, value));
      };
      const app = createApp({ setup });
      app.mount(element);
      return () => app.unmount();
    }`,
  // As a component subscribes to a store, and ends with it.
  svelte: `
    import { messages } from "./svelte.js";
    export function mount(topic, element) {
      return messages(topic).subscribe((all) => {
        element.replaceChildren(...all.map(({ value }) => {
          const item = document.createElement("li");
          item.textContent = value;
          return item;
        }));
      });
    }`,
};

/** A module with all three, from the files that the guide prints. Returns its path in the package. */
async function bundle(t) {
  const folder = mkdtempSync(join(root, "packages/p2panda/guide-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const guide = join(root, "docs/guide/browser.md");
  for (const name of ["read.js", "react.jsx", "vue.js", "svelte.js"]) {
    const file = execFileSync(join(root, "scripts/readme-command"), [name, guide]);
    writeFileSync(join(folder, name), file);
  }
  for (const [name, text] of Object.entries(mounts)) writeFileSync(join(folder, `mount-${name}.js`), text);
  const names = Object.keys(mounts);
  const all = names.map((name) => `export { mount as ${name} } from "./mount-${name}.js";`);
  writeFileSync(join(folder, "all.js"), all.join("\n"));
  await build({
    entryPoints: [join(folder, "all.js")],
    outfile: join(folder, "bundle.js"),
    ...{ bundle: true, format: "esm", logLevel: "error", target: "es2022" },
    define: {
      "process.env.NODE_ENV": '"production"',
      ...{ __VUE_OPTIONS_API__: "false", __VUE_PROD_DEVTOOLS__: "false" },
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
    },
  });
  return `/p2panda/${basename(folder)}/bundle.js`;
}

test("React, Vue and Svelte show messages as the guide says", { timeout: 120_000 }, async (t) => {
  const origin = await serve(t);
  const topic = newTopic();
  const node = await server(t, { open: [topic], origins: [origin] });
  const module = await bundle(t);
  const page = await bare(await launch(t, browsers[0]), origin);
  const kinds = Object.keys(mounts);
  await page.evaluate(
    async (url, topic, module, kinds) => {
      window.panda = await p2panda.connect(url);
      window.room = panda.topic(topic);
      await room.publish("before");
      // Counts the streams that are open.
      window.open = 0;
      const stream = room.stream.bind(room);
      room.stream = async function* (options) {
        window.open += 1;
        try {
          yield* stream(options);
        } finally {
          window.open -= 1;
        }
      };
      const all = await import(module);
      window.ends = kinds.map((kind) => {
        const element = document.createElement("ul");
        element.id = kind;
        document.body.append(element);
        return all[kind](room, element);
      });
    },
    ...[node.url, topic, module, kinds],
  );
  const shows = (texts) =>
    page.waitForFunction(
      (kinds, texts) =>
        kinds.every((kind) => {
          const items = [...document.querySelectorAll(`#${kind} li`)];
          return JSON.stringify(items.map((item) => item.textContent)) === texts;
        }),
      ...[soon, kinds, JSON.stringify(texts)],
    );
  await shows(["before"]);
  await page.evaluate(async () => void (await room.publish("while it is shown")));
  await shows(["before", "while it is shown"]);
  assert.equal(await page.evaluate(() => window.open), kinds.length);
  await page.evaluate(() => ends.forEach((end) => end()));
  await page.waitForFunction(() => window.open === 0, soon);
  assert.deepEqual(page.errors, []);
});
