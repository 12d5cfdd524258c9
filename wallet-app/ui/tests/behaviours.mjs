// What pictures cannot show: each plays through and fails by throwing.

import { writeDown } from "./scenes.mjs";

const stage = (page, fn, arg) => page.evaluate(fn, arg);
const reach = (page, at) => page.waitForSelector(`main[data-page="${at}"]`);
const focused = (page, at) => page.waitForFunction((at) => document.activeElement?.matches(at), at);
const callsOf = (page, command) =>
  stage(
    page,
    (command) => window.play.calls.filter(([name]) => name === command).map(([, args]) => args),
    command,
  );
/** A card that has just appeared takes no press; a person is slower than that. */
const settled = (page) => page.waitForSelector('[data-settled="true"]');
const ready = (page) => page.waitForSelector('#approve[aria-disabled="false"]');

async function ask(page, ...parts) {
  await stage(
    page,
    (parts) =>
      window.play.change({ requests: parts.map((part) => window.play.props.request(part)) }),
    parts,
  );
  await page.waitForSelector("article");
}
const arrive = (page, part = {}) =>
  stage(
    page,
    (part) => {
      const { play } = window;
      play.change({ requests: [play.props.request(part), ...play.view().requests] });
    },
    part,
  );

/** Alice, with what is hers, and Work. */
const two = (page, part = {}) =>
  stage(
    page,
    (part) => {
      const { props, change } = window.play;
      const work = props.identity("Work", undefined, 1);
      const theirs = { identity: "Work", wallet: work.gateways[0].wallet };
      const sessions = [
        ...props.sessions(),
        props.session("Office", 90, theirs),
        props.session("Payroll", 80, theirs),
      ];
      change({ identities: [props.alice(), work], sessions, ...part });
    },
    part,
  );
const open = async (page, at) => {
  await page.click(`#tab-${at}`);
  await reach(page, at);
};
const count = (page, selector) => page.locator(selector).count();

