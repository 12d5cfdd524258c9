import { describe, expect, it, vi } from "vitest";
import { mustAsk, parseBack, takeArrival } from "./arrival";
import { offersFrom } from "./offers";

const ID = "019aa0c0-0000-7000-8000-000000000001";
const fragment = `challenge_id=${ID}&response_code=miid_rc_x&iss=http://127.0.0.1:14000`;
const did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
const back = { id: ID, responseCode: "miid_rc_x", issuer: "http://127.0.0.1:14000", did: null };

describe("the address that the wallet opened", () => {
  it("is read and forgotten at once", () => {
    const history = { replaceState: vi.fn() };
    const location = { pathname: "/auth/return", hash: `#${fragment}` };
    expect(takeArrival(location, history, true)).toEqual({ back, ask: true });
    expect(history.replaceState).toHaveBeenCalledExactlyOnceWith(null, "", "/");
  });

  it("is forgotten also where it cannot be read", () => {
    const history = { replaceState: vi.fn() };
    const location = { pathname: "/auth/return", hash: "#response_code=miid_rc_x" };
    expect(takeArrival(location, history, false)).toBe("broken");
    expect(history.replaceState).toHaveBeenCalledOnce();
  });

  it("is an ordinary page without a fragment, and elsewhere nothing at all", () => {
    const history = { replaceState: vi.fn() };
    expect(takeArrival({ pathname: "/auth/return", hash: "" }, history, true)).toBeNull();
    history.replaceState.mockClear();
    expect(takeArrival({ pathname: "/", hash: `#${fragment}` }, history, true)).toBeNull();
    expect(history.replaceState).not.toHaveBeenCalled();
  });

  it("may be encoded, in any order", () => {
    expect(
      parseBack(`iss=http%3A%2F%2F127.0.0.1%3A14000&response_code=miid_rc_x&challenge_id=${ID}`),
    ).toEqual(back);
  });

  it("may say who approved", () => {
    expect(parseBack(`${fragment}&did=${did}`)).toEqual({ ...back, did });
    expect(parseBack(`did=${encodeURIComponent(did)}&${fragment}`)).toEqual({ ...back, did });
  });

  it.each([
    "",
    "x",
    `${fragment}&did=`,
    `${fragment}&did=alice`,
    `${fragment}&did=${did}&did=${did}`,
    `${fragment}&did=${did}&x=1`,
    `${fragment}&x=1`,
    `${fragment}&iss=http://other.example`,
    fragment.replace("miid_rc_", "miid_ac_"),
    fragment.replace("http://127.0.0.1:14000", ""),
    fragment.replace("127", "%"),
  ])("is nothing when it is %s", (text) => expect(parseBack(text)).toBeNull());
});

describe("whether to ask", () => {
  it("is no only where the service says so", () => {
    const page = (content: string | null) => ({
      querySelector: () => (content === null ? null : { content }),
    });
    expect(mustAsk(page("go") as never)).toBe(false);
    for (const content of ["ask", "", "Go", null])
      expect(mustAsk(page(content) as never)).toBe(true);
  });
});

describe("what is offered", () => {
  it("is both where nothing is said", () => {
    expect(offersFrom(undefined)).toEqual({ linked: true, addressed: true });
    expect(offersFrom("any")).toEqual({ linked: true, addressed: true });
    expect(offersFrom("linked")).toEqual({ linked: true, addressed: false });
    expect(offersFrom("addressed")).toEqual({ linked: false, addressed: true });
  });
});
