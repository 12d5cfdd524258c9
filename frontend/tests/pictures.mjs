// Draws every state of the page in light and dark, English and Korean, wide and narrow, into
// pictures/, and fails where a state is not reached, the accessibility check complains, the focus is
// lost, the content security policy is broken or something does not fit.
//
//   npm run build && npm run pictures [-- part-of-a-name]
//
// Chromium is the system's own: CHROMIUM names another one.

import { mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { startMockService } from "./mock_service.mjs";
import { behaviours, scenes } from "./scenes.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const only = process.argv[2] ?? "";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const out = here("../pictures/");

const SCHEMES = ["light", "dark"];
const [EN, KO] = ["en-GB", "ko-KR"];
/** A scene mostly waits for the page, so a few of them share a core well. */
const AT_ONCE = 3;
const WIDE = { width: 640, height: 720 };
const NARROW = { width: 360, height: 720 };

const failures = [];
if (only === "") await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
});
try {
  const jobs = [
    ...scenes.flatMap((scene) =>
      [EN, KO].map((locale) => ({ name: scene.name, run: () => draw(scene, locale) })),
    ),
    ...Object.entries(behaviours).map(([name, play]) => ({ name, run: () => behave(name, play) })),
  ].filter(({ name }) => name.includes(only));
  const worker = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) await job.run();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
} finally {
  await browser.close();
}
for (const failure of failures) console.error(`✗ ${failure}`);
console.log(failures.length === 0 ? "all well" : `${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Plays a scene once in a language, and looks at it in every way: reaching it takes longer than a picture. */
async function draw(scene, locale) {
  const base = `${scene.name}.${locale.slice(0, 2)}`;
  await inOwnPage(base, locale, scene.before, async (page, service) => {
    await scene.play(page, service);
    await page.waitForSelector(`main[data-state="${scene.at}"]`);
    if (scene.focus)
      await page.waitForFunction((at) => document.activeElement?.matches(at), scene.focus);
    const inEach = async (look) => {
      for (const scheme of SCHEMES) {
        await page.emulateMedia({ colorScheme: scheme });
        await look(`${base}.${scheme}`);
      }
    };
    await inEach((name) => page.screenshot({ path: `${out}${name}.png` }));
    // What a theme changes is colours; what a language changes is how much room the words take.
    if (locale === EN) await inEach((name) => checkAccess(page, name));
    await page.setViewportSize(NARROW);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > NARROW.width) failures.push(`${base}: ${wide} px wide on a narrow screen`);
    await inEach((name) => page.screenshot({ path: `${out}${name}.narrow.png`, fullPage: true }));
  });
}

async function behave(name, play) {
  const page = await newPage({ viewport: WIDE, locale: "en-GB" }, name);
  await inPage(page, name, {}, play);
  await page.context().close();
  console.log(`· ${name}`);
}

/**
 * Runs `play` in a page of that language which is the scene's alone: a browser that asks whether to open the
 * wallet takes the clicks of whatever comes next in the same tab.
 */
async function inOwnPage(name, locale, before, play) {
  const page = await newPage({ viewport: WIDE, locale, reducedMotion: "reduce" }, name);
  // Out of the window: nothing is under the pointer.
  await page.mouse.move(-1, -1);
  await inPage(page, name, before, play);
  await page.context().close();
}

/** A page in a browser context of its own. What goes wrong in it is a failure of `name`. */
async function newPage(options, name) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on("pageerror", (error) => failures.push(`${name}: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text()))
      failures.push(`${name}: ${message.text()}`);
  });
  return page;
}

/** Runs `play` on a fresh service. */
async function inPage(page, name, before, play) {
  const service = await startMockService(here("../dist"));
  service.set(before ?? {});
  try {
    await page.goto(service.url);
    await page.waitForSelector('main:not([data-state="looking"])');
    await play(page, service);
  } catch (error) {
    const state = await page
      .evaluate(
        () => `${location.href}: ${document.querySelector("main")?.outerHTML.slice(0, 600)}`,
      )
      .catch(String);
    failures.push(`${name}: ${error.message}\n  at ${state}`);
  } finally {
    // Whatever it still asks is asked of a service that is there.
    await page.goto("about:blank").catch(() => undefined);
    await service.close();
  }
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
