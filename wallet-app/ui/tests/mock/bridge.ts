// A play of the core, for pictures, behaviours and `npm run dev`: it holds a View, changes it as the
// commands say and pushes it. `window.play` is how a scene sets the stage.

import type { Bridge, Command, Commands, Events } from "../../src/lib/bridge";
import type {
  HistoryEntry,
  Field,
  Identity,
  Proposal,
  Request,
  RecoverySheet,
  View,
} from "../../src/lib/types";
import * as props from "./props";

type Heard = { [E in keyof Events]: Array<(said: Events[E]) => void> };

let view: View = props.open();
const heard: Heard = { view: [], notice: [], show: [] };
const answers = new Map<Command, unknown>();
const calls: Array<[Command, unknown]> = [];
let entries: HistoryEntry[] = [];
let fields: Field[] = props.fields();

function push<E extends keyof Events>(event: E, said: Events[E]): void {
  // As over a wire: what the page gets is a copy.
  for (const hear of heard[event]) hear(structuredClone(said));
}

function change(part: Partial<View>): void {
  view = { ...view, ...part };
  push("view", view);
}

function patch(id: string, part: Partial<Request> | null): void {
  const requests = view.requests.flatMap((request) => {
    if (request.challenge_id !== id) return [request];
    return part === null ? [] : [{ ...request, ...part }];
  });
  change({ requests });
}

const service = (id: string) =>
  view.requests.find(({ challenge_id }) => challenge_id === id)?.service.name ?? "";

/** The request that was shown, or none: a decision about another text decides nothing. */
function shown({ challenge_id, digest }: { challenge_id: string; digest: string }): Request {
  const request = view.requests.find((one) => one.challenge_id === challenge_id);
  if (request?.digest !== digest) throw { code: "unknown_request", message: "", hint: null };
  return request;
}

const keepSheet = (name: string) =>
  change({
    identities: view.identities.map((one) =>
      one.name === name ? { ...one, sheet_kept: true } : one,
    ),
  });

type Play = { [C in Command]?: (args: never) => Commands[C][1] };

