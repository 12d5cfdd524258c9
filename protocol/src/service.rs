//! Bodies between a service and the gateway (section 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::did::Did;
use crate::ids::{ChallengeId, SessionId};
use crate::time::Timestamp;

/// How a challenge is tied to the browser that asked; fixed at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// To a person, by a hint; the person types the page's number.
    Addressed,
    /// To whoever opens the link; the exchange needs the response code from the same browser.
    Linked,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// A sign-in.
    #[default]
    Normal,
    /// A fresh approval for a session that exists.
    StepUp,
}

/// Where a challenge stands (section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChallengeStatus {
    /// Waiting for the person.
    Pending,
    /// The person said yes; the code waits to be exchanged.
    Approved,
    /// Exchanged: there is a session, or a step-up of one.
    Active,
    /// There was a session.
    Revoked,
    /// The person said no.
    Denied,
    /// Nobody answered in time, or it was given up.
    Expired,
}

impl ChallengeStatus {
    /// Whether nothing can follow for whoever waits for the sign-in.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Approved)
    }

    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// As on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
            /// From a store.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    /// Why a challenge was denied.
    DenyReason {
        /// The person said no.
        Declined "declined",
        /// The person did not begin this.
        NotMe "not_me",
        /// The number was wrong or missing.
        WrongMatchCode "wrong_match_code",
    }
}
reasons! {
    /// Why a challenge expired.
    ExpireReason {
        /// Nobody answered in time.
        Timeout "timeout",
        /// The code was not exchanged in time.
        CodeTimeout "code_timeout",
        /// The same browser began again.
        Replaced "replaced",
        /// The service gave it up.
        Withdrawn "withdrawn",
        /// The approval came back through another browser.
        OtherBrowser "other_browser",
        /// The session that a step-up was for ended.
        SessionEnded "session_ended",
    }
}
reasons! {
    /// Why a session was revoked.
    RevokeReason {
        /// The person ended it in the wallet.
        User "user",
        /// The service ended it.
        Service "service",
        /// The person signed in again.
        Superseded "superseded",
        /// A refresh token was used twice.
        RefreshReuse "refresh_reuse",
        /// An authorization code was used twice.
        CodeReuse "code_reuse",
        /// Its time was over.
        Expired "expired",
        /// The identity was retired.
        Retired "retired",
        /// The operator ended it.
        Admin "admin",
    }
}

/// Why a challenge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum EndReason {
    /// It was denied.
    Denied(DenyReason),
    /// It expired.
    Expired(ExpireReason),
}

impl EndReason {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.as_str(),
            Self::Expired(reason) => reason.as_str(),
        }
    }
}

/// `POST /v1/auth/challenge`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateChallenge {
    /// A DID or a handle; absent for a linked challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// Registered, byte for byte; linked only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// From the service's allowed list; of a step-up from the session's, all of which are meant where there are none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Names of what the service wants to know; none for a step-up.
    #[serde(default)]
    pub claims: Vec<String>,
    /// The service's own words, at most 140 characters; a step-up must have them, they say what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_message: Option<String>,
    /// PKCE (RFC 7636), base64url(SHA-256(verifier)).
    pub code_challenge: String,
    /// `S256`.
    pub code_challenge_method: String,
    /// Sign-in or step-up.
    #[serde(default)]
    pub risk: Risk,
    /// The session that a step-up is for, one of this service's that lives; with a step-up and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub step_up_session: Option<SessionId>,
    /// The browser, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The browser's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// An earlier challenge of the same browser, to end with `replaced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Whether this browser has signed in as this person before.
    #[serde(default)]
    pub known_browser: bool,
}

/// A challenge as its service sees it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Challenge {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub challenge_id: ChallengeId,
    /// Repeated in the statement.
    pub nonce: String,
    /// The request text that the person signs.
    pub request: String,
    /// Where it stands.
    pub status: ChallengeStatus,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// How it is tied to a browser.
    pub binding: Binding,
    /// Until when it can be answered.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// The number for the page; two digits; addressed only.
    pub match_code: Option<String>,
    /// What opens the wallet; linked only.
    pub wallet_link: Option<String>,
    /// A wallet has taken the link; by whom, only an approval says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// The code, while approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_code: Option<String>,
    /// Until when the code can be exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub code_expires_at: Option<Timestamp>,
    /// Who approved, while approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub did: Option<Did>,
}

