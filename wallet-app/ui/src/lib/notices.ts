import type { Notice } from "./types";
import type { Words } from "./words";

/** The sentence for a notice; a reason with words of its own says more than the kind. */
export function noticeWords({ kind, service, reason }: Notice, words: Words): string {
  const table: Record<string, (service: string, reason: string) => string> = words.notices;
  const confirmation = kind === "not_confirmed" && reason !== undefined;
  if (confirmation && Object.hasOwn(words.notConfirmed, reason))
    return words.notConfirmed[reason]!(service ?? words.aService);
  const key = keyOf(kind, reason, table);
  const faults: Record<string, string> = words.faults;
  if (key === "link_failed" && reason && Object.hasOwn(faults, reason)) return faults[reason]!;
  const said = table[key]!(service ?? words.aService, reason ?? "");
  const why = kind === "session_ended" && reason ? words.history.why[reason] : undefined;
  return why ? `${said} (${why})` : said;
}

function keyOf(kind: string, reason: string | undefined, table: object): string {
  const ended = kind === "denied" || kind === "expired";
  if (ended && reason && Object.hasOwn(table, reason)) return reason;
  return Object.hasOwn(table, kind) ? kind : "other";
}

const STAYS = new Set([
  "other_browser",
  "not_kept",
  "not_ours",
  "bad_link",
  "link_failed",
  "unshowable",
  "settings_set_aside",
  "settings_unread",
]);

/** Whether it waits until somebody has read it. */
export function stays(notice: Notice): boolean {
  return STAYS.has(notice.kind) || notice.reason === "other_browser";
}
