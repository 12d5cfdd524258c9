//! Locked: the key is gone and so is everything that was known. A stream that is open stays open and is listened
//! to for one thing, that somebody asks; how many is all that is kept of it.

use std::collections::HashSet;

use miid_protocol::ChallengeId;
use miid_protocol::events::WalletEvent;

use super::{Connection, Inner, Wallet};
use crate::queue::Queue;
use crate::request::Request;
use crate::update::WalletUpdate;

/// Most requests that are told apart while nobody looks.
const MAX_UNSEEN: usize = 10_000;

/// Requests that came while it was locked.
#[derive(Debug, Default)]
pub(super) struct Unseen(HashSet<ChallengeId>);

impl Unseen {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Wallet {
    /// Wipes the key and forgets what waits and what lives. There is no way back: after the vault was opened again
    /// a new wallet is built, which reads the lists.
    pub fn lock(&self) {
        self.inner.client.lock();
        let mut state = self.inner.state();
        if state.unseen.is_some() {
            return;
        }
        state.unseen = Some(Unseen::default());
        state.queue = Queue::new(self.inner.client.issuer().clone(), self.inner.client.did().clone());
        if !matches!(state.connection, Connection::Connected | Connection::Stopped { .. }) {
            // Nothing is open, so nothing will be heard.
            state.connection = Connection::Idle;
        }
    }

    /// Whether it was locked.
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

impl Inner {
    pub(super) fn is_locked(&self) -> bool {
        self.state().unseen.is_some()
    }

    /// A request that could be shown counts, once; nothing else that happens does.
    pub(super) fn count_unseen(&self, event: &WalletEvent) {
        let WalletEvent::ChallengeCreated(created) = event else { return };
        let now = self.client.now();
        let shows = Request::read(created.challenge_id, &created.request)
            .is_ok_and(|request| request.says().expires_at > now);
        let mut state = self.state();
        let Some(unseen) = state.unseen.as_mut().filter(|unseen| shows && unseen.count() < MAX_UNSEEN) else {
            return;
        };
        if unseen.0.insert(created.challenge_id) {
            let count = unseen.count();
            drop(state);
            self.tell(WalletUpdate::Unseen { count });
        }
    }
}
