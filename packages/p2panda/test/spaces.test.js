// Encrypted spaces of pages, in Node: the node that carries them can read nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine } from "../dist/engine.js";
import { MemoryStore } from "../dist/store.js";
import { wasm } from "../dist/wasm.js";
import { holdsNothing } from "./cli.js";
import { freePort, heard, newTopic, page, server, take, WebSocket } from "./support.js";

const patient = { timeout: 120_000 };
const values = (messages) => messages.map((message) => message.value);

function joined(space) {
  return heard(
    (listener) => space.onChange(listener),
    (news) => news.joined,
  );
}

/** Resolves when this page has a role in a space. */
async function until(space, role) {
  for (;;) {
    const changed = heard(
      (listener) => space.onChange(listener),
      () => true,
    );
    if ((await space.info()).role === role) return;
    await changed;
  }
}

async function pair(t, url, name = "crew") {
  const [alice, bob] = [await page(t, url), await page(t, url)];
  const ours = await alice.spaces.create(name);
  const ticket = await ours.invite();
  const theirs = await bob.spaces.join(ticket);
  const { role } = await theirs.info();
  if (role === undefined) await joined(theirs);
  return { alice, bob, ours, theirs, ticket };
}

test("two pages speak in a space, and their node reads nothing", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { alice, bob, ours, theirs } = await pair(t, node.url, "the-name-of-the-crew");
  const secret = "a-plaintext-that-nobody-else-reads";
  await (await ours.publish({ text: secret })).wait("node");
  const [first] = await take(theirs.stream(), 1);
  assert.equal(first.value.text, secret);
  assert.deepEqual([first.author, first.log !== undefined], [alice.id, true]);
  await (await theirs.publish("the-answer-in-secret")).wait("node");
  const [, answer] = await take(ours.stream(), 2);
  assert.deepEqual([answer.value, answer.author, answer.mine], ["the-answer-in-secret", bob.id, false]);
  const { name, role, members } = await theirs.info();
  assert.deepEqual([name, role], ["the-name-of-the-crew", "editor"]);
  await ours.rotateEvery(30);
  await ours.raiseSuite(2);
  await assert.rejects(ours.raiseSuite(3), { code: "space" });
  await assert.rejects(theirs.rotateEvery(1), { code: "not-allowed" });
  const { suite, rotationDays } = await ours.info();
  assert.deepEqual([suite, rotationDays], [2, 30]);
  await ours.rotateEvery(undefined);
  assert.equal((await ours.info()).rotationDays, undefined);
  assert.deepEqual(
    members.map(({ key }) => key).sort(),
    [alice.id, bob.id].sort(),
  );
  // Ephemeral messages are for members only, too.
  const said = heard(
    (listener) => theirs.onAnnounce(listener),
    ({ value }) => value === "only-members-hear-this",
  );
  const again = setInterval(() => void ours.announce("only-members-hear-this").catch(() => {}), 200);
  await said;
  clearInterval(again);
  const words = [secret, "the-answer-in-secret", "the-name-of-the-crew", "only-members-hear-this"];
  holdsNothing(node.directory, words);
});

/** A WebSocket that keeps all that goes through it. */
function recording(wire) {
  return class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.on("message", (data) => wire.push(String(data)));
    }

    send(data, ...rest) {
      wire.push(String(data));
      super.send(data, ...rest);
    }
  };
}

/** Whether a text crossed the wire: as it is, in hexadecimal digits, or in base64 at any offset. */
function crossed(wire, text) {
  const bytes = Buffer.from(text);
  const forms = [text, bytes.toString("hex")];
  for (const before of [0, 1, 2]) {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64");
    // The characters at both ends hold bits of what is around it.
    forms.push(shifted.slice(before === 0 ? 0 : before + 1, -4));
  }
  const all = wire.join("\n");
  return forms.some((form) => all.includes(form));
}

