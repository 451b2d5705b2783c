import type { Message } from "../../../packages/p2panda/dist/index.js";
import { button, paragraph } from "./dom.js";
import { isPicture } from "./picture.js";
import { cleanName, isBlank } from "./text.js";
import { words } from "./words.js";

/** What is published in a room. */
export type Said =
  | { t: "text"; text: string; name: string }
  | { t: "picture"; type: string; bytes: Uint8Array; name: string }
  | { t: "edit"; id: string; text: string }
  | { t: "delete"; id: string };

/** A message and its edits. */
export interface Entry {
  message: Message;
  said: Extract<Said, { t: "text" | "picture" }>;
  state: Message["state"];
  edited: string | undefined;
  removed: boolean;
  element: HTMLElement | undefined;
  url: string | undefined;
  /** The picture; a paragraph if it cannot be shown. */
  picture: HTMLElement | undefined;
  /** The form in which it is changed now. */
  editor: HTMLFormElement | undefined;
}

export interface Actions {
  edit(entry: Entry): void;
  remove(entry: Entry): void;
  life(entry: Entry): void;
  /** Names of others who have had it before their eyes. */
  seenBy(entry: Entry): string[];
}

/** A published value, if it has a shape that the chat shows. */
export function saidOf(value: unknown): Said | undefined {
  if (typeof value === "string") return { t: "text", text: value, name: "" };
  if (typeof value !== "object" || value === null) return undefined;
  const { t, text, name, id, type, bytes } = value as Record<string, unknown>;
  const by = typeof name === "string" ? cleanName(name) : "";
  if (t === "text" && typeof text === "string") return { t, text, name: by };
  if (t === "edit" && typeof id === "string" && typeof text === "string") return { t, id, text };
  if (t === "delete" && typeof id === "string") return { t, id };
  const isShown = t === "picture" && bytes instanceof Uint8Array && isPicture(String(type));
  return isShown ? { t, type: String(type), bytes, name: by } : undefined;
}

/** Name of a message in the page: that of its operation, or while it is not signed, that of its request. */
export function nameIn({ id, request }: Message): string {
  return id === "" || id === undefined ? (request ?? "") : id;
}

export function draw(entry: Entry, actions: Actions): HTMLElement {
  const { message } = entry;
  const item = entry.element ?? document.createElement("article");
  entry.element = item;
  item.className = message.mine ? "message mine" : "message";
  item.dataset["id"] = nameIn(message);
  // Who writes in it goes on writing.
  if (entry.editor?.parentElement !== item) {
    const focused = focusIn(item);
    const shown = entry.editor ?? content(entry);
    item.replaceChildren(face(message.author), by(entry), shown, foot(entry, actions));
    if (message.missing.length > 0) item.append(paragraph(words.missing, "gone"));
    focusOn(item, focused);
    return item;
  }
  return drawFoot(entry, actions);
}

/** Draws only what is below a message: its state, and who has seen it. */
export function drawFoot(entry: Entry, actions: Actions): HTMLElement {
  const item = entry.element!;
  const focused = focusIn(item);
  item.querySelector(":scope > .foot")?.replaceWith(foot(entry, actions));
  focusOn(item, focused);
  return item;
}

/** Who is on one of its buttons by keyboard stays there. */
function focusIn(item: HTMLElement): number {
  return [...item.querySelectorAll(".foot button")].findIndex((one) => one.matches(":focus"));
}

function focusOn(item: HTMLElement, place: number): void {
  item.querySelectorAll<HTMLButtonElement>(".foot button")[place]?.focus();
}

/** A panda in the colour of a key, which does not depend on the name. */
export function face(key: string): HTMLElement {
  const ground = document.createElement("span");
  ground.className = "face";
  ground.style.setProperty("--hue", String(Number.parseInt(key.slice(0, 4), 16) % 360));
  const image = document.createElement("img");
  image.src = "face.svg";
  image.alt = "";
  ground.append(image);
  return ground;
}

/** The day of a message, as a line of its own. */
export function dayOf({ message }: Entry): string {
  const when = new Date(message.timestamp / 1000);
  if (!Number.isFinite(when.getTime())) return "?";
  return when.toLocaleDateString(document.documentElement.lang, { dateStyle: "full" });
}

/** Anyone may choose any name: the key tells people apart. */
export function nameOf(name: string, author: string): string {
  return `${name || "🐼"} (${author.slice(0, 6)})`;
}

function by({ message, said }: Entry): HTMLElement {
  const line = document.createElement("div");
  line.className = "by";
  const name = document.createElement("b");
  name.dir = "auto";
  name.textContent = nameOf(said.name, message.author);
  name.title = message.author;
  const time = document.createElement("time");
  const when = new Date(message.timestamp / 1000);
  const isTime = Number.isFinite(when.getTime());
  time.textContent = isTime ? when.toLocaleTimeString(document.documentElement.lang, SHORT) : "?";
  if (isTime) time.dateTime = when.toISOString();
  line.append(name, " ", time);
  return line;
}
const SHORT = { timeStyle: "short" } as const;

function content(entry: Entry): HTMLElement {
  if (entry.removed) return paragraph(words.removed, "gone");
  const { said, message } = entry;
  if (said.t === "text") {
    const text = entry.edited ?? said.text;
    return isBlank(text) ? paragraph(words.blank, "gone") : paragraph(text);
  }
  entry.picture ??= pictureOf(entry, said);
  if (entry.picture instanceof HTMLImageElement)
    entry.picture.alt = `${words.pictureFrom} ${nameOf(said.name, message.author)}`;
  else entry.picture.textContent = words.noPicture;
  return entry.picture;
}

function pictureOf(entry: Entry, { bytes, type }: Extract<Said, { t: "picture" }>): HTMLElement {
  entry.url ??= URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type }));
  const image = document.createElement("img");
  image.addEventListener("error", () => {
    entry.picture = paragraph(words.noPicture, "gone");
    image.replaceWith(entry.picture);
  });
  image.src = entry.url;
  return image;
}

function foot(entry: Entry, { edit, remove, life, seenBy }: Actions): HTMLElement {
  const line = document.createElement("div");
  line.className = "foot";
  const { message } = entry;
  if (entry.edited !== undefined && !entry.removed) line.append(span(words.edited));
  if (message.mine) {
    const state = span(words[entry.state]);
    state.dataset["state"] = entry.state;
    line.append(state);
    const names = seenBy(entry);
    if (names.length > 0) {
      const seen = span(`${words.seenBy} ${names.join(", ")}`);
      seen.className = "seen";
      seen.dir = "auto";
      line.append(seen);
    }
  }
  line.append(button(words.life, () => life(entry)));
  // Before it is signed, nothing can refer to it.
  if (message.mine && message.id && !entry.removed && entry.editor === undefined) {
    const changes = [button(words.remove, () => remove(entry))];
    if (entry.said.t === "text") changes.unshift(button(words.edit, () => edit(entry)));
    for (const change of changes) change.className = "change";
    line.append(...changes);
  }
  return line;
}

function span(text: string): HTMLSpanElement {
  const made = document.createElement("span");
  made.textContent = text;
  return made;
}
