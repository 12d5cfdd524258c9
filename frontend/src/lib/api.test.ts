import { afterEach, describe, expect, it, vi } from "vitest";
import { api, failure, retryAfter, stepUpIn, type Refused, type Unreachable } from "./api";
import { noteOf } from "./conduct";

const NOW = Date.parse("2026-11-20T12:00:00Z");

function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify({ type: "about:blank", title: "No", status, code }), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });
}

afterEach(() => vi.unstubAllGlobals());

describe("an answer outside 2xx", () => {
  it("is a refusal with its code", async () => {
    expect(await failure(problem(404, "challenge_not_found"), NOW)).toMatchObject({
      kind: "refused",
      status: 404,
      code: "challenge_not_found",
      retryAfterMs: null,
    });
  });

  it("keeps how long to wait", async () => {
    const answer = await failure(problem(429, "rate_limited", { "retry-after": "17" }), NOW);
    expect(answer).toMatchObject({ kind: "refused", code: "rate_limited", retryAfterMs: 17_000 });
  });

  it.each([500, 502, 503, 504])("is nobody's decision at %i", async (status) => {
    const answer = await failure(problem(status, "busy", { "retry-after": "3" }), NOW);
    expect(answer).toEqual({ kind: "unreachable", offline: false, retryAfterMs: 3_000, status });
  });

  it.each(["<html>Not found</html>", "", "null", "[]", '{"code":7}'])(
    "is a refusal without a code when its body is %j",
    async (body) => {
      const answer = await failure(new Response(body, { status: 404 }), NOW);
      expect(answer).toMatchObject({ kind: "refused", status: 404, code: "", problem: null });
    },
  );
});

describe("Retry-After", () => {
  it("is seconds, a date, or nothing", () => {
    expect(retryAfter("30", NOW)).toBe(30_000);
    expect(retryAfter("Fri, 20 Nov 2026 12:00:09 GMT", NOW)).toBe(9_000);
    expect(retryAfter("Fri, 20 Nov 2026 11:00:00 GMT", NOW)).toBe(0);
    expect(retryAfter("soon", NOW)).toBeNull();
    expect(retryAfter(null, NOW)).toBeNull();
  });
});

describe("asking", () => {
  it("sends the hint as JSON to this origin", async () => {
    const fetch = vi.fn(async () => new Response('{"challenge_id":"1"}', { status: 201 }));
    vi.stubGlobal("fetch", fetch);
    const answer = await api.start({ login_hint: "alice" });
    expect(answer).toEqual({ kind: "ok", body: { challenge_id: "1" } });
    const [path, request] = fetch.mock.calls[0] as unknown as [string, RequestInit];
    expect(path).toBe("/auth/start");
    expect(request).toMatchObject({ method: "POST", body: '{"login_hint":"alice"}' });
    expect(request.headers).toMatchObject({ "content-type": "application/json" });
  });

  it("calls a network that fails unreachable", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
    expect(await api.session()).toMatchObject({ kind: "unreachable", retryAfterMs: null });
  });

  it("calls a proxy's page in place of JSON unreachable", async () => {
    vi.stubGlobal("fetch", async () => new Response("<html>Log in to the Wi-Fi</html>"));
    expect(await api.session()).toMatchObject({ kind: "unreachable" });
  });

  it("does not read a body that nobody needs", async () => {
    vi.stubGlobal("fetch", async () => new Response(null, { status: 204 }));
    expect(await api.logout()).toMatchObject({ kind: "ok" });
  });

  it("finds the request that a transfer began, and nothing in any other refusal", async () => {
    const step_up = { challenge_id: "1", stream_url: "/auth/stream/1" };
    const refused = async (code: string, more: object) =>
      (await failure(
        new Response(JSON.stringify({ code, ...more }), { status: 401 }),
        NOW,
      )) as Refused;
    expect(stepUpIn(await refused("step_up_required", { step_up }))).toEqual(step_up);
    expect(stepUpIn(await refused("not_authenticated", { step_up }))).toBeNull();
    expect(stepUpIn(await refused("step_up_required", {}))).toBeNull();
    expect(stepUpIn(await refused("step_up_required", { step_up: "x" }))).toBeNull();
  });

  it("says of a transfer what its answer says, and without one that it may have been done", () => {
    const refused = (status: number, code: string): Refused => ({
      kind: "refused",
      status,
      code,
      retryAfterMs: null,
      problem: null,
    });
    const away = (status?: number): Unreachable => ({
      kind: "unreachable",
      offline: false,
      retryAfterMs: null,
      ...(status === undefined ? {} : { status }),
    });
    const kinds = [
      [refused(400, "invalid_request"), "invalid"],
      [refused(403, "active_session_required"), "not_connected"],
      [refused(409, "insufficient_funds"), "funds"],
      [refused(429, "too_many_challenges"), "crowded"],
      [refused(403, "cross_site_request"), "refused"],
      [refused(418, ""), "refused"],
      [away(503), "away"],
      [away(502), "unknown"],
      [away(500), "unknown"],
      [away(), "unknown"],
      [{ ...away(), offline: true }, "unknown"],
    ] as const;
    for (const [answer, kind] of kinds)
      expect(noteOf(answer), JSON.stringify(answer)).toMatchObject({ kind });
  });

  it("keeps an id from becoming a path", async () => {
    const fetch = vi.fn(async () => new Response("{}"));
    vi.stubGlobal("fetch", fetch);
    await api.status("../session?x");
    expect((fetch.mock.calls[0] as unknown as [string])[0]).toBe("/auth/status/..%2Fsession%3Fx");
  });
});
