// Every state of the page, reached the way a person reaches it. `at` is what `main[data-state]`
// must say, `focus` where the keyboard must be afterwards.

import { DID, LINK, RETURN, session } from "./mock_service.mjs";

const HEADING = "h1";
const BUTTON = "main .button";

async function submit(page, handle = "alice") {
  await page.fill("#handle", handle);
  await page.keyboard.press("Enter");
}
async function wait(page) {
  await submit(page);
  await page.waitForSelector("#match-code");
}
async function openWallet(page) {
  await page.click("#start-linked");
  await page.waitForSelector("#open-wallet");
}
/** As the wallet does: the browser opens an address by itself. */
async function comeBack(page, service, before = {}) {
  service.set({
    known: true,
    status: "approved",
    did: DID,
    expiresAt: session().expires_at,
    ...before,
  });
  await page.goto(service.url + RETURN);
}
const walletIs = (page, wallet) => page.waitForSelector(`main[data-wallet="${wallet}"]`);
const reach = (page, state) => page.waitForSelector(`main[data-state="${state}"]`);

/** A sign-in that ends without a session. */
const ending = (name, status, reason) => ({
  name,
  at: status,
  focus: BUTTON,
  async play(page, service) {
    await wait(page);
    await page.waitForFunction(() => document.querySelector("h1") === document.activeElement);
    service.tell(status, reason);
  },
});

const signedOut = (reason, at) => ({
  name: `signed-out-${reason}`,
  at: "signed_out",
  focus: BUTTON,
  before: { session: session() },
  async play(page, service) {
    await reach(page, "signed_in");
    await service.streamOpened();
    service.forceLogout(reason, at);
  },
});

/** Somebody who is signed in and has something to send. */
const account = (more = {}) => ({ session: session(), transfer: "on", ...more });
async function order(page, to, amount) {
  await page.fill("#transfer-to", to);
  await page.fill("#transfer-amount", amount);
  await page.click("#send-transfer");
}
/** By a script: a browser that asks whether to open the wallet takes the clicks. */
const press = async (page, selector) => {
  await page.waitForSelector(selector);
  await page.$eval(selector, (element) => element.click());
};
const inKorean = (page) => page.evaluate(() => navigator.language.startsWith("ko"));
const bob = async (page) => ((await inKorean(page)) ? "밥" : "Bob");
/** Something so large that the wallet is asked. */
async function stepUp(page) {
  await order(page, await bob(page), "250");
  await page.waitForSelector("#open-wallet");
}
/** In a behaviour, whose page is there before it begins. */
async function signInto(page, service) {
  service.set(account());
  await page.reload();
  await page.waitForSelector("#send-transfer");
}
/** A tab that the browser duplicated: with all that the first one remembers. */
async function copyOf(page) {
  const kept = await page.evaluate(() => Object.entries(sessionStorage));
  const copy = await page.context().newPage();
  await copy.addInitScript((kept) => {
    for (const [name, value] of kept) sessionStorage.setItem(name, value);
  }, kept);
  await copy.goto(page.url());
  return copy;
}
const refusedTransfer = (name, transferRefused, note) => ({
  name: `transfer-${name}`,
  at: "signed_in",
  focus: "#transfer-told",
  before: account({ transferRefused }),
  async play(page) {
    await order(page, await bob(page), "25");
    await page.waitForSelector(`[data-note=${note}]`);
  },
});
const endedStepUp = (status, reason) => ({
  name: `step-up-${reason.replace("_", "-")}`,
  at: "signed_in",
  focus: "#transfer-told",
  before: account(),
  async play(page, service) {
    await stepUp(page);
    await service.loginOpened();
    service.tell(status, reason);
    await page.waitForSelector(`[data-note=${status}]`);
    const kept = await page.inputValue("#transfer-amount");
    assert(kept === "250", `the form says ${kept}`);
  },
});

const today = new Date();
today.setHours(14, 2, 0, 0);

