import { describe, expect, it } from "vitest";
import { backOff, left, spokenMark, untilNextSecond } from "./countdown";

describe("what is left", () => {
  it("is shown as minutes and seconds", () => {
    expect(left(300_000, 300_000, 0)).toEqual({ seconds: 300, text: "5:00", share: 1 });
    expect(left(300_000, 300_000, 28_000).text).toBe("4:32");
    expect(left(300_000, 300_000, 291_500).text).toBe("0:09");
  });

  it("says 0:00 when the time is over and not before", () => {
    expect(left(1_000, 1_000, 999).text).toBe("0:01");
    expect(left(1_000, 1_000, 1_000)).toEqual({ seconds: 0, text: "0:00", share: 0 });
    expect(left(1_000, 1_000, 9_000)).toEqual({ seconds: 0, text: "0:00", share: 0 });
  });

  it("never draws more than a whole ring", () => {
    expect(left(10_000, 5_000, 0).share).toBe(1);
    expect(left(10_000, 0, 0).share).toBe(0);
  });

  it("changes when the second does", () => {
    expect(untilNextSecond(10_000, 8_300)).toBe(700);
    expect(untilNextSecond(10_000, 8_000)).toBe(1_000);
    expect(untilNextSecond(10_000, 12_000)).toBe(1_000);
  });
});

describe("what is said aloud", () => {
  it("is a mark once, also when a sleeping page skipped over it", () => {
    expect(spokenMark(61, 60)).toBe(60);
    expect(spokenMark(60, 59)).toBeNull();
    expect(spokenMark(21, 20)).toBe(20);
    expect(spokenMark(200, 55)).toBe(60);
  });

  it("is nothing once the time is over", () => {
    expect(spokenMark(30, 0)).toBeNull();
  });
});

describe("waiting before the next try", () => {
  it("doubles up to half a minute", () => {
    expect([1, 2, 3, 4, 5, 50].map((n) => backOff(n, null))).toEqual([
      2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ]);
  });

  it("is at least as long as asked for, within reason", () => {
    expect(backOff(1, 7_000)).toBe(7_000);
    expect(backOff(3, 1_000)).toBe(8_000);
    expect(backOff(1, 86_400_000)).toBe(600_000);
  });
});
