// Draws every screen of the window in light and dark, the main ones in Korean as well and some with
// large text, into pictures/, and fails where a screen is not reached, the accessibility check
// complains, the focus is elsewhere, the policy is broken or something does not fit.
//
//   npm run pictures [-- part-of-a-name]
//
// Chromium is the system's own: CHROMIUM names another one.

import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { behaviours } from "./behaviours.mjs";
import { scenes } from "./scenes.mjs";
import { serve } from "./serve.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const only = process.argv[2] ?? "";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const out = here("../pictures/");
/** As the shell opens it, and as small as it lets it become. */
const WINDOW = { width: 380, height: 600 };
const SMALLEST = { width: 320, height: 440 };
const WIDE = { width: 720, height: 640 };
/** Each mostly waits for its page, so that a few of them share a core well. */
const AT_ONCE = 3;
const [EN, KO] = ["en-GB", "ko-KR"];
const SCHEMES = ["light", "dark"];

const failures = [];
if (only === "")
  for (const name of await readdir(out).catch(() => []))
    if (name.endsWith(".png")) await rm(`${out}${name}`);
await mkdir(out, { recursive: true });
await shipsNoPlay();
const server = await serve(here("../pictures/.app"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
});
try {
  const jobs = [
    ...scenes.flatMap((scene) =>
      (scene.main ? [EN, KO] : [EN]).map((locale) => ({
        name: scene.name,
        run: (pages) => draw(pages, scene, locale),
      })),
    ),
    ...scenes
      .filter(({ main, large }) => large && !main)
      .map((scene) => ({ name: scene.name, run: (pages) => draw(pages, scene, KO, []) })),
    ...Object.entries(behaviours).map(([name, play]) => ({ name, run: () => behave(name, play) })),
  ].filter(({ name }) => name.includes(only));
  const worker = async () => {
    const pages = new Map();
    for (let job = jobs.shift(); job; job = jobs.shift()) await job.run(pages);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
} finally {
  await browser.close();
  await server.close();
}
for (const failure of failures) console.error(`✗ ${failure}`);
console.log(failures.length === 0 ? "all well" : `${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Plays a scene once in a language, and looks at it in every way: reaching it takes longer than a picture. */
async function draw(pages, scene, locale, schemes = SCHEMES) {
  const base = `${scene.name}.${locale.slice(0, 2)}`;
  await inKeptPage(pages, base, locale, async (page) => {
    await scene.play(page);
    await page.waitForSelector(`main[data-page="${scene.at}"]`);
    if (scene.focus) await checkFocus(page, scene.focus);
    for (const scheme of schemes) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.screenshot({ path: `${out}${base}.${scheme}.png` });
    }
    // What a theme changes is colours; what a language changes is how much room the words take.
    if (locale === EN)
      for (const scheme of schemes) {
        await page.emulateMedia({ colorScheme: scheme });
        await checkAccess(page, `${base}.${scheme}`);
      }
    for (const scheme of schemes) await drawWhole(page, `${base}.${scheme}`, scheme);
    await checkFits(page, base);
    if (scene.wide && locale === EN) await drawAs(page, `${base}.light.wide`, WIDE);
    if (scene.large) {
      await page.evaluate(() => {
        const { settings } = window.play.view();
        window.play.change({ settings: { ...settings, text_size: 150 } });
      });
      await drawAs(page, `${base}.light.150`, WINDOW);
    }
  });
}

/** One more look at what is there. */
async function drawAs(page, name, viewport) {
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(viewport);
  await page.screenshot({ path: `${out}${name}.png` });
  await drawWhole(page, name, "light", viewport);
  await checkFits(page, name);
}

/** All of the page at once, for whoever looks through the pictures. */
async function drawWhole(page, name, scheme, viewport = WINDOW) {
  const height = await page.evaluate(() => {
    const main = document.querySelector("main");
    return window.innerHeight + main.scrollHeight - main.clientHeight;
  });
  if (height <= viewport.height) return;
  await page.emulateMedia({ colorScheme: scheme });
  await page.setViewportSize({ width: viewport.width, height });
  await page.screenshot({ path: `${out}${name}.whole.png` });
  await page.setViewportSize(viewport);
}

async function behave(name, play) {
  const page = await newPage({ viewport: WINDOW, locale: "en-GB" }, { name });
  await inPage(page, name, play);
  await page.context().close();
  console.log(`· ${name}`);
}

/** Runs `play` in this worker's page of that language, loaded anew: nothing is kept between two loads. */
async function inKeptPage(pages, name, locale, play) {
  if (!pages.has(locale)) {
    const now = { name };
    const page = await newPage({ viewport: WINDOW, locale, reducedMotion: "reduce" }, now);
    pages.set(locale, { page, now });
  }
  const { page, now } = pages.get(locale);
  now.name = name;
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WINDOW);
  // Out of the window: nothing is under a pointer that the scene before left behind.
  await page.mouse.move(-1, -1);
  if (await inPage(page, name, play)) return;
  pages.delete(locale);
  await page.context().close();
}

/** A page in a browser context of its own. What goes wrong in it is a failure of what `now` names. */
async function newPage(options, now) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => failures.push(`${now.name}: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text()))
      failures.push(`${now.name}: ${message.text()}`);
  });
  // As the shell has it (`freezePrototype`).
  await page.addInitScript(() => Object.freeze(Object.prototype));
  return page;
}

