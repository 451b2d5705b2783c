// A fake node that says what a test tells it to.
import { once } from "node:events";
import { WebSocketServer } from "ws";
import { KeyPair, loadWasm, signAndEncode, toBase64 } from "../dist/low-level.js";
import { wasm } from "../dist/wasm.js";

await loadWasm();
export const author = new KeyPair(new Uint8Array(32).fill(1));

/** Makes operations of an author: texts in a log. */
export async function log(topic, texts, key = author, more = {}) {
  const operations = [];
  for (const text of texts) {
    const last = operations.at(-1);
    const place = last === undefined ? { seq: 0 } : { seq: last.seq + 1, backlink: last.id };
    operations.push(await signAndEncode(key, { topic, timestamp: 1, ...place, ...more }, text));
  }
  return operations;
}

/** A fake node whose answers the test chooses. */
export class Liar {
  constructor(test, topic) {
    this.topic = topic;
    this.operations = [];
    this.next = new Map();
    this.node = new KeyPair().publicKey;
    this.subscribers = new Set();
    this.submitted = [];
    this.server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    this.server.on("connection", (socket) => this.#serve(socket));
    test.after(() => {
      for (const socket of this.server.clients) socket.terminate();
      this.server.close();
    });
  }

  async start() {
    if (this.server.address() === null) await once(this.server, "listening");
    this.url = `ws://127.0.0.1:${this.server.address().port}/rpc`;
    return this;
  }

  show(...operations) {
    for (const operation of operations) {
      this.operations.push(operation);
      for (const send of this.subscribers) send(operation, this.operations.length);
    }
  }

  disconnect() {
    this.subscribers.clear();
    for (const socket of this.server.clients) socket.terminate();
  }

  #serve(socket) {
    const send = (message) => socket.send(JSON.stringify([{ jsonrpc: "2.0", ...message }]));
    socket.on("message", (frame) => {
      for (const { id, method, params } of JSON.parse(frame)) {
        if (id === undefined) continue;
        const result = this.#answer(method, params, send);
        if (result.code === undefined) send({ id, result });
        else send({ id, error: { code: -1, message: result.code, data: result } });
        if (method !== "operations.subscribe") continue;
        const show = ({ header, body }, arrival) => {
          const operation = {
            arrival,
            header: toBase64(header),
            ...(body && { body: toBase64(body) }),
          };
          send({
            method: "operations",
            params: { subscription: 1, bytes: 1, operations: [operation] },
          });
        };
        this.subscribers.add(show);
        this.operations
          .slice(params.after)
          .forEach((one, place) => show(one, params.after + place + 1));
      }
    });
  }

  #answer(method, params) {
    switch (method) {
      case "auth.challenge":
        return { node: this.node, nonce: this.nonce ?? toBase64(new Uint8Array(32)) };
      case "hello":
        return { rpc: 1, node: this.node, version: "0", name: "page", scopes: ["read", "relay"] };
      case "log.next": {
        const expected = this.next.get(params.author) ?? { seq: 0, backlink: null };
        return { expected, log_id: wasm.logId(this.topic) };
      }
      case "operation.submit":
        this.submitted.push(params);
        return this.refusal?.(params) ?? { id: "", duplicate: false };
      case "topic.status":
        return { operations: this.operations.length };
      default:
        return { subscription: method === "ephemeral.subscribe" ? 2 : 1 };
    }
  }
}
