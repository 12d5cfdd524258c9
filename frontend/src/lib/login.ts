// The sign-in as this page sees it: what it shows (`Screen`), what can happen (`Event`), and how
// the one follows from the other (`step`). Nothing here waits, asks, stores or reads a clock:
// `conduct.ts` does that, by looking at the screen.

import type {
  EndReason,
  LoginStatus,
  RevokeReason,
  SessionInfo,
  StartResponse,
} from "../gen/protocol";
import { FRESH, type Account, type Order } from "./account";
import { backOff } from "./countdown";

/** A sign-in that waits for the wallet. It has to survive a reload, so it is plain data. */
export interface Challenge {
  id: string;
  /** Whom the person said they are; null for a linked request. */
  hint: string | null;
  matchCode: string | null;
  walletLink: string | null;
  streamUrl: string;
  startedAt: number;
  expiresAt: number;
  /** What a confirmation is for; absent of a sign-in, and in a tab that did not begin it. */
  order?: Order;
}

/** What the wallet sent this browser back with. It is a secret: it is kept in memory and nowhere else. */
export interface Back {
  id: string;
  responseCode: string;
  issuer: string;
  /** Who approved, as the wallet's gateway says; the service makes sure of it. */
  did: string | null;
}

/** How this tab was opened: by a wallet's way back, by one that cannot be read, or by a person. */
export type Arrival = { back: Back; ask: boolean } | "broken" | null;

/** Something the service has to answer before the page can go on. */
export type Task =
  /** `confirming`: what this tab waited for before it was loaded anew. */
  | { do: "look"; confirming?: Challenge }
  | { do: "start"; hint: string | null }
  | { do: "complete"; challenge: Challenge; did: string | null; cameBack: boolean }
  | { do: "learn"; back: Back }
  | { do: "return"; back: Back };

/** Why the form is shown again, where that needs saying. */
export type Note =
  "bad_handle" | "not_offered" | "refused" | "gone" | "cookie_lost" | "not_continued" | "left";

/** What is known of the wallet that a link should open. */
export type Wallet = "asked" | "silent" | "claimed";

/** Whether we would hear of it if the wallet answered now. */
export type Line = "connecting" | "live" | "lost";

export type Screen =
  | { at: "looking"; confirming?: Challenge }
  /** `byHandle`: the person asked for that way. */
  | { at: "start"; note: Note | null; byHandle?: true }
  | { at: "starting"; hint: string | null }
  | { at: "waiting"; challenge: Challenge; line: Line; takenBack: boolean; wallet: Wallet }
  | { at: "approved"; challenge: Challenge; line: Line; did: string | null }
  /** `cameBack`: this is the tab that the wallet opened; any other follows it. */
  | { at: "completing"; challenge: Challenge; did: string | null; cameBack: boolean }
  /** Back from the wallet: is it this browser's, then it is used; is it somebody else's, they are stopped. */
  | { at: "returning"; back: Back; ask: boolean; stage: "learn" | "use" | "stop"; order?: Order }
  /** Another page may have led here. */
  | { at: "confirm"; back: Back; did: string; order?: Order }
  /** Somebody else began what was approved here. */
  | { at: "stopped" }
  /** The way back is used up, taken back or was never one. */
  | { at: "lapsed" }
  | { at: "denied"; reason: EndReason | null }
  | { at: "expired"; reason: EndReason | null }
  | {
      at: "crowded";
      whose: "handle" | "address";
      since: number;
      retryAt: number;
      hint: string | null;
    }
  | {
      at: "unreachable";
      task: Task;
      attempt: number;
      offline: boolean;
      since: number;
      retryAt: number;
      /** The next attempt is under way. */
      trying: boolean;
      /** A return from the wallet that goes on afterwards. */
      returning: Returning | null;
    }
  /** Back from the wallet, which confirmed something for another tab of this browser. */
  | { at: "confirmed" }
  | {
      at: "signed_in";
      session: SessionInfo;
      leaving: boolean;
      leavingFailed: boolean;
      account: Account;
    }
  | { at: "signed_out"; reason: RevokeReason | null; endedAt: number | null };

