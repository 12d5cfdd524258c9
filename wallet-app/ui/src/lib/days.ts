import { day, daysAgo } from "./times";
import type { HistoryEntry } from "./types";

export interface DayGroup {
  title: string;
  entries: HistoryEntry[];
}

/** Entries, newest first, under the days on which they happened. */
export function groupByDay(
  entries: readonly HistoryEntry[],
  now: number,
  locale: string,
  words: { today: string; yesterday: string },
): DayGroup[] {
  const groups: DayGroup[] = [];
  for (const entry of entries) {
    const at = Date.parse(entry.at);
    const ago = daysAgo(at, now);
    const title = ago === 0 ? words.today : ago === 1 ? words.yesterday : day(at, now, locale);
    const last = groups.at(-1);
    if (last?.title === title) last.entries.push(entry);
    else groups.push({ title, entries: [entry] });
  }
  return groups;
}
