// What a signed-in person can do here: see a balance, send something, and confirm that in their wallet where
// it is large. The demo's own nouns; how they follow one another stands in `transfer.ts`.

import type { EndReason } from "../gen/protocol";
import type { Screen } from "./login";

/** What is to be sent, and in which session it was asked for: in no other one it is ever sent. */
export interface Order {
  to: string;
  amount: number;
  sessionId: string;
}

/** What was sent. */
export interface Receipt {
  to: string;
  amount: number;
  id: string;
  /** Milliseconds since 1970; null where nobody says. */
  at: number | null;
}

/** Why nothing was sent, or may not have been. */
export type TransferNote =
  | { kind: "denied" | "expired"; reason: EndReason | null }
  | { kind: "crowded"; since: number; retryAt: number | null }
  | {
      kind:
        | "invalid"
        | "funds"
        | "not_connected"
        | "away"
        | "unknown"
        | "cancelled"
        | "gone"
        | "not_accepted"
        | "elsewhere"
        | "refused";
    };

export type Transfer =
  /** `order`: what was tried last, for the form to begin with. */
  | { at: "form"; order: Order | null; note: TransferNote | null }
  /** `confirmed`: the request that the person approved for it. */
  | { at: "sending"; order: Order; confirmed: string | null }
  /** The wallet is asked. `login` is a sign-in like any other, but that it signs nobody in. */
  | { at: "confirming"; order: Order; login: Screen }
  | { at: "done"; receipt: Receipt };

export interface Account {
  /** Null until it is known. */
  balance: number | null;
  /** Whether it is being asked for, and whether the last time came to nothing. */
  looking: "asking" | "known" | "away";
  transfer: Transfer;
}

export const FRESH: Account = {
  balance: null,
  looking: "asking",
  transfer: { at: "form", order: null, note: null },
};

/** From here on the wallet is asked; the service has the last word. */
export const LARGE = 100;
const MOST = 1_000_000;
const LONGEST = 40;

/** A whole number that can be sent; null for anything else. Spaces and thousands separators do not count. */
export function parseAmount(typed: string): number | null {
  const digits = typed.normalize("NFKC").replace(/[\s,']/g, "");
  if (!/^\d{1,7}$/.test(digits)) return null;
  const amount = Number(digits);
  return amount >= 1 && amount <= MOST ? amount : null;
}

/** To whom; null where there is nobody, or a name that hides something. */
export function parseName(typed: string): string | null {
  const name = typed.trim();
  const shown = name !== "" && [...name].length <= LONGEST && !/[\p{C}\p{Zl}\p{Zp}]/u.test(name);
  return shown ? name : null;
}
