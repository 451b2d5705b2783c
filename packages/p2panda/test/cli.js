// The command `panda`, next to a page.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { freePort } from "./support.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const server = process.env.PANDA_TEST_SERVER ?? join(root, "target/debug/examples/serve");
const panda = join(dirname(dirname(server)), "panda");

/** Home directories and processes that end with the test. */
export class Programs {
  constructor(test) {
    this.directory = mkdtempSync(join(tmpdir(), "p2panda-cli-"));
    for (const name of ["run", "state", "data", "config"]) mkdirSync(join(this.directory, name));
    this.running = new Set();
    test.after(async () => {
      for (const process of this.running) process.kill("SIGKILL");
      await Promise.all([...this.running].map((process) => once(process, "exit")));
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  /** Arguments for loopback, a separate home, and no multicast. */
  start(home, args, listen = "127.0.0.1:0") {
    const path = (name) => join(this.directory, name);
    const all = [...args, "--no-mdns", "--listen", listen, "--home", path(home)];
    const env = {
      ...process.env,
      XDG_STATE_HOME: path("state"),
      XDG_DATA_HOME: path("data"),
      XDG_CONFIG_HOME: path("config"),
      XDG_RUNTIME_DIR: path("run"),
    };
    const running = spawn(panda, all, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.running.add(running);
    running.once("exit", () => this.running.delete(running));
    running.lines = createInterface(running.stdout)[Symbol.asyncIterator]();
    running.said = [];
    running.errors = createInterface(running.stderr);
    running.errors.on("line", (line) => running.said.push(line));
    return running;
  }

  /** Runs a command to its end and returns its output. Any exit code but 0 is an error. */
  async run(home, args, { input = "", codes = [0] } = {}) {
    const running = this.start(home, args);
    running.stdin.end(input);
    const lines = [];
    for await (const line of running.lines) lines.push(line);
    const code = running.exitCode ?? (await once(running, "exit"))[0];
    if (codes.includes(code)) return lines.join("\n");
    throw new Error(`${args.join(" ")} ended with ${code}: ${running.said.join("\n")}`);
  }

  /** Ends a process as Ctrl-C does. */
  async interrupt(running) {
    running.kill("SIGINT");
    if (running.exitCode === null && running.signalCode === null) await once(running, "exit");
  }

  /** A node for pages, with its addresses for pages and for nodes. */
  async node({ home = "courier", demo, origins = [] } = {}) {
    const [port, quic] = [await freePort(), await freePort()];
    const demoPort = demo === undefined ? undefined : await freePort();
    const config = join(this.directory, `${home}.toml`);
    const rpc = [`listen = ["127.0.0.1:${port}"]`];
    const own = [];
    if (demoPort !== undefined) {
      rpc.push(`demo = ["127.0.0.1:${demoPort}"]`, `demo_dir = "${demo}"`);
      own.push(`http://127.0.0.1:${demoPort}`);
    }
    const access = [`unknown_keys = "rooms"`, `origins = ${JSON.stringify([...own, ...origins])}`];
    writeFileSync(config, ["[rpc]", ...rpc, "[access]", ...access, ""].join("\n"));
    const running = this.start(home, ["node", "run", "--json", "--config", config], `127.0.0.1:${quic}`);
    const { value } = await running.lines.next();
    if (value === undefined) throw new Error(running.said.join("\n"));
    const { id } = JSON.parse(value);
    const url = `ws://127.0.0.1:${port}/rpc`;
    return { running, id, url, peer: `${id}@127.0.0.1:${quic}`, demo: `${own[0]}/demo/` };
  }
}

/** Searches the bytes of all files of a home, including the write-ahead log. */
export function holdsNothing(folder, words) {
  let found = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const content = readFileSync(path);
    found += content.length;
    for (const word of words) {
      if (content.includes(word)) throw new Error(`${word} is in ${path}`);
    }
  }
  if (found < 4096) throw new Error(`${folder} holds nothing at all`);
}

/** The lines of a process until one of them matches. */
export async function until(running, fits) {
  for (;;) {
    const { value, done } = await running.lines.next();
    if (done) throw new Error(`it ended: ${running.said.join("\n")}`);
    if (fits(value)) return value;
  }
}
