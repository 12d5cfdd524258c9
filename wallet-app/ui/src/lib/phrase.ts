// The words of a recovery sheet while they are typed: which are wrong, and what was probably meant.
// Whether together they are a key is the core's to say.

import { WORDLIST } from "./wordlist";

const KNOWN = new Set(WORDLIST);
/** A key of 32 bytes and its checksum. */
export const WORDS = 24;

export interface PhraseWord {
  word: string;
  known: boolean;
  /** What was meant, best first; empty for a known word. */
  meant: string[];
}

/** "1. Abandon, 2. ability" and the like: numbers and commas from a sheet do no harm. */
export function wordsOf(typed: string): string[] {
  return typed
    .normalize("NFKC")
    .toLowerCase()
    .split(/[^\p{L}]+/u)
    .filter((word) => word !== "");
}

/** `typing`: the last word is still being typed, so that it is wrong only if nothing begins so. */
export function phraseOf(typed: string, typing: boolean): PhraseWord[] {
  const words = wordsOf(typed);
  const open = typing && /\p{L}$/u.test(typed);
  return words.map((word, at) => {
    const last = open && at === words.length - 1;
    const known = KNOWN.has(word) || (last && WORDLIST.some((other) => other.startsWith(word)));
    return { word, known, meant: known ? [] : meantBy(word) };
  });
}

/** Up to three words of the list near one that is not on it. */
export function meantBy(word: string): string[] {
  const begins = WORDLIST.filter((other) => other.startsWith(word));
  // Four letters tell every word of the list apart, so a wrong ending has one right one.
  const four =
    word.length >= 4 ? WORDLIST.filter((other) => other.startsWith(word.slice(0, 4))) : [];
  const near = WORDLIST.filter((other) => isOneSlipAway(word, other));
  return [...new Set([...begins, ...four, ...near])].slice(0, 3);
}

/** One letter more, fewer, different or swapped with its neighbour. */
export function isOneSlipAway(a: string, b: string): boolean {
  if (a === b || Math.abs(a.length - b.length) > 1) return false;
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  const [restA, restB] = [a.slice(at), b.slice(at)];
  return (
    restA.slice(1) === restB ||
    restA === restB.slice(1) ||
    restA.slice(1) === restB.slice(1) ||
    (restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2))
  );
}

/** Replaces the `at`th word, keeping the rest as it was typed. */
export function replaceWord(typed: string, at: number, by: string): string {
  const words = wordsOf(typed);
  words[at] = by;
  return `${words.join(" ")} `;
}

/** Two different places, in order, that the person is asked to type again. */
export function twoToAsk(count: number, random: () => number): [number, number] {
  const first = Math.floor(random() * count);
  const second = (first + 1 + Math.floor(random() * (count - 1))) % count;
  return first < second ? [first, second] : [second, first];
}
