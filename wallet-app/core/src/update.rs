//! What a wallet tells whoever watches it: a window, a terminal, a test. Each serialises to one flat JSON
//! object with an `event` member.

use miid_protocol::request::SignInRequest;
use miid_protocol::service::{DenyReason, ExpireReason, RevokeReason};
use miid_protocol::{ChallengeId, Did, Issuer, SessionId, Timestamp};
use serde::Serialize;
use tokio::sync::broadcast;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WalletUpdate {
    /// The stream is open, and where it had to be the lists were read: nothing was missed.
    Connected {
        /// Who.
        did: Did,
        /// Where.
        gateway: Issuer,
    },
    /// The stream is gone; the wallet comes back by itself.
    Disconnected {
        /// Why, in words for a log.
        reason: String,
        /// When the next attempt is made, in milliseconds from now.
        retry_in_ms: u64,
    },
    /// The gateway will not have this identity again (`did_retired`): no further attempts are made.
    Stopped {
        /// Why.
        reason: String,
    },
    /// Somebody asks.
    ChallengeCreated {
        /// Which.
        challenge_id: ChallengeId,
        /// What it says; what is signed is the text that this was parsed from.
        request: Box<SignInRequest>,
    },
    /// Somebody asked in a way that cannot be shown; it was dropped.
    ChallengeRefused {
        /// Which.
        challenge_id: ChallengeId,
        /// Why.
        reason: String,
    },
    /// Approved, here or on another device with the same key.
    Approved {
        /// Which.
        challenge_id: ChallengeId,
    },
    /// The approval was taken back, and the request waits again.
    Cancelled {
        /// Which.
        challenge_id: ChallengeId,
    },
    /// Denied.
    Denied {
        /// Which.
        challenge_id: ChallengeId,
        /// Why.
        reason: DenyReason,
    },
    /// Over.
    Expired {
        /// Which.
        challenge_id: ChallengeId,
        /// Why.
        reason: ExpireReason,
    },
    /// The service made a session of it.
    Active {
        /// Which.
        challenge_id: ChallengeId,
        /// What came of it.
        session_id: SessionId,
    },
    /// The service has what a step-up was for; its session goes on as it was.
    Confirmed {
        /// Which.
        challenge_id: ChallengeId,
        /// In which session.
        session_id: SessionId,
    },
    /// No longer in the gateway's list; what became of it was not heard.
    Gone {
        /// Which.
        challenge_id: ChallengeId,
    },
    /// A session ended.
    SessionRevoked {
        /// Which.
        session_id: SessionId,
        /// Why.
        reason: RevokeReason,
        /// Its service, where the wallet knew the session.
        service: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A rule of the person's answered without asking.
    OneClick {
        /// Which.
        challenge_id: ChallengeId,
        /// Which service.
        service: String,
    },
    /// While locked: a request came, and so many wait. Nothing else is said about them.
    Unseen {
        /// How many.
        count: usize,
    },
    /// While locked: one of them waits no more.
    UnseenOver {
        /// How many still do. Those that run out by the clock are told by nobody: look at the snapshot.
        count: usize,
    },
    /// The list of sessions was read anew.
    Sessions {
        /// How many are live.
        count: usize,
    },
    /// The gateway no longer had our position in its log: the lists were read.
    Resync,
    /// Something could not be kept on this computer (history, last choice); the decision itself stands.
    NotKept {
        /// What, and why.
        what: String,
    },
    /// This watcher was too slow and missed some of these: look at the snapshot.
    Missed,
}

/// How many updates a slow watcher may be behind before it is told to look at the snapshot.
pub(crate) const BACKLOG: usize = 1024;

/// One watcher's updates.
pub struct Updates(pub(crate) broadcast::Receiver<WalletUpdate>);

impl Updates {
    /// The next one; `None` once the wallet is gone.
    pub async fn next(&mut self) -> Option<WalletUpdate> {
        match self.0.recv().await {
            Ok(update) => Some(update),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(WalletUpdate::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
