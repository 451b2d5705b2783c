// Measures the package in browsers, and compares figures with their bars: `node test/browser/bars.mjs`. Not a test.
// `rates.js` measures the modules; `node test/rates.mjs` runs it in Node.
import { ADMIN, freePort, newTopic, Server } from "../support.js";
import { bare, browsers, launch, serve, tab } from "./support.js";

const MISSED = 10_000;
const SENT = 100;
/** Messages of each of three tabs, and how many a tab publishes at once. */
const PUBLISHED = 3_000;
const AT_ONCE = 100;
/** Upper bounds in milliseconds, lower bounds in operations per second. */
const BARS = {
  ...{ interactive_ms: 300, create_32_ms: 150, missed_ms: 3_000, blocked_ms: 100 },
  ...{ one_node_p95_ms: 100, two_nodes_p95_ms: 300 },
  ...{ seal_256: 100_000, sign: 10_000, verify: 4_000 },
};
const ends = [];
const run = { after: (end) => ends.push(end) };
const origin = await serve(run);
const topic = newTopic();
const open = { open: [topic], origins: [origin] };
const node = await new Server(run, { ...open, port: await freePort() }).start();
const admin = await node.client(ADMIN);
const { node: id, addrs } = await admin.call("node.status");
const second = await new Server(run, { ...open, peers: [`${id}@${addrs[0]}`] }).start();
for (let first = 0; first < MISSED; first += 500) {
  const some = Array.from({ length: 500 }, (_, place) => `missed ${first + place}`);
  await admin.topic(topic).publishAll(some);
}

/** Returns how long a page takes to load missed messages, and the longest task of its thread. */
async function missed(url, topic, count) {
  let blocked = 0;
  if (PerformanceObserver.supportedEntryTypes.includes("longtask")) {
    const heard = (list) => list.getEntries().forEach(({ duration }) => (blocked = Math.max(blocked, duration)));
    new PerformanceObserver(heard).observe({ type: "longtask" });
  }
  const from = performance.now();
  window.panda = await p2panda.connect(url);
  let seen = 0;
  for await (const { value } of panda.topic(topic).stream()) {
    seen += value.startsWith("missed");
    if (seen === count) break;
  }
  return { missed_ms: Math.round(performance.now() - from), blocked_ms: Math.round(blocked) };
}

/** Opens a page that records when messages arrive. */
async function listener(browser, url) {
  const page = await bare(browser, origin);
  await page.evaluate(
    async (url, topic) => {
      window.panda = await p2panda.connect(url);
      window.came = new Map();
      void (async () => {
        for await (const { value } of panda.topic(topic).stream()) came.set(value, Date.now());
      })();
    },
    url,
    topic,
  );
  await page.waitForFunction((missed) => came.size >= missed, { polling: 100, timeout: 120_000 }, MISSED);
  return page;
}

/** Milliseconds from one page to another: the median, and the 95th percentile. */
async function latency(from, to, name) {
  const write = async (topic, count, name) => {
    const sent = [];
    for (let place = 0; place < count; place += 1) {
      sent.push([`${name} ${place}`, Date.now()]);
      await panda.topic(topic).publish(`${name} ${place}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return sent;
  };
  const sent = await from.evaluate(write, topic, SENT, name);
  const last = `${name} ${SENT - 1}`;
  await to.waitForFunction((text) => came.has(text), { polling: 50 }, last);
  const came = new Map(await to.evaluate(() => [...came]));
  const took = sent.map(([text, at]) => came.get(text) - at).sort((one, two) => one - two);
  return [took[SENT / 2], took[(SENT * 95) / 100]];
}

/** Messages a second that three tabs of one author publish: kept on the disk, and stored by the node. */
async function threeTabs(browser) {
  const topic = newTopic();
  const own = await new Server(run, { open: [topic], origins: [origin] }).start();
  const first = await bare(browser, origin);
  const tabs = [first, await bare(browser, origin, first.own), await bare(browser, origin, first.own)];
  const open = async (url, topic) => {
    window.panda = await p2panda.connect(url, { name: "rate" });
    await panda.topic(topic).publish("first");
  };
  for (const each of tabs) await each.evaluate(open, own.url, topic);
  const publish = async (topic, count, atOnce) => {
    const receipts = [];
    const begun = Date.now();
    while (receipts.length < count) {
      const some = Array.from({ length: atOnce }, () => panda.topic(topic).publish("x".repeat(64)));
      receipts.push(...(await Promise.all(some)));
    }
    const kept = Date.now();
    await Promise.all([receipts[0], receipts.at(-1)].map((receipt) => receipt.wait("node")));
    return [begun, kept, Date.now()];
  };
  const times = await Promise.all(tabs.map((each) => each.evaluate(publish, topic, PUBLISHED, AT_ONCE)));
  await first.own.close();
  const begun = Math.min(...times.map(([begun]) => begun));
  const rate = (of) => Math.round((3 * PUBLISHED * 1_000) / (Math.max(...times.map((one) => one[of])) - begun));
  return { published_3_tabs: rate(1), stored_3_tabs: rate(2) };
}

for (const name of browsers) {
  const browser = await launch(run, name);
  const chat = await tab(browser, `${origin}/chat/?node=${encodeURIComponent(node.url)}`);
  await chat.waitForSelector("#start:not([hidden])");
  // From the start of the navigation; the module is asked for when a room opens.
  const interactive_ms = await chat.evaluate(() =>
    Math.round(performance.getEntriesByType("navigation")[0].domInteractive),
  );
  const page = await bare(browser, origin);
  const measured = { interactive_ms };
  const rates = async () => {
    const { rates } = await import("/p2panda/test/browser/rates.js");
    return rates(await import("/p2panda/dist/wasm.js"), () => performance.now());
  };
  Object.assign(measured, await page.evaluate(rates));
  Object.assign(measured, await page.evaluate(missed, node.url, topic, MISSED));
  if (name !== "chrome") delete measured.blocked_ms;
  const [p50, p95] = await latency(page, await listener(browser, node.url), `${name} one`);
  const [far50, far95] = await latency(page, await listener(browser, second.url), `${name} two`);
  Object.assign(measured, { one_node_p50_ms: p50, one_node_p95_ms: p95 });
  Object.assign(measured, await threeTabs(browser));
  Object.assign(measured, { two_nodes_p50_ms: far50, two_nodes_p95_ms: far95 });
  for (const [what, figure] of Object.entries(measured)) {
    const bar = BARS[what];
    const isMet = what.endsWith("_ms") ? figure <= bar : figure >= bar;
    const verdict = bar === undefined ? "" : `${isMet ? "meets" : "misses"} ${bar}`;
    console.log(`${name.padEnd(8)} ${what.padEnd(20)} ${String(figure).padStart(8)}  ${verdict}`);
  }
}
for (const end of ends.reverse()) await end();
