import { kept } from "./kept.js";
import { de } from "./words-de.js";
import { en, type Words } from "./words-en.js";

const languages = { en, de };
export type Language = keyof typeof languages;
export type Word = Exclude<keyof Words, "faults">;

export function preferred(): Language {
  const stored = kept("language") ?? navigator.language;
  return stored.startsWith("de") ? "de" : "en";
}

export let words: Words = en;

/** Writes the words into the page, also those of errors that it shows. */
export function speak(language: Language): void {
  words = languages[language];
  document.documentElement.lang = language;
  document.title = words.title;
  for (const element of document.querySelectorAll<HTMLElement>("[data-word]")) {
    element.textContent = words[element.dataset["word"] as Word];
  }
  for (const element of document.querySelectorAll<HTMLElement>("[data-fault]")) {
    element.textContent = sentence(element.dataset["fault"]!);
  }
}

/** Replaces the text of an element, in every language from now on. */
export function say(element: HTMLElement, word: Word): void {
  element.dataset["word"] = word;
  if (element.textContent !== words[word]) element.textContent = words[word];
}

/** An error in words; one without words is named by its code. */
export function sentence(code: string): string {
  const known = (words.faults as Record<string, string | undefined>)[code];
  return known?.replace("{origin}", location.origin) ?? `${words.fault} (${code})`;
}