test("no plaintext of a space crosses the wire of pages", patient, async (t) => {
  const wire = [];
  const topic = newTopic();
  const node = await server(t, { rooms: 8, open: [topic] });
  const options = { WebSocket: recording(wire) };
  const [alice, bob] = [await page(t, node.url, options), await page(t, node.url, options)];
  const ours = await alice.spaces.create("a-name-that-only-members-learn");
  const theirs = await bob.spaces.join(await ours.invite());
  if ((await theirs.info()).role === undefined) await joined(theirs);
  const secret = "a-plaintext-that-nobody-else-reads";
  await (await ours.publish({ text: secret })).wait("node");
  const [message] = await take(theirs.stream(), 1);
  assert.equal(message.value.text, secret);
  const told = heard(
    (listener) => theirs.onAnnounce(listener),
    ({ author }) => author === alice.id,
  );
  await ours.announce("here-in-secret");
  assert.equal((await told).value, "here-in-secret");
  for (const text of [secret, "a-name-that-only-members-learn", "here-in-secret"])
    assert.ok(!crossed(wire, text), text);
  // The same search finds what an open topic carries.
  await (await alice.topic(topic).publish({ text: "read-by-the-node" })).wait("node");
  assert.ok(crossed(wire, "read-by-the-node"));
});

test("a removed page reads nothing of what comes after", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { alice, bob, ours, theirs } = await pair(t, node.url);
  const carol = await page(t, node.url);
  const hers = await carol.spaces.join(await ours.invite());
  if ((await hers.info()).role === undefined) await joined(hers);
  await (await ours.publish("with bob")).wait("node");
  assert.deepEqual(values(await take(theirs.stream(), 1)), ["with bob"]);
  const ejected = heard(
    (listener) => theirs.onChange(listener),
    (news) => news.ejected,
  );
  await ours.remove(bob.id);
  await (await ours.publish("without bob")).wait("node");
  await ejected;
  assert.deepEqual(values(await take(hers.stream(), 2)), ["with bob", "without bob"]);
  // The operation is stored, but does not open.
  const engine = bob.backend;
  await caughtUp(engine);
  const { messages } = await engine.call("read", ours.id, 0, 100);
  assert.deepEqual(values(messages), ["with bob"]);
  assert.equal((await theirs.info()).role, undefined);
  await assert.rejects(theirs.publish("still here?"), { code: "not-a-member" });
  assert.deepEqual(
    (await ours.members()).map(({ key }) => key).sort(),
    [alice.id, carol.id].sort(),
  );
});

test("a page that left a space is refused and waits for nothing", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { bob, ours, theirs } = await pair(t, node.url);
  await (await theirs.publish("before")).wait("node");
  await theirs.leave();
  await assert.rejects(theirs.publish("after"), { code: "not-a-member", topic: theirs.id });
  await assert.rejects(bob.topic(theirs.id).publish("after"), { code: "not-a-member" });
  const again = await bob.spaces.join(await ours.invite());
  await until(again, "editor");
  assert.equal((await (await again.publish("back")).wait("node")).state, "stored");
});

test("a receipt waits no longer once its page was removed", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { bob, ours, theirs } = await pair(t, node.url);
  await ours.setRole(bob.id, "reader");
  await until(theirs, "reader");
  const receipt = await theirs.publish("a reader may not");
  const waiting = assert.rejects(receipt.wait("node"), { code: "not-a-member" });
  const stream = theirs.stream({ queued: true });
  let message;
  do [message] = await take(stream, 1);
  while (message.state === "queued");
  assert.deepEqual([message.value, message.state, message.id], ["a reader may not", "blocked", ""]);
  await stream.return();
  await ours.remove(bob.id);
  await waiting;
});

test("what waits for the admission is shown as queued", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const [alice, bob] = [await page(t, node.url), await page(t, node.url)];
  const ours = await alice.spaces.create("crew");
  const ticket = await ours.invite();
  await alice.close();
  const theirs = await bob.spaces.join(ticket);
  const stream = theirs.stream({ queued: true, consumer: "ui" });
  const receipt = await theirs.publish({ text: "let me in" });
  const [message] = await take(stream, 1);
  assert.deepEqual([message.state, message.id, message.mine], ["queued", "", true]);
  assert.deepEqual([message.request, message.author], [receipt.request, bob.id]);
  assert.equal(message.value.text, "let me in");
  assert.ok(Math.abs(message.timestamp / 1000 - Date.now()) < 3_600_000);
  // The position of the consumer stays.
  await message.ack();
  const over = { signal: AbortSignal.abort() };
  await assert.rejects(receipt.wait("node", over), { code: "aborted" });
  await stream.return();
  // A stream without the option has nothing to show yet.
  assert.deepEqual((await bob.backend.call("read", theirs.id, 0, 10)).messages, []);
});

