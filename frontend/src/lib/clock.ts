// A countdown must not be wrong because this computer's clock is. Every answer of the service
// carries `Date`, from which we learn how far the two clocks lie apart.

/** A `Date` header has whole seconds and travels for a while; below this nothing can be told. */
const TRUSTED_WITHIN_MS = 2_000;

let aheadMs = 0;

/** The service's time, in milliseconds since 1970, as well as this page knows it. */
export function now(): number {
  return Date.now() + aheadMs;
}

/** Learns from the `Date` header of an answer that was asked for at `asked` and came at `answered`. */
export function learn(date: string | null, asked: number, answered: number): void {
  aheadMs = distance(date, asked, answered) ?? aheadMs;
}

/** How far the service's clock is ahead of ours, zero when too close to call, null when unknown. */
export function distance(date: string | null, asked: number, answered: number): number | null {
  const theirs = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(theirs)) return null;
  const ahead = theirs + 500 - (asked + answered) / 2;
  return Math.abs(ahead) <= TRUSTED_WITHIN_MS ? 0 : Math.round(ahead);
}
