import { describe, expect, it, vi } from "vitest";
import type { LoginStatus, SessionInfo } from "../gen/protocol";
import { FRESH, parseAmount, parseName, type Order, type Transfer } from "./account";
import { titleFor, transferWords } from "./announce";
import { challengeFrom, opening, pendingOf, type Back, type Challenge, type Screen } from "./login";
import { parseChallenge } from "./memory";
import { isFirst } from "./tabs";
import { isBusy, loginIn, step, type PageEvent } from "./transfer";
import { en } from "./words/en";
import { ko } from "./words/ko";

const NOW = Date.parse("2026-11-20T12:00:00.000Z");
const ID = "019aa0c0-0000-7000-8000-000000000001";
const LINK = `miid://challenge/${ID}?iss=https://gateway.example&s=miid_ls_x`;

const session: SessionInfo = {
  sub: "s1",
  did: "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
  session_id: "019aa0c0-0000-7000-8000-00000000000a",
  requested_claims: [],
  approved_claims: [],
  claims: {},
  created_at: "2026-11-20T12:00:00.000Z",
  expires_at: "2026-12-20T12:00:00.000Z",
};
const steppedUp: SessionInfo = { ...session, stepped_up_until: "2026-11-20T12:05:00.000Z" };
const other: SessionInfo = { ...session, session_id: "019aa0c0-0000-7000-8000-00000000000b" };
const order: Order = { to: "Bob", amount: 250, sessionId: session.session_id };
const challenge: Challenge = challengeFrom(
  {
    challenge_id: ID,
    binding: "linked",
    status: "pending",
    match_code: null,
    wallet_link: LINK,
    stream_url: `/auth/stream/${ID}`,
    expires_at: "2026-11-20T12:05:00.000Z",
  },
  null,
  NOW,
  order,
);
const back: Back = { id: ID, responseCode: "miid_rc_x", issuer: "https://g.example", did: null };

const found: PageEvent = { type: "session_found", session };
const ordered: PageEvent = { type: "order", to: "Bob", amount: 250 };
const asked: PageEvent = { type: "asked", challenge };
const confirmed: PageEvent = { type: "stepped_up", session: steppedUp };
const receipt = { to: "Bob", amount: 250, id: "r1", at: NOW };
const told = (status: LoginStatus["status"], more: Partial<LoginStatus> = {}): PageEvent => ({
  type: "told",
  status: { challenge_id: ID, status, expires_at: "2026-11-20T12:05:00.000Z", ...more },
});
const late = { type: "unreachable", offline: false, now: NOW, retryAfterMs: null } as const;

const play = (screen: Screen, ...events: PageEvent[]) => events.reduce(step, screen);
const signedIn = play({ at: "looking" }, found);
const confirming = play(signedIn, ordered, asked);
function transferOf(screen: Screen): Transfer {
  if (screen.at !== "signed_in") throw new Error(`at ${screen.at}`);
  return screen.account.transfer;
}

describe("a transfer", () => {
  it("is sent, and what is left is known", () => {
    const sending = play(signedIn, { type: "balance", balance: 1000 }, ordered);
    expect(transferOf(sending)).toEqual({ at: "sending", order, confirmed: null });
    expect(step(sending, { type: "transferred", receipt, balance: 750 })).toMatchObject({
      at: "signed_in",
      account: { balance: 750, looking: "known", transfer: { at: "done", receipt } },
    });
  });

  it("is one, however often the button is pressed", () => {
    const sending = step(signedIn, ordered);
    expect(step(sending, ordered)).toBe(sending);
    expect(step(confirming, ordered)).toBe(confirming);
  });

  it("keeps what was typed when nothing comes of it", () => {
    const failed = play(signedIn, ordered, {
      type: "not_transferred",
      note: { kind: "not_connected" },
    });
    expect(transferOf(failed)).toEqual({ at: "form", order, note: { kind: "not_connected" } });
  });

  it("looks at the balance again where nobody knows whether it was sent", () => {
    const known = step(signedIn, { type: "balance", balance: 1000 });
    const after = (kind: "unknown" | "away") =>
      play(known, ordered, { type: "not_transferred", note: { kind } });
    expect(after("unknown")).toMatchObject({ account: { balance: 1000, looking: "asking" } });
    expect(after("away")).toMatchObject({ account: { balance: 1000, looking: "known" } });
  });

  it("is nobody's where nobody is signed in", () => {
    const start: Screen = { at: "start", note: null };
    for (const event of [ordered, asked, { type: "balance", balance: 7 }] as PageEvent[])
      expect(step(start, event)).toBe(start);
  });
});

