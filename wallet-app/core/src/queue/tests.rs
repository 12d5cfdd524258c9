use miid_protocol::Lifetime;
use miid_protocol::events::{
    ChallengeAt, ChallengeCreated, ChallengeDenied, ChallengeExchanged, ChallengeExpired, SessionCreated,
    SessionRevoked,
};
use miid_protocol::service::RevokeReason;

use super::*;
use crate::request::tests::{T, id, sample, step_up};
use crate::vault::tests::gateway;

fn empty() -> Queue {
    Queue::new(gateway(), crate::identity::Identity::from_seed(&[7; 32]).did().clone())
}
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
    WalletEvent::ChallengeDenied(ChallengeDenied { challenge_id: id(n), reason: DenyReason::Declined, at: T })
}
fn session() -> SessionId {
    SessionId::parse("0198e0a0-0000-7000-8000-00000000beef").expect("id")
}
fn active(n: u32) -> WalletEvent {
    let session_id = session();
    WalletEvent::SessionCreated(SessionCreated { challenge_id: id(n), session_id, sub: "s".into(), at: T })
}
fn live() -> WalletSession {
    WalletSession {
        session_id: session(),
        service: miid_protocol::wallet::SessionService { id: sample(1).service.id, name: "Demo Shop".into() },
        scopes: Vec::new(),
        claims: Vec::new(),
        created_at: T,
        last_used_at: T,
        expires_at: T,
    }
}
fn asked_again(n: u32) -> WalletEvent {
    WalletEvent::ChallengeCreated(ChallengeCreated { challenge_id: id(n), request: step_up(n).to_text() })
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
    let mut queue = empty();
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
    let mut queue = empty();
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
    let mut queue = empty();
    let event =
        WalletEvent::ChallengeCreated(ChallengeCreated { challenge_id: id(1), request: sample(2).to_text() });
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
    let live = live();
    let mut queue = empty();
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

#[test]
fn what_was_gone_comes_back_only_as_what_it_was() {
    let mut queue = queue(&[created(1)]);
    let mut other = listed(1, ChallengeStatus::Pending);
    let mut says = sample(1);
    says.service.name = "Another Shop".into();
    other.request = says.to_text();
    let asked = queue.mark();
    assert_eq!(queue.apply_challenges(&[], asked, T), [WalletUpdate::Gone { challenge_id: id(1) }]);
    // In the list, by the stream, and by a link.
    let asked = queue.mark();
    assert_eq!(queue.apply_challenges(&[other.clone()], asked, T), []);
    let request = other.request.clone();
    let event = WalletEvent::ChallengeCreated(ChallengeCreated { challenge_id: id(1), request });
    assert_eq!(queue.apply_event(&event, T), []);
    assert!(queue.waiting().is_empty());
    assert_eq!(queue.apply_event(&created(1), T).len(), 1);
    assert_eq!(queue.find(id(1)).expect("waits").request.says().service.name, "Demo Shop");
    // And once more: it is still known by what it said first.
    let asked = queue.mark();
    queue.apply_challenges(&[], asked, T);
    assert_eq!(queue.apply_event(&event, T), []);
}

#[test]
fn the_end_of_a_session_that_nobody_knew_is_no_news() {
    let revoked = WalletEvent::SessionRevoked(SessionRevoked {
        session_id: session(),
        sub: "s".into(),
        reason: RevokeReason::User,
        at: T,
    });
    let mut queue = queue(&[]);
    assert_eq!(queue.apply_event(&revoked, T), []);
    // One that came of a request is, also where no list had it.
    let mut queue = self::queue(&[created(1), approved(1), active(1)]);
    assert_eq!(queue.apply_event(&revoked, T).len(), 1);
}

#[test]
fn a_step_up_ends_confirmed_and_makes_no_session() {
    let exchanged = WalletEvent::ChallengeExchanged(ChallengeExchanged {
        challenge_id: id(1),
        session_id: session(),
        at: T,
    });
    let confirmed = [WalletUpdate::Confirmed { challenge_id: id(1), session_id: session() }];
    let mut queue = queue(&[asked_again(1), approved(1)]);
    assert_eq!(queue.apply_event(&exchanged, T), confirmed);
    assert_eq!(queue.apply_event(&exchanged, T), []);
    assert_eq!((queue.waiting().len(), queue.sessions().len()), (0, 0));
    // Said also where the yes was given on another device, or a list without it came first.
    assert_eq!(empty().apply_event(&exchanged, T), confirmed);
    let mut queue = self::queue(&[asked_again(1), approved(1)]);
    queue.apply_challenges(&[], queue.mark(), T);
    assert_eq!(queue.apply_event(&exchanged, T), confirmed);
}

#[test]
fn a_step_up_goes_with_its_session_whichever_is_heard_of_first() {
    let reason = ExpireReason::SessionEnded;
    let over = WalletEvent::ChallengeExpired(ChallengeExpired { challenge_id: id(1), reason, at: T });
    let revoked = WalletEvent::SessionRevoked(SessionRevoked {
        session_id: session(),
        sub: "s".into(),
        reason: RevokeReason::User,
        at: T,
    });
    for order in [[&over, &revoked], [&revoked, &over]] {
        let mut queue = queue(&[asked_again(1), approved(1)]);
        queue.apply_sessions(vec![live()]);
        let updates: Vec<_> = order.into_iter().flat_map(|event| queue.apply_event(event, T)).collect();
        assert!(updates.contains(&WalletUpdate::Expired { challenge_id: id(1), reason }), "{updates:?}");
        assert_eq!((updates.len(), queue.waiting().len(), queue.sessions().len()), (2, 0, 0));
    }
}

#[test]
fn since_when_a_session_is_there_is_said_of_the_services_own_alone() {
    let mut queue = empty();
    queue.apply_sessions(vec![live()]);
    let mut says = step_up(1);
    assert_eq!(queue.session_since(&says), Some(T));
    assert_eq!(queue.session_since(&sample(1)), None);
    says.service.id = miid_protocol::ClientId::parse("other-shop").expect("id");
    assert_eq!(queue.session_since(&says), None);
    queue.apply_sessions(Vec::new());
    assert_eq!(queue.session_since(&step_up(1)), None);
}
