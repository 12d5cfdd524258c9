// Theme and text size, as the person chose them. The tokens follow the computer by a media query;
// a choice of the person's own turns that query on or off for good, so there is one set of colours
// and not two copies of it.

import type { Settings } from "./types";

const DARK = /\(prefers-color-scheme:\s*dark\)/;
const asked = new Map<CSSMediaRule, string>();

export function applyTheme(theme: Settings["theme"]): void {
  for (const sheet of document.styleSheets) darken(sheet.cssRules, theme);
  document.documentElement.style.colorScheme = theme === "system" ? "" : theme;
}

function darken(rules: CSSRuleList, theme: Settings["theme"]): void {
  for (const rule of rules) {
    if (!(rule instanceof CSSMediaRule)) continue;
    if (!asked.has(rule) && DARK.test(rule.media.mediaText)) asked.set(rule, rule.media.mediaText);
    const media = asked.get(rule);
    if (media === undefined) continue;
    rule.media.mediaText = theme === "system" ? media : theme === "dark" ? "all" : "not all";
  }
}

/** Every size is in rem, so one number carries all of them. */
export function applyTextSize(percent: number): void {
  document.documentElement.style.fontSize = percent === 100 ? "" : `${percent}%`;
}
