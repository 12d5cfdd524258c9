// What the person has typed and ticked on a card, and whether that is enough to approve.

import { isStepUp } from "./queue";
import type { Proposal, Request, Rule, RuleKind } from "./types";

export interface DraftClaim {
  name: string;
  ticked: boolean;
  value: string;
  /** As the profile has it. */
  kept: string | null;
  editing: boolean;
  remember: boolean;
}

/** Everything on one card that is not in the view. */
export interface Draft {
  number: string;
  /** Null until the core has said what it proposes. */
  claims: DraftClaim[] | null;
  knownService: boolean;
  scopes: string[];
  rule: boolean;
  ruleDays: number;
  touched: boolean;
}

export function newDraft(request: Request): Draft {
  return {
    number: "",
    claims: null,
    knownService: false,
    scopes: [...request.scopes],
    rule: false,
    ruleDays: 30,
    touched: false,
  };
}

/** In the order in which the service asks; what it did not ask for is not offered. */
export function proposed(request: Request, { claims }: Proposal): DraftClaim[] {
  return request.claims.map((name) => {
    const known = claims.find((claim) => claim.name === name);
    const value = known?.value ?? null;
    return {
      name,
      ticked: (known?.ticked ?? false) && value !== null,
      value: value ?? "",
      kept: value,
      editing: false,
      remember: false,
    };
  });
}

/** Why it cannot be approved yet, the first thing first; null when it can. */
export type Missing = "loading" | "number" | "value" | "over" | "settling" | null;

export interface Moment {
  /** Whether its time has run out. */
  over: boolean;
  /** Opened so lately that a press is likely meant for what stood there before. */
  settling: boolean;
}

export function missing(request: Request, draft: Draft, moment: Moment): Missing {
  if (moment.over) return "over";
  if (draft.claims === null) return "loading";
  if (request.binding === "addressed" && draft.number.length !== 2) return "number";
  if (draft.claims.some(({ ticked, value }) => ticked && value.trim() === "")) return "value";
  return moment.settling ? "settling" : null;
}

export function edited(claim: DraftClaim): boolean {
  return claim.value.trim() !== (claim.kept ?? "");
}

/**
 * The rule that may be offered here, if any. For what comes from another computer it fills in and no
 * more; and since a service has one rule, it is not offered in place of one that is there.
 */
export function ruleOffered(
  request: Request,
  draft: Draft,
  rules: readonly Rule[],
): RuleKind | null {
  if (request.risk !== "normal" || !draft.knownService) return null;
  if (request.binding === "linked") return "one_click";
  const ruled = rules.some(
    ({ wallet, service_id }) => wallet === request.wallet && service_id === request.service.id,
  );
  return ruled || request.claims.length === 0 ? null : "prefill";
}

/** The draft as `approve` takes it. */
export function approval(request: Request, draft: Draft, rules: readonly Rule[]) {
  const kind = draft.rule ? ruleOffered(request, draft, rules) : null;
  const shared = (draft.claims ?? []).filter(({ ticked }) => ticked);
  return {
    wallet: request.wallet,
    challenge_id: request.challenge_id,
    digest: request.digest,
    match_code: request.binding === "addressed" ? draft.number : null,
    // What a session may do already is not chosen anew.
    scopes: request.scopes.filter((scope) => isStepUp(request) || draft.scopes.includes(scope)),
    share: Object.fromEntries(shared.map(({ name, value }) => [name, value.trim()])),
    remember: shared.filter((claim) => claim.remember && edited(claim)).map(({ name }) => name),
    ...(kind === null ? {} : { rule: { kind, days: draft.ruleDays } }),
  };
}
