// Hearing at once that a session has ended, and never believing in one for long without asking.

import type { ForceLogout, RevokeReason, SessionInfo } from "../gen/protocol";
import { api, type Refused } from "./api";
import { parseTime } from "./login";
import { everySoOften, later, whenLookedAt } from "./timing";

export interface Keeper {
  found(session: SessionInfo): void;
  ended(reason: RevokeReason | null, endedAt: number | null): void;
  /** Whether the page needs its stream also while nobody looks at it. */
  busy(): boolean;
}

const ASK_EVERY_MS = 60_000;
const REOPEN_AFTER_MS = 2_000;
/**
 * Over HTTP/1.1 a browser opens six connections to one origin, all tabs together. A stream in each of
 * a few forgotten tabs would block the seventh, so a hidden page gives its stream back and asks
 * when it is looked at again.
 */
const HIDDEN_FOR_MS = 30_000;

/** Watches the session until `signal` aborts. */
export function keep(keeper: Keeper, signal: AbortSignal): void {
  let source: EventSource | null = null;
  let hidden = new AbortController();

  open();
  everySoOften(ASK_EVERY_MS, signal, () => document.visibilityState === "visible" && void ask());
  whenLookedAt(signal, () => {
    hidden.abort();
    if (source === null) open();
    void ask();
  });
  document.addEventListener("visibilitychange", leftAlone, { signal });
  signal.addEventListener("abort", close);

  function open(): void {
    source?.close();
    source = new EventSource("/session/stream");
    source.addEventListener("force_logout", (event: MessageEvent<string>) => {
      if (signal.aborted) return;
      const end = parseEnd(event.data);
      keeper.ended(end.reason, end.endedAt);
    });
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      void ask();
      later(REOPEN_AFTER_MS, signal, () => source && open());
    };
  }

  function close(): void {
    hidden.abort();
    source?.close();
    source = null;
  }

  function leftAlone(): void {
    if (document.visibilityState !== "hidden") return;
    hidden = new AbortController();
    later(HIDDEN_FOR_MS, hidden.signal, rest);
  }

  function rest(): void {
    if (keeper.busy()) later(HIDDEN_FOR_MS, hidden.signal, rest);
    else close();
  }

  async function ask(): Promise<void> {
    const answer = await api.session(signal);
    if (signal.aborted) return;
    if (answer.kind === "ok") keeper.found(answer.body);
    if (answer.kind === "refused" && answer.status === 401) {
      const end = endIn(answer);
      keeper.ended(end.reason, end.endedAt);
    }
  }
}

export interface End {
  reason: RevokeReason | null;
  endedAt: number | null;
}

/** The data of `force_logout`; even one that cannot be read ends the session on the page. */
export function parseEnd(data: string): End {
  try {
    return endOf(JSON.parse(data) as ForceLogout | null);
  } catch {
    return endOf(null);
  }
}

/** A 401 may say what became of the session whose cookie this browser still holds. */
export function endIn(answer: Refused): End {
  return endOf(answer.problem as Partial<ForceLogout> | null);
}

function endOf(told: Partial<ForceLogout> | null): End {
  return { reason: told?.reason ?? null, endedAt: parseTime(told?.at) };
}
