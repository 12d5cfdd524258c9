// The one seam between this page and the core behind it. What implements it stands behind
// `#bridge`: the shell (tauri.ts), or a play of it in tests.

import type {
  Approved,
  Claimed,
  Ended,
  ExportedHistory,
  Fault,
  Fields,
  HandleHeld,
  HistoryPage,
  HistoryQuery,
  Identity,
  NewIdentity,
  Notice,
  Proposal,
  RecoverySheet,
  SavedSheet,
  Settings,
  Show,
  View,
  Yes,
} from "./types";

/** A request, as commands name it. */
interface Which {
  wallet: string;
  challenge_id: string;
}

/** A request as it was shown: where its text is another one by now, nothing is decided. */
interface Shown extends Which {
  digest: string;
}

/** Every command: what it takes and what it gives. */
export interface Commands {
  view: [void, View];
  create_identity: [Omit<NewIdentity, "words">, Identity];
  restore_identity: [NewIdentity & { words: string }, Identity];
  unlock: [{ passphrase: string | null }, void];
  lock: [void, void];
  /** The person is there: the time until it locks begins anew. */
  touch: [void, void];
  quit: [void, void];
  recovery_sheet: [{ identity: string; passphrase: string | null }, RecoverySheet];
  /** The person has shown that they have the sheet: no reminder of it any more. */
  keep_sheet: [{ identity: string }, void];
  save_sheet: [{ identity: string; passphrase: string | null }, SavedSheet];
  set_handle: [{ wallet: string; handle: string | null }, HandleHeld];
  profile: [{ identity: string }, Fields];
  set_profile: [{ identity: string; fields: Record<string, string> }, Fields];
  proposal: [Which, Proposal];
  approve: [Shown & Yes, Approved];
  deny: [Shown & { reason: "declined" | "not_me"; mute_minutes?: number }, void];
  cancel: [Which, void];
  open_return: [Which, void];
  continue_link: [{ id: string; identity: string }, Claimed];
  drop_link: [{ id: string }, void];
  end_session: [{ wallet: string; session_id: string }, void];
  end_all_sessions: [void, Ended];
  history: [HistoryQuery, HistoryPage];
  export_history: [void, ExportedHistory];
  remove_rule: [{ wallet: string; service_id: string }, void];
  unmute: [{ wallet: string; service_id: string }, void];
  retire: [{ identity: string; passphrase: string | null; confirm: string }, Ended];
  /** The passphrase only where the vault has one, and the identity is not retired. */
  remove_identity: [{ identity: string; passphrase: string | null; confirm: string }, void];
  set_settings: [Partial<Settings>, void];
  refresh: [void, void];
  copy: [{ text: string }, void];
}
export type Command = keyof Commands;

/** What the shell pushes. */
export interface Events {
  view: View;
  notice: Notice;
  show: Show;
}

export interface Bridge {
  call<C extends Command>(
    command: C,
    ...args: Commands[C][0] extends void ? [] : [Commands[C][0]]
  ): Promise<Commands[C][1]>;
  /** Resolves once nothing can be missed any more. */
  on<E extends keyof Events>(event: E, hear: (said: Events[E]) => void): Promise<unknown>;
}

/** Whatever a call rejects with, as a fault: a broken bridge must not break the page. */
export function faultOf(thrown: unknown): Fault {
  if (typeof thrown === "object" && thrown !== null && "code" in thrown) {
    const { code, message, hint, path } = thrown as Record<string, unknown>;
    if (typeof code === "string") {
      return {
        code,
        message: typeof message === "string" ? message : "",
        hint: typeof hint === "string" ? hint : null,
        ...(typeof path === "string" ? { path } : {}),
      };
    }
  }
  return { code: "internal", message: typeof thrown === "string" ? thrown : "", hint: null };
}
