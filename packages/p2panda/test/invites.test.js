// Keys that come with an invite (docs/protocol/rpc.md#4).
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { inviteProof, readInvite } from "../dist/access.js";
import { connectClient } from "../dist/client.js";
import { makeKey } from "../dist/key.js";
import { loginText } from "../dist/login.js";
import { ADMIN, newTopic, online, page, server, take, WebSocket } from "./support.js";

const patient = { timeout: 60_000 };
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));

test("invites and their proofs are those of the vector", async () => {
  const file = new URL("../../../vectors/rpc-invite.json", import.meta.url);
  const vector = JSON.parse(await readFile(file));
  const { node, id, invite, key, authority, client, server: nonce, expires, text, proof } = vector;
  const code = await readInvite(` ${invite.toUpperCase().replace("PANDA-ACCESS", "panda-access")}\n`);
  assert.deepEqual(code, { node, id, secret: bytes(vector.secret) });
  assert.equal(loginText(node, authority, bytes(client), bytes(nonce), expires), text);
  assert.deepEqual(inviteProof(code, text, key), bytes(proof));
  for (const wrong of vector.wrong)
    await assert.rejects(readInvite(wrong.invite), { code: "invalid" }, wrong.invite);
});

/** A node that admits by invite, and an invite to a topic. */
async function inviting(t, uses) {
  const node = await server(t, { invites: true });
  const topic = newTopic();
  const root = await node.client(ADMIN);
  const { invite } = await root.call("access.invite", { topics: [topic], uses });
  root.close();
  return { node, topic, invite };
}

test("a client with an invite is admitted, and then known", patient, async (t) => {
  const { node, topic, invite } = await inviting(t, 1);
  const key = await makeKey();
  const open = (options) => connectClient(node.url, { key, WebSocket, ...options });
  await assert.rejects(open({}), { code: "unauthenticated" });
  const client = await open({ invite });
  assert.deepEqual(client.hello.scopes, ["read", "relay"]);
  await client.call("topic.status", { topic });
  client.close();
  (await open({})).close();
  (await open({ invite })).close();
  // It admits one key, and only at its own node.
  await assert.rejects(open({ key: await makeKey(), invite }), { code: "unauthenticated" });
  const other = await server(t, { invites: true });
  const elsewhere = connectClient(other.url, { key, invite, WebSocket });
  await assert.rejects(elsewhere, { code: "other-node" });
  await assert.rejects(open({ invite: invite.slice(0, -1) }), { code: "invalid" });
});

test("a page with an invite writes into the topic of the invite", patient, async (t) => {
  const { node, topic, invite } = await inviting(t, 2);
  const panda = await page(t, node.url, { invite });
  await online(panda);
  await (await panda.topic(topic).publish("by invite")).wait("node");
  const reader = await page(t, node.url, { invite });
  const [message] = await take(reader.topic(topic).stream(), 1);
  assert.equal(message.value, "by invite");
});
