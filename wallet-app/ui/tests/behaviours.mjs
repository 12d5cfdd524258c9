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
