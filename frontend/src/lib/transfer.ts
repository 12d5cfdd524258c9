// What a signed-in page adds to `login.ts`: an order, and a confirmation that goes through the very same steps
// as a sign-in, inside of the page instead of in its place. Pure.

import {
  LARGE,
  type Account,
  type Order,
  type Receipt,
  type Transfer,
  type TransferNote,
} from "./account";
import { step as stepLogin, waitingFor, type Challenge, type Event, type Screen } from "./login";

export type TransferEvent =
  | { type: "order"; to: string; amount: number }
  | { type: "asked"; challenge: Challenge }
  | { type: "transferred"; receipt: Receipt; balance: number | null }
  | { type: "not_transferred"; note: TransferNote }
  | { type: "balance"; balance: number | null }
  | { type: "look_again" };

export type PageEvent = Event | TransferEvent;

type SignedIn = Extract<Screen, { at: "signed_in" }>;

/** The next screen of the whole page. */
export function step(screen: Screen, event: PageEvent): Screen {
  if (screen.at !== "signed_in") return isOfTransfer(event) ? screen : stepLogin(screen, event);
  if (isOfTransfer(event)) return withAccount(screen, stepAccount(screen, event));
  const { transfer } = screen.account;
  if (transfer.at !== "confirming" || !OF_CONFIRMATION.has(event.type))
    return stepLogin(screen, event);
  const login = stepLogin(transfer.login, event);
  if (login === transfer.login) return screen;
  if (login.at === "signed_in")
    return {
      ...screen,
      session: login.session,
      account: withTransfer(screen, login.account.transfer),
    };
  return withAccount(screen, withTransfer(screen, follow(transfer.order, login, event)));
}

/** The sign-in that this page waits for: its own, or that of a confirmation inside of it. */
export function loginIn(screen: Screen): Screen {
  if (screen.at !== "signed_in" || screen.account.transfer.at !== "confirming") return screen;
  return screen.account.transfer.login;
}

/** Whether something is under way that needs this page to stay connected. */
export function isBusy(screen: Screen): boolean {
  return (
    screen.at === "signed_in" && ["sending", "confirming"].includes(screen.account.transfer.at)
  );
}

/** What concerns a confirmation while there is one. Who is signed in, and signing out, concern the page. */
const OF_CONFIRMATION = new Set<Event["type"]>([
  "told",
  "line",
  "gone",
  "silence",
  "opened_again",
  "unreachable",
  "retry",
  "refused",
  "cancelled",
  "stepped_up",
]);

const OF_TRANSFER = new Set<string>([
  "order",
  "asked",
  "transferred",
  "not_transferred",
  "balance",
  "look_again",
] satisfies TransferEvent["type"][]);

function isOfTransfer(event: PageEvent): event is TransferEvent {
  return OF_TRANSFER.has(event.type);
}

function stepAccount(screen: SignedIn, event: TransferEvent): Account {
  const { account } = screen;
  const { transfer } = account;
  switch (event.type) {
    case "order": {
      // One at a time: a second press on the button is not a second order.
      if (transfer.at !== "form" && transfer.at !== "done") return account;
      const order = { to: event.to, amount: event.amount, sessionId: screen.session.session_id };
      return withTransfer(screen, { at: "sending", order, confirmed: null });
    }
    case "asked": {
      if (transfer.at !== "sending") return account;
      const { order } = transfer;
      // Approved, and asked for again: once more would go round in a circle.
      if (transfer.confirmed !== null)
        return withTransfer(screen, { at: "form", order, note: { kind: "not_accepted" } });
      return withTransfer(screen, { at: "confirming", order, login: waitingFor(event.challenge) });
    }
    case "transferred": {
      if (transfer.at !== "sending") return account;
      const { receipt, balance } = event;
      const looking = balance === null ? "asking" : "known";
      return { balance: balance ?? account.balance, looking, transfer: { at: "done", receipt } };
    }
    case "not_transferred": {
      if (transfer.at !== "sending") return account;
      const { order } = transfer;
      const told = withTransfer(screen, { at: "form", order, note: event.note });
      const may_be_old = event.note.kind === "unknown" || event.note.kind === "elsewhere";
      return may_be_old ? { ...told, looking: "asking" } : told;
    }
    case "balance":
      return event.balance === null
        ? { ...account, looking: "away" }
        : { ...account, balance: event.balance, looking: "known" };
    case "look_again":
      return account.looking === "away" ? { ...account, looking: "asking" } : account;
  }
}

/** What a step of the confirmation means for the order. It keeps its values, whatever comes of it. */
function follow(order: Order, login: Screen, event: Event): Transfer {
  switch (login.at) {
    case "waiting":
    case "approved":
    case "completing":
    case "unreachable":
      return { at: "confirming", order, login };
    case "denied":
    case "expired":
      return { at: "form", order, note: { kind: login.at, reason: login.reason } };
    default:
      return {
        at: "form",
        order,
        note: { kind: event.type === "cancelled" ? "cancelled" : "gone" },
      };
  }
}

function withTransfer({ account }: SignedIn, transfer: Transfer): Account {
  return { ...account, transfer };
}

function withAccount(screen: SignedIn, account: Account): Screen {
  return account === screen.account ? screen : { ...screen, account };
}

/** Whether a yes in the wallet will be asked for. */
export const isLarge = (amount: number | null): boolean => amount !== null && amount >= LARGE;
