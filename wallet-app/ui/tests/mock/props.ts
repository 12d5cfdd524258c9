// What the play is played with: identities, requests, sessions and the rest, as the core would say
// them.

import type {
  HistoryEntry,
  Field,
  Identity,
  Request,
  Rule,
  Session,
  RecoverySheet,
  View,
} from "../../src/lib/types";

export const GATEWAY = "https://id.miid.example";

/** `s` seconds ago. */
export const ago = (s: number) => new Date(Date.now() - s * 1_000).toISOString();

const DIDS = [
  "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
  "did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH",
  "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw",
];

export function identity(name: string, issuer = GATEWAY, at = 0): Identity {
  const did = DIDS[at % DIDS.length]!;
  return {
    name,
    did,
    short: `${did.slice(8, 16)}…${did.slice(-6)}`,
    gateways: [
      { wallet: `${did}@${issuer}`, issuer, handle: null, connection: { state: "connected" } },
    ],
    retired_at: null,
    sheet_kept: true,
  };
}

export function alice(): Identity {
  const one = identity("Alice");
  one.gateways[0]!.handle = "alice";
  return one;
}

let made = 0;
const id = () => `019a9f3e-0000-7000-8000-${String(++made).padStart(12, "0")}`;

export function request(part: Partial<Request> = {}): Request {
  return {
    wallet: `${DIDS[0]}@${GATEWAY}`,
    challenge_id: id(),
    digest: String(made).padStart(43, "A"),
    identity: "Alice",
    gateway: GATEWAY,
    standing: "pending",
    service: { id: "demo-shop", name: "Demo Shop" },
    binding: "addressed",
    binding_message: "Sign in to Demo Shop",
    scopes: ["profile", "email"],
    claims: ["name", "email"],
    risk: "normal",
    session_since: null,
    user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ip: "192.0.2.7",
    created_at: ago(20),
    expires_in_ms: 250_000,
    return_to: false,
    ...part,
  };
}

export function session(name: string, s: number, part: Partial<Session> = {}): Session {
  return {
    wallet: `${DIDS[0]}@${GATEWAY}`,
    session_id: id(),
    identity: "Alice",
    gateway: GATEWAY,
    service: { id: name.toLowerCase().replaceAll(" ", "-"), name },
    scopes: ["profile"],
    claims: ["name"],
    created_at: ago(s),
    last_used_at: ago(s / 2),
    expires_at: ago(s - 30 * 86_400),
    ...part,
  };
}

export const sessions = (): Session[] => [
  session("Demo Shop", 40),
  session("Harbour Library", 1_500, { claims: ["name", "email"] }),
  session("Stadtwerke", 3 * 86_400, { claims: [] }),
];

export const rule = (part: Partial<Rule> = {}): Rule => ({
  wallet: `${DIDS[0]}@${GATEWAY}`,
  service_id: "demo-shop",
  service_name: "Demo Shop",
  kind: "one_click",
  scopes: ["profile"],
  claims: ["name"],
  until: ago(-20 * 86_400),
  used: 4,
  last_used_at: ago(7_200),
  ...part,
});

export const fields = (): Field[] => [
  { name: "name", value: "Alice Kim" },
  { name: "email", value: "alice@example.com" },
];

export function open(part: Partial<View> = {}): View {
  return {
    stage: "open",
    fault: null,
    sealed_by: "passphrase",
    keychain: true,
    tray: true,
    default_gateway: GATEWAY,
    identities: [alice()],
    requests: [],
    unseen: 0,
    links: [],
    links_waiting: 0,
    sessions: [],
    rules: [],
    mutes: [],
    settings: {
      language: "system",
      theme: "system",
      text_size: 100,
      lock_after_min: 15,
      notifications: true,
      start_at_login: false,
    },
    ...part,
  };
}

export const firstRun = (part: Partial<View> = {}): View =>
  open({ stage: "first_run", sealed_by: null, identities: [], ...part });

const WORDS =
  "harbor lantern velvet orbit cactus maple thunder puzzle window silver ocean ladder " +
  "garden pencil rocket walnut breeze copper anchor meadow violin saddle tunnel ripple";

export const sheet = (name: string): RecoverySheet => ({
  name,
  did: DIDS[0]!,
  gateways: [GATEWAY],
  words: WORDS.split(" "),
  retire: [{ gateway: GATEWAY, statement: statement({ decision: "retire", aud: GATEWAY }) }],
  made_at: ago(0),
});

function b64(value: unknown): string {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function statement(part: Record<string, unknown> = {}): string {
  const header = { alg: "EdDSA", typ: "miid-statement+jwt", kid: `${DIDS[0]}#key` };
  const payload = {
    iss: DIDS[0],
    sub: DIDS[0],
    aud: "demo-shop",
    gateway: GATEWAY,
    jti: "b1f0",
    decision: "approve",
    challenge_id: "019a9f3e-0000-7000-8000-000000000001",
    match_code: "47",
    scopes: ["profile", "email"],
    disclosure: "q1Zk",
    iat: Math.floor(Date.now() / 1000) - 40,
    ...part,
  };
  return `${b64(header)}.${b64(payload)}.${"A".repeat(86)}`;
}

export function entries(): HistoryEntry[] {
  const entry = (what: string, s: number, part: Partial<HistoryEntry> = {}): HistoryEntry => ({
    id: id(),
    at: ago(s),
    identity: "Alice",
    gateway: GATEWAY,
    what,
    service_name: "Demo Shop",
    service_id: "demo-shop",
    outcome: "done",
    shared: [],
    ...part,
  });
  const midnight = (Date.now() - new Date().setHours(0, 0, 0, 0)) / 1_000;
  return [
    entry("signed_in", 38, { shared: ["name"] }),
    entry("approved", 40, { shared: ["name"], statement: statement() }),
    entry("confirmed", 200, { step_up: "Transfer 250 to Bob" }),
    entry("approved", 205, {
      step_up: "Transfer 250 to Bob",
      statement: statement({ match_code: undefined, disclosure: undefined }),
    }),
    entry("expired", 400, { step_up: "Transfer 9000 to Mallory", reason: "session_ended" }),
    entry("denied", 600, {
      reason: "not_me",
      service_name: "Harbour Library",
      statement: statement({ decision: "deny", reason: "not_me", aud: "harbour-library" }),
    }),
    entry("session_ended", midnight + 3_600, { reason: "superseded" }),
    entry("approved", midnight + 7_200, { outcome: "unanswered", statement: statement() }),
    entry("revoked", midnight + 5 * 86_400, { statement: statement({ decision: "revoke" }) }),
    entry("expired", midnight + 5 * 86_400 + 900, { reason: "other_browser" }),
  ];
}
