// What people do in the chat.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../dist/index.js";
import { Server, WebSocket } from "../support.js";
import { launch, serve, soon, tab } from "./support.js";

export const texts = (page) =>
  page.$$eval("#messages .message > p", (all) => all.map((one) => one.textContent));

/** The text of an element. */
export const text = (page, selector) => page.$eval(selector, (element) => element.textContent);

/** Waits until an element contains these words. */
export function says(page, selector, words) {
  const find = (selector, words) =>
    document.querySelector(selector)?.textContent.includes(words) === true;
  return page.waitForFunction(find, soon, selector, words);
}

/** Waits until the page shows a message with exactly this text. */
export async function shows(page, text) {
  const find = (text) =>
    [...document.querySelectorAll("#messages .message > p")].some((p) => p.textContent === text);
  try {
    await page.waitForFunction(find, soon, text);
  } catch (error) {
    const said = await page.$$eval("#status, #room-error", (all) =>
      all.map((one) => one.textContent),
    );
    throw new Error(
      `${error.message} ${text}: ${said.join(" ")} ${(await texts(page)).join(" | ")}`,
    );
  }
}

export async function write(page, text) {
  await page.type("#text", text);
  await page.keyboard.press("Enter");
}

/** Sends a text that cannot be typed. */
export function send(page, text) {
  return page.$eval("#text", (area, text) => ((area.value = text), area.form.requestSubmit()), text);
}

/** Chooses a name, then opens the room of the link, or makes one by this button. */
export async function enter(page, name, link, make = "#make") {
  await page.waitForSelector("#start:not([hidden])");
  await page.$eval("#name", (field) => (field.value = ""));
  await page.type("#name", name);
  await page.click(link === undefined ? make : "#open button");
  await page.waitForSelector("#room:not([hidden])");
  return page.$eval("#share", (input) => input.value);
}

/** Presses a button of the message with this text. */
export async function press(page, text, button) {
  await shows(page, text);
  await page.evaluate(
    (text, button) => {
      const says = (message) => message.querySelector("p")?.textContent === text;
      const message = [...document.querySelectorAll(".message")].find(says);
      [...message.querySelectorAll("button")].find((one) => one.textContent === button).click();
    },
    text,
    button,
  );
}

/** Changes the message with this text. */
export async function change(page, text, to) {
  await press(page, text, "Edit");
  await page.waitForSelector(".editor textarea");
  await page.$eval(".editor textarea", (field, to) => (field.value = to), to);
  await page.click(".editor .main");
}

/** Answers the next question of the page with yes. */
export function agree(page) {
  page.once("dialog", (dialog) => void dialog.accept());
}

/** Files to choose from. */
export function files(t) {
  const folder = mkdtempSync(join(tmpdir(), "p2panda-files-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return (name, content) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
}

/** A picture that the browser makes, so high that it moves what follows. */
export async function paint(page) {
  const bytes = await page.evaluate(async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [600, 500];
    canvas.getContext("2d").fillRect(0, 0, 600, 500);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg"));
    return [...new Uint8Array(await blob.arrayBuffer())];
  });
  return Buffer.from(bytes);
}

/** Chooses a file as a picture. */
export async function choose(page, path) {
  const input = await page.$("#picture");
  await input.uploadFile(path);
}

/** A member of an open room in Node. */
export async function listen(t, node, link) {
  const panda = await connect(node.url, { storage: "memory", WebSocket });
  t.after(() => panda.close().catch(() => undefined));
  const room = await panda.join(decodeURIComponent(new URL(link).hash.slice(1)));
  return { panda, room };
}

/** A node with rooms, and people who talk in them by a browser of this name. */
export async function people(t, name) {
  const origin = await serve(t);
  const node = await new Server(t, { origins: [origin], rooms: 100 }).start();
  const browser = await launch(t, name);
  /** The chat at a node. */
  const at = (url) => `${origin}/chat/?node=${encodeURIComponent(url)}`;
  const address = at(node.url);
  const pages = [];
  const open = async (url = address, context) => {
    const page = await tab(browser, url, context);
    pages.push(page);
    return page;
  };
  /** Anna and Bert in a room of theirs. */
  const pair = async (make) => {
    const anna = await open();
    const link = await enter(anna, "Anna", undefined, make);
    const bert = await open(link);
    await enter(bert, "Bert", link);
    await write(anna, "hello");
    await shows(bert, "hello");
    return { anna, bert, link };
  };
  const end = async (...some) => {
    for (const page of some) await page.own.close();
  };
  return { origin, node, at, address, pages, open, pair, end };
}
