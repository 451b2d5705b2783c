import { PandaError, type Message, type Panda, type Topic } from "../../../packages/p2panda/dist/index.js";
import { get } from "./dom.js";
import { editor } from "./editor.js";
import { accepted, settle, tell } from "./fault.js";
import { Follow } from "./follow.js";
import { showLife } from "./life.js";
import { Membership } from "./membership.js";
import { readPicture } from "./picture.js";
import {
  dayOf,
  draw,
  drawFoot,
  face,
  nameIn,
  nameOf,
  saidOf,
  type Entry,
  type Said,
} from "./view.js";
import { words } from "./words.js";

/** Messages shown at once; earlier ones on demand. */
const SHOWN = 200;
const HERE_EVERY = 4_000;
const HERE_WITHIN = 12_000;

/** A room in the page. */
export class Room {
  readonly #entries = new Map<string, Entry>();
  /** Edits and deletions by the message that they change. */
  readonly #changes = new Map<string, { author: string; said: Said }[]>();
  /** With the last message that they have had before their eyes, as they say. */
  readonly #here = new Map<string, { name: string; at: number; seen: string | undefined }>();
  readonly #abort = new AbortController();
  readonly #beats: ReturnType<typeof setInterval>;
  readonly #days = new Map<string, HTMLElement>();
  readonly #follow = new Follow(get("messages"));
  readonly #membership: Membership;
  readonly #stops: (() => void)[];
  #order: string[] = [];
  /** Own messages that are not signed yet, by their requests: they come last. */
  #waiting: string[] = [];
  #limit = SHOWN;
  #isDrawing = false;
  #seen: string | undefined;

