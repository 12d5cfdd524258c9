// Every screen of the window, reached as a person or the core would reach it. `at` is what
// `main[data-page]` must say, `focus` where the keyboard must be afterwards; `main` ones are drawn in
// Korean as well, `large` ones with text of 150 %, `wide` ones in a larger window.

const HEADING = "h1";

/** Runs in the page, with `play` at hand. */
const stage = (page, fn, arg) => page.evaluate(fn, arg);
const reach = (page, at) => page.waitForSelector(`main[data-page="${at}"]`);

const ask = (page, ...requests) =>
  stage(
    page,
    (requests) => {
      const { play } = window;
      play.change({ requests: requests.map((part) => play.props.request(part)) });
    },
    requests,
  ).then(() => page.waitForSelector("article"));

const withSessions = (page) =>
  stage(page, () => window.play.change({ sessions: window.play.props.sessions() }));
const settle = (page) =>
  page.waitForFunction(
    () => document.querySelector("#approve")?.getAttribute("aria-disabled") === "false",
  );
const locally = (page) => page.evaluate(() => navigator.language.slice(0, 2));

const KO_SHOP = {
  service: { id: "demo-shop", name: "데모 상점" },
  binding_message: "데모 상점에 로그인",
};
/** The same request, in the words of a service that speaks the person's language. */
const local = async (page, part = {}) =>
  (await locally(page)) === "ko" ? { ...KO_SHOP, ...part } : part;

const ago = (s) => new Date(Date.now() - s * 1_000).toISOString();

/** A request to confirm something, in a session that began ten minutes ago. */
const stepUp = async (page, part = {}) =>
  local(page, {
    binding: "linked",
    risk: "step_up",
    claims: [],
    session_since: ago(600),
    binding_message: (await locally(page)) === "ko" ? "밥에게 250 이체" : "Transfer 250 to Bob",
    ...part,
  });

const LONG = {
  service: {
    id: "the-international-association-of-very-long-client-identifiers",
    name: "The International Association for Remarkably Long Names Inc.",
  },
  binding_message:
    "Please confirm that you, and nobody else, would like to sign in to the members’ area of our association from a browser in Wolkenkuckucksheim",
  claims: ["name", "email", "nickname", "preferred_contact_address_of_work"],
  user_agent: "An-unheard-of-browser/1.0 (with a rather long description of itself; indeed)",
  ip: "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
};

// First run ---------------------------------------------------------------------------------------

const firstRun = (page, part = {}) =>
  stage(
    page,
    (part) => {
      const { settings } = window.play.view();
      window.play.change(window.play.props.firstRun({ settings, ...part }));
    },
    part,
  ).then(() => reach(page, "first-run"));
const step = (page, at) => page.waitForSelector(`[data-step="${at}"]`);
const next = (page) => page.click("#next");
const named = async (page) => {
  await page.fill("#name", (await locally(page)) === "ko" ? "김앨리스" : "Alice Kim");
  await next(page);
  await step(page, "protect");
};
const sealed = async (page) => {
  await named(page);
  await page.check("#by-passphrase");
  await page.fill("#passphrase", "correct horse battery");
  await page.fill("#passphrase-again", "correct horse battery");
  await next(page);
  await step(page, "gateway");
};
const made = async (page) => {
  await sealed(page);
  await next(page);
  await step(page, "handle");
};
const skipped = async (page) => {
  await made(page);
  await page.click("#skip");
  await step(page, "sheet");
  await page.waitForSelector("#show-words");
};
const WORDS =
  "harbor lantern velvet orbit cactus maple thunder puzzle window silver ocean ladder garden " +
  "pencil rocket walnut breeze copper anchor meadow violin saddle tunnel ripple";
export const writeDown = async (page) => {
  await page.click("#show-words");
  const words = await page.locator("[data-word] .word").allTextContents();
  await page.click("#written");
  const asked = (await page.getAttribute("#confirm-words", "data-asked")).split(",").map(Number);
  for (const [n, at] of asked.entries()) await page.fill(`#confirm-${n}`, words[at - 1]);
};