export type Event =
  | { type: "session_found"; session: SessionInfo }
  | { type: "session_absent"; reason: RevokeReason | null; endedAt: number | null }
  | { type: "submitted"; hint: string | null }
  | { type: "started"; challenge: Challenge }
  | { type: "refused"; note: Note }
  | { type: "crowded"; whose: "handle" | "address"; now: number; retryAfterMs: number | null }
  | { type: "unreachable"; offline: boolean; now: number; retryAfterMs: number | null }
  | { type: "retry" }
  | { type: "told"; status: LoginStatus }
  | { type: "line"; id: string; line: Line }
  | { type: "gone"; id: string }
  | { type: "silence"; id: string }
  | { type: "opened_again" }
  | { type: "learned" }
  | { type: "foreign" }
  | { type: "confirmed" }
  | { type: "not_continued" }
  | { type: "returned"; status: LoginStatus; now: number }
  | { type: "lapsed" }
  /** What was completed was a confirmation, in the session that is there. */
  | { type: "stepped_up"; session: SessionInfo }
  | { type: "cancelled"; byHandle?: true }
  | { type: "again" }
  | { type: "forced_out"; reason: RevokeReason | null; endedAt: number | null }
  | { type: "leave" }
  | { type: "left" }
  | { type: "leave_failed" };

/** Without a `Retry-After` a crowded handle is worth another try after this long. */
const CROWDED_MS = 60_000;

/** The next screen. An event that does not belong to the screen changes nothing: it came too late. */
export function step(screen: Screen, event: Event): Screen {
  switch (event.type) {
    case "session_found":
      return sessionFound(screen, event.session);
    case "session_absent":
      return sessionAbsent(screen, event);
    case "submitted":
      return mayStart(screen) ? { at: "starting", hint: event.hint } : screen;
    case "started":
      return taskOf(screen)?.do === "start" ? waitingFor(event.challenge) : screen;
    case "refused":
      return taskOf(screen) ? { at: "start", note: event.note } : screen;
    case "crowded": {
      const task = taskOf(screen);
      if (task?.do !== "start") return screen;
      const retryAt = event.now + (event.retryAfterMs ?? CROWDED_MS);
      return { at: "crowded", whose: event.whose, since: event.now, retryAt, hint: task.hint };
    }
    case "unreachable":
      return unreachable(screen, event);
    case "retry":
      return retry(screen);
    case "told":
      return told(screen, event.status);
    case "line":
      return watched(screen)?.id === event.id
        ? { ...(screen as Watching), line: event.line }
        : screen;
    case "gone":
      return watched(screen)?.id === event.id ? { at: "start", note: "gone" } : screen;
    case "silence":
      return screen.at === "waiting" &&
        screen.challenge.id === event.id &&
        screen.wallet === "asked"
        ? { ...screen, wallet: "silent" }
        : screen;
    case "opened_again":
      return screen.at === "waiting" && screen.wallet === "silent"
        ? { ...screen, wallet: "asked" }
        : screen;
    case "learned":
      return withReturning(screen, learned);
    case "foreign":
      // Not begun in this browser. Whether the code is right is the service's to find out: then it stops it.
      return withReturning(screen, (at) => ({ ...at, stage: "stop" }));
    case "confirmed": {
      if (screen.at !== "confirm") return screen;
      const { back, order } = screen;
      return { at: "returning", back, ask: true, stage: "use", ...(order ? { order } : {}) };
    }
    case "not_continued":
      return screen.at === "confirm" ? { at: "start", note: "not_continued" } : screen;
    case "returned":
      return withReturning(screen, (at) => returned(at, event.status, event.now));
    case "lapsed":
      return withReturning(screen, () => ({ at: "lapsed" }));
    case "stepped_up":
      return steppedUp(screen, event.session);
    case "cancelled":
      return pendingOf(screen) || returningIn(screen) || taskOf(screen)?.do === "start"
        ? { at: "start", note: null, ...(event.byHandle ? { byHandle: true } : {}) }
        : screen;
    case "again":
      if (screen.at === "confirmed") return { at: "looking" };
      return ["denied", "expired", "crowded", "signed_out", "stopped", "lapsed"].includes(screen.at)
        ? { at: "start", note: null }
        : screen;
    case "forced_out":
      return screen.at === "signed_in"
        ? { at: "signed_out", reason: event.reason, endedAt: event.endedAt }
        : screen;
    case "leave":
      return screen.at === "signed_in"
        ? { ...screen, leaving: true, leavingFailed: false }
        : screen;
    case "left":
      return screen.at === "signed_in" ? { at: "start", note: "left" } : screen;
    case "leave_failed":
      return screen.at === "signed_in"
        ? { ...screen, leaving: false, leavingFailed: true }
        : screen;
  }
}

type Watching = Extract<Screen, { at: "waiting" | "approved" }>;

