//! What a window draws: one object, built anew whenever something changed. Plain text and plain numbers, with
//! nothing secret in it; `wallet-app/ui/src/gen/wallet.ts` is made from this module and from its neighbours.

use serde::{Deserialize, Serialize};

use super::fault::Told;

/// Everything there is to draw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct View {
    /// Which page stands before all others.
    pub stage: Stage,
    /// What is wrong with the vault's file, while `damaged` or `newer`; or with the settings' file.
    pub fault: Option<Told>,
    /// What opens the vault; absent where there is none.
    pub sealed_by: Option<Lid>,
    /// Whether this desktop has a keychain that answers.
    pub keychain: bool,
    /// Whether this desktop shows a tray; without one the window stays.
    pub tray: bool,
    /// What a new identity is enrolled with where the person names nothing else.
    pub default_gateway: String,
    /// Who lives here. While locked: names and DIDs alone, as the file says them in the clear.
    pub identities: Vec<Identity>,
    /// Pending and approved, newest first, over all identities.
    pub requests: Vec<Request>,
    /// How many requests wait while it is locked; nothing else is said about them.
    pub unseen: u32,
    /// How many opened links wait until it is open; nothing else is said about them. None while open: then they
    /// are in `links`.
    pub links_waiting: u32,
    /// Opened links that ask “Continue?”.
    pub links: Vec<Link>,
    /// Live sessions, newest first, over all identities.
    pub sessions: Vec<Session>,
    /// What is answered, or filled in, without asking.
    pub rules: Vec<Rule>,
    /// Services that stay quiet for a while.
    pub mutes: Vec<Mute>,
    /// The person's choices.
    pub settings: Settings,
}

/// Which page stands before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// No vault yet.
    FirstRun,
    /// There is one, and it is closed.
    Locked,
    /// It is open.
    Open,
    /// It cannot be read; it was set aside.
    Damaged,
    /// A later program wrote it.
    Newer,
}

/// What opens a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Lid {
    /// What the person types.
    Passphrase,
    /// The desktop's keychain.
    Keychain,
}

/// How it stands with a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Connection {
    /// In one word.
    pub state: ConnectionState,
    /// Why, where it is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub reason: Option<String>,
}

/// How it stands with a gateway, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Nothing is followed.
    Idle,
    /// On the way.
    Connecting,
    /// The stream is open.
    Connected,
    /// Away; the next attempt is made by itself.
    Disconnected,
    /// No further attempts.
    Stopped,
}

/// Somebody who lives here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Identity {
    /// What the person calls it.
    pub name: String,
    /// Its DID.
    pub did: String,
    /// The DID, short enough for a line.
    pub short: String,
    /// Where it is enrolled.
    pub gateways: Vec<Gateway>,
    /// Since when it is over.
    pub retired_at: Option<String>,
    /// Whether its owner has shown that they have its recovery sheet; the page reminds them while not.
    pub sheet_kept: bool,
}

/// Where an identity is enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Gateway {
    /// The pair of identity and gateway, for commands.
    pub wallet: String,
    /// Its name.
    pub issuer: String,
    /// What one types on a login page there.
    pub handle: Option<String>,
    /// How it stands.
    pub connection: Connection,
}

/// A service, as the gateway names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Service {
    /// Its `client_id`.
    pub id: String,
    /// Its name, which is the service's own word.
    pub name: String,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Waits for the person.
    Pending,
    /// Approved; waits for the service.
    Approved,
}

/// How a request is tied to the browser that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// By a number that the person types.
    Addressed,
    /// By a link on this computer.
    Linked,
}

/// How much hangs on a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// A sign-in.
    Normal,
    /// To confirm something in a session that is there: nobody is signed in by it, and nothing is shared.
    StepUp,
}