test("a queued message comes again once it is sealed", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const store = new MemoryStore();
  store.close = () => undefined;
  const open = () => Engine.start(store, { url: node.url, WebSocket });
  const leads = (engine) => heard((listener) => engine.listen(listener), ({ status }) => status?.leader === true);
  const owner = await open();
  await leads(owner);
  const topic = newTopic();
  await owner.spaceAct(topic, { do: "create", history: true });
  const until = Math.floor(Date.now() / 1000) + 3600;
  const invite = await owner.spaceAct(topic, { do: "offer", role: "editor", uses: 1, until });
  const ticket = owner.invite(topic, invite);
  await owner.close();
  const bob = await page(t, node.url);
  const theirs = await bob.spaces.join(ticket);
  const receipt = await theirs.publish("hello");
  const stream = theirs.stream({ queued: true });
  const [first] = await take(stream, 1);
  assert.deepEqual([first.state, first.id, first.request], ["queued", "", receipt.request]);
  const again = await open();
  t.after(() => again.close());
  await receipt.wait("node");
  const [second] = await take(stream, 1);
  assert.deepEqual([second.id, second.request, second.value], [receipt.id, receipt.request, "hello"]);
  await stream.return();
});

test("nothing goes in the clear into a space that is not joined", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { ours } = await pair(t, node.url);
  const carol = await page(t, node.url);
  await assert.rejects(carol.space(ours.id).publish("secret"), { code: "not-a-member" });
  await assert.rejects(carol.space(ours.id).announce("secret"), { code: "not-a-member" });
  const topic = newTopic();
  await assert.rejects(carol.space(topic).publish("secret"), { code: "not-a-member" });
  assert.equal((await (await carol.topic(newTopic()).publish("plain")).wait("node")).state, "stored");
});

test("an invite that admits nobody is refused", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const alice = await page(t, node.url);
  const space = await alice.spaces.create("crew");
  for (const invited of [{ uses: 0 }, { uses: 1.5 }, { uses: "2" }, { forMs: 0 }, { forMs: -1 }, { forMs: "7" }])
    await assert.rejects(space.invite(invited), { code: "invalid" }, JSON.stringify(invited));
  await assert.rejects(space.invite({ role: "king" }), { code: "invalid" });
  await assert.rejects(alice.spaces.create(5), { code: "invalid" });
  await assert.rejects(alice.spaces.create("x", { history: "no" }), { code: "invalid" });
  assert.deepEqual((await space.info()).invites, []);
});

test("what a space refuses is said in words", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { ours, theirs } = await pair(t, node.url);
  const message = "our role (editor) does not allow this; ask an owner of the space";
  await assert.rejects(theirs.invite(), { code: "not-allowed", message });
  const long = "the name has 300 bytes; 256 fit";
  await assert.rejects(ours.rename("x".repeat(300)), { code: "too-large", message: long });
});

test("an invite of no use is refused by the module, too", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const alice = await page(t, node.url);
  const space = await alice.spaces.create("crew");
  const until = Math.floor(Date.now() / 1000) + 60;
  const deed = { do: "offer", role: "editor", uses: 0, until };
  await assert.rejects(alice.backend.call("spaceAct", space.id, deed), { code: "invalid" });
});

/** Waits until this page has as many operations as its node. */
async function caughtUp(engine) {
  for (;;) {
    const { behind, state } = await engine.call("status");
    if (behind === 0 && state === "online") return;
    await heard(
      (listener) => engine.listen(listener),
      (event) => event.kind === "status" || event.kind === "space",
    );
  }
}