export const scenes = [
  { name: "start", at: "start", focus: "#start-linked", play: async () => {} },
  {
    name: "start-linked-only",
    at: "start",
    focus: "#start-linked",
    before: { binding: "linked" },
    play: async () => {},
  },
  {
    name: "start-addressed-only",
    at: "start",
    focus: "#handle",
    before: { binding: "addressed" },
    play: async () => {},
  },
  {
    name: "starting-linked",
    at: "starting",
    before: { start: "never" },
    play: (page) => page.click("#start-linked"),
  },
  { name: "linked-waiting", at: "waiting", focus: HEADING, play: openWallet },
  {
    name: "linked-silent",
    at: "waiting",
    async play(page) {
      await openWallet(page);
      await walletIs(page, "silent");
    },
  },
  {
    name: "linked-silent-after-a-reload",
    at: "waiting",
    async play(page) {
      await openWallet(page);
      await page.reload();
      await walletIs(page, "silent");
    },
  },
  {
    name: "linked-claimed",
    at: "waiting",
    async play(page, service) {
      await openWallet(page);
      await service.streamOpened();
      service.claim();
      await walletIs(page, "claimed");
    },
  },
  {
    name: "linked-taken-back",
    at: "waiting",
    async play(page, service) {
      await openWallet(page);
      await service.streamOpened();
      service.claim();
      service.tell("approved", undefined, { did: DID });
      await reach(page, "approved");
      service.tell("pending");
      await page.waitForSelector(".note");
    },
  },
  {
    name: "linked-approved",
    at: "approved",
    focus: HEADING,
    async play(page, service) {
      await openWallet(page);
      await service.streamOpened();
      service.tell("approved", undefined, { did: DID, claimed: true });
    },
  },
  {
    name: "linked-approved-slow",
    at: "approved",
    async play(page, service) {
      await openWallet(page);
      await service.streamOpened();
      service.tell("approved", undefined, { did: DID, claimed: true });
      await page.waitForSelector("main .help");
    },
  },
  {
    name: "returning",
    at: "completing",
    focus: HEADING,
    before: { complete: { status: 409, code: "not_active_yet" } },
    play: (page, service) => comeBack(page, service),
  },
  {
    name: "continue-as",
    at: "confirm",
    focus: HEADING,
    before: { arrival: "ask" },
    play: (page, service) => comeBack(page, service),
  },
  {
    name: "stopped",
    at: "stopped",
    focus: BUTTON,
    before: { returned: { status: "expired", reason: "other_browser", did: undefined } },
    play: (page, service) => comeBack(page, service, { known: false }),
  },
  {
    name: "lapsed",
    at: "lapsed",
    focus: BUTTON,
    before: { returned: [400, "wrong_response_code"] },
    play: (page, service) => comeBack(page, service),
  },
  {
    name: "not-continued",
    at: "start",
    before: { arrival: "ask" },
    async play(page, service) {
      await comeBack(page, service);
      await page.click("#stop-here");
      await page.waitForSelector("main .note");
    },
  },
  {
    name: "start-remembered",
    at: "start",
    focus: "#handle",
    async play(page) {
      await page.evaluate(() => localStorage.setItem("miid.last-handle", "alice"));
      await page.reload();
      await page.waitForFunction(() => document.querySelector("#handle")?.value === "alice");
    },
  },
  {
    name: "start-malformed",
    at: "start",
    focus: "#handle",
    async play(page) {
      await submit(page, "alice@example.com");
      await page.waitForSelector("#handle-error");
    },
  },
  {
    name: "start-refused",
    at: "start",
    focus: "#handle",
    before: { start: [400, "invalid_request"] },
    async play(page) {
      await submit(page);
      await page.waitForSelector("#handle-error");
    },
  },
  { name: "starting", at: "starting", before: { start: "never" }, play: (page) => submit(page) },
  { name: "waiting", at: "waiting", focus: HEADING, play: wait },
  {
    name: "waiting-little-left",
    at: "waiting",
    before: { ttlMs: 24_500 },
    async play(page) {
      await wait(page);
      // As if the request had been made a while ago and the page reloaded since.
      await page.evaluate(() => {
        const kept = JSON.parse(sessionStorage.getItem("miid.challenge"));
        kept.startedAt -= 60_000;
        sessionStorage.setItem("miid.challenge", JSON.stringify(kept));
      });
      await page.reload();
      await page.waitForSelector("#match-code");
    },
  },
  {
    name: "waiting-for-an-identity",
    at: "waiting",
    async play(page) {
      await submit(page, "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK");
      await page.waitForSelector("#match-code");
    },
  },
  {
    name: "waiting-taken-back",
    at: "waiting",
    async play(page, service) {
      await wait(page);
      await service.streamOpened();
      service.tell("approved");
      await reach(page, "approved");
      service.tell("pending");
      await page.waitForSelector(".note");
    },
  },
  {
    name: "waiting-lost",
    at: "waiting",
    async play(page, service) {
      await wait(page);
      await service.streamOpened();
      service.set({ down: {} });
      service.hangUp();
      await page.waitForSelector(".lost");
    },
  },
  {
    name: "approved",
    at: "approved",
    focus: HEADING,
    async play(page, service) {
      await wait(page);
      await service.streamOpened();
      service.tell("approved");
    },
  },
  {
    name: "approved-slow",
    at: "completing",
    before: { complete: { status: 409, code: "not_active_yet" } },
    async play(page, service) {
      await wait(page);
      await service.streamOpened();
      service.tell("active");
      await page.waitForSelector("main .link");
    },
  },
  ending("denied-declined", "denied", "declined"),
  ending("denied-wrong-number", "denied", "wrong_match_code"),
  ending("expired-timeout", "expired", "timeout"),
  ending("expired-code-timeout", "expired", "code_timeout"),
  ending("expired-replaced", "expired", "replaced"),
  ending("expired-withdrawn", "expired", "withdrawn"),
  ending("expired-other-browser", "expired", "other_browser"),
  {
    name: "gone",
    at: "start",
    focus: "#handle",
    async play(page, service) {
      await wait(page);
      service.set({ known: false });
      await page.reload();
      await page.waitForSelector("main .note");
    },
  },
  {
    name: "crowded-handle",
    at: "crowded",
    focus: HEADING,
    before: { start: [429, "too_many_challenges", { "retry-after": "42" }] },
    play: (page) => submit(page),
  },
  {
    name: "crowded-address",
    at: "crowded",
    before: { start: [429, "rate_limited", { "retry-after": "1" }] },
    async play(page) {
      await submit(page);
      await page.waitForSelector('main .button[aria-disabled="false"]');
    },
  },
  {
    name: "unreachable",
    at: "unreachable",
    focus: HEADING,
    async play(page, service) {
      service.set({ down: { "retry-after": "12" } });
      await submit(page);
    },
  },
  {
    name: "offline",
    at: "unreachable",
    async play(page) {
      await page.context().setOffline(true);
      await submit(page);
    },
  },
  {
    name: "signed-in",
    at: "signed_in",
    focus: HEADING,
    async play(page, service) {
      await wait(page);
      await service.streamOpened();
      service.tell("approved");
      service.tell("active");
    },
  },
  {
    name: "signed-in-nothing-shared",
    at: "signed_in",
    before: { session: session({ approved_claims: [], claims: {} }) },
    play: (page) => reach(page, "signed_in"),
  },
  {
    name: "signed-in-long-values",
    at: "signed_in",
    before: {
      session: session({
        requested_claims: ["name", "email", "favourite_colour"],
        approved_claims: ["name", "email", "favourite_colour"],
        claims: {
          name: "Maximiliane Anna von und zu Hohenstein-Wolkenburg",
          email: "maximiliane.hohenstein-wolkenburg@a-rather-long-domain.example",
          favourite_colour: "teal",
        },
      }),
    },
    play: (page) => reach(page, "signed_in"),
  },
  {
    name: "transfer",
    at: "signed_in",
    before: account(),
    play: (page) => page.waitForSelector("#balance"),
  },
  {
    name: "transfer-balance-away",
    at: "signed_in",
    before: account({ balanceRefused: [503, "api_unavailable"] }),
    play: (page) => page.waitForSelector("#look-again"),
  },
  {
    name: "transfer-wrong-amount",
    at: "signed_in",
    focus: "#transfer-amount",
    before: account(),
    async play(page) {
      await order(page, "Bob", "many");
      await page.waitForSelector("#transfer-wrong");
    },
  },
  {
    name: "transfer-sending",
    at: "signed_in",
    before: account({ transferRefused: "never" }),
    play: (page) => order(page, "Bob", "25"),
  },
  {
    name: "transfer-done",
    at: "signed_in",
    focus: "#transfer-told",
    before: account(),
    async play(page) {
      await order(page, "Bob", "25");
      await page.waitForSelector("[data-transfer=done]");
    },
  },
  refusedTransfer("not-connected", [403, "active_session_required"], "not_connected"),
  refusedTransfer("unknown", [502, "api_unavailable"], "unknown"),
  refusedTransfer("crowded", [429, "too_many_challenges", { "retry-after": "60" }], "crowded"),
  {
    name: "step-up-waiting",
    at: "signed_in",
    focus: "#confirming-title",
    before: account(),
    play: stepUp,
  },
  {
    name: "step-up-number",
    at: "signed_in",
    focus: "#confirming-title",
    before: account({ stepUpBinding: "addressed" }),
    async play(page) {
      await order(page, "Bob", "250");
      await page.waitForSelector("#match-code");
    },
  },
  {
    name: "step-up-silent",
    at: "signed_in",
    before: account(),
    async play(page) {
      await stepUp(page);
      await page.waitForSelector(".confirming[data-wallet=silent]");
    },
  },
  {
    name: "step-up-silent-after-a-reload",
    at: "signed_in",
    before: account(),
    async play(page) {
      await stepUp(page);
      await page.reload();
      await page.waitForSelector("#ask-again");
    },
  },
  {
    name: "step-up-claimed",
    at: "signed_in",
    before: account(),
    async play(page, service) {
      await stepUp(page);
      await service.loginOpened();
      service.claim();
      await page.waitForSelector(".confirming[data-wallet=claimed]");
    },
  },
  {
    name: "step-up-approved",
    at: "signed_in",
    before: account(),
    async play(page, service) {
      await stepUp(page);
      await service.loginOpened();
      service.tell("approved", undefined, { claimed: true });
      await page.waitForSelector(".confirming[data-login=approved]");
    },
  },
  {
    name: "step-up-approved-slow",
    at: "signed_in",
    before: account(),
    async play(page, service) {
      await stepUp(page);
      await service.loginOpened();
      service.tell("approved", undefined, { claimed: true });
      await page.waitForSelector(".confirming[data-login=approved] #cancel-transfer");
    },
  },
  {
    name: "step-up-unreachable",
    at: "signed_in",
    before: account(),
    async play(page, service) {
      await stepUp(page);
      await service.loginOpened();
      service.set({ complete: { status: 503, code: "busy" } });
      service.tell("active");
      await page.waitForSelector(".confirming[data-login=unreachable]");
    },
  },
  endedStepUp("denied", "declined"),
  endedStepUp("expired", "other_browser"),
  {
    name: "step-up-cancelled",
    at: "signed_in",
    focus: "#transfer-told",
    before: account(),
    async play(page) {
      await stepUp(page);
      await press(page, "#cancel-transfer");
      await page.waitForSelector("[data-note=cancelled]");
    },
  },
  {
    name: "step-up-done",
    at: "signed_in",
    focus: "#transfer-told",
    before: account(),
    async play(page, service) {
      await stepUp(page);
      await service.loginOpened();
      service.tell("active");
      await page.waitForSelector("[data-transfer=done]");
    },
  },
  {
    name: "step-up-long",
    at: "signed_in",
    before: account({ balance: 1_000_000 }),
    async play(page) {
      await order(page, "Wolkenkuckucksheimer-Genossenschaft eG.", "1,000,000");
      await page.waitForSelector("#open-wallet");
    },
  },
  {
    name: "step-up-confirmed-in-another-tab",
    at: "confirmed",
    focus: HEADING,
    before: account(),
    async play(page, service) {
      service.set({ asked: 1 });
      await comeBack(page, service);
    },
  },
  {
    name: "step-up-signed-out-meanwhile",
    at: "signed_out",
    focus: BUTTON,
    before: account(),
    async play(page, service) {
      await stepUp(page);
      await service.loginOpened();
      service.forceLogout("service");
      service.tell("expired", "session_ended");
    },
  },
  {
    name: "signed-in-cannot-leave",
    at: "signed_in",
    before: { session: session(), logout: { status: 503 } },
    async play(page) {
      await page.click("#sign-out");
      await page.waitForSelector(".failed");
    },
  },
  {
    name: "left",
    at: "start",
    focus: "#start-linked",
    before: { session: session() },
    play: (page) => page.click("#sign-out"),
  },
  signedOut("user", today.toISOString()),
  signedOut("superseded", new Date(today - 2 * 86_400_000).toISOString()),
  signedOut("service"),
  signedOut("retired", today.toISOString()),
  signedOut("refresh_reuse", today.toISOString()),
];

