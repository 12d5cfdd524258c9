import type { RevokeReason } from "../../gen/protocol";
import type { Note, Wallet } from "../login";

/** A sentence with its heading. */
export interface Message {
  title: string;
  text: string;
}

/** `when` comes from `signedOut.when`, spaces included; empty where nobody knows. */
export type EndedWords = (service: string, when: string) => string;

export const en = {
  pageTitle: (state: string, service: string) => `${state} · ${service}`,
  looking: "One moment…",

  start: {
    title: "Sign in with your wallet",
    text: "No password: you approve in your wallet.",
    open: "Open in wallet",
    opening: "Opening…",
    or: "or",
    elsewhere: "Wallet on another computer?",
    label: "Your handle",
    hint: "The name you chose in your wallet",
    go: "Continue",
    going: "Asking…",
    empty: "Type your handle first.",
    malformed:
      "A handle has 3 to 32 letters (a–z), digits, - or _, with a letter or digit first and last.",
  },
  notes: {
    bad_handle: "That handle was not accepted. Check how you spell it in your wallet.",
    not_offered: "Opening the wallet from here is not offered. Type your handle instead.",
    refused:
      "The service turned this request down. Nothing was lost: reload the page and try again.",
    gone: "The earlier request is no longer there. Start again.",
    cookie_lost:
      "You approved, but this browser did not keep the sign-in. Allow cookies for this site, then start again.",
    not_continued: "Stopped. Nobody was signed in here.",
    left: "You are signed out.",
  } satisfies Record<Note, string>,

  waiting: {
    title: "Type this number in your wallet",
    text: "Your wallet will ask you for it.",
    number: (digits: string) => `Number: ${digits}`,
    left: (time: string) => `${time} left`,
    leftSpoken: (seconds: number) =>
      seconds >= 60 ? "One minute left" : `${seconds} seconds left`,
    over: "Time is up",
    cancel: "Cancel",
    sentTo: "Sent to",
    nothingThere: "Nothing there? Check that your wallet is open and the handle is yours.",
    takenBack: "You took your approval back. The number is still good.",
    lost: "Connection lost, reconnecting…",
    live: "Connected again",
  },
  linked: {
    asked: { title: "Look at your wallet", text: "It asks whether you want to continue." },
    silent: {
      title: "Did your wallet not open?",
      text: "Nothing is lost: open it again, or take the other way.",
    },
    claimed: {
      title: "Your wallet has it",
      text: "Read there who is asking for what, and approve.",
    },
  } satisfies Record<Wallet, Message>,
  linkedWays: {
    open: "Open in wallet",
    again: "Open again",
    restart: "Start again",
    handle: "Use a handle instead",
    get: "No wallet on this computer? The MiID README says how to get one.",
    takenBack: "You took your approval back. You can still approve.",
  },
  comingBack: {
    title: "Approved",
    text: "Your browser comes back here by itself.",
    as: "Approved by",
    help: "Nothing happens? Open the browser again from your wallet. If another browser opens, start again in that one.",
  },
  returning: {
    title: "Back from your wallet",
    text: "One moment…",
    as: "Approved by",
  },
  confirm: {
    short: "Continue?",
    title: (who: string) => `Continue as ${who}?`,
    text: "Another page led you here. Continue only if you have just approved in your own wallet.",
    go: "Continue",
    stop: "No, stop",
  },
  stopped: {
    title: "This sign-in was stopped",
    text: "Somebody began it in another browser, so nobody was signed in. If that was you, start again in this one.",
  },
  confirmed: {
    title: "Confirmed",
    text: "The tab where you began goes on by itself. You can close this one.",
    stay: "Show my page here",
  },
  lapsed: {
    title: "This way back no longer works",
    text: "The approval was taken back, ran out or was used already. Nobody was signed in by it. Start again.",
  },
  approved: {
    title: "You approved",
    text: "Signing you in…",
    cancel: "Cancel",
  },

  again: "Start again",
  denied: {
    declined: {
      title: "You said no in your wallet",
      text: "Nobody was signed in. If you meant yes, start again.",
    },
    wrong_match_code: {
      title: "The number did not match",
      text: "Your wallet was given another number, so nobody was signed in. Start again for a new one.",
    },
    other: {
      title: "The request was refused",
      text: "Nobody was signed in. Start again to send a new request.",
    },
  } satisfies Record<string, Message>,
  expired: {
    timeout: {
      title: "Time ran out",
      text: "Nobody approved in time, so nobody was signed in. Start again for a new request.",
    },
    code_timeout: {
      title: "Approved, but not finished",
      text: "You approved, but this page could not finish in time. Nobody was signed in. Start again.",
    },
    replaced: {
      title: "A newer request took over",
      text: "You started another sign-in in this browser. Go on there, or start again here.",
    },
    withdrawn: {
      title: "The request was cancelled",
      text: "Nobody was signed in. Start again when you are ready.",
    },
    other_browser: {
      title: "Stopped to keep you safe",
      text: "Somebody opened this sign-in in another browser, so it was stopped. Start again.",
    },
    session_ended: {
      title: "Your session has ended",
      text: "What waited for your approval ended with it, and nothing was done. Sign in again.",
    },
    other: {
      title: "The request has ended",
      text: "Nobody was signed in. Start again.",
    },
  } satisfies Record<string, Message>,

  crowded: {
    handle: {
      title: "Too many open requests",
      text: "Someone is asking for this handle a lot. “Open in wallet” still works.",
    },
    address: {
      title: "Too many tries",
      text: "Many sign-ins were started from your network just now. Nothing was lost.",
    },
    wait: (time: string) => `You can try again in ${time}.`,
    now: "You can try again now.",
    retry: "Try again",
    change: "Use another handle",
  },
  unreachable: {
    gateway: {
      title: "Sign-in is not answering",
      text: "Nothing was lost. This page keeps trying by itself.",
    },
    offline: {
      title: "You are offline",
      text: "Nothing was lost. This page goes on when the network is back.",
    },
    wait: (time: string) => `Next try in ${time}`,
    trying: "Trying…",
    now: "Try now",
    cancel: "Cancel",
  },

  signedIn: {
    title: (name: string | null) => (name ? `Signed in as ${name}` : "You are signed in"),
    short: "Signed in",
    text: "End it here or in your wallet, whenever you like.",
    identity: "Identity",
    copy: "Copy your identity",
    copied: "Copied",
    shared: (service: string) => `Shared with ${service}`,
    notShared: "not shared",
    session: "This session",
    since: "Since",
    until: "Ends by itself",
    leave: "Sign out",
    leaving: "Signing out…",
    leaveFailed: "The service did not answer. You are still signed in: try again.",
  },
  transfer: {
    balance: "Balance",
    looking: "…",
    away: "not answering",
    lookAgain: "Try again",
    title: "Transfer",
    to: "To",
    amount: "Amount",
    largeHint: (least: string) => `From ${least} on, your wallet asks you once more.`,
    smallHint: "Goes through while this page is connected.",
    send: "Send",
    sending: "Sending…",
    nameMissing: "Type who it is for.",
    nameBad: "A name has at most 40 characters, none of them hidden.",
    amountBad: "Type a whole number from 1 to 1,000,000.",

    asked: "Confirm in your wallet",
    what: (amount: string, to: string) => `Send ${amount} to ${to}`,
    number: "Type this number in your wallet",
    open: "Open in wallet",
    again: "Open again",
    restart: "Ask again",
    hint: {
      asked: "It asks once more, since this is a large amount. You stay signed in.",
      silent: "Did your wallet not open? Nothing was sent yet.",
      claimed: "Your wallet has it. Read there what it is about, and approve.",
    } satisfies Record<Wallet, string>,
    takenBack: "You took your approval back. You can still approve.",
    approved: "You approved. Sending it now…",
    comingBack: "You approved. Your browser comes back by itself…",
    comingBackHelp: "Nothing happens? Open the browser again from your wallet.",
    unreachable: "The service is not answering. Nothing was sent, and this page keeps trying.",
    cancel: "Cancel",

    done: (amount: string, to: string) => `Sent ${amount} to ${to}.`,
    notes: {
      invalid: "That cannot be sent. Check the name and the amount: nothing was sent.",
      funds: "That is more than your balance. Nothing was sent.",
      not_connected:
        "This only works while this page is connected, and it was not. Nothing was sent: try again in a moment.",
      crowded:
        "Too many requests wait for you already. Nothing was sent: answer them in your wallet, or try again later.",
      away: "The account is not answering. Nothing was sent: try again in a moment.",
      unknown:
        "No answer came, so it may have been sent. Look at your balance before you try again.",
      cancelled: "Cancelled. Nothing was sent.",
      gone: "The request is no longer there. Nothing was sent: send it again.",
      not_accepted: "Your approval did not count. Nothing was sent: send it again.",
      elsewhere: "Another tab went on with it. Look at your balance.",
      refused: "The service turned this down. Nothing was sent: reload the page and try again.",
    },
    denied: {
      declined: "You said no in your wallet. Nothing was sent.",
      wrong_match_code:
        "Your wallet was given another number. Nothing was sent: send it again for a new one.",
      other: "It was refused in the wallet. Nothing was sent.",
    } as Record<string, string>,
    expired: {
      timeout: "Nobody approved in time. Nothing was sent.",
      code_timeout: "You approved, but this page could not finish in time. Nothing was sent.",
      replaced: "You asked for another one meanwhile. This one was not sent.",
      withdrawn: "The request was cancelled. Nothing was sent.",
      other_browser:
        "Somebody opened this request in another browser, so it was stopped. Nothing was sent.",
      session_ended: "Your session has ended. Nothing was sent.",
      other: "The request has ended. Nothing was sent.",
    } as Record<string, string>,
  },
  claims: {
    name: "Name",
    email: "E-mail",
    nickname: "Nickname",
    phone: "Phone",
  } as Record<string, string>,

  signedOut: {
    title: "You are signed out",
    again: "Sign in again",
    when: (time: string, today: boolean) => (today ? ` at ${time}` : ` on ${time}`),
    why: {
      user: (_, when) => `You ended this session in your wallet${when}.`,
      retired: (_, when) =>
        `You retired this identity in your wallet${when}. It signs in nowhere any more.`,
      service: (service, when) => `This session was ended at ${service}${when}.`,
      superseded: (_, when) =>
        `You signed in somewhere else${when}, and only one session lives at a time.`,
      expired: (_, when) => `This session reached its end${when}.`,
      admin: (_, when) => `An operator ended this session${when}.`,
      refresh_reuse: (_, when) =>
        `This session was ended to keep you safe${when}: one of its keys was used twice.`,
      code_reuse: (_, when) =>
        `This session was ended to keep you safe${when}: its sign-in was used twice.`,
      other: (_, when) => `This session has ended${when}.`,
    } satisfies Record<RevokeReason | "other", EndedWords>,
  },
};
