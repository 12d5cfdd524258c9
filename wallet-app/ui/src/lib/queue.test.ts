import { describe, expect, it } from "vitest";
import { request } from "../../tests/mock/props";
import { arrived, calling, cardOf, chooseOpen, isMuted } from "./queue";

const [newest, middle, oldest] = [request(), request(), request()];
const ids = (...requests: Array<typeof newest>) => requests.map((one) => one.challenge_id);

describe("the open card", () => {
  it("is the newest where none is open", () => {
    const looking = { open: null, seen: true, touched: false };
    expect(chooseOpen([newest, oldest], looking)).toBe(cardOf(newest));
    expect(chooseOpen([], looking)).toBeNull();
  });

  it("stays while the person looks at it, though a newer one came", () => {
    const looking = { open: cardOf(oldest), seen: true, touched: false };
    expect(chooseOpen([newest, oldest], looking)).toBe(cardOf(oldest));
  });

  it("stays once something was typed, seen or not", () => {
    const looking = { open: cardOf(oldest), seen: false, touched: true };
    expect(chooseOpen([newest, oldest], looking)).toBe(cardOf(oldest));
  });

  it("gives way to a newer one that nobody could have seen arrive", () => {
    const looking = { open: cardOf(oldest), seen: false, touched: false };
    expect(chooseOpen([newest, oldest], looking)).toBe(cardOf(newest));
  });

  it("is the next one once it is gone, and one that waits for an answer before one that has it", () => {
    const approved = request({ standing: "approved" });
    const looking = { open: "gone", seen: true, touched: true };
    expect(chooseOpen([approved, oldest], looking)).toBe(cardOf(oldest));
    expect(chooseOpen([approved], looking)).toBe(cardOf(approved));
  });
});

describe("newer ones", () => {
  it("are counted only where they wait for an answer", () => {
    const approved = request({ standing: "approved" });
    const on = (card: typeof newest) => ({ open: cardOf(card) });
    expect(calling([newest, approved, oldest], [], on(oldest))).toEqual([newest]);
    expect(calling([newest, oldest], [], on(newest))).toEqual([]);
  });

  it("are all that wait, where another page than theirs is looked at", () => {
    const approved = request({ standing: "approved" });
    expect(calling([newest, approved, oldest], [], null)).toEqual([newest, oldest]);
  });

  it("have arrived when they were not there before", () => {
    expect(arrived([oldest], [newest, middle, oldest]).map((one) => one.challenge_id)).toEqual(
      ids(newest, middle),
    );
    expect(arrived([], [request({ standing: "approved" })])).toEqual([]);
  });

  it("have arrived when their text is another, or another gateway tells of them", () => {
    const changed = { ...oldest, digest: "another" };
    const theirs = { ...oldest, wallet: "another" };
    expect(arrived([oldest], [changed, theirs, oldest])).toEqual([changed, theirs]);
  });
});

describe("a muted service", () => {
  const muted = request({ service: { id: "spam", name: "Spam" } });
  const mute = { wallet: muted.wallet, service_id: "spam", service_name: "Spam", until: "" };
  const looking = { open: null, seen: true, touched: false };

  it("is not opened before others, and still where it is the only one", () => {
    expect(chooseOpen([muted, oldest], looking, [mute])).toBe(cardOf(oldest));
    expect(chooseOpen([muted], looking, [mute])).toBe(cardOf(muted));
  });

  it("calls nobody from another page, even as the card that is open there", () => {
    expect(calling([muted, oldest], [mute], null)).toEqual([oldest]);
    expect(calling([muted], [mute], null)).toEqual([]);
    expect(calling([muted, oldest], [mute], { open: cardOf(oldest) })).toEqual([]);
  });

  it("is muted for one wallet and not for another", () => {
    expect(isMuted(muted, [mute])).toBe(true);
    expect(isMuted(muted, [{ ...mute, wallet: "another" }])).toBe(false);
  });
});