const setup = [
  { name: "first-name", main: true, large: true, focus: "#name", play: (page) => firstRun(page) },
  {
    name: "first-name-empty",
    focus: "#name",
    async play(page) {
      await firstRun(page);
      await next(page);
      await page.waitForSelector("#name-error");
    },
  },
  {
    name: "first-protect",
    main: true,
    async play(page) {
      await firstRun(page);
      await named(page);
    },
  },
  {
    name: "first-protect-passphrase",
    main: true,
    focus: "#passphrase-again",
    async play(page) {
      await firstRun(page, { keychain: false });
      await named(page);
      await page.fill("#passphrase", "correct horse battery");
      await page.fill("#passphrase-again", "correct house battery");
      await next(page);
      await page.waitForSelector("#passphrase-again-error");
    },
  },
  {
    name: "first-gateway",
    main: true,
    focus: "#gateway",
    async play(page) {
      await firstRun(page);
      await sealed(page);
    },
  },
  {
    name: "first-gateway-away",
    async play(page) {
      await firstRun(page);
      await sealed(page);
      await stage(page, () =>
        window.play.answer("create_identity", window.play.fault("gateway_unreachable")),
      );
      await next(page);
      await page.waitForSelector("[data-fault]");
    },
  },
  {
    name: "first-handle",
    main: true,
    focus: "#handle",
    async play(page) {
      await firstRun(page);
      await made(page);
    },
  },
  {
    name: "first-handle-taken",
    focus: "#handle",
    async play(page) {
      await firstRun(page);
      await made(page);
      await stage(page, () => window.play.answer("set_handle", window.play.fault("handle_taken")));
      await page.fill("#handle", "alice");
      await next(page);
      await page.waitForSelector("[data-fault]");
    },
  },
  {
    name: "first-sheet-hidden",
    main: true,
    async play(page) {
      await firstRun(page);
      await skipped(page);
    },
  },
  {
    name: "first-sheet",
    main: true,
    large: true,
    async play(page) {
      await firstRun(page);
      await skipped(page);
      await page.click("#show-words");
    },
  },
  {
    name: "first-sheet-confirm",
    main: true,
    async play(page) {
      await firstRun(page);
      await skipped(page);
      await writeDown(page);
      await page.fill("#confirm-1", "walrus");
      await page.click("#confirm-words");
      await page.waitForSelector("#confirm-1-error");
    },
  },
  {
    name: "first-done",
    main: true,
    focus: HEADING,
    async play(page) {
      await firstRun(page);
      await skipped(page);
      await page.click("#later");
      await step(page, "done");
    },
  },
  {
    name: "restore-words",
    main: true,
    async play(page) {
      await firstRun(page);
      await page.click("#have-sheet");
      await page.fill("#name", "Alice");
      await next(page);
      await step(page, "words");
      await page.fill("#words", `1. harbor 2. lantren 3. velvet ${WORDS.slice(21, 60)} thundr `);
      await page.waitForSelector("#words-wrong .link");
    },
  },
].map((scene) => ({ at: "first-run", ...scene }));

// Requests ----------------------------------------------------------------------------------------

