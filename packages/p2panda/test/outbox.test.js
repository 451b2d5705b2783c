// Messages that are queued together share a transaction, and fail alone.
import assert from "node:assert/strict";
import test from "node:test";
import { Outbox } from "../dist/outbox.js";
import { queued } from "../dist/rows.js";
import { MemoryStore } from "../dist/store.js";

const message = (request, hash = request, sealed = false) => ({
  ...{ request, topic: "t", body: new Uint8Array(1), log: undefined, sealed, hash },
});

/** A store that counts its transactions, and an outbox that records what it says. */
function setup() {
  const store = new MemoryStore();
  const counted = { writes: 0, queued: [] };
  const write = store.write.bind(store);
  store.write = (work) => {
    counted.writes += 1;
    return write(work);
  };
  const outbox = new Outbox(store, (spaces) => counted.queued.push([...spaces]));
  return { store, counted, outbox };
}

const requests = async (store) => (await store.read((reader) => queued(reader))).requests;

test("messages that have come share a transaction", async () => {
  const { store, counted, outbox } = setup();
  const all = Array.from({ length: 600 }, (_, place) => outbox.add(message(`m${place}`)));
  assert.deepEqual(new Set(await Promise.all(all)), new Set([true]));
  // 256, 256 and 88.
  assert.equal(counted.writes, 3);
  assert.equal(counted.queued.length, 3);
  const records = await store.read((reader) => reader.range("requests", [0], [Infinity]));
  assert.equal(records.length, 10);
  const kept = await requests(store);
  assert.deepEqual(kept.map(({ request }) => request), Array.from({ length: 600 }, (_, place) => `m${place}`));
  assert.deepEqual(kept.map(({ number }) => number), Array.from({ length: 600 }, (_, place) => place + 1));
});

test("a message is queued once; a taken request id harms no other", async () => {
  const { store, counted, outbox } = setup();
  const results = await Promise.allSettled([
    outbox.add(message("first")),
    outbox.add(message("one")),
    outbox.add(message("one")),
    outbox.add(message("one", "other")),
    outbox.add(message("two", "two", true)),
  ]);
  assert.deepEqual(results.map(({ value, reason }) => value ?? reason.code), [true, true, false, "key-taken", true]);
  assert.deepEqual((await requests(store)).map(({ request }) => request), ["first", "one", "two"]);
  assert.deepEqual(counted.queued, [["t"]]);
  // Nothing new, nothing to do.
  assert.equal(await outbox.add(message("two", "two", true)), false);
  assert.equal(counted.queued.length, 1);
});

test("a failing storage refuses one transaction; the next go on", async () => {
  const { store, outbox } = setup();
  const write = store.write;
  store.write = () => Promise.reject(new Error("full"));
  const refused = await Promise.allSettled([outbox.add(message("one")), outbox.add(message("two"))]);
  assert.deepEqual(refused.map(({ reason }) => reason?.message), ["full", "full"]);
  store.write = write;
  assert.equal(await outbox.add(message("one")), true);
  assert.deepEqual((await requests(store)).map(({ request }) => request), ["one"]);
});