  constructor(
    readonly panda: Panda,
    readonly topic: Topic,
    readonly name: string,
    again?: () => Promise<unknown>,
  ) {
    get("nothing").hidden = false;
    const nameOf = (key: string): string =>
      key === panda.id ? name : (this.#here.get(key)?.name ?? "");
    this.#membership = new Membership(panda, topic, { nameOf, tell: this.#tell, again });
    void this.#read();
    this.#stops = [
      topic.onState(({ id, request, state }) => {
        if (state === "stored") accepted(topic.id);
        const entry = this.#entries.get(id) ?? this.#entries.get(request);
        if (entry === undefined) return;
        entry.state = state;
        if (entry.element !== undefined) drawFoot(entry, this);
      }),
      topic.onAnnounce(({ author, value }) => this.#heard(author, value)),
    ];
    this.#beats = setInterval(() => this.#beat(), HERE_EVERY);
    this.#beat();
  }

  get isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Takes everything of this room out of the page. */
  close(): void {
    clearInterval(this.#beats);
    this.#membership.close();
    this.#follow.close();
    for (const stop of this.#stops) stop();
    this.#abort.abort();
    for (const { url } of this.#entries.values()) if (url !== undefined) URL.revokeObjectURL(url);
    const list = get("messages");
    list.replaceChildren();
    delete list.dataset["count"];
    get("here").replaceChildren();
    get("earlier").hidden = true;
    get<HTMLDialogElement>("life").close();
  }

  async say(text: string): Promise<void> {
    await this.#publish({ t: "text", text, name: this.name });
    this.#follow.toEnd();
  }

  async show(file: File): Promise<void> {
    const picture = await readPicture(file);
    await this.#publish({ t: "picture", ...picture, name: this.name });
    this.#follow.toEnd();
  }

  earlier(): void {
    this.#limit += SHOWN;
    this.#draw();
  }

  /** Changes the language of everything. */
  redraw(): void {
    this.#days.clear();
    for (const entry of this.#entries.values()) if (entry.element !== undefined) draw(entry, this);
    this.#drawHere();
    this.#membership.draw();
    this.#draw();
  }

  readonly edit = (entry: Entry): void => {
    const before = entry.edited ?? (entry.said.t === "text" ? entry.said.text : "");
    const close = (): void => {
      entry.editor = undefined;
      // What was changed meanwhile is shown now.
      draw(entry, this).querySelector<HTMLElement>(".foot button:nth-of-type(2)")?.focus();
    };
    const save = async (text: string): Promise<string | undefined> => {
      try {
        await this.#publish({ t: "edit", id: entry.message.id, text });
        return undefined;
      } catch (error) {
        return error instanceof PandaError ? error.code : "internal";
      }
    };
    entry.editor = editor(before, save, close);
    draw(entry, this);
    entry.editor.querySelector("textarea")!.focus();
  };

  readonly remove = (entry: Entry): void => {
    if (!confirm(words.removeSure)) return;
    void this.#publish({ t: "delete", id: entry.message.id }).catch(this.#tell);
  };

  readonly life = (entry: Entry): void => {
    showLife(this.panda, entry, this.#membership.isSealed);
  };

  readonly seenBy = (entry: Entry): string[] => {
    const place = this.#order.indexOf(entry.message.id);
    if (place < 0) return [];
    const others = [...this.#here].filter(([author, { seen }]) => {
      return author !== this.panda.id && seen !== undefined && this.#order.indexOf(seen) >= place;
    });
    return others.map(([author, { name }]) => nameOf(name, author));
  };

  /** Tells an error unless the page shows another room by now. */
  readonly #tell = (error: unknown): void => {
    if (!this.isOver) tell(error);
  };

  async #publish(said: Said): Promise<void> {
    await this.topic.publish(said);
    if (!this.isOver) settle(this.topic.id);
  }

  async #read(): Promise<void> {
    try {
      // Also what waits for the admission to an encrypted room.
      const all = { signal: this.#abort.signal, queued: true };
      for await (const message of this.topic.stream(all)) this.#take(message);
    } catch (error) {
      this.#tell(error);
    }
  }

  #heard(author: string, value: unknown): void {
    accepted(this.topic.id);
    const said = saidOf({ ...(value as object), t: "text", text: "" });
    const before = this.#here.get(author);
    const name = said?.t === "text" ? said.name : "";
    const seen = (value as { seen?: unknown } | null)?.seen;
    const last = typeof seen === "string" ? seen : before?.seen;
    this.#here.set(author, { name, at: Date.now(), seen: last });
    if (last !== before?.seen) this.#drawSeen();
    this.#drawHere();
    if (before === undefined) this.#membership.drawMembers();
  }

  #take(message: Message): void {
    const name = nameIn(message);
    if (message.withdrawn) return this.#forget(name);
    // It was shown while it waited.
    if (message.id && message.request !== undefined) this.#forget(message.request);
    const said = saidOf(message.value);
    if (said === undefined) return;
    if (said.t === "edit" || said.t === "delete") {
      const changes = this.#changes.get(said.id) ?? [];
      this.#changes.set(said.id, [...changes, { author: message.author, said }]);
      const entry = this.#entries.get(said.id);
      if (entry !== undefined) this.#change(entry);
      return;
    }
    const { state } = message;
    const fresh = {
      ...{ edited: undefined, removed: false, element: undefined },
      ...{ url: undefined, picture: undefined, editor: undefined },
    };
    const entry: Entry = { message, said, state, ...fresh };
    if (!this.#entries.has(name)) (message.id ? this.#order : this.#waiting).push(name);
    this.#entries.set(name, entry);
    this.#change(entry);
    this.#draw();
  }

  /** Withdrawn, since an owner who had not seen it removed its author; or signed, under its own id from now on. */
  #forget(name: string): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    entry.element?.remove();
    if (entry.element !== undefined) this.#follow.unwatch(entry.element);
    if (entry.url !== undefined) URL.revokeObjectURL(entry.url);
    this.#entries.delete(name);
    this.#order = this.#order.filter((other) => other !== name);
    this.#waiting = this.#waiting.filter((other) => other !== name);
    this.#draw();
  }

  /** Only the author of a message can change it. */
  #change(entry: Entry): void {
    const changes = this.#changes.get(entry.message.id) ?? [];
    for (const { said } of changes.filter(({ author }) => author === entry.message.author)) {
      if (said.t === "edit") entry.edited = said.text;
      if (said.t === "delete") entry.removed = true;
    }
    if (entry.element !== undefined) draw(entry, this);
  }