/** What pictures cannot show: each plays through and fails by throwing. */
export const behaviours = {
  async "a reload keeps the number and its time, and still hears of the approval"(page, service) {
    await wait(page);
    await page.reload();
    await page.waitForSelector("#match-code");
    assert((await page.textContent("#match-code")) === "47", "another number");
    await service.streamOpened();
    service.tell("active");
    await reach(page, "signed_in");
    const kept = await page.evaluate(() => sessionStorage.getItem("miid.challenge"));
    assert(kept === null, "the finished challenge is still remembered");
  },
  async "what was approved is sent once, though the tab was copied"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    const copy = await copyOf(page);
    await copy.waitForSelector(".confirming");
    await service.loginOpened();
    await until(() => service.state.calls.filter((call) => /stream\/0/.test(call)).length >= 2);
    service.tell("active");
    const done = [page, copy].map((tab) =>
      tab.waitForSelector("[data-transfer=done], [data-note=elsewhere]"),
    );
    await Promise.all(done);
    assert(service.state.transfers.length === 1, JSON.stringify(service.state.transfers));
    const both = [page, copy].map((tab) => tab.getAttribute(".account", "data-transfer"));
    assert((await Promise.all(both)).sort().join() === "done,form", "both say that they sent it");
  },
  async "the tab that the wallet opens confirms, and the one where it began sends"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    await service.loginOpened();
    service.tell("approved", undefined, { claimed: true });
    await page.waitForSelector(".confirming[data-login=approved]");
    const tab = await page.context().newPage();
    await tab.goto(service.url + RETURN);
    await tab.waitForSelector('main[data-state="confirmed"]');
    await page.waitForSelector("[data-transfer=done]");
    assert(service.state.transfers.length === 1, JSON.stringify(service.state.transfers));
    assert((await page.textContent("#balance")) === "750", "the balance is an old one");
    // Whoever stays there is signed in, with nothing under way.
    await press(tab, "#stay-here");
    await tab.waitForSelector("[data-transfer=form]");
    assert(service.state.transfers.length === 1, "it was sent again");
  },
  async "the wallet may come back to the very tab where it began"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    await service.loginOpened();
    service.set({ status: "approved" });
    await page.goto(service.url + RETURN);
    await page.waitForSelector("[data-transfer=done]");
    assert(service.state.transfers.length === 1, JSON.stringify(service.state.transfers));
  },
  async "a reload while the wallet is asked loses neither the order nor the sign-in"(
    page,
    service,
  ) {
    await signInto(page, service);
    await stepUp(page);
    await page.reload();
    await page.waitForSelector(".confirming");
    assert((await page.textContent("#confirming-what")) === "Send 250 to Bob", "another order");
    await service.loginOpened();
    service.tell("active");
    await page.waitForSelector("[data-transfer=done]");
    await page.reload();
    await page.waitForSelector("#balance");
    await page.waitForSelector("[data-transfer=form]");
    assert(service.state.transfers.length === 1, JSON.stringify(service.state.transfers));
  },
  async "what is asked again after a reload has a new link, and what was typed"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    await page.reload();
    await press(page, "#ask-again");
    await page.waitForSelector("#open-wallet");
    assert(service.state.asked === 2, `asked ${service.state.asked} times`);
  },
  async "an approval that comes when the page is not connected is tried once more"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    await service.loginOpened();
    service.set({ transferRefused: [403, "active_session_required"] });
    service.tell("active");
    const sent = () => service.state.calls.filter((call) => call === "POST /demo/transfer").length;
    await until(() => sent() === 2);
    service.set({ transferRefused: null });
    await page.waitForSelector("[data-transfer=done]");
    assert(sent() === 3 && service.state.transfers.length === 1, `sent ${sent()} times`);
  },
  async "an answer that is lost is not sent again by itself, and the balance is looked at"(
    page,
    service,
  ) {
    await signInto(page, service);
    await page.waitForSelector("#balance");
    service.set({ transferRefused: "lost" });
    await order(page, "Bob", "25");
    await page.waitForSelector("[data-note=unknown]");
    await page.waitForFunction(() => document.querySelector("#balance")?.textContent === "975");
    assert((await page.inputValue("#transfer-to")) === "Bob", "the form was emptied");
    assert(service.state.transfers.length === 1, JSON.stringify(service.state.transfers));
  },
  async "cancelling withdraws what the wallet was asked, and the session goes on"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    await press(page, "#cancel-transfer");
    await page.waitForSelector("[data-note=cancelled]");
    await until(() => service.state.calls.some((call) => call.startsWith("POST /auth/cancel/")));
    assert((await page.inputValue("#transfer-amount")) === "250", "the form was emptied");
    assert((await page.getAttribute("main", "data-state")) === "signed_in", "signed out");
  },
  async "signing out gives up what the wallet was asked"(page, service) {
    await signInto(page, service);
    await stepUp(page);
    await press(page, "#sign-out");
    await reach(page, "start");
    await until(() => service.state.calls.some((call) => call.startsWith("POST /auth/cancel/")));
    const kept = await page.evaluate(() => sessionStorage.getItem("miid.challenge"));
    assert(kept === null, "the order is still remembered");
  },
  async "a double click sends once"(page, service) {
    await signInto(page, service);
    await page.fill("#transfer-to", "Bob");
    await page.fill("#transfer-amount", "25");
    await page.dblclick("#send-transfer");
    await page.waitForSelector("[data-transfer=done]");
    assert(service.state.transfers.length === 1, JSON.stringify(service.state.transfers));
    assert((await page.inputValue("#transfer-to")) === "", "what was sent is still typed");
  },
  async "without an API behind it there is nothing to send"(page, service) {
    service.set({ session: session() });
    await page.reload();
    await reach(page, "signed_in");
    assert((await page.$("#send-transfer")) === null, "there is a form");
    assert(!service.state.calls.includes("GET /demo/balance"), "the balance was asked for");
  },
  async "cancel withdraws the request"(page, service) {
    await wait(page);
    await page.click("main .link");
    await reach(page, "start");
    await until(() => service.state.calls.some((call) => call.startsWith("POST /auth/cancel/")));
  },
  async "a restarted service is found again by itself"(page, service) {
    await wait(page);
    await service.streamOpened();
    service.set({ down: {} });
    service.hangUp();
    await page.waitForSelector(".lost");
    service.set({ down: false });
    await page.waitForSelector(".lost", { state: "detached" });
    service.tell("active");
    await reach(page, "signed_in");
  },
  async "a stream that never comes through is made up for by asking"(page, service) {
    await page.route("**/auth/stream/**", (route) => route.fulfill({ status: 502 }));
    await wait(page);
    service.tell("denied", "declined");
    await reach(page, "denied");
  },
  async "a service that was away is tried again without a hand"(page, service) {
    service.set({ down: {} });
    await submit(page);
    await reach(page, "unreachable");
    service.set({ down: false });
    await reach(page, "waiting");
  },
  async "an approval outlives a service that is away at the last moment"(page, service) {
    await wait(page);
    await service.streamOpened();
    service.set({ complete: { status: 503, code: "busy" } });
    service.tell("active");
    await reach(page, "unreachable");
    await page.reload();
    await reach(page, "unreachable");
    service.set({ complete: { status: 200 } });
    await reach(page, "signed_in");
  },
  async "a completion whose answer was lost is found in the session"(page, service) {
    await wait(page);
    await service.streamOpened();
    service.set({ session: session(), complete: { status: 409, code: "already_completed" } });
    service.tell("active");
    await reach(page, "signed_in");
  },
  async "an approved sign-in that nobody can finish says so"(page, service) {
    await wait(page);
    await service.streamOpened();
    service.set({ complete: { status: 404, code: "challenge_not_found" } });
    service.tell("active");
    await reach(page, "start");
    await page.waitForSelector("main .note");
  },
  async "two tabs have a number each, and one end does not touch the other"(page, service) {
    await wait(page);
    const other = await page.context().newPage();
    await other.goto(service.url);
    await reach(other, "start");
    assert((await other.inputValue("#handle")) === "alice", "the handle is not shared");
    assert(await page.isVisible("#match-code"), "the first tab lost its number");
    await other.close();
  },
  async "a tab that shows the form joins a session from another tab"(page, service) {
    await reach(page, "start");
    service.set({ session: session() });
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await reach(page, "signed_in");
  },
  async "a session that ends in the wallet is gone from the page within a second"(page, service) {
    service.set({ session: session() });
    await page.reload();
    await reach(page, "signed_in");
    await service.streamOpened();
    const began = performance.now();
    service.forceLogout("user", new Date().toISOString());
    await reach(page, "signed_out");
    const took = performance.now() - began;
    assert(took < 1_000, `it took ${took} ms`);
  },
  async "the number is selected and copied as it is"(page) {
    await wait(page);
    const text = await page.evaluate(() => {
      getSelection().selectAllChildren(document.querySelector(".number"));
      return getSelection().toString().trim();
    });
    assert(text === "47", `selected ${JSON.stringify(text)}`);
  },
  async "the wallet is opened by a link that stays on the page"(page, service) {
    await openWallet(page);
    assert((await page.getAttribute("#open-wallet", "href")) === LINK, "another link");
    assert(service.state.calls.filter((call) => call === "POST /auth/start").length === 1, "twice");
    const kept = await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
    assert(kept.includes("miid.challenge"), "a reload would forget it");
    // A click on it opens the wallet, not a page.
    await page.locator("#open-wallet").evaluate((link) => link.click());
    await reach(page, "waiting");
  },
  async "both tabs of a linked sign-in end signed in, with one session"(page, service) {
    await openWallet(page);
    await service.streamOpened();
    service.tell("approved", undefined, { did: DID, claimed: true });
    await reach(page, "approved");
    const other = await page.context().newPage();
    await other.goto(service.url + RETURN);
    await reach(other, "signed_in");
    await reach(page, "signed_in");
    const completed = service.state.calls.filter((call) => call.startsWith("POST /auth/complete"));
    assert(completed.length === 1, `${completed.length} completions`);
    await other.close();
  },
  async "the tab where it began takes over when the other one is gone"(page, service) {
    await openWallet(page);
    await service.streamOpened();
    service.tell("active", undefined, { did: DID, claimed: true });
    await reach(page, "signed_in");
  },
  async "another person's session of before does not pass for the new one"(page, service) {
    await openWallet(page);
    await service.streamOpened();
    service.set({ session: session({ did: `${DID}X`, claims: { name: "Bob" } }) });
    service.tell("active", undefined, { did: DID, claimed: true });
    await reach(page, "signed_in");
    assert(
      service.state.calls.some((call) => call.startsWith("POST /auth/complete")),
      "followed",
    );
  },
  async "the way back is not in the address, in the history or in storage"(page, service) {
    service.set({ complete: { status: 409, code: "not_active_yet" } });
    await comeBack(page, service);
    await reach(page, "completing");
    assert(service.state.returnedWith.response_code.startsWith("miid_rc_B"), "it was not posted");
    const seen = await page.evaluate(() => ({
      address: location.href,
      stored: JSON.stringify({ ...sessionStorage, ...localStorage }),
      html: document.documentElement.outerHTML,
    }));
    for (const [where, text] of Object.entries(seen))
      assert(!text.includes("miid_rc_"), `it stands in the ${where}`);
    assert(seen.address === service.url, seen.address);
    await page.reload();
    await page.waitForSelector('main:not([data-state="looking"])');
    assert(page.url() === service.url, "a reload leads elsewhere");
  },
  async "nothing is posted before the person continues, and after a no it is given up"(
    page,
    service,
  ) {
    service.set({ arrival: "ask" });
    await comeBack(page, service);
    await reach(page, "confirm");
    const text = await page.textContent("main h1");
    assert(text.includes("z6MkhaXg…"), `it does not say who: ${text}`);
    assert(!service.state.calls.includes("POST /auth/return"), "posted without asking");
    await page.keyboard.press("Enter"); // on the heading: nothing
    await reach(page, "confirm");
    await page.click("#stop-here");
    await reach(page, "start");
    await until(() => service.state.calls.some((call) => call.startsWith("POST /auth/cancel/")));
    assert(!service.state.calls.includes("POST /auth/return"), "posted after a no");
  },
  async "continuing signs in"(page, service) {
    service.set({ arrival: "ask" });
    await comeBack(page, service);
    await reach(page, "confirm");
    await page.click("#continue-as");
    await reach(page, "signed_in");
  },
  async "an approval that the service has not heard of yet is no obstacle"(page, service) {
    await comeBack(page, service, { status: "pending" });
    await reach(page, "signed_in");
    assert(service.state.returnedWith.did === DID, "it was not posted as whom");
  },
  async "who was led here and cannot be told as whom does not go on"(page, service) {
    service.set({ arrival: "ask", known: true, status: "approved" });
    await page.goto(service.url + RETURN.replace(/&did=.*/, ""));
    await reach(page, "lapsed");
    assert(!service.state.calls.includes("POST /auth/return"), "posted without asking");
  },
  async "only a sign-in that is unknown here is taken for somebody else's"(page, service) {
    service.set({ arrival: "ask", statusRefused: [400, "invalid_request"] });
    await comeBack(page, service);
    await reach(page, "lapsed");
    assert(!service.state.calls.includes("POST /auth/return"), "posted without asking");
  },
  async "a return to a service that is away goes on by itself"(page, service) {
    await comeBack(page, service, { down: {} });
    await reach(page, "unreachable");
    service.set({ down: false });
    await reach(page, "signed_in");
  },
  async "a handle that is crowded leaves the wallet's way open"(page, service) {
    service.set({ start: [429, "too_many_challenges", { "retry-after": "42" }] });
    await submit(page);
    await reach(page, "crowded");
    service.set({ start: null });
    await page.click("#start-linked");
    await page.waitForSelector("#open-wallet");
  },
  async "a silent wallet can be left for a handle"(page, service) {
    await openWallet(page);
    await walletIs(page, "silent");
    // The browser's own question whether to open the wallet lies over the page and takes the mouse.
    await page.locator("#use-handle").evaluate((button) => button.click());
    await reach(page, "start");
    await page.waitForFunction(() => document.activeElement?.id === "handle");
    await until(() => service.state.calls.some((call) => call.startsWith("POST /auth/cancel/")));
  },
  async "the keyboard alone opens the wallet"(page) {
    await page.waitForFunction(() => document.activeElement?.id === "start-linked");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#open-wallet");
    await page.waitForFunction(() => document.activeElement?.matches("h1"));
    await page.keyboard.press("Tab");
    await page.waitForFunction(() => document.activeElement?.id === "open-wallet");
  },
  async "the keyboard alone signs in and out"(page, service) {
    await page.waitForFunction(() => document.activeElement?.id === "start-linked");
    await page.keyboard.press("Tab");
    await page.keyboard.type("alice");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#match-code");
    await service.streamOpened();
    service.tell("denied", "declined");
    await reach(page, "denied");
    await page.waitForFunction(() => document.activeElement?.matches("main .button"));
    await page.keyboard.press("Enter");
    await reach(page, "start");
    await page.waitForFunction(() => document.activeElement?.id === "handle");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#match-code");
    await service.streamOpened();
    service.tell("active");
    await reach(page, "signed_in");
    for (let i = 0; i < 2; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await reach(page, "start");
  },
};

function assert(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

async function until(holds) {
  for (let i = 0; !holds(); i++) {
    if (i === 100) throw new Error("it never came true");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
