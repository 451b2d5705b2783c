// The status page in real browsers, against a real node.
// PANDA_SERVE names the binary of `cargo build -p p2panda-rpc --example serve`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import puppeteer from "puppeteer-core";

const TOPIC = "05".repeat(32);
const ROOT = "token-of-root";
const READER = "token-of-bob";
const HOSTILE = `<img src=x onerror="document.title='owned'"><script>alert(1)</script>`;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const BROWSERS = [
  { name: "chromium", path: "/usr/bin/chromium", options: { args: ["--no-sandbox"] } },
  { name: "firefox", path: "/usr/bin/firefox-esr", options: { browser: "firefox" } },
];

let node;
/** A node with a message that another node does not keep, and that other node. */
let author, keeper, unkept;

async function start(...args) {
  const dir = await mkdtemp(join(tmpdir(), "panda-ui-"));
  assert.ok(process.env.PANDA_SERVE, "set PANDA_SERVE to the binary of the example `serve`");
  const child = spawn(process.env.PANDA_SERVE, [dir, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const said = /^listening (\S+) /.exec(line);
    if (said) return { dir, child, url: `http://${said[1]}` };
  }
  throw new Error("the node ended");
}

async function stop({ dir, child, url }) {
  await call("node.shutdown", {}, url);
  await new Promise((resolve) => child.once("exit", resolve));
  await rm(dir, { recursive: true });
}

async function call(method, params = {}, url = node.url) {
  const answer = await fetch(`${url}/rpc`, {
    method: "POST",
    headers: { authorization: `Bearer ${ROOT}`, "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { result, error } = await answer.json();
  assert.ok(!error, JSON.stringify(error));
  return result;
}

/** Makes a consumer with one dead letter, in the page: Node 20 has no WebSocket. */
function makeDeadLetter([name, topic, token, reason]) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/rpc`, "panda.v1");
    const send = (id, method, params) =>
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    socket.onerror = () => reject(new Error("no connection"));
    socket.onopen = () => {
      send(1, "hello", { rpc: 1, auth: { token } });
      send(2, "messages.subscribe", { topics: [topic], consumer: { name }, start: "beginning" });
    };
    socket.onmessage = (event) => {
      for (const message of [JSON.parse(event.data)].flat()) {
        if (message.error) reject(new Error(JSON.stringify(message.error)));
        if (message.id === 3) resolve(socket.close());
        if (message.method !== "messages") continue;
        const { subscription, messages } = message.params;
        const { delivery } = messages[0];
        send(3, "consumer.term", { subscription, delivery, reason });
      }
    };
  });
}

before(async () => {
  node = await start();
  await call("topic.keep", { topic: TOPIC, keep: true });
  await call("publish", { topic: TOPIC, message: { content: { text: HOSTILE } } });
  await mkdir("screenshots", { recursive: true });
  await fillUp();
});

/** The second message of the author exceeds what the keeper keeps of it. */
async function fillUp() {
  author = await start();
  const { node, addrs } = await call("node.status", {}, author.url);
  keeper = await start("--author-bytes", "1500", "--peer", `${node}@${addrs[0]}`);
  for (const { url } of [author, keeper]) await call("topic.keep", { topic: TOPIC, keep: true }, url);
  const publish = (letter) => {
    const message = { content: { text: letter.repeat(1000) } };
    const wait = { stored: 1, timeout_ms: 60_000 };
    return call("publish", { topic: TOPIC, message, wait }, author.url);
  };
  assert.equal((await publish("a")).waited, true);
  unkept = await publish("b");
  assert.deepEqual(unkept.not_kept.map(({ quota }) => quota), ["author"]);
}

after(async () => {
  for (const started of [node, author, keeper]) if (started) await stop(started);
});

for (const { name, path, options } of BROWSERS) {
  describe(name, { skip: existsSync(path) ? false : `no ${path}` }, () => {
    let browser, page;
    const wrong = [];

    before(async () => {
      browser = await puppeteer.launch({ executablePath: path, headless: true, ...options });
      page = await browser.newPage();
      page.on("pageerror", (error) => wrong.push(String(error)));
      page.on("dialog", (dialog) => {
        wrong.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      await page.goto(`${node.url}/`);
    });

    after(async () => {
      await browser?.close();
    });

    const text = () => page.$eval("main", (main) => main.textContent);
    const shows = (what) =>
      page.waitForFunction((what) => document.querySelector("main").textContent.includes(what), {}, what);
    const go = async (place, what) => {
      await page.evaluate((place) => (location.hash = place), place);
      await shows(what);
    };
    const signIn = async (token) => {
      await page.waitForSelector("#token");
      await page.type("#token", token);
      await page.keyboard.press("Enter");
    };
    const accessible = async (what) => {
      // The page's policy runs no foreign script: inject axe through the debugger.
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const found = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html)}`);
      assert.deepEqual(found, [], what);
    };

    test("a wrong token is said so, a right one shows the node", async () => {
      await signIn("not-a-token");
      await page.waitForSelector("[role=alert]");
      await accessible("sign in");
      await signIn(READER);
      await shows("Storage is ready.");
      await shows("No other node is connected");
    });

    test("every page shows what the node knows, and axe finds nothing", async () => {
      await page.evaluate(makeDeadLetter, [`search-${name}`, TOPIC, ROOT, HOSTILE]);
      // A reader sees only its own consumers, so an administrator signs in.
      await page.evaluate(() => sessionStorage.clear());
      await page.reload();
      await signIn(ROOT);
      const pages = [
        ["overview", "This node"],
        ["peers", "No other node is known."],
        ["topics", "Topics of this node"],
        ["consumers", `search-${name}`],
        [`consumers/${encodeURIComponent(`search-${name}`)}`, "terminated"],
        ["events", "Events"],
        ["trace", "The life of one operation"],
      ];
      for (const scheme of ["light", "dark"]) {
        await page.emulateMediaFeatures?.([{ name: "prefers-color-scheme", value: scheme }]).catch(() => {});
        for (const [place, what] of pages) {
          await go(place, what);
          await accessible(`${place}, ${scheme}`);
          const file = `screenshots/${name}-${scheme}-${place.split("/").join("-")}.png`;
          await page.screenshot({ path: file });
        }
      }
    });

    test("hostile text is shown as text", async () => {
      await go(`consumers/search-${name}`, "terminated");
      assert.ok((await text()).includes(HOSTILE));
      assert.equal(await page.$("main img"), null);
      assert.notEqual(await page.title(), "owned");
    });

    test("an operation is followed from a dead letter by keyboard", async () => {
      await page.focus("main tbody a");
      await page.keyboard.press("Enter");
      await shows("consumer");
      await shows("It is in the feed");
    });

    test("an id that is none is refused in words", async () => {
      await go("trace/abc", "trace");
      await page.waitForSelector("[role=alert]");
    });

    test("a dead letter is redriven", async () => {
      await go(`consumers/search-${name}`, "terminated");
      await page.click("main tbody button");
      await page.evaluate(() => document.activeElement.blur());
      await shows("There is none.");
    });

    test("a reload stays signed in, and keeps no token", async () => {
      await page.reload();
      await shows("Dead letters of");
      const kept = await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
      assert.ok(!kept.includes(ROOT), kept);
    });

    test("a narrow screen needs no sideways scrolling", async () => {
      await page.setViewport({ width: 360, height: 640 });
      for (const [place, what] of [["overview", "This node"], ["topics", "Topics of this node"]]) {
        await go(place, what);
        const [wide, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(wide <= there, `${place}: ${wide} > ${there}`);
      }
      await page.screenshot({ path: `screenshots/${name}-narrow.png` });
    });

    test("what another node does not keep is shown with the quota", async () => {
      await page.setViewport({ width: 1024, height: 768 });
      await page.goto(`${author.url}/`);
      await signIn(ROOT);
      await shows("Storage is ready.");
      const [{ node: other }] = unkept.not_kept;
      const { alias } = await call("topic.alias", { topic: TOPIC }, author.url);
      await go(`topics/${alias}`, "quota of the author");
      assert.ok(await page.$(`main td code[title="${other}"]`));
      await accessible("a topic that another node does not keep");
      await go(`trace/${unkept.id}`, `not kept by ${other}, as it says: quota of the author`);
    });

    test("nothing went wrong in the page", () => {
      assert.deepEqual(wrong, []);
    });
  });
}
