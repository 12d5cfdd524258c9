// Timers that end with an AbortSignal, so that leaving a screen leaves nothing running.

export function later(ms: number, signal: AbortSignal, run: () => void): void {
  if (signal.aborted) return;
  const timer = setTimeout(run, ms);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

export function everySoOften(ms: number, signal: AbortSignal, run: () => void): void {
  if (signal.aborted) return;
  const timer = setInterval(run, ms);
  signal.addEventListener("abort", () => clearInterval(timer));
}

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    later(ms, signal, resolve);
    signal.addEventListener("abort", () => resolve());
  });
}

/**
 * Runs when somebody looks at the page again: back from another tab, from sleep, from no network,
 * or out of the back-forward cache.
 */
export function whenLookedAt(signal: AbortSignal, run: () => void): void {
  const look = () => {
    if (document.visibilityState === "visible") run();
  };
  document.addEventListener("visibilitychange", look, { signal });
  window.addEventListener("online", look, { signal });
  window.addEventListener("pageshow", (event) => event.persisted && look(), { signal });
}
