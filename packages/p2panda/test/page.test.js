// The package for pages, in Node: keys, signing, exchange with a real node.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine } from "../dist/engine.js";
import { MemoryStore } from "../dist/store.js";
import {
  decodeBody,
  decodeOperation,
  encodeBody,
  fromBase64,
  generateHash,
  KeyPair,
  loadWasm,
  Session,
  signAndEncode,
  toBase64,
  verifySignature,
} from "../dist/low-level.js";
import {
  ADMIN,
  ALICE,
  freePort,
  heard,
  newTopic,
  online,
  page,
  Server,
  server,
  take,
  WebSocket,
} from "./support.js";

const patient = { timeout: 120_000 };
const values = (messages) => messages.map((message) => message.value);

test("two pages speak through one node, each knows who wrote what", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const [one, two] = [await page(t, node.url), await page(t, node.url)];
  const sent = await one
    .topic(topic)
    .publish({ text: "hi", at: [1, 2.5, null, true, new Uint8Array([1])] });
  assert.equal((await sent.wait("node")).state, "stored");
  const stream = two.topic(topic).stream();
  const [message] = await take(stream, 1);
  assert.deepEqual(
    message.value,
    Object.assign(Object.create(null), {
      text: "hi",
      at: [1, 2.5, null, true, new Uint8Array([1])],
    }),
  );
  assert.deepEqual([message.author, message.id, message.mine], [one.id, sent.id, false]);
  await two.topic(topic).publish("answer");
  const [, answer] = await take(one.topic(topic).stream(), 2);
  // The answer names its question.
  assert.deepEqual(answer.after, [sent.id]);
  assert.deepEqual(answer.missing, []);
  // A client of the plain RPC sees the same.
  const client = await node.client(ALICE);
  const read = await client.call("messages.read", { topic });
  assert.deepEqual(
    read.messages.map(({ id }) => id),
    [sent.id, answer.id],
  );
  client.close();
});

test(
  "what is written offline arrives in order and once",
  patient,
  async (t) => {
    const topic = newTopic();
    const node = await server(t, { open: [topic], port: await freePort() });
    const one = await page(t, node.url);
    const room = one.topic(topic);
    for (let place = 0; place < 50; place += 1) await room.publish(place);
    await (await room.publish("last before")).wait("node");
    await node.kill();
    await heard(
      (listener) => one.onStatus(listener),
      ({ state }) => state === "offline",
    );
    const receipts = [];
    for (let place = 50; place < 60; place += 1)
      receipts.push(await room.publish(place, { request: `r${place}` }));
    // The same message with the same id is stored once.
    await room.publish(59, { request: "r59" });
    await assert.rejects(room.publish("other", { request: "r59" }), { code: "key-taken" });
    assert.deepEqual(
      [...new Set(receipts.map(({ state }) => state))]
        .sort()
        .filter((state) => state === "stored"),
      [],
    );
    await node.start();
    for (const receipt of receipts) await receipt.wait("node");
    const two = await page(t, node.url);
    const messages = await take(two.topic(topic).stream(), 61);
    const expected = [
      ...Array(50).keys(),
      "last before",
      ...Array.from({ length: 10 }, (_, place) => 50 + place),
    ];
    assert.deepEqual(values(messages), expected);
    assert.deepEqual(
      messages.map(({ seq }) => seq),
      [...Array(61).keys()],
    );
  },
);

test("a consumer goes on behind what it has acknowledged", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const panda = await page(t, node.url);
  const room = panda.topic(topic);
  for (const text of ["a", "b", "c"]) await room.publish(text);
  const [a, b] = await take(room.stream({ consumer: "ui" }), 2);
  await b.ack();
  await a.ack();
  const stream = room.stream({ consumer: "ui", start: "resume" });
  assert.deepEqual(values(await take(stream, 1)), ["c"]);
  const controller = new AbortController();
  const waiting = room.stream({ start: "now", signal: controller.signal }).next();
  controller.abort();
  await assert.rejects(waiting, { code: "aborted" });
  await assert.rejects(room.stream({ start: "resume" }).next(), { code: "invalid" });
});

test("announcements reach who is here, signed by their page", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const [one, two] = [await page(t, node.url), await page(t, node.url)];
  const told = heard(
    (listener) => two.topic(topic).onAnnounce(listener),
    ({ author }) => author === one.id,
  );
  await Promise.all([online(one), online(two)]);
  const say = setInterval(
    () =>
      one
        .topic(topic)
        .announce({ here: true })
        .catch(() => undefined),
    50,
  );
  const { value } = await told;
  clearInterval(say);
  assert.equal(value.here, true);
});

