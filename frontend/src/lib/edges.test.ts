// What comes from outside and may be anything: storage, streams, clocks, claims.

import { describe, expect, it, vi } from "vitest";
import { claimRows } from "./claims";
import { distance } from "./clock";
import { ownChallenge, parseChallenge } from "./memory";
import { endIn, parseEnd } from "./presence";
import { parseStatus } from "./watch";

describe("a remembered challenge", () => {
  const whole = {
    id: "1",
    hint: "alice",
    matchCode: "47",
    walletLink: "miid://challenge/1",
    streamUrl: "/auth/stream/1",
    startedAt: 1,
    expiresAt: 2,
  };

  it("comes back without its link", () => {
    expect(parseChallenge(JSON.stringify(whole))).toEqual({ ...whole, walletLink: null });
  });

  it("is never written with its link", () => {
    const setItem = vi.fn();
    vi.stubGlobal("sessionStorage", { setItem });
    ownChallenge.write({ ...whole, walletLink: "miid://challenge/1?s=miid_ls_x" });
    vi.unstubAllGlobals();
    expect(setItem).toHaveBeenCalledOnce();
    expect(JSON.stringify(setItem.mock.calls)).not.toContain("miid_ls_");
  });

  it.each([
    "",
    "null",
    "{",
    "[]",
    "{}",
    JSON.stringify({ ...whole, expiresAt: "2" }),
    JSON.stringify({ ...whole, streamUrl: "https://example.com/" }),
    JSON.stringify({ ...whole, streamUrl: "//example.com/" }),
  ])("is forgotten when it is %s", (text) => expect(parseChallenge(text)).toBeNull());
});

describe("an event", () => {
  it("is a status or nothing", () => {
    expect(parseStatus('{"challenge_id":"1","status":"pending"}')?.status).toBe("pending");
    for (const data of ["", "null", "{}", "7", '{"status":"active"}'])
      expect(parseStatus(data), data).toBeNull();
  });

  it("ends the session even when it cannot be read", () => {
    const at = "2026-11-20T14:02:00.000Z";
    expect(parseEnd(JSON.stringify({ reason: "user", at }))).toEqual({
      reason: "user",
      endedAt: Date.parse(at),
    });
    for (const data of ["", "null", "{}", "{"])
      expect(parseEnd(data), data).toEqual({ reason: null, endedAt: null });
  });

  it("may be told by the 401 as well", () => {
    const problem = { type: "", title: "", status: 401, code: "not_authenticated" } as const;
    const refused = {
      kind: "refused",
      status: 401,
      code: problem.code,
      retryAfterMs: null,
    } as const;
    expect(endIn({ ...refused, problem })).toEqual({ reason: null, endedAt: null });
    expect(endIn({ ...refused, problem: { ...problem, reason: "user" } as never }).reason).toBe(
      "user",
    );
  });
});

describe("the service's clock", () => {
  const date = "Fri, 20 Nov 2026 12:00:00 GMT";
  const at = Date.parse(date);

  it("is ours while it is too close to call", () => {
    expect(distance(date, at + 100, at + 300)).toBe(0);
    expect(distance(date, at - 1_400, at - 1_000)).toBe(0);
  });

  it("wins over ours where that is wrong", () => {
    expect(distance(date, at - 600_000, at - 600_000)).toBe(600_500);
    expect(distance(date, at + 600_000, at + 600_000)).toBe(-599_500);
  });

  it("is unknown without a date", () => {
    expect(distance(null, at, at)).toBeNull();
    expect(distance("later", at, at)).toBeNull();
  });
});

describe("claims", () => {
  const session = {
    sub: "s",
    did: "did:key:z",
    session_id: "1",
    requested_claims: ["name", "email", "age"],
    approved_claims: ["name", "age"],
    claims: { name: "Alice", email: "stray@example.com", age: "7" },
    created_at: "",
    expires_at: "",
  };

  it("stand in the order asked, and one that was not approved has no value", () => {
    expect(claimRows(session)).toEqual([
      { claim: "name", value: "Alice" },
      { claim: "email", value: null },
      { claim: "age", value: "7" },
    ]);
  });
});
