// What has to be done while a screen is shown: ask, watch, wait, remember. Work follows from the
// screen alone (a level, not an edge): the same work goes on while its name stays the same, and is
// called off when another screen takes its place.

import { api, type Refused, type Unreachable } from "./api";
import { now } from "./clock";
import { challengeFrom, isLinked, opening, pendingOf, step, taskOf, watched } from "./login";
import type { Arrival, Back, Event, Screen, Task } from "./login";
import { lastHandle, ownChallenge } from "./memory";
import { endIn, keep } from "./presence";
import { alone, tellTabs, untilTold } from "./tabs";
import { later, pause, whenLookedAt } from "./timing";
import { watch } from "./watch";

/** A 409 `not_active_yet` after `active`: another instance of the service is a moment behind. */
const NOT_ACTIVE_YET_MS = 300;
const ATTEMPTS_TO_COMPLETE = 8;
/** A wallet that opens takes its link within this; a slow one is only asked after too early. */
const SILENCE_MS = 6_000;
/** The tab that came back from the wallet completes; the one where it began follows, or takes over. */
const HEAD_START_MS = 1_500;

export type Send = (event: Event) => void;

/** Starts, calls `show` with every screen, and returns the way to send what the person does. */
export function conduct(
  show: (screen: Screen) => void,
  arrival: Arrival,
): { first: Screen; send: Send } {
  const first = opening(ownChallenge.read(), arrival);
  let screen = first;
  const work = slot((signal) => begin(screen, send, signal));
  const patience = slot((signal) => {
    const challenge = watched(screen);
    if (challenge) later(SILENCE_MS, signal, () => send({ type: "silence", id: challenge.id }));
  });

  const send: Send = (event) => {
    const before = screen;
    screen = step(before, event);
    if (screen === before) return;
    const givenUp = givenUpBy(event, before);
    if (givenUp) void api.cancel(givenUp);
    if (event.type === "submitted" && event.hint !== null) lastHandle.write(event.hint);
    ownChallenge.write(pendingOf(screen));
    show(screen);
    continueWork();
    // Once, while the press on the button still counts as one; the link itself stays on the page.
    if (event.type === "started" && event.challenge.walletLink)
      openWallet(event.challenge.walletLink);
  };

  function continueWork(): void {
    work(nameOfWork(screen));
    const asked =
      screen.at === "waiting" && isLinked(screen.challenge) && screen.wallet === "asked";
    patience(asked ? `silence ${watched(screen)?.id}` : "");
  }

  // Somebody may have signed in in another tab while this one showed the form.
  whenLookedAt(new AbortController().signal, () => {
    if (idle(screen)) void lookQuietly(send);
  });
  queueMicrotask(continueWork);
  return { first, send };
}

/** Work that goes on while its name stays the same; a new name calls the old one off, none just that. */
function slot(begin: (signal: AbortSignal) => void): (name: string) => void {
  let controller = new AbortController();
  let current = "";
  return (name) => {
    if (name === current) return;
    controller.abort();
    controller = new AbortController();
    current = name;
    if (name !== "") begin(controller.signal);
  };
}

/** The sign-in that the person gives up with this. */
function givenUpBy(event: Event, before: Screen): string | null {
  if (event.type === "cancelled") return pendingOf(before)?.id ?? null;
  return event.type === "not_continued" && before.at === "confirm" ? before.back.id : null;
}

/** Where no wallet is installed this does nothing, or shows the browser's own words. */
function openWallet(link: string): void {
  try {
    location.assign(link);
  } catch {
    // The link stands on the page.
  }
}

/** Two screens with the same name are served by the same work. */
function nameOfWork(screen: Screen): string {
  const challenge = watched(screen);
  if (challenge) return `watch ${challenge.id}`;
  switch (screen.at) {
    case "unreachable":
      return `${screen.trying ? "try" : "wait"} ${screen.attempt} ${screen.task.do}`;
    case "returning":
      return `returning ${screen.stage}`;
    case "signed_in":
      return `${screen.leaving ? "leave" : "keep"} ${screen.session.session_id}`;
    case "signed_out":
      return `signed_out ${screen.endedAt} ${screen.reason}`;
    default:
      return screen.at;
  }
}

function begin(screen: Screen, send: Send, signal: AbortSignal): void {
  const challenge = watched(screen);
  const task = taskOf(screen);
  if (challenge) {
    const { id } = challenge;
    watch(
      challenge,
      {
        told: (status) => send({ type: "told", status }),
        line: (line) => send({ type: "line", id, line }),
        gone: () => send({ type: "gone", id }),
      },
      signal,
    );
  } else if (screen.at === "unreachable" && !screen.trying) {
    later(screen.retryAt - now(), signal, () => send({ type: "retry" }));
    whenLookedAt(signal, () => send({ type: "retry" }));
  } else if (task) {
    void perform(task, send, signal);
  } else if (screen.at === "signed_in" && screen.leaving) {
    void leave(send, signal);
  } else if (screen.at === "signed_in") {
    keep(
      {
        found: (session) => send({ type: "session_found", session }),
        ended: (reason, endedAt) => send({ type: "forced_out", reason, endedAt }),
      },
      signal,
    );
  } else if (screen.at === "signed_out" && screen.reason === "superseded") {
    // Most often this very browser signed in again, in another tab, and its cookie is here already.
    void lookQuietly(send);
  }
}

