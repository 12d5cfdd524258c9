import { flushSync } from "svelte";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { identity, open, request } from "../../tests/mock/props";
import type { Bridge, Events } from "./bridge";
import { cardOf } from "./queue";
import { Desk, SETTLE_MS } from "./state.svelte";
import type { Proposal, View } from "./types";

const NOW = Date.parse("2026-11-20T12:00:00Z");
const PROPOSAL: Proposal = {
  claims: [{ name: "name", value: "Alice", ticked: true }],
  known_service: false,
};

/** A core that says nothing by itself. */
function core(view: View) {
  const heard: Partial<{ [E in keyof Events]: (said: Events[E]) => void }> = {};
  const call = vi.fn(async (command: string) => {
    if (command === "view") return view;
    return command === "proposal" ? structuredClone(PROPOSAL) : undefined;
  });
  const bridge: Bridge = {
    call: call as unknown as Bridge["call"],
    on: async (event, hear) => void ((heard as Record<string, unknown>)[event] = hear),
  };
  return { bridge, call, heard };
}

const around = { visible: true, typing: false };

async function start(view: View) {
  const { bridge, call, heard } = core(view);
  const desk = new Desk(bridge, {
    languages: ["en-GB"],
    now: () => Date.now(),
    visible: () => around.visible,
    typing: () => around.typing,
  });
  await desk.start();
  await settle();
  return { desk, call, heard };
}

/** Lets what was asked be answered, and the first moment of a card go by. */
async function settle() {
  await vi.advanceTimersByTimeAsync(SETTLE_MS);
  flushSync();
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOW });
  Object.assign(around, { visible: true, typing: false });
});
afterEach(() => vi.useRealTimers());

describe("a draft", () => {
  it("survives new views, of its own request and of others", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    desk.drafts[cardOf(mine)]!.number = "4";
    desk.drafts[cardOf(mine)]!.touched = true;
    desk.receive(open({ requests: [request(), { ...mine, expires_in_ms: 200_000 }] }));
    await settle();
    expect(desk.open).toBe(cardOf(mine));
    expect(desk.drafts[cardOf(mine)]!.number).toBe("4");
    expect(desk.calling.length).toBe(1);
  });

  it("goes with its request", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    desk.receive(open());
    expect(Object.keys(desk.drafts)).toEqual([]);
    expect(desk.open).toBeNull();
  });

  it("is forgotten by the lock, however it locks", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    desk.drafts[cardOf(mine)]!.number = "47";
    desk.filter = "Alice";
    desk.receive(open({ stage: "locked", requests: [mine] }));
    expect(desk.drafts).toEqual({});
    expect(desk.filter).toBeNull();
  });

  it("is a new one after the approval was taken back", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    desk.drafts[cardOf(mine)]!.number = "47";
    desk.receive(open({ requests: [{ ...mine, standing: "approved" }] }));
    desk.receive(open({ requests: [mine] }));
    expect(desk.settling).toBe(true);
    await settle();
    expect(desk.drafts[cardOf(mine)]!.number).toBe("");
    expect(desk.settling).toBe(false);
  });

  it("is asked of the core once, and an answer that comes late changes nothing typed", async () => {
    const mine = request({ claims: ["name"] });
    const { desk, call } = await start(open({ requests: [mine] }));
    desk.drafts[cardOf(mine)]!.claims![0]!.value = "Al";
    desk.openCard(null);
    desk.openCard(cardOf(mine));
    await settle();
    expect(call.mock.calls.filter(([command]) => command === "proposal")).toHaveLength(1);
    expect(desk.drafts[cardOf(mine)]!.claims![0]!.value).toBe("Al");
  });

  it("takes no proposal that was asked for an earlier one of the same card", async () => {
    const mine = request({ claims: ["name"] });
    const { desk, call } = await start(open());
    const answers: Array<(proposal: Proposal) => void> = [];
    call.mockImplementation(async (command: string) =>
      command === "proposal" ? await new Promise((answer) => answers.push(answer)) : undefined,
    );
    desk.receive(open({ requests: [mine] }));
    desk.receive(open({ requests: [{ ...mine, standing: "approved" }] }));
    desk.receive(open({ requests: [mine] }));
    expect(answers).toHaveLength(2);
    const told = (value: string) => ({ claims: [{ name: "name", value, ticked: true }] });
    answers[0]!({ ...told("Earlier"), known_service: true });
    await settle();
    expect(desk.drafts[cardOf(mine)]!.claims).toBeNull();
    answers[1]!({ ...told("Alice"), known_service: false });
    await settle();
    expect(desk.drafts[cardOf(mine)]!.claims![0]!.value).toBe("Alice");
  });
});

