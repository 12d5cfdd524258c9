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
}

/** Something the service has to answer before the page can go on. */
export type Task =
  { do: "look" } | { do: "start"; hint: string } | { do: "complete"; challenge: Challenge };

/** Why the form is shown again, where that needs saying. */
export type Note = "bad_handle" | "refused" | "gone" | "cookie_lost" | "left";

/** Whether we would hear of it if the wallet answered now. */
export type Line = "connecting" | "live" | "lost";

export type Screen =
  | { at: "looking" }
  | { at: "start"; note: Note | null }
  | { at: "starting"; hint: string }
  | { at: "waiting"; challenge: Challenge; line: Line; takenBack: boolean }
  | { at: "approved"; challenge: Challenge; line: Line }
  | { at: "completing"; challenge: Challenge }
  | { at: "denied"; reason: EndReason | null }
  | { at: "expired"; reason: EndReason | null }
  | { at: "crowded"; whose: "handle" | "address"; since: number; retryAt: number; hint: string }
  | {
      at: "unreachable";
      task: Task;
      attempt: number;
      offline: boolean;
      since: number;
      retryAt: number;
      /** The next attempt is under way. */
      trying: boolean;
    }
  | { at: "signed_in"; session: SessionInfo; leaving: boolean; leavingFailed: boolean }
  | { at: "signed_out"; reason: RevokeReason | null; endedAt: number | null };

export type Event =
  | { type: "session_found"; session: SessionInfo }
  | { type: "session_absent"; reason: RevokeReason | null; endedAt: number | null }
  | { type: "submitted"; hint: string }
  | { type: "started"; challenge: Challenge }
  | { type: "refused"; note: Note }
  | { type: "crowded"; whose: "handle" | "address"; now: number; retryAfterMs: number | null }
  | { type: "unreachable"; offline: boolean; now: number; retryAfterMs: number | null }
  | { type: "retry" }
  | { type: "told"; status: LoginStatus }
  | { type: "line"; id: string; line: Line }
  | { type: "gone"; id: string }
  | { type: "cancelled" }
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
      return screen.at === "start" ? { at: "starting", hint: event.hint } : screen;
    case "started":
      return taskOf(screen)?.do === "start"
        ? { at: "waiting", challenge: event.challenge, line: "connecting", takenBack: false }
        : screen;
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
    case "cancelled":
      return pendingOf(screen) || taskOf(screen)?.do === "start"
        ? { at: "start", note: null }
        : screen;
    case "again":
      return ["denied", "expired", "crowded", "signed_out"].includes(screen.at)
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
      return { do: "look" };
    case "starting":
      return { do: "start", hint: screen.hint };
    case "completing":
      return { do: "complete", challenge: screen.challenge };
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
  return task?.do === "complete" ? task.challenge : watched(screen);
}

/** Where a page begins: with the challenge it had before a reload, or by asking who is signed in. */
export function opening(remembered: Challenge | null): Screen {
  return remembered === null
    ? { at: "looking" }
    : { at: "waiting", challenge: remembered, line: "connecting", takenBack: false };
}

function sessionFound(screen: Screen, session: SessionInfo): Screen {
  if (screen.at === "signed_in") return { ...screen, session };
  // A tab that waits for its own number stays with it: somebody may be signing in as a second
  // person there, and the other tab's session must not take the number from under their eyes.
  if (watched(screen) || taskOf(screen)?.do === "start") return screen;
  return { at: "signed_in", session, leaving: false, leavingFailed: false };
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
  return { at: "unreachable", task, attempt, offline, since, retryAt, trying: false };
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
      };
    case "approved":
      return { at: "approved", challenge, line: "live" };
    case "active":
      return { at: "completing", challenge };
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

/** The challenge that `/auth/start` opened. */
export function challengeFrom(answer: StartResponse, hint: string | null, now: number): Challenge {
  return {
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
