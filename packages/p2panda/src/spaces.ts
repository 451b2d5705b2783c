import { randomBytes, toHex } from "./bytes.js";
import type { Event } from "./engine.js";
import { abortable, checkSignal, PandaError } from "./errors.js";
import type { Panda } from "./panda.js";
import type { SpaceNews } from "./rooms.js";
import { Topic, type Abortable } from "./topic.js";
import type { SpaceDeed, SpaceInvite, SpaceLook, SpaceRole } from "./wasm.js";

/** How long an invite is valid by default: 7 days, in milliseconds. */
const INVITED_FOR = 7 * 24 * 3_600_000;

export interface Member {
  key: string;
  role: SpaceRole;
}

/** The state of a space. */
export interface SpaceInfo {
  topic: string;
  /** The name; only members learn it. */
  name: string | undefined;
  /** Absent while this page is not a member. */
  role: SpaceRole | undefined;
  /** How messages are sealed; absent while that is not known. A page cannot open or write those of "message". */
  scheme: "data" | "message" | undefined;
  /** The least suite of the channels that secrets go through; from 2 on, no future quantum computer opens them. */
  suite: number | undefined;
  /** Days after which owners' nodes replace a secret; absent if no owner asks for that. */
  rotationDays: number | undefined;
  /** Whether this page waits for an owner to admit it. */
  joining: boolean;
  /** Whether the space needs a later version of this package. */
  needsNewer: boolean;
  members: Member[];
  invites: SpaceInvite[];
}

/** What an invite allows. */
export interface Invited {
  role?: SpaceRole;
  /** How many may join by it. */
  uses?: number;
  /** Milliseconds for which it is valid. */
  forMs?: number;
}

/** The encrypted spaces of a page. Others who have the topic learn only who writes when. */
export class Spaces {
  constructor(readonly panda: Panda) {}

  /** Creates a space with this page as its owner. Without `history`, newcomers read only later messages. */
  async create(
    name?: string,
    { history = true, signal }: Abortable & { history?: boolean } = {},
  ): Promise<Space> {
    checkSignal(signal);
    if (name !== undefined && typeof name !== "string") throw wrong("the name is not a text");
    if (typeof history !== "boolean") throw wrong("`history` is neither true nor false");
    const topic = toHex(randomBytes(32));
    const deed: SpaceDeed = { do: "create", history };
    if (name !== undefined) deed.name = name;
    await abortable(this.panda.backend.call("spaceAct", topic, deed), signal);
    return this.panda.space(topic);
  }

  /** Asks to join by an invite. An owner's page or node answers once it is online. */
  async join(ticket: string, { signal }: Abortable = {}): Promise<Space> {
    checkSignal(signal);
    const { backend } = this.panda;
    const reading = backend.call<{ topic: string; invite?: Uint8Array }>("ticket", ticket);
    const read = await abortable(reading, signal);
    if (read.invite === undefined) {
      throw new PandaError("invalid-ticket", "the ticket holds no invite into a space");
    }
    const deed = { do: "join", invite: read.invite };
    await abortable(backend.call("spaceAct", read.topic, deed), signal);
    return this.panda.space(read.topic);
  }

  /** The spaces that this page created or joined. */
  async list({ signal }: Abortable = {}): Promise<Space[]> {
    checkSignal(signal);
    const topics = await abortable(this.panda.backend.call<string[]>("spaces"), signal);
    return topics.map((topic) => this.panda.space(topic));
  }
}

function wrong(why: string): PandaError {
  return new PandaError("invalid", why);
}

/** A topic that carries an encrypted space: only members can read what is published in it. */
export class Space extends Topic {
  #listeners = new Set<(news: SpaceNews) => void>();
  protected override readonly isSealed: boolean = true;

  async info({ signal }: Abortable = {}): Promise<SpaceInfo> {
    checkSignal(signal);
    const asked = this.panda.backend.call<SpaceLook>("spaceLook", this.id);
    const look = await abortable(asked, signal);
    const { name, role, scheme, suite, rotationDays, joining, needsNewer, members, invites } = look;
    const sealing = { scheme, suite, rotationDays };
    return { topic: this.id, name, role, ...sealing, joining, needsNewer, members, invites };
  }

  async members(options: Abortable = {}): Promise<Member[]> {
    return (await this.info(options)).members;
  }

  /** Makes an invite, a secret ticket. Its holders may ask to join; owners admit as many as it allows. */
  async invite(
    { role = "editor", uses = 1, forMs = INVITED_FOR }: Invited = {},
    options: Abortable = {},
  ): Promise<string> {
    checkSignal(options.signal);
    if (!Number.isSafeInteger(uses) || uses < 1) throw wrong("an invite has at least 1 use");
    if (!Number.isFinite(forMs) || forMs <= 0) throw wrong("`forMs` is not a time to come");
    const until = Math.floor((Date.now() + forMs) / 1000);
    const invite = await this.#act({ do: "offer", role, uses, until }, options);
    return abortable(this.panda.backend.call("invite", this.id, invite), options.signal);
  }

  /** Revokes an invite by its key from `info`. Members who joined by it stay. */
  async revoke(invite: string, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "revoke", invite }, options);
  }

  async add(member: string, role: SpaceRole, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "add", member, role }, options);
  }

  async setRole(member: string, role: SpaceRole, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "role", member, role }, options);
  }

  /** Removes a member. It cannot read what is written afterwards. */
  async remove(member: string, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "remove", member }, options);
  }

  /** Ends this page's membership. The last owner cannot leave. */
  async leave(options: Abortable = {}): Promise<void> {
    await this.remove(this.panda.id, options);
  }

  async rename(name: string, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "name", name }, options);
  }

  /** Raises the least suite of the channels that secrets go through. Nothing lowers it. */
  async raiseSuite(suite: number, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "suite", suite }, options);
  }

  /**
   * Asks the owners to replace the secret whenever it is so many days old; with `undefined` to do that no longer.
   * Nodes of owners do it; pages do not.
   */
  async rotateEvery(days: number | undefined, options: Abortable = {}): Promise<void> {
    await this.#act({ do: "rotation", days: days ?? 0 }, options);
  }

  /** Calls back when members join, leave or are refused. */
  onChange(listener: (news: SpaceNews) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  override hear(event: Event): void {
    super.hear(event);
    if (event.kind !== "space" || event.topic !== this.id) return;
    for (const listener of this.#listeners) listener(event.news);
  }

  async #act(deed: SpaceDeed, { signal }: Abortable): Promise<Uint8Array | undefined> {
    checkSignal(signal);
    return abortable(this.panda.backend.call("spaceAct", this.id, deed), signal);
  }
}