const requests = [
  { name: "empty", main: true, large: true, wide: true, focus: HEADING, play: async () => {} },
  {
    name: "request",
    main: true,
    large: true,
    wide: true,
    focus: "#number",
    play: async (page) => ask(page, await local(page)),
  },
  {
    name: "request-ready",
    main: true,
    focus: "#number",
    async play(page) {
      await ask(page, await local(page));
      await page.fill("#number", "47");
      await settle(page);
    },
  },
  {
    name: "request-editing",
    async play(page) {
      await ask(page, {});
      await page.click("[data-claim=email] button");
      await page.fill("[data-claim=email] .field", "alice.kim@work.example");
    },
  },
  {
    name: "request-linked",
    main: true,
    focus: HEADING,
    async play(page) {
      await withSessions(page);
      await ask(page, await local(page, { binding: "linked" }));
      await page.click("details:not(.small) summary");
      await page.check("#rule");
      await settle(page);
      await page.focus("h1");
    },
  },
  {
    name: "request-known",
    main: true,
    focus: "#number",
    async play(page) {
      await withSessions(page);
      await ask(page, await local(page));
      await page.waitForSelector("[data-rule=prefill]");
    },
  },
  {
    name: "request-prefill",
    main: true,
    large: true,
    async play(page) {
      await withSessions(page);
      await ask(page, await local(page));
      await page.click("[data-rule] summary");
      await page.check("#rule");
    },
  },
  {
    name: "request-step-up",
    main: true,
    large: true,
    focus: HEADING,
    async play(page) {
      await withSessions(page);
      await ask(page, await stepUp(page));
      await settle(page);
    },
  },
  {
    name: "request-step-up-addressed",
    main: true,
    focus: "#number",
    play: async (page) => ask(page, await stepUp(page, { binding: "addressed" })),
  },
  {
    name: "request-step-up-strange",
    main: true,
    async play(page) {
      await ask(page, await stepUp(page, { session_since: null }));
      await page.waitForSelector("[data-session-known=false]");
    },
  },
  {
    name: "request-step-up-long",
    async play(page) {
      const { service } = LONG;
      const message = `Transfer 1,000,000 to ${"Wolkenkuckucksheimer".repeat(5)}`;
      await ask(page, await stepUp(page, { service, binding_message: message }));
      await page.click("details.small summary");
    },
  },
  {
    name: "request-step-up-not-me",
    main: true,
    async play(page) {
      await ask(page, await stepUp(page));
      await page.click("#not-me");
      await page.waitForSelector("#confirm-not-me");
    },
  },
  {
    name: "request-step-up-waiting",
    main: true,
    async play(page) {
      await ask(page, await local(page), await stepUp(page, { created_at: ago(90) }));
      await page.waitForSelector("button[data-request]");
    },
  },
  {
    name: "request-step-up-ended",
    main: true,
    async play(page) {
      await ask(page, await stepUp(page));
      await stage(
        page,
        (service) => {
          window.play.change({ requests: [] });
          window.play.push("notice", { kind: "session_ended", service, reason: "service" });
          window.play.push("notice", { kind: "not_confirmed", service, reason: "session_ended" });
        },
        (await locally(page)) === "ko" ? "데모 상점" : "Demo Shop",
      );
      await page.waitForSelector("[data-notice=not_confirmed]");
    },
  },
  {
    name: "request-not-me",
    main: true,
    async play(page) {
      await ask(page, await local(page));
      await page.click("#not-me");
      await page.waitForSelector("#confirm-not-me");
    },
  },
  {
    name: "request-details",
    async play(page) {
      await ask(page, { claims: ["name"] });
      await page.click("details.small summary");
      await page.click(".always button");
    },
  },
  { name: "request-long", large: true, play: (page) => ask(page, LONG) },
  {
    name: "request-strange",
    play: (page) =>
      ask(page, {
        service: { id: "souq", name: "متجر الهدايا 🎁👩‍👩‍👧" },
        binding_message: "تسجيل الدخول إلى متجر الهدايا <b>now</b>",
        claims: ["name", "email", "nickname"],
      }),
  },
  {
    name: "request-long-values",
    async play(page) {
      await stage(page, () =>
        window.play.profile([
          { name: "name", value: "Maximiliane Anna von und zu Hohenstein-Wolkenburg 👑" },
          { name: "email", value: `${"maximiliane.hohenstein.".repeat(6)}@example.com` },
        ]),
      );
      await ask(page, {});
    },
  },
  {
    name: "request-over",
    play: (page) => ask(page, { expires_in_ms: 0 }),
  },
  {
    name: "request-failed",
    main: true,
    async play(page) {
      await stage(page, () =>
        window.play.answer("approve", window.play.fault("gateway_unreachable")),
      );
      await ask(page, await local(page));
      await page.fill("#number", "47");
      await settle(page);
      await page.click("#approve");
      await page.waitForSelector("[data-fault]");
    },
  },
  {
    name: "request-queue",
    main: true,
    wide: true,
    async play(page) {
      await ask(page, await local(page, { claims: ["name"] }));
      await page.fill("#number", "4");
      await stage(page, () => {
        const { play } = window;
        const newer = play.props.request({
          service: { id: "library", name: "Harbour Library" },
          created_at: play.props.ago(3),
        });
        const older = play.props.request({
          service: { id: "power", name: "Stadtwerke" },
          created_at: play.props.ago(180),
        });
        play.change({ requests: [newer, ...play.view().requests, older] });
      });
      await page.waitForSelector("#show-newer");
    },
  },
  {
    name: "waiting",
    main: true,
    focus: HEADING,
    async play(page) {
      await ask(page, await local(page, { standing: "approved" }));
      await page.waitForSelector("#cancel");
    },
  },
  {
    name: "waiting-return",
    main: true,
    async play(page) {
      await stage(
        page,
        (part) =>
          window.play.change({
            requests: [
              window.play.props.request({
                ...part,
                binding: "linked",
                standing: "approved",
                return_to: true,
              }),
            ],
          }),
        await local(page),
      );
      await page.waitForSelector("#open-return");
    },
  },
  {
    name: "notices",
    main: true,
    async play(page) {
      await stage(page, () => {
        window.play.push("notice", { kind: "signed_in", service: "Demo Shop" });
        window.play.push("notice", {
          kind: "session_ended",
          service: "Stadtwerke",
          reason: "superseded",
        });
        window.play.push("notice", { kind: "expired", reason: "other_browser", service: "X" });
      });
      await page.waitForSelector(".toast.stays");
    },
  },
  {
    name: "offline",
    main: true,
    async play(page) {
      await stage(page, () => {
        const identity = window.play.props.alice();
        identity.gateways[0].connection = { state: "disconnected", reason: "timeout" };
        window.play.change({ identities: [identity], tray: false });
      });
      await page.waitForSelector("#refresh");
    },
  },
  {
    name: "stopped",
    async play(page) {
      await stage(page, () => {
        const identity = window.play.props.alice();
        identity.gateways[0].connection = { state: "stopped", reason: "did_retired" };
        window.play.change({ identities: [identity] });
      });
      await page.waitForSelector("[data-banner=stopped]");
    },
  },
  {
    name: "reminder",
    async play(page) {
      await stage(page, () => {
        const identity = { ...window.play.props.alice(), sheet_kept: false };
        window.play.change({ identities: [identity] });
      });
      await page.waitForSelector("#remind-sheet");
    },
  },
  {
    name: "reminder-several",
    main: true,
    large: true,
    async play(page) {
      await stage(page, () => {
        const { props, change } = window.play;
        const work = { ...props.identity("Work", undefined, 1), sheet_kept: false };
        change({ identities: [props.alice(), work] });
      });
      await page.waitForSelector("[data-reminder=Work]");
    },
  },
].map((scene) => ({ at: "requests", ...scene }));

