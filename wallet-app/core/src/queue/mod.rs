//! Everything that waits, and the [`sessions`] that live: what the wallet knows of one gateway. Pure.
//!
//! Three sources feed it, in any order and more than once: the event stream, the lists, and the answers to our
//! own decisions. So each step looks at what is already known: an event seen before changes nothing, what is
//! over does not come back, and a list that was asked for before a decision does not undo it.

mod sessions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use miid_protocol::events::WalletEvent;
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::wallet::{DecisionOutcome, WalletChallenge, WalletSession};
use miid_protocol::{ChallengeId, Did, Issuer, SessionId, Timestamp, jws};
use serde::Serialize;

use crate::request::{Request, Unshowable};
use crate::return_to::ReturnTo;
use crate::update::WalletUpdate;
use sessions::Sessions;

/// Most requests kept. A gateway lets ten wait per person; more is a gateway that misbehaves, and then the
/// oldest goes.
pub const MAX_REQUESTS: usize = 64;
/// How many finished requests are remembered, so that a repeated event does not bring one back.
const MAX_FINISHED: usize = 512;

/// Where a request stands for this wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Waits for the person.
    Pending,
    /// Approved; waits for the service.
    Approved,
}

/// A request in the queue.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What was asked.
    pub request: Arc<Request>,
    /// Where it stands.
    pub standing: Standing,
    /// What to open in the person's browser: linked and approved ones only.
    pub return_to: Option<ReturnTo>,
    /// When this changed last, in changes of the queue.
    changed: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// There is a session.
    Active(SessionId),
    /// The service has what a step-up of this session was for.
    Confirmed(SessionId),
    /// Denied.
    Denied(DenyReason),
    /// Over.
    Expired(ExpireReason),
    /// It cannot be shown.
    Refused,
    /// It was no longer in the list. Should it be there again, so is the request, if it says the same.
    Gone,
}

/// A request that ended.
#[derive(Debug)]
struct Finished {
    id: ChallengeId,
    finish: Finish,
    /// Of the text that was shown. One that is only gone may come back, and then as what the person knows.
    digest: Option<String>,
}

/// A moment in the queue's life; what was asked for at one moment is judged by it when the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// What waits, and the sessions.
#[derive(Debug)]
pub struct Queue {
    issuer: Issuer,
    did: Did,
    waiting: Vec<Waiting>,
    sessions: Sessions,
    finished: VecDeque<Finished>,
    changes: u64,
}

impl Queue {
    /// Nothing yet, of this gateway for this identity.
    pub fn new(issuer: Issuer, did: Did) -> Self {
        let (waiting, finished) = (Vec::new(), VecDeque::new());
        Self { issuer, did, waiting, sessions: Sessions::default(), finished, changes: 0 }
    }

