// What the page says, in the browser's language.

import type { EndReason, RevokeReason } from "../gen/protocol";
import { en, type EndedWords, type Message } from "./words/en";
import { ko } from "./words/ko";

export type { Message };

/** English names the keys; every other language has exactly these, or does not compile. */
export type Words = typeof en;
export type Language = "en" | "ko";

const WORDS: Record<Language, Words> = { en, ko };

/** The first of the browser's languages that we speak; English where there is none. */
export function pickLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const language = tag.toLowerCase().split("-")[0];
    if (language === "ko" || language === "en") return language;
  }
  return "en";
}

export const language: Language = pickLanguage(
  typeof navigator === "undefined" ? [] : (navigator.languages ?? [navigator.language]),
);

export const words: Words = WORDS[language];

/** The message for a reason; `other` for one that a later version of the protocol may bring. */
export function messageFor(table: Record<string, Message>, reason: EndReason | null): Message {
  return (reason !== null && Object.hasOwn(table, reason) && table[reason]) || table["other"]!;
}

/** Why a session ended, in one sentence; `endedAt` and `now` are milliseconds, null where unknown. */
export function endedWords(
  { why, when }: Words["signedOut"],
  end: { reason: RevokeReason | null; endedAt: number | null },
  about: { service: string; now: number; locale: string },
): string {
  const known: Record<string, EndedWords> = why;
  const { reason, endedAt } = end;
  const say = (reason !== null && Object.hasOwn(known, reason) && known[reason]) || why.other;
  if (endedAt === null) return say(about.service, "");
  const today = sameDay(endedAt, about.now);
  return say(about.service, when(formatTime(endedAt, about.now, about.locale), today));
}

/** A time of day today, with its date on any other day. */
export function formatTime(at: number, now: number, locale: string): string {
  // Browsers disagree on how Korean writes morning and afternoon ("오후 2:02", "PM 2:02"), so there
  // it is the 24-hour clock, which timetables and phones in Korea use as well.
  const korean = locale.toLowerCase().startsWith("ko");
  const time: Intl.DateTimeFormatOptions = { hour: "numeric", minute: "2-digit" };
  if (korean) time.hourCycle = "h23";
  const date = { year: "numeric", month: "short", day: "numeric" } as const;
  const format = new Intl.DateTimeFormat(locale, sameDay(at, now) ? time : { ...date, ...time });
  // Held together: a line may end between date and time, not between a day and its month.
  const parts = format.formatToParts(at);
  const beforeTime = parts.findIndex(({ type }) => type === "hour") - 1;
  return parts
    .map(({ value }, at) => (at === beforeTime ? value : value.replace(/\s/g, "\u00a0")))
    .join("");
}

function sameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/** The browser's own variant of the language (`en-GB` has another clock than `en-US`). */
export function localeTag(preferred: readonly string[], chosen: Language): string {
  return preferred.find((tag) => tag.toLowerCase().split("-")[0] === chosen) ?? chosen;
}

export const locale: string = localeTag(
  typeof navigator === "undefined" ? [] : navigator.languages,
  language,
);

/** Name of the service, from the page's `application-name`. */
export const serviceName: string =
  typeof document === "undefined"
    ? ""
    : (document.querySelector<HTMLMetaElement>('meta[name="application-name"]')?.content ?? "");
