// What has to be done while a screen is shown: ask, watch, wait, remember. Work follows from the
// screen alone (a level, not an edge): the same work goes on while its name stays the same, and is
// called off when another screen takes its place.

import { api, type Refused, type Unreachable } from "./api";
import { now } from "./clock";
import { challengeFrom, opening, pendingOf, step, taskOf, watched } from "./login";
import type { Event, Screen, Task } from "./login";
import { lastHandle, ownChallenge } from "./memory";
import { endIn, keep } from "./presence";
import { later, pause, whenLookedAt } from "./timing";
import { watch } from "./watch";

/** A 409 `not_active_yet` after `active`: another instance of the service is a moment behind. */
const NOT_ACTIVE_YET_MS = 300;
const ATTEMPTS_TO_COMPLETE = 8;

export type Send = (event: Event) => void;

/** Starts, calls `show` with every screen, and returns the way to send what the person does. */
export function conduct(show: (screen: Screen) => void): { first: Screen; send: Send } {
  const first = opening(ownChallenge.read());
  let screen = first;
  let work = new AbortController();
  let workName = "";

  const send: Send = (event) => {
    const before = screen;
    screen = step(before, event);
    if (screen === before) return;
    const givenUp = event.type === "cancelled" ? pendingOf(before) : null;
    if (givenUp) void api.cancel(givenUp.id);
    if (event.type === "submitted") lastHandle.write(event.hint);
    ownChallenge.write(pendingOf(screen));
    show(screen);
    continueWork();
  };

  function continueWork(): void {
    const name = nameOfWork(screen);
    if (name === workName) return;
    work.abort();
    work = new AbortController();
    workName = name;
    begin(screen, send, work.signal);
  }

  // Somebody may have signed in in another tab while this one showed the form.
  whenLookedAt(new AbortController().signal, () => {
    if (idle(screen)) void lookQuietly(send);
  });
  queueMicrotask(continueWork);
  return { first, send };
}

/** Two screens with the same name are served by the same work. */
function nameOfWork(screen: Screen): string {
  const challenge = watched(screen);
  if (challenge) return `watch ${challenge.id}`;
  switch (screen.at) {
    case "unreachable":
      return `${screen.trying ? "try" : "wait"} ${screen.attempt} ${screen.task.do}`;
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
      return complete(task.challenge.id, send, signal);
  }
}

async function look(send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.session(signal);
  if (signal.aborted) return;
  if (answer.kind === "ok") send({ type: "session_found", session: answer.body });
  else if (answer.kind === "unreachable") send({ type: "unreachable", ...late(answer) });
  else send({ type: "session_absent", ...endIn(answer) });
}

async function start(hint: string, send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.start({ login_hint: hint }, signal);
  if (signal.aborted) return;
  if (answer.kind === "ok")
    return send({ type: "started", challenge: challengeFrom(answer.body, hint, now()) });
  if (answer.kind === "unreachable") return send({ type: "unreachable", ...late(answer) });
  if (answer.status === 429) {
    const whose = answer.code === "rate_limited" ? "address" : "handle";
    return send({ type: "crowded", whose, now: now(), retryAfterMs: answer.retryAfterMs });
  }
  send({ type: "refused", note: answer.status === 400 ? "bad_handle" : "refused" });
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
  return ["start", "denied", "expired", "crowded", "signed_out"].includes(screen.at);
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
