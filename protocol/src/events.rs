//! Events on the two streams of the gateway (sections 4 and 5). Delivery is at least once: a reader
//! must be able to see any of them again.

use serde::{Deserialize, Serialize};

use crate::did::Did;
use crate::ids::{ChallengeId, SessionId};
use crate::service::{Binding, DenyReason, ExpireReason, RevokeReason};
use crate::time::Timestamp;

/// What `retry:` says at the head of every stream, in milliseconds.
pub const RETRY_MS: u64 = 1000;
/// How often a comment shows that the stream lives, in seconds.
pub const HEARTBEAT_S: u64 = 15;
/// The event that says: your position is not in the log, read the lists.
pub const RESYNC: &str = "resync";

macro_rules! event_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident($data:ty) $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant($data),)* }

        impl $name {
            /// What stands behind `event:`.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $text),* }
            }

            /// What stands behind `data:`.
            pub fn data(&self) -> String {
                let data = match self { $(Self::$variant(data) => serde_json::to_string(data)),* };
                match data {
                    Ok(text) => text,
                    Err(_) => unreachable!("plain structs serialise"),
                }
            }

            /// Reads one from a stream; `None` for a name that this version does not know.
            pub fn parse(name: &str, data: &str) -> Result<Option<Self>, crate::json::JsonError> {
                Ok(match name {
                    $($text => Some(Self::$variant(crate::json::from_str(data)?)),)*
                    _ => None,
                })
            }
        }
    };
}

event_enum! {
    /// What a wallet is told.
    WalletEvent {
        /// Somebody asks.
        ChallengeCreated(ChallengeCreated) "challenge_created",
        /// Approved, here or on another device with the same key.
        ChallengeApproved(ChallengeAt) "challenge_approved",
        /// Denied.
        ChallengeDenied(ChallengeDenied) "challenge_denied",
        /// Over.
        ChallengeExpired(ChallengeExpired) "challenge_expired",
        /// An approval was taken back; the challenge is pending again.
        ApprovalCancelled(ChallengeAt) "approval_cancelled",
        /// The service made a session of it.
        SessionCreated(SessionCreated) "session_created",
        /// The service has what a step-up was for; its session goes on.
        ChallengeExchanged(ChallengeExchanged) "challenge_exchanged",
        /// A session ended.
        SessionRevoked(SessionRevoked) "session_revoked",
        /// The position asked for is not in the log: read the lists.
        Resync(Resync) "resync",
    }
}

event_enum! {
    /// What a service is told.
    ServiceEvent {
        /// A wallet has taken the link of a linked challenge.
        ChallengeClaimed(ChallengeAt) "challenge_claimed",
        /// The person approved; here is the code.
        ChallengeVerified(ChallengeVerified) "challenge_verified",
        /// The person said no.
        ChallengeDenied(ChallengeDenied) "challenge_denied",
        /// Over.
        ChallengeExpired(ChallengeExpired) "challenge_expired",
        /// The person took the approval back; the code is dead.
        ApprovalCancelled(ChallengeAt) "approval_cancelled",
        /// An exchange made a session.
        SessionCreated(SessionCreated) "session_created",
        /// An exchange gave the token of a step-up.
        ChallengeExchanged(ChallengeExchanged) "challenge_exchanged",
        /// A session ended: its cookies and sockets must, too.
        SessionRevoked(SessionRevoked) "session_revoked",
        /// The position asked for is not in the log: read the lists.
        Resync(Resync) "resync",
    }
}

/// Data of `challenge_created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeCreated {
    /// The challenge.
    pub challenge_id: ChallengeId,
    /// The request text.
    pub request: String,
}

/// Data of `challenge_claimed`, `challenge_approved` and `approval_cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeAt {
    /// The challenge.
    pub challenge_id: ChallengeId,
    /// When.
    pub at: Timestamp,
}

/// Data of `challenge_denied`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeDenied {
    /// The challenge.
    pub challenge_id: ChallengeId,
    /// Why.
    pub reason: DenyReason,
    /// When.
    pub at: Timestamp,
}

/// Data of `challenge_expired`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeExpired {
    /// The challenge.
    pub challenge_id: ChallengeId,
    /// Why.
    pub reason: ExpireReason,
    /// When.
    pub at: Timestamp,
}

/// Data of `challenge_verified`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeVerified {
    /// The challenge.
    pub challenge_id: ChallengeId,
    /// The code; null in a replay once it is spent or dead.
    pub authorization_code: Option<String>,
    /// Until when it can be exchanged.
    pub code_expires_at: Timestamp,
    /// Whether the exchange needs a response code, too.
    pub binding: Binding,
    /// Who approved.
    pub did: Did,
    /// When.
    pub at: Timestamp,
}

/// Data of `session_created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// The challenge it came from.
    pub challenge_id: ChallengeId,
    /// The session.
    pub session_id: SessionId,
    /// The person, at this service.
    pub sub: String,
    /// When.
    pub at: Timestamp,
}

/// Data of `challenge_exchanged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeExchanged {
    /// The step-up.
    pub challenge_id: ChallengeId,
    /// The session that it was for.
    pub session_id: SessionId,
    /// When.
    pub at: Timestamp,
}

/// Data of `session_revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRevoked {
    /// The session.
    pub session_id: SessionId,
    /// The person, at this service.
    pub sub: String,
    /// Why.
    pub reason: RevokeReason,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Debug for ChallengeVerified {
    /// Without the code.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallengeVerified").field("challenge_id", &self.challenge_id).finish_non_exhaustive()
    }
}

/// Data of `resync`: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {}
