//! What this instance knows about its line to the gateway.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miid_protocol::events::ServiceEvent;
use miid_protocol::{ChallengeId, SessionId, Timestamp};

/// The event stream: whether it is there, and since when not.
#[derive(Debug, Default)]
pub(crate) struct Link(Mutex<State>);

#[derive(Debug)]
struct State {
    up: bool,
    accepted: bool,
    heard_at: Timestamp,
    ask_not_before: Timestamp,
}

impl Default for State {
    fn default() -> Self {
        let never = Timestamp::from_millis(0);
        Self { up: false, accepted: false, heard_at: never, ask_not_before: never }
    }
}

impl Link {
    /// When the gateway was last known to be telling us everything.
    pub(crate) fn heard_at(&self, now: Timestamp) -> Timestamp {
        let state = self.state();
        if state.up { now } else { state.heard_at }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state().up
    }

    /// The gateway took our credentials, at least once.
    pub(crate) fn is_accepted(&self) -> bool {
        self.state().accepted
    }

    pub(crate) fn accepted(&self, accepted: bool) {
        self.state().accepted = accepted;
    }

    pub(crate) fn up(&self) {
        self.state().up = true;
    }

    /// The stream is gone; the last that was heard of it was at `heard_at`.
    pub(crate) fn down(&self, heard_at: Timestamp) {
        let mut state = self.state();
        if state.up {
            state.up = false;
            state.heard_at = state.heard_at.max(heard_at);
        }
    }

    /// Whether it makes sense to ask the gateway now.
    pub(crate) fn may_ask(&self, now: Timestamp) -> bool {
        now >= self.state().ask_not_before
    }

    pub(crate) fn ask_not_before(&self, at: Timestamp) {
        self.state().ask_not_before = at;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events kept for those who come a moment too late; many more than can happen in that moment.
const RECENT: usize = 2_048;

/// The last events. A wallet can answer before the row of its challenge is written, and a session can
/// be revoked before its row is: whoever writes such a row looks here afterwards. An event is put here
/// before its row is looked for, so one of the two always sees the other.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<VecDeque<ServiceEvent>>);

impl Recent {
    pub(crate) fn push(&self, event: &ServiceEvent) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == RECENT {
            events.pop_front();
        }
        events.push_back(event.clone());
    }

    pub(crate) fn about_challenge(&self, id: ChallengeId) -> Vec<ServiceEvent> {
        self.filter(|event| match event {
            ServiceEvent::ChallengeVerified(data) => data.challenge_id == id,
            ServiceEvent::ChallengeDenied(data) => data.challenge_id == id,
            ServiceEvent::ChallengeExpired(data) => data.challenge_id == id,
            ServiceEvent::ApprovalCancelled(data) => data.challenge_id == id,
            _ => false,
        })
    }

    pub(crate) fn about_session(&self, id: SessionId) -> Vec<ServiceEvent> {
        self.filter(|event| matches!(event, ServiceEvent::SessionRevoked(data) if data.session_id == id))
    }

    fn filter(&self, wanted: impl Fn(&ServiceEvent) -> bool) -> Vec<ServiceEvent> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| wanted(event)).cloned().collect()
    }
}

/// One at a time for each key; nothing is kept for a key that nobody holds.
#[derive(Debug)]
pub(crate) struct OneAtATime<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for OneAtATime<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Copy> OneAtATime<K> {
    /// Waits for its turn.
    pub(crate) async fn lock(&self, key: K) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() > 1_000 {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(locks.entry(key).or_default())
        };
        lock.lock_owned().await
    }
}