describe("a request whose text has become another", () => {
  const other = { digest: "another", service: { id: "x", name: "Somebody Else" } };

  it("is a new card in the same place: nothing typed is left, and it settles", async () => {
    const [newer, mine] = [request(), request()];
    const { desk, call } = await start(open({ requests: [newer, mine] }));
    desk.openCard(cardOf(mine));
    await settle();
    desk.drafts[cardOf(mine)]!.number = "47";
    desk.drafts[cardOf(mine)]!.touched = true;
    const asked = () => call.mock.calls.filter(([command]) => command === "proposal").length;
    const before = asked();
    const changed = { ...mine, ...other };
    desk.receive(open({ requests: [newer, changed] }));
    expect(desk.open).toBe(cardOf(changed));
    expect(desk.settling).toBe(true);
    expect(desk.drafts[cardOf(mine)]).toBeUndefined();
    await settle();
    expect(desk.drafts[cardOf(changed)]).toMatchObject({ number: "", touched: false });
    expect(asked()).toBe(before + 1);
    expect(desk.spoken).toContain("Somebody Else");
  });

  it("loses what was typed on it while another card is open, too", async () => {
    const [mine, aside] = [request(), request()];
    const { desk } = await start(open({ requests: [mine, aside] }));
    desk.openCard(cardOf(aside));
    await settle();
    desk.drafts[cardOf(aside)]!.number = "47";
    desk.openCard(cardOf(mine));
    desk.receive(open({ requests: [mine, { ...aside, ...other }] }));
    expect(Object.keys(desk.drafts)).toEqual([cardOf(mine)]);
  });

  it("is not the request of the same number at another gateway", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    desk.drafts[cardOf(mine)]!.number = "47";
    const theirs = { ...mine, ...other, wallet: "did:key:z6Mk@https://other.example" };
    desk.receive(open({ requests: [theirs, mine] }));
    await settle();
    expect(desk.openRequest?.wallet).toBe(mine.wallet);
    expect(desk.drafts[cardOf(mine)]!.number).toBe("47");
  });
});

describe("a card that has just appeared", () => {
  it("settles before it takes a press", async () => {
    const { desk } = await start(open());
    desk.receive(open({ requests: [request()] }));
    expect(desk.settling).toBe(true);
    await settle();
    expect(desk.settling).toBe(false);
  });

  it("settles anew whenever the window comes before somebody's eyes", async () => {
    const { desk } = await start(open({ requests: [request()] }));
    expect(desk.settling).toBe(false);
    desk.appear();
    expect(desk.settling).toBe(true);
    await vi.advanceTimersByTimeAsync(SETTLE_MS - 1);
    desk.appear();
    await vi.advanceTimersByTimeAsync(SETTLE_MS - 1);
    expect(desk.settling).toBe(true);
    await settle();
    expect(desk.settling).toBe(false);
  });

  it("settles where a page or a link's question went away from over it", async () => {
    const requests = [request()];
    const links = [{ id: "l1", gateway: "https://id.example", identities: ["Alice"] }];
    const { desk } = await start(open({ requests, links }));
    expect(desk.link).toBe("l1");
    expect(desk.settling).toBe(false);
    desk.receive(open({ requests }));
    expect(desk.settling).toBe(true);
    await settle();
    desk.go({ at: "settings" });
    await settle();
    desk.go({ at: "requests" });
    expect(desk.settling).toBe(true);
  });
});