describe("a confirmation", () => {
  it("goes through the steps of a sign-in while the person stays signed in, and then it is sent", () => {
    const screens: Screen[] = [signedIn];
    const events: PageEvent[] = [
      ordered,
      asked,
      { type: "line", id: ID, line: "live" },
      told("pending", { claimed: true }),
      told("approved"),
      told("active"),
      confirmed,
    ];
    for (const event of events) screens.push(step(screens.at(-1)!, event));
    expect(new Set(screens.map((screen) => screen.at))).toEqual(new Set(["signed_in"]));
    expect(screens.map((screen) => transferOf(screen).at)).toEqual([
      "form",
      "sending",
      "confirming",
      "confirming",
      "confirming",
      "confirming",
      "confirming",
      "sending",
    ]);
    expect(screens.map((screen) => loginIn(screen).at).slice(2, 7)).toEqual([
      "waiting",
      "waiting",
      "waiting",
      "approved",
      "completing",
    ]);
    expect(transferOf(screens.at(-1)!)).toEqual({ at: "sending", order, confirmed: ID });
    expect(screens.at(-1)).toMatchObject({ session: steppedUp });
  });

  it("is not taken for granted because somebody is signed in", () => {
    const completing = play(confirming, told("active"));
    // The session was there before: that it is found says nothing of what was approved.
    expect(loginIn(step(completing, found)).at).toBe("completing");
    expect(transferOf(play(confirming, { type: "session_found", session: steppedUp })).at).toBe(
      "confirming",
    );
    // Nor does it count before the sign-in's own steps led there.
    expect(step(confirming, confirmed)).toBe(confirming);
  });

  it("is asked for once: an answer that asks again goes round in no circle", () => {
    const again = play(confirming, told("active"), confirmed, asked);
    expect(transferOf(again)).toEqual({ at: "form", order, note: { kind: "not_accepted" } });
  });

  it.each(["declined", "wrong_match_code"] as const)("tells %s, and keeps the order", (reason) => {
    const denied = transferOf(step(confirming, told("denied", { reason })));
    expect(denied).toEqual({ at: "form", order, note: { kind: "denied", reason } });
    expect(transferWords(denied)).toBe(en.transfer.denied[reason]);
  });

  it.each([
    "timeout",
    "code_timeout",
    "replaced",
    "withdrawn",
    "other_browser",
    "session_ended",
  ] as const)("tells an end by %s, also after the yes", (reason) => {
    for (const before of [confirming, step(confirming, told("approved"))]) {
      const over = transferOf(step(before, told("expired", { reason })));
      expect(over).toEqual({ at: "form", order, note: { kind: "expired", reason } });
      expect(transferWords(over)).toBe(en.transfer.expired[reason]);
    }
  });

  it("is cancelled without signing out", () => {
    const cancelled = step(confirming, { type: "cancelled" });
    expect(transferOf(cancelled)).toEqual({ at: "form", order, note: { kind: "cancelled" } });
    expect(transferOf(step(confirming, { type: "gone", id: ID }))).toMatchObject({
      note: { kind: "gone" },
    });
  });

  it("waits while the service is away, and completes then", () => {
    const away = play(confirming, told("active"), late);
    expect(loginIn(away).at).toBe("unreachable");
    expect(isBusy(away)).toBe(true);
    const back = play(away, { type: "retry" }, confirmed);
    expect(transferOf(back)).toEqual({ at: "sending", order, confirmed: ID });
  });

  it("is over with the session, whatever stands open", () => {
    const out: PageEvent = { type: "forced_out", reason: "user", endedAt: NOW };
    for (const screen of [confirming, step(signedIn, ordered), step(confirming, told("active"))])
      expect(step(screen, out)).toEqual({ at: "signed_out", reason: "user", endedAt: NOW });
  });

  it("does not outlive a change of who is signed in", () => {
    const changed = step(confirming, { type: "session_found", session: other });
    expect(changed).toMatchObject({ session: other, account: FRESH });
    expect(isBusy(changed)).toBe(false);
  });

  it("knows a taken-back approval, a silent wallet and another challenge's news", () => {
    expect(loginIn(play(confirming, told("approved"), told("pending")))).toMatchObject({
      takenBack: true,
    });
    expect(loginIn(step(confirming, { type: "silence", id: ID }))).toMatchObject({
      wallet: "silent",
    });
    const foreign = told("denied", { challenge_id: "another" });
    expect(step(confirming, foreign)).toBe(confirming);
  });

  it("is named in the tab, and keeps the page's connection", () => {
    expect(titleFor(confirming)).toBe(en.transfer.asked);
    expect(titleFor(signedIn)).toBe(en.signedIn.short);
    expect([signedIn, confirming, step(signedIn, ordered)].map(isBusy)).toEqual([
      false,
      true,
      true,
    ]);
  });
});

