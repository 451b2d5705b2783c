import type { Event, PublishOptions, Receipt as Kept, Shown } from "./engine.js";
import { abortable, checkSignal, PandaError, type NotKept } from "./errors.js";
import type { Panda } from "./panda.js";
import type { State, StateChange } from "./rows.js";
import type { Delivery } from "./syncing.js";
import { checkValue } from "./value.js";

/** Messages read at once. */
const PAGE = 512;
/** Milliseconds between two queries for the receivers of an operation. */
const SENT_EVERY = 1_000;

export interface StreamOptions {
  /** Name under which this browser keeps the position. */
  consumer?: string;
  /** `resume` continues after what was acknowledged; the default with a consumer. */
  start?: "resume" | "beginning" | "now";
  /**
   * In a space, also yields own messages that wait to be sealed, such as those from before this page is admitted:
   * `state` is `queued` or `blocked`, `id` is empty. Each comes again with the same `request` once it is signed.
   */
  queued?: boolean;
  signal?: AbortSignal;
}

/** For what waits. */
export interface Abortable {
  signal?: AbortSignal;
}

/** An ephemeral message. */
export interface Heard {
  author: string;
  timestamp: string;
  value: unknown;
}

/** A topic of a page. */
export class Topic {
  #opened: Promise<void> | undefined;
  #waiting = new Set<() => void>();
  #heard = new Set<(heard: Heard) => void>();
  #states = new Set<(change: StateChange) => void>();
  /** Whether nothing may be published here in the clear. */
  protected readonly isSealed: boolean = false;

  constructor(
    readonly panda: Panda,
    readonly id: string,
  ) {}

