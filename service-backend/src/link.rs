//! What this instance knows about its line to the gateway.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miid_protocol::events::ServiceEvent;
use miid_protocol::{ChallengeId, Lifetime, SessionId, Timestamp};
use tokio::time::Instant;

use crate::gateway::STREAM_SILENCE;

/// The event stream: whether it is there, and until when everything that it told is stored. Sessions are
/// trusted by this, so what is not known to be true is not claimed (threat 20).
#[derive(Debug, Default)]
pub(crate) struct Link(Mutex<State>);

#[derive(Debug)]
struct State {
    line: Option<Line>,
    accepted: bool,
    heard_at: Timestamp,
    ask_not_before: Timestamp,
}

/// An open stream.
#[derive(Debug)]
struct Line {
    opened: Instant,
    /// The lists were read since it opened: nothing of what was before is missing.
    complete: bool,
    /// Something came that is not stored yet.
    applying: bool,
}

impl Line {
    /// It lived for so long that at least two heartbeats came. What was missed while the stream was away
    /// comes before the first of them.
    fn is_proven(&self) -> bool {
        self.opened.elapsed() >= STREAM_SILENCE
    }

    /// Whether everything until now was heard and stored.
    fn is_current(&self) -> bool {
        !self.applying && (self.complete || self.is_proven())
    }
}

impl Default for State {
    fn default() -> Self {
        let never = Timestamp::from_millis(0);
        Self { line: None, accepted: false, heard_at: never, ask_not_before: never }
    }
}

impl State {
    fn is_current(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_current)
    }

    /// Never back, except where the clock was.
    fn heard(&mut self, at: Timestamp, now: Timestamp) {
        self.heard_at = if self.heard_at > now { at } else { self.heard_at.max(at) };
    }
}

impl Link {
    /// Until when everything that the gateway told is known here.
    pub(crate) fn heard_at(&self, now: Timestamp) -> Timestamp {
        let state = self.state();
        if state.is_current() { now } else { state.heard_at }
    }

    /// Whether that is until this moment.
    pub(crate) fn is_current(&self) -> bool {
        self.state().is_current()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state().line.is_some()
    }

    /// The gateway took our credentials, at least once.
    pub(crate) fn is_accepted(&self) -> bool {
        self.state().accepted
    }

    pub(crate) fn accepted(&self, accepted: bool) {
        self.state().accepted = accepted;
    }

    /// The stream goes on where it was left; what happened meanwhile is yet to come.
    pub(crate) fn resumed(&self) {
        self.state().line = Some(Line { opened: Instant::now(), complete: false, applying: false });
    }

    /// With the stream open, the gateway's lists were asked for at `asked_at`, and what they say is stored.
    pub(crate) fn caught_up(&self, asked_at: Timestamp, now: Timestamp) {
        let mut state = self.state();
        let line = state.line.get_or_insert_with(|| Line {
            opened: Instant::now(),
            complete: true,
            applying: false,
        });
        (line.complete, line.applying) = (true, false);
        state.heard(asked_at, now);
    }

    /// An event came; all before it is stored, itself not yet.
    pub(crate) fn applying(&self, now: Timestamp) {
        let mut state = self.state();
        if state.is_current() {
            state.heard(now, now);
        }
        if let Some(line) = &mut state.line {
            line.applying = true;
        }
    }

    /// It is stored, too.
    pub(crate) fn applied(&self) {
        if let Some(line) = &mut self.state().line {
            line.applying = false;
        }
    }

    /// Events are missing: nothing since the last that was stored counts as heard.
    pub(crate) fn missed(&self) {
        if let Some(line) = &mut self.state().line {
            (line.complete, line.applying) = (false, true);
        }
    }

    /// The stream is gone. Where nothing but the stream failed, `heard_at` says until when it can have told
    /// everything. Says whether it was a good one.
    pub(crate) fn down(&self, heard_at: Option<Timestamp>, now: Timestamp) -> bool {
        let mut state = self.state();
        let Some(line) = state.line.take() else { return false };
        if let Some(heard_at) = heard_at.filter(|_| line.is_current()) {
            state.heard(heard_at, now);
        }
        line.is_proven()
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
            ServiceEvent::ChallengeClaimed(data) => data.challenge_id == id,
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

/// How often the gateway is asked about one challenge for a browser's sake, while we do not hear it.
const LOOK_EVERY: Lifetime = Lifetime::from_secs(1);

/// Looks at the gateway that any page can cause by polling: one per challenge and second.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<HashMap<ChallengeId, Timestamp>>);

impl Looks {
    /// Whether one may be taken now; then it is.
    pub(crate) fn take(&self, id: ChallengeId, now: Timestamp) -> bool {
        // One that lies ahead is from before the clock was put back.
        let is_recent = |at: Timestamp| at <= now && now < at.plus(LOOK_EVERY);
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.get(&id).is_some_and(|at| is_recent(*at)) {
            return false;
        }
        if looks.len() > 1_000 {
            looks.retain(|_, at| is_recent(*at));
        }
        looks.insert(id, now);
        true
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
