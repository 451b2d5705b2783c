import { Space, type Panda, type SpaceInfo, type Topic } from "../../../packages/p2panda/dist/index.js";
import { button, get } from "./dom.js";
import { face, nameOf } from "./view.js";
import { say, words, type Word } from "./words.js";

/** What the side of a room asks of it. */
export interface Asked {
  /** Name of somebody who is here. */
  nameOf(key: string): string;
  tell(error: unknown): void;
  /** Asks to join a space again. */
  again: (() => Promise<unknown>) | undefined;
}

/** What a room protects, who its members are, and whether this page may write in it. */
export class Membership {
  /** None in an open room. */
  readonly #space: Space | undefined;
  readonly #stops: (() => void)[];
  #drawn = 0;
  #isOver = false;

  constructor(
    readonly panda: Panda,
    topic: Topic,
    readonly asked: Asked,
  ) {
    this.#space = topic instanceof Space ? topic : undefined;
    const changes = this.#space?.onChange(() => this.drawMembers());
    this.#stops = [panda.onStatus(() => this.#drawTrust()), changes ?? (() => undefined)];
    const again = get("again");
    const ask = (): void => {
      void this.asked.again?.().then(() => this.drawMembers(), this.asked.tell);
    };
    again.addEventListener("click", ask);
    this.#stops.push(() => again.removeEventListener("click", ask));
    this.draw();
  }

  get isSealed(): boolean {
    return this.#space !== undefined;
  }

  draw(): void {
    this.#drawTrust();
    this.drawMembers();
  }

  close(): void {
    this.#isOver = true;
    for (const stop of this.#stops) stop();
    get("members").replaceChildren();
    get("membership").hidden = get("joining").hidden = get("again").hidden = true;
    this.#allow(true);
  }

  drawMembers(): void {
    get("membership").hidden = this.#space === undefined;
    const drawing = (this.#drawn += 1);
    void this.#space?.info().then((info) => {
      // An answer that a later call has overtaken is out of date.
      if (!this.#isOver && drawing === this.#drawn) this.#show(info);
    }, this.asked.tell);
  }

  #show(info: SpaceInfo): void {
    const why = reason(info);
    if (why !== undefined) say(get("joining"), why);
    get("joining").hidden = why === undefined;
    const isOut = why === "ejected";
    get("again").hidden = !isOut || this.asked.again === undefined;
    this.#allow(why === undefined || why === "joining");
    const items = info.members.map(({ key, role }) => {
      const item = document.createElement("li");
      const isMe = key === this.panda.id;
      item.dir = "auto";
      const name = nameOf(this.asked.nameOf(key), key);
      item.append(face(key), `${name}${isMe ? ` – ${words.you}` : ""}, ${words[role]} `);
      if (info.role === "owner" && !isMe) item.append(this.#takeOut(key));
      return item;
    });
    get("members").replaceChildren(...items);
  }

  #allow(isAllowed: boolean): void {
    get("room").classList.toggle("mute", !isAllowed);
    const ids = ["text", "send", "picture"];
    for (const id of ids) get<HTMLInputElement>(id).disabled = !isAllowed;
  }

  /** Says what the room protects, and whether the node that must not read also served the page. */
  #drawTrust(): void {
    say(get("trust"), this.isSealed ? "trustSealed" : "trustPlain");
    say(get("invitation"), this.isSealed ? "inviteSealed" : "inviteText");
    const server = document.querySelector<HTMLMetaElement>('meta[name="served-by"]')?.content;
    const isSame = server !== "" && server === this.panda.status.node;
    get("served").hidden = !(this.isSealed && isSame);
  }

  #takeOut(key: string): HTMLElement {
    const made = button(words.takeOut, () => {
      if (confirm(words.takeOutSure)) void this.#space?.remove(key).catch(this.asked.tell);
    });
    made.setAttribute("aria-label", `${words.takeOut} ${key.slice(0, 6)}`);
    return made;
  }
}

/** Why this page cannot write as others do, if it cannot. */
function reason({ role, joining }: SpaceInfo): Word | undefined {
  if (role === "reader" || role === "courier") return "readOnly";
  if (role !== undefined) return undefined;
  return joining ? "joining" : "ejected";
}

/** The space that a ticket leads into, if this page was a member of it and is no longer. */
export async function formerSpace(panda: Panda, ticket: string): Promise<Space | undefined> {
  const read = await panda.backend.call<{ topic: string; invite?: Uint8Array }>("ticket", ticket);
  if (read.invite === undefined) return undefined;
  const space = (await panda.spaces.list()).find(({ id }) => id === read.topic);
  const info = await space?.info();
  // Only who was a member knows others.
  const wasIn = info !== undefined && info.members.length > 0;
  return wasIn && info.role === undefined && !info.joining ? space : undefined;
}
