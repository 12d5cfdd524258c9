// What a screen is called in the tab, and how its arrival is said aloud.

import type { Screen } from "./login";
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
      return screen.challenge.matchCode ? words.waiting.title : words.waiting.linkedTitle;
    case "signed_in":
      return words.signedIn.short;
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
      return code ? `${words.waiting.title}. ${digits(code)}` : words.waiting.linkedTitle;
    }
    case "signed_in":
      return words.signedIn.title(sharedName(screen.session.claims));
    default: {
      const { title, text } = message(screen);
      return `${title}. ${text}`;
    }
  }
}

type WithMessage = Exclude<
  Screen,
  { at: "looking" | "start" | "starting" | "waiting" | "signed_in" }
>;

/** Heading and sentence of a screen that consists of little else. */
export function message(screen: WithMessage): Message {
  switch (screen.at) {
    case "approved":
    case "completing":
      return words.approved;
    case "denied":
      return messageFor(words.denied, screen.reason);
    case "expired":
      return messageFor(words.expired, screen.reason);
    case "crowded":
      return words.crowded[screen.whose];
    case "unreachable":
      return words.unreachable[screen.offline ? "offline" : "gateway"];
    case "signed_out": {
      const about = { service: serviceName, now: now(), locale };
      return { title: words.signedOut.title, text: endedWords(words.signedOut, screen, about) };
    }
  }
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
