import { randomBytes } from "./bytes.js";
import { ours, PandaError } from "./errors.js";
import type { Signer } from "./key.js";
import {
  checkEpoch,
  next,
  Operations,
  placesOf,
  queued,
  requestsOf,
  rowsAfter,
  type FeedRow,
  type LogRow,
  type PlaceRow,
  type RequestRow,
  type RoomRow,
  type TopicRow,
} from "./rows.js";
import { LAST, type Store, type Writer } from "./store.js";
import { Vault } from "./vault.js";
import {
  loadSpaces,
  sealAll,
  wasm,
  type Draft,
  type Operation,
  type Sealed,
  type SpaceActed,
  type SpaceDeed,
  type SpaceEffects,
  type SpaceLook,
  type SpaceRow,
  type SpacesWasm,
} from "./wasm.js";

/** The most operations processed in one transaction. */
const BATCH = 256;
/** Requests that are examined, and those sealed, in one turn. */
const REQUESTS = 1024;
const SEALED_AT_ONCE = 64;
/** Milliseconds in which the first that heals does it for all; until we say that we lack something; between
 * two looks at our keys (docs/protocol/streams.md#7). */
const HEAL_WAIT = 2_000;
const ASK_WAIT = 30_000;
const HOUR = 3_600_000;
/** How often a space is healed for others per hour. */
const HEALS = 60;
/** Actions that the page takes by itself in one turn. */
const DUE_AT_ONCE = 8;

/** The result of an action in a space. */
export interface SpaceNews {
  joined: boolean;
  ejected: boolean;
  admitted: string[];
  turnedAway: { key: string; reason: string }[];
}

/** Callbacks to the engine. */
export interface RoomEvents {
  /** Content is shown or withdrawn. */
  grown(topic: string): void;
  /** Members, or what is known about them, changed. */
  changed(topic: string, news: SpaceNews): void;
  /** Operations are ready to be sent. */
  signed(topic: string, rows: PlaceRow[]): void;
  blocked(request: RequestRow): void;
  fault(error: PandaError): void;
}

let pages = 0;

/**
 * The encrypted spaces of a page. Only the leader processes operations and acts; every tab opens
 * what is shown. Stored rows are sealed under a non-extractable key.
 */
export class Rooms {
  readonly #page = (pages += 1);
  #wasm: SpacesWasm | undefined;
  #vault: Promise<Vault> | undefined;
  /** The version of the module's state: the number of writes, and of those that matter to readers. */
  #version: number | undefined;
  #shape: number | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #spaces = new Map<string, boolean>();
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  /** When spaces were healed for others, and when this page said that it lacks something. */
  #healed = new Map<string, number[]>();
  #asked = new Map<string, number>();
  /** Spaces of which this page is a member or not, until something changes. */
  #outside = new Map<string, boolean>();
  #changes = 0;

  constructor(
    readonly store: Store,
    readonly signer: Signer,
    /** Nothing while another tab leads. */
    readonly epoch: () => number | undefined,
    readonly events: RoomEvents,
  ) {}

  /** Stops the timers. */
  rest(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#version = undefined;
  }

