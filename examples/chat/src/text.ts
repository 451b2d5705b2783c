/** What nobody sees, or what is nothing but space. */
const BLANK = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\s\u2800]/gu;
/** Invisible characters, except those that join an emoji or letters of some scripts. */
const HIDDEN =
  /(?!(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\uFE0F])\u200D(?=\p{Extended_Pictographic}))(?!(?<=[\p{M}\p{Script=Arabic}])[\u200C\u200D](?=\p{L}))[\p{C}\p{Zl}\p{Zp}]/gu;
/** More marks over one letter than any script has. */
const PILED = /(\p{M}{4})\p{M}+/gu;
const NAME_LENGTH = 40;

/** Whether a text shows nothing. */
export function isBlank(text: string): boolean {
  return text.replace(BLANK, "") === "";
}

/** A name on one line, without changes of direction; empty if nothing of it would be seen. */
export function cleanName(name: string): string {
  const clean = name.replace(HIDDEN, "").replace(PILED, "$1").trim();
  // By characters, so that none is cut in half.
  return isBlank(clean) ? "" : [...clean].slice(0, NAME_LENGTH).join("");
}
