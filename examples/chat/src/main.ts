import { connect, PandaError, type Panda, type Topic } from "../../../packages/p2panda/dist/index.js";
import { get } from "./dom.js";
import { accepted, clear, heard, isEnded, revive, settle, tell } from "./fault.js";
import { forget, keep, kept, refusesStorage } from "./kept.js";
import { nodeOf, PROFILE, shared, targetOf, ticketOf } from "./link.js";
import { formerSpace } from "./membership.js";
import { Room } from "./room.js";
import { cleanName, isBlank } from "./text.js";
import { face } from "./view.js";
import { preferred, say, speak, words, type Language, type Word } from "./words.js";

const NAME = `${PROFILE} name`;
/** How many people may join by the link of an encrypted room. */
const INVITED = 32;
/** Milliseconds for which a button says that the link was copied. */
const COPIED = 4_000;
/** Errors that a passphrase resolves, with the text that asks for it. */
const LOCKED: Record<string, "passphraseNew" | "passphraseOld" | "passphraseWrong"> = {
  "no-ed25519": "passphraseNew",
  locked: "passphraseOld",
  "wrong-passphrase": "passphraseWrong",
};
let panda: Panda | undefined;
let opening: Promise<Panda> | undefined;
let passphrase: string | undefined;
/** Runs once the key is open. */
let wanted: () => void = () => void route();
let room: Room | undefined;
/** The number of rooms that were asked for: what is asked for last counts. */
let routes = 0;
/** What was typed in a room and not sent. */
const drafts = new Map<string, string>();
let wasOnline = false;
let copied: ReturnType<typeof setTimeout> | undefined;

function here(): URL {
  return new URL(location.href);
}

function name(): string {
  return cleanName(kept(NAME) ?? "");
}

function opened(): Promise<Panda> {
  if (panda !== undefined && panda.status.state !== "closed") return Promise.resolve(panda);
  opening ??= open().finally(() => (opening = undefined));
  return opening;
}

async function open(): Promise<Panda> {
  const key = passphrase === undefined ? {} : { passphrase };
  const node = nodeOf(here());
  const made = await connect(node, { name: PROFILE, ...key }).catch((error: unknown) => {
    const code = error instanceof PandaError ? error.code : "";
    if (code === "invalid") throw new PandaError("bad-node", `${node} is not an address`);
    // A browser may refuse storage to this page: then nothing is kept, and the page says so.
    if (!code.startsWith("storage") && !refusesStorage()) throw error;
    get("unstored").hidden = false;
    return connect(node, { storage: "memory", ...key });
  });
  panda = made;
  wasOnline = false;
  revive();
  get("unlock").hidden = true;
  const own = made.id.slice(0, 16);
  get("key").replaceChildren(face(made.id), ` ${own}…`);
  made.onStatus(showStatus);
  made.onError((error) => heard(error, room?.topic.id));
  showStatus();
  showPersisted();
  // Some browsers ask the person, which may take a while.
  void made.persist().then(showPersisted);
  return made;
}

function showPersisted(): void {
  const isKept = panda?.isPersisted === true && get("unstored").hidden;
  say(get("persisted"), isKept ? "persisted" : "notPersisted");
}

function showStatus(): void {
  if (panda === undefined) return;
  const { state, unsent, behind, lastError } = panda.status;
  if (state === "online") {
    wasOnline = true;
    accepted();
  }
  // A browser does not tell a page why there is no connection.
  if (state === "offline" && !wasOnline && lastError?.code === "closed")
    heard(new PandaError("unreached", "no answer"), undefined);
  const parts = [words[state]];
  if (unsent > 0) parts.push(`${unsent} ${words.unsent}`);
  if (behind > 0) parts.push(`${behind} ${words.behind}`);
  const status = get("status");
  const text = parts.join(" · ");
  if (status.textContent !== text) status.textContent = text;
  status.dataset["state"] = state;
}

/** Takes the room out of the page, and everything that was about it. */
function leave(): void {
  const text = get<HTMLTextAreaElement>("text");
  if (room !== undefined) drafts.set(room.topic.id, text.value);
  text.value = "";
  room?.close();
  room = undefined;
  for (const id of ["room", "start"]) get(id).hidden = true;
  for (const id of ["room-error", "start-error"]) clear(get(id));
  showCopy("copy");
}

/** The room of the address, if it has one. */
async function route(): Promise<void> {
  const number = (routes += 1);
  leave();
  const ticket = ticketOf(location.hash);
  if (ticket === undefined) {
    start(true);
    return tell(new PandaError("invalid-ticket", "it is cut or changed"));
  }
  if (ticket === "" || name() === "") return start(ticket !== "");
  try {
    const mine = await opened();
    const former = await formerSpace(mine, ticket);
    const topic = former ?? (await mine.join(ticket));
    if (number === routes) enter(mine, topic, former && (() => mine.join(ticket)));
  } catch (error) {
    if (number !== routes) return;
    start(false);
    failed(() => void route())(error);
  }
}

