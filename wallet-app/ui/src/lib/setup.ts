// The steps of making an identity, and of bringing one back.

export type Step = "name" | "words" | "protect" | "gateway" | "handle" | "sheet" | "done";

/** `vault`: there is one already, which says how everything in it is protected. */
export function stepsOf(way: { restoring: boolean; vault: boolean }): Step[] {
  const steps: Step[] = ["name"];
  if (way.restoring) steps.push("words");
  if (!way.vault) steps.push("protect");
  steps.push("gateway", "handle");
  // Who has just typed the words from paper has them on paper.
  if (!way.restoring) steps.push("sheet");
  return [...steps, "done"];
}

export const NAME_MAX = 60;
export const PASSPHRASE_MIN = 8;
