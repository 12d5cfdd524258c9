// What has to be done while a screen is shown: ask, watch, wait, remember. Work follows from the
// screen alone (a level, not an edge): the same work goes on while its name stays the same, and is
// called off when another screen takes its place.

import type { Order, TransferNote } from "./account";
import {
  api,
  stepUpIn,
  type Answer,
  type Refused,
  type Transferred,
  type Unreachable,
} from "./api";
import { now } from "./clock";
import { challengeFrom, isLinked, opening, parseTime, pendingOf, taskOf, watched } from "./login";
import type { Arrival, Back, Challenge, Screen, Task } from "./login";
import { lastHandle, ownChallenge } from "./memory";
import { offersTransfer } from "./offers";
import { endIn, keep } from "./presence";
import { alone, isFirst, tellTabs, untilTold } from "./tabs";
import { later, pause, whenLookedAt } from "./timing";
import { isBusy, loginIn, step, type PageEvent } from "./transfer";
import { watch } from "./watch";

/** A 409 `not_active_yet` after `active`: another instance of the service is a moment behind. */
const NOT_ACTIVE_YET_MS = 300;
const ATTEMPTS_TO_COMPLETE = 8;
/** A wallet that opens takes its link within this; a slow one is only asked after too early. */
const SILENCE_MS = 6_000;
/** The tab that came back from the wallet completes; the one where it began follows, or takes over. */
const HEAD_START_MS = 1_500;
/** A page that has just connected is known to be within this; then a transfer is tried once more. */
const CONNECTED_WITHIN_MS = 1_500;

export type Send = (event: PageEvent) => void;

