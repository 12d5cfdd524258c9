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
const AT_ONCE = 3;

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
      looksOf(scene).map((look) => ({ name: scene.name, run: () => draw(scene, look) })),
    ),
    ...Object.entries(behaviours).map(([name, play]) => ({ name, run: () => behave(name, play) })),
  ].filter(({ name }) => name.includes(only));
  const worker = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) await job.run();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
} finally {
  await browser.close();
  await server.close();
}
for (const failure of failures) console.error(`✗ ${failure}`);
console.log(failures.length === 0 ? "all well" : `${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

function looksOf({ main, large, wide }) {
  const looks = ["light", "dark"].flatMap((scheme) =>
    (main ? ["en-GB", "ko-KR"] : ["en-GB"]).map((locale) => ({ scheme, locale, size: 100 })),
  );
  if (large) looks.push({ scheme: "light", locale: "en-GB", size: 150 });
  if (large) looks.push({ scheme: "light", locale: "ko-KR", size: 150 });
  if (wide) looks.push({ scheme: "light", locale: "en-GB", size: 100, viewport: WIDE });
  return looks;
}

async function draw(scene, { scheme, locale, size, viewport = WINDOW }) {
  const name = [
    scene.name,
    locale.slice(0, 2),
    scheme,
    ...(size === 100 ? [] : [size]),
    ...(viewport === WIDE ? ["wide"] : []),
  ].join(".");
  const options = { colorScheme: scheme, locale, viewport, reducedMotion: "reduce" };
  await inPage(name, options, async (page) => {
    await page.evaluate((text_size) => {
      const { settings } = window.play.view();
      window.play.change({ settings: { ...settings, text_size } });
    }, size);
    await scene.play(page);
    await page.waitForSelector(`main[data-page="${scene.at}"]`);
    if (scene.focus)
      await page
        .waitForFunction((at) => document.activeElement?.matches(at), scene.focus)
        .catch(async () => {
          const at = await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 120));
          throw new Error(`the focus is at ${at}`);
        });
    await page.screenshot({ path: `${out}${name}.png` });
    await checkAccess(page, name);
    await checkFit(page, name);
    await page.setViewportSize(SMALLEST);
    await checkFit(page, `${name} (smallest)`);
    await page.setViewportSize(viewport);
    // All of the page at once, for whoever looks through the pictures.
    const height = await page.evaluate(() => {
      const main = document.querySelector("main");
      return window.innerHeight + main.scrollHeight - main.clientHeight;
    });
    if (height > viewport.height) {
      await page.setViewportSize({ width: viewport.width, height });
      await page.screenshot({ path: `${out}${name}.whole.png` });
    }
  });
}

async function behave(name, play) {
  await inPage(name, { viewport: WINDOW, locale: "en-GB" }, play);
  console.log(`· ${name}`);
}

/** Runs `play` in a fresh browser context; what goes wrong becomes a failure. */
async function inPage(name, options, play) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => failures.push(`${name}: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text()))
      failures.push(`${name}: ${message.text()}`);
  });
  try {
    // As the shell has it (`freezePrototype`).
    await page.addInitScript(() => Object.freeze(Object.prototype));
    await page.goto(server.url);
    await page.waitForSelector('main[data-page="requests"]');
    await play(page);
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
    await page.screenshot({ path: `${out}FAILED.${name}.png` }).catch(() => undefined);
  } finally {
    await context.close();
  }
}

async function checkAccess(page, name) {
  // Playwright evaluates beside the page's own scripts, so the policy need not be weakened for it.
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
  if (!passes.some(({ id }) => id === "color-contrast"))
    failures.push(`${name}: the contrast was not checked`);
  for (const { id, nodes } of violations)
    failures.push(`${name}: ${id} at ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
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