function enter(mine: Panda, topic: Topic, again: (() => Promise<unknown>) | undefined): void {
  get("room").hidden = false;
  get<HTMLInputElement>("share").value = shared(here());
  const text = get<HTMLTextAreaElement>("text");
  text.value = drafts.get(topic.id) ?? "";
  room = new Room(mine, topic, name(), again);
  settle(topic.id);
  text.focus();
}

/** On the first page: what to do about it, or why it does not work. */
const failed = (again: () => void) => (error: unknown): void => {
  wanted = again;
  const word = error instanceof PandaError ? LOCKED[error.code] : undefined;
  get("unlock").hidden = word === undefined;
  if (word === undefined) return tell(error);
  say(get("unlock-text"), word);
  get("passphrase").focus();
};

function start(hasLink: boolean): void {
  get("start").hidden = false;
  settle();
  get<HTMLInputElement>("name").value = name();
  get<HTMLInputElement>("link").value = hasLink ? location.href : "";
  get("name").focus();
}

function keepName(): boolean {
  const chosen = cleanName(get<HTMLInputElement>("name").value);
  settle();
  if (chosen === "") {
    tell(new PandaError("no-name", "a name is missing"));
    get("name").focus();
  } else keep(NAME, chosen);
  return chosen !== "";
}

function go(ticket: string): void {
  const hash = `#${ticket}`;
  if (location.hash === hash) void route();
  else location.hash = hash;
}

get("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  if (keepName()) make(event.submitter?.id !== "make");
});

/** A new room. The link of an encrypted one is an invite. */
function make(isSealed: boolean): void {
  const ticket = async (): Promise<string> => {
    const mine = await opened();
    if (isSealed) return (await mine.spaces.create()).invite({ uses: INVITED });
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    const topic = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return mine.topic(topic).ticket();
  };
  void ticket()
    .then(go)
    .catch(failed(() => make(isSealed)));
}

get("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = get<HTMLInputElement>("passphrase");
  passphrase = typed.value;
  typed.value = "";
  void opened()
    .then(wanted)
    .catch(failed(wanted))
    .finally(() => (passphrase = undefined));
});
get("open").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!keepName()) return;
  const target = targetOf(get<HTMLInputElement>("link").value, here());
  if ("page" in target) location.assign(target.page);
  else if ("elsewhere" in target) tell(new PandaError("elsewhere", target.elsewhere));
  else if (target.ticket === "") tell(new PandaError("invalid-ticket", "there is none"));
  else go(target.ticket);
});
get("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = get<HTMLTextAreaElement>("text");
  const said = text.value;
  const its = room;
  if (its === undefined || isEnded() || said === "") return;
  if (isBlank(said)) return tell(new PandaError("blank", "nothing would be seen"));
  text.value = "";
  its.say(said).catch((error: unknown) => {
    const rest = its === room ? text.value : drafts.get(its.topic.id);
    const both = rest ? `${said}\n${rest}` : said;
    if (its !== room) return void drafts.set(its.topic.id, both);
    text.value = both;
    tell(error);
  });
});
get("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  get<HTMLFormElement>("write").requestSubmit();
});
get("picture").addEventListener("change", () => {
  const input = get<HTMLInputElement>("picture");
  const file = input.files?.[0];
  const its = room;
  if (file !== undefined) its?.show(file).catch((error: unknown) => its === room && tell(error));
  input.value = "";
});
get("earlier").addEventListener("click", () => room?.earlier());
get("skip").addEventListener("click", (event) => {
  // The part of the address after # is the room.
  event.preventDefault();
  const first = get("room").hidden ? "name" : get<HTMLTextAreaElement>("text").disabled ? "messages" : "text";
  get(first).focus();
});

function showCopy(word: Word): void {
  clearTimeout(copied);
  say(get("copy"), word);
}

get("copy").addEventListener("click", () => {
  const share = get<HTMLInputElement>("share");
  const done = (word: Word): void => {
    showCopy(word);
    copied = setTimeout(() => showCopy("copy"), COPIED);
  };
  // Pages that come over http have no clipboard, and a browser may refuse it to others.
  void (async () => navigator.clipboard.writeText(share.value))().then(
    () => done("copied"),
    () => {
      share.select();
      done("copyYourself");
    },
  );
});
get("leave").addEventListener("click", () => (location.hash = ""));
get("renew").addEventListener("click", () => {
  if (panda === undefined || !confirm(words.renewSure)) return;
  // The page starts over with the new key, and joins an encrypted room by the invite in the address.
  void panda.recover().then(() => location.reload(), tell);
});
get("wipe").addEventListener("click", () => {
  if (panda === undefined || !confirm(words.wipeSure)) return;
  forget(NAME);
  drafts.clear();
  void panda.wipe().then(() => location.replace(location.pathname + location.search), tell);
});
get("language").addEventListener("change", () => {
  const language = get<HTMLSelectElement>("language").value as Language;
  keep("language", language);
  speak(language);
  showStatus();
  room?.redraw();
});
addEventListener("hashchange", () => void route());

get<HTMLSelectElement>("language").value = preferred();
get("unstored").hidden = !refusesStorage();
speak(preferred());
void route();
