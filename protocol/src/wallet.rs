//! Bodies between a wallet and the gateway (section 5).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::did::Did;
use crate::ids::{ChallengeId, ClientId, SessionId};
use crate::service::{ChallengeStatus, EndReason};
use crate::time::Timestamp;

/// A challenge as its wallet sees it: never the code, never the number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletChallenge {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub challenge_id: ChallengeId,
    /// Where it stands.
    pub status: ChallengeStatus,
    /// The request text: show what it says, sign its digest.
    pub request: String,
    /// Until when it can be answered.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires_at: Timestamp,
    /// What to open in the person's browser (linked challenges).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
}

/// `GET /v1/wallet/challenges`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletChallengeList {
    /// Pending and approved, newest first.
    pub challenges: Vec<WalletChallenge>,
}

/// `POST …/approve`, `…/deny`, `…/cancel`, `…/revoke`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decision {
    /// The signed statement.
    pub statement: String,
    /// What is shared: the text whose digest the statement signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disclosure: Option<String>,
}

/// `POST …/claim`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimChallenge {
    /// The link secret, `miid_ls_…`, out of the link.
    pub secret: String,
}

/// `POST /v1/wallet/retire`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retire {
    /// The signed statement; it may have been made long before, and printed.
    pub statement: String,
}

/// The identity is over; again the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetireOutcome {
    /// Which one.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub did: Did,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// What became of a challenge.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DecisionOutcome {
    /// The challenge.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub challenge_id: ChallengeId,
    /// Where it stands now.
    pub status: ChallengeStatus,
    /// Why it ended, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What to open in the person's browser (linked challenges).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
}

/// The service of a session, as the person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionService {
    /// Its `client_id`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: ClientId,
    /// Its registered name.
    pub name: String,
}

/// One live session, as the wallet sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletSession {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session_id: SessionId,
    /// Where.
    pub service: SessionService,
    /// What was granted.
    pub scopes: Vec<String>,
    /// Names of what was shared.
    pub claims: Vec<String>,
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

/// `GET /v1/wallet/sessions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletSessionList {
    /// Newest first.
    pub sessions: Vec<WalletSession>,
}

/// The answer to a revoke; again the same for the same statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokeOutcome {
    /// The session.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub session_id: SessionId,
    /// `revoked`.
    pub status: ChallengeStatus,
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

/// `PUT /v1/wallet/handle`; null releases the one held.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimHandle {
    /// The handle wanted.
    pub handle: Option<String>,
}

/// The handle that a wallet holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HandleClaimed {
    /// As normalised.
    pub handle: Option<String>,
}

impl fmt::Debug for WalletChallenge {
    /// Without `return_to`: a response code is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalletChallenge")
            .field("challenge_id", &self.challenge_id)
            .field("status", &self.status)
            .field("request", &self.request)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DecisionOutcome {
    /// Without `return_to`: a response code is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionOutcome")
            .field("challenge_id", &self.challenge_id)
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_is_not_shown_to_who_looks_at_the_rest() {
        let outcome: DecisionOutcome = serde_json::from_value(serde_json::json!({
            "challenge_id": "0198e0a0-0000-7000-8000-000000000001", "status": "approved",
            "at": "2026-11-20T14:00:00.000Z", "return_to": "https://shop.example/auth/return#response_code=miid_rc_x"
        }))
        .expect("an outcome");
        let shown = format!("{outcome:?}");
        assert!(shown.contains("Approved") && !shown.contains("miid_rc_"), "{shown}");
    }
}
