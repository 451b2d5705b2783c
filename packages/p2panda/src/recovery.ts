import { PandaError } from "./errors.js";
import { requestName, type Rooms } from "./rooms.js";
import {
  allRows,
  checkEpoch,
  next,
  Operations,
  type LogRow,
  type NodeRow,
  type PlaceRow,
  type PublishedRow,
  type RequestRow,
  type RoomRow,
  type TopicRow,
} from "./rows.js";
import { LAST, type Store, type Writer } from "./store.js";

/** A message that no node has stored, with its value as published. */
interface Unsent {
  row: PlaceRow;
  body: Uint8Array;
  sealed: boolean;
  /** Name of its log. */
  log: string | undefined;
}

/**
 * Gives the page a new key after its log continued elsewhere: two writers fork a log. Messages
 * stay. Those that no node has stored are published again under the new key. In spaces the page is a new
 * member, and has to join again.
 */
export async function recover(
  store: Store,
  rooms: Rooms,
  epoch: number,
  made: CryptoKeyPair | string,
): Promise<void> {
  const unsent = await find(store, rooms);
  await store.write(async (writer) => {
    await checkEpoch(writer, epoch);
    // From here on no tab writes with the old key.
    writer.put("meta", ["epoch"], epoch + 1);
    writer.delete("meta", ["key"]);
    writer.delete("meta", ["protected"]);
    if (typeof made === "string") writer.put("meta", ["protected"], made);
    else writer.put("meta", ["key"], made);
    await forgetUnsent(writer);
    for (const { row, body, sealed, log } of unsent) {
      const { topic, request: id } = row;
      const published = await writer.get<PublishedRow>("published", [id!]);
      if (published === undefined) continue;
      const number = await next(writer, "requests");
      const request: RequestRow = { number, request: id!, topic, body, log };
      if (sealed) request.sealed = true;
      writer.put("requests", [number], request);
      writer.put("published", [id!], { topic, hash: published.hash, number });
    }
    // Read again what another copy wrote under the old key.
    for (const { node, topic } of await writer.range<NodeRow>("nodes", [], [LAST]))
      if (node !== undefined && topic !== undefined) writer.delete("nodes", [node, topic]);
    for (const { key } of await writer.range<RoomRow>("rooms", [], [LAST]))
      writer.delete("rooms", [key]);
    for (const name of [["counter", "rooms"], ["counter", "rooms", "shape"]])
      writer.put("meta", name, ((await writer.get<number>("meta", name)) ?? 0) + 1);
    for (const { topic, space } of await writer.range<TopicRow>("topics", [], [LAST]))
      if (space === true) await readAgain(writer, topic);
  });
}

/** Lets the streams of a space start over: the new key is shown again what it may read. */
async function readAgain(writer: Writer, topic: string): Promise<void> {
  writer.delete("meta", ["rooms-done", topic]);
  const fed = (await writer.get<number>("meta", ["counter", "feed", topic])) ?? 0;
  for (let number = 1; number <= fed; number += 1) writer.delete("feed", [topic, number]);
  const operations = new Operations(writer, topic);
  for (const row of await allRows(writer, topic))
    if (row.shown === true) await operations.change({ ...row, shown: false });
  operations.flush();
}

async function forgetUnsent(writer: Writer): Promise<void> {
  const topics = new Map<string, Operations>();
  for (const row of await allRows(writer)) {
    if (row.state === "stored") continue;
    const operations = topics.get(row.topic) ?? new Operations(writer, row.topic);
    topics.set(row.topic, operations);
    await forget(operations, row);
  }
  for (const operations of topics.values()) operations.flush();
}

/** Takes an operation that no node has out of its log; another one may be in its place. */
async function forget(operations: Operations, row: PlaceRow): Promise<void> {
  const { writer } = operations;
  const { topic, author, logId, seq } = row;
  await operations.sent(logId, seq);
  await operations.change({ ...row, body: undefined, shown: false });
  await operations.forget(row);
  const head = await writer.get<LogRow>("logs", [topic, author, logId]);
  if (head === undefined || head.seq < seq) return;
  const at = seq === 0 ? undefined : await operations.entry(author, logId, seq - 1);
  if (at === undefined) writer.delete("logs", [topic, author, logId]);
  else writer.put("logs", [topic, author, logId], { ...head, ...at, seq: seq - 1 });
}

async function find(store: Store, rooms: Rooms): Promise<Unsent[]> {
  const rows = await store.read(async (reader) => {
    const all = await allRows(reader);
    return all.filter(({ state, request }) => state !== "stored" && request !== undefined);
  });
  const unsent: Unsent[] = [];
  for (const row of rows) {
    const sealed = await rooms.isSpace(row.topic);
    if (!sealed) {
      const key = [row.topic, row.author, row.logId];
      const log = await store.read((reader) => reader.get<LogRow>("logs", key));
      if (row.body !== undefined) unsent.push({ row, body: row.body, sealed, log: log?.name });
      continue;
    }
    const [data] = await rooms.open(row.topic, [row]);
    if (data === undefined) continue;
    const vault = await rooms.vault();
    const body = await vault.seal(requestName(row.request!), data);
    unsent.push({ row, body, sealed, log: undefined });
  }
  return unsent;
}

/** The event for every tab. */
export function recovered(): PandaError {
  return new PandaError("new-key", "this page has a new key", { hint: "connect again" });
}
