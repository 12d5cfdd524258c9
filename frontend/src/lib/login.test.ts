import { describe, expect, it } from "vitest";
import type { LoginStatus, SessionInfo } from "../gen/protocol";
import { FRESH } from "./account";
import { challengeFrom, opening, pendingOf, step } from "./login";
import type { Back, Challenge, Event, Screen } from "./login";

const NOW = Date.parse("2026-11-20T12:00:00.000Z");
const ID = "019aa0c0-0000-7000-8000-000000000001";

const challenge: Challenge = challengeFrom(
  {
    challenge_id: ID,
    binding: "addressed",
    status: "pending",
    match_code: "47",
    wallet_link: null,
    stream_url: `/auth/stream/${ID}`,
    expires_at: "2026-11-20T12:05:00.000Z",
  },
  "alice",
  NOW,
);

const session: SessionInfo = {
  sub: "s1",
  did: "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
  session_id: "019aa0c0-0000-7000-8000-00000000000a",
  requested_claims: ["name", "email"],
  approved_claims: ["name"],
  claims: { name: "Alice" },
  created_at: "2026-11-20T12:00:00.000Z",
  expires_at: "2026-12-20T12:00:00.000Z",
};

const statusOf = (status: LoginStatus["status"], more: Partial<LoginStatus> = {}): LoginStatus => ({
  challenge_id: ID,
  status,
  expires_at: "2026-11-20T12:05:00.000Z",
  ...more,
});
const told = (status: LoginStatus["status"], more: Partial<LoginStatus> = {}): Event => ({
  type: "told",
  status: statusOf(status, more),
});
const waiting: Screen = {
  at: "waiting",
  challenge,
  line: "live",
  takenBack: false,
  wallet: "asked",
};
const completing: Screen = { at: "completing", challenge, did: null, cameBack: false };
const link = `miid://challenge/${ID}?iss=https://gateway.example&s=miid_ls_x`;
const linkedWaiting: Screen = {
  ...waiting,
  challenge: { ...challenge, hint: null, matchCode: null, walletLink: link },
};
const back: Back = {
  id: ID,
  responseCode: "miid_rc_x",
  issuer: "https://gateway.example",
  did: session.did,
};
const returning: Screen = { at: "returning", back, ask: false, stage: "learn" };
const play = (screen: Screen, ...events: Event[]) => events.reduce(step, screen);
const late = { type: "unreachable", offline: false, now: NOW, retryAfterMs: null } as const;

describe("a sign-in that goes well", () => {
  it("leads from the handle over the number to the session", () => {
    const screens: Screen[] = [{ at: "looking" }];
    const events: Event[] = [
      { type: "session_absent", reason: null, endedAt: null },
      { type: "submitted", hint: "alice" },
      { type: "started", challenge },
      told("pending"),
      told("approved"),
      told("active"),
      { type: "session_found", session },
    ];
    for (const event of events) screens.push(step(screens.at(-1)!, event));
    expect(screens.map((screen) => screen.at)).toEqual([
      "looking",
      "start",
      "starting",
      "waiting",
      "waiting",
      "approved",
      "completing",
      "signed_in",
    ]);
  });

  it("shows the session at once where there is one", () => {
    expect(step({ at: "looking" }, { type: "session_found", session }).at).toBe("signed_in");
  });

  it("may hear of active without having heard of approved", () => {
    expect(step(waiting, told("active")).at).toBe("completing");
  });

  it("bears the same news twice", () => {
    expect(
      play(waiting, told("approved"), told("approved"), told("active"), told("active")).at,
    ).toBe("completing");
  });
});

