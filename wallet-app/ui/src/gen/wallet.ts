// Generated from wallet-app/core/src/desk; refresh with `cargo xtask codegen`.

export type FaultCode = "wrong_passphrase" | "passphrase_too_short" | "vault_damaged" | "vault_newer" | "vault_exists" | "locked" | "keychain_unavailable" | "disk_full" | "disk" | "bad_name" | "name_taken" | "bad_gateway" | "gateway_unreachable" | "handle_taken" | "bad_handle" | "wrong_words" | "unknown_request" | "unknown_session" | "number_missing" | "wrong_number" | "bad_value" | "not_ours" | "bad_link" | "already_claimed" | "other_identity" | "did_retired" | "rate_limited" | "unanswered" | "refused" | "too_late" | "internal";
export type Fault = { 
/**
 * For the page's own words.
 */
code: FaultCode, 
/**
 * What happened, in English.
 */
message: string, 
/**
 * What to do, in English.
 */
hint: string | null, 
/**
 * A file of the person's that was set aside: where it is now.
 */
path?: string, };
export type Stage = "first_run" | "locked" | "open" | "damaged" | "newer";
export type Lid = "passphrase" | "keychain";
export type ConnectionState = "idle" | "connecting" | "connected" | "disconnected" | "stopped";
export type Connection = { 
/**
 * In one word.
 */
state: ConnectionState, 
/**
 * Why, where it is away.
 */
reason?: string, };
export type Gateway = { 
/**
 * The pair of identity and gateway, for commands.
 */
wallet: string, 
/**
 * Its name.
 */
issuer: string, 
/**
 * What one types on a login page there.
 */
handle: string | null, 
/**
 * How it stands.
 */
connection: Connection, };
export type Identity = { 
/**
 * What the person calls it.
 */
name: string, 
/**
 * Its DID.
 */
did: string, 
/**
 * The DID, short enough for a line.
 */
short: string, 
/**
 * Where it is enrolled.
 */
gateways: Array<Gateway>, 
/**
 * Since when it is over.
 */
retired_at: string | null, 
/**
 * Whether its owner has shown that they have its recovery sheet; the page reminds them while not.
 */
sheet_kept: boolean, };
export type Service = { 
/**
 * Its `client_id`.
 */
id: string, 
/**
 * Its name, which is the service's own word.
 */
name: string, };
export type Standing = "pending" | "approved";
export type Binding = "addressed" | "linked";
export type Risk = "normal" | "step_up";
export type Request = { 
/**
 * Identity and gateway.
 */
wallet: string, 
/**
 * Which.
 */
challenge_id: string, 
/**
 * Of the request's exact text; a decision names it.
 */
digest: string, 
/**
 * Who is asked.
 */
identity: string, 
/**
 * Through whom.
 */
gateway: string, 
/**
 * Where it stands.
 */
standing: Standing, 
/**
 * Who asks.
 */
service: Service, 
/**
 * How it is tied to the browser.
 */
binding: Binding, 
/**
 * What the service says about it.
 */
binding_message: string | null, 
/**
 * What it wants to be allowed.
 */
scopes: Array<string>, 
/**
 * What it wants to know.
 */
claims: Array<string>, 
/**
 * How much hangs on it.
 */
risk: Risk, 
/**
 * Since when the session of a step-up is there; absent where this wallet does not know the session.
 */
session_since: string | null, 
/**
 * The browser, as it calls itself.
 */
user_agent: string | null, 
/**
 * From where.
 */
ip: string | null, 
/**
 * Since when.
 */
created_at: string, 
/**
 * How long it can be answered, in milliseconds from when this view was drawn.
 */
expires_in_ms: number, 
/**
 * Approved and linked: the browser can be opened again.
 */
return_to: boolean, };
export type Link = { 
/**
 * For commands.
 */
id: string, 
/**
 * Through whom.
 */
gateway: string, 
/**
 * Which identities could take it.
 */
identities: Array<string>, };
export type Session = { 
/**
 * Identity and gateway.
 */
wallet: string, 
/**
 * Which.
 */
session_id: string, 
/**
 * Whose.
 */
identity: string, 
/**
 * Through whom.
 */
gateway: string, 
/**
 * Where.
 */
service: Service, 
/**
 * What was allowed.
 */
scopes: Array<string>, 
/**
 * Names of what was shared.
 */
claims: Array<string>, 
/**
 * Since when.
 */
created_at: string, 
/**
 * When it was renewed last.
 */
last_used_at: string, 
/**
 * At the latest.
 */
expires_at: string, };
export type RuleKind = "one_click" | "prefill";
export type Rule = { 
/**
 * Identity and gateway.
 */
wallet: string, 
/**
 * For which service.
 */
service_id: string, 
/**
 * Its name when the rule was made.
 */
service_name: string, 
/**
 * What it does.
 */
kind: RuleKind, 
/**
 * For no more than these.
 */
scopes: Array<string>, 
/**
 * For no more than these.
 */
claims: Array<string>, 
/**
 * Until when.
 */
until: string, 
/**
 * How often it was used.
 */
used: number, 
/**
 * When last.
 */
last_used_at: string | null, };
export type Mute = { 
/**
 * Identity and gateway.
 */
wallet: string, 
/**
 * Which service.
 */
service_id: string, 
/**
 * Its name.
 */
service_name: string, 
/**
 * Until when.
 */
until: string, };
export type Settings = { 
/**
 * `system`, `en` or `ko`.
 */
language: "system" | "en" | "ko", 
/**
 * `system`, `light` or `dark`.
 */
theme: "system" | "light" | "dark", 
/**
 * In percent.
 */
text_size: 100 | 115 | 130 | 150, 
/**
 * Minutes without the person until it locks; 0 is never.
 */
lock_after_min: number, 
/**
 * Whether the desktop is told that somebody asks.
 */
notifications: boolean, 
/**
 * Whether it starts with the desktop.
 */
start_at_login: boolean, };
export type View = { 
/**
 * Which page stands before all others.
 */
stage: Stage, 
/**
 * What is wrong with the vault's file, while `damaged` or `newer`; or with the settings' file.
 */
fault: Fault | null, 
/**
 * What opens the vault; absent where there is none.
 */
sealed_by: Lid | null, 
/**
 * Whether this desktop has a keychain that answers.
 */
keychain: boolean, 
/**
 * Whether this desktop shows a tray; without one the window stays.
 */
tray: boolean, 
/**
 * What a new identity is enrolled with where the person names nothing else.
 */
default_gateway: string, 
/**
 * Who lives here. While locked: names and DIDs alone, as the file says them in the clear.
 */
identities: Array<Identity>, 
/**
 * Pending and approved, newest first, over all identities.
 */
requests: Array<Request>, 
/**
 * How many requests wait while it is locked; nothing else is said about them.
 */
unseen: number, 
/**
 * How many opened links wait until it is open; nothing else is said about them. None while open: then they
 * are in `links`.
 */
links_waiting: number, 
/**
 * Opened links that ask “Continue?”.
 */
links: Array<Link>, 
/**
 * Live sessions, newest first, over all identities.
 */
sessions: Array<Session>, 
/**
 * What is answered, or filled in, without asking.
 */
rules: Array<Rule>, 
/**
 * Services that stay quiet for a while.
 */
mutes: Array<Mute>, 
/**
 * The person's choices.
 */
settings: Settings, };
export type Notice = { 
/**
 * What: `signed_in`, `denied`, `expired`, `other_browser`, `confirmed`, `not_confirmed`, `one_click`,
 * `session_ended`, …
 */
kind: string, 
/**
 * Whose service.
 */
service?: string, 
/**
 * Which identity.
 */
identity?: string, 
/**
 * Why; for `not_ours` the gateway's address, as text.
 */
reason?: string, };
export type NewIdentity = { 
/**
 * What the person calls it.
 */
name: string, 
/**
 * What seals the vault.
 */
passphrase: string | null, 
/**
 * Whether the keychain does.
 */
keychain: boolean, 
/**
 * Where it is enrolled.
 */
gateway: string, 
/**
 * The words of a recovery sheet; absent for a new one.
 */
words?: string, };
export type RecoverySheet = { 
/**
 * What the person calls it.
 */
name: string, 
/**
 * Its DID.
 */
did: string, 
/**
 * Where it is enrolled.
 */
gateways: Array<string>, 
/**
 * The key.
 */
words: Array<string>, 
/**
 * What ends it, per gateway.
 */
retire: Array<SheetRetire>, 
/**
 * When the sheet was made.
 */
made_at: string, };
export type SheetRetire = { 
/**
 * Where.
 */
gateway: string, 
/**
 * The signed statement.
 */
statement: string, };
export type SavedSheet = { 
/**
 * The file.
 */
path: string, };
export type HandleHeld = { 
/**
 * As the gateway writes it.
 */
handle: string | null, };
export type Field = { 
/**
 * Its name.
 */
name: string, 
/**
 * What it says.
 */
value: string, };
export type Fields = { 
/**
 * The usual ones first.
 */
fields: Array<Field>, };
export type ProposedClaim = { 
/**
 * Its name.
 */
name: string, 
/**
 * What the profile says.
 */
value: string | null, 
/**
 * Whether it is ticked.
 */
ticked: boolean, };
export type Proposal = { 
/**
 * In the order in which the service asks.
 */
claims: Array<ProposedClaim>, 
/**
 * Whether the person has signed in there before.
 */
known_service: boolean, };
export type RuleWish = { 
/**
 * What it does.
 */
kind: RuleKind, 
/**
 * For how long.
 */
days: number, };
export type Yes = { 
/**
 * Which text was shown: the request's own digest.
 */
digest?: string, 
/**
 * The number that was typed.
 */
match_code: string | null, 
/**
 * What is allowed.
 */
scopes: Array<string>, 
/**
 * What is shared: names and values.
 */
share: { [key in string]: string }, 
/**
 * Names whose values go into the profile, too.
 */
remember?: Array<string>, 
/**
 * A rule for this service from now on.
 */
rule?: RuleWish, };
export type Approved = { 
/**
 * Where the request stands.
 */
status: string, 
/**
 * Whether the browser was opened.
 */
return_to: boolean, };
export type Ended = { 
/**
 * How many.
 */
ended: number, };
export type Claimed = { 
/**
 * Identity and gateway.
 */
wallet: string, 
/**
 * Which.
 */
challenge_id: string, };
export type HistoryQuery = { 
/**
 * Any part of a name; empty is everything.
 */
query: string, 
/**
 * One identity's only.
 */
identity?: string, 
/**
 * Older than the entry of this id.
 */
before?: string, 
/**
 * How many at most.
 */
limit: number, };
export type HistoryEntry = { 
/**
 * For the next page.
 */
id: string, 
/**
 * When.
 */
at: string, 
/**
 * Whose: the identity's name, or its short DID where it is not here any more.
 */
identity: string, 
/**
 * Where.
 */
gateway: string, 
/**
 * What.
 */
what: string, 
/**
 * Whose service.
 */
service_name?: string, 
/**
 * Its `client_id`.
 */
service_id?: string, 
/**
 * What a step-up was for, in the service's words; a sign-in has none.
 */
step_up?: string, 
/**
 * Why.
 */
reason?: string, 
/**
 * `done`, or why not.
 */
outcome: string, 
/**
 * Names of what was shared.
 */
shared: Array<string>, 
/**
 * What was signed.
 */
statement?: string, };
export type HistoryPage = { 
/**
 * Newest first.
 */
entries: Array<HistoryEntry>, 
/**
 * Whether there are older ones.
 */
more: boolean, };
export type ExportedHistory = { 
/**
 * The file.
 */
path: string, 
/**
 * How many entries.
 */
entries: number, };
