import { connect, PandaError, type Panda } from "../../../packages/p2panda/dist/index.js";
import { Room, tell } from "./room.js";
import { cleanName, face } from "./view.js";
import { preferred, speak, words, type Language } from "./words.js";

const get = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
/** Name of the page's storage: two names are two people. */
const PROFILE = new URL(location.href).searchParams.get("profile") ?? "chat";
/** How many people may join by the link of an encrypted room. */
const INVITED = 32;
/** Errors that a passphrase resolves, with the text that asks for it. */
const LOCKED: Record<string, "passphraseNew" | "passphraseOld" | "passphraseWrong"> = {
  "no-ed25519": "passphraseNew",
  locked: "passphraseOld",
  "wrong-passphrase": "passphraseWrong",
};
let panda: Panda | undefined;
let passphrase: string | undefined;
/** Runs once the key is open. */
let wanted: () => void = () => void route();
let room: Room | undefined;

/** The node that served this page, or the one that the address names. */
function node(): string {
  const named = new URL(location.href).searchParams.get("node");
  return named ?? `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/rpc`;
}

function name(): string {
  return cleanName(localStorage.getItem(`${PROFILE} name`) ?? "");
}

async function opened(): Promise<Panda> {
  if (panda !== undefined) return panda;
  const key = passphrase === undefined ? {} : { passphrase };
  panda = await connect(node(), { name: PROFILE, ...key }).catch((error: unknown) => {
    // A private window may have no storage: then nothing is kept, and `persisted` says so.
    if (!(error instanceof PandaError) || !error.code.startsWith("storage")) throw error;
    return connect(node(), { storage: "memory", ...key });
  });
  get("unlock").hidden = true;
  const own = panda.id.slice(0, 16);
  get("key").replaceChildren(face(panda.id), ` ${own}…`);
  panda.onStatus(showStatus);
  panda.onError((error) => {
    if (error.code in words.faults) tell(error);
  });
  showStatus();
  showPersisted();
  // Some browsers ask the person, which may take a while.
  void panda.persist().then(showPersisted);
  return panda;
}

function showPersisted(): void {
  get("persisted").textContent =
    panda?.isPersisted === true ? words.persisted : words.notPersisted;
}

function showStatus(): void {
  if (panda === undefined) return;
  const { state, unsent, behind } = panda.status;
  const parts = [words[state]];
  if (unsent > 0) parts.push(`${unsent} ${words.unsent}`);
  if (behind > 0) parts.push(`${behind} ${words.behind}`);
  const status = get("status");
  const text = parts.join(" · ");
  if (status.textContent !== text) status.textContent = text;
  status.dataset["state"] = state;
}

/** The room of the address, if it has one. */
async function route(): Promise<void> {
  room?.close();
  room = undefined;
  const ticket = decodeURIComponent(location.hash.slice(1));
  const isRoom = ticket !== "" && name() !== "";
  get("room").hidden = true;
  get("start").hidden = true;
  if (!isRoom) return start(ticket);
  try {
    const mine = await opened();
    const topic = await mine.join(ticket);
    get("room").hidden = false;
    get<HTMLInputElement>("share").value = location.href;
    get("room-error").textContent = "";
    room = new Room(mine, topic, name());
    get("text").focus();
  } catch (error) {
    start("");
    failed(() => void route())(error);
  }
}

/** On the first page: what to do about it, or why it does not work. */
const failed = (again: () => void) => (error: unknown): void => {
  wanted = again;
  const word = error instanceof PandaError ? LOCKED[error.code] : undefined;
  get("unlock").hidden = word === undefined;
  if (word === undefined) {
    get("start-error").textContent = said(error);
    return;
  }
  // Said again in another language.
  get("unlock-text").dataset["word"] = word;
  get("unlock-text").textContent = words[word];
  get("passphrase").focus();
};

function said(error: unknown): string {
  const code = error instanceof PandaError ? error.code : "";
  if (code === "invalid-ticket") return words.badLink;
  if (code === "insecure-context") return words.insecure;
  return words.faults[code] ?? (error instanceof Error ? error.message : String(error));
}

function start(ticket: string): void {
  get("start").hidden = false;
  get("start-error").textContent = "";
  get<HTMLInputElement>("name").value = name();
  if (ticket !== "") get<HTMLInputElement>("link").value = location.href;
  get("name").focus();
}

function keepName(): boolean {
  const chosen = cleanName(get<HTMLInputElement>("name").value);
  get("start-error").textContent = chosen === "" ? words.name : "";
  if (chosen === "") get("name").focus();
  else localStorage.setItem(`${PROFILE} name`, chosen);
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
  const link = get<HTMLInputElement>("link").value.trim();
  const ticket = link.includes("#") ? link.slice(link.indexOf("#") + 1) : link;
  if (ticket === "") get("start-error").textContent = words.badLink;
  else go(ticket);
});
get("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = get<HTMLTextAreaElement>("text");
  const said = text.value;
  if (said.trim() === "" || room === undefined) return;
  text.value = "";
  room.say(said).catch((error: unknown) => {
    text.value = said;
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
  if (file !== undefined) room?.show(file).catch(tell);
  input.value = "";
});
get("earlier").addEventListener("click", () => room?.earlier());
get("copy").addEventListener("click", () => {
  void navigator.clipboard.writeText(get<HTMLInputElement>("share").value).then(() => {
    get("copy").textContent = words.copied;
  });
});
get("leave").addEventListener("click", () => (location.hash = ""));
get("renew").addEventListener("click", () => {
  if (panda === undefined || !confirm(words.renewSure)) return;
  // The page starts over with the new key, and joins an encrypted room by the invite in the address.
  void panda.recover().then(() => location.reload(), tell);
});
get("wipe").addEventListener("click", () => {
  if (!confirm(words.wipeSure)) return;
  localStorage.removeItem(`${PROFILE} name`);
  void panda?.wipe().finally(() => location.replace(location.pathname + location.search));
});
get("language").addEventListener("change", () => {
  const language = get<HTMLSelectElement>("language").value as Language;
  localStorage.setItem("language", language);
  speak(language);
  showStatus();
  room?.redraw();
});
addEventListener("hashchange", () => void route());

get<HTMLSelectElement>("language").value = preferred();
speak(preferred());
void route();
