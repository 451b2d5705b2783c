// Elements. Anything from the node becomes text, never markup.

type Child = Node | string | number | null | undefined;
type Attributes = Record<string, string | boolean | ((event: Event) => void)>;

export function el(tag: string, attributes: Attributes = {}, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined) element.append(child as Node | string);
  }
  return element;
}

/** A table with a caption, or a sentence if there are no rows. */
export function table(caption: string, head: string[], rows: Child[][], none: string): HTMLElement {
  if (rows.length === 0) return el("section", {}, el("h3", {}, caption), el("p", { class: "none" }, none));
  const cells = (tag: string, row: Child[], scope: string) =>
    row.map((cell) => el(tag, scope ? { scope } : {}, cell));
  // A wide table scrolls on its own, also from the keyboard.
  return el(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...cells("th", head, "col"))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells("td", row, "")))),
    ),
  );
}

/** A list of names and values. */
export function facts(pairs: [string, Child][]): HTMLElement {
  return el("dl", {}, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** An id in short form, in full on hover and for copying. */
export function id(text: string | null): Child {
  if (text === null) return "–";
  return el("code", { title: text }, text.length > 20 ? `${text.slice(0, 10)}…${text.slice(-4)}` : text);
}

export function link(page: string, argument: string, text: Child): HTMLElement {
  return el("a", { href: `#${page}/${encodeURIComponent(argument)}` }, text);
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`;
}

export function duration(ms: number | null): string {
  if (ms === null) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const steps: [number, string][] = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
    [1_000, "s"],
  ];
  const at = steps.findIndex(([size]) => ms >= size);
  const [size, unit] = steps[at] ?? [1_000, "s"];
  const next = steps[at + 1];
  const whole = Math.floor(ms / size);
  const rest = next ? Math.floor((ms % size) / next[0]) : 0;
  return next && rest > 0 ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
}

export function time(micros: number): string {
  return new Date(micros / 1000).toISOString().replace("T", " ").slice(0, 23);
}
