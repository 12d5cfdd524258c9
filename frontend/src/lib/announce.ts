// What a screen is called in the tab, and how its arrival is said aloud.

import type { Transfer } from "./account";
import { shorten } from "./handle";
import { isLinked, type Screen, type Wallet } from "./login";
import { now } from "./clock";
import { endedWords, locale, messageFor, serviceName, words, type Message } from "./words";

/** Short, since a tab shows the first words only; empty while nothing is known yet. */
export function titleFor(screen: Screen): string {
  switch (screen.at) {
    case "looking":
      return "";
    case "start":
    case "starting":
      return words.start.title;
    case "waiting":
      return isLinked(screen.challenge) ? words.linked[screen.wallet].title : words.waiting.title;
    case "confirm":
      return words.confirm.short;
    case "signed_in":
      return isAsked(screen) ? words.transfer.asked : words.signedIn.short;
    default:
      return message(screen).title;
  }
}

/** Everything that a look at the changed page would tell, in one breath. */
export function spokenFor(screen: Screen): string {
  switch (screen.at) {
    case "looking":
    case "starting":
      return "";
    case "start":
      return screen.note ? words.notes[screen.note] : words.start.title;
    case "waiting": {
      const code = screen.challenge.matchCode;
      return code ? `${words.waiting.title}. ${digits(code)}` : spokenForWallet(screen.wallet);
    }
    case "signed_in":
      return words.signedIn.title(sharedName(screen.session.claims));
    default: {
      return inOneBreath(message(screen));
    }
  }
}

function inOneBreath({ title, text }: Message): string {
  return /[?!.]$/.test(title) ? `${title} ${text}` : `${title}. ${text}`;
}

/** What is known of the wallet that a link should open. */
export function spokenForWallet(wallet: Wallet): string {
  return inOneBreath(words.linked[wallet]);
}

type WithMessage = Exclude<
  Screen,
  { at: "looking" | "start" | "starting" | "waiting" | "signed_in" }
>;

/** Heading and sentence of a screen that consists of little else. */
export function message(screen: WithMessage): Message {
  switch (screen.at) {
    case "approved":
      return isLinked(screen.challenge) ? words.comingBack : words.approved;
    case "completing":
      return isLinked(screen.challenge) ? words.returning : words.approved;
    case "returning":
      return words.returning;
    case "confirm": {
      // Held together: a line must not end in the middle of it.
      const who = shorten(screen.did).replace("…", "…\u2060");
      return { title: words.confirm.title(who), text: words.confirm.text };
    }
    case "stopped":
      return words.stopped;
    case "lapsed":
      return words.lapsed;
    case "denied":
      return messageFor(words.denied, screen.reason);
    case "expired":
      return messageFor(words.expired, screen.reason);
    case "crowded":
      return words.crowded[screen.whose];
    case "unreachable":
      return words.unreachable[screen.offline ? "offline" : "gateway"];
    case "confirmed":
      return words.confirmed;
    case "signed_out": {
      const about = { service: serviceName, now: now(), locale };
      return { title: words.signedOut.title, text: endedWords(words.signedOut, screen, about) };
    }
  }
}

/** Whether the wallet is asked for something while somebody is signed in. */
function isAsked({ account }: Extract<Screen, { at: "signed_in" }>): boolean {
  return account.transfer.at === "confirming";
}

/** What came of a transfer, or stands in its way, in one sentence. */
export function transferWords(transfer: Transfer): string {
  const say = words.transfer;
  if (transfer.at === "done")
    return say.done(formatAmount(transfer.receipt.amount), transfer.receipt.to);
  if (transfer.at !== "form" || transfer.note === null) return "";
  const { note } = transfer;
  switch (note.kind) {
    case "denied":
    case "expired":
      return pick(say[note.kind], note.reason);
    default:
      return say.notes[note.kind];
  }
}

function pick(table: Record<string, string>, reason: string | null): string {
  return (reason !== null && Object.hasOwn(table, reason) && table[reason]) || table["other"]!;
}

/** A number as people here write it. */
export function formatAmount(amount: number): string {
  return new Intl.NumberFormat(locale).format(amount);
}

/** "47" would be read as forty-seven; the wallet wants a four and a seven. */
export function digits(code: string): string {
  return words.waiting.number([...code].join(", "));
}

/** The name to greet with, if one was shared. */
export function sharedName(claims: { [key in string]?: unknown }): string | null {
  const name = claims["name"];
  return typeof name === "string" && name.trim() !== "" ? name.trim() : null;
}
