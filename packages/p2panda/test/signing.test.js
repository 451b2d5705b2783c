// Messages get their places in batches; the next batch is signed while one is written.
import assert from "node:assert/strict";
import test from "node:test";
import { KeyPair, loadWasm } from "../dist/low-level.js";
import { Outbox } from "../dist/outbox.js";
import { placesOf, queued, unsent } from "../dist/rows.js";
import { Signing } from "../dist/signing.js";
import { MemoryStore } from "../dist/store.js";
import { wasm } from "../dist/wasm.js";

await loadWasm();
const EPOCH = 1;
const topic = "05".repeat(32);

/** A store with so many queued messages, and who signs them. */
async function setup(count) {
  const store = new MemoryStore();
  await store.write(async (writer) => writer.put("meta", ["epoch"], EPOCH));
  const outbox = new Outbox(store, () => undefined);
  const queue = (from, to) => {
    const requests = Array.from({ length: to - from }, (_, place) => `m${from + place}`);
    const body = wasm.encode("x");
    const of = (request) => ({ request, topic, body, log: undefined, sealed: false, hash: request });
    return Promise.all(requests.map((request) => outbox.add(of(request))));
  };
  await queue(0, count);
  return { store, queue, signing: new Signing(store, new KeyPair()) };
}

/** Every message has a place, in one log without a gap. */
async function check(store, rows) {
  assert.deepEqual(rows.map(({ seq }) => seq), [...rows.keys()]);
  assert.deepEqual(rows.map(({ request }) => request), rows.map((_, place) => `m${place}`));
  const ids = [undefined, ...rows.map(({ id }) => id)];
  assert.deepEqual(rows.map(({ backlink }) => backlink), ids.slice(0, -1));
  const left = await store.read(async (reader) => ({
    queued: (await queued(reader)).requests.length,
    places: await Promise.all(rows.map((_, place) => placesOf(reader).get(place + 1))),
    unsent: await unsent(reader, [topic]),
  }));
  const places = rows.map(({ place }) => ({ place }));
  assert.deepEqual(left, { queued: 0, places, unsent: places });
}

test("batches continue each other, with what came meanwhile", async () => {
  const { store, queue, signing } = await setup(600);
  const rows = await signing.batch(EPOCH);
  assert.equal(rows.length, 256);
  assert.ok(signing.isAhead);
  await queue(600, 610);
  rows.push(...(await signing.batch(EPOCH)), ...(await signing.batch(EPOCH)));
  assert.equal(rows.length, 610);
  assert.ok(!signing.isAhead);
  assert.deepEqual(await signing.batch(EPOCH), []);
  await check(store, rows);
});

test("what follows a batch that is not written is signed again", async () => {
  const { store, signing } = await setup(600);
  const rows = await signing.batch(EPOCH);
  const write = store.write.bind(store);
  store.write = (work) =>
    write(async (writer) => {
      await work(writer);
      throw new Error("full");
    });
  await assert.rejects(signing.batch(EPOCH), { message: "full" });
  assert.ok(!signing.isAhead);
  store.write = write;
  rows.push(...(await signing.batch(EPOCH)), ...(await signing.batch(EPOCH)));
  await check(store, rows);
});

test("what was queued before a space is not signed in clear", async () => {
  const { store, signing } = await setup(600);
  const rows = await signing.batch(EPOCH);
  assert.ok(signing.isAhead);
  const row = { topic, at: 1, space: true };
  await store.write(async (writer) => writer.put("topics", [topic], row));
  // Neither what is signed already, nor what comes behind it.
  assert.deepEqual(await signing.batch(EPOCH), []);
  assert.deepEqual(await signing.batch(EPOCH), []);
  const { requests } = await store.read((reader) => queued(reader));
  assert.equal(requests.length, 600 - rows.length);
});

test("what was signed in an earlier lead is not written", async () => {
  const { store, signing } = await setup(300);
  const rows = await signing.batch(EPOCH);
  await store.write(async (writer) => writer.put("meta", ["epoch"], EPOCH + 1));
  await assert.rejects(signing.batch(EPOCH), { code: "not-leader" });
  rows.push(...(await signing.batch(EPOCH + 1)));
  await check(store, rows);
});

test("what another key signed gets no place", async () => {
  const { store } = await setup(2);
  const [own, other] = [new KeyPair(), new KeyPair()];
  const signer = { publicKey: own.publicKey, sign: (bytes) => other.sign(bytes) };
  assert.deepEqual(await new Signing(store, signer).batch(EPOCH), []);
  const { requests } = await store.read((reader) => queued(reader));
  const why = "the operation is not what its author signed";
  assert.deepEqual(requests.map(({ reason }) => reason), [why, why]);
});
