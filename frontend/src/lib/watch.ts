// Hearing of a challenge's fate: from its stream, and by asking wherever the stream is silent.

import type { LoginStatus } from "../gen/protocol";
import { api } from "./api";
import { now } from "./clock";
import { everySoOften, later, whenLookedAt } from "./timing";
import type { Challenge, Line } from "./login";

export interface Listener {
  told(status: LoginStatus): void;
  line(line: Line): void;
  gone(): void;
}

const EVENTS = ["snapshot", "claimed", "pending", "approved", "active", "denied", "expired"];

/** While the stream is down, has not said anything yet, or should have said that time is up. */
const ASK_EVERY_MS = 2_000;
/** While it is up: a connection can die without either end noticing. */
const ASK_ANYWAY_MS = 20_000;
const REOPEN_AFTER_MS = 1_000;
const REOPEN_AT_LATEST_MS = 15_000;

/** Watches until `signal` aborts. May say the same thing twice; that is the listener's to bear. */
export function watch(challenge: Challenge, listener: Listener, signal: AbortSignal): void {
  let source: EventSource;
  let streaming = false;
  let asking = false;
  let heardAt = Date.now();
  let reopenAfter = REOPEN_AFTER_MS;

  open();
  everySoOften(ASK_EVERY_MS, signal, () => {
    const due = now() >= challenge.expiresAt;
    if (!streaming || due || Date.now() - heardAt >= ASK_ANYWAY_MS) void ask();
  });
  whenLookedAt(signal, () => void ask());
  signal.addEventListener("abort", () => source.close());

  function open(): void {
    source = new EventSource(challenge.streamUrl);
    for (const name of EVENTS) source.addEventListener(name, heard);
    source.onerror = () => {
      streaming = false;
      void ask();
      // The browser itself goes on after a lost connection, and gives up after an answer that is no
      // stream (404, 503). Then it is ours to find out why and to open another one.
      if (source.readyState === EventSource.CLOSED) {
        later(reopenAfter, signal, open);
        reopenAfter = Math.min(reopenAfter * 2, REOPEN_AT_LATEST_MS);
      }
    };
  }

  function heard(event: MessageEvent<string>): void {
    const status = parseStatus(event.data);
    if (signal.aborted || !status) return;
    streaming = true;
    reopenAfter = REOPEN_AFTER_MS;
    tell(status);
  }

  async function ask(): Promise<void> {
    if (asking || signal.aborted) return;
    asking = true;
    const answer = await api.status(challenge.id, signal);
    asking = false;
    if (signal.aborted) return;
    if (answer.kind === "ok") tell(answer.body);
    else if (answer.kind === "refused" && answer.status === 404) listener.gone();
    else if (!streaming) listener.line("lost");
  }

  function tell(status: LoginStatus): void {
    heardAt = Date.now();
    listener.line("live");
    listener.told(status);
  }
}

/** The data of one event, null for what cannot be read: asking will tell. */
export function parseStatus(data: string): LoginStatus | null {
  try {
    const read = JSON.parse(data) as LoginStatus | null;
    const whole = typeof read?.challenge_id === "string" && typeof read.status === "string";
    return whole ? read : null;
  } catch {
    return null;
  }
}