describe("a wallet that turns out to be damaged", () => {
  it("is said before anything that was being made goes on", async () => {
    const { desk } = await start(open({ stage: "first_run" }));
    expect(desk.settingUp).toBe("first");
    desk.receive(open({ stage: "damaged" }));
    expect(desk.settingUp).toBeNull();
    // Beginning anew is the person's own doing, and stays.
    desk.settingUp = "first";
    desk.receive(open({ stage: "damaged" }));
    expect(desk.settingUp).toBe("first");
  });
});

describe("the shell's call", () => {
  it("opens the page and the request where nobody is in the middle of something", async () => {
    const [newer, older] = [request(), request()];
    const { desk, heard } = await start(open({ requests: [newer, older] }));
    desk.goTab("sessions");
    heard.show!({ page: "requests", challenge_id: older.challenge_id });
    expect(desk.place.at).toBe("requests");
    expect(desk.open).toBe(cardOf(older));
  });

  it("never exchanges a card that is being looked at", async () => {
    const mine = request();
    const { desk, heard } = await start(open({ requests: [mine] }));
    const other = request();
    desk.receive(open({ requests: [other, mine] }));
    heard.show!({ page: "requests", challenge_id: other.challenge_id });
    expect(desk.open).toBe(cardOf(mine));
  });

  it("does not drag away one who types", async () => {
    const mine = request();
    const { desk, heard } = await start(open({ requests: [mine] }));
    desk.go({ at: "settings", sub: { at: "profile", name: "Alice" } });
    around.typing = true;
    heard.show!({ page: "requests", challenge_id: mine.challenge_id });
    expect(desk.place.at).toBe("settings");
  });

  it("leads out of no page within the settings, long after the last key was pressed", async () => {
    const mine = request();
    const { desk, heard } = await start(open({ requests: [mine] }));
    for (const at of ["profile", "sheet"] as const) {
      desk.go({ at: "settings", sub: { at, name: "Alice" } });
      await vi.advanceTimersByTimeAsync(60_000);
      heard.show!({ page: "requests", challenge_id: mine.challenge_id });
      heard.show!({ page: "requests" });
      expect(desk.place).toEqual({ at: "settings", sub: { at, name: "Alice" } });
    }
    desk.go({ at: "settings" });
    heard.show!({ page: "requests", challenge_id: mine.challenge_id });
    expect(desk.place.at).toBe("requests");
  });

  it("does not drag away one who has half filled something in", async () => {
    const { desk, heard } = await start(open({ requests: [request()] }));
    desk.goTab("history");
    desk.halfFilled = true;
    heard.show!({ page: "requests" });
    expect(desk.place.at).toBe("history");
    desk.halfFilled = false;
    heard.show!({ page: "requests" });
    expect(desk.place.at).toBe("requests");
  });

  it("drags nobody away who types, whatever page it names", async () => {
    const { desk, heard } = await start(open());
    desk.goTab("history");
    around.typing = true;
    for (const page of ["requests", "settings", "sessions"]) heard.show!({ page });
    expect(desk.place.at).toBe("history");
    around.typing = false;
    heard.show!({ page: "settings" });
    expect(desk.place.at).toBe("settings");
  });

  it("settles the card that it leads to, even one that was open before", async () => {
    const mine = request();
    const { desk, heard } = await start(open({ requests: [mine] }));
    desk.drafts[cardOf(mine)]!.touched = true;
    desk.goTab("sessions");
    await settle();
    heard.show!({ page: "requests", challenge_id: mine.challenge_id });
    expect(desk.settling).toBe(true);
    await settle();
    heard.show!({ page: "requests", challenge_id: mine.challenge_id });
    expect(desk.settling).toBe(false);
  });

  it("names no page that there is not, and none while it is locked", async () => {
    const { desk, heard } = await start(open());
    heard.show!({ page: "constructor" });
    expect(desk.place.at).toBe("requests");
    desk.receive(open({ stage: "locked" }));
    heard.show!({ page: "settings" });
    expect(desk.place.at).toBe("requests");
  });
});

