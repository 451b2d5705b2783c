// The chat as the daemon serves it, in encrypted rooms. PANDA_TEST_PICTURES names a folder for screenshots.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { holdsNothing, Programs } from "../cli.js";
import { agree, enter, says, text, write } from "./chat.js";
import { browsers, isAccessible, launch, serve, soon, tab } from "./support.js";

const patient = { timeout: 120_000 };
const pictures = process.env.PANDA_TEST_PICTURES;
const dist = fileURLToPath(new URL("../../../../examples/chat/dist", import.meta.url));

function shows(page, words) {
  return says(page, "#messages", words);
}

for (const name of browsers) {
  test(`${name}: encrypted rooms at /demo`, { timeout: 240_000 }, async (t) => {
    const programs = new Programs(t);
    const elsewhere = await serve(t);
    const node = await programs.node({ demo: dist, origins: [elsewhere] });
    const browser = await launch(t, name);
    const anna = await tab(browser, node.demo);
    const said = ["Only for members, Bert", "Sealed, too", "Not for Bert any more"];
    let link, bert;

    await t.test("who has the link is let in, and the panel shows how", patient, async () => {
      link = await enter(anna, "Anna", undefined, "#make-sealed");
      assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/demo\/\?node=[^#]*#panda/);
      await write(anna, said[0]);
      await shows(anna, said[0]);
      bert = await tab(browser, link);
      await enter(bert, "Bert", link);
      await shows(bert, said[0]);
      await write(bert, said[1]);
      await shows(anna, said[1]);
      await says(anna, "#members", "member");
      await isAccessible(anna);
      if (pictures !== undefined) {
        await says(anna, "#here", "Bert");
        await anna.setViewport({ width: 790, height: 430 });
        await anna.screenshot({ path: join(pictures, `${name}-sealed.png`) });
        await anna.setViewport({ width: 1100, height: 800 });
      }
      await anna.$eval(".message:not(.mine) .foot button", (button) => button.click());
      await says(anna, "#steps", "Opened here with a secret of the members");
      await anna.keyboard.press("Escape");
      await anna.$eval(".message.mine .foot button", (button) => button.click());
      await says(anna, "#steps", "Sealed for the members of this room");
      await anna.keyboard.press("Escape");
    });

    await t.test("it says when the node that carries the room gave the page", patient, async () => {
      assert.match(await text(anna, "#trust"), /^This room is encrypted/);
      await anna.waitForSelector("#served:not([hidden])");
      assert.match(await text(anna, "#served"), /also gave you this page/);
      const other = `${elsewhere}/chat/?node=${encodeURIComponent(node.url)}`;
      const carol = await tab(browser, other);
      await enter(carol, "Carol", undefined, "#make-sealed");
      await says(carol, "#status", "Connected");
      assert.equal(await carol.$eval("#served", (element) => element.hidden), true);
      await carol.own.close();
    });

    await t.test("who is removed reads nothing of what comes after", patient, async () => {
      agree(anna);
      await anna.click("#members button");
      await bert.waitForSelector("#joining:not([hidden])");
      assert.match(await text(bert, "#joining"), /no longer a member of this room/);
      await write(anna, said[2]);
      await anna.waitForFunction(
        () => document.querySelectorAll('.mine [data-state="stored"]').length === 2,
        soon,
      );
      // A newcomer reads all of it.
      const dora = await tab(browser, link);
      await enter(dora, "Dora", link);
      for (const words of said) await shows(dora, words);
      const read = await text(bert, "#messages");
      assert.ok(read.includes(said[1]) && !read.includes(said[2]), read);
      // Nor after a reload, with everything that the node has.
      await bert.reload();
      await shows(bert, said[1]);
      await says(bert, "#status", "Connected");
      assert.ok(!(await text(bert, "#messages")).includes(said[2]));
    });

    await t.test("the files of the node hold none of it", patient, () => {
      holdsNothing(join(programs.directory, "courier"), [...said, "Anna", "Bert"]);
      for (const page of [anna, bert]) assert.deepEqual(page.errors, []);
    });
  });
}