/// Somebody asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Request {
    /// Identity and gateway.
    pub wallet: String,
    /// Which.
    pub challenge_id: String,
    /// Of the request's exact text; a decision names it.
    pub digest: String,
    /// Who is asked.
    pub identity: String,
    /// Through whom.
    pub gateway: String,
    /// Where it stands.
    pub standing: Standing,
    /// Who asks.
    pub service: Service,
    /// How it is tied to the browser.
    pub binding: Binding,
    /// What the service says about it.
    pub binding_message: Option<String>,
    /// What it wants to be allowed.
    pub scopes: Vec<String>,
    /// What it wants to know.
    pub claims: Vec<String>,
    /// How much hangs on it.
    pub risk: Risk,
    /// Since when the session of a step-up is there; absent where this wallet does not know the session.
    pub session_since: Option<String>,
    /// The browser, as it calls itself.
    pub user_agent: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// Since when.
    pub created_at: String,
    /// How long it can be answered, in milliseconds from when this view was drawn.
    #[cfg_attr(feature = "typescript", ts(as = "u32"))]
    pub expires_in_ms: u64,
    /// Approved and linked: the browser can be opened again.
    pub return_to: bool,
}

/// A link that was opened and asks “Continue?”.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Link {
    /// For commands.
    pub id: String,
    /// Through whom.
    pub gateway: String,
    /// Which identities could take it.
    pub identities: Vec<String>,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Session {
    /// Identity and gateway.
    pub wallet: String,
    /// Which.
    pub session_id: String,
    /// Whose.
    pub identity: String,
    /// Through whom.
    pub gateway: String,
    /// Where.
    pub service: Service,
    /// What was allowed.
    pub scopes: Vec<String>,
    /// Names of what was shared.
    pub claims: Vec<String>,
    /// Since when.
    pub created_at: String,
    /// When it was renewed last.
    pub last_used_at: String,
    /// At the latest.
    pub expires_at: String,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Approves a linked request without asking.
    OneClick,
    /// Fills in what is shared, no more.
    Prefill,
}

/// What is answered, or filled in, without asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Rule {
    /// Identity and gateway.
    pub wallet: String,
    /// For which service.
    pub service_id: String,
    /// Its name when the rule was made.
    pub service_name: String,
    /// What it does.
    pub kind: RuleKind,
    /// For no more than these.
    pub scopes: Vec<String>,
    /// For no more than these.
    pub claims: Vec<String>,
    /// Until when.
    pub until: String,
    /// How often it was used.
    pub used: u32,
    /// When last.
    pub last_used_at: Option<String>,
}

/// A service that stays quiet for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Mute {
    /// Identity and gateway.
    pub wallet: String,
    /// Which service.
    pub service_id: String,
    /// Its name.
    pub service_name: String,
    /// Until when.
    pub until: String,
}

/// The person's choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Settings {
    /// `system`, `en` or `ko`.
    #[cfg_attr(feature = "typescript", ts(type = "\"system\" | \"en\" | \"ko\""))]
    pub language: String,
    /// `system`, `light` or `dark`.
    #[cfg_attr(feature = "typescript", ts(type = "\"system\" | \"light\" | \"dark\""))]
    pub theme: String,
    /// In percent.
    #[cfg_attr(feature = "typescript", ts(type = "100 | 115 | 130 | 150"))]
    pub text_size: u32,
    /// Minutes without the person until it locks; 0 is never.
    pub lock_after_min: u32,
    /// Whether the desktop is told that somebody asks.
    pub notifications: bool,
    /// Whether it starts with the desktop.
    pub start_at_login: bool,
}

/// Something to say in passing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Notice {
    /// What: `signed_in`, `denied`, `expired`, `other_browser`, `confirmed`, `not_confirmed`, `one_click`,
    /// `session_ended`, …
    pub kind: String,
    /// Whose service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub service: Option<String>,
    /// Which identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub identity: Option<String>,
    /// Why; for `not_ours` the gateway's address, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub reason: Option<String>,
}
