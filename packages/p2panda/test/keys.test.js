// Keys protected by a passphrase: for browsers without Ed25519, and to move a key.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine } from "../dist/engine.js";
import { KeyPair, loadWasm } from "../dist/low-level.js";
import { MemoryStore } from "../dist/store.js";
import { heard, newTopic, server, WebSocket } from "./support.js";

const url = "ws://127.0.0.1:9/rpc";

test("a protected key opens with its passphrase alone", async () => {
  await loadWasm();
  const key = new KeyPair();
  const text = await key.protect("correct horse");
  assert.match(text, /^panda-key:/);
  assert.ok(!Buffer.from(text.slice(10), "base64").includes(Buffer.from(key.exportSeed())));
  const opened = await KeyPair.open(text, "correct horse");
  assert.equal(opened.publicKey, key.publicKey);
  await assert.rejects(KeyPair.open(text, "correct horsf"), { code: "wrong-passphrase" });
  for (const broken of ["", "panda-key:", text.slice(0, -4), text.replace("panda", "koala"), "panda-key:%"])
    await assert.rejects(KeyPair.open(broken, "correct horse"), { code: "invalid" });
  await assert.rejects(key.protect(""), { code: "invalid" });
});

test("without Ed25519 a passphrase keeps the key of a page", async (t) => {
  const generate = crypto.subtle.generateKey.bind(crypto.subtle);
  t.mock.method(crypto.subtle, "generateKey", (algorithm, ...rest) => {
    if (algorithm !== "Ed25519") return generate(algorithm, ...rest);
    throw new DOMException("it is unknown", "NotSupportedError");
  });
  const store = new MemoryStore();
  store.close = () => undefined;
  await assert.rejects(Engine.start(store, { url }), { code: "no-ed25519" });
  const first = await Engine.start(store, { url, passphrase: "pass" });
  const key = first.identity();
  await first.close();
  await assert.rejects(Engine.start(store, { url }), { code: "locked" });
  const wrong = Engine.start(store, { url, passphrase: "word" });
  await assert.rejects(wrong, { code: "wrong-passphrase" });
  const second = await Engine.start(store, { url, passphrase: "pass" });
  assert.equal(second.identity(), key);
  await second.close();
});

const patient = { timeout: 60_000 };

test("a page whose log went on elsewhere goes on with a new key", patient, async (t) => {
  const topic = newTopic();
  const node = await server(t, { open: [topic] });
  const store = new MemoryStore();
  store.close = () => undefined;
  const open = () => Engine.start(store, { url: node.url, WebSocket });
  const stored = (engine, request) =>
    heard(
      (listener) => engine.listen(listener),
      ({ kind, changes }) =>
        kind === "states" && changes.some((one) => one.request === request && one.state === "stored"),
    );
  const fault = (engine, code) =>
    heard(
      (listener) => engine.listen(listener),
      ({ kind, error }) => kind === "fault" && error.code === code,
    );
  const first = await open();
  const old = first.identity();
  await first.close();
  // A copy of the key elsewhere writes first.
  const key = await store.read((reader) => reader.get("meta", ["key"]));
  const copy = await Engine.start(new MemoryStore(), { url: node.url, key, WebSocket });
  const away = stored(copy, "elsewhere");
  await copy.publish(topic, "elsewhere", { request: "elsewhere" });
  await away;
  await assert.rejects(copy.recover(), { code: "invalid" });
  await copy.close();
  const second = await open();
  const moved = fault(second, "own-log-forked");
  await second.publish(topic, "mine", { request: "mine" });
  assert.equal((await moved).error.details.hint.includes("recover"), true);
  const told = fault(second, "new-key");
  await second.recover();
  await told;
  const third = await open();
  t.after(() => third.close());
  assert.notEqual(third.identity(), old);
  if ((await third.receipt("mine")).state !== "stored") await stored(third, "mine");
  const grown = () =>
    heard(
      (listener) => third.listen(listener),
      ({ kind }) => kind === "grown",
    );
  let messages = [];
  for (;;) {
    const more = grown();
    ({ messages } = await third.read(topic, 0, 10));
    if (messages.length >= 2) break;
    await more;
  }
  const by = (value) => messages.filter((message) => message.value === value);
  assert.deepEqual([by("mine").length, by("elsewhere").length], [1, 1]);
  assert.deepEqual([by("mine")[0].author, by("elsewhere")[0].author], [third.identity(), old]);
});
