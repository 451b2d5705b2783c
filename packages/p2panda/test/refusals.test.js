// Values, options and keys that are refused in words, with a typed error.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { inWorker } from "../dist/backend.js";
import { connectClient } from "../dist/client.js";
import { connect, PandaError } from "../dist/index.js";
import { makeKey } from "../dist/key.js";
import { encodeBody, fromBase64, KeyPair, loadWasm, Session, signAndEncode } from "../dist/low-level.js";
import { ALICE, newTopic, page, server, take, WebSocket } from "./support.js";

const patient = { timeout: 60_000 };
const nowhere = "ws://127.0.0.1:9/rpc";
const offline = { storage: "memory", WebSocket };
const invalid = (message) => (error) => {
  assert.ok(error instanceof PandaError, `${error?.name}: ${error?.message}`);
  assert.equal(error.code, "invalid", error.message);
  if (message !== undefined) assert.equal(error.message, message);
  return true;
};

class Point {
  x = 1;
}

/** What a message cannot have, and how it is named. */
const NO_DATA = [
  [new Date(0), "an object of the class Date"],
  [new Map([["a", 1]]), "an object of the class Map"],
  [new Set([1]), "an object of the class Set"],
  [new ArrayBuffer(3), "an object of the class ArrayBuffer"],
  [new DataView(new ArrayBuffer(2)), "an object of the class DataView"],
  [new Blob(["x"]), "an object of the class Blob"],
  [/x/, "an object of the class RegExp"],
  [new Error("x"), "an object of the class Error"],
  [new Float32Array([1.5]), "an object of the class Float32Array"],
  [new Uint8ClampedArray([1]), "an object of the class Uint8ClampedArray"],
  [new Point(), "an object of the class Point"],
  [Object.create({ x: 1 }), "an object with a prototype of its own"],
  [new String("x"), "an object of the class String"],
  [() => 1, "a function"],
  [Symbol("x"), "a symbol"],
];

test("content that is no data is refused with its place", patient, async (t) => {
  const panda = await page(t, nowhere);
  const room = panda.topic(newTopic());
  await loadWasm();
  for (const [value, kind] of NO_DATA) {
    await assert.rejects(room.publish(value), invalid(`a message cannot be ${kind}`));
    const nested = { text: "hi", files: [1, { at: value }] };
    await assert.rejects(room.publish(nested), invalid(`a message cannot have ${kind} at .files[1].at`));
    await assert.rejects(room.announce(value), invalid(`a message cannot be ${kind}`));
    assert.throws(() => encodeBody([value]), invalid(`a message cannot have ${kind} at [0]`));
    await assert.rejects(signAndEncode(new KeyPair(), { topic: room.id, seq: 0, timestamp: 1 }, value), invalid());
  }
  await assert.rejects(room.publish(undefined), invalid("a message cannot be undefined"));
  await assert.rejects(room.publish([, 1]), invalid("a message cannot have undefined at [0]"));
  const circle = {};
  circle.circle = [circle, circle];
  await assert.rejects(room.publish(circle), invalid("the value is nested too deeply"));
});

test("content that is data is published as it is", patient, async (t) => {
  const node = await server(t, { rooms: 1 });
  const panda = await page(t, node.url);
  const room = panda.topic(newTopic());
  const bare = Object.assign(Object.create(null), { a: 1 });
  let deep = [];
  for (let level = 1; level < 200; level += 1) deep = [deep];
  for (const value of [bare, { gone: undefined }, Buffer.from("ab"), 1n, NaN, "", [], deep])
    await (await room.publish(value)).wait("signed");
  const values = (await take(room.stream(), 8)).map(({ value }) => value);
  assert.deepEqual([values[0].a, Object.keys(values[1]), values[4]], [1, [], NaN]);
  assert.deepEqual([...values[2]], [97, 98]);
});

test("a client publishes what is JSON, and nothing else", patient, async (t) => {
  const node = await server(t);
  const client = await node.client(ALICE);
  t.after(() => client.close());
  const topic = client.topic("any");
  for (const [value, kind] of NO_DATA)
    await assert.rejects(topic.publish({ at: value }), invalid(`a message cannot have ${kind} at .at`));
  for (const value of [{ at: new Uint8Array(1) }, { at: NaN }, { at: 1n }, [undefined], undefined])
    await assert.rejects(topic.publish(value), invalid());
});

