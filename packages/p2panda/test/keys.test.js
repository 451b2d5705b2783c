// Keys that open with a passphrase: for browsers without Ed25519, and to take a key along.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine } from "../dist/engine.js";
import { KeyPair, loadWasm } from "../dist/low-level.js";
import { MemoryStore } from "../dist/store.js";

const url = "ws://127.0.0.1:9/rpc";

test("a protected key opens with its passphrase alone", async () => {
  await loadWasm();
  const key = new KeyPair();
  const text = await key.protect("correct horse");
  assert.match(text, /^panda-key:/);
  assert.ok(!Buffer.from(text.slice(10), "base64").includes(Buffer.from(key.seed)));
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
