// Rooms of the chat: who reads what in them, who may write, and what is left of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "../support.js";
import {
  agree,
  choose,
  enter,
  files,
  listen,
  paint,
  people,
  says,
  shows,
  text,
  texts,
  write,
} from "./chat.js";
import { browsers, isAccessible, soon } from "./support.js";

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

for (const name of browsers) {
  test(`${name}: rooms of the chat`, { timeout: 480_000 }, async (t) => {
    const { pages, node, origin, at, address, open, pair, end } = await people(t, name);

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
      await bert.click("#again");
      await says(bert, "#joining", "You asked to join");
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
