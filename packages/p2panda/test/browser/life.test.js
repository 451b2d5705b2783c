// What happens to pages: restarts of the node, reloads, windows that keep nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { freePort, newTopic, Server } from "../support.js";
import { bare, browsers, launch, serve } from "./support.js";

const patient = { timeout: 120_000 };
const soon = { polling: 50, timeout: 60_000 };

/** Opens the package in a page that counts the messages it is shown. */
function open(page, url, topic) {
  return page.evaluate(
    async (url, topic) => {
      window.panda = await p2panda.connect(url);
      window.room = panda.topic(topic);
      window.seen = [];
      void (async () => {
        for await (const { value } of room.stream()) seen.push(value);
      })().catch(() => undefined);
    },
    url,
    topic,
  );
}

for (const name of browsers) {
  test(`${name}: the life of pages`, { timeout: 240_000 }, async (t) => {
    const origin = await serve(t);
    const topic = newTopic();
    const options = { open: [topic], origins: [origin], port: await freePort() };
    const node = await new Server(t, options).start();
    const browser = await launch(t, name);
    const state = (page, wanted) =>
      page.waitForFunction((wanted) => panda.status.state === wanted, soon, wanted);

    await t.test("500 messages survive reload and restart, 10 written offline", patient, async () => {
      const writer = await bare(browser, origin);
      await open(writer, node.url, topic);
      await state(writer, "online");
      await writer.evaluate(async () => {
        for (let number = 0; number < 250; number += 1) await room.publish(number);
      });
      await node.kill();
      await state(writer, "offline");
      await writer.evaluate(async () => {
        for (let number = 250; number < 260; number += 1) await room.publish(number);
      });
      await writer.reload();
      await writer.waitForFunction(() => window.p2panda !== undefined, soon);
      await open(writer, node.url, topic);
      await writer.waitForFunction(() => seen.length === 260, soon);
      await node.start();
      await writer.evaluate(async () => {
        for (let number = 260; number < 499; number += 1) await room.publish(number);
        await (await room.publish(499)).wait("node");
      });
      const reader = await bare(browser, origin);
      await open(reader, node.url, topic);
      await reader.waitForFunction(() => seen.length >= 500, soon);
      for (const page of [writer, reader]) {
        const seen = await page.evaluate(() => seen);
        assert.deepEqual(seen, [...Array(500).keys()]);
        await page.own.close();
      }
    });

    await t.test("two tabs are one member of a space", patient, async (t) => {
      const courier = await new Server(t, { rooms: 8, origins: [origin] }).start();
      const join = (page, ticket) =>
        page.evaluate(
          async (url, ticket) => {
            window.panda = await p2panda.connect(url);
            window.room =
              ticket === undefined
                ? await panda.spaces.create("tabs")
                : ticket.startsWith("panda:")
                  ? await panda.spaces.join(ticket)
                  : panda.space(ticket);
            window.seen = [];
            void (async () => {
              for await (const { value } of room.stream()) seen.push(value);
            })();
            return [room.id, panda.status.leader];
          },
          courier.url,
          ticket,
        );
      const first = await bare(browser, origin);
      const [id] = await join(first);
      const second = await bare(browser, origin, first.own);
      assert.equal((await join(second, id))[1], false);
      // The other tab invites and writes through the leading one.
      const ticket = await second.evaluate(() => room.invite());
      const other = await bare(browser, origin);
      await join(other, ticket);
      await second.evaluate(async () => (await room.publish("from the second tab")).wait("node"));
      await other.waitForFunction(() => seen.includes("from the second tab"), soon);
      await other.evaluate(async () => (await room.publish("hello")).wait("node"));
      for (const tab of [first, second]) await tab.waitForFunction(() => seen.length === 2, soon);
      // It continues when the first one closes.
      await first.close();
      await second.waitForFunction(() => panda.status.leader, soon);
      await second.evaluate(async () => (await room.publish("alone")).wait("node"));
      await other.waitForFunction(() => seen.includes("alone"), soon);
      const members = await second.evaluate(() => room.members());
      assert.equal(members.length, 2);
      for (const page of [second, other]) await page.own.close();
    });

    await t.test("a page with a new key comes into its space again", patient, async (t) => {
      const options = { rooms: 8, origins: [origin], port: await freePort() };
      const courier = await new Server(t, options).start();
      const [owner, member] = [await bare(browser, origin), await bare(browser, origin)];
      const ticket = await owner.evaluate(async (url) => {
        window.panda = await p2panda.connect(url);
        window.room = await panda.spaces.create("crew");
        window.seen = [];
        void (async () => {
          for await (const { value, author } of room.stream()) seen.push([value, author]);
        })();
        return room.invite({ uses: 2 });
      }, courier.url);
      const join = async (url, ticket) => {
        window.panda = await p2panda.connect(url);
        window.room = await panda.spaces.join(ticket);
        window.seen = [];
        void (async () => {
          for await (const { value } of room.stream()) seen.push(value);
        })().catch(() => undefined);
        return panda.id;
      };
      const before = await member.evaluate(join, courier.url, ticket);
      await member.evaluate(async () => (await room.publish("by the old key")).wait("node"));
      await owner.waitForFunction(() => seen.length === 1, soon);
      await courier.kill();
      await state(member, "offline");
      await member.evaluate(async () => {
        await room.publish("not sent by the old key");
        await panda.recover();
      });
      await courier.start();
      const after = await member.evaluate(join, courier.url, ticket);
      assert.notEqual(after, before);
      // What no node had is sealed and signed once more, by the new key; what was read stays.
      await owner.waitForFunction(() => seen.length === 2, soon);
      assert.deepEqual(await owner.evaluate(() => seen), [
        ["by the old key", before],
        ["not sent by the old key", after],
      ]);
      await member.waitForFunction(() => seen.includes("by the old key"), soon);
      await member.evaluate(async () => (await room.publish("by the new key")).wait("node"));
      await owner.waitForFunction(() => seen.length === 3, soon);
      // An owner takes the old key out, as that of anybody else.
      const members = await owner.evaluate(async (before) => {
        await room.remove(before);
        return (await room.members()).map(({ key }) => key);
      }, before);
      assert.deepEqual(new Set(members), new Set([after, await owner.evaluate(() => panda.id)]));
      for (const page of [owner, member]) await page.own.close();
    });

    await t.test("storage that the browser takes away ends the page in words", patient, async () => {
      const page = await bare(browser, origin);
      // Firefox asks the person, whom nobody plays here.
      const said = await page.evaluate(async (url, topic, asksNobody) => {
        window.panda = await p2panda.connect(url);
        const asked = panda.persist();
        const answer = asksNobody ? await asked : panda.isPersisted;
        const told = new Promise((resolve) => panda.onError(({ code }) => resolve(code)));
        await panda.topic(topic).publish("kept for a while");
        // As the browser does it when space is short.
        await new Promise((resolve) => {
          indexedDB.deleteDatabase("p2panda default").onsuccess = resolve;
        });
        const code = await told;
        const closed = await panda
          .topic(topic)
          .publish("nowhere")
          .catch((error) => error.code);
        const [old, fresh] = [panda.id, await p2panda.connect(url)];
        const isOther = old !== fresh.id;
        await fresh.close();
        return [typeof answer, answer === panda.isPersisted, code, closed, isOther];
      }, node.url, topic, name === "chrome");
      assert.deepEqual(said, ["boolean", true, "wiped", "closed", true]);
      await page.own.close();
    });

    await t.test("a private window works, and keeps nothing when it is closed", patient, async () => {
      const open = async () => {
        const page = await bare(browser, origin);
        const id = await page.evaluate(async (url, topic) => {
          window.panda = await p2panda.connect(url);
          await (await panda.topic(topic).publish("in private")).wait("node");
          return panda.id;
        }, node.url, topic);
        await page.own.close();
        return id;
      };
      // A context of its own is what the browser's private window is.
      assert.notEqual(await open(), await open());
    });

    await t.test("a clock that is wrong by years moves no message", patient, async (t) => {
      const topic = newTopic();
      const own = await new Server(t, { open: [topic], origins: [origin] }).start();
      const [wrong, right] = [await bare(browser, origin), await bare(browser, origin)];
      await wrong.evaluate(() => {
        const now = Date.now.bind(Date);
        Date.now = () => now() - 6 * 365 * 86_400_000;
      });
      for (const page of [wrong, right]) await open(page, own.url, topic);
      const say = (page, text) =>
        page.evaluate(async (text) => (await room.publish(text)).wait("node"), text);
      for (const [place, page] of [right, wrong, right].entries()) {
        await say(page, place);
        for (const each of [wrong, right])
          await each.waitForFunction((count) => seen.length === count, soon, place + 1);
      }
      for (const page of [wrong, right]) {
        assert.deepEqual(await page.evaluate(() => seen), [0, 1, 2]);
        await page.own.close();
      }
    });

    await t.test("where storage is refused, the page says so and works", patient, async () => {
      const page = await bare(browser, origin);
      await page.evaluate(() => {
        // As in a private window of some browsers.
        IDBFactory.prototype.open = () => {
          throw new DOMException("", "SecurityError");
        };
      });
      const said = await page.evaluate(async (url, topic) => {
        const { IdbStore } = await import("/p2panda/dist/idb.js");
        const refused = await IdbStore.open("x").catch((error) => error.code);
        window.panda = await p2panda.connect(url, { storage: "memory" });
        await (await panda.topic(topic).publish("kept nowhere")).wait("node");
        return [refused, panda.isPersisted === undefined];
      }, node.url, topic);
      assert.deepEqual(said, ["storage", true]);
      await page.own.close();
    });
  });
}