test("bad input is refused in words", patient, async (t) => {
  const node = await server(t);
  const panda = await page(t, node.url);
  const room = panda.topic(newTopic());
  await assert.rejects(room.publish("x".repeat(1024 * 1024)), { code: "too-large" });
  await assert.rejects(
    room.publish(() => 1),
    { code: "invalid" },
  );
  await assert.rejects(room.publish("\ud83d"), { code: "invalid" });
  await assert.rejects(room.publish(1, { log: "" }), { code: "invalid" });
  await assert.rejects(room.publish(1, { request: "" }), { code: "invalid" });
  await assert.rejects(panda.topic("05".repeat(31)).publish(1), { code: "invalid" });
  await assert.rejects(panda.join("panda:nonsense"), { code: "invalid-ticket" });
  const ticket = await room.ticket();
  assert.equal((await panda.join(ticket)).id, room.id);
  // One wrong character.
  const wrong = ticket.slice(0, -1) + (ticket.endsWith("a") ? "b" : "a");
  await assert.rejects(panda.join(wrong), { code: "invalid-ticket" });
});

test("a topic that the node does not keep stays here, and says why", patient, async (t) => {
  const node = await server(t, { open: [newTopic()] });
  const panda = await page(t, node.url);
  const topic = newTopic();
  const refused = heard(
    (listener) => panda.onError(listener),
    ({ code }) => code === "unknown-topic",
  );
  const receipt = await panda.topic(topic).publish("hi");
  await refused;
  await receipt.wait("signed");
  assert.notEqual(receipt.state, "stored");
  assert.equal(panda.status.lastError.code, "unknown-topic");
});

test("the names of p2panda-js", patient, async (t) => {
  await loadWasm();
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const key = new KeyPair(new Uint8Array(32).fill(42));
  assert.equal(key.publicKey, "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61");
  const session = await Session.open(node.url, key, WebSocket);
  const next = await session.nextArgs(topic);
  const operation = await signAndEncode(key, { topic, timestamp: 1, ...next }, "hi");
  assert.equal(await session.publish(topic, operation), operation.id);
  assert.deepEqual(await session.nextArgs(topic), { seq: 1, backlink: operation.id });
  assert.equal(decodeOperation(topic, operation.header, operation.body).author, key.publicKey);
  assert.equal(decodeBody(operation.body), "hi");
  const changed = operation.body.slice();
  changed[1] ^= 1;
  assert.throws(() => decodeOperation(topic, operation.header, changed), {
    code: "payload-mismatch",
  });
  assert.deepEqual(fromBase64(toBase64(changed)), changed);
  assert.equal(generateHash(operation.header), operation.id);
  assert.deepEqual(encodeBody("hi"), operation.body);
  const signature = await key.sign(changed);
  assert.ok(verifySignature(key.publicKey, changed, signature));
  assert.ok(!verifySignature(key.publicKey, operation.body, signature));
  session.close();
});

test("a session reads what a node stores, from any place on", patient, async (t) => {
  await loadWasm();
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const key = new KeyPair();
  const session = await Session.open(node.url, key, WebSocket);
  const write = async (value) => {
    const next = await session.nextArgs(topic);
    const operation = await signAndEncode(key, { topic, timestamp: 1, ...next }, value);
    await session.publish(topic, operation);
    return operation.id;
  };
  const first = await write("first");
  const all = session.operations(topic);
  const { value } = await all.next();
  assert.deepEqual([value.id, decodeBody(value.body), value.author], [first, "first", key.publicKey]);
  // What comes later comes, too.
  const later = all.next();
  const second = await write("second");
  assert.equal((await later).value.id, second);
  await all.return();
  const behind = session.operations(topic, { after: value.arrival });
  assert.equal((await behind.next()).value.id, second);
  const control = new AbortController();
  const aborted = session.operations(topic, { after: 2, signal: control.signal }).next();
  control.abort();
  await assert.rejects(aborted, { code: "aborted" });
  const open = behind.next();
  session.close();
  await assert.rejects(open, { code: "closed" });
});

test("a key that may not come is refused, the page goes on alone", patient, async (t) => {
  const node = await new Server(t).start();
  const panda = await page(t, node.url);
  const { code } = await heard(
    (listener) => panda.onError(listener),
    () => true,
  );
  assert.equal(code, "unauthenticated");
  const receipt = await panda.topic(newTopic()).publish("alone");
  await receipt.wait("signed");
  const root = await node.client(ADMIN);
  assert.ok(root.hello.scopes.includes("admin"));
  root.close();
});

test("operations without a message leave no gap", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const panda = await page(t, node.url);
  const faults = [];
  panda.onError(({ code }) => faults.push(code));
  const client = await node.client(ALICE);
  await client.topic(topic).publish("before");
  const stream = panda.topic(topic).stream();
  const messages = await take(stream, 1);
  // It allows deleting everything before it, and has no message.
  await client.call("publish", { topic, message: { prune: true } });
  await client.topic(topic).publish("behind");
  await client.topic(topic).publish("in a log with a name", { log: "notes" });
  messages.push(...(await take(stream, 2)));
  assert.deepEqual(values(messages), ["before", "behind", "in a log with a name"]);
  await panda.topic(topic).publish("also", { log: "mine" });
  const read = await client.topic(topic).stream();
  const seen = await take(read, 3);
  assert.deepEqual(
    seen.map(({ text }) => text),
    ["behind", "in a log with a name", "also"],
  );
  assert.deepEqual(faults, []);
  client.close();
});

