// The scenario for all clients (vectors/rpc-scenario.json), against a real process.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { PandaError } from "../dist/client.js";
import { ADMIN, ALICE, Server, take } from "./support.js";

const scenario = JSON.parse(
  await readFile(new URL("../../../vectors/rpc-scenario.json", import.meta.url)),
);

test("the scenario of every client", { timeout: 120_000 }, async (t) => {
  const server = new Server(t);
  const saved = {};
  let client;
  let topic = scenario.topic;
  const steps = {
    start: () => server.start(),
    async keep() {
      const root = await server.client(ADMIN);
      topic = (await root.call("topic.keep", { topic, keep: true })).alias;
      root.close();
    },
    async connect() {
      client?.close();
      client = await server.client(ALICE);
    },
    async publish({ text, request, save, same }) {
      const { id } = await client
        .topic(topic)
        .publish(text, request === undefined ? {} : { request });
      if (same !== undefined) assert.equal(id, saved[same]);
      if (save !== undefined) saved[save] = id;
    },
    batch: ({ texts }) => client.topic(topic).publishAll(texts),
    async stream({ consumer, expect, ack }) {
      const stream = await client.topic(topic).stream({ consumer, takeOver: true });
      const messages = await take(stream, expect.length);
      assert.deepEqual(
        messages.map((message) => message.text),
        expect,
      );
      for (const message of messages.slice(0, ack)) await message.ack();
      await stream.close();
    },
    call: ({ method, params }) => client.call(method, params),
    async kill() {
      await server.kill();
      await client.closed;
    },
    async stop() {
      const root = await server.client(ADMIN);
      await root.call("node.shutdown");
      assert.equal(await server.exit(), 0);
    },
  };
  for (const step of scenario.steps) {
    const expected = step.error;
    try {
      await steps[step.do](step);
      assert.equal(undefined, expected, `${JSON.stringify(step)} was not refused`);
    } catch (error) {
      if (!(error instanceof PandaError)) throw error;
      assert.equal(error.code, expected, `${JSON.stringify(step)}: ${error.message}`);
    }
  }
});

test("a wrong token, no server and a large stream", { timeout: 120_000 }, async (t) => {
  const server = await new Server(t).start();
  await assert.rejects(server.client("wrong"), { code: "unauthenticated" });
  const root = await server.client(ADMIN);
  const { alias } = await root.call("topic.keep", { topic: scenario.topic, keep: true });
  const texts = Array.from({ length: 1_000 }, (_, place) => `${place} ${"x".repeat(500)}`);
  await root.topic(alias).publishAll(texts);
  const stream = await root.topic(alias).stream();
  // Several times what may be in flight without credit.
  const messages = await take(stream, 1_000);
  assert.deepEqual(
    messages.map((message) => message.text),
    texts,
  );
  await root.topic(alias).publish(new Uint8Array([0, 255]));
  const [bytes] = await take(stream, 1);
  assert.deepEqual(bytes.bytes, new Uint8Array([0, 255]));
  assert.throws(() => bytes.ack(), { code: "invalid" });
  root.close();
  await server.kill();
  await assert.rejects(server.client(ALICE), { code: "closed" });
});
