import type { Event, PublishOptions, Receipt as Kept, Shown } from "./engine.js";
import { abortable, PandaError } from "./errors.js";
import type { Panda } from "./panda.js";
import type { State, StateChange } from "./rows.js";

/** Messages read at once. */
const PAGE = 512;
/** Milliseconds between two queries for the receivers of an operation. */
const SENT_EVERY = 1_000;

export interface StreamOptions {
  /** Name under which this browser keeps the position. */
  consumer?: string;
  /** `resume` continues after what was acknowledged; the default with a consumer. */
  start?: "resume" | "beginning" | "now";
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

  constructor(
    readonly panda: Panda,
    readonly id: string,
  ) {}

  /** Stores a message in this browser; it is sent once the node is connected. */
  async publish(
    value: unknown,
    options: PublishOptions & { signal?: AbortSignal } = {},
  ): Promise<Receipt> {
    await this.#open();
    const { signal, ...rest } = options;
    const kept = this.panda.backend.call<Kept>("publish", this.id, value, rest);
    return new Receipt(this, await abortable(kept, signal));
  }

  /** Messages as they arrive, stored ones first. */
  async *stream(options: StreamOptions = {}): AsyncGenerator<Message, void, void> {
    await this.#open();
    const { signal, consumer } = options;
    const { backend } = this.panda;
    let place = await this.#begin(options);
    for (;;) {
      const grown = this.#grown();
      const page = await abortable(
        backend.call<{ messages: Shown[]; place: number }>("read", this.id, place, PAGE),
        signal,
      );
      for (const shown of page.messages) {
        if (signal?.aborted === true) await abortable(Promise.resolve(), signal);
        yield new Message(this, shown, consumer);
      }
      if (page.place > place) {
        place = page.place;
        continue;
      }
      if (this.panda.status.state === "closed") return;
      await abortable(grown, signal);
    }
  }

  /** Sends an ephemeral message to those who are online. It is signed and never stored. */
  async announce(value: unknown): Promise<void> {
    await this.#open();
    await this.panda.backend.call("announce", this.id, value);
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
  async receipt(request: string): Promise<Receipt | undefined> {
    const kept = await this.panda.backend.call<Kept | undefined>("receipt", request);
    return kept === undefined ? undefined : new Receipt(this, kept);
  }

  /** A ticket of the topic, for those who may read it. */
  ticket(): Promise<string> {
    return this.panda.backend.call("invite", this.id);
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
    this.#opened ??= this.panda.backend.call<void>("open", this.id);
    return this.#opened;
  }

  async #begin({ consumer, start }: StreamOptions): Promise<number> {
    const { backend } = this.panda;
    switch (start ?? (consumer === undefined ? "beginning" : "resume")) {
      case "beginning":
        return 0;
      case "now":
        return backend.call("last", this.id);
      default:
        if (consumer === undefined) {
          throw new PandaError("invalid", "`resume` needs a consumer", {
            hint: 'stream({ consumer: "ui" })',
          });
        }
        return backend.call("cursor", this.id, consumer);
    }
  }

  /** Call it before reading, so that nothing that arrives meanwhile is missed. */
  #grown(): Promise<void> {
    return new Promise((resolve) => this.#waiting.add(resolve));
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
  async ack(): Promise<void> {
    if (this.#consumer === undefined) {
      throw new PandaError("invalid", "it was read without a consumer", {
        hint: 'stream({ consumer: "ui" })',
      });
    }
    await this.#topic.panda.backend.call("ack", this.topic, this.#consumer, this.place);
  }
}

/** What to wait for: the message is signed, on the node's disk, or sent to a number of other nodes. */
export type WaitFor = "signed" | "node" | { sent: number };

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

  /** Waits without a limit. */
  async wait(what: WaitFor, { signal }: { signal?: AbortSignal } = {}): Promise<Receipt> {
    const states: State[] = what === "signed" ? ["signed", "stored"] : ["stored"];
    let changed: () => void = () => undefined;
    let change = new Promise<void>(() => undefined);
    const arm = (): void => void (change = new Promise((resolve) => (changed = resolve)));
    const stop = this.topic.onState(({ request }) => request === this.request && changed());
    try {
      for (;;) {
        arm();
        await this.#refresh();
        if (states.includes(this.state)) break;
        await abortable(change, signal);
      }
    } finally {
      stop();
    }
    if (typeof what === "object") await this.#sent(what.sent, signal);
    return this;
  }

  /** The nodes that have received it, according to this page's node. */
  async sentTo(): Promise<string[]> {
    await this.#refresh();
    if (this.id === undefined || this.state !== "stored") return [];
    const trace = await this.topic.panda.backend.call<{ sent_to: string[] }>("trace", this.id);
    return trace.sent_to;
  }

  async #sent(count: number, signal: AbortSignal | undefined): Promise<void> {
    // Without a connection there is nobody to ask; wait for the next one.
    const ask = async (): Promise<string[]> => {
      return this.sentTo().catch((error: PandaError) => {
        if (error.code !== "offline" && error.code !== "closed") throw error;
        return [];
      });
    };
    while ((await ask()).length < count) {
      await abortable(new Promise((resolve) => setTimeout(resolve, SENT_EVERY)), signal);
    }
  }

  async #refresh(): Promise<void> {
    const kept = await this.topic.panda.backend.call<Kept | undefined>("receipt", this.request);
    if (kept !== undefined) this.#kept = kept;
  }
}