/** Runs `play` in a page that has just been loaded, and says whether all went well. */
async function inPage(page, name, play) {
  try {
    await page.goto(server.url);
    await page.waitForSelector('main[data-page="requests"]');
    await play(page);
    return true;
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
    await page.screenshot({ path: `${out}FAILED.${name}.png` }).catch(() => undefined);
    return false;
  }
}

async function checkFocus(page, wanted) {
  await page
    .waitForFunction((at) => document.activeElement?.matches(at), wanted)
    .catch(async () => {
      const at = await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 120));
      throw new Error(`the focus is at ${at}`);
    });
}

async function checkAccess(page, name) {
  // Playwright evaluates beside the page's own scripts, so the policy need not be weakened for it.
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() =>
    globalThis.axe.run({ resultTypes: ["violations"] }),
  );
  if (!passes.some(({ id }) => id === "color-contrast"))
    failures.push(`${name}: the contrast was not checked`);
  for (const { id, nodes } of violations)
    failures.push(`${name}: ${id} at ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
}

/** In the window as it is, and in the smallest one. */
async function checkFits(page, name) {
  await checkFit(page, name);
  const viewport = page.viewportSize();
  await page.setViewportSize(SMALLEST);
  await checkFit(page, `${name} (smallest)`);
  await page.setViewportSize(viewport);
}

/** Nothing scrolls sideways, and no button's words are wider than the button. */
async function checkFit(page, name) {
  const wide = await page.evaluate(() => {
    const found = [];
    for (const at of [document.documentElement, document.querySelector("main")])
      if (at.scrollWidth > at.clientWidth) found.push(`${at.tagName} ${at.scrollWidth}`);
    for (const at of document.querySelectorAll("button, .card, header, nav [role=tablist]"))
      if (at.scrollWidth > at.clientWidth + 1 && getComputedStyle(at).overflow === "visible")
        found.push(`${at.id || at.className}: ${at.scrollWidth} > ${at.clientWidth}`);
    return found;
  });
  for (const what of wide) failures.push(`${name}: too wide: ${what}`);
}

/** What is shipped has nothing of the play in it. */
async function shipsNoPlay() {
  const assets = here("../dist/assets/");
  for (const file of await readdir(assets).catch(() => []))
    if ((await readFile(`${assets}${file}`, "utf8")).includes("Harbour Library"))
      failures.push(`dist/assets/${file} holds the play of the core`);
}
