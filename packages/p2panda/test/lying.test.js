// A lying node: each lie has a code, and signed headers as evidence.
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeOperation, KeyPair, toBase64 } from "../dist/low-level.js";
import { wasm } from "../dist/wasm.js";
import { author, Liar, log } from "./liar.js";
import { heard, newTopic, page, take } from "./support.js";

const patient = { timeout: 60_000 };

async function lied(t, prepare, expected) {
  const topic = newTopic();
  const liar = await new Liar(t, topic).start();
  const panda = await page(t, liar.url);
  const faults = [];
  panda.onError((error) => faults.push(error));
  const told = heard(
    (listener) => panda.onError(listener),
    ({ code }) => code === expected,
  );
  panda.topic(topic).onAnnounce(() => undefined);
  await prepare(liar, topic, panda);
  const error = await told;
  assert.equal(error.topic, topic);
  assert.ok(error.message.length > 10);
  return { error, liar, panda, topic, faults };
}

test("an operation that nobody signed is not shown", patient, async (t) => {
  const { error, panda, topic } = await lied(
    t,
    async (liar, topic) => {
      const [real, next] = await log(topic, ["real", "next"]);
      const header = real.header.slice();
      header[header.length - 2] ^= 1;
      liar.show({ ...real, header }, real, next);
    },
    "node-forged",
  );
  assert.equal(error.reason, "invalid-signature");
  assert.equal(error.evidence.headers.length, 1);
  const messages = await take(panda.topic(topic).stream(), 2);
  assert.deepEqual(
    messages.map(({ value }) => value),
    ["real", "next"],
  );
});

test("another body, another topic and no header are forgeries", patient, async (t) => {
  for (const [reason, forge] of [
    ["payload-mismatch", (real) => ({ ...real, body: wasm.encode("fake") })],
    ["wrong-topic", async () => (await log(newTopic(), ["x"]))[0]],
    ["undecodable", (real) => ({ ...real, header: new Uint8Array([0x80]) })],
  ]) {
    const { error } = await lied(
      t,
      async (liar, topic) => {
        const [real] = await log(topic, ["real"]);
        liar.show(await forge(real));
      },
      "node-forged",
    );
    assert.equal(error.reason, reason);
  }
});

test("a gap is told with what follows it, and heals", patient, async (t) => {
  const operations = [];
  const { error, liar, panda, topic } = await lied(
    t,
    async (liar, topic) => {
      operations.push(...(await log(topic, ["a", "b", "c"])));
      liar.show(operations[0], operations[2]);
    },
    "node-gap",
  );
  assert.equal(decodeOperation(topic, error.evidence.headers[0]).seq, 2);
  liar.show(operations[1], operations[2]);
  const messages = await take(panda.topic(topic).stream(), 3);
  assert.deepEqual(
    messages.map(({ value }) => value),
    ["a", "b", "c"],
  );
});

test(
  "a fork is shown with both headers, in any order",
  patient,
  async (t) => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const { error, topic } = await lied(
        t,
        async (liar, topic) => {
          const branches = [(await log(topic, ["a"]))[0], (await log(topic, ["b"]))[0]];
          liar.show(...order.map((place) => branches[place]));
        },
        "log-forked",
      );
      assert.ok(wasm.isFork(...error.evidence.headers));
      assert.equal(
        error.evidence.headers.map((header) => decodeOperation(topic, header)).length,
        2,
      );
    }
  },
);

test("a log that goes on behind another entry is a fork", patient, async (t) => {
  const { error } = await lied(
    t,
    async (liar, topic) => {
      const [first] = await log(topic, ["a"]);
      const [, other] = await log(topic, ["b", "c"]);
      liar.show(first, other);
    },
    "log-forked",
  );
  assert.ok(wasm.isFork(...error.evidence.headers));
});

test("what is shown twice is one message", patient, async (t) => {
  const topic = newTopic();
  const liar = await new Liar(t, topic).start();
  const panda = await page(t, liar.url);
  const faults = [];
  panda.onError((error) => faults.push(error.code));
  const operations = await log(topic, ["a", "b"]);
  liar.show(operations[0], operations[0], operations[1], operations[0], operations[1]);
  const [end] = await log(topic, ["end"], new KeyPair());
  liar.show(end);
  const messages = await take(panda.topic(topic).stream(), 3);
  assert.deepEqual(
    messages.map(({ value }) => value),
    ["a", "b", "end"],
  );
  assert.deepEqual(faults, []);
});

