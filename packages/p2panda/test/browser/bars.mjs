// Measures the package in browsers: `node test/browser/bars.mjs`, one line of JSON each. No test.
import { freePort, newTopic, Server, ADMIN } from "../support.js";
import { bare, browsers, launch, serve, tab } from "./support.js";

const MISSED = 10_000;
const SENT = 100;
const ends = [];
const run = { after: (end) => ends.push(end) };
const origin = await serve(run);
const topic = newTopic();
const node = await new Server(run, {
  open: [topic],
  origins: [origin],
  port: await freePort(),
}).start();
const admin = await node.client(ADMIN);
for (let first = 0; first < MISSED; first += 500) {
  await admin.topic(topic).publishAll(Array.from({ length: 500 }, (_, place) => `missed ${first + place}`));
}

/** Operations a second of the module, on one thread. */
async function rates() {
  const { loadSpaces, loadWasm, wasm } = await import("/p2panda/dist/wasm.js");
  const from = performance.now();
  await loadWasm();
  const load = performance.now() - from;
  const seed = new Uint8Array(32).fill(1);
  const author = wasm.publicKey(seed);
  const topic = "05".repeat(32);
  const draft = { topic, seq: 0, timestamp: 1, body: wasm.encode("x".repeat(256)) };
  const bytes = wasm.signingBytes(author, draft);
  const { header } = wasm.assemble(author, draft, wasm.sign(seed, bytes));
  const rate = (work) => {
    for (let count = 0; count < 200; count += 1) work();
    const from = performance.now();
    let count = 0;
    while (performance.now() - from < 1_000) for (let end = count + 50; count < end; count += 1) work();
    return Math.round((count / (performance.now() - from)) * 1_000);
  };
  // A space that nobody sees: the key is here, so what a deed wants signed is signed at once.
  const spaces = await loadSpaces();
  const now = Math.floor(Date.now() / 1000);
  const signatures = [];
  spaces.spacesLoad(1_000, author, [], now, seed);
  const before = performance.now();
  for (;;) {
    const act = { now: now * 1_000_000, seed, signatures };
    const acted = spaces.spacesAct(1_000, topic, { do: "create", history: true }, act);
    if (acted.sign === undefined) break;
    signatures.push(wasm.sign(seed, acted.sign));
  }
  const created = performance.now() - before;
  const data = new Uint8Array(256);
  return {
    load_ms: Math.round(load),
    create_space_ms: Math.round(created),
    seal_256: rate(() => spaces.spacesSeal(1_000, topic, data, false, seed)),
    sign: rate(() => wasm.sign(seed, bytes)),
    verify: rate(() => wasm.verify(topic, header, draft.body)),
  };
}

for (const name of browsers) {
  const browser = await launch(run, name);
  const chat = await tab(browser, `${origin}/chat/?node=${encodeURIComponent(node.url)}`);
  await chat.waitForSelector("#start:not([hidden])");
  // From the begin of the navigation; the module is asked for when a room opens.
  const interactive_ms = await chat.evaluate(() => Math.round(performance.getEntriesByType("navigation")[0].domInteractive));
  const page = await bare(browser, origin);
  const measured = { browser: name, interactive_ms, ...(await page.evaluate(rates)) };
  measured.missed_ms = await page.evaluate(
    async (url, topic, missed) => {
      const from = performance.now();
      window.panda = await p2panda.connect(url);
      let seen = 0;
      for await (const message of panda.topic(topic).stream()) {
        seen += message.value.startsWith("missed");
        if (seen === missed) return Math.round(performance.now() - from);
      }
    },
    node.url,
    topic,
    MISSED,
  );
  const other = await bare(browser, origin);
  await other.evaluate(
    async (url, topic) => {
      window.panda = await p2panda.connect(url);
      window.came = new Map();
      void (async () => {
        for await (const { value } of panda.topic(topic).stream()) came.set(value, Date.now());
      })();
    },
    node.url,
    topic,
  );
  await other.waitForFunction((missed) => came.size >= missed, { polling: 100 }, MISSED);
  const sent = await page.evaluate(
    async (topic, count, name) => {
      const sent = [];
      for (let place = 0; place < count; place += 1) {
        sent.push([`${name} ${place}`, Date.now()]);
        await panda.topic(topic).publish(`${name} ${place}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return sent;
    },
    topic,
    SENT,
    name,
  );
  const has = (text) => came.has(text);
  await other.waitForFunction(has, { polling: 50 }, `${name} ${SENT - 1}`);
  const came = new Map(await other.evaluate(() => [...came]));
  const took = sent.map(([text, at]) => came.get(text) - at).sort((one, two) => one - two);
  Object.assign(measured, { publish_p50_ms: took[SENT / 2], publish_p95_ms: took[(SENT * 95) / 100] });
  console.log(JSON.stringify(measured));
}
for (const end of ends.reverse()) await end();