describe("an opened link", () => {
  const link = { id: "l1", gateway: "https://id.example", identities: ["Alice"] };

  it("takes the page, unless the person is typing", async () => {
    const { desk } = await start(open());
    around.typing = true;
    desk.receive(open({ links: [link] }));
    expect(desk.link).toBeNull();
    desk.showLink("l1");
    expect(desk.link).toBe("l1");
    desk.receive(open());
    expect(desk.link).toBeNull();
  });

  it("waits for one who is at a page within the settings or has half filled something in", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    const comes = () => {
      desk.receive(open({ requests: [mine] }));
      desk.receive(open({ requests: [mine], links: [link] }));
      return desk.link;
    };
    desk.go({ at: "settings", sub: { at: "sheet", name: "Alice" } });
    expect(comes()).toBeNull();
    desk.goTab("history");
    desk.halfFilled = true;
    expect(comes()).toBeNull();
    desk.halfFilled = false;
    desk.goTab("requests");
    desk.drafts[cardOf(mine)]!.touched = true;
    expect(comes()).toBeNull();
    desk.drafts[cardOf(mine)]!.touched = false;
    expect(comes()).toBe("l1");
  });

  it("leads to the card it let in, even where the list comes later", async () => {
    const old = request();
    const { desk } = await start(open({ requests: [old], links: [link] }));
    const mine = request({ binding: "linked" });
    desk.want(mine);
    expect(desk.open).toBe(cardOf(old));
    desk.receive(open({ requests: [old, mine] }));
    expect(desk.open).toBe(cardOf(mine));
  });
});

describe("the bar above the tabs", () => {
  it("announces on every other page what waits, and leads to the newest of it", async () => {
    const [newer, mine] = [request(), request()];
    const approved = request({ standing: "approved" });
    const { desk } = await start(open({ requests: [mine, approved] }));
    expect(desk.calling).toEqual([]);
    desk.go({ at: "settings", sub: { at: "profile", name: "Alice" } });
    expect(desk.calling).toEqual([mine]);
    desk.receive(open({ requests: [newer, mine, approved] }));
    expect(desk.calling).toEqual([newer, mine]);
    await settle();
    desk.showCalling();
    expect(desk.place).toEqual({ at: "requests" });
    expect(desk.open).toBe(cardOf(newer));
    expect(desk.settling).toBe(true);
    expect(desk.calling).toEqual([]);
  });

  it("leads past a card in which something is typed, which is kept", async () => {
    const mine = request();
    const { desk } = await start(open({ requests: [mine] }));
    Object.assign(desk.drafts[cardOf(mine)]!, { number: "4", touched: true });
    const newer = request();
    desk.receive(open({ requests: [newer, mine] }));
    desk.goTab("sessions");
    desk.showCalling();
    expect(desk.open).toBe(cardOf(newer));
    expect(desk.drafts[cardOf(mine)]!.number).toBe("4");
  });
});

describe("the time left", () => {
  it("does not twitch when the same moment is told again", async () => {
    const mine = request({ expires_in_ms: 100_000, created_at: new Date(NOW).toISOString() });
    const { desk } = await start(open({ requests: [mine] }));
    const first = desk.deadline(mine);
    vi.setSystemTime(NOW + 30_000);
    desk.receive(open({ requests: [{ ...mine, expires_in_ms: 70_300 }] }));
    expect(desk.deadline(mine)).toEqual(first);
    expect(first).toEqual({ at: NOW + 100_000, total: 100_000 });
  });
});

describe("hearing and saying", () => {
  it("says who asks when a request arrives, and not when the window opens", async () => {
    const { desk } = await start(open({ requests: [request()] }));
    expect(desk.spoken).toBe("");
    desk.receive(open({ requests: [request({ service: { id: "s", name: "Shop" } })] }));
    expect(desk.spoken).toBe("Shop wants to sign you in.");
  });

  it("says the same sentence twice so that it is heard twice", async () => {
    const { desk } = await start(open());
    desk.say("Copied");
    desk.say("Copied");
    expect(desk.spoken).not.toBe("Copied");
    expect(desk.spoken.trim()).toBe("Copied");
  });

  it("keeps the last three notices", async () => {
    const { desk } = await start(open());
    for (const kind of ["a", "b", "c", "d"]) desk.hear({ kind });
    expect(desk.toasts.map(({ notice }) => notice.kind)).toEqual(["b", "c", "d"]);
  });
});

