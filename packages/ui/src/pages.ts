// The pages: each asks the node and builds its elements.

import { bytes, duration, el, facts, id, link, table, time } from "./dom.ts";
import type { Connection } from "./rpc.ts";
import type * as t from "./types.ts";

export type Page = (node: Connection, argument: string, again: () => void) => Promise<HTMLElement>;

/** The state of a peer, or why it is not connected. */
const STATES: Record<string, string> = {
  known: "heard of, never tried",
  connecting: "being dialled",
  unreached: "not reached",
  met: "met before, not connected now",
  connected: "connected",
  live: "connected, in sync",
};

/** The states of an operation, in order. */
const LIFE: Record<string, string> = {
  refused: "It was refused.",
  early: "It came before operations that go first in its log.",
  waiting: "It waits for operations that it depends on.",
  "wants-body": "Its header is here; its body is missing.",
  "no-message": "It is stored and has no message.",
  ordered: "It is stored and ordered, and comes next into the feed.",
  "in-feed": "It is in the feed: consumers get it.",
  stored: "It is stored.",
};

/** Quotas of other nodes. */
const QUOTAS: Record<string, string> = {
  all: "quota of everything",
  topic: "quota of the topic",
  author: "quota of the author",
};

function quota(name: string): string {
  return QUOTAS[name] ?? "another quota";
}

async function topics(node: Connection): Promise<t.Topic[]> {
  const names: string[] = [];
  let after: string | null = null;
  do {
    const page: { topics: string[]; next: string | null } = await node.call(
      "topic.list",
      after === null ? {} : { after },
    );
    names.push(...page.topics);
    after = page.next;
  } while (after !== null && names.length < 1000);
  return Promise.all(names.map((topic) => node.call<t.Topic>("topic.status", { topic })));
}

const overview: Page = async (node) => {
  const status = await node.call<t.Status>("node.status");
  const { state, reason } = status.health;
  const health = state === "ok" ? "ready" : `${state}${reason ? `: ${reason}` : ""}`;
  return el(
    "article",
    {},
    el("h2", {}, "This node"),
    el("p", { class: state === "ok" ? "good" : "bad", role: "status" }, `Storage is ${health}.`),
    status.peers_connected === 0
      ? el("p", { class: "warn" }, "No other node is connected. Messages stay here until one is.")
      : null,
    status.renewal_due
      ? el("p", { class: "warn" }, "The recovery file is more than 30 days old. Write a new one: panda device export FILE.")
      : null,
    facts([
      ["Node", el("code", {}, status.node)],
      ["Version", status.version],
      ["Addresses", status.addrs.join(", ") || "none"],
      ["Up for", duration(status.up_seconds * 1000)],
      ["Topics", link("topics", "", String(status.topics))],
      ["Nodes known", link("peers", "", String(status.peers))],
      ["Nodes connected", String(status.peers_connected)],
      ["Sync sessions", `${status.sessions}, ${status.sessions_live} live`],
      ["Logs that cannot go on", String(status.logs_blocked)],
    ]),
  );
};

const peers: Page = async (node) => {
  const { peers } = await node.call<{ peers: t.Peer[] }>("peer.list");
  const rows = peers.map((peer) => [
    id(peer.node),
    `${STATES[peer.state] ?? peer.state}${peer.why ? `: ${peer.why}` : ""}`,
    peer.connected ? (peer.relayed ? "relay" : "direct") : "–",
    peer.rtt_us === null ? "–" : `${(peer.rtt_us / 1000).toFixed(1)} ms`,
    peer.sessions,
    peer.topics_shared,
    [...peer.addrs, ...peer.relays].join(", "),
  ]);
  const head = ["Node", "State", "Path", "Round trip", "Sessions", "Topics shared", "Addresses"];
  return el("article", {}, el("h2", {}, "Other nodes"), table("Nodes", head, rows, "No other node is known."));
};