test("a key that is no Ed25519 pair is refused", patient, async (t) => {
  const node = await server(t, { rooms: 1 });
  const { subtle } = crypto;
  const [one, other] = [await makeKey(), await makeKey()];
  const rsa = { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
  const keys = [
    await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]),
    await subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]),
    await subtle.generateKey(rsa, true, ["sign", "verify"]),
    { publicKey: one.publicKey, privateKey: other.privateKey },
    { publicKey: one.publicKey },
    { publicKey: one.privateKey, privateKey: one.publicKey },
    one.privateKey,
    "abc",
    null,
    {},
  ];
  for (const key of keys) {
    await assert.rejects(connect(node.url, { ...offline, key }), invalid());
    if (key !== null) await assert.rejects(connectClient(node.url, { key, WebSocket }), invalid());
  }
  const panda = await page(t, node.url, { key: one });
  assert.equal(panda.id.length, 64);
  for (const signer of [undefined, "abc", {}, { publicKey: panda.id }, one])
    await assert.rejects(Session.open(node.url, signer, WebSocket), invalid());
});

test("an option of a wrong form is refused, not replaced", patient, async () => {
  for (const options of [
    { storage: "indexedDB" },
    { storage: "" },
    { node: "abc" },
    { node: "AA".repeat(32) },
    { passphrase: 5 },
    { name: {} },
    { token: 5 },
    { invite: 5 },
    { invite: "panda-access:abc" },
    { WebSocket: "ws" },
    { signal: 5 },
  ])
    await assert.rejects(connect(nowhere, { ...offline, ...options }), invalid(), Object.keys(options)[0]);
  const stored = connect(nowhere, { ...offline, storage: "indexeddb" });
  await assert.rejects(stored, { name: "PandaError", code: "storage" });
});

test("a stream and a message with a wrong option are refused", patient, async (t) => {
  const panda = await page(t, nowhere);
  const room = panda.topic(newTopic());
  for (const options of [{ start: "bogus" }, { start: "bogus", consumer: "ui" }, { start: "resume" }, { consumer: 5 }])
    await assert.rejects(room.stream(options).next(), invalid(), JSON.stringify(options));
  for (const options of [{ request: 5 }, { request: "" }, { log: 5 }, { signal: {} }])
    await assert.rejects(room.publish("x", options), invalid(), JSON.stringify(options));
  await assert.rejects(panda.order("abc"), invalid());
});

test("a receipt waits for holders, and for nothing unknown", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const panda = await page(t, node.url);
  const receipt = await panda.topic(topic).publish("x");
  assert.equal((await receipt.wait({ held: 0 })).state, "stored");
  assert.equal((await receipt.wait({ sent: 0 })).state, "stored");
  const wrong = [{}, "bogus", undefined, null, 2, { held: -1 }, { held: 1.5 }, { held: "2" }, { held: 1, sent: 1 }];
  for (const what of wrong) await assert.rejects(receipt.wait(what), invalid(), JSON.stringify(what));
});

test("a message that another node has is held", patient, async (t) => {
  const topic = "05".repeat(32);
  const node = await server(t, { open: [topic] });
  const admin = await node.client("token-of-root");
  t.after(() => admin.close());
  const status = await admin.call("node.status");
  await server(t, { open: [topic], peers: [`${status.node}@${status.addrs[0]}`] });
  const panda = await page(t, node.url);
  const receipt = await panda.topic(topic).publish("x");
  assert.equal((await receipt.wait({ held: 1 })).state, "stored");
  assert.equal((await receipt.sentTo()).length, 1);
});

test("a client without a token or a key is refused", patient, async () => {
  for (const options of [{ WebSocket }, { WebSocket, token: undefined }, undefined])
    await assert.rejects(connectClient(nowhere, options), invalid());
});

test("a module that is not loaded is a typed error", patient, async () => {
  const url = new URL("../dist/low-level.js", import.meta.url).href;
  const program = `
    const { KeyPair, encodeBody } = await import(${JSON.stringify(url)});
    for (const work of [() => new KeyPair(), () => encodeBody("x")]) {
      try { work(); } catch (error) { console.log(error.name, error.code); }
    }`;
  const args = ["--input-type=module", "--eval", program];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  assert.equal(stdout, "PandaError not-loaded\n".repeat(2));
});

