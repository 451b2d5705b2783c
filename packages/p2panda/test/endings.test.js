// Aborted calls, closed streams and pages, bad input, and what other nodes do not keep.
import assert from "node:assert/strict";
import { test } from "node:test";
import { connectClient } from "../dist/client.js";
import { connect } from "../dist/index.js";
import { loadWasm } from "../dist/low-level.js";
import { ADMIN, ALICE, newTopic, page, server, Server, take, WebSocket } from "./support.js";

const patient = { timeout: 120_000 };
const aborted = { code: "aborted" };
const MEMBER = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/** A topic of a client, with messages. */
async function topicOf(t, node, texts = [], token = ALICE) {
  const root = await node.client(ADMIN);
  const { alias } = await root.call("topic.keep", { topic: "05".repeat(32), keep: true });
  root.close();
  const client = await node.client(token);
  t.after(() => client.close());
  const topic = client.topic(alias);
  if (texts.length > 0) await topic.publishAll(texts);
  return topic;
}

/** Opens the consumer once the node has heard that its reader is gone. */
async function free(topic, consumer) {
  for (;;) {
    try {
      return await topic.stream({ consumer });
    } catch (error) {
      assert.equal(error.code, "consumer-in-use");
    }
  }
}

test("an aborted call waits no longer, and leaves nothing open", patient, async (t) => {
  const node = await new Server(t).start();
  const topic = await topicOf(t, node, ["one", "two"]);
  const { client } = topic;
  const over = AbortSignal.abort();
  await assert.rejects(connectClient(node.url, { token: ALICE, WebSocket, signal: over }), aborted);
  for (const work of [
    () => topic.publish("never", { signal: over }),
    () => topic.publishAll(["never"], { signal: over }),
    () => topic.status({ signal: over }),
    () => topic.stream({ consumer: "x", signal: over }),
    () => client.events({ signal: over }),
    () => client.teams({ signal: over }),
  ]) {
    await assert.rejects(work(), aborted);
  }
  assert.equal((await topic.status()).operations, 2);
  const late = new AbortController();
  const delivered = { topic: topic.name, wait_ms: 120_000 };
  const waiting = client.call("topic.delivered", delivered, { signal: late.signal });
  const opening = topic.stream({ consumer: "x", signal: late.signal });
  const connecting = connectClient(node.url, { token: ALICE, WebSocket, signal: late.signal });
  late.abort();
  for (const work of [waiting, opening, connecting]) await assert.rejects(work, aborted);
  // The node may have opened the consumer; it is told that nobody reads.
  const reading = new AbortController();
  await (await free(topic, "x")).close();
  const stream = await topic.stream({ consumer: "x", signal: reading.signal });
  const [one] = await take(stream, 1);
  await assert.rejects(one.ack({ signal: over }), aborted);
  await one.ack();
  await take(stream, 1);
  const next = stream.next();
  reading.abort();
  await assert.rejects(next, aborted);
  await assert.rejects(stream.next(), aborted);
  const [two] = await take(await free(topic, "x"), 1);
  assert.equal(two.text, "two");
});

test("a closed stream ends what reads it", patient, async (t) => {
  const node = await new Server(t).start();
  const topic = await topicOf(t, node, ["one", "two"]);
  for await (const { text } of await topic.stream({ consumer: "x" })) {
    assert.equal(text, "one");
    break;
  }
  // The loop was left: the consumer is free at once.
  const stream = await topic.stream({ consumer: "x" });
  const both = await Promise.all([stream.next(), stream.next()]);
  assert.deepEqual(
    both.map(({ value }) => value.text),
    ["one", "two"],
  );
  const waiting = [stream.next(), stream.next()];
  await stream.close();
  await stream.close();
  for (const { done } of [...(await Promise.all(waiting)), await stream.next()]) assert.ok(done);
  await assert.rejects(both[0].value.ack(), { code: "closed" });
  await assert.rejects(topic.stream({ takeOver: true }), { code: "invalid" });
  const live = await topic.stream({ start: "now" });
  const last = live.next();
  topic.client.close();
  await assert.rejects(last, { code: "closed" });
  await live.close();
});

test("what cannot be sent is refused, and the client goes on", patient, async (t) => {
  const node = await new Server(t).start();
  const topic = await topicOf(t, node);
  const circle = {};
  circle.circle = circle;
  for (const [content, code] of [
    [1n, "invalid"],
    [circle, "invalid"],
    ["x".repeat(1024 * 1024), "too-large"],
  ]) {
    await assert.rejects(topic.publish(content), { code });
  }
  assert.equal((await topic.publish("x".repeat(1_000_000))).seq, 0);
  // The node does not say which call a frame belongs to that it cannot read.
  const delivered = { topic: topic.name, wait_ms: 120_000 };
  const waiting = topic.client.call("topic.delivered", delivered);
  await Promise.resolve();
  topic.client.rpc.socket.send("{");
  await assert.rejects(waiting, { code: "unanswered" });
  assert.equal((await topic.publish("y")).seq, 1);
  // Without a path it is the RPC of a node, which prints its address with `http`.
  for (const url of [node.url.replace("/rpc", ""), node.url.replace("ws:", "http:")]) {
    const other = await connectClient(url, { token: ALICE, WebSocket });
    assert.equal(other.hello.name, "alice");
    other.close();
  }
  await assert.rejects(connectClient("nonsense", { token: ALICE, WebSocket }), { code: "invalid" });
});

