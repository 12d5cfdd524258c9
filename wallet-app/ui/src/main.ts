import "#shared/styles/tokens.css";
import "#shared/styles/base.css";
import "./styles/window.css";
import { mount } from "svelte";
import { bridge } from "#bridge";
import App from "./App.svelte";
import { Desk } from "./lib/state.svelte";

const TYPING_MS = 3_000;
let lastKey = -Infinity;
document.addEventListener("keydown", () => (lastKey = performance.now()), { capture: true });

const desk = new Desk(bridge, {
  languages: navigator.languages,
  now: () => Date.now(),
  visible: () => document.visibilityState === "visible",
  typing: () =>
    performance.now() - lastKey < TYPING_MS &&
    document.activeElement instanceof HTMLElement &&
    document.activeElement.matches("input:not([type=checkbox], [type=radio]), textarea, select"),
});
mount(App, { target: document.getElementById("app")!, props: { desk } });
for (const event of ["keydown", "pointerdown", "wheel"])
  document.addEventListener(event, () => desk.touch(), { capture: true, passive: true });
window.addEventListener("focus", () => desk.appear());
document.addEventListener("visibilitychange", () => desk.appear());
void desk.start();