function assert(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

export const behaviours = {
  async "approve is closed until the number is whole, and enter in it approves nothing"(page) {
    await ask(page, {});
    await focused(page, "#number");
    await page.keyboard.type("4");
    await page.click("#approve", { force: true });
    assert((await callsOf(page, "approve")).length === 0, "approved with one digit");
    await focused(page, "#number");
    await page.keyboard.type("7");
    await ready(page);
    await page.keyboard.press("Enter");
    assert((await callsOf(page, "approve")).length === 0, "enter approved");
    await page.click("#approve");
    await page.waitForSelector("[data-standing=approved] #cancel");
    const [said] = await callsOf(page, "approve");
    assert(said.match_code === "47", JSON.stringify(said));
    assert(JSON.stringify(said.share) === '{"name":"Alice Kim"}', JSON.stringify(said));
    assert(said.rule === undefined && said.remember.length === 0, JSON.stringify(said));
  },
  async "a number can be pasted with a space, and letters do not count"(page) {
    await ask(page, {});
    await page.fill("#number", "4 7");
    assert((await page.inputValue("#number")) === "47", "a pasted number is lost");
    await page.fill("#number", "");
    await page.type("#number", "a4b7c9");
    assert((await page.inputValue("#number")) === "47", "letters or a third digit got in");
  },
  async "a newer request takes neither the card nor the focus from one who types"(page) {
    await ask(page, {});
    const before = await page.getAttribute("article", "data-request");
    await page.type("#number", "4");
    const place = await page.locator("#approve").boundingBox();
    await arrive(page, { service: { id: "x", name: "Somebody Else" } });
    await page.waitForSelector("#show-newer");
    assert((await page.getAttribute("article", "data-request")) === before, "another card");
    await focused(page, "#number");
    const after = await page.locator("#approve").boundingBox();
    assert(place.x === after.x && place.y === after.y, "the card moved");
    await page.keyboard.type("7");
    assert((await page.inputValue("#number")) === "47", "what was typed is lost");
    await page.click("#show-newer");
    await page.waitForSelector(`article:not([data-request="${before}"])`);
    await page.click(`button[data-request="${before}"]`);
    await page.waitForSelector(`article[data-request="${before}"]`);
    assert((await page.inputValue("#number")) === "47", "the draft did not survive");
  },
  async "one who looks and has typed nothing keeps the card, too"(page) {
    await ask(page, {});
    const before = await page.getAttribute("article", "data-request");
    await arrive(page, {});
    await page.waitForSelector("#show-newer");
    assert((await page.getAttribute("article", "data-request")) === before, "another card");
  },
  async "a request whose text has become another is a new card, and what is decided names the text"(
    page,
  ) {
    await ask(page, { digest: "first" });
    await page.fill("#number", "47");
    await page.click("#not-me");
    await settled(page);
    const id = await page.getAttribute("article", "data-request");
    await stage(
      page,
      (id) =>
        window.play.patch(id, { digest: "second", service: { id: "x", name: "Somebody Else" } }),
      id,
    );
    await page.waitForSelector("#approve");
    assert((await page.textContent("h1")).includes("Somebody Else"), "the old text still stands");
    assert((await page.inputValue("#number")) === "", "what was typed for another text is there");
    await page.fill("#number", "48");
    await ready(page);
    await page.click("#approve");
    await page.waitForSelector("#cancel");
    const [yes] = await callsOf(page, "approve");
    assert(yes.digest === "second" && yes.match_code === "48", JSON.stringify(yes));
    await ask(page, { digest: "third" });
    await page.waitForSelector("#deny");
    await settled(page);
    await page.click("#deny");
    await page.waitForSelector("article", { state: "detached" });
    const [no] = await callsOf(page, "deny");
    assert(no.digest === "third", JSON.stringify(no));
  },
  async "a press under way while the window comes to the front decides nothing"(page) {
    await ask(page, {});
    await page.fill("#number", "47");
    await ready(page);
    for (const [target, event] of [
      ["window", "focus"],
      ["document", "visibilitychange"],
    ]) {
      await stage(
        page,
        ([target, event]) => {
          globalThis[target].dispatchEvent(new Event(event));
          for (const id of ["approve", "deny"]) document.getElementById(id).click();
        },
        [target, event],
      );
      const decided = [...(await callsOf(page, "approve")), ...(await callsOf(page, "deny"))];
      assert(decided.length === 0, `decided after ${event}`);
      await settled(page);
    }
    await page.click("#approve");
    await page.waitForSelector("#cancel");
  },
  async "the lock takes along what was said of services"(page) {
    await ask(page, {});
    await settled(page);
    await page.click("#deny");
    await page.waitForSelector("[data-notice=denied]");
    await stage(page, () => window.play.change({ stage: "locked", requests: [] }));
    await reach(page, "locked");
    await page.waitForSelector("[data-notice]", { state: "detached" });
    assert(!(await page.textContent("body")).includes("Demo Shop"), "a service is still named");
  },
  async "a double press on deny denies one request, not the next as well"(page) {
    await ask(page, {}, { service: { id: "x", name: "Somebody Else" } });
    await page.waitForFunction(() => !document.querySelector("article .row-to-come"));
    await settled(page);
    await page.dblclick("#deny");
    await page.waitForFunction(() => document.querySelector("h1")?.textContent.includes("Else"));
    assert((await callsOf(page, "deny")).length === 1, "the second press denied as well");
  },
  async "a double press on cancel does not approve again"(page) {
    await ask(page, {});
    await page.fill("#number", "47");
    await ready(page);
    await page.click("#approve");
    await page.waitForSelector("#cancel");
    await settled(page);
    await page.click("#cancel");
    await page.waitForSelector("#number");
    assert((await page.inputValue("#number")) === "", "the used number is still there");
    assert((await page.getAttribute("#approve", "aria-disabled")) === "true", "approve is open");
  },
  async "not me says so, and mutes only if told"(page) {
    await ask(page, {});
    await settled(page);
    await page.click("#not-me");
    await page.check('input[name=mute][value="60"]');
    await page.click("#confirm-not-me");
    await page.waitForSelector("article", { state: "detached" });
    const [said] = await callsOf(page, "deny");
    assert(said.reason === "not_me" && said.mute_minutes === 60, JSON.stringify(said));
    await page.waitForSelector("[data-notice=denied]");
  },
  async "a linked request asks no number, offers its rule closed, and leads back to the browser"(
    page,
  ) {
    await stage(page, () => {
      const { play } = window;
      play.change({
        sessions: play.props.sessions(),
        links: [{ id: "l1", gateway: play.props.GATEWAY, identities: ["Alice"] }],
      });
    });
    await reach(page, "link");
    await focused(page, "h1");
    await settled(page);
    await page.click("#continue-link");
    await reach(page, "requests");
    await ready(page);
    assert((await page.locator("#number").count()) === 0, "a number is asked");
    assert(!(await page.isVisible("#rule")), "the rule is not closed");
    await page.click("#approve");
    await page.waitForSelector("#open-return");
    const [said] = await callsOf(page, "approve");
    assert(said.match_code === null && said.rule === undefined, JSON.stringify(said));
    await page.click("#open-return");
    assert((await callsOf(page, "open_return")).length === 1, "the browser was not opened");
  },
  async "a rule for what is asked from another computer only fills in, is closed, and the number is typed"(
    page,
  ) {
    const known = (part = {}) =>
      stage(
        page,
        (part) => {
          const { change, props } = window.play;
          change({ sessions: props.sessions(), ...part });
        },
        part,
      );
    await ask(page, {});
    await page.waitForSelector("[data-claim=name]");
    assert((await count(page, "#rule")) === 0, "offered at a service that is not known");
    await known();
    await ask(page, {});
    await page.waitForSelector("[data-rule=prefill]");
    assert(!(await page.isVisible("#rule")), "the rule is not closed");
    assert(!(await page.isChecked("#rule")), "the rule is on by itself");
    await page.click("[data-rule] summary");
    await page.check("#rule");
    await settled(page);
    await page.click("#approve", { force: true });
    assert((await callsOf(page, "approve")).length === 0, "approved without the number");
    await page.fill("#number", "47");
    await ready(page);
    await page.click("#approve");
    await page.waitForSelector("#cancel");
    const [said] = await callsOf(page, "approve");
    assert(said.match_code === "47", JSON.stringify(said));
    assert(JSON.stringify(said.rule) === '{"kind":"prefill","days":30}', JSON.stringify(said));
    const rules = await stage(page, () => [window.play.props.rule()]);
    await known({ rules });
    await ask(page, {});
    await page.waitForSelector("[data-claim=name]");
    assert((await count(page, "#rule")) === 0, "offered in place of the rule that is there");
  },
  async "a link does not take the page from one who types"(page) {
    await ask(page, {});
    await page.type("#number", "4");
    await stage(page, () =>
      window.play.change({
        links: [{ id: "l1", gateway: window.play.props.GATEWAY, identities: ["Alice"] }],
      }),
    );
    await page.waitForSelector("#show-link");
    await focused(page, "#number");
    await page.click("#show-link");
    await reach(page, "link");
    await page.click("#drop-link");
    await reach(page, "requests");
    assert((await page.inputValue("#number")) === "4", "the draft did not survive");
  },
  async "an edited value is shared as edited, and kept only if told"(page) {
    await ask(page, { claims: ["name", "email", "nickname"] });
    await page.fill("#number", "47");
    await page.click("[data-claim=email] button");
    await page.fill("[data-claim=email] .field", "other@example.com");
    await page.keyboard.press("Enter");
    assert(await page.isChecked("[data-claim=email] input"), "filled in and not ticked");
    await page.check("[data-claim=email] .remember input");
    await page.check("[data-claim=nickname] label:first-child input");
    await page.fill("[data-claim=nickname] .field", "Al");
    await page.click("[data-claim=nickname] .round");
    await ready(page);
    await page.click("#approve");
    await page.waitForSelector("#cancel");
    const [said] = await callsOf(page, "approve");
    assert(said.share.email === "other@example.com" && said.share.nickname === "Al", "not shared");
    assert(said.remember.join() === "email", JSON.stringify(said.remember));
  },
  async "a ticked line without a value keeps approve closed"(page) {
    await ask(page, { claims: ["nickname"] });
    await page.fill("#number", "47");
    await ready(page);
    await page.check("[data-claim=nickname] input");
    await page.waitForSelector('#approve[aria-disabled="true"]');
  },
  async "what a service says is text, never markup"(page) {
    await ask(page, {
      service: { id: "x", name: "<img src=x onerror=alert(1)>" },
      binding_message: "<b>bold</b>",
      claims: ["<i>"],
      user_agent: "<script>alert(1)</script>",
    });
    const found = await page.locator("article :is(b, img, script, i i, figure i)").count();
    assert(found === 0, "markup got in");
    assert((await page.textContent("blockquote")) === "<b>bold</b>", "the text is changed");
  },
  async "a request that came while the window was hidden is the open one"(page) {
    await ask(page, {});
    await stage(page, () =>
      Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true }),
    );
    await arrive(page, { service: { id: "x", name: "Somebody Else" } });
    await page.waitForFunction(() => document.querySelector("h1")?.textContent.includes("Else"));
  },
  async "the shell's call for a request does not drag away one who types elsewhere"(page) {
    await page.click("#tab-settings");
    await page.click("#open-profile");
    await page.click("#field-name");
    await page.keyboard.type("x");
    await arrive(page);
    await stage(page, () => {
      const [{ challenge_id }] = window.play.view().requests;
      window.play.push("show", { page: "requests", challenge_id });
    });
    await page.waitForSelector("#tab-requests .count");
    await focused(page, "#field-name");
  },
  async "a request leads nobody out of the settings' pages: what was edited stays, and a bar tells of it"(
    page,
  ) {
    await page.click("#tab-settings");
    await page.click("#open-profile");
    await page.fill("#field-name", "Alice K.");
    await arrive(page, { service: { id: "x", name: "Somebody Else" } });
    await stage(page, () => {
      const [{ challenge_id }] = window.play.view().requests;
      window.play.push("show", { page: "requests", challenge_id });
    });
    await page.waitForSelector("aside >> text=1 request is waiting");
    await stage(page, () =>
      window.play.change({
        links: [{ id: "l1", gateway: window.play.props.GATEWAY, identities: ["Alice"] }],
      }),
    );
    await page.waitForSelector("#show-link");
    assert((await page.inputValue("#field-name")) === "Alice K.", "what was edited is lost");
    await stage(page, () => window.play.change({ links: [] }));
    await page.click("#show-newer");
    await reach(page, "requests");
    await page.waitForSelector("article >> text=Somebody Else");
    await focused(page, "#number");
    assert((await count(page, "#show-newer")) === 0, "the open card is announced");
  },
  async "what is muted, or only approved, is announced on no page"(page) {
    const muted = { service: { id: "spam", name: "Spam" } };
    await ask(page, muted, { standing: "approved" });
    await open(page, "sessions");
    await page.waitForSelector("#show-newer");
    await stage(page, () => {
      const [{ wallet }] = window.play.view().requests;
      const until = window.play.props.ago(-3_000);
      const mute = { wallet, service_id: "spam", service_name: "Spam", until };
      window.play.change({ mutes: [mute] });
    });
    await page.waitForSelector("#show-newer", { state: "detached" });
  },
  async "what is looked for in the history is not left for somebody who asks"(page) {
    await stage(page, () => window.play.history(window.play.props.entries()));
    await open(page, "history");
    await page.fill("#search", "harbour");
    await arrive(page);
    await stage(page, () => window.play.push("show", { page: "requests" }));
    await page.waitForSelector("#show-newer");
    assert((await page.inputValue("#search")) === "harbour", "what was looked for is lost");
    await page.fill("#search", "");
    await page.focus("#export");
    await stage(page, () => window.play.push("show", { page: "requests" }));
    await reach(page, "requests");
  },
  async "the shell's menu opens a page, and its heading has the focus"(page) {
    await stage(page, () => window.play.push("show", { page: "settings" }));
    await reach(page, "settings");
    await focused(page, "h1");
  },
  async "tabs go by arrow keys, and the focus stays on them"(page) {
    await page.focus("#tab-requests");
    await page.keyboard.press("ArrowRight");
    await reach(page, "sessions");
    await focused(page, "#tab-sessions");
    await page.keyboard.press("End");
    await reach(page, "settings");
    await page.keyboard.press("ArrowRight");
    await reach(page, "requests");
    await focused(page, "#tab-requests");
  },
  async "the lock forgets what was typed"(page) {
    await ask(page, {});
    await page.fill("#number", "47");
    await page.click("#lock");
    await reach(page, "locked");
    await stage(page, () => window.play.change({ unseen: 1 }));
    await page.waitForSelector("#unseen");
    await page.fill("#unlock-passphrase", "correct horse");
    await page.keyboard.press("Enter");
    await reach(page, "requests");
    await ask(page, {});
    assert((await page.inputValue("#number")) === "", "the number is still there");
  },
  async "the keyboard alone goes from nothing to an identity with a handle and a checked sheet"(
    page,
  ) {
    await stage(page, () => window.play.change(window.play.props.firstRun({ keychain: false })));
    await focused(page, "#name");
    await page.keyboard.type("Alice Kim");
    await page.keyboard.press("Enter");
    await page.waitForSelector('[data-step="protect"]');
    await page.focus("#passphrase");
    await page.keyboard.type("correct horse battery");
    await page.keyboard.press("Tab");
    await page.keyboard.type("correct horse battery");
    await page.keyboard.press("Enter");
    await focused(page, "#gateway");
    await page.keyboard.press("Enter");
    await focused(page, "#handle");
    assert((await page.inputValue("#handle")) === "alice-kim", "no handle is suggested");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#show-words");
    assert(!(await page.isVisible("[data-word] .word >> text=harbor")), "the words are shown");
    await writeDown(page);
    await page.click("#confirm-words");
    await page.waitForSelector('[data-step="done"]');
    await focused(page, "h1");
    await page.click("#next");
    await reach(page, "requests");
    const [made] = await callsOf(page, "create_identity");
    assert(made.passphrase === "correct horse battery" && !made.keychain, JSON.stringify(made));
    const [asked] = await callsOf(page, "recovery_sheet");
    assert(asked.passphrase === "correct horse battery", "the sheet asked without the passphrase");
  },
  async "a sheet put off is brought to mind until it is written down"(page) {
    await stage(page, () => window.play.change(window.play.props.firstRun()));
    await page.fill("#name", "Alice");
    await page.click("#next");
    await page.click("#next");
    await page.click("#next");
    await page.click("#skip");
    await page.click("#later");
    await page.click("#next");
    await page.click("#remind-sheet");
    await page.waitForSelector("#show-words");
    await writeDown(page);
    assert((await callsOf(page, "keep_sheet")).length === 0, "kept before two words were shown");
    await page.click("#confirm-words");
    await reach(page, "settings");
    const said = await callsOf(page, "keep_sheet");
    assert(JSON.stringify(said) === '[{"identity":"Alice"}]', JSON.stringify(said));
    await page.click("#tab-requests");
    await reach(page, "requests");
    assert((await page.locator("#remind-sheet").count()) === 0, "it is still brought to mind");
  },
  async "a reminder that was put away stays away, and another's comes in its place"(page) {
    await stage(page, () => {
      const { props, change } = window.play;
      const names = ["Alice", "Work"];
      const made = names.map((name, at) => props.identity(name, undefined, at));
      change({ identities: made.map((one) => ({ ...one, sheet_kept: false })) });
    });
    await page.waitForSelector("[data-reminder=Alice]");
    await page.click("#remind-later");
    await page.waitForSelector("[data-reminder=Work]");
    await page.click("#remind-later");
    await page.waitForSelector("[data-reminder]", { state: "detached" });
    await page.click("#tab-sessions");
    await page.click("#tab-requests");
    await reach(page, "requests");
    assert((await page.locator("[data-reminder]").count()) === 0, "it came back at once");
    assert((await callsOf(page, "keep_sheet")).length === 0, "put away is not kept");
  },
  async "on paper there is the sheet and nothing else"(page) {
    await page.click("#tab-settings");
    await page.click("[id^=identity-]");
    await page.click("#open-sheet-page");
    await page.fill("#sheet-passphrase", "correct horse");
    await page.click("#open-sheet");
    await page.waitForSelector("#written");
    await page.emulateMedia({ media: "print" });
    assert(await page.isVisible(".paper >> text=ripple"), "the words are not printed");
    const shown = await page.evaluate(() =>
      [...document.querySelectorAll("button, nav, h1")].some(
        (at) => getComputedStyle(at).visibility === "visible",
      ),
    );
    assert(!shown, "more than the sheet is printed");
  },
  async "where printing fails, saving is offered instead"(page) {
    await stage(page, () => window.play.change({ sealed_by: "keychain" }));
    await page.click("#tab-settings");
    await page.click("[id^=identity-]");
    await page.click("#open-sheet-page");
    await page.click("#show-words");
    await page.evaluate(() => (window.print = () => Promise.reject(new Error("no printer"))));
    await page.click("#print-sheet");
    await page.waitForSelector("#print-failed[role=alert]");
    await page.evaluate(() => (window.print = () => undefined));
    await page.click("#print-sheet");
    await page.waitForSelector("#print-failed", { state: "detached" });
    await page.click("#save-sheet");
    await page.waitForSelector("text=Saved at");
  },
  async "an ended session stays as a line that says so, and one press ends it"(page) {
    await stage(page, () => window.play.change({ sessions: window.play.props.sessions() }));
    await page.click("#tab-sessions");
    await page.click("[data-session]:nth-child(2) .end");
    await page.waitForSelector("[data-session]:nth-child(2)[data-over=true]");
    assert((await callsOf(page, "end_session")).length === 1, "not ended");
    await page.click("#end-all");
    await focused(page, "#keep-all");
    await page.click("#confirm-end-all");
    await page.waitForFunction(() => document.querySelectorAll("[data-over=true]").length === 3);
  },
  async "all sessions end only where all are in sight: one identity's take the question back"(
    page,
  ) {
    await two(page);
    await open(page, "sessions");
    await page.click("#end-all");
    await page.waitForSelector("#ask-all >> text=5");
    await page.selectOption("#filter", "Work");
    await page.waitForSelector("#confirm-end-all", { state: "detached" });
    assert((await count(page, "#end-all")) === 0, "all can be ended where a part is shown");
    await page.selectOption("#filter", "");
    await page.waitForSelector("#end-all");
    assert((await count(page, "#confirm-end-all")) === 0, "the question came back by itself");
    await page.click("#end-all");
    await page.waitForSelector("#confirm-end-all");
    const sessions = () => stage(page, () => window.play.view().sessions);
    await stage(
      page,
      (sessions) => window.play.change({ sessions }),
      (await sessions()).slice(0, 1),
    );
    await page.waitForSelector("#confirm-end-all", { state: "detached" });
    assert((await callsOf(page, "end_all_sessions")).length === 0, "they were ended");
  },
  async "where not all sessions could be ended, it says so beside those that are left"(page) {
    await two(page);
    await open(page, "sessions");
    await page.click("#end-all");
    await stage(page, () => {
      const { answer, change, fault, view } = window.play;
      answer("end_all_sessions", fault("gateway_unreachable"));
      document.getElementById("confirm-end-all").click();
      change({ sessions: view().sessions.slice(0, 1) });
    });
    await page.waitForSelector("[data-fault=gateway_unreachable]");
    await page.waitForSelector("#confirm-end-all", { state: "detached" });
    assert(await page.isVisible("[data-fault=gateway_unreachable]"), "the fault is gone again");
  },
  async "the header's switch shows one identity's sessions, and lets go of one that is removed"(
    page,
  ) {
    const rows = (n) =>
      page.waitForFunction((n) => document.querySelectorAll("[data-session]").length === n, n);
    await two(page);
    await open(page, "sessions");
    await rows(5);
    await page.selectOption("#filter", "Work");
    await rows(2);
    const shown = await page.locator("[data-session]").allTextContents();
    assert(/Office/.test(shown[0]) && /Payroll/.test(shown[1]), shown.join(" | "));
    await page.click("[data-session]:nth-child(1) .end");
    await page.waitForSelector("[data-session]:nth-child(1)[data-over=true]");
    const [ended] = await callsOf(page, "end_session");
    const offices = await stage(page, () => window.play.view().identities[1].gateways[0].wallet);
    assert(ended.wallet === offices, JSON.stringify(ended));
    await page.selectOption("#filter", "Alice");
    await rows(3);
    await page.selectOption("#filter", "Work");
    await rows(2);
    await stage(page, () =>
      window.play.change({
        identities: [window.play.props.alice()],
        sessions: window.play.view().sessions.slice(0, 3),
      }),
    );
    await rows(4);
    assert((await count(page, "#filter")) === 0, "a switch for one identity");
  },
  async "history is searched by what is typed, once for a word, and one identity's alone"(page) {
    await two(page);
    await stage(page, () => {
      const entries = window.play.props.entries();
      entries[1].identity = "Work";
      window.play.history(entries);
    });
    await open(page, "history");
    const lines = (n) =>
      page.waitForFunction((n) => document.querySelectorAll("[data-entry]").length === n, n);
    await lines(10);
    const before = (await callsOf(page, "history")).length;
    await page.click("#search");
    await page.keyboard.type(" Harbour ");
    await lines(1);
    const asked = (await callsOf(page, "history")).slice(before);
    assert(asked.length === 1, `asked ${asked.length} times for one word`);
    assert(asked[0].query === "Harbour" && asked[0].identity === undefined, JSON.stringify(asked));
    await page.fill("#search", "nobody");
    await page.waitForSelector(".none >> text=nobody");
    await page.fill("#search", "");
    await lines(10);
    await page.selectOption("#filter", "Work");
    await lines(1);
    const last = (await callsOf(page, "history")).at(-1);
    assert(last.identity === "Work" && last.query === "", JSON.stringify(last));
  },
  async "history is exported once at a time, and says where to, or why not"(page) {
    await stage(page, () => window.play.history(window.play.props.entries()));
    await open(page, "history");
    await page.waitForSelector("[data-entry]");
    await stage(page, () => window.play.answer("export_history", window.play.fault("disk_full")));
    await page.click("#export");
    await page.waitForSelector("[data-fault=disk_full]");
    assert((await count(page, ".exported")) === 0, "it says that it was saved");
    await stage(page, () => window.play.answerAsUsual("export_history"));
    await page.click("#export");
    await page.waitForSelector(".exported[role=status]");
    const said = await page.textContent(".exported");
    assert(said.includes("10") && said.includes("miid-history.json"), said);
    assert((await count(page, "[data-fault]")) === 0, "the fault still stands");
    const exports = async () => (await callsOf(page, "export_history")).length;
    const before = await exports();
    await stage(page, () => window.play.answer("export_history", "never"));
    await page.click("#export");
    await page.waitForSelector("#export[aria-disabled=true]");
    await page.click("#export", { force: true });
    assert((await exports()) === before + 1, "exported twice at once");
  },
  async "keys, presses and the wheel tell the core that the person is there; the mouse alone does not"(
    page,
  ) {
    await page.clock.install();
    await page.reload();
    await reach(page, "requests");
    const told = async () => (await callsOf(page, "touch")).length;
    const later = () => page.clock.fastForward(20_000);
    await later();
    await page.mouse.move(190, 200);
    await page.mouse.move(200, 300);
    assert((await told()) === 0, "told without anybody");
    let n = 0;
    const input = {
      "a key": () => page.keyboard.press("Shift"),
      "a press": () => page.mouse.click(190, 60),
      "the wheel": () => page.mouse.wheel(0, 40),
    };
    for (const [what, does] of Object.entries(input)) {
      await does();
      n++;
      await page
        .waitForFunction(
          (n) => window.play.calls.filter(([name]) => name === "touch").length === n,
          n,
        )
        .catch(() => assert(false, `${what} does not reach the core`));
      await later();
    }
    await stage(page, () => window.play.change({ stage: "locked" }));
    await reach(page, "locked");
    await page.keyboard.type("correct");
    assert((await told()) === n, "told while it is locked");
  },
  async "of two identities the chosen one takes the link, and the first one unless another is chosen"(
    page,
  ) {
    const link = (id) =>
      two(page, {
        links: [{ id, gateway: "https://id.miid.example", identities: ["Alice", "Work"] }],
      });
    const takes = async (id, identity) => {
      await page.waitForSelector(`[data-link=${id}]`);
      await settled(page);
      await page.click("#continue-link");
      await reach(page, "requests");
      const said = (await callsOf(page, "continue_link")).at(-1);
      assert(JSON.stringify(said) === JSON.stringify({ id, identity }), JSON.stringify(said));
    };
    await link("l1");
    await reach(page, "link");
    assert(await page.isChecked("input[name=identity][value=Alice]"), "the first is not chosen");
    await takes("l1", "Alice");
    await link("l2");
    await page.check("input[name=identity][value=Work]");
    assert(!(await page.isChecked("input[name=identity][value=Alice]")), "both are chosen");
    await takes("l2", "Work");
    await link("l3");
    await page.waitForSelector("[data-link=l3]");
    await page.focus("input[name=identity][value=Alice]");
    await page.keyboard.press("ArrowDown");
    await takes("l3", "Work");
  },
  async "who opened a link while it was locked reads that it goes on, and of no request"(page) {
    await stage(page, () => window.play.change({ stage: "locked", links_waiting: 1, unseen: 0 }));
    await reach(page, "locked");
    await page.waitForSelector("#link-waiting >> text=Unlock to go on");
    assert((await count(page, "#unseen")) === 0, "a link counts as a request");
    await stage(page, () => window.play.change({ links_waiting: 0, unseen: 1 }));
    await page.waitForSelector("#unseen");
    assert((await count(page, "#link-waiting")) === 0, "a request counts as a link");
  },
  async "a theme of one's own wins over the computer's"(page) {
    const ground = () =>
      page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    await page.click("#tab-settings");
    await page.selectOption("#theme", "dark");
    await page.waitForFunction(() => document.documentElement.style.colorScheme === "dark");
    const dark = await ground();
    assert(light !== dark, "dark looks like light");
    await page.emulateMedia({ colorScheme: "dark" });
    await page.selectOption("#theme", "light");
    await page.waitForFunction(() => document.documentElement.style.colorScheme === "light");
    assert((await ground()) === light, "light is not light on a dark computer");
    await page.selectOption("#theme", "system");
    await page.waitForFunction(() => document.documentElement.style.colorScheme === "");
    assert((await ground()) === dark, "the computer is not followed any more");
  },
  async "a language chosen speaks at once, and the page says which it is"(page) {
    await page.click("#tab-settings");
    await page.selectOption("#language", "ko");
    await page.waitForFunction(() => document.documentElement.lang === "ko");
    assert((await page.textContent("#tab-requests")).includes("요청"), "not in Korean");
  },
  async "retiring needs the name, typed as it is"(page) {
    await page.click("#tab-settings");
    await page.click("[id^=identity-]");
    await page.click("#lost-key");
    await page.fill("#retire-passphrase", "correct horse");
    await page.fill("#confirm-name", "alice");
    await page.click("#give-up-now", { force: true });
    assert((await callsOf(page, "retire")).length === 0, "retired without the name");
    await page.fill("#confirm-name", "Alice");
    await page.click("#give-up-now");
    await page.waitForSelector(".retired");
  },
  async "removing an identity that is alive needs its name and the passphrase"(page) {
    await page.click("#tab-settings");
    await page.click("[id^=identity-]");
    await page.click("#remove-identity");
    await page.fill("#confirm-name", "Alice");
    await page.click("#give-up-now", { force: true });
    assert((await callsOf(page, "remove_identity")).length === 0, "removed without passphrase");
    await stage(page, () =>
      window.play.answer("remove_identity", window.play.fault("wrong_passphrase")),
    );
    await page.fill("#remove-passphrase", "wrong horse");
    await page.click("#give-up-now");
    await page.waitForSelector("[data-fault=wrong_passphrase]");
    assert((await page.inputValue("#remove-passphrase")) === "", "the passphrase is kept");
    await stage(page, () => window.play.answerAsUsual("remove_identity"));
    await page.fill("#remove-passphrase", "correct horse");
    await page.click("#give-up-now");
    await page.waitForSelector("#give-up-now", { state: "detached" });
    const said = (await callsOf(page, "remove_identity")).at(-1);
    assert(
      JSON.stringify(said) ===
        '{"identity":"Alice","passphrase":"correct horse","confirm":"Alice"}',
      JSON.stringify(said),
    );
  },
  async "removing asks no passphrase of a keychain's vault, nor for an identity that is over"(
    page,
  ) {
    await stage(page, () => window.play.change({ sealed_by: "keychain" }));
    await page.click("#tab-settings");
    await page.click("[id^=identity-]");
    await page.click("#remove-identity");
    await page.waitForSelector("#confirm-name");
    assert((await page.locator("#remove-passphrase").count()) === 0, "there is no passphrase");
    await stage(page, () =>
      window.play.change({
        sealed_by: "passphrase",
        identities: [{ ...window.play.props.alice(), retired_at: window.play.props.ago(60) }],
      }),
    );
    await page.waitForSelector("#confirm-name", { state: "detached" });
    assert((await page.locator("#remove-passphrase").count()) === 0, "asked for one that is over");
    await page.click("#give-up-now");
    await page.waitForSelector("#give-up-now", { state: "detached" });
    const [said] = await callsOf(page, "remove_identity");
    assert(said.passphrase === null, JSON.stringify(said));
  },
};