describe("the wallet's other answers", () => {
  it("goes back to the number when the approval is taken back, and says so", () => {
    expect(play(waiting, told("approved"), told("pending"))).toMatchObject({
      at: "waiting",
      takenBack: true,
      challenge: { matchCode: "47" },
    });
  });

  it("does not say so for a snapshot that repeats what is known", () => {
    expect(step(waiting, told("pending"))).toMatchObject({ takenBack: false });
  });

  it("keeps the number's deadline when an approval carries the code's", () => {
    const approved = step(waiting, told("approved", { expires_at: "2026-11-20T12:01:00.000Z" }));
    expect(approved).toMatchObject({ challenge: { expiresAt: challenge.expiresAt } });
  });

  it.each(["declined", "wrong_match_code"] as const)("tells %s apart", (reason) => {
    expect(step(waiting, told("denied", { reason }))).toEqual({ at: "denied", reason });
  });

  it.each(["timeout", "code_timeout", "replaced", "withdrawn", "other_browser"] as const)(
    "tells an end by %s apart",
    (reason) => {
      expect(step(waiting, told("expired", { reason }))).toEqual({ at: "expired", reason });
      const approved = step(waiting, told("approved"));
      expect(step(approved, told("expired", { reason }))).toEqual({ at: "expired", reason });
    },
  );

  it("stays where it is for a status it does not know", () => {
    expect(step(waiting, told("postponed" as LoginStatus["status"]))).toBe(waiting);
  });

  it("ignores news of another challenge", () => {
    expect(step(waiting, told("denied", { challenge_id: "another" }))).toBe(waiting);
  });

  it("ignores news that come after the end", () => {
    const denied = step(waiting, told("denied", { reason: "declined" }));
    expect(step(denied, told("active"))).toBe(denied);
  });
});

describe("giving up", () => {
  it("returns to the form, and what the stream still says is ignored", () => {
    const form = step(waiting, { type: "cancelled" });
    expect(form).toEqual({ at: "start", note: null });
    expect(step(form, told("active"))).toBe(form);
  });

  it.each([
    { at: "denied", reason: "declined" },
    { at: "expired", reason: "timeout" },
    { at: "signed_out", reason: "user", endedAt: NOW },
  ] as Screen[])("starts again from $at", (screen) => {
    expect(step(screen, { type: "again" })).toEqual({ at: "start", note: null });
  });

  it("returns to the form when the service has forgotten the challenge", () => {
    expect(step(waiting, { type: "gone", id: ID })).toEqual({ at: "start", note: "gone" });
    expect(step(waiting, { type: "gone", id: "another" })).toBe(waiting);
  });
});

describe("a service that does not answer", () => {
  it("is tried again, later each time, with the same task", () => {
    const first = step({ at: "starting", hint: "alice" }, late);
    expect(first).toMatchObject({ at: "unreachable", attempt: 1, retryAt: NOW + 2_000 });
    const trying = step(first, { type: "retry" });
    expect(trying).toMatchObject({ at: "unreachable", trying: true });
    expect(step(trying, late)).toMatchObject({
      attempt: 2,
      retryAt: NOW + 4_000,
      trying: false,
      task: { do: "start", hint: "alice" },
    });
  });

  it("is left alone for as long as it asks", () => {
    const screen = step({ at: "looking" }, { ...late, retryAfterMs: 45_000 });
    expect(screen).toMatchObject({ retryAt: NOW + 45_000 });
  });

  it("goes on where it stopped, whatever that was", () => {
    const at = (screen: Screen, event: Event) => play(screen, late, { type: "retry" }, event).at;
    expect(at({ at: "looking" }, { type: "session_found", session })).toBe("signed_in");
    expect(at({ at: "starting", hint: "a" }, { type: "started", challenge })).toBe("waiting");
    expect(at(completing, { type: "session_found", session })).toBe("signed_in");
  });

  it("keeps the approved challenge for a reload", () => {
    expect(pendingOf(step(completing, late))).toBe(challenge);
  });

  it("only dims the line while the number is shown", () => {
    const lost = step(waiting, { type: "line", id: ID, line: "lost" });
    expect(lost).toMatchObject({ at: "waiting", line: "lost" });
    expect(step(lost, told("pending"))).toMatchObject({ line: "live" });
    expect(step(waiting, late)).toBe(waiting);
  });
});

describe("too many requests", () => {
  const starting: Screen = { at: "starting", hint: "alice" };

  it("says until when, and starts the same again", () => {
    const crowded = step(starting, {
      type: "crowded",
      whose: "handle",
      now: NOW,
      retryAfterMs: 42_000,
    });
    expect(crowded).toMatchObject({ at: "crowded", retryAt: NOW + 42_000 });
    expect(step(crowded, { type: "retry" })).toEqual(starting);
  });

  it("waits a minute where nothing was said", () => {
    const event = { type: "crowded", whose: "address", now: NOW, retryAfterMs: null } as const;
    expect(step(starting, event)).toMatchObject({ retryAt: NOW + 60_000 });
  });
});

