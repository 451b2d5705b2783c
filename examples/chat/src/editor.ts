import { isBlank } from "./text.js";
import { say, sentence, type Word } from "./words.js";

let made = 0;

/** A form in place of a message. `save` returns why a text is not taken, if it is not. */
export function editor(
  text: string,
  save: (text: string) => Promise<string | undefined>,
  close: () => void,
): HTMLFormElement {
  const form = document.createElement("form");
  form.className = "editor";
  form.noValidate = true;
  const field = document.createElement("textarea");
  field.dir = "auto";
  field.value = text;
  field.rows = Math.min(8, text.split("\n").length + 1);
  field.id = `editor-${(made += 1)}`;
  const label = worded("label", "editPrompt");
  label.className = "visually-hidden";
  label.htmlFor = field.id;
  const error = document.createElement("p");
  error.className = "error";
  error.setAttribute("role", "alert");
  const cancel = worded("button", "cancel");
  cancel.type = "button";
  cancel.addEventListener("click", close);
  const done = worded("button", "save");
  done.className = "main";
  const row = document.createElement("div");
  row.append(done, cancel);
  form.append(label, field, error, row);
  const refuse = (code: string): void => {
    error.dataset["fault"] = code;
    error.textContent = sentence(code);
    field.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value === text) return close();
    if (isBlank(field.value)) return refuse("blank");
    done.disabled = true;
    void save(field.value).then((code) => {
      done.disabled = false;
      if (code === undefined) close();
      else refuse(code);
    });
  });
  form.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") close();
    if (event.key !== "Enter" || event.shiftKey || event.target !== field) return;
    event.preventDefault();
    form.requestSubmit();
  });
  return form;
}

function worded<K extends "label" | "button">(tag: K, word: Word): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  say(element, word);
  return element;
}