/** What the page is waiting for an answer to. */
export function taskOf(screen: Screen): Task | null {
  switch (screen.at) {
    case "looking":
      return { do: "look", ...(screen.confirming ? { confirming: screen.confirming } : {}) };
    case "starting":
      return { do: "start", hint: screen.hint };
    case "completing": {
      const { challenge, did, cameBack } = screen;
      return { do: "complete", challenge, did, cameBack };
    }
    case "returning":
      return { do: screen.stage === "learn" ? "learn" : "return", back: screen.back };
    case "unreachable":
      return screen.task;
    default:
      return null;
  }
}

/** The challenge whose stream is to be watched. */
export function watched(screen: Screen): Challenge | null {
  return screen.at === "waiting" || screen.at === "approved" ? screen.challenge : null;
}

/** The challenge that a reload of the page has to come back to. */
export function pendingOf(screen: Screen): Challenge | null {
  const task = taskOf(screen);
  if (task?.do === "look") return task.confirming ?? null;
  return task?.do === "complete" ? task.challenge : watched(screen);
}

/** Whether a sign-in is bound to this browser by a link; otherwise it is addressed to somebody. */
export function isLinked(challenge: Challenge): boolean {
  return challenge.matchCode === null;
}

/**
 * Where a page begins: with what the wallet sent it, with the challenge it had before a reload, or by
 * asking who is signed in.
 */
export function opening(remembered: Challenge | null, arrival: Arrival = null): Screen {
  if (arrival === "broken") return { at: "lapsed" };
  if (arrival) {
    // The tab where it began may be the one that the wallet opened: then it goes on here.
    const order = remembered?.id === arrival.back.id ? remembered.order : undefined;
    return { at: "returning", ...arrival, stage: "learn", ...(order ? { order } : {}) };
  }
  if (remembered === null) return { at: "looking" };
  // Who confirms something is signed in: that is looked at first.
  return remembered.order ? { at: "looking", confirming: remembered } : waitingFor(remembered);
}

export function waitingFor(challenge: Challenge): Screen {
  return { at: "waiting", challenge, line: "connecting", takenBack: false, wallet: "asked" };
}

function mayStart(screen: Screen): boolean {
  if (screen.at === "waiting") return isLinked(screen.challenge); // after a reload its link is gone
  return screen.at === "start" || screen.at === "crowded";
}

type Returning = Extract<Screen, { at: "returning" }>;

/** The return that is under way, also while the service does not answer. */
function returningIn(screen: Screen): Returning | null {
  if (screen.at === "returning") return screen;
  return screen.at === "unreachable" ? screen.returning : null;
}

function withReturning(screen: Screen, change: (at: Returning) => Screen): Screen {
  const returning = returningIn(screen);
  return returning ? change(returning) : screen;
}

/** It is this browser's. Where another page may have led here with somebody else's approval it asks first. */
function learned(at: Returning): Screen {
  const { back, ask, order } = at;
  if (!ask) return { ...at, stage: "use" };
  if (back.did === null) return { at: "lapsed" };
  return { at: "confirm", back, did: back.did, ...(order ? { order } : {}) };
}

/** What became of the way back. */
function returned({ back, stage, order }: Returning, status: LoginStatus, now: number): Screen {
  const reason = status.reason ?? null;
  switch (status.status) {
    case "active":
    case "approved": {
      const challenge: Challenge = {
        id: back.id,
        hint: null,
        matchCode: null,
        walletLink: null,
        streamUrl: `/auth/stream/${encodeURIComponent(back.id)}`,
        startedAt: now,
        expiresAt: parseTime(status.expires_at) ?? now,
        ...(order ? { order } : {}),
      };
      return { at: "completing", challenge, did: status.did ?? back.did, cameBack: true };
    }
    case "denied":
      return { at: "denied", reason };
    case "expired":
    case "revoked":
      // In the browser where it began that is an end like others.
      return reason === "other_browser" && stage === "stop"
        ? { at: "stopped" }
        : { at: "expired", reason };
    default:
      return { at: "lapsed" };
  }
}

function sessionFound(screen: Screen, session: SessionInfo): Screen {
  if (screen.at === "signed_in" && screen.session.session_id === session.session_id)
    return { ...screen, session };
  // A tab that waits for its own number stays with it: somebody may be signing in as a second
  // person there, and the other tab's session must not take the number from under their eyes.
  if (watched(screen) || taskOf(screen)?.do === "start") return screen;
  // Nor does a session from before answer whether to go on as somebody else.
  if (returningIn(screen) || screen.at === "confirm") return screen;
  if (screen.at === "confirmed") return screen;
  const task = taskOf(screen);
  return signedIn(session, task?.do === "look" ? resumed(session, task.confirming) : FRESH);
}

