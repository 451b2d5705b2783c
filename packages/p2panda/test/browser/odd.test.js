// Odd links, files, texts and names in the chat, and browsers that refuse storage.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Server } from "../support.js";
import {
  change,
  choose,
  enter,
  files,
  listen,
  paint,
  people,
  press,
  says,
  send,
  shows,
  text,
  write,
} from "./chat.js";
import { browsers, isAccessible, launch } from "./support.js";

const patient = { timeout: 120_000 };

/** A browser that refuses storage to pages. */
async function strict(t, name) {
  const extraPrefsFirefox = { "network.cookie.cookieBehavior": 2 };
  if (name === "firefox") return launch(t, name, { extraPrefsFirefox });
  const userDataDir = mkdtempSync(join(tmpdir(), "p2panda-chromium-"));
  mkdirSync(join(userDataDir, "Default"));
  const profile = { default_content_setting_values: { cookies: 2 } };
  writeFileSync(join(userDataDir, "Default", "Preferences"), JSON.stringify({ profile }));
  const browser = await launch(t, name, { userDataDir });
  // After it was closed, since it writes there until then.
  t.after(() => rmSync(userDataDir, { recursive: true, force: true, maxRetries: 5 }));
  return browser;
}

for (const name of browsers) {
  test(`${name}: odd things in the chat`, { timeout: 480_000 }, async (t) => {
    const { pages, node, origin, at, address, open, pair, end } = await people(t, name);

    await t.test("refused storage is said, and one can write", patient, async (t) => {
      const page = await (await strict(t, name)).newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      await page.goto(address);
      await page.waitForSelector("#unstored:not([hidden])");
      assert.match(await text(page, "#unstored"), /refuses storage/);
      await enter(page, "Anna");
      await write(page, "for now");
      await shows(page, "for now");
      await page.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      assert.match(await text(page, "#persisted"), /may delete/);
      await page.select("#language", "de");
      assert.equal(await text(page, "#send"), "Senden");
      await isAccessible(page);
      assert.deepEqual(errors, []);
    });

    await t.test("a malformed link is refused in words", patient, async () => {
      const anna = await open();
      const link = await enter(anna, "Anna");
      const cut = `${link.slice(0, -1)}%`;
      await anna.evaluate((link) => (location.href = link), cut);
      await says(anna, "#start-error", "not a room link");
      const bert = await open(cut);
      await says(bert, "#start-error", "not a room link");
      await bert.select("#language", "de");
      assert.match(await text(bert, "#start-error"), /kein Link eines Raums/);
      await end(anna, bert);
    });

    await t.test("a link for another node opens no room here", patient, async (t) => {
      const other = await new Server(t, { origins: [origin], rooms: 10 }).start();
      const anna = await open(at(other.url));
      const link = await enter(anna, "Anna");
      await write(anna, "at the other node");
      await anna.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      const bert = await open(`${address}&profile=bert`);
      await bert.waitForSelector("#start:not([hidden])");
      await bert.type("#name", "Bert");
      const paste = async (link) => {
        await bert.$eval("#link", (field, link) => (field.value = link), link);
        await bert.click("#open button");
      };
      const foreign = new URL(link);
      foreign.host = "elsewhere.example:1";
      await paste(foreign.href);
      await says(bert, "#start-error", "for another node");
      await paste(`Come here: ${link}`);
      await shows(bert, "at the other node");
      assert.ok((await bert.url()).includes(encodeURIComponent(other.url)));
      // Others are other people.
      assert.equal(await bert.$eval("#share", (input) => input.value), link);
      await end(anna, bert);
    });

    await t.test("what is no picture is refused in words", patient, async (t) => {
      const file = files(t);
      const { anna, bert } = await pair();
      const good = await paint(anna);
      const bad = {
        "drawing.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
        "note.txt": "hello",
        "empty.png": "",
        "broken.png": "\x89PNG\r\n\x1a\n and nothing else",
        "text.jpg": "not a picture",
      };
      for (const [called, content] of Object.entries(bad)) {
        await choose(anna, file(called, Buffer.from(content, "latin1")));
        await says(anna, "#room-error", "not a picture");
        await write(anna, `after ${called}`);
        await shows(bert, `after ${called}`);
        assert.equal(await text(anna, "#room-error"), "");
      }
      await choose(anna, file("large.jpg", Buffer.concat([good, Buffer.alloc(300_000)])));
      await says(anna, "#room-error", "too large");
      // Its content counts, not its name.
      await choose(anna, file("photo.txt", good));
      await bert.waitForSelector(".message > img");
      // What others publish may be broken.
      const { panda, room } = await listen(t, node, await anna.$eval("#share", (one) => one.value));
      const broken = { t: "picture", type: "image/png", bytes: new Uint8Array(9), name: "Eve" };
      await room.publish(broken);
      await shows(bert, "A picture that this browser cannot show");
      await panda.close();
      await end(anna, bert);
    });

    await t.test("a message of nothing is not sent", patient, async (t) => {
      const { anna, bert, link } = await pair();
      // Keys and questions go to the page in front.
      await anna.bringToFront();
      await send(anna, "\u200b\u3164 \n\u2060");
      await says(anna, "#room-error", "Nothing of this message");
      for (const nothing of ["", "  ", "\u200b"]) {
        await change(anna, "hello", nothing);
        await says(anna, ".editor .error", "Nothing of this message");
        await anna.click(".editor button[type=button]");
        await shows(anna, "hello");
      }
      const { panda, room } = await listen(t, node, link);
      await room.publish({ t: "text", text: "\u200b", name: "Eve" });
      await shows(bert, "Empty message");
      await panda.close();
      // It is asked before something is deleted.
      anna.once("dialog", (dialog) => void dialog.dismiss());
      await press(anna, "hello", "Delete");
      await change(anna, "hello", "stays");
      await shows(bert, "stays");
      await end(anna, bert);
    });

    await t.test("names show what they are", patient, async () => {
      const family = "👨‍👩‍👧‍👦 Kim";
      const anna = await open();
      await enter(anna, family);
      assert.ok((await text(anna, "#here")).includes(family));
      await end(anna);
      for (const nothing of ["\u3164\u115f", "\u00ad", "\u200d"]) {
        const page = await open();
        await page.waitForSelector("#start:not([hidden])");
        await page.$eval("#name", (field, text) => (field.value = text), nothing);
        await page.click("#make");
        await says(page, "#start-error", "A name is missing");
        await page.select("#language", "de");
        assert.ok((await text(page, "#start-error")).startsWith("Es fehlt"));
        await end(page);
      }
    });

    await t.test("piled marks stay in their message", patient, async () => {
      const anna = await open();
      await enter(anna, "Anna");
      const piled = `A${"\u0310\u0322".repeat(100)}`;
      await send(anna, piled);
      await shows(anna, piled);
      const clips = await anna.$eval(".message > p", (one) => getComputedStyle(one).overflowY);
      assert.equal(clips, "clip");
      await end(anna);
    });

    await t.test("several lines are changed in place", patient, async () => {
      const { anna, bert } = await pair();
      await anna.bringToFront();
      await send(anna, "one\ntwo");
      await press(anna, "one\ntwo", "Edit");
      await anna.waitForSelector(".editor textarea:focus");
      assert.equal(await anna.$eval(".editor textarea", (field) => field.value), "one\ntwo");
      // What comes meanwhile takes nothing away from who writes.
      await write(bert, "meanwhile");
      await shows(anna, "meanwhile");
      await isAccessible(anna);
      await anna.keyboard.type(" and three");
      await anna.keyboard.press("Enter");
      await shows(bert, "one\ntwo and three");
      await shows(anna, "one\ntwo and three");
      await press(anna, "one\ntwo and three", "Edit");
      await anna.keyboard.type("nothing");
      await anna.keyboard.press("Escape");
      await shows(anna, "one\ntwo and three");
      assert.equal(await anna.evaluate(() => document.activeElement.textContent), "Edit");
      await end(anna, bert);
    });

    await t.test("nothing went wrong unseen", patient, () => {
      // Firefox reports each cut connection.
      const isOurs = (error) => !error.includes("ws://");
      assert.deepEqual(pages.flatMap(({ errors }) => errors).filter(isOurs), []);
    });
  });
}