test("a page that is closed says so, and keeps nobody waiting", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const options = { storage: "memory", WebSocket };
  const panda = await connect(node.url, options);
  const room = panda.topic(topic);
  const receipt = await room.publish("one");
  await receipt.wait("node");
  const stream = room.stream();
  await take(stream, 1);
  const reading = stream.next();
  const waiting = receipt.wait({ sent: 1 });
  await panda.close();
  assert.deepEqual(await reading, { value: undefined, done: true });
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(room.publish("two"), { code: "closed" });
  await assert.rejects(receipt.wait("node"), { code: "closed" });
  await panda.close();
  const signal = AbortSignal.abort();
  await assert.rejects(connect(node.url, { ...options, signal }), aborted);
});

test("every call of a page takes a signal", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const panda = await page(t, node.url);
  const room = panda.topic(topic);
  const receipt = await room.publish("one");
  await receipt.wait("node");
  const [message] = await take(room.stream({ consumer: "ui" }), 1);
  const ticket = await room.ticket();
  const over = { signal: AbortSignal.abort() };
  for (const work of [
    () => room.publish("never", over),
    () => room.stream(over).next(),
    () => room.announce("never", over),
    () => room.notKept(over),
    () => message.ack(over),
    () => receipt.wait("node", over),
    () => receipt.wait({ sent: 1 }, over),
    () => receipt.sentTo(over),
    () => receipt.notKept(over),
    () => panda.join(ticket, over),
    () => panda.spaces.create("never", over),
    () => panda.spaces.join(ticket, over),
    () => panda.space(topic).invite({}, over),
    () => panda.space(topic).add(MEMBER, "editor", over),
    () => panda.space(topic).info(over),
    () => panda.space(topic).members(over),
    () => panda.spaces.list(over),
    () => panda.order([], over),
    () => panda.persist(over),
    () => panda.recover(over),
    () => panda.wipe(over),
    () => room.receipt(receipt.request, over),
    () => room.ticket(over),
    () => loadWasm(over),
  ]) {
    await assert.rejects(work(), aborted, String(work));
  }
  assert.deepEqual(await panda.spaces.list(), []);
  await room.publish("two");
  const values = (await take(room.stream(), 2)).map(({ value }) => value);
  assert.deepEqual(values, ["one", "two"]);
  // It closes all the same.
  await assert.rejects(panda.close(over), aborted);
  await assert.rejects(room.publish("three"), { code: "closed" });
});

test("what another node does not keep is told", patient, async (t) => {
  const topic = "05".repeat(32);
  const node = await server(t, { open: [topic] });
  const admin = await node.client(ADMIN);
  t.after(() => admin.close());
  const status = await admin.call("node.status");
  const keeper = new Server(t, { open: [topic] });
  keeper.args.push("--author-bytes", "1500", "--peer", `${status.node}@${status.addrs[0]}`);
  await keeper.start();
  const client = await topicOf(t, node);
  const events = await client.client.events();
  const wait = { stored: 1, timeoutMs: 120_000 };
  const first = await client.publish("a".repeat(1000), wait);
  assert.deepEqual([first.waited, first.not_kept], [true, []]);
  const second = await client.publish("b".repeat(1000), wait);
  const [log] = second.not_kept;
  const expected = { node: first.held_by[0], author: status.node, named: false, from: 1, quota: "author" };
  assert.deepEqual([second.waited, log], [false, expected]);
  assert.deepEqual((await client.status()).not_kept, [expected]);
  assert.deepEqual((await client.client.trace(second.id)).not_kept, [expected]);
  for await (const { event, peer, topic } of events) {
    if (event !== "not-kept") continue;
    assert.deepEqual([peer, topic], [expected.node, client.name]);
    break;
  }
  // The key of a page is another author.
  const panda = await page(t, node.url);
  const room = panda.topic(topic);
  await (await room.publish("a".repeat(1000))).wait({ sent: 1 });
  const refused = await room.publish("b".repeat(1000));
  await refused.wait("node");
  let own;
  while (own === undefined) {
    own = (await room.notKept()).find(({ author }) => author === panda.id);
  }
  assert.deepEqual([own.node, own.from, own.quota], [expected.node, 1, "author"]);
  const error = await refused.wait({ sent: 1 }).catch((error) => error);
  assert.deepEqual([error.code, error.notKept], ["not-kept", [own]]);
  assert.equal(error.message, `not kept by ${own.node}: quota of the author`);
  assert.deepEqual(await refused.notKept(), [own]);
  assert.equal(refused.state, "stored");
});

test("teams are made, changed and listed", patient, async (t) => {
  const node = await new Server(t).start();
  const client = await node.client(ADMIN);
  t.after(() => client.close());
  const made = await client.createTeam("night shift");
  await client.addToTeam(made.team, MEMBER, "reader");
  const [team] = await client.teams();
  assert.deepEqual([team.team, team.name, team.manages], [made.team, "night shift", true]);
  assert.ok(team.members.some(({ member, role }) => member === MEMBER && role === "reader"));
  await client.removeFromTeam(made.team, MEMBER);
  const [left] = await client.teams();
  assert.ok(!left.members.some(({ member }) => member === MEMBER));
  const alice = await node.client(ALICE);
  t.after(() => alice.close());
  await assert.rejects(alice.teams(), { code: "forbidden" });
});
