// Values that share records, and what a page keeps of the last ones.
import assert from "node:assert/strict";
import test from "node:test";
import { Recent } from "../dist/recent.js";
import { rowsAfter } from "../dist/rows.js";
import { Runs, valuesFrom, valuesOf } from "../dist/runs.js";
import { LAST, MemoryStore } from "../dist/store.js";

const value = (place) => ({ place });
const append = (store, from, to, bytes = 1) =>
  store.write(async (writer) => {
    const runs = new Runs(writer, "places", ["t"]);
    for (let place = from; place <= to; place += 1) runs.append(place, value(place), bytes);
    runs.flush(writer);
  });
const change = (store, work) =>
  store.write(async (writer) => {
    const runs = new Runs(writer, "places", ["t"]);
    await work(runs);
    runs.flush(writer);
  });
const records = (store) => store.read((reader) => reader.range("places", ["t"], ["t", LAST]));
const get = (store, place) => store.read((reader) => new Runs(reader, "places", ["t"]).get(place));
const from = (store, first, last) =>
  store.read((reader) => valuesFrom(reader, "places", ["t"], first, last));
const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => value(first + at));

test("values of one transaction share records", async () => {
  const store = new MemoryStore();
  await append(store, 1, 130);
  const lengths = (await records(store)).map(({ together }) => together?.length);
  // 64, 64 and 2.
  assert.deepEqual(lengths, [64, 64, 2]);
  await append(store, 131, 131);
  assert.deepEqual((await records(store)).at(-1), value(131), "one value is stored as it is");
  assert.deepEqual(valuesOf(await records(store)), numbers(1, 131));
  for (const place of [1, 2, 64, 65, 128, 129, 130, 131])
    assert.deepEqual(await get(store, place), value(place));
  assert.equal(await get(store, 132), undefined);
  assert.equal(await get(store, 0), undefined);
});

test("a record has at most 64 KiB", async () => {
  const store = new MemoryStore();
  await append(store, 1, 5, 32 * 1024);
  assert.deepEqual((await records(store)).map(({ together }) => together?.length ?? 1), [2, 2, 1]);
  await append(store, 6, 7, 512 * 1024);
  assert.deepEqual((await records(store)).slice(-2), [value(6), value(7)]);
});

test("a read begins and ends within records", async () => {
  const store = new MemoryStore();
  await append(store, 1, 100);
  // As an earlier version of the package stored them.
  for (let place = 101; place <= 110; place += 1) await append(store, place, place);
  await append(store, 111, 150);
  for (const [first, last] of [[1, 150], [1, 1], [40, 70], [64, 65], [70, 105], [105, 112], [150, 150]])
    assert.deepEqual(await from(store, first, last), numbers(first, last), `${first} to ${last}`);
  assert.deepEqual(await from(store, 151, 160), []);
  await store.write(async (writer) => writer.put("meta", ["counter", "places", "t"], 150));
  const after = (place, most) => store.read((reader) => rowsAfter(reader, "t", place, most));
  assert.deepEqual(await after(0, 10), numbers(1, 10));
  assert.deepEqual(await after(140, 512), numbers(141, 150));
  assert.deepEqual(await after(150, 512), []);
});

test("a changed value keeps its place and its neighbours", async () => {
  const store = new MemoryStore();
  await append(store, 1, 10);
  await change(store, (runs) => runs.set(5, { place: 5, state: "stored" }));
  assert.deepEqual(await get(store, 5), { place: 5, state: "stored" });
  assert.deepEqual(await from(store, 6, 10), numbers(6, 10));
  await change(store, async (runs) => {
    runs.append(11, value(11), 1);
    await runs.set(11, { place: 11, state: "signed" });
    assert.deepEqual(await runs.get(11), { place: 11, state: "signed" });
    await runs.set(12, value(12));
  });
  assert.deepEqual(await get(store, 11), { place: 11, state: "signed" });
  assert.equal(await get(store, 12), undefined, "nothing is there to be replaced");
});

test("what ends a log can be deleted and written once more", async () => {
  const store = new MemoryStore();
  await append(store, 1, 6);
  await change(store, async (runs) => {
    for (const place of [4, 5, 6]) await runs.set(place, undefined);
    runs.append(4, { place: 4, again: true }, 1);
    runs.append(5, { place: 5, again: true }, 1);
    assert.deepEqual(await runs.get(5), { place: 5, again: true });
  });
  assert.deepEqual(await get(store, 3), value(3));
  assert.deepEqual(await get(store, 4), { place: 4, again: true });
  assert.equal(await get(store, 6), undefined);
  await change(store, async (runs) => {
    for (const place of [1, 2, 3, 4, 5]) await runs.set(place, undefined);
  });
  assert.deepEqual(await records(store), []);
});

test("a value comes back where its record has lost it", async () => {
  const store = new MemoryStore();
  await append(store, 1, 6);
  await change(store, async (runs) => {
    for (const place of [1, 2, 6]) await runs.set(place, undefined);
  });
  await change(store, async (runs) => {
    for (const place of [1, 2, 6]) await runs.put(place, { place, again: true }, 1);
  });
  for (const place of [1, 2, 6]) assert.deepEqual(await get(store, place), { place, again: true });
  for (const place of [3, 4, 5]) assert.deepEqual(await get(store, place), value(place));
});

test("recent rows are read without gaps, and the oldest go first", () => {
  const recent = new Recent();
  const rows = (first, last, bytes = 1) =>
    numbers(first, last).map((row) => ({ ...row, header: { length: bytes } }));
  const places = (topic, after, most) => recent.after(topic, after, most).map(({ place }) => place);
  recent.add("t", rows(1, 3));
  recent.add("u", rows(1, 2));
  recent.add("t", rows(4, 5));
  // An own operation has place 6.
  recent.add("t", rows(7, 8));
  assert.deepEqual(places("t", 0, 10), [1, 2, 3, 4, 5]);
  assert.deepEqual(places("t", 2, 2), [3, 4]);
  assert.deepEqual(places("t", 5, 10), []);
  assert.deepEqual(places("t", 6, 10), [7, 8]);
  assert.deepEqual(places("u", 1, 10), [2]);
  recent.add("t", rows(9, 9, 4 * 1024 * 1024 - 4));
  assert.deepEqual(places("t", 0, 10), []);
  assert.deepEqual(places("t", 6, 10), [7, 8, 9]);
  recent.clear();
  assert.deepEqual(places("t", 8, 10), []);
});