function signedIn(session: SessionInfo, account: Account): Screen {
  return { at: "signed_in", session, leaving: false, leavingFailed: false, account };
}

/** A page that was loaded anew goes on waiting for the wallet, unless that was in another session. */
function resumed(session: SessionInfo, challenge: Challenge | undefined): Account {
  const order = challenge?.order;
  if (!challenge || order?.sessionId !== session.session_id) return FRESH;
  return { ...FRESH, transfer: { at: "confirming", order, login: waitingFor(challenge) } };
}

/** The order is sent by the tab that has it; any other says that it was confirmed. */
function steppedUp(screen: Screen, session: SessionInfo): Screen {
  const task = taskOf(screen);
  if (task?.do !== "complete") return screen;
  const { id, order } = task.challenge;
  if (order?.sessionId !== session.session_id) return { at: "confirmed" };
  return signedIn(session, { ...FRESH, transfer: { at: "sending", order, confirmed: id } });
}

function sessionAbsent(
  screen: Screen,
  end: { reason: RevokeReason | null; endedAt: number | null },
): Screen {
  if (screen.at === "signed_in") return { at: "signed_out", ...end };
  switch (taskOf(screen)?.do) {
    case "look":
      return end.reason === null ? { at: "start", note: null } : { at: "signed_out", ...end };
    case "complete":
      // The service signed us in and does not know us now: the cookie was not kept.
      return { at: "start", note: "cookie_lost" };
    default:
      return screen;
  }
}

function unreachable(
  screen: Screen,
  event: { offline: boolean; now: number; retryAfterMs: number | null },
): Screen {
  const task = taskOf(screen);
  if (!task) return screen;
  const attempt = screen.at === "unreachable" ? screen.attempt + 1 : 1;
  const retryAt = event.now + backOff(attempt, event.retryAfterMs);
  const { offline, now: since } = event;
  const returning = returningIn(screen);
  return { at: "unreachable", task, attempt, offline, since, retryAt, trying: false, returning };
}

function retry(screen: Screen): Screen {
  if (screen.at === "unreachable") return { ...screen, trying: true };
  if (screen.at === "crowded") return { at: "starting", hint: screen.hint };
  return screen;
}

function told(screen: Screen, told: LoginStatus): Screen {
  const challenge = watched(screen);
  if (challenge?.id !== told.challenge_id) return screen;
  const reason = told.reason ?? null;
  switch (told.status) {
    case "pending":
      return {
        at: "waiting",
        // While approved `expires_at` may be the code's; only a pending challenge's is the number's.
        challenge: { ...challenge, expiresAt: parseTime(told.expires_at) ?? challenge.expiresAt },
        line: "live",
        takenBack: screen.at === "approved" || (screen.at === "waiting" && screen.takenBack),
        wallet: told.claimed ? "claimed" : screen.at === "waiting" ? screen.wallet : "claimed",
      };
    case "approved":
      return { at: "approved", challenge, line: "live", did: told.did ?? null };
    case "active":
      return { at: "completing", challenge, did: told.did ?? didOf(screen), cameBack: false };
    case "denied":
      return { at: "denied", reason };
    case "expired":
    case "revoked":
      return { at: "expired", reason };
    default:
      // A status of a later version: staying where we are is the only honest thing.
      return screen;
  }
}

function didOf(screen: Screen): string | null {
  return screen.at === "approved" ? screen.did : null;
}

/** The challenge that `/auth/start` opened, or a transfer that has to be confirmed. */
export function challengeFrom(
  answer: StartResponse,
  hint: string | null,
  now: number,
  order?: Order,
): Challenge {
  return {
    ...(order ? { order } : {}),
    id: answer.challenge_id,
    hint,
    matchCode: answer.match_code ?? null,
    walletLink: walletLink(answer.wallet_link),
    streamUrl: answer.stream_url,
    startedAt: now,
    expiresAt: parseTime(answer.expires_at) ?? now,
  };
}

/** A link may open a wallet and nothing else; `javascript:` and friends never become an `href`. */
function walletLink(link: string | null | undefined): string | null {
  return link?.startsWith("miid://") ? link : null;
}

/** RFC 3339 to milliseconds, null for what is none. */
export function parseTime(text: string | null | undefined): number | null {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : at;
}