test("a page brings rooms to a node that has places for them", patient, async (t) => {
  const node = new Server(t);
  node.args.push("--rooms", "1");
  await node.start();
  const panda = await page(t, node.url);
  const first = await panda.topic(newTopic()).publish("hi");
  await first.wait("node");
  const full = heard(
    (listener) => panda.onError(listener),
    ({ code }) => code === "limit",
  );
  await panda.topic(newTopic()).publish("hi");
  assert.match((await full).message, /limit of kept topics/);
});

test(
  "a clock wrong by years moves only the time that is shown",
  patient,
  async (t) => {
    const topic = newTopic();
    const node = await server(t, { open: [topic] });
    const right = await page(t, node.url);
    await (await right.topic(topic).publish("question")).wait("node");
    t.mock.timers.enable({ apis: ["Date"], now: Date.UTC(2001, 0, 1) });
    const wrong = await page(t, node.url);
    const [question] = await take(wrong.topic(topic).stream(), 1);
    const answer = await wrong.topic(topic).publish("answer");
    await answer.wait("node");
    t.mock.timers.reset();
    const messages = await take(right.topic(topic).stream(), 2);
    assert.deepEqual(values(messages), ["question", "answer"]);
    assert.ok(messages[1].timestamp < question.timestamp);
    // The answer comes after its question.
    assert.deepEqual(await right.order(messages.toReversed()), [1, 0]);
  },
);

test("two pages speak through two nodes that sync with each other", patient, async (t) => {
  const topic = newTopic();
  const first = await server(t, { open: [topic] });
  const admin = await first.client(ADMIN);
  const { node, addrs } = await admin.call("node.status");
  admin.close();
  const second = new Server(t, { open: [topic] });
  second.args.push("--peer", `${node}@${addrs[0]}`);
  await second.start();
  const [one, two] = [await page(t, first.url), await page(t, second.url)];
  const sent = await one.topic(topic).publish("over there");
  const [message] = await take(two.topic(topic).stream(), 1);
  assert.deepEqual([message.value, message.author], ["over there", one.id]);
  await sent.wait({ sent: 1 });
  assert.equal((await sent.sentTo()).length, 1);
  const answered = take(one.topic(topic).stream(), 2);
  await two.topic(topic).publish("and back");
  assert.deepEqual(values(await answered), ["over there", "and back"]);
  // The second node also gets ephemeral messages.
  const told = heard(
    (listener) => two.topic(topic).onAnnounce(listener),
    ({ author }) => author === one.id,
  );
  const say = setInterval(
    () =>
      one
        .topic(topic)
        .announce("here")
        .catch(() => undefined),
    100,
  );
  assert.equal((await told).value, "here");
  clearInterval(say);
});

test("a page that changes nodes shows nothing twice", patient, async (t) => {
  const topic = newTopic();
  const [first, second] = [await server(t, { open: [topic] }), await server(t, { open: [topic] })];
  const storage = new MemoryStore();
  const key = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  const start = (url) => Engine.start(storage, { url, key, WebSocket });
  const engine = await start(first.url);
  await engine.open(topic);
  const stored = (engine) =>
    heard(
      (listener) => engine.listen(listener),
      ({ kind, changes }) => kind === "states" && changes.some(({ state }) => state === "stored"),
    );
  const kept = stored(engine);
  await engine.publish(topic, "one");
  await kept;
  await engine.close();
  const other = await start(second.url);
  t.after(() => other.close());
  // The second node receives what only the first one had.
  await stored(other);
  const reader = await page(t, second.url);
  await other.publish(topic, "two");
  assert.deepEqual(values(await take(reader.topic(topic).stream(), 2)), ["one", "two"]);
  const { messages } = await other.read(topic, 0, 10);
  assert.deepEqual(values(messages), ["one", "two"]);
  assert.equal(other.status().lastError, undefined);
});

test("a writer that lost the lead unheard writes nothing", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const storage = new MemoryStore();
  const key = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  // Like a frozen tab whose lock another one has taken.
  const frozen = await Engine.start(storage, { url: node.url, key, WebSocket });
  await heard(
    (listener) => frozen.listen(listener),
    ({ kind, status }) => kind === "status" && status.state === "online",
  );
  const next = await Engine.start(storage, { url: node.url, key, WebSocket });
  t.after(() => next.close());
  await heard(
    (listener) => next.listen(listener),
    ({ kind, status }) => kind === "status" && status.state === "online",
  );
  const deposed = heard(
    (listener) => frozen.listen(listener),
    ({ kind, status }) => kind === "status" && !status.leader,
  );
  await frozen.publish(topic, "by the one that was frozen");
  await deposed;
  await next.publish(topic, "by the next one");
  const reader = await page(t, node.url);
  const messages = await take(reader.topic(topic).stream(), 2);
  assert.deepEqual(values(messages), ["by the one that was frozen", "by the next one"]);
  assert.deepEqual(
    messages.map(({ seq }) => seq),
    [0, 1],
  );
  assert.equal((await next.read(topic, 0, 10)).messages.length, 2);
});
