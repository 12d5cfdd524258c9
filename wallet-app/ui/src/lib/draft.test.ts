import { describe, expect, it } from "vitest";
import { request, rule } from "../../tests/mock/props";
import { approval, missing, newDraft, proposed, ruleOffered, type Draft } from "./draft";
import { digitsOf } from "./number";
import type { Proposal, Request } from "./types";

const NOW = { over: false, settling: false };
const PROPOSAL: Proposal = {
  claims: [
    { name: "name", value: "Alice", ticked: true },
    { name: "email", value: "alice@example.com", ticked: false },
  ],
  known_service: true,
};

function draftOf(asked: Request, part: Partial<Draft> = {}): Draft {
  const claims = proposed(asked, PROPOSAL);
  return { ...newDraft(asked), claims, knownService: true, ...part };
}

describe("approve is closed", () => {
  const asked = request();

  it("until the core has said what it proposes", () => {
    expect(missing(asked, newDraft(asked), NOW)).toBe("loading");
  });

  it.each(["", "4"])("while the number is %j", (number) => {
    expect(missing(asked, draftOf(asked, { number }), NOW)).toBe("number");
  });

  it("once the time is over, whatever was typed", () => {
    expect(missing(asked, draftOf(asked, { number: "47" }), { ...NOW, over: true })).toBe("over");
  });

  it("in the first moment of a card", () => {
    const draft = draftOf(asked, { number: "47" });
    expect(missing(asked, draft, { ...NOW, settling: true })).toBe("settling");
  });

  it("while a ticked line has no value", () => {
    const draft = draftOf(asked, { number: "47" });
    draft.claims![0]!.value = "  ";
    expect(missing(asked, draft, NOW)).toBe("value");
    draft.claims![0]!.ticked = false;
    expect(missing(asked, draft, NOW)).toBeNull();
  });

  it("and open with both digits; a linked request has none", () => {
    expect(missing(asked, draftOf(asked, { number: "47" }), NOW)).toBeNull();
    const linked = request({ binding: "linked" });
    expect(missing(linked, draftOf(linked), NOW)).toBeNull();
  });
});

describe("what is proposed", () => {
  it("is what the service asks, in its order, and nothing that it did not ask", () => {
    const asked = request({ claims: ["phone", "name"] });
    const claims = proposed(asked, PROPOSAL);
    expect(claims.map(({ name }) => name)).toEqual(["phone", "name"]);
    expect(claims[0]).toMatchObject({ ticked: false, value: "", kept: null });
  });

  it("never ticks a line without a value", () => {
    const nothing = { claims: [{ name: "name", value: null, ticked: true }], known_service: false };
    expect(proposed(request(), nothing)[0]!.ticked).toBe(false);
  });
});

describe("an approval", () => {
  it("shares what is ticked, trimmed, and remembers only what was changed and is to be kept", () => {
    const asked = request();
    const draft = draftOf(asked, { number: "47" });
    draft.claims![0]!.remember = true;
    draft.claims![1]!.ticked = true;
    draft.claims![1]!.value = " other@example.com ";
    draft.claims![1]!.remember = true;
    expect(approval(asked, draft, [])).toEqual({
      wallet: asked.wallet,
      challenge_id: asked.challenge_id,
      digest: asked.digest,
      match_code: "47",
      scopes: ["profile", "email"],
      share: { name: "Alice", email: "other@example.com" },
      remember: ["email"],
    });
  });

  it("allows no more than was asked", () => {
    const asked = request();
    const draft = draftOf(asked, { number: "47", scopes: ["email", "admin"] });
    expect(approval(asked, draft, []).scopes).toEqual(["email"]);
  });

  it("allows a session that asks once more what it may do already", () => {
    const asked = request({ risk: "step_up", claims: [], session_since: "2026-11-20T12:00:00Z" });
    const draft = draftOf(asked, { number: "47", scopes: [] });
    expect(approval(asked, draft, [])).toMatchObject({ scopes: asked.scopes, share: {} });
  });

  it("sends no number for a linked request, even one that was typed", () => {
    const asked = request({ binding: "linked" });
    expect(approval(asked, draftOf(asked, { number: "47" }), []).match_code).toBeNull();
  });

  it("makes a rule only where it is asked for, and of the kind that the request lets it be", () => {
    const [linked, addressed] = [request({ binding: "linked" }), request()];
    const ruleOf = (asked: Request, part: Partial<Draft>) =>
      approval(asked, draftOf(asked, { number: "47", ...part }), []).rule;
    expect(ruleOf(linked, { rule: true })).toEqual({ kind: "one_click", days: 30 });
    expect(ruleOf(addressed, { rule: true })).toEqual({ kind: "prefill", days: 30 });
    for (const asked of [linked, addressed]) {
      expect(ruleOf(asked, {})).toBeUndefined();
      expect(ruleOf(asked, { rule: true, knownService: false })).toBeUndefined();
      expect(ruleOf({ ...asked, risk: "step_up" }, { rule: true })).toBeUndefined();
    }
  });

  it("puts no rule that fills in in the place of one that is there, nor one that has nothing to fill in", () => {
    const asked = request();
    const offered = (rules: ReturnType<typeof rule>[]) => ruleOffered(asked, draftOf(asked), rules);
    expect(offered([])).toBe("prefill");
    for (const kind of ["one_click", "prefill"] as const)
      expect(offered([rule({ kind })])).toBeNull();
    expect(offered([rule({ service_id: "another" }), rule({ wallet: "another" })])).toBe("prefill");
    const nothing = request({ claims: [] });
    expect(ruleOffered(nothing, draftOf(nothing), [])).toBeNull();
    const draft = draftOf(asked, { rule: true });
    expect(approval(asked, draft, [rule()]).rule).toBeUndefined();
  });
});

describe("the number", () => {
  it.each([
    ["4 7", "47"],
    ["４７", "47"],
    ["a4-7b9", "47"],
    ["4", "4"],
    ["", ""],
    ["칠", ""],
  ])("of %j is %j", (typed, digits) => expect(digitsOf(typed)).toBe(digits));
});