// The rest ----------------------------------------------------------------------------------------

const lock = (page, part = {}) =>
  stage(
    page,
    (part) => {
      const { play } = window;
      const identities = [play.props.alice(), play.props.identity("Work", undefined, 1)];
      play.change({ stage: "locked", identities, ...part });
    },
    part,
  ).then(() => reach(page, "locked"));

const link = (page, identities) =>
  stage(
    page,
    (identities) =>
      window.play.change({
        identities: identities.map((name, at) => window.play.props.identity(name, undefined, at)),
        links: [{ id: "l1", gateway: window.play.props.GATEWAY, identities }],
      }),
    identities,
  )
    .then(() => reach(page, "link"))
    .then(() => page.waitForSelector('[data-settled="true"]'));

const stages = [
  {
    name: "locked",
    at: "locked",
    main: true,
    large: true,
    focus: "#unlock-passphrase",
    play: (page) => lock(page, { unseen: 2 }),
  },
  {
    name: "locked-link",
    at: "locked",
    main: true,
    play: (page) => lock(page, { links_waiting: 1, unseen: 2 }),
  },
  {
    name: "locked-wrong",
    at: "locked",
    focus: "#unlock-passphrase",
    async play(page) {
      await lock(page);
      await stage(page, () => window.play.answer("unlock", window.play.fault("wrong_passphrase")));
      await page.fill("#unlock-passphrase", "wrong");
      await page.click("#unlock");
      await page.waitForSelector("[data-fault]");
    },
  },
  {
    name: "locked-keychain",
    at: "locked",
    play: (page) => lock(page, { sealed_by: "keychain" }),
  },
  {
    name: "damaged",
    at: "damaged",
    main: true,
    async play(page) {
      await stage(page, () =>
        window.play.change({
          stage: "damaged",
          fault: window.play.fault(
            "vault_damaged",
            "the wallet's file is damaged (it is no JSON)",
            "/home/alice/.local/share/miid-wallet/vault.damaged-20261120T101500",
          ),
        }),
      );
    },
  },
  {
    name: "newer",
    at: "newer",
    play: (page) =>
      stage(page, () =>
        window.play.change({ stage: "newer", fault: window.play.fault("vault_newer") }),
      ),
  },
  { name: "link", at: "link", main: true, focus: HEADING, play: (page) => link(page, ["Alice"]) },
  {
    name: "link-several",
    at: "link",
    main: true,
    play: (page) => link(page, ["Alice", "Work"]),
  },
  {
    name: "link-taken",
    at: "link",
    async play(page) {
      await link(page, ["Alice"]);
      await stage(page, () =>
        window.play.answer("continue_link", window.play.fault("already_claimed")),
      );
      await page.click("#continue-link");
      await page.waitForSelector("[data-fault]");
    },
  },
];