impl std::fmt::Debug for Challenge {
    /// Without the code.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge")
            .field("challenge_id", &self.challenge_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/auth/challenges/{id}/withdraw`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Withdraw {
    /// A right one makes the reason `other_browser` (linked challenges).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_code: Option<String>,
}

/// `GET /v1/service/challenges`: what is pending or approved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChallengeList {
    /// Newest first.
    pub challenges: Vec<Challenge>,
}

/// One live session, as its service sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceSession {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session_id: SessionId,
    /// The person, at this service.
    pub sub: String,
    /// What was granted.
    pub scopes: Vec<String>,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// Last refresh.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub last_used_at: Timestamp,
    /// At the latest.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
}

/// `GET /v1/service/sessions?after=<session_id>`: what is live, a page at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceSessionList {
    /// Oldest first.
    pub sessions: Vec<ServiceSession>,
    /// Pass this as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub next: Option<SessionId>,
}

/// `POST /v1/token/exchange`, as JSON or as a form.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// `authorization_code` or `refresh_token`.
    #[serde(default)]
    pub grant_type: String,
    /// The authorization code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// PKCE (RFC 7636).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_verifier: Option<String>,
    /// What came back through the person's browser (linked challenges).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_code: Option<String>,
    /// The refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// What an exchange gives.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// A JWT (RFC 9068).
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// Seconds.
    pub expires_in: i64,
    /// For the next one; absent after a step-up, which leaves the session's own as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The session.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session_id: SessionId,
    /// When the session ends at the latest; nothing outlives it. A service that is not told assumes the
    /// default lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub session_expires_at: Option<Timestamp>,
    /// Space-separated.
    pub scope: String,
    /// The person, at this service: (`iss`, `sub`) finds the account, nothing else does.
    pub sub: String,
    /// The wallet.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub did: Did,
    /// What the person shared.
    pub claims: BTreeMap<String, String>,
    /// Always false: claims are self-attested.
    pub claims_verified: bool,
    /// The signed approval.
    pub statement: String,
    /// [`ACR_STEP_UP`] after a step-up, as in the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// NumericDate of the step-up's approval, as in the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

/// What `acr` says of a token that the person approved for itself.
pub const ACR_STEP_UP: &str = "step_up";

/// `POST /v1/token/introspect` and `/v1/token/revoke`, as JSON or as a form.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSubject {
    /// An access or a refresh token.
    #[serde(default)]
    pub token: String,
    /// RFC 7662; not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type_hint: Option<String>,
}

/// RFC 7662.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Introspection {
    /// Everything else is absent where this is false.
    pub active: bool,
    /// Space-separated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `access_token` or `refresh_token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// NumericDate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// NumericDate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// The person, at this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sid: Option<SessionId>,
    /// [`ACR_STEP_UP`] of an access token that a step-up gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// NumericDate of that step-up's approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

/// `GET /v1/userinfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserInfo {
    /// The person, at this service.
    pub sub: String,
    /// What the person shared.
    pub claims: BTreeMap<String, String>,
    /// Always false: claims are self-attested.
    pub claims_verified: bool,
}
/// `PUT /v1/service/presence`: which sessions have an open page or socket at one instance of a service. It
/// counts until the instance has not been heard of for [`PRESENCE_TTL_S`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresenceReport {
    /// The instance: 16 to 64 of a-z A-Z 0-9 _ -, random at each start.
    pub holder: String,
    /// Larger than in every report of this instance before: one that is late changes nothing any more.
    pub seq: i64,
    /// Whether what this instance said before is over: what is opened here is all there is.
    #[serde(default)]
    pub reset: bool,
    /// Sessions of which the first stream or socket was opened; at most [`PRESENCE_BATCH`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub opened: Vec<SessionId>,
    /// Sessions of which the last one was closed; at most [`PRESENCE_BATCH`].
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub closed: Vec<SessionId>,
}

/// Sessions in one report.
pub const PRESENCE_BATCH: usize = 500;
/// An instance that has not been heard of for so long has no open sockets.
pub const PRESENCE_TTL_S: i64 = 15;

/// What the gateway knows of the instance that reports.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresenceAnswer {
    /// False where nothing earlier of it is known any more, or something later is: nothing was changed, and all of
    /// it must be said again, with `reset`.
    pub known: bool,
    /// Report again within so many seconds, changes or not.
    pub ttl_s: i64,
}

/// `POST /v1/sessions/active`: exactly one of them.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskActive {
    /// An access token of this service: its session must be connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A session of this service, as an upstream of the edge knows it: that one must be connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub session_id: Option<SessionId>,
    /// The person, at this service: any session of theirs may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// Why somebody is connected, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActiveReason {
    /// A page or socket of the session is open.
    Connected,
    /// The session lives, and nothing of it is open.
    NotConnected,
    /// There is no such session, or it ended.
    NoSession,
}

/// Whether a person is connected now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Activity {
    /// Whether.
    pub active: bool,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Why.
    pub reason: ActiveReason,
    /// The session that is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub session_id: Option<SessionId>,
}
