//! Locked: the key is gone and so is everything that was known. A stream that is open stays open and is listened
//! to for one thing, how many requests wait; which they are and until when is all that is kept of them.

use std::collections::HashMap;

use miid_protocol::events::WalletEvent;
use miid_protocol::{ChallengeId, Timestamp};

use super::{Connection, Inner, Wallet};
use crate::queue::{self, Queue};
use crate::request::Request;
use crate::update::WalletUpdate;

/// Most requests that are told apart while nobody looks.
const MAX_UNSEEN: usize = 10_000;

/// Requests that wait while it is locked, whether they came before or since.
#[derive(Debug, Default)]
pub(super) struct Unseen(HashMap<ChallengeId, Counted>);

/// What is kept of one.
#[derive(Debug, Clone, Copy)]
struct Counted {
    expires_at: Timestamp,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Waits,
    /// On another device. Taken back, it waits again.
    Approved,
    /// Kept until it would have run out: an event that comes twice brings nothing back.
    Over,
}

impl Unseen {
    /// What waited, or could wait again, when it was locked.
    fn of(queue: &Queue) -> Self {
        let counted = queue.waiting().iter().map(|waiting| {
            let standing = match waiting.standing {
                queue::Standing::Pending => Standing::Waits,
                queue::Standing::Approved => Standing::Approved,
            };
            (waiting.request.id(), Counted { expires_at: waiting.request.says().expires_at, standing })
        });
        Self(counted.collect())
    }

    /// How many wait at this moment.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let waits = |one: &&Counted| one.standing == Standing::Waits && one.expires_at > now;
        self.0.values().filter(waits).count()
    }

    fn arrive(&mut self, id: ChallengeId, expires_at: Timestamp, now: Timestamp) {
        self.0.retain(|_, one| one.expires_at > now);
        if expires_at > now && self.0.len() < MAX_UNSEEN {
            self.0.entry(id).or_insert(Counted { expires_at, standing: Standing::Waits });
        }
    }

    fn stand(&mut self, id: ChallengeId, standing: Standing) {
        if let Some(one) = self.0.get_mut(&id).filter(|one| one.standing != Standing::Over) {
            one.standing = standing;
        }
    }
}

impl Wallet {
    /// Wipes the key and forgets what waits and what lives, but for how much waits. There is no way back: after the
    /// vault was opened again a new wallet is built, which reads the lists.
    pub fn lock(&self) {
        self.inner.client.lock();
        let mut state = self.inner.state();
        if state.unseen.is_some() {
            return;
        }
        state.unseen = Some(Unseen::of(&state.queue));
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

    /// A request that could be shown counts, once, for as long as it waits; nothing else that happens does.
    pub(super) fn count_unseen(&self, event: &WalletEvent) {
        let now = self.client.now();
        let mut state = self.state();
        let Some(unseen) = state.unseen.as_mut() else { return };
        let before = unseen.count(now);
        match event {
            WalletEvent::ChallengeCreated(created) => {
                if let Ok(request) = Request::read(created.challenge_id, &created.request) {
                    unseen.arrive(created.challenge_id, request.says().expires_at, now);
                }
            }
            WalletEvent::ChallengeApproved(approved) => {
                unseen.stand(approved.challenge_id, Standing::Approved);
            }
            WalletEvent::ApprovalCancelled(cancelled) => {
                unseen.stand(cancelled.challenge_id, Standing::Waits)
            }
            WalletEvent::ChallengeDenied(denied) => unseen.stand(denied.challenge_id, Standing::Over),
            WalletEvent::ChallengeExpired(over) => unseen.stand(over.challenge_id, Standing::Over),
            WalletEvent::SessionCreated(made) => unseen.stand(made.challenge_id, Standing::Over),
            WalletEvent::ChallengeExchanged(done) => unseen.stand(done.challenge_id, Standing::Over),
            WalletEvent::SessionRevoked(_) | WalletEvent::Resync(_) => {}
        }
        let count = unseen.count(now);
        drop(state);
        if count > before {
            self.tell(WalletUpdate::Unseen { count });
        } else if count < before {
            self.tell(WalletUpdate::UnseenOver { count });
        }
    }
}
