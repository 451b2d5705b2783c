import { PandaError } from "../../../packages/p2panda/dist/index.js";
import { get } from "./dom.js";
import { sentence } from "./words.js";

/** The tab was closed for these: no later error hides why. */
const FINAL = new Set(["wiped", "newer-version", "new-key"]);
/** What passes by itself, or what the status says. */
const PASSING = new Set(["aborted", "closed", "offline", "not-leader", "log-moved", "timeout"]);
/** What the node refuses until something is changed there. */
const REFUSALS = new Set([
  ...["limit", "quota", "unknown-topic", "unauthenticated", "forbidden"],
  ...["other-node", "version", "unreached"],
]);
/** Refusals by their topic; those of the whole connection have none. */
const refused = new Map<string | undefined, string>();
let ended: string | undefined;

/** Shows an error as a sentence, in the part of the page that is open. */
export function tell(error: unknown): void {
  const code = codeOf(error);
  if (!(error instanceof PandaError)) console.error(error);
  if (FINAL.has(code)) ended = code;
  show(ended ?? code);
}

/** Tells an error that came by itself, if it concerns what the page shows. */
export function heard(error: PandaError, topic: string | undefined): void {
  const { code } = error;
  if (PASSING.has(code)) return;
  if (REFUSALS.has(code)) {
    refused.set(error.topic, code);
    if (error.topic !== undefined && error.topic !== topic) return;
  }
  tell(error);
}

/** The node takes this topic, or, without one, this page. */
export function accepted(topic?: string): void {
  const code = refused.get(topic);
  if (code === undefined) return;
  refused.delete(topic);
  const shown = [get("room-error"), get("start-error")].find(
    ({ dataset }) => dataset["fault"] === code,
  );
  if (shown !== undefined) settle();
}

/** Takes away what was told, except what holds on in this topic. */
export function settle(topic?: string): void {
  const code = ended ?? refused.get(undefined) ?? (topic && refused.get(topic));
  if (code) return show(code);
  for (const element of [get("room-error"), get("start-error")]) clear(element);
}

/** The page has connected again: what was told before is over. */
export function revive(): void {
  ended = undefined;
  refused.clear();
}

/** Whether the tab was closed by another one. */
export function isEnded(): boolean {
  return ended !== undefined;
}

function codeOf(error: unknown): string {
  return error instanceof PandaError ? error.code : "internal";
}

function show(code: string): void {
  const place = get(get("room").hidden ? "start-error" : "room-error");
  place.dataset["fault"] = code;
  const text = sentence(code);
  if (place.textContent !== text) place.textContent = text;
}

export function clear(element: HTMLElement): void {
  delete element.dataset["fault"];
  element.textContent = "";
}