  /** Stores a message in this browser; it is sent once the node is connected. */
  async publish(
    value: unknown,
    options: PublishOptions & Abortable = {},
  ): Promise<Receipt> {
    const { signal, ...rest } = options;
    checkSignal(signal);
    checkValue(value);
    await abortable(this.#open(), signal);
    checkSignal(signal);
    const all = { ...rest, sealed: this.isSealed };
    const kept = this.panda.backend.call<Kept>("publish", this.id, value, all);
    return new Receipt(this, await abortable(kept, signal));
  }

  /** Messages as they arrive, stored ones first. */
  async *stream(options: StreamOptions = {}): AsyncGenerator<Message, void, void> {
    const { signal, consumer, queued = false } = options;
    checkSignal(signal);
    checkStart(options);
    await abortable(this.#open(), signal);
    let place = await abortable(this.#begin(options), signal);
    const updates = new StateUpdates();
    const stop = this.onState((change) => updates.apply(change));
    const waiting = new Set<string>();
    try {
      for (;;) {
        const grown = this.#grown();
        updates.beginRead();
        const page = await abortable(this.#read(place), signal);
        if (page === undefined) return;
        updates.endRead(page.messages);
        for (const shown of page.messages) {
          if (signal?.aborted === true) await abortable(Promise.resolve(), signal);
          const message = new Message(this, shown, consumer);
          updates.yielded = message;
          yield message;
        }
        updates.endPage();
        if (page.place > place) {
          place = page.place;
          continue;
        }
        if (queued) {
          for (const shown of await abortable(this.#waits(waiting), signal))
            yield new Message(this, shown, consumer);
        }
        if (this.panda.status.state === "closed") return;
        await abortable(grown, signal);
      }
    } finally {
      stop();
    }
  }

  /** Sends an ephemeral message to those who are online. It is signed and never stored. */
  async announce(value: unknown, { signal }: Abortable = {}): Promise<void> {
    checkSignal(signal);
    checkValue(value);
    await abortable(this.#open(), signal);
    checkSignal(signal);
    const said = this.panda.backend.call("announce", this.id, value, this.isSealed);
    await abortable(said, signal);
  }

  /** The logs of which other nodes keep nothing new, since a quota of theirs is used up, as the node says. */
  async notKept({ signal }: Abortable = {}): Promise<NotKept[]> {
    checkSignal(signal);
    return abortable(this.panda.backend.call<NotKept[]>("notKept", this.id), signal);
  }

  /** Calls back with ephemeral messages of others. */
  onAnnounce(listener: (heard: Heard) => void): () => void {
    void this.#open().catch(() => undefined);
    this.#heard.add(listener);
    return () => this.#heard.delete(listener);
  }

  /** Calls back when the state of a message of this page changes. */
  onState(listener: (change: StateChange) => void): () => void {
    this.#states.add(listener);
    return () => this.#states.delete(listener);
  }

  /** The state of a message, by the request id that its publisher chose. */
  async receipt(request: string, { signal }: Abortable = {}): Promise<Receipt | undefined> {
    checkSignal(signal);
    const asked = this.panda.backend.call<Kept | undefined>("receipt", request);
    const kept = await abortable(asked, signal);
    return kept === undefined ? undefined : new Receipt(this, kept);
  }

  /** A ticket of the topic, for those who may read it. */
  async ticket({ signal }: Abortable = {}): Promise<string> {
    checkSignal(signal);
    return abortable(this.panda.backend.call("invite", this.id), signal);
  }

  hear(event: Event): void {
    if (event.kind === "status") {
      if (event.status.state === "closed") this.#wakeAll();
      return;
    }
    if (event.kind === "fault" || event.topic !== this.id) return;
    if (event.kind === "grown") this.#wakeAll();
    if (event.kind === "states")
      for (const change of event.changes) for (const listener of this.#states) listener(change);
    if (event.kind === "ephemeral") for (const listener of this.#heard) listener(event);
  }

  #wakeAll(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #open(): Promise<void> {
    this.#opened ??= this.panda.backend.call<void>("open", this.id).catch((error: unknown) => {
      // The next call tries again.
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  /** Messages after a place; undefined once the page was closed. */
  async #read(place: number): Promise<{ messages: Shown[]; place: number } | undefined> {
    try {
      return await this.panda.backend.call("read", this.id, place, PAGE);
    } catch (error) {
      if (this.panda.status.state === "closed") return undefined;
      throw error;
    }
  }

  async #begin({ consumer, start }: StreamOptions): Promise<number> {
    const { backend } = this.panda;
    if (start === "now") return backend.call("last", this.id);
    if (start === "beginning" || consumer === undefined) return 0;
    return backend.call("cursor", this.id, consumer);
  }

  /** Own messages that wait to be sealed, except those that were yielded in this state. */
  async #waits(yielded: Set<string>): Promise<Shown[]> {
    if (this.panda.status.state === "closed") return [];
    const all = await this.panda.backend.call<Shown[]>("waiting", this.id);
    const fresh = all.filter(({ request, state }) => !yielded.has(`${state} ${request}`));
    for (const { request, state } of fresh) yielded.add(`${state} ${request}`);
    return fresh;
  }

  /** Call it before reading, so that nothing that arrives meanwhile is missed. */
  #grown(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
  }
}

/** Refuses an option of which another one would be taken. */
function checkStart({ consumer, start }: StreamOptions): void {
  if (consumer !== undefined && typeof consumer !== "string") {
    throw new PandaError("invalid", "the name of a consumer is a text");
  }
  if (start !== undefined && !STARTS.has(start)) {
    throw new PandaError("invalid", "`start` is none of resume, beginning and now");
  }
  if (start === "resume" && consumer === undefined) {
    throw new PandaError("invalid", "`resume` needs a consumer", {
      hint: 'stream({ consumer: "ui" })',
    });
  }
}

const STARTS = new Set(["resume", "beginning", "now"]);

type Stateful = { -readonly [K in "state" | "reason"]: Shown[K] } & { readonly id: string };

/**
 * Applies changes of state to messages that were read and not yet taken: a reader that takes a message sees its state of
 * that moment, and is told each later one.
 */
class StateUpdates {
  /** The message that was yielded last: its reader may not have seen it yet. */
  yielded: Stateful | undefined;
  #changes: Map<string, StateChange> | undefined;
  #page = new Map<string, Stateful>();

  /** Collects the changes during a read. */
  beginRead(): void {
    this.#changes = new Map();
  }

  /** Applies them to the page that was read. */
  endRead(page: Stateful[]): void {
    const changes = this.#changes;
    this.#changes = undefined;
    this.#page = new Map(page.map((shown) => [shown.id, shown]));
    for (const change of changes?.values() ?? []) this.apply(change);
  }

  endPage(): void {
    this.#page.clear();
  }

  apply(change: StateChange): void {
    if (change.id === "") return;
    this.#changes?.set(change.id, change);
    for (const one of [this.#page.get(change.id), this.yielded]) {
      if (one?.id !== change.id) continue;
      one.state = change.state;
      one.reason = change.reason;
    }
  }
}

/** A verified message of a topic. */
export class Message implements Shown {
  declare readonly topic: string;
  declare readonly place: number;
  declare readonly id: string;
  declare readonly author: string;
  declare readonly seq: number;
  declare readonly log: string | undefined;
  declare readonly timestamp: number;
  declare readonly value: unknown;
  declare readonly mine: boolean;
  declare readonly state: State;
  declare readonly reason: string | undefined;
  declare readonly request: string | undefined;
  declare readonly withdrawn: boolean;
  declare readonly after: string[];
  declare readonly missing: Shown["missing"];
  declare readonly header: Uint8Array;
  readonly #topic: Topic;
  readonly #consumer: string | undefined;

  constructor(topic: Topic, shown: Shown, consumer: string | undefined) {
    Object.assign(this, shown);
    this.#topic = topic;
    this.#consumer = consumer;
  }

  /** Acknowledges this message and all before it: the consumer continues after it. */
  async ack({ signal }: Abortable = {}): Promise<void> {
    if (this.#consumer === undefined) {
      throw new PandaError("invalid", "it was read without a consumer", {
        hint: 'stream({ consumer: "ui" })',
      });
    }
    const { backend } = this.#topic.panda;
    await abortable(backend.call("ack", this.topic, this.#consumer, this.place), signal);
  }
}

/**
 * What to wait for: the message is signed, on the node's disk, or held by a number of other nodes, as the node says.
 * `sent` is another name of `held`.
 */
export type WaitFor = "signed" | "node" | { held: number } | { sent: number };

/** A message that was published. */
export class Receipt {
  #kept: Kept;

  constructor(
    readonly topic: Topic,
    kept: Kept,
  ) {
    this.#kept = kept;
  }

  /** The request id that the publisher chose: the same message with the same id is stored once. */
  get request(): string {
    return this.#kept.request;
  }

  get state(): State {
    return this.#kept.state;
  }

  /** Id of the operation, once it is signed. */
  get id(): string | undefined {
    return this.#kept.id;
  }

  get seq(): number | undefined {
    return this.#kept.seq;
  }

  /** Why it is blocked. It is tried again and never dropped. */
  get reason(): string | undefined {
    return this.#kept.reason;
  }

  /**
   * Waits without a limit. With `held` it fails with `not-kept` once so many nodes say that they do not keep
   * the message, because a quota of theirs is used up, that too few others are left. It is still published. In a
   * space it fails with `not-a-member` while this page is no member of it and has not asked to join.
   */
  async wait(what: WaitFor, { signal }: Abortable = {}): Promise<Receipt> {
    checkSignal(signal);
    const held = holders(what);
    const { panda } = this.topic;
    const states: State[] = what === "signed" ? ["signed", "stored"] : ["stored"];
    let changed: () => void = () => undefined;
    let change = new Promise<void>(() => undefined);
    const arm = (): void => void (change = new Promise((resolve) => (changed = resolve)));
    const stops = [
      this.topic.onState(({ request }) => request === this.request && changed()),
      panda.onStatus(({ state }) => state === "closed" && changed()),
    ];
    try {
      for (;;) {
        arm();
        await abortable(this.#refresh(), signal);
        if (states.includes(this.state)) break;
        this.#checkOpen();
        if (this.state === "queued" || this.state === "blocked") {
          await abortable(panda.backend.call("checkMember", this.topic.id), signal);
        }
        await abortable(change, signal);
      }
    } finally {
      for (const stop of stops) stop();
    }
    if (held !== undefined) await this.#held(held, signal);
    return this;
  }

  /** The nodes that have received it, according to this page's node. */
  async sentTo({ signal }: Abortable = {}): Promise<string[]> {
    checkSignal(signal);
    return (await abortable(this.#delivery(), signal)).sentTo;
  }

  /** The nodes that do not keep it, since a quota of theirs is used up, as they say. */
  async notKept({ signal }: Abortable = {}): Promise<NotKept[]> {
    checkSignal(signal);
    return (await abortable(this.#delivery(), signal)).notKept;
  }

  async #delivery(): Promise<Delivery> {
    await this.#refresh();
    if (this.id === undefined || this.state !== "stored") {
      return { sentTo: [], notKept: [], peers: [] };
    }
    return this.topic.panda.backend.call("delivery", this.topic.id, this.id);
  }

  async #held(count: number, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      this.#checkOpen();
      try {
        if (isHeld(await abortable(this.#delivery(), signal), count)) return;
      } catch (error) {
        // Without a connection there is nobody to ask; wait for the next one.
        if (!AWAY.has((error as PandaError).code)) throw error;
      }
      await abortable(new Promise((resolve) => setTimeout(resolve, SENT_EVERY)), signal);
    }
  }

  #checkOpen(): void {
    if (this.topic.panda.status.state === "closed") throw new PandaError("closed", "it was closed");
  }

  async #refresh(): Promise<void> {
    const kept = await this.topic.panda.backend.call<Kept | undefined>("receipt", this.request);
    if (kept !== undefined) this.#kept = kept;
  }
}

/** The number of other nodes that are to hold a message, if it is waited for them. */
function holders(what: unknown): number | undefined {
  if (what === "signed" || what === "node") return undefined;
  const { held, sent } = (what ?? {}) as { held?: unknown; sent?: unknown };
  const count = held ?? sent;
  const isOne = (held === undefined) !== (sent === undefined);
  if (isOne && Number.isSafeInteger(count) && (count as number) >= 0) return count as number;
  throw new PandaError("invalid", "a receipt waits for something else", {
    hint: 'wait("signed"), wait("node") or wait({ held: 2 })',
  });
}

const AWAY = new Set(["offline", "closed"]);

/** Whether as many nodes have a message. Fails if too few are left that could get and keep it. */
function isHeld({ sentTo, notKept, peers }: Delivery, count: number): boolean {
  const refusing = new Set(notKept.map(({ node }) => node));
  const kept = sentTo.filter((node) => !refusing.has(node));
  if (kept.length >= count) return true;
  const possible = new Set([...kept, ...peers.filter((node) => !refusing.has(node))]);
  const [first] = notKept;
  if (first === undefined || possible.size >= count) return false;
  const others = notKept.length === 1 ? "" : `, and by ${notKept.length - 1} more`;
  throw new PandaError("not-kept", `not kept by ${first.node}: ${QUOTAS[first.quota]}${others}`, {
    hint: "it is sent again once there is room",
    notKept,
  });
}

const QUOTAS: Record<NotKept["quota"], string> = {
  author: "quota of the author",
  topic: "quota of the topic",
  all: "quota of everything",
  other: "another quota",
};
