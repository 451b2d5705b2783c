import {
  PandaError,
  Space,
  type Delivery,
  type Message,
  type Panda,
  type Topic,
} from "../../../packages/p2panda/dist/index.js";
import { dayOf, draw, face, nameOf, saidOf, type Entry, type Said } from "./view.js";
import { words, type Word } from "./words.js";

/** Messages shown at once; earlier ones on demand. */
const SHOWN = 200;
const HERE_EVERY = 4_000;
const HERE_WITHIN = 12_000;
const PICTURE_BYTES = 300_000;

const get = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;

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
  /** None in an open room. */
  readonly #space: Space | undefined;
  readonly #stop: () => void;
  #order: string[] = [];
  #limit = SHOWN;
  #isDrawing = false;
  #membersDrawn = 0;

  constructor(
    readonly panda: Panda,
    readonly topic: Topic,
    readonly name: string,
  ) {
    this.#space = topic instanceof Space ? topic : undefined;
    const space = this.#space;
    const stops = [
      space?.onChange(() => void this.#drawMembers()),
      panda.onStatus(() => this.#drawTrust()),
    ];
    this.#stop = () => stops.forEach((stop) => stop?.());
    this.#drawTrust();
    void this.#drawMembers();
    void this.#read();
    topic.onState(({ id, state }) => {
      const entry = this.#entries.get(id);
      if (entry === undefined) return;
      entry.state = state;
      if (entry.element !== undefined) draw(entry, this);
    });
    topic.onAnnounce(({ author, value }) => {
      const said = saidOf({ ...(value as object), t: "text", text: "" });
      const before = this.#here.get(author);
      const isNew = before === undefined;
      const name = said?.t === "text" ? said.name : "";
      const seen = (value as { seen?: unknown } | null)?.seen;
      const last = typeof seen === "string" ? seen : before?.seen;
      this.#here.set(author, { name, at: Date.now(), seen: last });
      if (last !== before?.seen) this.#drawSeen();
      this.#drawHere();
      if (isNew) void this.#drawMembers();
    });
    this.#beats = setInterval(() => this.#beat(), HERE_EVERY);
    this.#beat();
    this.#drawHere();
  }

  close(): void {
    clearInterval(this.#beats);
    this.#stop();
    this.#abort.abort();
    for (const { url } of this.#entries.values()) if (url !== undefined) URL.revokeObjectURL(url);
    get("messages").replaceChildren();
  }

  async say(text: string): Promise<void> {
    await this.#publish({ t: "text", text, name: this.name });
  }

  async show(file: File): Promise<void> {
    if (file.size > PICTURE_BYTES) throw new PandaError("too-large", words.pictureTooLarge);
    const bytes = new Uint8Array(await file.arrayBuffer());
    await this.#publish({ t: "picture", type: file.type, bytes, name: this.name });
  }

  earlier(): void {
    this.#limit += SHOWN;
    this.#draw(true);
  }

  /** Changes the text of a message. */
  redraw(): void {
    this.#days.clear();
    for (const entry of this.#entries.values()) if (entry.element !== undefined) draw(entry, this);
    this.#drawHere();
    this.#drawTrust();
    void this.#drawMembers();
    this.#draw(true);
  }

  /** Says what the room protects, and whether the node that must not read also served the page. */
  #drawTrust(): void {
    const isSealed = this.#space !== undefined;
    say(get("trust"), isSealed ? "trustSealed" : "trustPlain");
    say(get("invitation"), isSealed ? "inviteSealed" : "inviteText");
    const server = document.querySelector<HTMLMetaElement>('meta[name="served-by"]')?.content;
    const isSame = server !== "" && server === this.panda.status.node;
    get("served").hidden = !(isSealed && isSame);
  }

  async #drawMembers(): Promise<void> {
    get("membership").hidden = this.#space === undefined;
    get("joining").hidden = true;
    const drawing = ++this.#membersDrawn;
    const info = await this.#space?.info().catch(tell);
    // An answer that a later call has overtaken is out of date.
    if (!info || this.#abort.signal.aborted || drawing !== this.#membersDrawn) return;
    const joining = get("joining");
    say(joining, info.joining ? "joining" : "ejected");
    joining.hidden = info.role !== undefined;
    const items = info.members.map(({ key, role }) => {
      const item = document.createElement("li");
      const isMe = key === this.panda.id;
      const name = isMe ? this.name : (this.#here.get(key)?.name ?? "");
      item.dir = "auto";
      const line = `${nameOf(name, key)}${isMe ? ` – ${words.you}` : ""}, ${words[role]} `;
      item.append(face(key), line);
      if (info.role === "owner" && key !== this.panda.id) item.append(this.#takeOut(key));
      return item;
    });
    get("members").replaceChildren(...items);
  }

  #takeOut(key: string): HTMLElement {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words.takeOut;
    button.setAttribute("aria-label", `${words.takeOut} ${key.slice(0, 6)}`);
    button.addEventListener("click", () => {
      if (confirm(words.takeOutSure)) void this.#space?.remove(key).catch(tell);
    });
    return button;
  }

  readonly edit = (entry: Entry): void => {
    const before = entry.edited ?? (entry.said.t === "text" ? entry.said.text : "");
    const text = prompt(words.editPrompt, before);
    if (text === null || text === "" || text === before) return;
    void this.#publish({ t: "edit", id: entry.message.id, text }).catch(tell);
  };

  readonly remove = (entry: Entry): void => {
    void this.#publish({ t: "delete", id: entry.message.id }).catch(tell);
  };

  readonly seenBy = (entry: Entry): string[] => {
    const place = this.#order.indexOf(entry.message.id);
    const others = [...this.#here].filter(([author, { seen }]) => {
      return author !== this.panda.id && seen !== undefined && this.#order.indexOf(seen) >= place;
    });
    return others.map(([author, { name }]) => nameOf(name, author));
  };

  #drawSeen(): void {
    for (const id of this.#order.slice(-this.#limit)) {
      const entry = this.#entries.get(id);
      if (entry?.message.mine === true && entry.element !== undefined) draw(entry, this);
    }
  }

  readonly life = (entry: Entry): void => {
    const steps = get<HTMLOListElement>("steps");
    steps.replaceChildren();
    get<HTMLDialogElement>("life").showModal();
    void this.#steps(entry).then((lines) => {
      for (const [line, detail] of lines) {
        const step = document.createElement("li");
        step.textContent = line;
        if (detail !== undefined) {
          const code = document.createElement("code");
          code.textContent = ` ${detail}`;
          step.append(code);
        }
        steps.append(step);
      }
    });
  };

  async #publish(said: Said): Promise<void> {
    await this.topic.publish(said);
    get("room-error").textContent = "";
  }

  async #read(): Promise<void> {
    try {
      for await (const message of this.topic.stream({ signal: this.#abort.signal }))
        this.#take(message);
    } catch (error) {
      if (!this.#abort.signal.aborted) tell(error);
    }
  }

  #take(message: Message): void {
    if (message.withdrawn) return this.#withdraw(message.id);
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
    const fresh = { edited: undefined, removed: false, element: undefined, url: undefined };
    const entry: Entry = { message, said, state, ...fresh };
    this.#entries.set(message.id, entry);
    this.#change(entry);
    this.#order.push(message.id);
    this.#draw();
  }

  /** Withdrawn: an owner who had not seen it removed its author. */
  #withdraw(id: string): void {
    this.#entries.get(id)?.element?.remove();
    this.#entries.delete(id);
    this.#order = this.#order.filter((other) => other !== id);
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
  #draw(keepsPlace = false): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(
      () => void this.#drawNow(keepsPlace).finally(() => (this.#isDrawing = false)),
    );
  }

  async #drawNow(keepsPlace: boolean): Promise<void> {
    const list = get("messages");
    // Older messages are in place already.
    const recent = this.#order.slice(-2 * this.#limit);
    const from = this.#order.length - recent.length;
    const messages = recent.map((id) => this.#entries.get(id)!.message);
    const order = await this.panda.order(messages);
    const ids = order.map((place) => recent[place]!);
    // Messages that arrived meanwhile come after them.
    this.#order.splice(from, recent.length, ...ids);
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    const shown = this.#order.slice(-this.#limit);
    const wanted = this.#withDays(shown);
    const isWanted = new Set<Element>(wanted);
    for (const child of [...list.children]) if (!isWanted.has(child)) child.remove();
    let before: Element | null = null;
    for (const element of wanted) {
      const place: Element | null =
        before === null ? list.firstElementChild : before.nextElementSibling;
      if (place !== element) list.insertBefore(element, place);
      before = element;
    }
    get("nothing").hidden = this.#order.length > 0;
    get("earlier").hidden = this.#order.length <= this.#limit;
    if (isAtEnd && !keepsPlace) list.scrollTop = list.scrollHeight;
    list.dataset["count"] = String(this.#order.length);
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

  #beat(): void {
    const isLooking = document.visibilityState === "visible";
    const seen = isLooking ? this.#order.at(-1) : undefined;
    const said = seen === undefined ? { name: this.name } : { name: this.name, seen };
    this.topic.announce(said).catch(() => undefined);
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

  async #steps({ message, state }: Entry): Promise<[string, (string | undefined)?][]> {
    const place = `${message.author.slice(0, 16)}… #${message.seq}`;
    const isSealed = this.#space !== undefined;
    const steps: [string, (string | undefined)?][] = message.mine
      ? [
          [words.lifeWritten],
          [isSealed ? words.lifeSealed : words.lifePlain],
          [words.lifeSigned, place],
        ]
      : [
          [words.lifeReceived, this.panda.status.node?.slice(0, 16)],
          [words.lifeVerified, place],
          [isSealed ? words.lifeOpened : words.lifePlain],
        ];
    steps.push([words.lifeAfter, message.after.map((id) => id.slice(0, 16)).join(", ") || "–"]);
    if (message.mine && state !== "stored") return [...steps, [words.lifeNotSent, words[state]]];
    if (message.mine) steps.push([words.lifeSent, message.id]);
    try {
      const { topic, id } = message;
      const { sentTo, notKept } = await this.panda.backend.call<Delivery>("delivery", topic, id);
      steps.push([words.lifeHeld, String(sentTo.length)]);
      if (notKept.length > 0) steps.push([words.lifeNotKept, String(notKept.length)]);
    } catch {
      steps.push([words.lifeOffline]);
    }
    return steps;
  }
}

/** Replaces the text of an element, in every language from now on. */
function say(element: HTMLElement, word: Word): void {
  element.dataset["word"] = word;
  element.textContent = words[word];
}

/** Shows an error as a sentence. */
export function tell(error: unknown): void {
  const code = error instanceof PandaError ? error.code : "";
  const message = error instanceof Error ? error.message : String(error);
  const text =
    code === "too-large"
      ? message === words.pictureTooLarge
        ? message
        : words.tooLarge
      : words.faults[code];
  get("room-error").textContent = text ?? message;
}