describe("the lock", () => {
  const named = { kind: "session_ended", service: "Shop", identity: "Alice" };

  it("takes every notice and every word along", async () => {
    const { desk } = await start(open());
    desk.hear(named);
    desk.say("Shop wants to sign you in.");
    desk.receive(open({ stage: "locked" }));
    expect(desk.toasts).toEqual([]);
    expect(desk.spoken).toBe("");
  });

  it("is followed by no notice and no word that names anybody", async () => {
    const { desk } = await start(open());
    desk.receive(open({ stage: "locked" }));
    desk.hear(named);
    expect(desk.toasts).toEqual([]);
    desk.hear({ kind: "bad_link" });
    desk.receive(open({ stage: "locked", requests: [request()] }));
    expect(desk.spoken).toBe("");
    expect(desk.toasts.map(({ notice }) => notice.kind)).toEqual(["bad_link"]);
  });
});

describe("a muted service", () => {
  it("raises no bar and is not announced", async () => {
    const mine = request();
    const muted = request({ service: { id: "spam", name: "Spam" } });
    const mutes = [
      { wallet: muted.wallet, service_id: "spam", service_name: "Spam", until: "2027" },
    ];
    const { desk } = await start(open({ requests: [mine], mutes }));
    desk.receive(open({ requests: [muted, mine], mutes }));
    expect(desk.calling.length).toBe(0);
    expect(desk.spoken).toBe("");
    desk.receive(open({ requests: [muted, mine] }));
    expect(desk.calling.length).toBe(1);
  });
});

describe("the person's presence", () => {
  it("is told to the core now and then, and never while it is locked", async () => {
    const { desk, call } = await start(open());
    const told = () => call.mock.calls.filter(([command]) => command === "touch").length;
    for (let i = 0; i < 50; i++) desk.touch();
    expect(told()).toBe(1);
    vi.setSystemTime(Date.now() + 10_000);
    desk.touch();
    expect(told()).toBe(2);
    desk.receive(open({ stage: "locked" }));
    vi.setSystemTime(Date.now() + 60_000);
    desk.touch();
    expect(told()).toBe(2);
  });
});

describe("who is meant", () => {
  it("is found by name and by identifier", async () => {
    const work = identity("Work", undefined, 1);
    const { desk } = await start(open({ identities: [identity("Alice"), work] }));
    expect(desk.nameOf(work.did)).toBe("Work");
    expect(desk.nameOf("nobody")).toBe("nobody");
    desk.filter = "Work";
    expect(desk.shows(work.did)).toBe(true);
    expect(desk.shows("Alice")).toBe(false);
  });
});

describe("making an identity", () => {
  it("is not over when the vault exists, and ends with the lock", async () => {
    const { desk } = await start(open({ stage: "first_run", identities: [] }));
    expect(desk.settingUp).toBe("first");
    desk.receive(open());
    expect(desk.settingUp).toBe("first");
    desk.receive(open({ stage: "locked" }));
    expect(desk.settingUp).toBeNull();
  });
});

describe("the reminder of a recovery sheet", () => {
  const without = (name: string, at = 0, part = {}) => ({
    ...identity(name, undefined, at),
    sheet_kept: false,
    ...part,
  });

  it("is of the first who lives and has shown none", async () => {
    const over = without("Over", 0, { retired_at: "2026-01-01T00:00:00Z" });
    const identities = [over, identity("Kept", undefined, 1), without("Work", 2)];
    const { desk, heard } = await start(open({ identities }));
    expect(desk.withoutSheet?.name).toBe("Work");
    heard.view!(open({ identities: identities.map((one) => ({ ...one, sheet_kept: true })) }));
    expect(desk.withoutSheet).toBeNull();
  });

  it("can be put off for this run, and comes back with the next", async () => {
    const view = open({ identities: [without("Alice"), without("Work", 1)] });
    const { desk, heard } = await start(view);
    desk.putOffSheet(desk.withoutSheet!.did);
    expect(desk.withoutSheet?.name).toBe("Work");
    desk.putOffSheet(desk.withoutSheet!.did);
    heard.view!(structuredClone(view));
    expect(desk.withoutSheet).toBeNull();
    expect((await start(view)).desk.withoutSheet?.name).toBe("Alice");
  });
});
