import { describe, expect, it } from "vitest";
import { FAULT_CODES, faultWords } from "./faults";
import { noticeWords, stays } from "./notices";
import { localeTag, pickLanguage } from "./words";
import { en } from "./words/en";
import { ko } from "./words/ko";

/** Every text with its path; functions are called with something recognisable. */
function texts(node: unknown, path = ""): Array<[string, string]> {
  if (typeof node === "string") return [[path, node]];
  if (typeof node === "function") {
    const say = node as (...args: unknown[]) => string;
    if (path === "/and") return [[path, say(["A", "B"])]];
    const counts = /leftSpoken|minutes|lockMinutes|ruleDays|used$|waiting$|live$|newer$|allAsk/;
    return [[path, counts.test(path) ? say(20, 21) : say("A", "B")]];
  }
  return Object.entries(node as object).flatMap(([key, value]) => texts(value, `${path}/${key}`));
}

/** Names and what a person types are the same in both. */
const SAME = new Set(["/title", "/pageTitle", "/and"]);

describe("both languages", () => {
  it("say the same things", () => {
    expect(texts(ko).map(([path]) => path)).toEqual(texts(en).map(([path]) => path));
  });

  it("leave nothing empty, and nothing in English in the Korean", () => {
    for (const [path, text] of [...texts(en), ...texts(ko)]) expect(text, path).not.toBe("");
    for (const [path, text] of texts(ko))
      if (!SAME.has(path)) expect(text, path).toMatch(/[가-힣]/);
  });

  it("never say Oops, nor words that only the protocol needs", () => {
    for (const [path, text] of [...texts(en), ...texts(ko)]) {
      expect(text, path).not.toMatch(
        /[Oo]ops|[Cc]hallenge|[Tt]oken|\bDID\b|[Gg]ateway|[Vv]ault|챌린지|토큰|게이트웨이/,
      );
    }
  });

  it("speak to a person in one style, without particles in brackets", () => {
    for (const [path, text] of texts(ko)) {
      expect(text, path).not.toMatch(/습니다|십시오/);
      expect(text, path).not.toMatch(/\((를|을|는|은|가|이|로)\)/);
    }
  });

  it("put in what they are given, in both", () => {
    for (const words of [en, ko]) {
      expect(words.card.wants("Demo Shop")).toContain("Demo Shop");
      expect(words.locked.waiting(3)).toContain("3");
      expect(words.sheet.confirmWrong(17)).toContain("17");
    }
  });
});

describe("faults", () => {
  it("have words for every code, in both languages", () => {
    for (const words of [en, ko])
      expect(Object.keys(words.faults).sort()).toEqual([...FAULT_CODES].sort());
  });

  it("say the core's own words for a code that came later", () => {
    const fault = { code: "moon_phase", message: "The moon is wrong.", hint: "Wait." };
    expect(faultWords(fault, ko)).toBe("The moon is wrong. Wait.");
    expect(faultWords({ ...fault, message: "", hint: null }, en)).toBe(en.faults.internal);
    expect(faultWords({ ...fault, code: "toString", message: "" }, en)).toBe("Wait.");
  });
});

describe("notices", () => {
  it("say that somebody else began it, whichever way that is told", () => {
    const said = "Somebody else began this sign-in, so it was stopped. Nobody was signed in.";
    expect(noticeWords({ kind: "other_browser" }, en)).toBe(said);
    expect(noticeWords({ kind: "expired", reason: "other_browser" }, en)).toBe(said);
    expect(stays({ kind: "expired", reason: "other_browser" })).toBe(true);
  });

  it("name the service and why a session ended", () => {
    const said = noticeWords(
      { kind: "session_ended", service: "Demo Shop", reason: "superseded" },
      en,
    );
    expect(said).toBe("Your session at Demo Shop ended. (you signed in somewhere else)");
    expect(stays({ kind: "session_ended" })).toBe(false);
  });

  it("say of each way in which nothing is confirmed why, and nothing of signing in", () => {
    const reasons = Object.keys(en.notConfirmed);
    expect(reasons).toHaveLength(9);
    for (const [words, never] of [
      [en, /sign/],
      [ko, /로그인/],
    ] as const) {
      const said = ["confirmed", ...reasons].map((reason) =>
        reason === "confirmed"
          ? noticeWords({ kind: reason, service: "Shop" }, words)
          : noticeWords({ kind: "not_confirmed", service: "Shop", reason }, words),
      );
      expect(new Set(said).size).toBe(said.length);
      for (const sentence of said) expect(sentence).not.toMatch(never);
    }
    expect(noticeWords({ kind: "not_confirmed", service: "Shop", reason: "moon" }, en)).toBe(
      "Nothing was confirmed at Shop.",
    );
    expect(stays({ kind: "not_confirmed", reason: "other_browser" })).toBe(true);
    expect(stays({ kind: "not_confirmed", reason: "session_ended" })).toBe(false);
  });

  it("get by with a kind or a reason that came later", () => {
    expect(noticeWords({ kind: "toString", service: "Shop" }, en)).toBe(
      "Something changed at Shop.",
    );
    expect(noticeWords({ kind: "expired", service: "Shop", reason: "moon" }, en)).toMatch(/Shop/);
  });
});

describe("the language", () => {
  it("is the chosen one, or else the first that we speak", () => {
    expect(pickLanguage("ko", ["en"])).toBe("ko");
    expect(pickLanguage("system", ["ko-KR", "en"])).toBe("ko");
    expect(pickLanguage("system", ["fr", "de"])).toBe("en");
  });

  it("keeps the computer's own variant for times", () => {
    expect(localeTag(["fr", "en-GB"], "en")).toBe("en-GB");
    expect(localeTag(["fr"], "ko")).toBe("ko");
  });
});