test(
  "a message names what it was written after and is not here",
  patient,
  async (t) => {
    const topic = newTopic();
    const liar = await new Liar(t, topic).start();
    const panda = await page(t, liar.url);
    const [hidden] = await log(topic, ["hidden"], new KeyPair());
    const deps = [{ author: hidden.author, seq: 0, id: hidden.id }];
    liar.show(...(await log(topic, ["answer"], author, { deps })));
    const [answer] = await take(panda.topic(topic).stream(), 1);
    assert.deepEqual(
      answer.missing.map(({ id }) => id),
      [hidden.id],
    );
  },
);

test("a node that went back is found when it comes again", patient, async (t) => {
  let shown;
  const { error } = await lied(
    t,
    async (liar, topic, panda) => {
      shown = await log(topic, ["a", "b"]);
      liar.show(...shown);
      await take(panda.topic(topic).stream(), 2);
      liar.next.set(author.publicKey, { seq: 1, backlink: shown[0].id });
      liar.disconnect();
    },
    "node-rolled-back",
  );
  // The author's own signature says that it was there.
  assert.deepEqual(error.evidence.headers, [shown[1].header]);
});

test("a node that lost this page's messages gets them again", patient, async (t) => {
  const { liar, panda } = await lied(
    t,
    async (liar, topic, panda) => {
      await (await panda.topic(topic).publish("mine")).wait("node");
      assert.equal(liar.submitted.length, 1);
      // It says that the log begins at 0, although it had stored entry 0.
      liar.disconnect();
    },
    "node-rolled-back",
  );
  while (liar.submitted.length < 2)
    await heard(
      (listener) => panda.onStatus(listener),
      () => true,
    );
  assert.equal(liar.submitted[1].header, liar.submitted[0].header);
});

test("this page's log is never extended by the word of a node", patient, async (t) => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const jwk = await crypto.subtle.exportKey("jwk", pair.privateKey);
  const own = new KeyPair(new Uint8Array(Buffer.from(jwk.d, "base64url")));
  const topic = newTopic();
  const liar = await new Liar(t, topic).start();
  const panda = await page(t, liar.url, { key: pair });
  assert.equal(panda.id, own.publicKey);
  const told = heard(
    (listener) => panda.onError(listener),
    ({ code }) => code === "own-log-moved",
  );
  liar.show(...(await log(topic, ["not by this page"], own)));
  panda.topic(topic).onAnnounce(() => undefined);
  assert.equal((await told).evidence.headers.length, 1);
  const receipt = await panda.topic(topic).publish("first");
  assert.equal((await receipt.wait("signed")).seq, 0);
});

test("a refused operation is blocked with its reason and stays", patient, async (t) => {
  const topic = newTopic();
  const liar = await new Liar(t, topic).start();
  liar.refusal = () => ({ code: "refused-operation", reason: "too-large" });
  const panda = await page(t, liar.url);
  const room = panda.topic(topic);
  const blocked = heard(
    (listener) => room.onState(listener),
    ({ state }) => state === "blocked",
  );
  const receipt = await room.publish("hi");
  assert.equal((await blocked).reason, "too-large");
  assert.equal((await room.receipt(receipt.request)).state, "blocked");
  liar.refusal = undefined;
  liar.disconnect();
  assert.equal((await receipt.wait("node")).state, "stored");
});

test("a refused operation holds up no other log", patient, async (t) => {
  const topic = newTopic();
  const liar = await new Liar(t, topic).start();
  const refused = toBase64(wasm.encode("refused"));
  liar.refusal = ({ body }) =>
    body === refused ? { code: "refused-operation", reason: "too-large" } : undefined;
  const panda = await page(t, liar.url);
  const room = panda.topic(topic);
  // It is the first one to be sent.
  const logs = ["one", "two"].sort((a, b) => (wasm.logId(topic, a) < wasm.logId(topic, b) ? -1 : 1));
  const receipts = [
    await room.publish("refused", { log: logs[0] }),
    await room.publish("taken", { log: logs[1] }),
  ];
  assert.equal((await receipts[1].wait("node")).state, "stored");
  assert.equal((await room.receipt(receipts[0].request)).state, "blocked");
});

test("a challenge chooses nothing of what is signed but 32 bytes", patient, async (t) => {
  const topic = newTopic();
  const liar = await new Liar(t, topic).start();
  const [operation] = await log(topic, ["x"]);
  liar.nonce = toBase64(operation.header);
  const panda = await page(t, liar.url);
  const { code } = await heard(
    (listener) => panda.onError(listener),
    () => true,
  );
  assert.equal(code, "closed");
});

test("a node of another id is not taken for the one that was named", patient, async (t) => {
  const liar = await new Liar(t, newTopic()).start();
  const panda = await page(t, liar.url, { node: new KeyPair().publicKey });
  const { code } = await heard(
    (listener) => panda.onError(listener),
    () => true,
  );
  assert.equal(code, "other-node");
});