test("the low-level functions fail with typed errors", patient, async () => {
  await loadWasm();
  const { decodeBody, decodeOperation, verifySignature } = await import("../dist/low-level.js");
  const draft = { topic: newTopic(), seq: 0, timestamp: 1.5 };
  for (const work of [
    () => decodeBody(Uint8Array.of(0xff)),
    () => decodeBody("x"),
    () => decodeBody(),
    () => decodeOperation(newTopic(), Uint8Array.of(1)),
    () => decodeOperation(5, Uint8Array.of(1)),
    () => verifySignature("x", new Uint8Array(), new Uint8Array()),
    () => fromBase64("%"),
    () => new KeyPair("11".repeat(32)),
    () => new KeyPair(new Uint8Array(31)),
  ])
    assert.throws(work, { name: "PandaError" }, String(work));
  for (const work of [
    () => signAndEncode(new KeyPair(), draft, "x"),
    () => signAndEncode("abc", draft, "x"),
    () => new KeyPair().protect(5),
    () => KeyPair.open("panda-key:abc", 5),
  ])
    await assert.rejects(work, { name: "PandaError", code: /invalid|refused-operation/ }, String(work));
});

test("a session sends nothing but operations", patient, async (t) => {
  const node = await server(t, { rooms: 1 });
  await loadWasm();
  const session = await Session.open(node.url, new KeyPair(), WebSocket);
  t.after(() => session.close());
  for (const operation of [undefined, new Uint8Array(3), { header: "x" }, { header: new Uint8Array(3), body: "x" }])
    await assert.rejects(session.publish(newTopic(), operation), invalid());
});

test("the seed of a key is not shown by accident", async () => {
  await loadWasm();
  const seed = new Uint8Array(32).fill(7);
  const key = new KeyPair(seed);
  assert.deepEqual(Object.keys(key), ["publicKey"]);
  assert.deepEqual(JSON.parse(JSON.stringify(key)), { publicKey: key.publicKey });
  assert.deepEqual(key.exportSeed(), seed);
  seed.fill(0);
  key.exportSeed().fill(0);
  assert.equal(new KeyPair(key.exportSeed()).publicKey, key.publicKey);
});

test("an error of a WebSocket class is not one of the address", patient, async () => {
  const Broken = function () {
    throw new Error("no sockets today");
  };
  await assert.rejects(connectClient(nowhere, { token: ALICE, WebSocket: Broken }), (error) => {
    assert.equal(error.code, "no-websocket");
    assert.match(error.message, /no sockets today/);
    return true;
  });
  for (const url of ["nonsense", "ftp://x/", "", undefined, 42]) {
    const message = `${url} is not the address of a node`;
    await assert.rejects(connectClient(url, { token: ALICE, WebSocket }), invalid(message));
    await assert.rejects(connect(url, offline), invalid(message));
  }
});

test("a topic in upper case is the same topic", patient, async (t) => {
  const node = await server(t, { rooms: 1 });
  const panda = await page(t, node.url);
  const topic = newTopic().replace(/.$/, "a");
  const room = panda.topic(topic.toUpperCase());
  assert.equal(room, panda.topic(topic));
  assert.equal(room.id, topic);
  await (await room.publish("up")).wait("node");
  await assert.rejects(panda.topic(topic.slice(1)).publish("x"), invalid());
  await assert.rejects(panda.topic(5).publish("x"), invalid());
});

test("a node that answers no challenge is a typed error", patient, async (t) => {
  const key = await makeKey();
  for (const challenge of [null, {}, { node: "x", nonce: "%" }, { node: "x", nonce: "AA==" }]) {
    const Node = fakeNode(challenge);
    await assert.rejects(connectClient(nowhere, { key, WebSocket: Node }), { name: "PandaError" });
  }
});

/** A WebSocket to a node that answers everything so. */
function fakeNode(result) {
  return class extends EventTarget {
    protocol = "panda.v1";
    bufferedAmount = 0;
    constructor() {
      super();
      queueMicrotask(() => this.dispatchEvent(new Event("open")));
    }
    send(text) {
      const answers = JSON.parse(text).map(({ id }) => ({ jsonrpc: "2.0", id, result }));
      const event = new Event("message");
      event.data = JSON.stringify(answers);
      queueMicrotask(() => this.dispatchEvent(event));
    }
    close() {}
  };
}

test("a worker that breaks down keeps nobody waiting", async () => {
  const worker = { terminate() {}, postMessage() {} };
  const starting = inWorker(worker, {});
  worker.onmessage({ data: { kind: "started" } });
  const backend = await starting;
  const events = [];
  backend.listen((event) => events.push(event));
  const waiting = assert.rejects(backend.call("read"), { code: "no-worker" });
  worker.onerror({ preventDefault() {}, message: "out of memory" });
  await waiting;
  assert.deepEqual(events.map(({ kind }) => kind), ["fault", "status"]);
  assert.equal(events[1].status.state, "closed");
  const uncloneable = { terminate() {}, postMessage() { throw new DOMException("no", "DataCloneError"); } };
  await assert.rejects(inWorker(uncloneable, {}), invalid());
});