const topicList: Page = async (node, argument) => {
  if (argument) return topic(node, argument);
  const rows = (await topics(node)).map((topic) => [
    link("topics", topic.topic, topic.topic),
    topic.operations,
    bytes(topic.bytes),
    topic.logs,
    topic.waiting,
    Object.values(topic.rejected).reduce((sum, count) => sum + count, 0),
    topic.not_kept.length,
    topic.forks,
    topic.consumers.length,
  ]);
  const head = ["Topic", "Operations", "Size", "Logs", "Waiting", "Refused", "Not kept by others", "Forks", "Consumers"];
  return el(
    "article",
    {},
    el("h2", {}, "Topics"),
    el("p", {}, "Topics are secrets. They are shown by their alias, which only this node can make."),
    table("Topics of this node", head, rows, "This node follows no topic."),
  );
};

async function topic(node: Connection, name: string): Promise<HTMLElement> {
  const [status, shared, refused, forked] = await Promise.all([
    node.call<t.Topic>("topic.status", { topic: name }),
    node.call<{ peers: t.TopicPeer[] }>("topic.peers", { topic: name }),
    node.call<{ rejected: t.Rejected[] }>("topic.rejected", { topic: name }),
    node.call<{ forks: t.Fork[] }>("topic.forks", { topic: name }),
  ]);
  const holders = shared.peers.map((peer) => [
    id(peer.node),
    peer.live ? "live" : "catching up",
    peer.unsent === 0 ? "nothing" : `${peer.unsent} operations`,
    peer.stores_own === null ? "not said" : `up to ${peer.stores_own}`,
  ]);
  const notKept = status.not_kept.map((log) => [
    id(log.node),
    quota(log.quota),
    el("span", {}, id(log.author), log.named ? ", in a log with a name" : null),
    log.from,
  ]);
  const rejected = refused.rejected.map((row) => [
    link("trace", row.id, id(row.id)),
    row.reason,
    row.peer === null ? "brought here" : id(row.peer),
    time(row.at),
  ]);
  return el(
    "article",
    {},
    el("h2", {}, `Topic ${status.topic}`),
    status.own_log_closed
      ? el("p", { class: "bad" }, "This node's own log forked and is closed.")
      : null,
    facts([
      ["Operations", status.operations],
      ["Size", bytes(status.bytes)],
      ["Logs", status.logs],
      ["Feed", status.first === null ? "empty" : `offsets ${status.first} to ${status.last}`],
      ["Waiting for others", status.waiting],
      ["Logs that cannot go on", status.blocked],
      ["Consumers", status.consumers.join(", ") || "none"],
    ]),
    table(
      "Nodes that share it",
      ["Node", "Session", "It lacks", "Has stored of this node's log"],
      holders,
      "No node shares this topic now.",
    ),
    table(
      "Not kept by other nodes",
      ["Node", "Used up there", "Author", "From"],
      notKept,
      "No other node says that a quota stops it from keeping something.",
    ),
    table("Refused operations", ["Operation", "Reason", "From", "At"], rejected, "None was refused."),
    table(
      "Forks",
      ["Author who signed both"],
      forked.forks.map((fork) => [id(fork.author)]),
      "No log has forked.",
    ),
  );
}

const consumers: Page = async (node, argument, again) => {
  if (argument) return deadLetters(node, argument, again);
  const list = await node.call<{ consumers: t.Consumer[] }>("consumer.list");
  const lags = await Promise.all(
    list.consumers.map((consumer) =>
      node.call<t.Lag>("consumer.show", { consumer: consumer.name }),
    ),
  );
  const rows = lags.map(({ consumer, ...lag }) => [
    consumer.name,
    lag.lag_messages === 0 ? "nothing" : `${lag.lag_messages} messages, ${bytes(lag.lag_bytes)}`,
    duration(lag.oldest_ms),
    consumer.in_flight,
    consumer.readers,
    consumer.full_of_dead ? "stopped: too many dead letters" : consumer.paused ? "paused" : "runs",
    consumer.dead === 0
      ? "0"
      : link("consumers", consumer.name, `${consumer.dead}: show`),
  ]);
  const head = ["Consumer", "Behind by", "Oldest waits", "In flight", "Readers", "State", "Dead letters"];
  return el("article", {}, el("h2", {}, "Consumers"), table("Consumers", head, rows, "There is no consumer."));
};