const plays: Play = {
  view: () => view,
  create_identity: ({ name, gateway, keychain }: Commands["create_identity"][0]) => {
    const identity = props.identity(name, gateway, view.identities.length);
    identity.sheet_kept = false;
    const sealed_by = view.sealed_by ?? (keychain ? "keychain" : "passphrase");
    change({ stage: "open", sealed_by, identities: [...view.identities, identity] });
    return identity;
  },
  restore_identity: ({ name, gateway }: Commands["restore_identity"][0]) => {
    const identity: Identity = props.identity(name, gateway, view.identities.length);
    identity.gateways[0]!.handle = "alice";
    change({ stage: "open", sealed_by: "passphrase", identities: [identity] });
    return identity;
  },
  unlock: () => change({ stage: "open", unseen: 0 }),
  lock: () => change({ stage: "locked", requests: [], sessions: [], rules: [], mutes: [] }),
  recovery_sheet: ({ identity }: { identity: string }): RecoverySheet => props.sheet(identity),
  keep_sheet: ({ identity }: { identity: string }) => keepSheet(identity),
  save_sheet: ({ identity }: { identity: string }) => {
    keepSheet(identity);
    return { path: "/home/alice/Documents/miid-recovery-alice.txt" };
  },
  set_handle: ({ wallet, handle }: Commands["set_handle"][0]) => {
    const identities = view.identities.map((identity) => ({
      ...identity,
      gateways: identity.gateways.map((gateway) =>
        gateway.wallet === wallet ? { ...gateway, handle } : gateway,
      ),
    }));
    change({ identities });
    return { handle };
  },
  profile: () => ({ fields }),
  set_profile: ({ fields: said }: Commands["set_profile"][0]) => {
    fields = Object.entries(said).map(([name, value]) => ({ name, value }));
    return { fields };
  },
  proposal: ({ challenge_id }: { challenge_id: string }): Proposal => {
    const request = view.requests.find((one) => one.challenge_id === challenge_id)!;
    const claims = request.claims.map((name) => {
      const value = fields.find((field) => field.name === name)?.value ?? null;
      return { name, value, ticked: name === "name" && value !== null };
    });
    return { claims, known_service: view.sessions.length > 0 };
  },
  approve: (said: Commands["approve"][0]) => {
    const { challenge_id, ...request } = shown(said);
    const return_to = request.binding === "linked";
    patch(challenge_id, { standing: "approved", return_to });
    return { status: "approved", return_to };
  },
  deny: (said: Commands["deny"][0]) => {
    const { challenge_id, service } = shown(said);
    push("notice", { kind: "denied", service: service.name });
    patch(challenge_id, null);
  },
  cancel: ({ challenge_id }: Commands["cancel"][0]) => {
    push("notice", { kind: "cancelled", service: service(challenge_id) });
    patch(challenge_id, { standing: "pending", return_to: false });
  },
  open_return: () => undefined,
  continue_link: ({ id, identity }: Commands["continue_link"][0]) => {
    const request = props.request({ binding: "linked", identity, created_at: props.ago(2) });
    change({
      links: view.links.filter((link) => link.id !== id),
      requests: [request, ...view.requests],
    });
    return { wallet: request.wallet, challenge_id: request.challenge_id };
  },
  drop_link: ({ id }: { id: string }) =>
    change({ links: view.links.filter((link) => link.id !== id) }),
  end_session: ({ session_id }: Commands["end_session"][0]) =>
    change({ sessions: view.sessions.filter((one) => one.session_id !== session_id) }),
  end_all_sessions: () => {
    const ended = view.sessions.length;
    change({ sessions: [] });
    return { ended };
  },
  history: ({ query, identity, before, limit }: Commands["history"][0]) => {
    const found = entries.filter(
      (entry) =>
        JSON.stringify(entry).toLowerCase().includes(query.toLowerCase()) &&
        (identity === undefined || entry.identity === identity),
    );
    const from = before === undefined ? 0 : found.findIndex(({ id }) => id === before) + 1;
    return { entries: found.slice(from, from + limit), more: found.length > from + limit };
  },
  export_history: () => ({
    path: "/home/alice/Documents/miid-history.json",
    entries: entries.length,
  }),
  remove_rule: ({ service_id }: { service_id: string }) =>
    change({ rules: view.rules.filter((rule) => rule.service_id !== service_id) }),
  unmute: ({ service_id }: { service_id: string }) =>
    change({ mutes: view.mutes.filter((mute) => mute.service_id !== service_id) }),
  retire: ({ identity }: { identity: string }) => {
    const identities = view.identities.map((one) =>
      one.name === identity ? { ...one, retired_at: new Date().toISOString() } : one,
    );
    const ended = view.sessions.length;
    change({ identities, sessions: [] });
    return { ended };
  },
  remove_identity: ({ identity }: { identity: string }) =>
    change({ identities: view.identities.filter(({ name }) => name !== identity) }),
  set_settings: (settings: Commands["set_settings"][0]) =>
    change({ settings: { ...view.settings, ...settings } }),
  refresh: () => undefined,
  touch: () => undefined,
  quit: () => undefined,
  copy: () => undefined,
};

export const bridge: Bridge = {
  async call(command, ...args) {
    calls.push([command, structuredClone(args[0] ?? null)]);
    await Promise.resolve();
    const answer = answers.get(command);
    if (answer === "never") return new Promise(() => undefined);
    if (typeof answer === "object" && answer !== null && "code" in answer) throw answer;
    if (answer !== undefined) return answer as never;
    const play = plays[command] as (args: unknown) => unknown;
    return structuredClone(play(args[0])) as never;
  },
  async on(event, hear) {
    (heard[event] as unknown[]).push(hear);
  },
};

/** How a scene sets the stage. */
const play = {
  props,
  calls,
  push,
  change,
  patch,
  view: () => view,
  /** From now on this command answers so; a fault where it has a `code`, `"never"` for silence. */
  answer: (command: Command, answer: unknown) => answers.set(command, answer),
  answerAsUsual: (command: Command) => answers.delete(command),
  history: (all: HistoryEntry[]) => (entries = all),
  profile: (all: Field[]) => (fields = all),
  fault: (code: string, message = code, path?: string) => ({
    code,
    message,
    hint: null,
    ...(path === undefined ? {} : { path }),
  }),
};
export type PlayOfCore = typeof play;
declare global {
  interface Window {
    play: PlayOfCore;
  }
}
window.play = play;