describe("a page that is loaded anew while the wallet is asked", () => {
  const remembered = { ...challenge, walletLink: null };

  it("remembers the order with its request, and nothing once it is sent", () => {
    expect(pendingOf(loginIn(confirming))).toMatchObject({ id: ID, order });
    expect(pendingOf(loginIn(signedIn))).toBeNull();
    const sending = play(confirming, told("active"), confirmed);
    expect(pendingOf(loginIn(sending))).toBeNull();
    expect(parseChallenge(JSON.stringify(challenge))).toEqual(remembered);
    const damaged = { ...challenge, order: { to: 7 } };
    expect(parseChallenge(JSON.stringify(damaged))).not.toHaveProperty("order");
  });

  it("goes on waiting in the session that it was asked in", () => {
    const looking = opening(remembered);
    expect(looking).toEqual({ at: "looking", confirming: remembered });
    expect(pendingOf(looking)).toEqual(remembered);
    const resumed = step(looking, found);
    expect(transferOf(resumed)).toMatchObject({ at: "confirming", order });
    // Also where the service did not answer at first.
    expect(transferOf(play(looking, late, { type: "retry" }, found)).at).toBe("confirming");
  });

  it("sends nothing in another session", () => {
    const elsewhere = step(opening(remembered), { type: "session_found", session: other });
    expect(transferOf(elsewhere)).toEqual(FRESH.transfer);
  });

  it("is signed out where the session is over", () => {
    const over: PageEvent = { type: "session_absent", reason: "user", endedAt: NOW };
    expect(step(opening(remembered), over).at).toBe("signed_out");
  });
});

describe("the tab that the wallet opens", () => {
  const returned: PageEvent = {
    type: "returned",
    status: { challenge_id: ID, status: "active", expires_at: "2026-11-20T12:05:00.000Z" },
    now: NOW,
  };
  const arrived = (remembered: Challenge | null, ask = false) => opening(remembered, { back, ask });

  it("says that it was confirmed, sends nothing and leaves it to the tab where it began", () => {
    const done = play(arrived(null), { type: "learned" }, returned, confirmed);
    expect(done).toEqual({ at: "confirmed" });
    // Nor does it become the signed-in page by itself.
    expect(step(done, found)).toBe(done);
    expect(step(done, { type: "again" })).toEqual({ at: "looking" });
  });

  it("goes on itself where it is the tab in which it began", () => {
    const done = play(arrived(challenge), { type: "learned" }, returned, confirmed);
    expect(transferOf(done)).toEqual({ at: "sending", order, confirmed: ID });
  });

  it("does so after asking, too, and not for another request than its own", () => {
    const known = { ...back, did: session.did };
    const asking = opening(challenge, { back: known, ask: true });
    const done = play(asking, { type: "learned" }, { type: "confirmed" }, returned, confirmed);
    expect(transferOf(done)).toMatchObject({ at: "sending" });
    const stranger = { ...challenge, id: "another" };
    expect(play(arrived(stranger), { type: "learned" }, returned, confirmed).at).toBe("confirmed");
  });

  it("sends nothing in another session than the order's", () => {
    const elsewhere: PageEvent = { type: "stepped_up", session: { ...steppedUp, ...other } };
    const done = play(arrived(challenge), { type: "learned" }, returned, elsewhere);
    expect(done).toEqual({ at: "confirmed" });
  });
});

describe("a tab that was copied", () => {
  it("is the second to send, and does not", async () => {
    const kept = new Map<string, string>();
    vi.stubGlobal("localStorage", {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
    });
    expect(await isFirst("a")).toBe(true);
    expect(await isFirst("b")).toBe(true);
    expect(await isFirst("a")).toBe(false);
    for (let n = 0; n < 100; n++) await isFirst(String(n));
    expect([...kept.values()].join().split(" ").length).toBeLessThan(20);
    vi.unstubAllGlobals();
  });
});

describe("what is typed", () => {
  it.each([
    ["250", 250],
    [" 1,000 ", 1000],
    ["1'000 000", 1_000_000],
    ["２５０", 250],
  ])("%j is the amount %i", (typed, amount) => expect(parseAmount(typed)).toBe(amount));

  it.each(["", "0", "-1", "1.5", "1000001", "9".repeat(30), "1e3", "0x10", "Bob"])(
    "%j is no amount",
    (typed) => expect(parseAmount(typed)).toBeNull(),
  );

  it("is a name that can be shown in a wallet", () => {
    expect(parseName("  Bob ")).toBe("Bob");
    expect(parseName("밥 👩‍🚀".replace("\u200d", ""))).not.toBeNull();
    for (const bad of ["", "  ", "Bob\u202e", "B\nob", "B".repeat(41), "a\u200bb"])
      expect(parseName(bad), JSON.stringify(bad)).toBeNull();
  });
});

describe("its words", () => {
  it("say of everything that went wrong whether something was sent", () => {
    for (const [{ transfer }, sent] of [
      [en, /[Nn]othing was sent|not sent|balance/],
      [ko, /보낸 것은 없|보내지 않았|잔액/],
    ] as const) {
      const { notes, denied, expired } = transfer;
      for (const text of [notes, denied, expired].flatMap((table) => Object.values(table)))
        expect(text).toMatch(sent);
    }
  });
});