const tab = (page, at) => page.click(`#tab-${at}`).then(() => reach(page, at));

const sessions = [
  {
    name: "sessions",
    main: true,
    large: true,
    wide: true,
    async play(page) {
      await withSessions(page);
      await tab(page, "sessions");
    },
  },
  { name: "sessions-empty", main: true, play: (page) => tab(page, "sessions") },
  {
    name: "sessions-ended",
    main: true,
    async play(page) {
      await withSessions(page);
      await tab(page, "sessions");
      await page.click("li:nth-child(2) .end");
      await page.waitForSelector("[data-over=true]");
    },
  },
  {
    name: "sessions-end-all",
    main: true,
    focus: "#keep-all",
    async play(page) {
      await withSessions(page);
      await tab(page, "sessions");
      await page.click("#end-all");
    },
  },
  {
    name: "sessions-several",
    async play(page) {
      await stage(page, () => {
        const { play } = window;
        const long = play.props.session("Gesellschaft für außerordentlich lange Namen mbH", 30, {
          identity: "Work",
          claims: ["name", "email", "nickname", "phone", "preferred_contact_address"],
        });
        play.change({
          identities: [play.props.alice(), play.props.identity("Work", undefined, 1)],
          sessions: [long, ...play.props.sessions()],
        });
      });
      await tab(page, "sessions");
      await page.waitForSelector("#filter");
    },
  },
].map((scene) => ({ at: "sessions", ...scene }));

const withHistory = async (page) => {
  await stage(page, () => window.play.history(window.play.props.entries()));
  await tab(page, "history");
  await page.waitForSelector("[data-entry]");
};

