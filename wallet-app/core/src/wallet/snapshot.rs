//! What there is to draw of a wallet, at one moment.

use miid_protocol::request::SignInRequest;
use miid_protocol::wallet::WalletSession;
use miid_protocol::{Did, Issuer, Timestamp};
use serde::Serialize;

use super::Wallet;
use crate::queue::Standing;

/// How it stands with the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// Not following: this wallet only carries out commands.
    Idle,
    /// On the way.
    Connecting,
    /// The stream is open.
    Connected,
    /// Away; another attempt follows by itself.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// No further attempts.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// A request as a screen shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRequest {
    /// Where it stands.
    pub standing: Standing,
    /// What it says.
    pub request: SignInRequest,
    /// Of the text that says it: whoever decides about what was shown sends this along.
    pub digest: String,
    /// Since when the session of a step-up is there, where this wallet knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_since: Option<Timestamp>,
    /// Whether there is a page to go back to ([`Wallet::return_to`]).
    pub return_to: bool,
}

/// An identity that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// Since when.
    pub at: Timestamp,
    /// How many sessions ended with it, as far as the wallet knew them.
    pub ended: usize,
}

/// Everything there is to draw, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Who.
    pub did: Did,
    /// Where.
    pub gateway: Issuer,
    /// How it stands.
    pub connection: Connection,
    /// Pending and approved, newest first.
    pub requests: Vec<ShownRequest>,
    /// Live sessions, newest first.
    pub sessions: Vec<WalletSession>,
    /// While locked: how many requests wait. Requests and sessions are empty then.
    pub unseen: usize,
}

impl Wallet {
    /// Everything that there is to draw.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.inner.state();
        let shown = state.queue.waiting().iter().map(|waiting| ShownRequest {
            standing: waiting.standing,
            request: waiting.request.says().clone(),
            digest: waiting.request.digest(),
            session_since: state.queue.session_since(waiting.request.says()),
            return_to: waiting.return_to.is_some(),
        });
        Snapshot {
            did: self.inner.client.did().clone(),
            gateway: self.inner.client.issuer().clone(),
            connection: state.connection.clone(),
            requests: shown.collect(),
            sessions: state.queue.sessions().to_vec(),
            unseen: state.unseen.as_ref().map_or(0, |unseen| unseen.count(self.inner.client.now())),
        }
    }
}