  /** Draws all messages of a frame at once, in the order that everybody sees. */
  #draw(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      void this.#drawNow()
        .catch(this.#tell)
        .finally(() => (this.#isDrawing = false));
    });
  }

  async #drawNow(): Promise<void> {
    const list = get("messages");
    // Older messages are in place already.
    const recent = this.#order.slice(-2 * this.#limit);
    const messages = recent.map((id) => this.#entries.get(id)!.message);
    const order = messages.length === 0 ? [] : await this.panda.order(messages);
    if (this.isOver) return;
    const ids = order.map((place) => recent[place]!).filter((id) => this.#entries.has(id));
    const ordered = new Set(recent);
    // Messages that arrived meanwhile come after them.
    const [older, newer] = split(this.#order, ordered);
    this.#order = [...older, ...ids, ...newer];
    const shown = [...this.#order, ...this.#waiting].slice(-this.#limit);
    const wanted = this.#withDays(shown);
    const isWanted = new Set<Element>(wanted);
    for (const child of [...list.children]) if (!isWanted.has(child)) this.#drop(child);
    let before: Element | null = null;
    for (const element of wanted) {
      const place: Element | null =
        before === null ? list.firstElementChild : before.nextElementSibling;
      if (place !== element) list.insertBefore(element, place);
      this.#follow.watch(element);
      before = element;
    }
    const count = this.#order.length + this.#waiting.length;
    get("nothing").hidden = count > 0;
    get("earlier").hidden = count <= this.#limit;
    this.#follow.settle();
    list.dataset["count"] = String(count);
  }

  #drop(element: Element): void {
    this.#follow.unwatch(element);
    element.remove();
  }

  /** Messages with a line before the first one of each day; those of one author in a row have one name. */
  #withDays(ids: string[]): HTMLElement[] {
    const elements: HTMLElement[] = [];
    let [day, author] = ["", ""];
    for (const id of ids) {
      const entry = this.#entries.get(id)!;
      const element = entry.element ?? draw(entry, this);
      const its = dayOf(entry);
      if (its !== day) elements.push(this.#day(its));
      element.classList.toggle("follows", its === day && entry.message.author === author);
      [day, author] = [its, entry.message.author];
      elements.push(element);
    }
    return elements;
  }

  #day(day: string): HTMLElement {
    const known = this.#days.get(day);
    if (known !== undefined) return known;
    const line = document.createElement("div");
    line.className = "day";
    line.textContent = day;
    this.#days.set(day, line);
    return line;
  }

  #drawSeen(): void {
    for (const id of this.#order.slice(-this.#limit)) {
      const entry = this.#entries.get(id);
      if (entry?.message.mine === true && entry.element !== undefined) drawFoot(entry, this);
    }
  }

  /** Says that we are here, and which message we have had before our eyes. */
  #beat(): void {
    const isLooking = document.visibilityState === "visible" && this.#follow.isAtEnd;
    if (isLooking) this.#seen = this.#order.at(-1);
    const seen = this.#seen === undefined ? {} : { seen: this.#seen };
    this.topic.announce({ name: this.name, ...seen }).catch(() => undefined);
    for (const [author, { at }] of this.#here)
      if (Date.now() - at > HERE_WITHIN) this.#here.delete(author);
    this.#drawHere();
  }

  #drawHere(): void {
    const others = [...this.#here].filter(([author]) => author !== this.panda.id);
    const me = this.panda.id;
    const lines: [string, string][] = [[me, `${nameOf(this.name, me)} – ${words.you}`]];
    for (const [author, { name }] of others) lines.push([author, nameOf(name, author)]);
    const items = lines.map(([key, line]) => {
      const item = document.createElement("li");
      item.dir = "auto";
      item.append(face(key), line);
      return item;
    });
    get("here").replaceChildren(...items);
  }
}

/** The names before and after some that stand together. */
function split(names: string[], middle: Set<string>): [before: string[], after: string[]] {
  const from = names.findIndex((name) => middle.has(name));
  if (from < 0) return [[], names];
  const rest = names.slice(from).filter((name) => !middle.has(name));
  return [names.slice(0, from), rest];
}
