// The package in real browsers: keys, storage, several tabs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADMIN, freePort, newTopic, page as inNode, server, take } from "../support.js";
import { bare, browsers, launch, serve } from "./support.js";

const patient = { timeout: 120_000 };

for (const name of browsers) {
  test(`${name}: the package in pages`, { timeout: 240_000 }, async (t) => {
    const origin = await serve(t);
    const browser = await launch(t, name);

    await t.test("the key cannot be read, and stays over a reload", patient, async (t) => {
      const node = await server(t, { origins: [origin] });
      const page = await bare(browser, origin);
      const id = await page.evaluate(async (url) => {
        const panda = await p2panda.connect(url, { name: "keys" });
        await panda.close();
        return panda.id;
      }, node.url);
      const stored = await page.evaluate(async () => {
        const database = await new Promise((resolve) => {
          const request = indexedDB.open("p2panda keys");
          request.onsuccess = () => resolve(request.result);
        });
        const key = await new Promise((resolve) => {
          const request = database.transaction("meta").objectStore("meta").get(["key"]);
          request.onsuccess = () => resolve(request.result);
        });
        database.close();
        const read = (format) =>
          crypto.subtle.exportKey(format, key.privateKey).then(String, (error) => error.name);
        return [key.privateKey.extractable, await read("pkcs8"), await read("jwk")];
      });
      assert.deepEqual(stored, [false, "InvalidAccessError", "InvalidAccessError"]);
      await page.reload();
      await page.waitForFunction(() => window.p2panda !== undefined);
      const again = await page.evaluate(async (url) => {
        const panda = await p2panda.connect(url, { name: "keys" });
        await panda.wipe();
        const fresh = await p2panda.connect(url, { name: "keys" });
        const ids = [panda.id, fresh.id];
        await fresh.close();
        return ids;
      }, node.url);
      assert.equal(again[0], id);
      assert.notEqual(again[1], id);
      await page.own.close();
    });

    await t.test("what is no data and no key is refused in a page", patient, async (t) => {
      const node = await server(t, { origins: [origin], rooms: 2 });
      const page = await bare(browser, origin);
      const said = await page.evaluate(
        async (url, topic) => {
          const refused = (work) =>
            work.then(
              () => "taken",
              ({ name, code, message }) => [name, code, message],
            );
          class Point {
            x = 1;
          }
          const panda = await p2panda.connect(url, { storage: "memory" });
          const room = panda.topic(topic);
          // A worker would get a plain object of the second one, and nothing of the third.
          const values = [new Date(0), { at: new Point() }, { at: () => 1 }];
          const said = [];
          for (const value of values) said.push(await refused(room.publish(value)));
          const key = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
          for (const options of [{ key }, { key: { publicKey: () => 1 } }, { storage: "bogus" }])
            said.push(await refused(p2panda.connect(url, options)));
          await panda.close();
          return said;
        },
        node.url,
        newTopic(),
      );
      const messages = said.map(([name, code, message]) => {
        assert.deepEqual([name, code], ["PandaError", "invalid"], message);
        return message;
      });
      const noKey = "the key is not a pair of Ed25519 keys that can sign";
      assert.deepEqual(messages, [
        "a message cannot be an object of the class Date",
        "a message cannot have an object of the class Point at .at",
        "a message cannot have a function at .at",
        ...[noKey, noKey],
        'the option `storage` is neither "indexeddb" nor "memory"',
      ]);
      await page.own.close();
    });

    await t.test(
      "what is written offline outlives a reload and a restart",
      patient,
      async (t) => {
        const topic = newTopic();
        const node = await server(t, { open: [topic], origins: [origin], port: await freePort() });
        const page = await bare(browser, origin);
        const write = (from, to) =>
          page.evaluate(
            async (url, topic, from, to) => {
              const panda = (window.panda ??= await p2panda.connect(url));
              for (let place = from; place < to; place += 1)
                await panda.topic(topic).publish(place);
            },
            node.url,
            topic,
            from,
            to,
          );
        await write(0, 5);
        await node.kill();
        await write(5, 10);
        await page.reload();
        await page.waitForFunction(() => window.p2panda !== undefined);
        await write(10, 15);
        await node.start();
        await page.evaluate(() => panda.backend.call("wake"));
        const reader = await inNode(t, node.url);
        const messages = await take(reader.topic(topic).stream(), 15);
        assert.deepEqual(
          messages.map(({ value }) => value),
          [...Array(15).keys()],
        );
        assert.deepEqual(
          messages.map(({ seq }) => seq),
          [...Array(15).keys()],
        );
        const seen = await page.evaluate(async (topic) => {
          const values = [];
          for await (const message of panda.topic(topic).stream()) {
            values.push(message.value);
            if (values.length === 15) return values;
          }
        }, topic);
        assert.deepEqual(seen, [...Array(15).keys()]);
        await page.own.close();
      },
    );

    await t.test(
      "three tabs write one log, also when the leader closes",
      patient,
      async (t) => {
        const topic = newTopic();
        const node = await server(t, { open: [topic], origins: [origin] });
        const first = await bare(browser, origin);
        const tabs = [
          first,
          await bare(browser, origin, first.own),
          await bare(browser, origin, first.own),
        ];
        for (const tab of tabs) {
          await tab.evaluate(
            async (url, topic) => {
              window.panda = await p2panda.connect(url, { name: "tabs" });
              window.room = panda.topic(topic);
              window.wrote = 0;
            },
            node.url,
            topic,
          );
        }
        const ids = await Promise.all(tabs.map((tab) => tab.evaluate(() => panda.id)));
        assert.equal(new Set(ids).size, 1);
        await first.waitForFunction(() => panda.status.leader, { polling: 20 });
        // A tab without the connection asks the leading one.
        const sent = await tabs[1].evaluate(async () => {
          const receipt = await room.publish("0 -1", { request: "first" });
          await receipt.wait("node");
          return [(await receipt.sentTo()).length, panda.status.leader, panda.status.state];
        });
        assert.deepEqual(sent, [0, false, "online"]);
        const burst = (tab, place, count) =>
          tab.evaluate(
            async (place, count) => {
              for (let number = 0; number < count; number += 1) {
                await room.publish(`${place} ${number}`, { request: `${place}-${number}` });
                window.wrote += 1;
              }
            },
            place,
            count,
          );
        // The leader closes in the middle of its own burst.
        void burst(first, 0, 1_000).catch(() => undefined);
        const others = [burst(tabs[1], 1, 60), burst(tabs[2], 2, 60)];
        await first.waitForFunction(() => window.wrote >= 10, { polling: 20 });
        const kept = await first.evaluate(() => window.wrote);
        await first.close();
        await Promise.all(others);
        const reader = await inNode(t, node.url);
        const seen = { 0: [], 1: [], 2: [] };
        const seqs = [];
        for await (const message of reader.topic(topic).stream()) {
          const [place, number] = message.value.split(" ").map(Number);
          if (number === -1) {
            seqs.push(message.seq);
            continue;
          }
          seen[place].push(number);
          seqs.push(message.seq);
          if (seen[1].length === 60 && seen[2].length === 60 && seen[0].length >= kept) break;
        }
        // Each tab in its order, without gaps, forks or duplicates.
        assert.deepEqual(seqs, [...seqs.keys()]);
        for (const numbers of Object.values(seen)) assert.deepEqual(numbers, [...numbers.keys()]);
        assert.equal(reader.status.lastError, undefined);
        assert.equal(
          (await tabs[1].evaluate(() => panda.status.leader)) ||
            (await tabs[2].evaluate(() => panda.status.leader)),
          true,
        );
        await first.own.close();
      },
    );

    await t.test("the next version takes over from this one in another tab", patient, async (t) => {
      const topic = newTopic();
      const node = await server(t, { open: [topic], origins: [origin] });
      const others = Array.from({ length: 200 }, (_, place) => `other ${place}`);
      await (await node.client(ADMIN)).topic(topic).publishAll(others);
      const first = await bare(browser, origin);
      const open = async (url, topic, count) => {
        window.panda = await p2panda.connect(url, { name: "versions" });
        window.told = new Promise((resolve) => panda.onError(({ code }) => resolve(code)));
        window.seen = [];
        for await (const { value, mine, seq } of panda.topic(topic).stream()) {
          seen.push([value, mine ? seq : undefined]);
          if (seen.length === count) return seen;
        }
      };
      const before = await first.evaluate(open, node.url, topic, others.length);
      const write = async (topic, text) => {
        const receipt = await panda.topic(topic).publish(text);
        const { id, state } = await receipt.wait("node");
        return { id, state, key: panda.id };
      };
      const one = await first.evaluate(write, topic, "from this version");
      const second = await bare(browser, origin, first.own, "next");
      const after = await second.evaluate(open, node.url, topic, others.length + 1);
      assert.deepEqual(after, [...before, ["from this version", 0]]);
      assert.equal(await first.evaluate(() => told), "newer-version");
      const refused = await first.evaluate(async (url, topic) => {
        const code = (error) => error.code;
        return [
          await panda.topic(topic).publish("too late").catch(code),
          await p2panda.connect(url, { name: "versions" }).catch(code),
        ];
      }, node.url, topic);
      assert.deepEqual(refused, ["closed", "newer-version"]);
      // The same author continues its log.
      const two = await second.evaluate(write, topic, "from the next version");
      assert.equal(two.key, one.key);
      const all = await second.evaluate(open, node.url, topic, others.length + 2);
      assert.deepEqual(all.slice(-2), [["from this version", 0], ["from the next version", 1]]);
      assert.deepEqual([...first.errors, ...second.errors], []);
      await first.own.close();
    });
  });
}