async function deadLetters(node: Connection, name: string, again: () => void): Promise<HTMLElement> {
  const { letters } = await node.call<{ letters: t.DeadLetter[] }>("dead.list", { consumer: name });
  const settle = (method: string, number?: number) => async () => {
    await node.call(method, number === undefined ? { consumer: name } : { consumer: name, number });
    again();
  };
  const rows = letters.map((letter) => [
    letter.number,
    letter.id === null ? "–" : link("trace", letter.id, id(letter.id)),
    letter.said ? `${letter.reason}: ${letter.said}` : letter.reason,
    letter.count,
    el("span", {}, button("Redrive", settle("dead.redrive", letter.number)), " ",
      button("Drop", settle("dead.drop", letter.number))),
  ]);
  return el(
    "article",
    {},
    el("h2", {}, `Dead letters of ${name}`),
    letters.length > 0 ? button("Redrive all", settle("dead.redrive")) : null,
    table("Dead letters", ["Number", "Operation", "Why", "Delivered", "Do"], rows, "There is none."),
  );
}

function button(text: string, act: () => Promise<void>): HTMLElement {
  const said = el("span", { role: "status" });
  const press = async (event: Event) => {
    (event.currentTarget as HTMLButtonElement).disabled = true;
    try {
      await act();
    } catch (error) {
      said.textContent = ` ${(error as Error).message}`;
    }
  };
  return el("span", {}, el("button", { type: "button", click: (event) => void press(event) }, text), said);
}

const trace: Page = async (node, argument) => {
  const input = el("input", {
    id: "operation", name: "operation", value: argument, size: "64", spellcheck: "false",
    autocomplete: "off", pattern: "[0-9a-f]{64}", title: "64 hexadecimal digits", required: true,
  }) as HTMLInputElement;
  const form = el(
    "form",
    {
      submit: (event) => {
        event.preventDefault();
        location.hash = `trace/${input.value.trim()}`;
      },
    },
    el("label", { for: "operation" }, "Id of the operation"),
    input,
    el("button", { type: "submit" }, "Trace"),
  );
  const article = el("article", {}, el("h2", {}, "The life of one operation"), form);
  if (!argument) return article;
  const found = await node.call<t.Trace>("trace", { id: argument });
  const steps: [string, string][] = [
    ...found.received.map((copy): [string, string] => [time(copy.at), `received from ${copy.peer}`]),
    ["", `${LIFE[found.state] ?? found.state}${found.reason ? ` Reason: ${found.reason}.` : ""}`],
    ...found.missing.map((place): [string, string] => ["", `lacks ${place.author}, ${place.seq}`]),
    ...Object.entries(found.consumers).map(([name, settled]): [string, string] => [
      "",
      `consumer ${name}: ${settled ? "settled" : "not settled"}`,
    ]),
    ...found.sent_to.map((peer): [string, string] => ["", `sent to ${peer}`]),
    ...found.stored_by.map((peer): [string, string] => ["", `stored by ${peer}, as it says`]),
    ...found.not_kept.map((log): [string, string] => [
      "",
      `not kept by ${log.node}, as it says: ${quota(log.quota)}`,
    ]),
  ];
  article.append(
    facts([
      ["Topic", link("topics", found.topic, found.topic)],
      ["Author", found.author ?? "–"],
      ["Place in the log", found.seq ?? "–"],
      ["Offset in the feed", found.offset ?? "–"],
    ]),
    el("ol", { class: "life" },
      ...steps.map(([at, text]) => el("li", {}, at ? el("time", {}, `${at} `) : null, text))),
  );
  return article;
};

/** The newest events since the page was loaded. */
export const seen: { at: number; event: t.NodeEvent }[] = [];

const events: Page = () => {
  const rows = seen.toReversed().map(({ at, event }) => [
    time(at * 1000),
    event.event,
    event.topic ? link("topics", event.topic, event.topic) : "",
    event.peer ? id(event.peer) : "",
    event.detail ?? "",
  ]);
  return Promise.resolve(
    el(
      "article",
      {},
      el("h2", {}, "Events"),
      el("p", {}, "The newest 500 since this page was opened."),
      table("Events", ["At (UTC)", "Event", "Topic", "Node", "Detail"], rows, "Nothing has happened yet."),
    ),
  );
};

export const pages: Record<string, { title: string; show: Page }> = {
  overview: { title: "Overview", show: overview },
  peers: { title: "Nodes", show: peers },
  topics: { title: "Topics", show: topicList },
  consumers: { title: "Consumers", show: consumers },
  trace: { title: "Trace", show: trace },
  events: { title: "Events", show: events },
};
