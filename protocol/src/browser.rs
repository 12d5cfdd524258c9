//! Bodies between a browser and its service (section 6). `frontend/src/gen/protocol.ts` is made
//! from this module and from [`crate::problem`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::did::Did;
use crate::ids::{ChallengeId, SessionId};
use crate::service::{Binding, ChallengeStatus, EndReason, RevokeReason};
use crate::time::Timestamp;

/// `POST /auth/start`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StartRequest {
    /// A handle or a DID; absent to open the wallet on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub login_hint: Option<String>,
}

/// A login has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StartResponse {
    /// The challenge; a cookie of its own belongs to it.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub challenge_id: ChallengeId,
    /// How it is tied to this browser.
    pub binding: Binding,
    /// `pending`.
    pub status: ChallengeStatus,
    /// The number to show; addressed only.
    pub match_code: Option<String>,
    /// What opens the wallet; linked only.
    pub wallet_link: Option<String>,
    /// Where its events are.
    pub stream_url: String,
    /// Until when it can be answered.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub expires_at: Timestamp,
}

/// Where a login stands: `GET /auth/status/{id}`, and the data of every event on its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct LoginStatus {
    /// The challenge.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub challenge_id: ChallengeId,
    /// Where it stands, as the browser may know it.
    pub status: ChallengeStatus,
    /// Until when it can be answered.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub expires_at: Timestamp,
    /// Whether a wallet has taken the link (linked challenges): the page need not offer another way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "typescript", ts(optional, as = "Option<bool>"))]
    pub claimed: bool,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub reason: Option<EndReason>,
    /// Who approved: once approved for an addressed challenge, once active for a linked one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, as = "Option<String>"))]
    pub did: Option<Did>,
}

/// `POST /auth/return`: what stood behind the `#` of the address that the wallet opened.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ReturnRequest {
    /// The challenge.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub challenge_id: ChallengeId,
    /// `miid_rc_…`
    pub response_code: String,
    /// Which gateway says so.
    pub iss: String,
    /// Whom the browser was told it goes on as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub did: Option<String>,
}

/// `GET /session`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SessionInfo {
    /// The person, at this service.
    pub sub: String,
    /// The wallet.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub did: Did,
    /// The gateway's session.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub session_id: SessionId,
    /// What the service asked to know.
    pub requested_claims: Vec<String>,
    /// What the person chose to share.
    pub approved_claims: Vec<String>,
    /// The values, self-attested.
    pub claims: BTreeMap<String, String>,
    /// Since when.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub created_at: Timestamp,
    /// At the latest.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub expires_at: Timestamp,
    /// Until when the person's last step-up counts, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, as = "Option<String>"))]
    pub stepped_up_until: Option<Timestamp>,
}

/// The data of `force_logout` on `GET /session/stream`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ForceLogout {
    /// Why the session ended.
    pub reason: RevokeReason,
    /// When.
    #[cfg_attr(feature = "typescript", ts(as = "String"))]
    pub at: Timestamp,
}
