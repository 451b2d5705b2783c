// What the guide prints to chat for two, typed as printed. `scripts/web-test` runs the build.
// PANDA_TEST_PICTURES names a folder for a screenshot.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { browsers, launch, tab } from "./support.js";

const soon = { polling: 50, timeout: 60_000 };
const pictures = process.env.PANDA_TEST_PICTURES;
const root = fileURLToPath(new URL("../../../../", import.meta.url));
const guide = join(root, "docs/guide/browser.md");

/** A folder in the checkout for what the commands write; cargo finds the workspace above it. */
function folder(t) {
  const made = mkdtempSync(join(root, "packages/p2panda/guide-"));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  symlinkSync(join(root, "examples"), join(made, "examples"));
  for (const name of ["run", "state", "data", "config"]) mkdirSync(join(made, name));
  return made;
}

/** Types the commands with this name into a shell. The last one runs until the test ends. */
function typed(t, name) {
  const commands = execFileSync(join(root, "scripts/readme-command"), [name, guide], { encoding: "utf8" });
  const cwd = folder(t);
  const path = (name) => join(cwd, name);
  const homes = { XDG_STATE_HOME: path("state"), XDG_DATA_HOME: path("data"), XDG_CONFIG_HOME: path("config") };
  const env = { ...process.env, ...homes, XDG_RUNTIME_DIR: path("run") };
  const stdio = ["pipe", "ignore", "inherit"];
  // In a process group, since the node is a child of cargo.
  const shell = spawn("bash", ["-euo", "pipefail"], { cwd, env, stdio, detached: true });
  t.after(async () => {
    if (shell.exitCode !== null || shell.signalCode !== null) return;
    process.kill(-shell.pid, "SIGKILL");
    await once(shell, "exit");
  });
  shell.stdin.end(commands);
  return shell;
}

/** The address that the guide names. */
function address() {
  const page = execFileSync("grep", ["-o", "http://127.0.0.1:[0-9]*/demo/", guide], { encoding: "utf8" });
  return page.split("\n")[0];
}

async function listens(port) {
  const socket = createConnection({ host: "127.0.0.1", port });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function enter(page, name, button) {
  await page.waitForSelector("#start:not([hidden])");
  await page.type("#name", name);
  await page.click(button);
  await page.waitForSelector("#room:not([hidden])");
  return page.$eval("#share", (input) => input.value);
}

async function write(page, words) {
  await page.type("#text", words);
  await page.keyboard.press("Enter");
}

function shows(page, words) {
  const find = (words) => document.querySelector("#messages").textContent.includes(words);
  return page.waitForFunction(find, soon, words);
}

test("two people chat after the commands of the guide", { timeout: 240_000 }, async (t) => {
  const url = address();
  const { port } = new URL(url);
  for (const each of [port, 7780]) assert.equal(await listens(each), false, `port ${each} is taken`);
  const shell = typed(t, "chat-run");
  while (!(await listens(port))) {
    t.signal.throwIfAborted();
    assert.equal(shell.exitCode ?? shell.signalCode, null, "the node ended");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // Bert has another browser, if there is one.
  const anna = await tab(await launch(t, browsers[0]), url);
  const bert = await tab(await launch(t, browsers.at(-1)), url);
  const link = await enter(anna, "Anna", "#make");
  await write(anna, "Hello, is somebody here?");
  await bert.goto(link);
  // As if typed: only the part after the # changed.
  await bert.reload();
  await enter(bert, "Bert", "#open button");
  await shows(bert, "Hello, is somebody here?");
  await write(bert, "Yes, in another browser");
  await shows(anna, "Yes, in another browser");
  await anna.waitForFunction(() => document.querySelector("#here").textContent.includes("Bert"), soon);
  if (pictures !== undefined) {
    await anna.setViewport({ width: 790, height: 430 });
    await anna.screenshot({ path: join(pictures, "guide.png") });
  }
  for (const page of [anna, bert]) assert.deepEqual(page.errors, []);
});
