// A page for the tests of other programs: `node test/relay.mjs URL TOPIC`. It publishes each line that it reads, and
// prints each message as a line of JSON: author, place in the log, and the bytes of header and body in hexadecimal digits.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { toHex } from "../dist/bytes.js";
import { connect } from "../dist/index.js";
import { wasm } from "../dist/wasm.js";

const [url, topic] = process.argv.slice(2);
const panda = await connect(url, { storage: "memory", WebSocket });
panda.onError((error) => console.error(error.code, error.message));
const room = panda.topic(topic);
void (async () => {
  for await (const { author, seq, id, header, value } of room.stream()) {
    const body = toHex(wasm.encode(value));
    console.log(JSON.stringify({ author, seq, id, header: toHex(header), body }));
  }
})();
for await (const line of createInterface(process.stdin)) await room.publish(line);
