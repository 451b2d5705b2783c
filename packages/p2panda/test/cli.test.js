// A page and users of `panda` share topics and spaces.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { holdsNothing, Programs, until } from "./cli.js";
import { heard, newTopic, page, take } from "./support.js";

const patient = { timeout: 180_000 };
const values = (messages) => messages.map((message) => message.value);

test("a page and `panda chat` talk in a room", patient, async (t) => {
  const programs = new Programs(t);
  const node = await programs.node();
  const topic = newTopic();
  const panda = await page(t, node.url);
  const room = panda.topic(topic);
  await (await room.publish("hello from a page")).wait("node");
  const chat = programs.start("bob", ["chat", topic, "--from", "start", "--bootstrap", node.peer]);
  await until(chat, (line) => line.endsWith("hello from a page"));
  chat.stdin.write("hello from a terminal\n");
  const messages = await take(room.stream(), 2);
  assert.deepEqual(values(messages), ["hello from a page", "hello from a terminal"]);
});

test("`panda space` comes into a page's space by an invite", patient, async (t) => {
  const programs = new Programs(t);
  const node = await programs.node();
  const panda = await page(t, node.url);
  const space = await panda.spaces.create("made in a page");
  await (await space.publish("sealed in a page")).wait("node");
  const ticket = await space.invite({ uses: 2 });
  const joined = await programs.run("bob", ["space", "join", ticket, "--wait", "90", "--bootstrap", node.peer]);
  assert.match(joined, new RegExp(`^${space.id} editor`));
  const publish = ["space", "publish", space.id, "--bootstrap", node.peer];
  await programs.run("bob", publish, { input: "sealed in a terminal\n" });
  const messages = await take(space.stream(), 2);
  assert.deepEqual(values(messages), ["sealed in a page", "sealed in a terminal"]);
  const watch = programs.start("bob", ["space", "watch", space.id, "--from", "start", "--bootstrap", node.peer]);
  await until(watch, (line) => line === "sealed in a page");
  // The removed member reads what came before, and nothing after.
  const bob = messages[1].author;
  await space.remove(bob);
  await (await space.publish("after the removal")).wait("node");
  await programs.interrupt(watch);
  await programs.run("bob", ["sync", space.id, "--bootstrap", node.peer]);
  const again = programs.start("bob", ["space", "watch", space.id, "--from", "start"]);
  const read = [(await again.lines.next()).value, (await again.lines.next()).value];
  assert.deepEqual(read.sort(), ["sealed in a page", "sealed in a terminal"]);
  await programs.interrupt(again);
  const refused = await programs.run("bob", publish, { input: "me too\n", codes: [6] });
  assert.equal(refused, "");
  holdsNothing(join(programs.directory, "courier"), ["sealed in a", "after the removal", "made in a page"]);
});

test("a page comes into a space of `panda space` by an invite", patient, async (t) => {
  const programs = new Programs(t);
  const node = await programs.node();
  const topic = await programs.run("owner", ["space", "create", "made in a terminal"]);
  await programs.run("owner", ["space", "publish", topic, "--wait", "0"], { input: "old news\n", codes: [3] });
  const invite = ["space", "invite", topic, "--contact", node.peer];
  const [ticket] = (await programs.run("owner", invite)).split("\n");
  const panda = await page(t, node.url);
  const space = await panda.spaces.join(ticket);
  assert.equal((await space.info()).joining, true);
  const joined = heard(
    (listener) => space.onChange(listener),
    (news) => news.joined,
  );
  const owner = programs.start("owner", ["space", "watch", topic, "--from", "start", "--bootstrap", node.peer]);
  await joined;
  const { name, role } = await space.info();
  assert.deepEqual([name, role], ["made in a terminal", "editor"]);
  assert.deepEqual(values(await take(space.stream(), 1)), ["old news"]);
  await space.publish("from the page");
  await until(owner, (line) => line === "from the page");
  holdsNothing(join(programs.directory, "courier"), ["old news", "from the page", "made in a"]);
});