  close(): void {
    this.rest();
    void this.#inOrder(async () => {
      this.#wasm?.spacesLoad(this.#page, undefined, [], 0, new Uint8Array(32));
      this.#shape = this.#wasm = undefined;
    });
  }

  vault(): Promise<Vault> {
    this.#vault ??= Vault.open(this.store);
    this.#vault.catch(() => (this.#vault = undefined));
    return this.#vault;
  }

  async isSpace(topic: string): Promise<boolean> {
    const known = this.#spaces.get(topic);
    if (known !== undefined) return known;
    const row = await this.store.read((reader) => reader.get<TopicRow>("topics", [topic]));
    // It may have become one meanwhile.
    const isSpace = row?.space === true || this.#spaces.get(topic) === true;
    this.#spaces.set(topic, isSpace);
    return isSpace;
  }

  /** A topic carries a space from now on, here or in another tab. */
  became(topic: string): void {
    this.#spaces.set(topic, true);
  }

  /** What is known about the members of a space may have changed, here or in another tab. */
  changed(topic: string): void {
    this.#changes += 1;
    this.#outside.delete(topic);
  }

  /** Whether this page is no member of the space and has not asked to join. */
  async isOutside(topic: string): Promise<boolean> {
    const known = this.#outside.get(topic);
    if (known !== undefined) return known;
    const before = this.#changes;
    try {
      const { role, joining, needsNewer } = await this.look(topic);
      const isOutside = role === undefined && !joining && !needsNewer;
      if (this.#changes === before) this.#outside.set(topic, isOutside);
      return isOutside;
    } catch (error) {
      // Without the module nothing is known; messages wait for it.
      if (ours(error).code === "no-wasm") return false;
      throw error;
    }
  }

  /** The body of a queued message. */
  async queuedBody({ request, body, sealed }: RequestRow): Promise<Uint8Array> {
    return sealed === true ? (await this.vault()).open(requestName(request), body) : body;
  }

  /** Starts as the leader: processes what arrived before, and does what is due. */
  async begin(): Promise<void> {
    for (const topic of await this.topics()) this.pump(topic);
    this.#later("keys", HOUR, () => this.begin());
  }

  async topics(): Promise<string[]> {
    const all = await this.store.read((reader) => reader.range<TopicRow>("topics", [], [LAST]));
    return all.filter(({ space }) => space === true).map(({ topic }) => topic);
  }

  /** Processes what arrived, and does what is due. */
  pump(topic: string): void {
    void this.#inOrder(async () => {
      await this.#load(true);
      while (await this.#process(topic));
      await this.#keepUp(topic);
      await this.#publish(topic);
    }).catch((error: unknown) => this.#failed(error));
  }

  look(topic: string): Promise<SpaceLook> {
    return this.#inOrder(async () => {
      const module = await this.#load(false);
      return module.spacesLook(this.#page, topic, seconds());
    });
  }

  /** Performs an action. Only the leader calls it. */
  act(topic: string, deed: SpaceDeed): Promise<Uint8Array | undefined> {
    return this.#inOrder(async () => {
      const { invite } = await this.#act(topic, deed);
      if (deed.do === "join") while (await this.#process(topic));
      await this.#keepUp(topic).catch((error: unknown) => this.#failed(error));
      // What was queued before the topic carried the space.
      if (deed.do === "create" || deed.do === "join") this.pump(topic);
      return invite;
    });
  }

  /** Opens the messages that a feed names, except those withdrawn by now. */
  async open(topic: string, rows: PlaceRow[]): Promise<(Uint8Array | undefined)[]> {
    return this.#inOrder(async () => {
      const module = await this.#load(false);
      return rows.map(({ author, seq, body }) => {
        if (body === undefined) return undefined;
        const opened = module.spacesOpen(this.#page, topic, author, seq, body);
        return typeof opened === "string" ? undefined : opened;
      });
    });
  }

  sealEphemeral(topic: string, body: Uint8Array): Promise<Uint8Array> {
    return this.#inOrder(async () => {
      const module = await this.#load(false);
      return sealAll(module, this.#page, topic, [body], true).bodies[0]!;
    });
  }

  openEphemeral(
    topic: string,
    author: string,
    body: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    return this.#inOrder(async () => {
      const module = await this.#load(false);
      const opened = module.spacesOpen(this.#page, topic, author, undefined, body);
      return typeof opened === "string" ? undefined : opened;
    });
  }

  /** Runs calls one after the other: each sees the result of the one before. */
  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** The module with the stored state: all of it for the writer, what matters to readers for others. */
  async #load(writes: boolean): Promise<SpacesWasm> {
    if (writes && this.epoch() === undefined) throw notLeader();
    const vault = await this.vault();
    const module = (this.#wasm ??= await loadSpaces());
    const counters = await this.store.read(async (reader) => ({
      version: (await reader.get<number>("meta", VERSION)) ?? 0,
      shape: (await reader.get<number>("meta", SHAPE)) ?? 0,
    }));
    const isHere = writes
      ? this.#version === counters.version
      : this.#shape === counters.shape || this.#version === counters.version;
    if (isHere) return module;
    const stored = await this.store.read(async (reader) => ({
      rows: await reader.range<RoomRow>("rooms", [], [LAST]),
      version: (await reader.get<number>("meta", VERSION)) ?? 0,
      shape: (await reader.get<number>("meta", SHAPE)) ?? 0,
    }));
    const opened = stored.rows.map(async ({ key, sealed }): Promise<SpaceRow> => {
      return { key, value: await vault.open(key, sealed) };
    });
    const rows = await Promise.all(opened);
    const me = this.signer.publicKey;
    const made = module.spacesLoad(this.#page, me, rows, seconds(), randomBytes(32));
    this.#version = stored.version;
    this.#shape = stored.shape;
    if (made.length === 0) return module;
    if (writes) await this.#commit(made, async () => undefined);
    // Only the leader makes keys.
    else this.#version = this.#shape = undefined;
    return module;
  }

  /** Stores the changes in one transaction with their cause; if that fails, loads everything again. */
  async #commit<T>(rows: SpaceRow[], more: (writer: Writer) => Promise<T>): Promise<T> {
    const epoch = this.epoch();
    try {
      const vault = await this.vault();
      const sealing = rows.map(async ({ key, value }) => {
        return { key, sealed: value === undefined ? undefined : await vault.seal(key, value) };
      });
      const sealed = await Promise.all(sealing);
      const matters = rows.some(({ key }) => key.startsWith("00") || key.startsWith("03"));
      const [version, shape] = [this.#version, this.#shape];
      if (epoch === undefined || version === undefined || shape === undefined) throw notLeader();
      const result = await this.store.write(async (writer) => {
        await checkEpoch(writer, epoch);
        if (((await writer.get<number>("meta", VERSION)) ?? 0) !== version) throw notLeader();
        for (const { key, sealed: value } of sealed) {
          if (value === undefined) writer.delete("rooms", [key]);
          else writer.put("rooms", [key], { key, sealed: value } satisfies RoomRow);
        }
        if (rows.length > 0) writer.put("meta", VERSION, version + 1);
        if (matters) writer.put("meta", SHAPE, shape + 1);
        return more(writer);
      });
      if (rows.length > 0) this.#version = version + 1;
      if (matters) this.#shape = shape + 1;
      return result;
    } catch (error) {
      this.#version = this.#shape = undefined;
      throw error;
    }
  }

  /** Whether there was anything to do. */
  async #process(topic: string): Promise<boolean> {
    const module = await this.#load(true);
    const rows = await this.store.read(async (reader) => {
      const done = (await reader.get<number>("meta", ["rooms-done", topic])) ?? 0;
      return rowsAfter(reader, topic, done, BATCH);
    });
    const last = rows.at(-1);
    if (last === undefined) return false;
    const operations = rows.map(({ header, body }) =>
      body === undefined ? { header } : { header, body },
    );
    const effects = module.spacesTake(this.#page, topic, operations, seconds());
    await this.#commit(effects.rows, async (writer) => {
      await feed(new Operations(writer, topic), effects);
      writer.put("meta", ["rooms-done", topic], last.place);
    });
    this.#tell(topic, effects);
    return true;
  }

  #tell(topic: string, effects: SpaceEffects): void {
    if (effects.shown.length > 0) this.events.grown(topic);
    const { joined, ejected, admitted, turnedAway } = effects;
    const isNews = effects.changed || turnedAway.length > 0;
    if (isNews || joined || ejected) this.changed(topic);
    if (isNews) this.events.changed(topic, { joined, ejected, admitted, turnedAway });
  }

  async #act(topic: string, deed: SpaceDeed): Promise<SpaceActed> {
    const module = await this.#load(true);
    const log = wasm.logId(topic, "control");
    const head = await this.store.read((reader) =>
      reader.get<LogRow>("logs", [topic, this.signer.publicKey, log]),
    );
    const act = { now: Date.now() * 1000, seed: randomBytes(32), signatures: [] as Uint8Array[] };
    const at = head === undefined ? act : { ...act, seq: head.seq, id: head.id };
    let acted: SpaceActed;
    // The key signs asynchronously: the action is repeated with each missing signature.
    for (;;) {
      acted = module.spacesAct(this.#page, topic, deed, at);
      if (acted.sign === undefined) break;
      act.signatures.push(await this.signer.sign(acted.sign as Uint8Array<ArrayBuffer>));
    }
    const { operations, failed } = acted;
    const isNew = deed.do === "create" || deed.do === "join";
    const isDone = failed === undefined;
    const verified = operations.map(({ header, body }) => {
      return { operation: wasm.verify(topic, header, body), body };
    });
    const rows = await this.#commit(acted.rows, async (writer) => {
      const signed: PlaceRow[] = [];
      const all = new Operations(writer, topic);
      for (const { operation, body } of verified) {
        signed.push(await own(all, operation, { body, name: "control" }));
      }
      await feed(all, acted);
      if (isNew && isDone) {
        const known = await writer.get<TopicRow>("topics", [topic]);
        const at = known?.at ?? (await next(writer, "topics"));
        writer.put("topics", [topic], { topic, at, space: true } satisfies TopicRow);
        // Until then the module knows no space there, and passes over what arrives.
        if (deed.do === "join") writer.delete("meta", ["rooms-done", topic]);
      }
      return signed;
    });
    if (isNew && isDone) this.became(topic);
    this.changed(topic);
    if (rows.length > 0 || isNew) this.events.signed(topic, rows);
    this.#tell(topic, acted);
    if (failed !== undefined) throw new PandaError(failed.code, failed.message, { topic });
    return acted;
  }

  /** Heals, hands out secrets, admits: what a member does without being asked. */
  async #keepUp(topic: string): Promise<void> {
    for (let count = 0; count < DUE_AT_ONCE; count += 1) {
      const module = await this.#load(true);
      const { due, members } = module.spacesLook(this.#page, topic, seconds());
      const others = members.filter(({ key, role }) => {
        return role === "owner" && key !== this.signer.publicKey;
      });
      if (due.includes("ask")) this.#soon(topic, "ask", this.#askWait(topic));
      if (due.includes("heal")) this.#soon(topic, "heal", this.#healWait(topic));
      const now = ["rotate", "keys", "request"].find((one) => due.includes(one));
      if (now === undefined && due.includes("admit")) {
        const wait = others.length === 0 ? 0 : HEAL_WAIT * Math.random();
        return this.#soon(topic, "admit", wait);
      }
      if (now === undefined) return;
      try {
        await this.#act(topic, { do: now === "rotate" ? "heal" : (now as "keys" | "request") });
      } catch (error) {
        // Without an owner's keys the request waits for them.
        if (ours(error).code === "space") return;
        throw error;
      }
    }
  }

  #askWait(topic: string): number {
    const before = this.#asked.get(topic);
    return before === undefined ? ASK_WAIT * (1 + Math.random()) : before + HOUR - Date.now();
  }

  #healWait(topic: string): number {
    const recent = (this.#healed.get(topic) ?? []).filter((at) => at > Date.now() - HOUR);
    this.#healed.set(topic, recent);
    const random = HEAL_WAIT * Math.random();
    return recent.length < HEALS ? random : recent[0]! + HOUR - Date.now() + random;
  }

  #soon(topic: string, what: "ask" | "heal" | "admit", wait: number): void {
    this.#later(`${what} ${topic}`, wait, async () => {
      await this.#inOrder(async () => {
        const module = await this.#load(true);
        const { due } = module.spacesLook(this.#page, topic, seconds());
        if (!due.includes(what)) return;
        if (what === "ask") this.#asked.set(topic, Date.now());
        if (what === "heal") this.#healed.get(topic)?.push(Date.now());
        await this.#act(topic, { do: what });
      });
      // Do not try forever what cannot be done for some members.
      if (what !== "ask") this.#later(`again ${topic}`, HEAL_WAIT, async () => this.pump(topic));
    });
  }

  #later(name: string, wait: number, work: () => Promise<void>): void {
    if (this.#timers.has(name)) return;
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      void work().catch((error: unknown) => this.#failed(error));
    }, wait);
    (timer as { unref?: () => void }).unref?.();
    this.#timers.set(name, timer);
  }

  #failed(error: unknown): void {
    const fault = ours(error);
    if (fault.code !== "not-leader" && fault.code !== "closed") this.events.fault(fault);
  }

  /** Seals and signs queued messages of a space, also those from before the topic carried it. */
  async #publish(topic: string): Promise<void> {
    if (!(await this.isSpace(topic))) return;
    const { requests, isMore } = await this.store.read((reader) => queued(reader, REQUESTS));
    const all = requests.filter((row) => row.topic === topic);
    for (const row of all.filter(isElsewhere))
      await this.#block(row, "what is published in a space goes into its content");
    const here = all.filter((row) => !isElsewhere(row));
    let published = 0;
    for (let from = 0; from < here.length; from += SEALED_AT_ONCE) {
      const some = here.slice(from, from + SEALED_AT_ONCE);
      const done = await this.#publishSome(topic, some);
      if (done === undefined) return;
      published += done;
    }
    if (published > 0 && isMore) await this.#publish(topic);
  }

  /** Returns how many were published, or undefined while none can be. */
  async #publishSome(topic: string, some: RequestRow[]): Promise<number | undefined> {
    try {
      await this.#publishAll(topic, some);
      return some.length;
    } catch (error) {
      const fault = ours(error);
      // A page that is not admitted yet writes later.
      if (WAITING.has(fault.code)) {
        this.events.grown(topic);
        return undefined;
      }
      if (!REFUSED.has(fault.code)) throw error;
      const [one, ...others] = some;
      if (one === undefined) return 0;
      if (others.length === 0) await this.#block(one, fault.message);
      else {
        // One by one: a refused message must not hold up others.
        let published = 0;
        for (const each of some) published += (await this.#publishSome(topic, [each])) ?? 0;
        return published;
      }
      return 0;
    }
  }

  /** Seals and signs them in order, and stores them in one transaction. */
  async #publishAll(topic: string, requests: RequestRow[]): Promise<void> {
    const data = await Promise.all(requests.map((row) => this.queuedBody(row)));
    const module = await this.#load(true);
    const seal = (): Sealed => sealAll(module, this.#page, topic, data, false);
    let sealed: Sealed;
    try {
      sealed = seal();
    } catch (error) {
      if (ours(error).code !== "heal-first") throw error;
      await this.#act(topic, { do: "heal" });
      sealed = seal();
    }
    const signed = await this.#signAll(topic, sealed);
    const taken = signed.map(({ operation: { header }, body }) => ({ header, body }));
    const effects = module.spacesTake(this.#page, topic, taken, seconds());
    const rows = await this.#commit(effects.rows, async (writer) => {
      const rows: PlaceRow[] = [];
      const all = new Operations(writer, topic);
      const queue = requestsOf(writer);
      const places = placesOf(writer);
      for (const [place, { number, request }] of requests.entries()) {
        const { operation, body } = signed[place]!;
        const row = await own(all, operation, { body, name: "content", request });
        await queue.set(number, undefined);
        places.append(number, { place: row.place }, 0);
        rows.push(row);
      }
      queue.flush(writer);
      places.flush(writer);
      await feed(all, effects);
      return rows;
    });
    this.events.signed(topic, rows);
    this.#tell(topic, effects);
  }

  /** Signs the next operations of our content log. */
  async #signAll(
    topic: string,
    { bodies, deps }: Sealed,
  ): Promise<{ operation: Operation; body: Uint8Array }[]> {
    const me = this.signer.publicKey;
    const key = [topic, me, wasm.logId(topic, "content")];
    const head = await this.store.read((reader) => reader.get<LogRow>("logs", key));
    let last: { seq: number; id: string } | undefined = head;
    let timestamp = Date.now() * 1000;
    const signed = [];
    for (const body of bodies) {
      const draft: Draft = { topic, log: "content", seq: 0, timestamp: (timestamp += 1), body, deps };
      if (last !== undefined) Object.assign(draft, { seq: last.seq + 1, backlink: last.id });
      const bytes = wasm.signingBytes(me, draft) as Uint8Array<ArrayBuffer>;
      const operation = wasm.assemble(me, draft, await this.signer.sign(bytes));
      signed.push({ operation, body });
      last = operation;
    }
    return signed;
  }

  /** The message stays queued until the space has changed. */
  async #block(request: RequestRow, reason: string): Promise<void> {
    if (request.reason === reason) return;
    const epoch = this.epoch();
    if (epoch === undefined) throw notLeader();
    const row = { ...request, reason };
    await this.store.write(async (writer) => {
      await checkEpoch(writer, epoch);
      const queue = requestsOf(writer);
      await queue.set(request.number, row);
      queue.flush(writer);
    });
    this.events.blocked(row);
    this.events.grown(row.topic);
  }
}