const history = [
  { name: "history", main: true, wide: true, play: withHistory },
  {
    name: "history-entry",
    main: true,
    async play(page) {
      await withHistory(page);
      await page.click("[data-what=approved] summary");
      await page.waitForSelector("h3");
    },
  },
  {
    name: "history-search",
    async play(page) {
      await withHistory(page);
      await page.fill("#search", "nobody’s shop");
      await page.waitForSelector(".none");
    },
  },
  { name: "history-empty", main: true, play: (page) => tab(page, "history") },
  {
    name: "history-exported",
    async play(page) {
      await withHistory(page);
      await page.click("#export");
      await page.waitForSelector(".exported");
    },
  },
].map((scene) => ({ at: "history", ...scene }));

const settingsPage = async (page, ...clicks) => {
  await tab(page, "settings");
  for (const at of clicks) await page.click(at);
};
const ALICE = "[id^=identity-]";

const settings = [
  { name: "settings", main: true, large: true, wide: true, play: (page) => settingsPage(page) },
  { name: "identity", main: true, play: (page) => settingsPage(page, ALICE) },
  {
    name: "identity-handle",
    focus: "#handle",
    async play(page) {
      await settingsPage(page, ALICE, "#change-handle");
      await page.focus("#handle");
    },
  },
  {
    name: "identity-retire",
    main: true,
    async play(page) {
      await settingsPage(page, ALICE, "#lost-key");
      await page.fill("#confirm-name", "Alice");
      await page.fill("#retire-passphrase", "correct horse");
    },
  },
  {
    name: "identity-remove",
    async play(page) {
      await settingsPage(page, ALICE, "#remove-identity");
      await page.fill("#confirm-name", "Alice");
      await page.fill("#remove-passphrase", "correct horse");
    },
  },
  {
    name: "identity-retired",
    async play(page) {
      await stage(page, () => {
        const old = { ...window.play.props.alice(), retired_at: window.play.props.ago(7_200) };
        const work = window.play.props.identity("Work", undefined, 1);
        window.play.change({ identities: [old, work] });
      });
      await settingsPage(page, ALICE);
    },
  },
  {
    name: "identity-sheet",
    focus: "#sheet-passphrase",
    play: (page) => settingsPage(page, ALICE, "#open-sheet-page"),
  },
  {
    name: "profile",
    main: true,
    async play(page) {
      await settingsPage(page, "#open-profile", "#new-field");
      await page.fill("#new-field-name", "phone");
      await page.click("#add-field");
      await page.fill("#field-phone", "+82 2 1234 5678");
    },
  },
  {
    name: "quiet",
    main: true,
    async play(page) {
      await stage(page, () => {
        const { rule, ago } = window.play.props;
        window.play.change({
          rules: [
            rule(),
            rule({
              service_id: "library",
              service_name: "Harbour Library",
              kind: "prefill",
              used: 0,
            }),
          ],
          mutes: [
            { wallet: "w", service_id: "spam", service_name: "Spam & Sons", until: ago(-3_000) },
          ],
        });
      });
      await settingsPage(page, "#open-quiet");
    },
  },
  {
    name: "profile-asked",
    main: true,
    large: true,
    async play(page) {
      await settingsPage(page, "#open-profile");
      await stage(page, () => {
        const { change, props } = window.play;
        change({ requests: [props.request(), props.request()] });
      });
      await page.waitForSelector("#show-newer");
    },
  },
  { name: "quiet-empty", play: (page) => settingsPage(page, "#open-quiet") },
  { name: "about", main: true, play: (page) => settingsPage(page, "#open-about") },
  {
    name: "chosen-dark-korean",
    async play(page) {
      await stage(page, () => {
        const { settings } = window.play.view();
        window.play.change({ settings: { ...settings, theme: "dark", language: "ko" } });
      });
      await settingsPage(page);
    },
  },
].map((scene) => ({ at: "settings", ...scene }));

export const scenes = [...setup, ...requests, ...stages, ...sessions, ...history, ...settings];