describe("signed in", () => {
  const signedIn = step({ at: "looking" }, { type: "session_found", session });

  it("ends at once when the wallet ends it, with the reason", () => {
    expect(step(signedIn, { type: "forced_out", reason: "user", endedAt: NOW })).toEqual({
      at: "signed_out",
      reason: "user",
      endedAt: NOW,
    });
  });

  it("stays signed in, and says so, when signing out did not work", () => {
    const failed = play(signedIn, { type: "leave" }, { type: "leave_failed" });
    expect(failed).toMatchObject({ at: "signed_in", leaving: false, leavingFailed: true });
    expect(play(failed, { type: "leave" }, { type: "left" })).toEqual({
      at: "start",
      note: "left",
    });
  });

  it("comes back when another tab of this browser signed in again", () => {
    const out = step(signedIn, { type: "forced_out", reason: "superseded", endedAt: NOW });
    expect(step(out, { type: "session_found", session }).at).toBe("signed_in");
  });

  it("notices a cookie that was not kept", () => {
    const event: Event = { type: "session_absent", reason: null, endedAt: null };
    expect(step(completing, event)).toEqual({
      at: "start",
      note: "cookie_lost",
    });
  });
});

describe("two tabs and reloads", () => {
  it("resumes the challenge that this tab remembers", () => {
    expect(opening(challenge)).toMatchObject({ at: "waiting", challenge, line: "connecting" });
    expect(opening(null)).toEqual({ at: "looking" });
  });

  it("does not take the number away because another tab signed in", () => {
    expect(step(waiting, { type: "session_found", session })).toBe(waiting);
  });

  it.each([
    { at: "start", note: null },
    { at: "denied", reason: "declined" },
    { at: "expired", reason: "timeout" },
    { at: "signed_out", reason: "user", endedAt: null },
  ] as Screen[])("joins a session that another tab opened, from $at", (screen) => {
    expect(step(screen, { type: "session_found", session }).at).toBe("signed_in");
  });

  it("remembers a challenge from the number until it is over", () => {
    expect(pendingOf(waiting)?.id).toBe(ID);
    expect(pendingOf(step(waiting, told("approved")))?.id).toBe(ID);
    expect(pendingOf(step(waiting, told("active")))?.id).toBe(ID);
    expect(pendingOf(step(waiting, told("denied")))).toBeNull();
    expect(pendingOf(step(waiting, { type: "cancelled" }))).toBeNull();
  });
});