    /// Requests, newest first.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// One request.
    pub fn find(&self, id: ChallengeId) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| waiting.request.id() == id)
    }

    /// How a request ended, as long as that is remembered.
    pub fn finish(&self, id: ChallengeId) -> Option<Finish> {
        self.finished.iter().find(|finished| finished.id == id).map(|finished| finished.finish)
    }

    /// Whether a request may come in: not while it is there, not once it is over, and not as another than it was.
    /// What the person has seen does not change under their eyes, neither at once nor by way of a list without it.
    fn may_arrive(&self, id: ChallengeId, text: &str) -> bool {
        let earlier = self.finished.iter().find(|finished| finished.id == id);
        self.find(id).is_none()
            && earlier.is_none_or(|earlier| {
                let says_the_same =
                    || earlier.digest.as_ref().is_none_or(|digest| *digest == jws::digest(text.as_bytes()));
                earlier.finish == Finish::Gone && says_the_same()
            })
    }

    /// Live sessions, newest first.
    pub fn sessions(&self) -> &[WalletSession] {
        self.sessions.live()
    }

    /// Since when the session of a step-up is there, where it is among the live ones and of the service that asks.
    pub fn session_since(&self, request: &SignInRequest) -> Option<Timestamp> {
        let id = request.step_up_session?;
        let mut live = self.sessions.live().iter();
        let session =
            live.find(|session| session.session_id == id && session.service.id == request.service.id)?;
        Some(session.created_at)
    }

    /// To be taken before a list is asked for.
    pub fn mark(&self) -> Mark {
        Mark(self.changes)
    }

    /// When the next pending request runs out.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let pending = self.waiting.iter().filter(|waiting| waiting.standing == Standing::Pending);
        pending.map(|waiting| waiting.request.says().expires_at).min()
    }

    /// An event of the stream; [`WalletEvent::Resync`] is not for the queue.
    pub fn apply_event(&mut self, event: &WalletEvent, now: Timestamp) -> Vec<WalletUpdate> {
        match event {
            WalletEvent::ChallengeCreated(created) => {
                self.arrive(created.challenge_id, &created.request, now)
            }
            WalletEvent::ChallengeApproved(approved) => self.stand(approved.challenge_id, Standing::Approved),
            WalletEvent::ApprovalCancelled(cancelled) => {
                self.stand(cancelled.challenge_id, Standing::Pending)
            }
            WalletEvent::ChallengeDenied(denied) => {
                self.end(denied.challenge_id, Finish::Denied(denied.reason))
            }
            WalletEvent::ChallengeExpired(over) => self.end(over.challenge_id, Finish::Expired(over.reason)),
            WalletEvent::SessionCreated(made) => self.end(made.challenge_id, Finish::Active(made.session_id)),
            WalletEvent::ChallengeExchanged(done) => {
                self.end(done.challenge_id, Finish::Confirmed(done.session_id))
            }
            WalletEvent::SessionRevoked(revoked) => {
                let id = Finish::Active(revoked.session_id);
                let came_of_a_request = self.finished.iter().any(|finished| finished.finish == id);
                self.sessions.end(revoked, came_of_a_request).into_iter().collect()
            }
            WalletEvent::Resync(_) => Vec::new(),
        }
    }

    /// The list of challenges, asked for at `asked`.
    pub fn apply_challenges(
        &mut self,
        list: &[WalletChallenge],
        asked: Mark,
        now: Timestamp,
    ) -> Vec<WalletUpdate> {
        let mut updates = Vec::new();
        // Oldest first, so that the newest is told last and stands first.
        for listed in list.iter().rev() {
            let known = self.find(listed.challenge_id).map(|waiting| waiting.changed);
            if known.is_some_and(|changed| changed > asked.0) {
                continue;
            }
            let standing = match listed.status {
                ChallengeStatus::Pending => Standing::Pending,
                ChallengeStatus::Approved => Standing::Approved,
                _ => continue,
            };
            if known.is_none() {
                updates.extend(self.arrive(listed.challenge_id, &listed.request, now));
            }
            updates.extend(self.stand(listed.challenge_id, standing));
            self.keep_return(listed.challenge_id, listed.return_to.as_deref());
        }
        let gone: Vec<_> = self
            .waiting
            .iter()
            .filter(|waiting| waiting.changed <= asked.0)
            .map(|waiting| waiting.request.id())
            .filter(|id| !list.iter().any(|listed| listed.challenge_id == *id))
            .collect();
        for id in gone {
            updates.extend(self.end(id, Finish::Gone));
        }
        updates
    }

    /// A challenge that was claimed by its link. Unlike what a stream brings it was asked for, so why it cannot be
    /// shown is the answer.
    pub fn apply_claimed(
        &mut self,
        claimed: &WalletChallenge,
        now: Timestamp,
    ) -> Result<Vec<WalletUpdate>, Unshowable> {
        let request = Request::read(claimed.challenge_id, &claimed.request)?;
        if request.says().binding != Binding::Linked {
            // One that shows a number is not taken by a link, whatever the gateway says.
            return Err(Unshowable::NotLinked);
        }
        let mut updates = self.arrive(claimed.challenge_id, &claimed.request, now);
        if claimed.status == ChallengeStatus::Approved {
            updates.extend(self.stand(claimed.challenge_id, Standing::Approved));
            self.keep_return(claimed.challenge_id, claimed.return_to.as_deref());
        }
        Ok(updates)
    }

    /// The list of sessions.
    pub fn apply_sessions(&mut self, list: Vec<WalletSession>) -> Vec<WalletUpdate> {
        vec![WalletUpdate::Sessions { count: self.sessions.replace(list) }]
    }

    /// The answer to a decision of ours.
    pub fn apply_outcome(&mut self, outcome: &DecisionOutcome) -> Vec<WalletUpdate> {
        let id = outcome.challenge_id;
        match (outcome.status, outcome.reason) {
            (ChallengeStatus::Pending, _) => self.stand(id, Standing::Pending),
            (ChallengeStatus::Approved, _) => {
                let updates = self.stand(id, Standing::Approved);
                self.keep_return(id, outcome.return_to.as_deref());
                updates
            }
            (ChallengeStatus::Denied, Some(EndReason::Denied(reason))) => {
                self.end(id, Finish::Denied(reason))
            }
            (ChallengeStatus::Denied, _) => self.end(id, Finish::Denied(DenyReason::Declined)),
            (ChallengeStatus::Expired, Some(EndReason::Expired(reason))) => {
                self.end(id, Finish::Expired(reason))
            }
            (ChallengeStatus::Expired, _) => self.end(id, Finish::Expired(ExpireReason::Timeout)),
            // Which session it is comes with an event.
            (ChallengeStatus::Active | ChallengeStatus::Revoked, _) => Vec::new(),
        }
    }

    /// A request ended in a way that only an answer told.
    pub(crate) fn end(&mut self, id: ChallengeId, finish: Finish) -> Vec<WalletUpdate> {
        let digest = self.find(id).map(|waiting| waiting.request.digest());
        self.waiting.retain(|waiting| waiting.request.id() != id);
        let was_waiting = digest.is_some();
        let earlier = self.finish(id);
        // What came of a yes is news even where that was said elsewhere, or the request only seemed gone.
        let is_news = match (earlier, finish) {
            (None, _) => was_waiting || matches!(finish, Finish::Active(_) | Finish::Confirmed(_)),
            (Some(Finish::Gone), finish) => finish != Finish::Gone,
            (Some(_), _) => false,
        };
        if earlier.is_none() || is_news {
            self.finish_with(id, finish, digest);
        }
        if !is_news {
            return Vec::new();
        }
        vec![match finish {
            Finish::Active(session_id) => WalletUpdate::Active { challenge_id: id, session_id },
            Finish::Confirmed(session_id) => WalletUpdate::Confirmed { challenge_id: id, session_id },
            Finish::Denied(reason) => WalletUpdate::Denied { challenge_id: id, reason },
            Finish::Expired(reason) => WalletUpdate::Expired { challenge_id: id, reason },
            Finish::Refused | Finish::Gone => WalletUpdate::Gone { challenge_id: id },
        }]
    }

    fn finish_with(&mut self, id: ChallengeId, finish: Finish, digest: Option<String>) {
        self.changes += 1;
        self.finished.retain(|finished| finished.id != id);
        self.finished.push_back(Finished { id, finish, digest });
        if self.finished.len() > MAX_FINISHED {
            self.finished.pop_front();
        }
    }

    /// Takes out what has run out by the clock; the gateway says the same, a little later or earlier.
    pub fn drop_expired(&mut self, now: Timestamp) -> Vec<WalletUpdate> {
        let over: Vec<_> = self
            .waiting
            .iter()
            .filter(|waiting| {
                waiting.standing == Standing::Pending && waiting.request.says().expires_at <= now
            })
            .map(|waiting| waiting.request.id())
            .collect();
        over.into_iter().flat_map(|id| self.end(id, Finish::Expired(ExpireReason::Timeout))).collect()
    }

    fn arrive(&mut self, id: ChallengeId, text: &str, now: Timestamp) -> Vec<WalletUpdate> {
        if !self.may_arrive(id, text) {
            return Vec::new();
        }
        let request = match Request::read(id, text) {
            Ok(request) => request,
            Err(reason) => {
                self.finish_with(id, Finish::Refused, None);
                return vec![WalletUpdate::ChallengeRefused { challenge_id: id, reason: reason.to_string() }];
            }
        };
        if request.says().expires_at <= now {
            return Vec::new();
        }
        self.changes += 1;
        let created_at = request.says().created_at;
        let newer = |waiting: &Waiting| waiting.request.says().created_at > created_at;
        let place = self.waiting.iter().position(|waiting| !newer(waiting)).unwrap_or(self.waiting.len());
        let says = Box::new(request.says().clone());
        let request = Arc::new(request);
        let (standing, changed) = (Standing::Pending, self.changes);
        self.waiting.insert(place, Waiting { request, standing, return_to: None, changed });
        let mut updates = vec![WalletUpdate::ChallengeCreated { challenge_id: id, request: says }];
        if self.waiting.len() > MAX_REQUESTS
            && let Some(oldest) = self.waiting.last().map(|waiting| waiting.request.id())
        {
            updates.extend(self.end(oldest, Finish::Gone));
        }
        updates
    }

    fn stand(&mut self, id: ChallengeId, standing: Standing) -> Vec<WalletUpdate> {
        let changes = self.changes + 1;
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.request.id() == id) else {
            return Vec::new();
        };
        if waiting.standing == standing {
            return Vec::new();
        }
        waiting.standing = standing;
        waiting.changed = changes;
        // A yes that was taken back takes its response code along.
        waiting.return_to = None;
        self.changes = changes;
        vec![match standing {
            Standing::Approved => WalletUpdate::Approved { challenge_id: id },
            Standing::Pending => WalletUpdate::Cancelled { challenge_id: id },
        }]
    }

    /// Keeps where to send the browser, where that is an address of this challenge and of this gateway.
    fn keep_return(&mut self, id: ChallengeId, address: Option<&str>) {
        let Some(address) = address else { return };
        let found = self.waiting.iter_mut().find(|waiting| waiting.request.id() == id);
        let Some(waiting) = found.filter(|waiting| {
            waiting.standing == Standing::Approved && waiting.request.says().binding == Binding::Linked
        }) else {
            return;
        };
        waiting.return_to = ReturnTo::read(address, id, &self.issuer, &self.did);
        if waiting.return_to.is_none() {
            tracing::warn!(challenge_id = %id, "the gateway named an address that is not opened");
        }
    }
}
