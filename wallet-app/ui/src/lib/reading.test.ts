// What the page makes of text from elsewhere: statements, browsers, addresses, words, times.

import { describe, expect, it } from "vitest";
import { entries, identity, statement } from "../../tests/mock/props";
import { agentOf } from "./agent";
import { connectionOf, handleOf, hostOf, originOf, suggestHandle } from "./connection";
import { groupByDay } from "./days";
import { isOneSlipAway, meantBy, phraseOf, replaceWord, twoToAsk, wordsOf } from "./phrase";
import { stepsOf } from "./setup";
import { openStatement } from "./statement";
import { clock, daysAgo, since } from "./times";
import type { ConnectionState } from "./types";
import { WORDLIST } from "./wordlist";
import { en } from "./words/en";

describe("a statement", () => {
  it("is opened to who decided what about whom, and when", () => {
    expect(openStatement(statement({ iat: 1_795_000_000 }))).toMatchObject({
      decision: "approve",
      about: "demo-shop",
      matchCode: "47",
      scopes: ["profile", "email"],
      disclosed: true,
      at: 1_795_000_000_000,
    });
  });

  it("keeps letters of every script", () => {
    expect(openStatement(statement({ reason: "아니에요 👑" }))?.reason).toBe("아니에요 👑");
  });

  it.each(["", "a.b", "a.b.c", "e30.e30.x", "e30.bnVsbA.x", "e30.WzFd.x", "....", "%.%.%"])(
    "is not made of %j",
    (text) => expect(openStatement(text)).toBeNull(),
  );

  it("does not trust the kind of its members", () => {
    const odd = openStatement(statement({ iat: "soon", scopes: "all", match_code: 47 }));
    expect(odd).toMatchObject({ at: null, scopes: null, matchCode: null });
  });
});

describe("a browser", () => {
  it.each([
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox", "Linux"],
    [
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0",
      "Edge",
      "Windows",
    ],
    [
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
      "Safari",
      "macOS",
    ],
    [
      "Mozilla/5.0 (Linux; Android 16; Pixel) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Mobile Safari/537.36",
      "Chrome",
      "Android",
    ],
    ["curl/8", null, null],
  ])("is recognised in %j", (userAgent, browser, system) =>
    expect(agentOf(userAgent)).toEqual({ browser, system }),
  );
});

describe("an address", () => {
  it.each([
    ["id.example.com", "https://id.example.com"],
    [" https://ID.example.com/ ", "https://id.example.com"],
    ["example.com:8443", "https://example.com:8443"],
    ["http://127.0.0.1:14000", "http://127.0.0.1:14000"],
    ["http://localhost:4000", "http://localhost:4000"],
  ])("typed as %j is %j", (typed, origin) => expect(originOf(typed)).toBe(origin));

  it.each([
    "",
    "two words",
    "http://id.example.com",
    "ftp://x",
    "https://me:pw@x.example",
    "https://",
  ])("is not %j", (typed) => expect(originOf(typed)).toBeNull());

  it("shows its host, and an unprotected one whole", () => {
    expect(hostOf("https://id.example.com")).toBe("id.example.com");
    expect(hostOf("http://127.0.0.1:1")).toBe("http://127.0.0.1:1");
  });
});

describe("a handle", () => {
  it("is suggested from the name where that gives one", () => {
    expect(suggestHandle("Alice Kim")).toBe("alice-kim");
    expect(suggestHandle("José Núñez!")).toBe("jose-nunez");
    expect(suggestHandle("김앨리스")).toBe("");
    expect(suggestHandle("Al")).toBe("");
  });

  it("is checked as the server checks it", () => {
    expect(handleOf(" @Alice ")).toBe("alice");
    for (const typed of ["al", "-alice", "alice-", "a b c", "앨리스", "x".repeat(33)])
      expect(handleOf(typed), typed).toBeNull();
  });
});

describe("the connection", () => {
  const at = (...states: ConnectionState[]) =>
    states.map((state, n) => {
      const one = identity(`n${n}`);
      one.gateways[0]!.connection = { state };
      return one;
    });

  it("is the worst of all", () => {
    expect(connectionOf(at("connected", "disconnected", "connecting")).state).toBe("disconnected");
    expect(connectionOf(at("connected")).state).toBe("connected");
    expect(connectionOf([]).state).toBe("idle");
  });

  it("does not count what a retired identity hears", () => {
    const [old, live] = at("stopped", "connected");
    expect(connectionOf([{ ...old!, retired_at: "2026-01-01T00:00:00Z" }, live!]).state).toBe(
      "connected",
    );
  });
});

