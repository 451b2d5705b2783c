// A node as a process, for tests.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { randomBytes } from "node:crypto";
import WebSocket from "ws";
import { connectClient } from "../dist/client.js";
import { connect } from "../dist/index.js";

export { WebSocket };
export const ALICE = "token-of-alice";
export const ADMIN = "token-of-root";
const root = fileURLToPath(new URL("../../../", import.meta.url));
const program = process.env.PANDA_TEST_SERVER ?? join(root, "target/debug/examples/serve");

/** A free port of this machine. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

export function newTopic() {
  return randomBytes(32).toString("hex");
}

/** A node on a directory that is removed after the test. */
export class Server {
  constructor(test, { open = [], origins = [], port = 0, rooms, invites = false, peers = [] } = {}) {
    this.directory = mkdtempSync(join(tmpdir(), "p2panda-web-"));
    this.port = port;
    this.args = [
      ...open.flatMap((topic) => ["--open", topic]),
      ...origins.flatMap((origin) => ["--origin", origin]),
      ...(rooms === undefined ? [] : ["--rooms", String(rooms)]),
      ...(invites ? ["--unknown-keys", "invite"] : []),
      ...peers.flatMap((peer) => ["--peer", peer]),
    ];
    test.after(async () => {
      await this.kill();
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  async start() {
    const args = [this.directory, ...this.args, "--port", String(this.port)];
    this.process = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of createInterface(this.process.stdout)) {
      if (!line.startsWith("listening ")) continue;
      const [, address] = line.split(" ");
      this.port = Number(address.split(":")[1]);
      this.url = `ws://${address}/rpc`;
      return this;
    }
    throw new Error("the server does not listen");
  }

  async kill() {
    const process = this.process;
    this.process = undefined;
    if (process === undefined || process.exitCode !== null || process.signalCode !== null) return;
    process.kill("SIGKILL");
    await once(process, "exit");
  }

  async exit() {
    if (this.process.exitCode === null) await once(this.process, "exit");
    return this.process.exitCode;
  }

  client(token) {
    return connectClient(this.url, { token, WebSocket });
  }
}

export async function server(test, options) {
  return new Server(test, options).start();
}

/** A page in Node, in memory. */
export async function page(test, url, options = {}) {
  const panda = await connect(url, { storage: "memory", WebSocket, ...options });
  test.after(() => panda.close());
  return panda;
}

/** The next `count` messages of a stream. */
export async function take(stream, count) {
  const taken = [];
  while (taken.length < count) {
    const { value, done } = await stream.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}

/** Resolves with the first value that matches. */
export function heard(subscribe, fits) {
  return new Promise((resolve) => {
    const stop = subscribe((value) => {
      if (!fits(value)) return;
      queueMicrotask(() => stop());
      resolve(value);
    });
  });
}

export function online(panda) {
  if (panda.status.state === "online") return Promise.resolve(panda.status);
  return heard(
    (listener) => panda.onStatus(listener),
    (status) => status.state === "online",
  );
}
