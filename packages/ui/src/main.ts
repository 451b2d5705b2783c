// The status page: sign in, one page at a time, refreshed every two seconds.

import { el } from "./dom.ts";
import { pages, seen } from "./pages.ts";
import { Connection, type Credential, RpcError } from "./rpc.ts";
import type { NodeEvent } from "./types.ts";

const REFRESH_MS = 2_000;
/** A ticket is valid for 60 s: a reload in that time needs no token. */
const TICKET_MS = 20_000;
const TICKET = "panda-ui-ticket";
const EVENTS_MAX = 500;

const main = document.getElementById("main") as HTMLElement;
const state = document.getElementById("state") as HTMLElement;
const nav = document.getElementById("nav") as HTMLElement;

let node: Connection | undefined;
let shown = "";

function place(): [string, string] {
  const [page = "", argument = ""] = location.hash.slice(1).split("/", 2);
  try {
    return [page in pages ? page : "overview", decodeURIComponent(argument)];
  } catch {
    return ["overview", ""];
  }
}

async function show(): Promise<void> {
  if (!node) return;
  const [name, argument] = place();
  const page = pages[name];
  if (!page) return;
  let content: HTMLElement;
  try {
    content = await page.show(node, argument, () => void show());
  } catch (error) {
    content = trouble(error);
  }
  if (place().join("/") !== [name, argument].join("/")) return;
  const at = `${name}/${argument}`;
  // Do not refresh while somebody types or has selected text.
  const busy = at === shown && (main.contains(document.activeElement) || marked());
  if (busy) return;
  main.replaceChildren(content);
  if (at !== shown) {
    shown = at;
    document.title = `${page.title} – panda`;
    for (const link of nav.querySelectorAll("a")) {
      if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }
}

function marked(): boolean {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode);
}

function trouble(error: unknown): HTMLElement {
  const hint = error instanceof RpcError && error.hint ? ` ${error.hint}` : "";
  return el("article", {}, el("p", { class: "bad", role: "alert" }, `${(error as Error).message}.${hint}`));
}

function signIn(said?: unknown): void {
  node = undefined;
  shown = "";
  nav.hidden = true;
  state.textContent = "not signed in";
  const token = el("input", {
    id: "token", name: "token", type: "password", autocomplete: "current-password", required: true,
  }) as HTMLInputElement;
  const submit = (event: Event) => {
    event.preventDefault();
    void connect({ token: token.value.trim() });
  };
  main.replaceChildren(
    el(
      "article",
      {},
      el("h2", {}, "Sign in"),
      el("p", {}, "Give a token that this node's configuration knows, with the scope ", el("code", {}, "read"), "."),
      said ? trouble(said) : null,
      el("form", { submit }, el("label", { for: "token" }, "Token"), token, el("button", { type: "submit" }, "Sign in")),
    ),
  );
  token.focus();
}

async function connect(credential: Credential): Promise<void> {
  const note = (method: string, params: Record<string, unknown>) => {
    if (method !== "event") return;
    seen.push({ at: Date.now(), event: params as unknown as NodeEvent });
    if (seen.length > EVENTS_MAX) seen.shift();
  };
  try {
    node = await Connection.open(credential, note, lost);
    await node.call("events.subscribe");
    nav.hidden = false;
    state.textContent = "connected";
    shown = "";
    await Promise.all([ticket(), show()]);
  } catch (error) {
    sessionStorage.removeItem(TICKET);
    signIn("ticket" in credential ? undefined : error);
  }
}

/** Gets a ticket for the next connection: the token itself is not stored. */
async function ticket(): Promise<void> {
  try {
    const fresh = await node?.call<{ ticket: string }>("auth.ticket");
    if (fresh) sessionStorage.setItem(TICKET, fresh.ticket);
  } catch {
    // The next attempt may succeed.
  }
}

function lost(): void {
  if (!node) return;
  node = undefined;
  state.textContent = "connection lost: trying again";
  const again = sessionStorage.getItem(TICKET);
  setTimeout(() => (again ? void connect({ ticket: again }) : signIn()), 1_000);
}

function start(): void {
  for (const [name, page] of Object.entries(pages)) {
    nav.append(el("a", { href: `#${name}` }, page.title));
  }
  addEventListener("hashchange", () => {
    (document.activeElement as HTMLElement | null)?.blur();
    void show().then(() => main.focus());
  });
  setInterval(() => {
    if (!document.hidden && place()[0] !== "trace") void show();
  }, REFRESH_MS);
  setInterval(() => void ticket(), TICKET_MS);
  // `panda node ui` prints an address with a ticket.
  const given = location.hash.startsWith("#ticket=") ? location.hash.slice(8) : undefined;
  if (given) history.replaceState(null, "", location.pathname);
  const kept = given ?? sessionStorage.getItem(TICKET);
  if (kept) void connect({ ticket: kept });
  else signIn();
}

start();
