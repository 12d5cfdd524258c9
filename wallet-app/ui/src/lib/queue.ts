// Which request is the open card. The rule that everything else serves: what a person looks at is
// never exchanged under their eyes; a newer one announces itself and waits.

import type { Mute, Request } from "./types";

/** What a card stands for: another text, or the same request told by another gateway, is another card. */
export const cardOf = ({ wallet, challenge_id, digest }: Request): string =>
  `${wallet} ${challenge_id} ${digest}`;

/** Whether it is to confirm something in a session that is there, and signs nobody in. */
export const isStepUp = ({ risk }: Request): boolean => risk === "step_up";

/** Whether the person wants to hear nothing of it: it stands in the list, and no more. */
export function isMuted(request: Request, mutes: readonly Mute[]): boolean {
  return mutes.some(
    ({ wallet, service_id }) => wallet === request.wallet && service_id === request.service.id,
  );
}

export interface Looking {
  /** The card that is open now. */
  open: string | null;
  /** Whether the window shows it: the right page, and not hidden. */
  seen: boolean;
  /** Whether the person has typed or changed something on it. */
  touched: boolean;
}

/** The request that should be open, given what is (newest first). */
export function chooseOpen(
  requests: readonly Request[],
  looking: Looking,
  mutes: readonly Mute[] = [],
): string | null {
  const kept = requests.some((request) => cardOf(request) === looking.open);
  if (kept && (looking.seen || looking.touched)) return looking.open;
  // What was approved but is not finished yet comes after what still waits for an answer.
  const pending = requests.filter(({ standing }) => standing === "pending");
  const loud = pending.find((request) => !isMuted(request, mutes));
  const next = loud ?? pending[0] ?? requests[0];
  return next ? cardOf(next) : null;
}

/**
 * Those that wait for an answer, may make themselves heard and are not before somebody's eyes,
 * newest first. `page` is the page of requests, where that is what is looked at: what is older than
 * its open card stands there, too, below the card.
 */
export function calling(
  requests: readonly Request[],
  mutes: readonly Mute[],
  page: { open: string | null } | null,
): Request[] {
  const at = requests.findIndex((request) => cardOf(request) === page?.open);
  const unseen = page === null ? requests : requests.slice(0, Math.max(0, at));
  return unseen.filter((request) => request.standing === "pending" && !isMuted(request, mutes));
}

/** Those of `requests` that were not there before. */
export function arrived(before: readonly Request[], requests: readonly Request[]): Request[] {
  const known = new Set(before.map(cardOf));
  return requests.filter(
    (request) => request.standing === "pending" && !known.has(cardOf(request)),
  );
}
