// Times as a person says them: relative up to an hour, then of the clock, then of the calendar.

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

export interface TimeWords {
  now: string;
  minutes: (n: number) => string;
}

/** When something was. A time a little ahead of this computer's clock is "now", too. */
export function since(at: number, now: number, locale: string, words: TimeWords): string {
  const ago = now - at;
  if (ago < MINUTE_MS && ago > -HOUR_MS) return words.now;
  if (ago > 0 && ago < HOUR_MS) return words.minutes(Math.floor(ago / MINUTE_MS));
  return clock(at, now, locale);
}

/** A time of day today, with its date on any other day, with the year in another year. */
export function clock(at: number, now: number, locale: string): string {
  const time = timeOfDay(at, locale);
  return sameDay(at, now) ? time : `${day(at, now, locale)} ${time}`;
}

export function timeOfDay(at: number, locale: string): string {
  const options: Intl.DateTimeFormatOptions = { hour: "numeric", minute: "2-digit" };
  // Engines disagree on how Korean writes morning and afternoon, so there it is the 24-hour clock.
  if (locale.toLowerCase().startsWith("ko")) options.hourCycle = "h23";
  return held(new Intl.DateTimeFormat(locale, options).format(at));
}

/** A day, with its year where that is another one. */
export function day(at: number, now: number, locale: string): string {
  const options: Intl.DateTimeFormatOptions = { month: "short", day: "numeric" };
  if (new Date(at).getFullYear() !== new Date(now).getFullYear()) options.year = "numeric";
  return held(new Intl.DateTimeFormat(locale, options).format(at));
}

export function sameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/** Days back from today's: 0 is today, 1 yesterday. */
export function daysAgo(at: number, now: number): number {
  const midnight = (ms: number) => new Date(ms).setHours(0, 0, 0, 0);
  return Math.round((midnight(now) - midnight(at)) / (24 * HOUR_MS));
}

/** A line may not end between a day and its month. */
function held(text: string): string {
  return text.replace(/\s/g, "\u00a0");
}
