// The chat as two people use it, in real browsers. PANDA_TEST_PICTURES names a folder for screenshots.
import assert from "node:assert/strict";
import { test } from "node:test";
import { wasm } from "../../dist/wasm.js";
import { Liar, log } from "../liar.js";
import { freePort, newTopic, Server } from "../support.js";
import { agree, change, enter, press, shows, texts, write } from "./chat.js";
import { browsers, isAccessible, launch, serve, soon, tab } from "./support.js";

const patient = { timeout: 120_000 };
const pictures = process.env.PANDA_TEST_PICTURES;

async function look(page, name) {
  if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${name}.png` });
}

for (const name of browsers) {
  test(`${name}: the chat`, { timeout: 240_000 }, async (t) => {
    const origin = await serve(t);
    const node = new Server(t, { origins: [origin], port: await freePort() });
    node.args.push("--rooms", "10");
    await node.start();
    const browser = await launch(t, name);
    const address = `${origin}/chat/?node=${encodeURIComponent(node.url)}`;
    const anna = await tab(browser, address);
    let link;
    let bert;

    await t.test("two people meet by a link", patient, async () => {
      await look(anna, `${name}-start`);
      await isAccessible(anna);
      link = await enter(anna, "Anna");
      assert.match(link, /#panda/);
      await write(anna, "Hello, is somebody here?");
      await shows(anna, "Hello, is somebody here?");
      bert = await tab(browser, link);
      await enter(bert, "Bert", link);
      await shows(bert, "Hello, is somebody here?");
      await write(bert, "Yes! 🐼");
      await shows(anna, "Yes! 🐼");
      await anna.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      await anna.waitForFunction(
        () => document.querySelector("#here").textContent.includes("Bert"),
        soon,
      );
      // Bert's page says what Bert has had before his eyes.
      await anna.waitForFunction(
        () => document.querySelector(".mine .seen")?.textContent.includes("Bert"),
        soon,
      );
      await isAccessible(anna);
      await look(anna, `${name}-room`);
      const asked = await anna.evaluate(() =>
        performance.getEntriesByType("resource").map(({ name }) => name),
      );
      // The secret is after the #, which no request contains.
      assert.deepEqual(
        asked.filter((one) => one.includes("panda:") || one.includes("#")),
        [],
      );
    });

    await t.test("messages are changed and deleted by who wrote them", patient, async () => {
      await write(anna, "typo");
      await shows(bert, "typo");
      await change(anna, "typo", "correct");
      await shows(bert, "correct");
      assert.ok(!(await texts(bert)).includes("typo"));
      agree(anna);
      await press(anna, "correct", "Delete");
      await shows(bert, "Deleted by its author");
      const others = await bert.$$eval(".message:not(.mine) .foot", (feet) =>
        feet.map((foot) => foot.textContent),
      );
      assert.ok(others.every((foot) => !foot.includes("Delete")));
    });

    await t.test("the life of a message is told, by keyboard alone", patient, async () => {
      await press(bert, "Yes! 🐼", "What happened");
      await bert.waitForFunction(() => document.querySelectorAll("#steps li").length >= 6, soon);
      await isAccessible(bert);
      await look(bert, `${name}-life`);
      const steps = await bert.$$eval("#steps li", (all) => all.map((one) => one.textContent));
      assert.ok(steps.some((step) => step.startsWith("Signed with the key of this page")));
      assert.ok(steps.some((step) => step.startsWith("Sent to the node")));
      await bert.keyboard.press("Escape");
      await bert.waitForFunction(() => !document.querySelector("#life").open, soon);
      await bert.focus("#text");
      await bert.keyboard.type("by keyboard");
      await bert.keyboard.press("Tab");
      await bert.keyboard.press("Tab");
      await bert.keyboard.press("Enter");
      await shows(anna, "by keyboard");
    });

    await t.test(
      "what is written offline arrives later, also over a reload",
      patient,
      async () => {
        await node.kill();
        await anna.waitForFunction(
          () => document.querySelector("#status").dataset.state === "offline",
          soon,
        );
        for (let place = 0; place < 10; place += 1) await write(anna, `offline ${place}`);
        await shows(anna, "offline 9");
        await look(anna, `${name}-offline`);
        await anna.reload();
        await shows(anna, "offline 9");
        await node.start();
        await shows(bert, "offline 9");
        const seen = (await texts(bert)).filter((text) => text.startsWith("offline"));
        assert.deepEqual(
          seen,
          Array.from({ length: 10 }, (_, place) => `offline ${place}`),
        );
        assert.deepEqual(await texts(anna), await texts(bert));
      },
    );

    await t.test("hostile text is text", patient, async () => {
      const hostile = ["<img src=x onerror=alert(1)>", "\u202eevil\u202c", "a\u200bb", "{{1+1}}"];
      for (const text of hostile) {
        await anna.$eval(
          "#text",
          (area, text) => ((area.value = text), area.form.requestSubmit()),
          text,
        );
        await shows(bert, text);
      }
      await anna.$eval(
        "#text",
        (area) => ((area.value = "x".repeat(1024 * 1024)), area.form.requestSubmit()),
      );
      await anna.waitForFunction(
        () => document.querySelector("#room-error").textContent.includes("too long"),
        soon,
      );
      // The refused text is still there to be shortened.
      assert.equal(await anna.$eval("#text", (area) => area.value.length), 1024 * 1024);
      await anna.$eval("#text", (area) => (area.value = ""));
    });

    await t.test("a link with one character wrong is refused in words", patient, async () => {
      const wrong = link.slice(0, -1) + (link.endsWith("a") ? "b" : "a");
      const page = await tab(browser, wrong);
      await page.waitForSelector("#start:not([hidden])");
      await page.type("#name", "Carl");
      await page.click("#open button");
      await page.waitForFunction(
        () => document.querySelector("#start-error").textContent !== "",
        soon,
      );
      assert.match(
        await page.$eval("#start-error", (one) => one.textContent),
        /not a room link/,
      );
      await page.own.close();
    });

    await t.test("it speaks German, fits a phone, and has a dark side", patient, async () => {
      await bert.select("#language", "de");
      assert.equal(await bert.$eval("#send", (one) => one.textContent), "Senden");
      assert.equal(await bert.$eval("html", (one) => one.lang), "de");
      await bert.setViewport({ width: 360, height: 740 });
      const widths = await bert.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(widths[0] <= widths[1], `${widths}`);
      await bert
        .emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }])
        .catch(() => undefined);
      await isAccessible(bert);
      await look(bert, `${name}-phone`);
    });

    await t.test(
      "a lying node is told in a sentence, and nothing forged shown",
      patient,
      async (t) => {
        const topic = newTopic();
        const liar = await new Liar(t, topic).start();
        const [real, ...rest] = await log(topic, ["real", "hidden", "behind"]);
        const link = `${origin}/chat/?node=${encodeURIComponent(liar.url)}#${wasm.writeTicket(topic)}`;
        const page = await tab(browser, link);
        await enter(page, "Carl", link);
        const says = async (text) => {
          const find = (text) => document.querySelector("#room-error").textContent.includes(text);
          await page.waitForFunction(find, soon, text);
        };
        liar.show({ ...real, body: wasm.encode("forged") });
        await says("nobody signed");
        liar.show(real);
        await shows(page, "real");
        liar.show(rest[1]);
        await says("leaves something out");
        assert.deepEqual(await texts(page), ["real"]);
        await look(page, `${name}-lying`);
        await page.own.close();
      },
    );

    await t.test("a browser without keys asks for a passphrase", patient, async () => {
      const page = await (await browser.createBrowserContext()).newPage();
      // The engine runs in the page then, where the test can take Ed25519 away.
      await page.evaluateOnNewDocument(() => {
        delete globalThis.Worker;
        const generate = crypto.subtle.generateKey.bind(crypto.subtle);
        SubtleCrypto.prototype.generateKey = (algorithm, ...rest) => {
          if (algorithm !== "Ed25519") return generate(algorithm, ...rest);
          return Promise.reject(new DOMException("it is unknown", "NotSupportedError"));
        };
      });
      const open = async (passphrase, says) => {
        await page.waitForSelector("#unlock:not([hidden])");
        const find = (says) => document.querySelector("#unlock-text").textContent.includes(says);
        await page.waitForFunction(find, soon, says);
        await page.type("#passphrase", passphrase);
        await page.click("#unlock button");
      };
      await page.goto(address);
      await page.waitForSelector("#start:not([hidden])");
      await page.type("#name", "Dora");
      await page.click("#make");
      await page.waitForSelector("#unlock:not([hidden])");
      await isAccessible(page);
      await look(page, `${name}-passphrase`);
      await open("bamboo", "Choose a passphrase");
      await page.waitForSelector("#room:not([hidden])");
      await write(page, "by a protected key");
      await page.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      const key = await page.$eval("#key", (one) => one.textContent);
      await page.reload();
      await open("bambus", "opens with your passphrase");
      await open("bamboo", "Wrong passphrase");
      await shows(page, "by a protected key");
      assert.equal(await page.$eval("#key", (one) => one.textContent), key);
      // A new key writes on in the same room.
      agree(page);
      await page.click("#renew");
      await open("bamboo", "opens with your passphrase");
      await shows(page, "by a protected key");
      assert.notEqual(await page.$eval("#key", (one) => one.textContent), key);
      await write(page, "by the new key");
      await page.waitForSelector('.mine [data-state="stored"]', { timeout: 60_000 });
      await page.close();
    });

    await t.test("nothing went wrong unseen", patient, () => {
      // Firefox reports each cut connection.
      const isOurs = (error) => !error.includes("ws://");
      assert.deepEqual([...anna.errors, ...bert.errors].filter(isOurs), []);
    });
  });
}
