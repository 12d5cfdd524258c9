import { describe, expect, it } from "vitest";
import { parseHint, shorten } from "./handle";

const DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

describe("what was typed", () => {
  it("is a handle, however it was spelt", () => {
    expect(parseHint("alice")).toBe("alice");
    expect(parseHint("  @Alice ")).toBe("alice");
    expect(parseHint("a_b-3")).toBe("a_b-3");
  });

  it("or a DID, untouched", () => {
    expect(parseHint(` ${DID} `)).toBe(DID);
  });

  it.each([
    "",
    "  ",
    "ab",
    "-abc",
    "abc-",
    "앨리스",
    "a b c",
    "alice@example.com",
    "did:",
    "x".repeat(33),
  ])("and cannot be %j", (typed) => expect(parseHint(typed)).toBeNull());
});

describe("a DID in a line", () => {
  it("keeps its beginning and its end", () => {
    expect(shorten(DID)).toBe("z6MkhaXg…ta2doK");
    expect(shorten("alice")).toBe("alice");
  });
});