describe("recovery words", () => {
  it("come from the standard's list, unchanged", async () => {
    expect(WORDLIST).toHaveLength(2048);
    const text = new TextEncoder().encode(`${WORDLIST.join("\n")}\n`);
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
    const digest = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    expect(digest).toBe("2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda");
  });

  it("are read with the numbers and commas of a sheet", () => {
    expect(wordsOf("1. Abandon, 2) ability\n3 ＡＢＬＥ")).toEqual(["abandon", "ability", "able"]);
  });

  it("are not called wrong while they are being typed", () => {
    expect(phraseOf("abandon aba", true)[1]).toMatchObject({ known: true });
    expect(phraseOf("abandon aba", false)[1]).toMatchObject({ known: false });
    expect(phraseOf("abandon xq", true)[1]).toMatchObject({ known: false });
  });

  it("get a suggestion where a finger slipped", () => {
    expect(meantBy("thundr")).toContain("thunder");
    expect(meantBy("lantren")).toEqual([]);
    expect(meantBy("velevt")).toContain("velvet");
    expect(meantBy("abandan")).toContain("abandon");
    expect(replaceWord("1. thundr, orbit", 0, "thunder")).toBe("thunder orbit ");
  });

  it("are one slip apart or not", () => {
    for (const other of ["orbi", "orbits", "orbet", "obrit"])
      expect(isOneSlipAway("orbit", other), other).toBe(true);
    for (const other of ["orbit", "or", "tibro"])
      expect(isOneSlipAway("orbit", other), other).toBe(false);
  });

  it("are asked for at two different places, in order", () => {
    for (const [a, b] of [
      [0, 0],
      [0.999, 0.999],
      [0.5, 0.96],
    ] as const) {
      const draws = [a, b];
      const [first, second] = twoToAsk(24, () => draws.shift()!);
      expect(first).toBeGreaterThanOrEqual(0);
      expect(second).toBeLessThan(24);
      expect(first).toBeLessThan(second);
    }
  });
});

describe("times", () => {
  const now = new Date(2026, 10, 20, 15, 5).getTime();
  const words = en.time;

  it("are relative up to an hour, then of the clock, then of the calendar", () => {
    expect(since(now - 20_000, now, "en-GB", words)).toBe("just now");
    expect(since(now - 61_000, now, "en-GB", words)).toBe("1 min ago");
    expect(since(now - 59 * 60_000, now, "en-GB", words)).toBe("59 min ago");
    expect(since(now - 60 * 60_000, now, "en-GB", words)).toBe("14:05");
    expect(since(now - 48 * 3_600_000, now, "en-GB", words)).toBe("18\u00a0Nov 15:05");
    expect(clock(now - 400 * 86_400_000, now, "en-GB")).toMatch(/2025 15:05$/);
  });

  it("of a clock that is a little ahead are now", () => {
    expect(since(now + 30_000, now, "en-GB", words)).toBe("just now");
  });

  it("are on the 24-hour clock in Korean", () => {
    expect(clock(now, now, "ko-KR")).toBe("15:05");
  });

  it("fall on days by the calendar, not by hours", () => {
    const midnight = new Date(2026, 10, 20).getTime();
    expect(daysAgo(midnight - 1, now)).toBe(1);
    expect(daysAgo(midnight, now)).toBe(0);
  });

  it("put a history under its days", () => {
    const groups = groupByDay(entries(), Date.now(), "en-GB", words);
    expect(groups[0]!.title).toBe("Today");
    expect(groups[1]!.title).toBe("Yesterday");
    expect(groups.flatMap(({ entries }) => entries)).toHaveLength(entries().length);
  });
});

describe("the steps", () => {
  it("ask for protection where there is none yet, and show a sheet to whoever has none", () => {
    expect(stepsOf({ restoring: false, vault: false })).toEqual([
      "name",
      "protect",
      "gateway",
      "handle",
      "sheet",
      "done",
    ]);
    expect(stepsOf({ restoring: true, vault: true })).toEqual([
      "name",
      "words",
      "gateway",
      "handle",
      "done",
    ]);
  });
});
