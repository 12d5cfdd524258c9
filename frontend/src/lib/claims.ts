import type { SessionInfo } from "../gen/protocol";

export interface ClaimRow {
  claim: string;
  /** Null where the person did not share it. */
  value: string | null;
}

/**
 * What was asked, in the order in which it was asked, with what the person shared of it. A value
 * counts only where the claim was approved as well: a stray one is not ours to show.
 */
export function claimRows(session: SessionInfo): ClaimRow[] {
  return session.requested_claims.map((claim) => {
    const shared = session.approved_claims.includes(claim) ? session.claims[claim] : undefined;
    return { claim, value: shared || null };
  });
}
