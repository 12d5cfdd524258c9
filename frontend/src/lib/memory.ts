// What this browser keeps. A browser that forbids storage loses comfort, never the sign-in.

import type { Order } from "./account";
import type { Challenge } from "./login";

const HANDLE = "miid.last-handle";
const CHALLENGE = "miid.challenge";

/** The handle typed last, shared by all tabs: the only thing that is. */
export const lastHandle = {
  read: (): string => attempt(() => localStorage.getItem(HANDLE)) ?? "",
  write: (handle: string): void => void attempt(() => localStorage.setItem(HANDLE, handle)),
};

/**
 * The challenge of this tab, for a reload. It holds no secret: what proves that the challenge is
 * ours is a cookie that no script can read.
 */
export const ownChallenge = {
  read(): Challenge | null {
    const text = attempt(() => sessionStorage.getItem(CHALLENGE));
    return text ? parseChallenge(text) : null;
  },
  write(challenge: Challenge | null): void {
    attempt(() =>
      challenge
        ? // Whoever has the link can claim it; the page needs it only while it is fresh.
          sessionStorage.setItem(CHALLENGE, JSON.stringify({ ...challenge, walletLink: null }))
        : sessionStorage.removeItem(CHALLENGE),
    );
  },
};

/** Null for anything but a whole challenge: an older page may have written something else. */
export function parseChallenge(text: string): Challenge | null {
  const read = attempt(() => JSON.parse(text) as Partial<Challenge> | null);
  const whole =
    typeof read === "object" &&
    read !== null &&
    typeof read.id === "string" &&
    typeof read.streamUrl === "string" &&
    /^\/[^/]/.test(read.streamUrl) &&
    Number.isFinite(read.startedAt) &&
    Number.isFinite(read.expiresAt);
  if (!whole) return null;
  const order = parseOrder(read.order);
  const stringOrNull = (value: unknown) => (typeof value === "string" ? value : null);
  return {
    id: read.id!,
    streamUrl: read.streamUrl!,
    startedAt: read.startedAt!,
    expiresAt: read.expiresAt!,
    hint: stringOrNull(read.hint),
    matchCode: stringOrNull(read.matchCode),
    // A link is opened only while it is fresh from the service.
    walletLink: null,
    ...(order ? { order } : {}),
  };
}

function parseOrder(read: Partial<Order> | null | undefined): Order | null {
  if (typeof read !== "object" || read === null) return null;
  const { to, amount, sessionId } = read;
  const whole = typeof to === "string" && typeof sessionId === "string" && Number.isInteger(amount);
  return whole ? { to, amount: amount!, sessionId } : null;
}

function attempt<T>(run: () => T): T | null {
  try {
    return run();
  } catch {
    return null;
  }
}
