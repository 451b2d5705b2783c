// What a reader of a stream sees of the state of a message, whenever it changes.
import assert from "node:assert/strict";
import test from "node:test";
import { Topic } from "../dist/topic.js";

const shown = (place) => ({
  ...{ topic: "t", place, id: `m${place}`, author: "a", seq: place, log: undefined, timestamp: 0 },
  ...{ value: place, mine: true, state: "signed", reason: undefined, request: `r${place}` },
  ...{ withdrawn: false, after: [], missing: [], header: new Uint8Array(1) },
});

/** A topic with stored messages, and a function that tells it of a change. */
function setup(places, during = () => undefined) {
  const call = async (method, _topic, from) => {
    if (method !== "read") return undefined;
    const messages = places.filter((place) => place > from).map(shown);
    await during(from);
    return { messages, place: messages.at(-1)?.place ?? from };
  };
  const topic = new Topic({ backend: { call }, status: { state: "online" } }, "t");
  const change = (place, state = "stored", reason = undefined) =>
    topic.hear({
      ...{ kind: "states", topic: "t" },
      changes: [{ id: `m${place}`, request: `r${place}`, state, reason }],
    });
  return { topic, change };
}

/** Keeps the newest state as an application does: what it took, then what it hears. */
function follow(topic) {
  const states = new Map();
  topic.onState(({ id, state, reason }) => states.has(id) && states.set(id, [state, reason]));
  return { states, take: ({ id, state, reason }) => states.set(id, [state, reason]) };
}

test("a change during a read is not lost", async () => {
  const { topic, change } = setup([1, 2], (from) => from === 0 && change(2, "blocked", "full"));
  const { states, take } = follow(topic);
  for await (const message of topic.stream()) {
    take(message);
    if (message.place === 2) break;
  }
  assert.deepEqual(states.get("m1"), ["signed", undefined]);
  assert.deepEqual(states.get("m2"), ["blocked", "full"]);
});

test("a change of a message that waits to be taken is not lost", async () => {
  const { topic, change } = setup([1, 2, 3]);
  const { states, take } = follow(topic);
  for await (const message of topic.stream()) {
    if (message.place === 1) for (const place of [1, 2, 3]) change(place);
    take(message);
    if (message.place === 3) break;
  }
  for (const id of ["m1", "m2", "m3"]) assert.deepEqual(states.get(id), ["stored", undefined]);
});

test("a change in each moment around a yield is seen", async () => {
  for (let ticks = 0; ticks < 20; ticks += 1) {
    const { topic, change } = setup([1], async (from) => {
      if (from > 0) return;
      void (async () => {
        for (let tick = 0; tick < ticks; tick += 1) await undefined;
        change(1);
      })();
    });
    const { states, take } = follow(topic);
    for await (const message of topic.stream()) {
      take(message);
      break;
    }
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(states.get("m1"), ["stored", undefined], `after ${ticks} ticks`);
  }
});

test("a stream that ended listens no longer", async () => {
  const { topic, change } = setup([1]);
  let taken;
  for await (const message of topic.stream()) {
    taken = message;
    break;
  }
  change(1);
  assert.equal(taken.state, "signed");
});
