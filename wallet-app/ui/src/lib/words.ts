// What the window says. English names the keys; every other language has exactly these, or does not
// compile.

import { en, type Message } from "./words/en";
import { ko } from "./words/ko";

export type { Message };
export type Words = typeof en;
export type Language = "en" | "ko";

export const WORDS: Record<Language, Words> = { en, ko };

/** The person's choice, or else the first of the computer's languages that we speak. */
export function pickLanguage(chosen: "system" | Language, preferred: readonly string[]): Language {
  if (chosen !== "system") return chosen;
  for (const tag of preferred) {
    const language = tag.toLowerCase().split("-")[0];
    if (language === "ko" || language === "en") return language;
  }
  return "en";
}

/** The computer's own variant of the language (`en-GB` has another clock than `en-US`). */
export function localeTag(preferred: readonly string[], language: Language): string {
  return preferred.find((tag) => tag.toLowerCase().split("-")[0] === language) ?? language;
}

/** A word by name where we have one, else the name itself: services invent their own. */
export function named(table: Record<string, string>, name: string): string {
  return Object.hasOwn(table, name) ? table[name]! : name;
}
