// What people meet in the chat besides talking: odd links and files, changes of rooms, refusals.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "../../dist/index.js";
import { Server, WebSocket } from "../support.js";
import { agree, change, enter, press, says, send, shows, text, texts, write } from "./chat.js";
import { browsers, isAccessible, launch, serve, soon, tab } from "./support.js";

const patient = { timeout: 120_000 };

const gap = (page) =>
  page.$eval("#messages", (list) => list.scrollHeight - list.scrollTop - list.clientHeight);
const isHidden = (page, selector) => page.$eval(selector, (element) => element.hidden);

/** Waits until the end of the list is in view and the page has nothing more to draw. */
async function isAtEnd(page) {
  const atEnd = () => {
    const { scrollHeight, scrollTop, clientHeight } = document.querySelector("#messages");
    return scrollHeight - scrollTop - clientHeight < 2;
  };
  await page.waitForFunction(atEnd, soon);
}

/** Scrolls to the first message as a person does, and waits until the page knows. */
function scrollUp(page) {
  return page.$eval("#messages", (list) => {
    const scrolled = new Promise((resolve) => list.addEventListener("scroll", resolve, { once: true }));
    list.scrollTop = 0;
    return scrolled;
  });
}

/** Files to choose from. */
function files(t) {
  const folder = mkdtempSync(join(tmpdir(), "p2panda-files-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return (name, content) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
}

/** A picture that the browser makes, so high that it moves what follows. */
async function paint(page) {
  const bytes = await page.evaluate(async () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [600, 500];
    canvas.getContext("2d").fillRect(0, 0, 600, 500);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg"));
    return [...new Uint8Array(await blob.arrayBuffer())];
  });
  return Buffer.from(bytes);
}

async function choose(page, path) {
  const input = await page.$("#picture");
  await input.uploadFile(path);
}

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
  test(`${name}: rooms of the chat`, { timeout: 480_000 }, async (t) => {
    const origin = await serve(t);
    const node = await new Server(t, { origins: [origin], rooms: 100 }).start();
    const browser = await launch(t, name);
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
      // Keys and questions go to the page in front.
      await anna.bringToFront();
      return { anna, bert, link };
    };
    const end = async (...some) => {
      for (const page of some) await page.own.close();
    };

    await t.test("the skip link leads to writing, within the room", patient, async () => {
      const anna = await open();
      const link = await enter(anna, "Anna");
      await anna.focus(".skip");
      await anna.keyboard.press("Enter");
      assert.equal(await anna.evaluate(() => document.activeElement.id), "text");
      await write(anna, "still here");
      await shows(anna, "still here");
      assert.equal(await anna.evaluate(() => location.href), link);
      await end(anna);
    });

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

    await t.test("the list follows the conversation to its end", patient, async (t) => {
      const { anna, bert } = await pair();
      await says(anna, "#here", "Bert");
      for (let place = 0; place < 25; place += 1) await write(anna, `message ${place}`);
      await shows(bert, "message 24");
      // What Bert has seen makes Anna's messages higher.
      await anna.waitForFunction(
        () => [...document.querySelectorAll(".mine .seen")].length > 20,
        soon,
      );
      await isAtEnd(anna);
      await isAtEnd(bert);
      const file = files(t)("black.jpg", await paint(anna));
      await choose(bert, file);
      for (const page of [anna, bert]) {
        await page.bringToFront();
        await page.waitForFunction(
          () => document.querySelector(".message > img")?.naturalHeight === 500,
          soon,
        );
        await isAtEnd(page);
      }
      assert.match(await anna.$eval(".message > img", (image) => image.alt), /^Picture from Bert/);
      await anna.bringToFront();
      await scrollUp(anna);
      await write(bert, "while she reads above");
      await shows(anna, "while she reads above");
      assert.ok((await gap(anna)) > 200);
      await write(anna, "from above");
      await shows(anna, "from above");
      await isAtEnd(anna);
      await end(anna, bert);
    });

    await t.test("what waits for the admission is shown", patient, async () => {
      const anna = await open();
      const link = await enter(anna, "Anna", undefined, "#make-sealed");
      await write(anna, "welcome");
      await anna.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      const { own } = anna;
      await anna.close();
      const bert = await open(link);
      await enter(bert, "Bert", link);
      await says(bert, "#joining", "You asked to join");
      await write(bert, "let me in");
      await shows(bert, "let me in");
      await bert.waitForSelector('.mine [data-state="queued"]');
      await bert.reload();
      await shows(bert, "let me in");
      await says(bert, ".mine .foot", "waits in this browser");
      const again = await open(link, own);
      await shows(again, "let me in");
      await bert.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      await shows(bert, "welcome");
      const shown = await texts(bert);
      assert.equal(shown.filter((one) => one === "let me in").length, 1, `${shown}`);
      await bert.waitForSelector("#joining", { hidden: true });
      await end(again, bert);
    });

    await t.test("who was removed is told so, and cannot write", patient, async () => {
      const { anna, bert } = await pair("#make-sealed");
      agree(anna);
      await anna.waitForSelector("#members button");
      await anna.click("#members button");
      for (const reload of [false, true]) {
        if (reload) await bert.reload();
        await says(bert, "#joining", "no longer a member");
        await bert.waitForFunction(() => document.querySelector("#text").disabled, soon);
        await shows(bert, "hello");
      }
      await isAccessible(bert);
      // The field is for other rooms.
      await bert.click("#leave");
      await bert.waitForSelector("#start:not([hidden])");
      await bert.click("#make");
      await bert.waitForSelector("#room:not([hidden])");
      await write(bert, "elsewhere");
      await shows(bert, "elsewhere");
      assert.equal(await isHidden(bert, "#joining"), true);
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

    await t.test("nothing of a room is left in the next one", patient, async () => {
      const anna = await open();
      const link = await enter(anna, "Anna", undefined, "#make-sealed");
      await write(anna, "in the first room");
      await shows(anna, "in the first room");
      await anna.type("#text", "a secret draft");
      await anna.click("#copy");
      await anna.waitForFunction(
        () => /Copied|Ctrl/.test(document.querySelector("#copy").textContent),
        soon,
      );
      await anna.click("#leave");
      await anna.waitForSelector("#start:not([hidden])");
      await anna.click("#make");
      await anna.waitForSelector("#room:not([hidden])");
      assert.equal(await anna.$eval("#text", (field) => field.value), "");
      assert.equal(await text(anna, "#copy"), "Copy the link");
      assert.equal(await isHidden(anna, "#nothing"), false);
      assert.equal(await text(anna, "#members"), "");
      assert.deepEqual(await texts(anna), []);
      // The draft waits where it was typed.
      await anna.evaluate((link) => (location.href = link), link);
      await shows(anna, "in the first room");
      assert.equal(await anna.$eval("#text", (field) => field.value), "a secret draft");
      await end(anna);
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
      // By its content, whatever its name says.
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

    await t.test("what the node refuses is said in each room", patient, async (t) => {
      const small = await new Server(t, { origins: [origin], rooms: 1 }).start();
      const anna = await open(at(small.url));
      await enter(anna, "Anna");
      await write(anna, "the only room");
      await anna.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      const first = await anna.evaluate(() => location.href);
      for (const button of ["#make", "#make-sealed"]) {
        await anna.click("#leave");
        await anna.waitForSelector("#start:not([hidden])");
        await anna.click(button);
        await says(anna, "#room-error", "no place for another room");
        await write(anna, "refused");
        await shows(anna, "refused");
        assert.match(await text(anna, "#room-error"), /no place for another room/);
      }
      const second = await anna.evaluate(() => location.href);
      await anna.evaluate((link) => (location.href = link), first);
      await shows(anna, "the only room");
      assert.equal(await text(anna, "#room-error"), "");
      await anna.evaluate((link) => (location.href = link), second);
      await says(anna, "#room-error", "no place for another room");
      await anna.select("#language", "de");
      await says(anna, "#room-error", "keinen Platz");
      await end(anna);
    });

    await t.test("a node that does not allow the page is named", patient, async (t) => {
      const closed = await new Server(t, { rooms: 10 }).start();
      const anna = await open(at(closed.url));
      await enter(anna, "Anna");
      await says(anna, "#room-error", "access.origins");
      assert.ok((await text(anna, "#room-error")).includes(origin));
      const bert = await open(at("nonsense"));
      await bert.waitForSelector("#start:not([hidden])");
      await bert.type("#name", "Bert");
      await bert.click("#make");
      await says(bert, "#start-error", "not the address of a node");
      await end(anna, bert);
    });

    await t.test("only what was before one's eyes is seen", patient, async (t) => {
      const { anna, bert, link } = await pair();
      for (let place = 0; place < 25; place += 1) await write(anna, `message ${place}`);
      await shows(bert, "message 24");
      await bert.bringToFront();
      await isAtEnd(bert);
      const { panda, room } = await listen(t, node, link);
      const key = await bert.$eval("#key", (one) => /[0-9a-f]{16}/.exec(one.textContent)[0]);
      /** What Bert says next that he has seen. */
      const seen = () =>
        new Promise((resolve) => {
          const stop = room.onAnnounce(({ author, value }) => {
            if (!author.startsWith(key)) return;
            stop();
            resolve(value.seen);
          });
        });
      const ids = () => bert.$$eval(".message", (all) => all.map((one) => one.dataset.id));
      const before = await ids();
      while ((await seen()) !== before.at(-1));
      await scrollUp(bert);
      await (await room.publish({ t: "text", text: "below", name: "Carl" })).wait("node");
      await shows(bert, "below");
      assert.equal(await seen(), before.at(-1));
      await bert.$eval("#messages", (list) => (list.scrollTop = list.scrollHeight));
      const last = (await ids()).at(-1);
      assert.notEqual(last, before.at(-1));
      while ((await seen()) !== last);
      await panda.close();
      await end(anna, bert);
    });

    await t.test("several lines are changed in place", patient, async () => {
      const { anna, bert } = await pair();
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

    await t.test("a message of nothing is not sent", patient, async (t) => {
      const { anna, bert, link } = await pair();
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
        assert.equal(await text(page, "#start-error"), "Es fehlt ein Name.");
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

    await t.test("a page wiped in another tab goes on saying so", patient, async () => {
      const anna = await open();
      const link = await enter(anna, "Anna");
      const other = await open(link, anna.own);
      await other.waitForSelector("#room:not([hidden])");
      await write(other, "from the other tab");
      await anna.bringToFront();
      await shows(anna, "from the other tab");
      agree(anna);
      await anna.click("#wipe");
      await anna.waitForSelector("#start:not([hidden])");
      await other.bringToFront();
      await says(other, "#room-error", "deleted in another tab");
      await write(other, "after it");
      assert.match(await text(other, "#room-error"), /deleted in another tab/);
      assert.equal(await other.$eval("#text", (field) => field.value), "after it");
      await end(anna);
    });

    await t.test("nothing went wrong unseen", patient, () => {
      // Firefox reports each cut connection.
      const isOurs = (error) => !error.includes("ws://");
      assert.deepEqual(pages.flatMap(({ errors }) => errors).filter(isOurs), []);
    });
  });
}

/** A member of an open room in Node. */
async function listen(t, node, link) {
  const panda = await connect(node.url, { storage: "memory", WebSocket });
  t.after(() => panda.close().catch(() => undefined));
  const room = await panda.join(decodeURIComponent(new URL(link).hash.slice(1)));
  return { panda, room };
}
