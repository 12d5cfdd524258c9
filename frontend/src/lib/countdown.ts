/** What is left until a deadline, as the page shows it. */
export interface Left {
  seconds: number;
  /** `m:ss` */
  text: string;
  /** From 1 (all of it) to 0 (over), for the ring. */
  share: number;
}

/** `totalMs` is the whole span; times are milliseconds of the same clock. */
export function left(deadline: number, totalMs: number, now: number): Left {
  const ms = Math.max(0, deadline - now);
  // Rounded up, so that "0:00" appears when the time is over and not a second before.
  const seconds = Math.ceil(ms / 1000);
  return {
    seconds,
    text: `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`,
    share: totalMs > 0 ? Math.min(1, ms / totalMs) : 0,
  };
}

/** Milliseconds until the shown second changes. */
export function untilNextSecond(deadline: number, now: number): number {
  const ms = deadline - now;
  return ms <= 0 ? 1000 : ms % 1000 || 1000;
}

/** The moments worth saying aloud; every second would drown out the number. */
const SPOKEN_S = [60, 20];

/** The mark that was passed on the way from `before` to `after` seconds, if any. */
export function spokenMark(before: number, after: number): number | null {
  return SPOKEN_S.find((mark) => before > mark && after <= mark && after > 0) ?? null;
}

const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 30_000;

/** How long to leave the service alone after the `attempt`th failure (from 1) in a row. */
export function backOff(attempt: number, retryAfterMs: number | null): number {
  const own = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return Math.max(own, Math.min(retryAfterMs ?? 0, 10 * 60_000));
}
