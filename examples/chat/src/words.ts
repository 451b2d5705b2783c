import { de } from "./words-de.js";
import { en, type Words } from "./words-en.js";

const languages = { en, de };
export type Language = keyof typeof languages;
export type Word = Exclude<keyof Words, "faults">;

export function preferred(): Language {
  const stored = localStorage.getItem("language") ?? navigator.language;
  return stored.startsWith("de") ? "de" : "en";
}

export let words: Words = en;

/** Writes the words into the page. */
export function speak(language: Language): void {
  words = languages[language];
  document.documentElement.lang = language;
  document.title = words.title;
  for (const element of document.querySelectorAll<HTMLElement>("[data-word]")) {
    element.textContent = words[element.dataset["word"] as Word];
  }
}
