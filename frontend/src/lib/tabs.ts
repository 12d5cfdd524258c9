// Two tabs of one sign-in: the one where it began, and the one that the wallet opened. Completing gives
// the browser a fresh cookie and makes an earlier one worthless, so they do it one after the other.

const CHANNEL = "miid";

/** Tells the other tabs that this sign-in is complete; they share the cookie. */
export function tellTabs(id: string): void {
  if (typeof BroadcastChannel === "undefined") return;
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage({ completed: id });
  channel.close();
}

/** Until another tab says that it completed this sign-in, or for so long. */
export function untilTold(id: string, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(CHANNEL);
    const done = () => {
      clearTimeout(timer);
      channel?.close();
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    channel?.addEventListener(
      "message",
      ({ data }: MessageEvent<{ completed?: unknown } | null>) => {
        if (data?.completed === id) done();
      },
    );
  });
}

const ONCE = "miid.once";
/** How many are remembered: a tab that was copied acts within moments of the other. */
const REMEMBERED = 16;

/** Whether this tab is the first of this browser to do it. A tab can be copied, with all that it waits for. */
export async function isFirst(id: string): Promise<boolean> {
  let first = true;
  await alone(ONCE, new AbortController().signal, async () => {
    try {
      const done = (localStorage.getItem(ONCE) ?? "").split(" ").filter((one) => one !== "");
      first = !done.includes(id);
      localStorage.setItem(ONCE, [id, ...done].slice(0, REMEMBERED).join(" "));
    } catch {
      // Where nothing is kept, no tab is copied with what it waits for either.
    }
  });
  return first;
}

/** Runs while no other tab does the same; where a browser has no locks it just runs. */
export async function alone(
  name: string,
  signal: AbortSignal,
  run: () => Promise<void>,
): Promise<void> {
  if (typeof navigator === "undefined" || !navigator.locks) return run();
  try {
    await navigator.locks.request(name, { signal }, run);
  } catch (error) {
    // Called off while it waited for its turn.
    if (!signal.aborted) throw error;
  }
}