describe("a link that opens the wallet", () => {
  const opened: Event = { type: "started", challenge: linkedWaiting.challenge };

  it("leads over the wallet that took it to the way back, and into this tab as well", () => {
    const screens = [
      opened,
      told("pending"),
      told("pending", { claimed: true }),
      told("approved", { claimed: true, did: session.did }),
      told("active", { claimed: true, did: session.did }),
      { type: "session_found", session } as const,
    ].reduce<Screen[]>(
      (screens, event) => [...screens, step(screens.at(-1)!, event)],
      [step({ at: "start", note: null }, { type: "submitted", hint: null })],
    );
    expect(screens.map((screen) => (screen.at === "waiting" ? screen.wallet : screen.at))).toEqual([
      "starting",
      "asked",
      "asked",
      "claimed",
      "approved",
      "completing",
      "signed_in",
    ]);
    expect(screens[5]).toMatchObject({ did: session.did, cameBack: false });
  });

  it("is asked after when no wallet takes it, and again after the next try", () => {
    const silent = step(linkedWaiting, { type: "silence", id: ID });
    expect(silent).toMatchObject({ wallet: "silent" });
    expect(step(silent, told("pending"))).toMatchObject({ wallet: "silent" });
    expect(step(silent, { type: "opened_again" })).toMatchObject({ wallet: "asked" });
    expect(step(silent, told("pending", { claimed: true }))).toMatchObject({ wallet: "claimed" });
    expect(step(linkedWaiting, { type: "silence", id: "another" })).toBe(linkedWaiting);
  });

  it("is not asked after once a wallet has it", () => {
    const claimed = step(linkedWaiting, told("pending", { claimed: true }));
    expect(step(claimed, { type: "silence", id: ID })).toBe(claimed);
    // Another instance of the service may be a moment behind.
    expect(step(claimed, told("pending"))).toMatchObject({ wallet: "claimed" });
  });

  it("waits again, with the wallet, when the approval is taken back", () => {
    const again = play(linkedWaiting, told("approved"), told("pending"));
    expect(again).toMatchObject({ at: "waiting", takenBack: true, wallet: "claimed" });
  });

  it("can be begun again where its link was lost by a reload, and left for a handle", () => {
    expect(step(linkedWaiting, { type: "submitted", hint: null })).toEqual({
      at: "starting",
      hint: null,
    });
    expect(step(linkedWaiting, { type: "cancelled", byHandle: true })).toEqual({
      at: "start",
      note: null,
      byHandle: true,
    });
    expect(step(waiting, { type: "submitted", hint: null })).toBe(waiting);
  });

  it("is the way on where a handle is asked for too often", () => {
    const crowded: Screen = { at: "crowded", whose: "handle", since: 0, retryAt: 0, hint: "alice" };
    expect(step(crowded, { type: "submitted", hint: null })).toEqual({
      at: "starting",
      hint: null,
    });
  });
});

describe("coming back from the wallet", () => {
  const learned: Event = { type: "learned" };
  const back_ = (status: LoginStatus): Event => ({ type: "returned", status, now: NOW });
  const use: Screen = { ...returning, stage: "use" };

  it("begins with learning whether it is its own, whatever this tab remembered", () => {
    expect(opening(null, { back, ask: false })).toEqual(returning);
    expect(opening(challenge, { back, ask: true })).toEqual({ ...returning, ask: true });
    expect(opening(null, "broken")).toEqual({ at: "lapsed" });
    expect(pendingOf(returning)).toBeNull();
  });

  it("goes on by itself where the browser came by itself, and asks where it was led", () => {
    expect(step(returning, learned)).toEqual(use);
    const asked = step({ ...returning, ask: true }, learned);
    expect(asked).toEqual({ at: "confirm", back, did: session.did });
    expect(step(asked, { type: "confirmed" })).toEqual({ ...use, ask: true });
    expect(step(asked, { type: "not_continued" })).toEqual({ at: "start", note: "not_continued" });
  });

  it("does not go on where it was led and cannot say as whom", () => {
    const unsaid = { ...returning, back: { ...back, did: null } };
    expect(step({ ...unsaid, ask: true }, learned)).toEqual({ at: "lapsed" });
    expect(step(unsaid, learned)).toEqual({ ...unsaid, stage: "use" });
  });

  it("completes in this tab, and remembers it for a reload", () => {
    const done = step(use, back_(statusOf("active", { did: session.did })));
    expect(done).toMatchObject({ at: "completing", cameBack: true, did: session.did });
    expect(pendingOf(done)).toMatchObject({ id: ID, streamUrl: `/auth/stream/${ID}` });
    expect(JSON.stringify(pendingOf(done))).not.toContain("miid_rc_");
    expect(step(done, { type: "session_found", session }).at).toBe("signed_in");
    expect(step(use, back_(statusOf("approved"))).at).toBe("completing");
  });

  it("says that it was stopped where this browser did not begin it", () => {
    const stranger = step(returning, { type: "foreign" });
    expect(stranger).toEqual({ ...returning, stage: "stop" });
    const stopped = back_(statusOf("expired", { reason: "other_browser" }));
    expect(step(stranger, stopped)).toEqual({ at: "stopped" });
    // In its own browser that is an end like others.
    expect(step(use, stopped)).toEqual({ at: "expired", reason: "other_browser" });
  });

  it("never goes on without asking because it is a stranger's", () => {
    const stranger = step({ ...returning, ask: true }, { type: "foreign" });
    expect(stranger).toMatchObject({ stage: "stop" });
  });

  it("ends where the way back is dead", () => {
    expect(step(use, { type: "lapsed" })).toEqual({ at: "lapsed" });
    expect(step(use, back_(statusOf("pending")))).toEqual({ at: "lapsed" });
    expect(step(use, back_(statusOf("denied", { reason: "declined" })))).toMatchObject({
      at: "denied",
    });
    expect(step({ at: "lapsed" }, { type: "again" })).toEqual({ at: "start", note: null });
  });

  it("goes on after a service that did not answer, and asks all the same", () => {
    const asked = play({ ...returning, ask: true }, late, { type: "retry" }, learned);
    expect(asked).toMatchObject({ at: "confirm", did: session.did });
    const away = play(use, late, late, { type: "retry" });
    expect(away).toMatchObject({ at: "unreachable", trying: true, task: { do: "return" } });
    expect(step(away, back_(statusOf("active"))).at).toBe("completing");
    expect(step(away, { type: "cancelled" })).toEqual({ at: "start", note: null });
  });

  it("is not answered by a session from before", () => {
    const confirm = step({ ...returning, ask: true }, learned);
    for (const screen of [returning, use, confirm])
      expect(step(screen, { type: "session_found", session })).toBe(screen);
  });
});

