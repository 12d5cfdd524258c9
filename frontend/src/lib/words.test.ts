import { describe, expect, it } from "vitest";
import { digits } from "./announce";
import { endedWords, formatTime, localeTag, messageFor, pickLanguage } from "./words";
import { en } from "./words/en";
import { ko } from "./words/ko";

/** Every text with its path; functions are called with something recognisable. */
function texts(node: unknown, path = ""): Array<[string, string]> {
  if (typeof node === "string") return [[path, node]];
  if (typeof node === "function") {
    const say = node as (...args: unknown[]) => string;
    return [[path, path.endsWith("leftSpoken") ? say(20) : say("A", "B")]];
  }
  return Object.entries(node as object).flatMap(([key, value]) => texts(value, `${path}/${key}`));
}

describe("both languages", () => {
  it("say the same things", () => {
    expect(texts(ko).map(([path]) => path)).toEqual(texts(en).map(([path]) => path));
  });

  it("leave nothing empty, and nothing in English in the Korean", () => {
    for (const [path, text] of [...texts(en), ...texts(ko)]) expect(text, path).not.toBe("");
    for (const [path, text] of texts(ko)) {
      if (path !== "/pageTitle") expect(text, path).toMatch(/[가-힣]/);
    }
  });

  it("never say Oops, nor words that only the protocol needs", () => {
    for (const [path, text] of [...texts(en), ...texts(ko)]) {
      expect(text, path).not.toMatch(
        /[Oo]ops|[Cc]hallenge|[Tt]oken|\bDID\b|[Gg]ateway|챌린지|토큰/,
      );
    }
  });

  it("speak to a person once, not twice in two styles", () => {
    for (const [path, text] of texts(ko)) expect(text, path).not.toMatch(/습니다|십시오/);
  });
});

describe("the language", () => {
  it("is the first that we speak", () => {
    expect(pickLanguage(["ko-KR", "en"])).toBe("ko");
    expect(pickLanguage(["fr", "ko"])).toBe("ko");
    expect(pickLanguage(["EN-gb", "ko"])).toBe("en");
    expect(pickLanguage(["de", "fr"])).toBe("en");
    expect(pickLanguage([])).toBe("en");
  });

  it("keeps the browser's own variant for times", () => {
    expect(localeTag(["fr", "en-GB"], "en")).toBe("en-GB");
    expect(localeTag(["fr"], "en")).toBe("en");
  });
});

describe("reasons", () => {
  it("have words of their own, and unknown ones have some too", () => {
    expect(messageFor(en.denied, "wrong_match_code").title).toBe("The number did not match");
    expect(messageFor(en.denied, null)).toBe(en.denied.other);
    expect(messageFor(en.expired, "toString" as never)).toBe(en.expired.other);
  });

  const about = {
    service: "Demo Shop",
    now: new Date(2026, 10, 20, 15).getTime(),
    locale: "en-GB",
  };
  const today = new Date(2026, 10, 20, 14, 2).getTime();

  it("say when a session ended", () => {
    expect(endedWords(en.signedOut, { reason: "user", endedAt: today }, about)).toBe(
      "You ended this session in your wallet at 14:02.",
    );
    expect(
      endedWords(ko.signedOut, { reason: "user", endedAt: today }, { ...about, locale: "ko-KR" }),
    ).toMatch(/^14:02에 지갑에서/);
  });

  it("say the date where it was another day", () => {
    const before = today - 48 * 3_600_000;
    expect(endedWords(en.signedOut, { reason: "user", endedAt: before }, about)).toMatch(
      /in your wallet on 18\sNov\s2026.*14:02\.$/,
    );
  });

  it("leave the time out where nobody knows it", () => {
    expect(endedWords(en.signedOut, { reason: "user", endedAt: null }, about)).toBe(
      "You ended this session in your wallet.",
    );
    expect(endedWords(en.signedOut, { reason: null, endedAt: null }, about)).toBe(
      "This session has ended.",
    );
  });
});

describe("the number", () => {
  it("is read digit by digit", () => {
    expect(digits("47")).toMatch(/4, 7/);
  });
});

describe("a time", () => {
  it("carries its date only on another day", () => {
    const now = new Date(2026, 10, 20, 15).getTime();
    expect(formatTime(now, now, "en-GB")).toBe("15:00");
    expect(formatTime(now + 30 * 86_400_000, now, "en-GB")).toMatch(/20\sDec\s2026/);
  });

  it("breaks between date and time and nowhere else", () => {
    const now = new Date(2026, 10, 20, 15, 5).getTime();
    for (const locale of ["en-US", "en-GB", "ko-KR"]) {
      const pieces = formatTime(now - 40 * 86_400_000, now, locale).split(" ");
      expect(pieces, locale).toHaveLength(2);
      expect(pieces[1], locale).toMatch(/^(3:05\u00a0PM|15:05)$/);
      expect(formatTime(now, now, locale), locale).not.toContain(" ");
    }
  });
});
