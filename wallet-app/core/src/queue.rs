//! Everything that waits, and the sessions that live: what the wallet knows of one gateway. Pure.
//!
//! Three sources feed it, in any order and more than once: the event stream, the lists, and the answers to our
//! own decisions. So each step looks at what is already known: an event seen before changes nothing, what is
//! over does not come back, and a list that was asked for before a decision does not undo it.

use std::collections::VecDeque;
use std::sync::Arc;

use miid_protocol::events::WalletEvent;
use miid_protocol::service::{ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::wallet::{DecisionOutcome, WalletChallenge, WalletSession};
use miid_protocol::{ChallengeId, SessionId, Timestamp};
use serde::Serialize;

use crate::request::Request;
use crate::update::WalletUpdate;

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
    /// When this changed last, in changes of the queue.
    changed: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// There is a session.
    Active(SessionId),
    /// Denied.
    Denied(DenyReason),
    /// Over.
    Expired(ExpireReason),
    /// It cannot be shown.
    Refused,
    /// It was no longer in the list. Should it be there again, so is the request.
    Gone,
}

/// A moment in the queue's life; what was asked for at one moment is judged by it when the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// What waits, and the sessions.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Vec<Waiting>,
    sessions: Vec<WalletSession>,
    ended_sessions: VecDeque<SessionId>,
    /// Services of sessions listed before: the event that ends one may come after a list without it.
    session_names: VecDeque<(SessionId, String)>,
    finished: VecDeque<(ChallengeId, Finish)>,
    changes: u64,
}