describe("every screen with every event", () => {
  it("gives a screen, and leaves what it was given alone", () => {
    const screens: Screen[] = [
      { at: "looking" },
      { at: "start", note: null },
      { at: "starting", hint: "alice" },
      waiting,
      { at: "approved", challenge, line: "live", did: null },
      completing,
      { at: "denied", reason: null },
      { at: "expired", reason: null },
      { at: "crowded", whose: "handle", since: NOW, retryAt: NOW, hint: "alice" },
      linkedWaiting,
      returning,
      { ...returning, stage: "use" },
      step(returning, late),
      { at: "confirm", back, did: session.did },
      { at: "stopped" },
      { at: "lapsed" },
      step({ at: "looking" }, late),
      { at: "signed_in", session, leaving: false, leavingFailed: false, account: FRESH },
      { at: "signed_out", reason: null, endedAt: null },
    ];
    const events: Event[] = [
      { type: "session_found", session },
      { type: "session_absent", reason: null, endedAt: null },
      { type: "submitted", hint: "alice" },
      { type: "started", challenge },
      { type: "refused", note: "refused" },
      { type: "crowded", whose: "handle", now: NOW, retryAfterMs: null },
      late,
      { type: "retry" },
      told("pending"),
      told("approved"),
      told("active"),
      told("denied"),
      told("expired"),
      { type: "line", id: ID, line: "lost" },
      { type: "gone", id: ID },
      { type: "silence", id: ID },
      { type: "opened_again" },
      { type: "learned" },
      { type: "foreign" },
      { type: "confirmed" },
      { type: "not_continued" },
      { type: "returned", status: statusOf("active"), now: NOW },
      { type: "returned", status: statusOf("pending"), now: NOW },
      { type: "lapsed" },
      { type: "cancelled" },
      { type: "cancelled", byHandle: true },
      { type: "again" },
      { type: "forced_out", reason: null, endedAt: null },
      { type: "leave" },
      { type: "left" },
      { type: "leave_failed" },
    ];
    for (const screen of screens) {
      const before = structuredClone(screen);
      for (const event of events) expect(step(screen, event)).toHaveProperty("at");
      expect(screen).toEqual(before);
    }
  });
});

describe("what becomes a link", () => {
  it.each(["javascript:alert(1)", "https://example.com/", "", null])("is never %s", (link) => {
    const answer = { ...rawStart, wallet_link: link };
    expect(challengeFrom(answer, null, NOW).walletLink).toBeNull();
  });

  it("is the wallet's own scheme", () => {
    const link = `miid://challenge/${ID}?iss=x&s=y`;
    expect(challengeFrom({ ...rawStart, wallet_link: link }, null, NOW).walletLink).toBe(link);
  });

  const rawStart = {
    challenge_id: ID,
    binding: "linked",
    status: "pending",
    match_code: null,
    stream_url: `/auth/stream/${ID}`,
    expires_at: "2026-11-20T12:05:00.000Z",
  } as const;
});
