/** An element of the page. */
export const get = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;

export function button(text: string, act: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

/** Shows any text as text, never as markup. */
export function paragraph(text: string, kind = ""): HTMLParagraphElement {
  const made = document.createElement("p");
  made.dir = "auto";
  made.className = kind;
  made.textContent = text;
  return made;
}
