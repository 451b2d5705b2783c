import { randomBytes, toHex } from "./bytes.js";
import type { Event } from "./engine.js";
import { PandaError } from "./errors.js";
import type { Panda } from "./panda.js";
import type { SpaceNews } from "./rooms.js";
import { Topic } from "./topic.js";
import type { SpaceDeed, SpaceInvite, SpaceLook, SpaceRole } from "./wasm.js";

/** How long an invite is good, unless told otherwise: 7 days, in milliseconds. */
const INVITED_FOR = 7 * 24 * 3_600_000;

export interface Member {
  key: string;
  role: SpaceRole;
}

/** A space as it is. */
export interface SpaceInfo {
  topic: string;
  /** Only members learn it. */
  name: string | undefined;
  /** None while this page is no member. */
  role: SpaceRole | undefined;
  /** No owner has answered yet. */
  joining: boolean;
  /** It demands what only a later version of this package speaks. */
  needsNewer: boolean;
  members: Member[];
  invites: SpaceInvite[];
}

/** What an invite allows. */
export interface Invited {
  role?: SpaceRole;
  /** How many may come by it. */
  uses?: number;
  /** Milliseconds for which it is good. */
  forMs?: number;
}

/** The encrypted spaces of a page. Nodes and others who have the topic learn who writes when, and no more. */
export class Spaces {
  constructor(readonly panda: Panda) {}

  /** Makes one, with this page as owner. Without `history` newcomers read only what comes after them. */
  async create(name?: string, { history = true } = {}): Promise<Space> {
    const topic = toHex(randomBytes(32));
    const deed: SpaceDeed = { do: "create", history };
    if (name !== undefined) deed.name = name;
    await this.panda.backend.call("spaceAct", topic, deed);
    return this.panda.space(topic);
  }

  /** Asks to be let in by an invite; an owner's page or node answers when it is there. */
  async join(ticket: string): Promise<Space> {
    const { backend } = this.panda;
    const read = await backend.call<{ topic: string; invite?: Uint8Array }>("ticket", ticket);
    if (read.invite === undefined) {
      throw new PandaError("invalid-ticket", "the ticket holds no invite into a space");
    }
    await backend.call("spaceAct", read.topic, { do: "join", invite: read.invite });
    return this.panda.space(read.topic);
  }

  /** Those that this page made or joined. */
  async list(): Promise<Space[]> {
    const topics = await this.panda.backend.call<string[]>("spaces");
    return topics.map((topic) => this.panda.space(topic));
  }
}

/** A topic that carries an encrypted space: what is published in it only members read. */
export class Space extends Topic {
  #listeners = new Set<(news: SpaceNews) => void>();

  async info(): Promise<SpaceInfo> {
    const look = await this.panda.backend.call<SpaceLook>("spaceLook", this.id);
    const { name, role, joining, needsNewer, members, invites } = look;
    return { topic: this.id, name, role, joining, needsNewer, members, invites };
  }

  async members(): Promise<Member[]> {
    return (await this.info()).members;
  }

  /** An invite as a ticket, a secret. Who holds it may ask; an owner lets in as many as it says. */
  async invite({ role = "editor", uses = 1, forMs = INVITED_FOR }: Invited = {}): Promise<string> {
    const until = Math.floor((Date.now() + forMs) / 1000);
    const invite = await this.#act({ do: "offer", role, uses, until });
    return this.panda.backend.call("invite", this.id, invite);
  }

  /** Takes an invite back, by its key as `info` tells it. Who came by it stays. */
  async revoke(invite: string): Promise<void> {
    await this.#act({ do: "revoke", invite });
  }

  async add(member: string, role: SpaceRole): Promise<void> {
    await this.#act({ do: "add", member, role });
  }

  async setRole(member: string, role: SpaceRole): Promise<void> {
    await this.#act({ do: "role", member, role });
  }

  /** Takes a membership away. What is written afterwards, the member cannot read. */
  async remove(member: string): Promise<void> {
    await this.#act({ do: "remove", member });
  }

  /** Takes the membership of this page away. The last owner stays. */
  async leave(): Promise<void> {
    await this.remove(this.panda.id);
  }

  async rename(name: string): Promise<void> {
    await this.#act({ do: "name", name });
  }

  /** Hears that members came, went, or were not let in. */
  onChange(listener: (news: SpaceNews) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  override hear(event: Event): void {
    super.hear(event);
    if (event.kind !== "space" || event.topic !== this.id) return;
    for (const listener of this.#listeners) listener(event.news);
  }

  async #act(deed: SpaceDeed): Promise<Uint8Array | undefined> {
    return this.panda.backend.call("spaceAct", this.id, deed);
  }
}