const VERSION = ["counter", "rooms"];
const SHAPE = ["counter", "rooms", "shape"];
/** Reasons that may pass by themselves or by the decision of others. */
const WAITING = new Set(["unknown-space", "not-welcomed", "heal-first"]);
const REFUSED = new Set(["not-allowed", "too-large", "refused-operation", "space"]);

/** Whether a message was queued, before the topic carried a space, for a log that spaces do not have. */
function isElsewhere({ sealed, log }: RequestRow): boolean {
  return sealed !== true && log !== undefined && log !== "content";
}

/** The name under which a message is sealed until it is published. */
export function requestName(request: string): string {
  return `request ${request}`;
}

function notLeader(): PandaError {
  return new PandaError("not-leader", "another tab writes now");
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

async function own(
  operations: Operations,
  operation: Operation,
  { body, name, request }: { body: Uint8Array | undefined; name: string; request?: string },
): Promise<PlaceRow> {
  const more = { body, missing: [], state: "signed" as const, request, name };
  const row = await operations.append(operation, more);
  operations.send(row);
  return row;
}

/** Appends content that is shown or withdrawn to the feed that streams read, and writes all changes. */
async function feed(operations: Operations, { shown }: SpaceEffects): Promise<void> {
  const { writer, topic } = operations;
  const log = wasm.logId(topic, "content");
  for (const { author, seq, stands } of shown) {
    const at = await operations.entry(author, log, seq);
    const row = at && (await operations.at(at.place));
    if (row === undefined || (row.shown ?? false) === stands) continue;
    await operations.change({ ...row, shown: stands });
    const number = await next(writer, "feed", topic);
    writer.put("feed", [topic, number], { place: row.place, stands } satisfies FeedRow);
  }
  operations.flush();
}
