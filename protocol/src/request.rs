//! The request text (section 2, "what you see is what you sign"): one JSON *text* that names
//! everything the person is shown. It travels as a string, the wallet shows only what it parsed
//! from it, and signs its digest.

use serde::{Deserialize, Serialize};

use crate::ids::{ChallengeId, ClientId, SessionId};
use crate::jws;
use crate::service::{Binding, Risk};
use crate::time::Timestamp;

/// The service that asks, as the person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceName {
    /// Its `client_id`.
    pub id: ClientId,
    /// Its registered name.
    pub name: String,
}

/// What the request text says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInRequest {
    /// The challenge this text belongs to.
    pub challenge_id: ChallengeId,
    /// Fresh for each challenge; the statement repeats it.
    pub nonce: String,
    /// Who asks.
    pub service: ServiceName,
    /// How the challenge is tied to a browser.
    pub binding: Binding,
    /// The service's own words.
    pub binding_message: String,
    /// What the service wants to be allowed.
    pub scopes: Vec<String>,
    /// What the service wants to know.
    pub claims: Vec<String>,
    /// Sign-in or step-up.
    pub risk: Risk,
    /// The session that a step-up is for; a sign-in names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up_session: Option<SessionId>,
    /// The browser, as the service saw it.
    pub user_agent: Option<String>,
    /// The browser's address, as the service saw it.
    pub ip: Option<String>,
    /// PKCE challenge (RFC 7636): ties the approval to one exchange.
    pub code_challenge: String,
    /// When it was asked.
    pub created_at: Timestamp,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
}

impl SignInRequest {
    /// Parses a request text; unknown members are ignored, a member twice is refused.
    pub fn parse(text: &str) -> Result<Self, crate::json::JsonError> {
        crate::json::from_str(text)
    }

    /// The text, made once when the challenge is created.
    pub fn to_text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(text) => text,
            Err(_) => unreachable!("a plain struct serialises"),
        }
    }
}

/// base64url(SHA-256(text)): how a statement names the request.
pub fn digest(text: &str) -> String {
    jws::digest(text.as_bytes())
}