impl Queue {
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
        self.finished.iter().find(|(finished, _)| *finished == id).map(|(_, finish)| *finish)
    }

    /// Live sessions, newest first.
    pub fn sessions(&self) -> &[WalletSession] {
        &self.sessions
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
            WalletEvent::SessionRevoked(revoked) => {
                let service = self.drop_session(revoked.session_id);
                match service {
                    Dropped::AlreadyKnown => Vec::new(),
                    Dropped::Now(service) => vec![WalletUpdate::SessionRevoked {
                        session_id: revoked.session_id,
                        reason: revoked.reason,
                        service,
                        at: revoked.at,
                    }],
                }
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

    /// The list of sessions.
    pub fn apply_sessions(&mut self, list: Vec<WalletSession>) -> Vec<WalletUpdate> {
        self.sessions = list;
        for session in &self.sessions {
            if !self.session_names.iter().any(|(id, _)| *id == session.session_id) {
                self.session_names.push_back((session.session_id, session.service.name.clone()));
            }
        }
        while self.session_names.len() > MAX_FINISHED {
            self.session_names.pop_front();
        }
        self.sessions.retain(|session| !self.ended_sessions.contains(&session.session_id));
        vec![WalletUpdate::Sessions { count: self.sessions.len() }]
    }

    /// The answer to a decision of ours.
    pub fn apply_outcome(&mut self, outcome: &DecisionOutcome) -> Vec<WalletUpdate> {
        let id = outcome.challenge_id;
        match (outcome.status, outcome.reason) {
            (ChallengeStatus::Pending, _) => self.stand(id, Standing::Pending),
            (ChallengeStatus::Approved, _) => self.stand(id, Standing::Approved),
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
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.request.id() != id);
        let was_waiting = self.waiting.len() < before;
        let earlier = self.finish(id);
        // A session is news even for a request that was approved elsewhere, or that only seemed gone.
        let is_news = match (earlier, finish) {
            (None, _) => was_waiting || matches!(finish, Finish::Active(_)),
            (Some(Finish::Gone), finish) => finish != Finish::Gone,
            (Some(_), _) => false,
        };
        if earlier.is_none() || is_news {
            self.finish_with(id, finish);
        }
        if !is_news {
            return Vec::new();
        }
        vec![match finish {
            Finish::Active(session_id) => WalletUpdate::Active { challenge_id: id, session_id },
            Finish::Denied(reason) => WalletUpdate::Denied { challenge_id: id, reason },
            Finish::Expired(reason) => WalletUpdate::Expired { challenge_id: id, reason },
            Finish::Refused | Finish::Gone => WalletUpdate::Gone { challenge_id: id },
        }]
    }

    fn finish_with(&mut self, id: ChallengeId, finish: Finish) {
        self.changes += 1;
        self.finished.retain(|(finished, _)| *finished != id);
        self.finished.push_back((id, finish));
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
        // Also where the text differs now: what the person has seen does not change under their eyes.
        if self.find(id).is_some() || self.finish(id).is_some_and(|finish| finish != Finish::Gone) {
            return Vec::new();
        }
        let request = match Request::read(id, text) {
            Ok(request) => request,
            Err(reason) => {
                self.finish_with(id, Finish::Refused);
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
        self.waiting.insert(place, Waiting { request, standing: Standing::Pending, changed: self.changes });
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
        self.changes = changes;
        vec![match standing {
            Standing::Approved => WalletUpdate::Approved { challenge_id: id },
            Standing::Pending => WalletUpdate::Cancelled { challenge_id: id },
        }]
    }

    fn drop_session(&mut self, id: SessionId) -> Dropped {
        if self.ended_sessions.contains(&id) {
            return Dropped::AlreadyKnown;
        }
        self.ended_sessions.push_back(id);
        if self.ended_sessions.len() > MAX_FINISHED {
            self.ended_sessions.pop_front();
        }
        let name = self.session_names.iter().find(|(known, _)| *known == id).map(|(_, name)| name.clone());
        self.sessions.retain(|session| session.session_id != id);
        Dropped::Now(name)
    }
}

enum Dropped {
    AlreadyKnown,
    Now(Option<String>),
}

#[cfg(test)]
mod tests {
    use miid_protocol::Lifetime;
    use miid_protocol::events::{
        ChallengeAt, ChallengeCreated, ChallengeDenied, SessionCreated, SessionRevoked,
    };
    use miid_protocol::service::RevokeReason;

    use super::*;
    use crate::request::tests::{T, id, sample};

    fn created(n: u32) -> WalletEvent {
        WalletEvent::ChallengeCreated(ChallengeCreated { challenge_id: id(n), request: sample(n).to_text() })
    }
    fn approved(n: u32) -> WalletEvent {
        WalletEvent::ChallengeApproved(ChallengeAt { challenge_id: id(n), at: T })
    }
    fn cancelled(n: u32) -> WalletEvent {
        WalletEvent::ApprovalCancelled(ChallengeAt { challenge_id: id(n), at: T })
    }
    fn denied(n: u32) -> WalletEvent {
        WalletEvent::ChallengeDenied(ChallengeDenied {
            challenge_id: id(n),
            reason: DenyReason::Declined,
            at: T,
        })
    }
    fn session() -> SessionId {
        SessionId::parse("0198e0a0-0000-7000-8000-00000000beef").expect("id")
    }
    fn active(n: u32) -> WalletEvent {
        let session_id = session();
        WalletEvent::SessionCreated(SessionCreated {
            challenge_id: id(n),
            session_id,
            sub: "s".into(),
            at: T,
        })
    }
    fn listed(n: u32, status: ChallengeStatus) -> WalletChallenge {
        let says = sample(n);
        let (request, expires_at) = (says.to_text(), says.expires_at);
        WalletChallenge { challenge_id: id(n), status, request, expires_at, return_to: None }
    }
    fn ids(queue: &Queue) -> Vec<(ChallengeId, Standing)> {
        queue.waiting().iter().map(|waiting| (waiting.request.id(), waiting.standing)).collect()
    }
    fn queue(events: &[WalletEvent]) -> Queue {
        let mut queue = Queue::default();
        for event in events {
            queue.apply_event(event, T);
        }
        queue
    }

    #[test]
    fn the_newest_stands_first_however_they_come() {
        let queue = queue(&[created(2), created(3), created(1)]);
        let order: Vec<_> = queue.waiting().iter().map(|waiting| waiting.request.id()).collect();
        assert_eq!(order, [id(3), id(2), id(1)]);
    }

    #[test]
    fn an_event_seen_twice_changes_nothing_the_second_time() {
        let events = [created(1), approved(1), cancelled(1), approved(1), active(1)];
        let mut queue = Queue::default();
        for event in &events {
            assert_eq!(queue.apply_event(event, T).len(), 1, "{event:?}");
        }
        for event in &events {
            assert_eq!(queue.apply_event(event, T), [], "{event:?}");
        }
        assert!(queue.waiting().is_empty());
        assert_eq!(queue.finish(id(1)), Some(Finish::Active(session())));
    }

    #[test]
    fn what_was_shown_does_not_change_under_the_eyes() {
        let mut queue = queue(&[created(1)]);
        let mut other = sample(1);
        other.service.name = "Another Shop".into();
        let other =
            WalletEvent::ChallengeCreated(ChallengeCreated { challenge_id: id(1), request: other.to_text() });
        assert_eq!(queue.apply_event(&other, T), []);
        assert_eq!(queue.find(id(1)).expect("waits").request.says().service.name, "Demo Shop");
    }

    #[test]
    fn a_request_that_cannot_be_shown_is_dropped_and_said_once() {
        let mut queue = Queue::default();
        let event = WalletEvent::ChallengeCreated(ChallengeCreated {
            challenge_id: id(1),
            request: sample(2).to_text(),
        });
        assert!(matches!(queue.apply_event(&event, T)[..], [WalletUpdate::ChallengeRefused { .. }]));
        assert_eq!(queue.apply_event(&event, T), []);
        assert!(queue.waiting().is_empty());
    }

    #[test]
    fn what_ran_out_is_dropped_by_the_clock_and_never_taken_in() {
        let mut queue = queue(&[created(1), created(60), approved(1)]);
        let late = T.plus(Lifetime::from_secs(360));
        assert_eq!(queue.next_expiry(), Some(late));
        let expired = WalletUpdate::Expired { challenge_id: id(60), reason: ExpireReason::Timeout };
        assert_eq!(queue.drop_expired(late), [expired]);
        // The approved one is the gateway's to end: its code lives on its own time.
        assert_eq!(ids(&queue), [(id(1), Standing::Approved)]);
        assert_eq!(queue.apply_event(&created(2), late), []);
    }

    #[test]
    fn after_a_resync_the_list_says_what_waits() {
        let mut queue = queue(&[created(1), created(2), created(3), approved(3)]);
        let list = [
            listed(4, ChallengeStatus::Pending),
            listed(3, ChallengeStatus::Pending),
            listed(2, ChallengeStatus::Approved),
        ];
        let updates = queue.apply_challenges(&list, queue.mark(), T);
        assert_eq!(
            ids(&queue),
            [(id(4), Standing::Pending), (id(3), Standing::Pending), (id(2), Standing::Approved)]
        );
        assert!(updates.contains(&WalletUpdate::Gone { challenge_id: id(1) }));
        // What the list could not say still comes by the stream.
        let news = queue.apply_event(&active(1), T);
        assert_eq!(news, [WalletUpdate::Active { challenge_id: id(1), session_id: session() }]);
    }

    #[test]
    fn a_list_asked_for_before_a_decision_does_not_undo_it() {
        let mut queue = queue(&[created(1), created(2)]);
        let asked = queue.mark();
        queue.apply_event(&approved(1), T);
        queue.apply_event(&created(3), T);
        queue.apply_event(&denied(2), T);
        let list = [listed(2, ChallengeStatus::Pending), listed(1, ChallengeStatus::Pending)];
        assert_eq!(queue.apply_challenges(&list, asked, T), []);
        assert_eq!(ids(&queue), [(id(3), Standing::Pending), (id(1), Standing::Approved)]);
    }

    #[test]
    fn an_own_decision_counts_before_its_event_arrives() {
        let mut queue = queue(&[created(1)]);
        let outcome =
            |status| DecisionOutcome { challenge_id: id(1), status, reason: None, at: T, return_to: None };
        let updates = queue.apply_outcome(&outcome(ChallengeStatus::Approved));
        assert_eq!(updates, [WalletUpdate::Approved { challenge_id: id(1) }]);
        assert_eq!(queue.apply_event(&approved(1), T), []);
        let updates = queue.apply_outcome(&outcome(ChallengeStatus::Pending));
        assert_eq!(updates, [WalletUpdate::Cancelled { challenge_id: id(1) }]);
    }

    #[test]
    fn a_session_that_ended_is_told_once_and_does_not_come_back_by_an_old_list() {
        let live = WalletSession {
            session_id: session(),
            service: miid_protocol::wallet::SessionService {
                id: sample(1).service.id,
                name: "Demo Shop".into(),
            },
            scopes: Vec::new(),
            claims: Vec::new(),
            created_at: T,
            last_used_at: T,
            expires_at: T,
        };
        let mut queue = Queue::default();
        queue.apply_sessions(vec![live.clone()]);
        queue.apply_sessions(Vec::new());
        let event = WalletEvent::SessionRevoked(SessionRevoked {
            session_id: session(),
            sub: "s".into(),
            reason: RevokeReason::User,
            at: T,
        });
        let updates = queue.apply_event(&event, T);
        let [WalletUpdate::SessionRevoked { service, .. }] = &updates[..] else { panic!("{updates:?}") };
        assert_eq!(service.as_deref(), Some("Demo Shop"));
        assert_eq!(queue.apply_event(&event, T), []);
        assert_eq!(queue.apply_sessions(vec![live]), [WalletUpdate::Sessions { count: 0 }]);
    }

    #[test]
    fn a_gateway_that_floods_is_bounded() {
        let many = u32::try_from(MAX_REQUESTS).expect("small") + 10;
        let events: Vec<_> = (0..many).map(created).collect();
        let queue = queue(&events);
        assert_eq!(queue.waiting().len(), MAX_REQUESTS);
        assert_eq!(queue.waiting()[0].request.id(), id(many - 1));
    }
}