test("an invite for one lets one in, and says so to the other", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const { ours, ticket } = await pair(t, node.url);
  const carol = await page(t, node.url);
  const turnedAway = heard(
    (listener) => ours.onChange(listener),
    (news) => news.turnedAway.length > 0,
  );
  const hers = await carol.spaces.join(ticket);
  const { turnedAway: who } = await turnedAway;
  assert.equal(who[0].key, carol.id);
  assert.equal((await hers.info()).joining, true);
  await assert.rejects(carol.spaces.join("panda:aaaa"), { code: "invalid-ticket" });
  await assert.rejects(carol.spaces.join(await ours.panda.topic(ours.id).ticket()), {
    code: "invalid-ticket",
  });
  await assert.rejects(ours.leave(), { code: "last-owner" });
});

test("what is written offline is sealed, and arrives in order", patient, async (t) => {
  const node = await server(t, { rooms: 8, port: await freePort() });
  const { alice, ours, theirs } = await pair(t, node.url);
  await (await ours.publish(0)).wait("node");
  await node.kill();
  await heard(
    (listener) => alice.onStatus(listener),
    ({ state }) => state === "offline",
  );
  const receipts = [];
  for (let number = 1; number <= 10; number += 1) receipts.push(await ours.publish(number));
  await receipts[9].wait("signed");
  await node.start();
  for (const receipt of receipts) await receipt.wait("node");
  const read = await take(theirs.stream(), 11);
  assert.deepEqual(values(read), [...Array(11).keys()]);
});

test("what a page keeps of spaces is sealed and outlives a restart", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const store = new MemoryStore();
  store.close = () => undefined;
  const open = () => Engine.start(store, { url: node.url, WebSocket });
  const first = await open();
  const topic = "ab".repeat(32);
  await heard(
    (listener) => first.listen(listener),
    ({ kind, status }) => kind === "status" && status.leader,
  );
  await first.spaceAct(topic, { do: "create", name: "kept", history: true });
  await first.publish(topic, "written before");
  await heard(
    (listener) => first.listen(listener),
    (event) => event.kind === "grown",
  );
  await first.close();
  const rows = await store.read((reader) => reader.range("rooms", [], ["\uffff"]));
  assert.ok(rows.length > 10);
  const text = Buffer.concat(rows.map(({ sealed }) => Buffer.from(sealed)));
  assert.equal(text.includes("kept"), false);
  const all = [];
  for (const table of ["places", "requests", "published", "feed"])
    all.push(...(await store.read((reader) => reader.range(table, [], ["\uffff"]))));
  assert.equal(JSON.stringify(all, plain).includes("written before"), false);
  const second = await open();
  t.after(() => second.close());
  const { messages } = await second.read(topic, 0, 10);
  assert.deepEqual(values(messages), ["written before"]);
  assert.equal((await second.spaceLook(topic)).name, "kept");
});

test("a page with a new key reads what came before it joined", patient, async (t) => {
  const node = await server(t, { rooms: 8 });
  const alice = await page(t, node.url);
  const ours = await alice.spaces.create("crew");
  const { topic, invite } = wasm.readTicket(await ours.invite({ uses: 2 }));
  const store = new MemoryStore();
  store.close = () => undefined;
  const open = () => Engine.start(store, { url: node.url, WebSocket });
  const join = async (engine) => {
    const here = heard(
      (listener) => engine.listen(listener),
      (event) => event.kind === "space" && event.news.joined,
    );
    await engine.spaceAct(topic, { do: "join", invite });
    await here;
  };
  const first = await open();
  await join(first);
  const left = heard(
    (listener) => first.listen(listener),
    ({ kind, error }) => kind === "fault" && error.code === "new-key",
  );
  await first.recover();
  await left;
  const second = await open();
  t.after(() => second.close());
  // It has passed over all that its storage holds, as a page does that is in no space there.
  const done = () => store.read((reader) => reader.get("meta", ["rooms-done", topic]));
  while ((await done()) === undefined) await new Promise(setImmediate);
  await join(second);
  assert.equal((await second.spaceLook(topic)).name, "crew");
});

/** Bytes read as text. */
function plain(_, value) {
  return value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value;
}
