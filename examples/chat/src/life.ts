import type { Delivery, Panda } from "../../../packages/p2panda/dist/index.js";
import { get } from "./dom.js";
import type { Entry } from "./view.js";
import { words } from "./words.js";

type Step = [line: string, detail?: string | undefined];

/** Shows what has happened to a message so far. */
export function showLife(panda: Panda, entry: Entry, isSealed: boolean): void {
  const steps = get<HTMLOListElement>("steps");
  steps.replaceChildren();
  get<HTMLDialogElement>("life").showModal();
  void stepsOf(panda, entry, isSealed).then((lines) => {
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
}

async function stepsOf(panda: Panda, entry: Entry, isSealed: boolean): Promise<Step[]> {
  const { message, state } = entry;
  if (state === "queued" || message.id === "")
    return [[words.lifeWritten], [words.lifeNotSent, words[state]]];
  const place = `${message.author.slice(0, 16)}… #${message.seq}`;
  const steps: Step[] = message.mine
    ? [
        [words.lifeWritten],
        [isSealed ? words.lifeSealed : words.lifePlain],
        [words.lifeSigned, place],
      ]
    : [
        [words.lifeReceived, panda.status.node?.slice(0, 16)],
        [words.lifeVerified, place],
        [isSealed ? words.lifeOpened : words.lifePlain],
      ];
  steps.push([words.lifeAfter, message.after.map((id) => id.slice(0, 16)).join(", ") || "–"]);
  if (message.mine && state !== "stored") return [...steps, [words.lifeNotSent, words[state]]];
  if (message.mine) steps.push([words.lifeSent, message.id]);
  try {
    const { topic, id } = message;
    const { sentTo, notKept } = await panda.backend.call<Delivery>("delivery", topic, id);
    steps.push([words.lifeHeld, String(sentTo.length)]);
    if (notKept.length > 0) steps.push([words.lifeNotKept, String(notKept.length)]);
  } catch {
    steps.push([words.lifeOffline]);
  }
  return steps;
}