async function perform(task: Task, send: Send, signal: AbortSignal): Promise<void> {
  switch (task.do) {
    case "look":
      return look(send, signal);
    case "start":
      return start(task.hint, send, signal);
    case "complete":
      return isLinked(task.challenge)
        ? completeLinked(task, send, signal)
        : complete(task.challenge.id, send, signal);
    case "learn":
      return learn(task.back, send, signal);
    case "return":
      return comeBack(task.back, send, signal);
  }
}

async function look(send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.session(signal);
  if (signal.aborted) return;
  if (answer.kind === "ok") send({ type: "session_found", session: answer.body });
  else if (answer.kind === "unreachable") send({ type: "unreachable", ...late(answer) });
  else send({ type: "session_absent", ...endIn(answer) });
}

async function start(hint: string | null, send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.start(hint === null ? {} : { login_hint: hint }, signal);
  if (signal.aborted) return;
  if (answer.kind === "ok")
    return send({ type: "started", challenge: challengeFrom(answer.body, hint, now()) });
  if (answer.kind === "unreachable") return send({ type: "unreachable", ...late(answer) });
  if (answer.status === 429) {
    const whose = answer.code === "rate_limited" ? "address" : "handle";
    return send({ type: "crowded", whose, now: now(), retryAfterMs: answer.retryAfterMs });
  }
  const wrong = hint === null ? "not_offered" : "bad_handle";
  send({ type: "refused", note: answer.status === 400 ? wrong : "refused" });
}

/** Whether it began in this browser, before anything is done with it. */
async function learn(back: Back, send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.status(back.id, signal);
  if (signal.aborted) return;
  if (answer.kind === "unreachable" || (answer.kind === "refused" && answer.status === 429))
    return send({ type: "unreachable", ...late(answer) });
  if (answer.kind === "refused")
    return send({ type: answer.status === 404 ? "foreign" : "lapsed" });
  const { status } = answer.body;
  if (status === "pending" || status === "approved") return send({ type: "learned" });
  send({ type: "returned", status: answer.body, now: now() });
}

async function comeBack(back: Back, send: Send, signal: AbortSignal): Promise<void> {
  const { id: challenge_id, responseCode: response_code, issuer: iss, did } = back;
  const sent = { challenge_id, response_code, iss, ...(did === null ? {} : { did }) };
  const answer = await api.returned(sent, signal);
  if (signal.aborted) return;
  if (answer.kind === "ok") return send({ type: "returned", status: answer.body, now: now() });
  if (answer.kind === "unreachable" || answer.status === 429)
    return send({ type: "unreachable", ...late(answer) });
  send({ type: "lapsed" });
}

/** The tab that came back completes. The tab where it began looks first whether that is done. */
async function completeLinked(
  { challenge, did, cameBack }: Extract<Task, { do: "complete" }>,
  send: Send,
  signal: AbortSignal,
): Promise<void> {
  if (!cameBack) await untilTold(challenge.id, HEAD_START_MS, signal);
  await alone(`miid.complete.${challenge.id}`, signal, async () => {
    if (signal.aborted) return;
    if (!cameBack) {
      const session = await api.session(signal);
      if (signal.aborted) return;
      if (session.kind === "ok" && (did === null || session.body.did === did))
        return send({ type: "session_found", session: session.body });
    }
    await complete(challenge.id, send, signal);
  });
  tellTabs(challenge.id);
}

async function complete(id: string, send: Send, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const answer = await api.complete(id, signal);
    if (signal.aborted) return;
    if (answer.kind === "ok") return look(send, signal);
    if (answer.kind === "unreachable" || attempt === ATTEMPTS_TO_COMPLETE)
      return send({ type: "unreachable", ...late(answer) });
    if (answer.code !== "not_active_yet") break;
    await pause(NOT_ACTIVE_YET_MS * attempt, signal);
  }
  // Completed already, by an answer that was lost, or forgotten: the session itself tells which.
  const session = await api.session(signal);
  if (signal.aborted) return;
  if (session.kind === "ok") send({ type: "session_found", session: session.body });
  else if (session.kind === "unreachable") send({ type: "unreachable", ...late(session) });
  else send({ type: "refused", note: "gone" });
}

async function leave(send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.logout();
  if (!signal.aborted) send({ type: answer.kind === "ok" ? "left" : "leave_failed" });
}

function idle(screen: Screen): boolean {
  const shown = ["start", "denied", "expired", "crowded", "signed_out", "stopped", "lapsed"];
  return shown.includes(screen.at);
}

/** Asks who is signed in without letting a failure disturb what is shown. */
async function lookQuietly(send: Send): Promise<void> {
  const answer = await api.session();
  if (answer.kind === "ok") send({ type: "session_found", session: answer.body });
}

function late(answer: Refused | Unreachable) {
  const offline = answer.kind === "unreachable" && answer.offline;
  return { offline, now: now(), retryAfterMs: answer.retryAfterMs };
}