/** Starts, calls `show` with every screen, and returns the way to send what the person does. */
export function conduct(
  show: (screen: Screen) => void,
  arrival: Arrival,
): { first: Screen; send: Send } {
  const first = opening(ownChallenge.read(), arrival);
  let screen = first;
  const work = slot((signal) => begin(screen, send, signal, () => isBusy(screen)));
  // Beside the session, which is kept meanwhile.
  const confirmation = slot((signal) => begin(loginIn(screen), send, signal, () => true));
  const order = slot((signal) => void sendOrder(screen, send, signal));
  const balance = slot((signal) => void lookAtBalance(send, signal));
  const patience = slot((signal) => {
    const challenge = watched(loginIn(screen));
    if (challenge) later(SILENCE_MS, signal, () => send({ type: "silence", id: challenge.id }));
  });

  const send: Send = (event) => {
    const before = screen;
    screen = step(before, event);
    if (screen === before) return;
    const givenUp = givenUpBy(event, before);
    if (givenUp) void api.cancel(givenUp);
    if (event.type === "submitted" && event.hint !== null) lastHandle.write(event.hint);
    ownChallenge.write(pendingOf(loginIn(screen)));
    show(screen);
    continueWork();
    // Once, while the press on the button still counts as one; the link itself stays on the page.
    if (event.type === "started" || event.type === "asked") {
      const isShown = watched(loginIn(screen))?.id === event.challenge.id;
      if (!isShown) void api.cancel(event.challenge.id);
      else if (event.challenge.walletLink) openWallet(event.challenge.walletLink);
    }
    // Somebody may be signed in already: then the form is nothing for them.
    if (event.type === "again" && idle(screen)) void lookQuietly(send);
    if (event.type === "told" && event.status.reason === "session_ended") void lookForEnd(send);
  };

  function continueWork(): void {
    work(nameOfWork(screen));
    const login = loginIn(screen);
    confirmation(login === screen ? "" : nameOfWork(login));
    const account = screen.at === "signed_in" && offersTransfer ? screen.account : null;
    order(account?.transfer.at === "sending" ? `send ${account.transfer.confirmed}` : "");
    const session = screen.at === "signed_in" ? screen.session.session_id : "";
    balance(account?.looking === "asking" ? `look ${session}` : "");
    const asked = login.at === "waiting" && isLinked(login.challenge) && login.wallet === "asked";
    patience(asked ? `silence ${login.challenge.id}` : "");
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
function givenUpBy(event: PageEvent, before: Screen): string | null {
  if (event.type === "cancelled") return pendingOf(loginIn(before))?.id ?? null;
  // Who signs out confirms nothing any more.
  if (event.type === "leave" && loginIn(before) !== before)
    return pendingOf(loginIn(before))?.id ?? null;
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

function begin(screen: Screen, send: Send, signal: AbortSignal, busy: () => boolean): void {
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
        busy,
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
        : complete(task.challenge, send, signal);
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
  if (!cameBack && !challenge.order) await untilTold(challenge.id, HEAD_START_MS, signal);
  await alone(`miid.complete.${challenge.id}`, signal, async () => {
    if (signal.aborted) return;
    // A session was there before a confirmation, too: it says nothing about that.
    if (!cameBack && !challenge.order) {
      const session = await api.session(signal);
      if (signal.aborted) return;
      if (session.kind === "ok" && (did === null || session.body.did === did))
        return send({ type: "session_found", session: session.body });
    }
    await complete(challenge, send, signal);
  });
  tellTabs(challenge.id);
}

async function complete(challenge: Challenge, send: Send, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const answer = await api.complete(challenge.id, signal);
    if (signal.aborted) return;
    if (answer.kind === "ok") {
      if (answer.body.stepped_up_until) return send({ type: "stepped_up", session: answer.body });
      // A sign-in is believed once its cookie came back; a confirmation is not one without its time.
      return challenge.order ? send({ type: "refused", note: "gone" }) : look(send, signal);
    }
    if (answer.kind === "unreachable" || attempt === ATTEMPTS_TO_COMPLETE)
      return send({ type: "unreachable", ...late(answer) });
    if (answer.code !== "not_active_yet") break;
    await pause(NOT_ACTIVE_YET_MS * attempt, signal);
  }
  // Completed already, by an answer that was lost, or forgotten: the session itself tells which.
  const session = await api.session(signal);
  if (signal.aborted) return;
  if (session.kind === "ok") {
    send({ type: "session_found", session: session.body });
    // Where it was a confirmation, nothing came of it.
    send({ type: "refused", note: "gone" });
  } else if (session.kind === "unreachable") send({ type: "unreachable", ...late(session) });
  else {
    send({ type: "refused", note: "gone" });
    send({ type: "session_absent", ...endIn(session) });
  }
}

/** Sends what the person ordered, once: of what they confirmed in their wallet also if this tab was copied. */
async function sendOrder(screen: Screen, send: Send, signal: AbortSignal): Promise<void> {
  if (screen.at !== "signed_in" || screen.account.transfer.at !== "sending") return;
  const { order, confirmed } = screen.account.transfer;
  if (confirmed !== null && !(await isFirst(confirmed)))
    return send({ type: "not_transferred", note: { kind: "elsewhere" } });
  if (signal.aborted) return;
  let answer = await transfer(order);
  if (!signal.aborted && confirmed !== null && isNotConnected(answer)) {
    await pause(CONNECTED_WITHIN_MS, signal);
    if (!signal.aborted) answer = await transfer(order);
  }
  if (signal.aborted) return;
  if (answer.kind === "ok") {
    const { transferred, balance } = answer.body;
    const receipt = { ...transferred, at: parseTime(transferred.at) };
    return send({ type: "transferred", receipt, balance: balance ?? null });
  }
  const asked = answer.kind === "refused" ? stepUpIn(answer) : null;
  if (asked) return send({ type: "asked", challenge: challengeFrom(asked, null, now(), order) });
  if (answer.kind === "refused" && answer.status === 401)
    return send({ type: "session_absent", ...endIn(answer) });
  send({ type: "not_transferred", note: noteOf(answer) });
}

const transfer = ({ to, amount }: Order) => api.transfer({ to, amount });

const isNotConnected = (answer: Answer<Transferred>) =>
  answer.kind === "refused" && answer.code === "active_session_required";

/** Why nothing was sent. Only an answer says so: without one it may have been. */
export function noteOf(answer: Refused | Unreachable): TransferNote {
  if (answer.kind === "unreachable") {
    return { kind: answer.status === 503 ? "away" : "unknown" };
  }
  if (answer.status === 429) {
    const { retryAfterMs } = answer;
    return {
      kind: "crowded",
      since: now(),
      retryAt: retryAfterMs === null ? null : now() + retryAfterMs,
    };
  }
  switch (answer.code) {
    case "invalid_request":
      return { kind: "invalid" };
    case "insufficient_funds":
      return { kind: "funds" };
    case "active_session_required":
      return { kind: "not_connected" };
    default:
      return { kind: "refused" };
  }
}

async function lookAtBalance(send: Send, signal: AbortSignal): Promise<void> {
  const answer = await api.balance(signal);
  if (signal.aborted) return;
  if (answer.kind === "ok") send({ type: "balance", balance: answer.body.balance });
  else if (answer.kind === "refused" && answer.status === 401)
    send({ type: "session_absent", ...endIn(answer) });
  else send({ type: "balance", balance: null });
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

/** Asks whether the session is over, as something that hung on it says. */
async function lookForEnd(send: Send): Promise<void> {
  const answer = await api.session();
  if (answer.kind === "refused" && answer.status === 401)
    send({ type: "session_absent", ...endIn(answer) });
}

function late(answer: Refused | Unreachable) {
  const offline = answer.kind === "unreachable" && answer.offline;
  return { offline, now: now(), retryAfterMs: answer.retryAfterMs };
}
