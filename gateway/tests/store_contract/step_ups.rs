//! Step-ups: opened only in a session that lives, answered by its person alone, and over when it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use miid_gateway::clock::uuid_v7;
use miid_gateway::domain::challenge::{Approved, Grant, Redeem};
use miid_gateway::domain::{Challenge, Refusal, State, Step, StepUp};
use miid_gateway::store::{Created, LogPage, NewChallenge, Position};
use miid_gateway::streams::StreamKey;
use miid_protocol::service::{Binding, ChallengeStatus, EndReason, ExpireReason, RevokeReason};
use miid_protocol::{ChallengeId, Lifetime, SessionId};

use crate::fresh::{Fresh, did, on_both, shop};
use crate::links::{linked, take};
use crate::retirement::{keep_changing, open_sessions, retire, supersede};

on_both!(
    a_step_up_is_over_when_its_session_is_in_the_same_transaction,
    a_session_that_ran_out_takes_its_step_ups_along_before_anybody_sweeps,
    a_step_up_is_answered_by_nobody_but_its_sessions_person,
    of_many_step_ups_at_once_three_are_pending_in_a_session,
    what_is_opened_beside_the_end_of_its_session_ends_with_it_or_is_refused,
    an_exchange_beside_the_end_of_its_session_is_before_it_or_nothing,
    whoever_keeps_changing_a_step_up_does_not_keep_its_session_alive,
);

/// One that is about to be opened in a session of this person's.
fn asking(fresh: &Fresh, name: &str, session_id: SessionId, binding: Binding) -> NewChallenge {
    let mut new = match binding {
        Binding::Linked => linked(fresh),
        Binding::Addressed => fresh.pending(name),
    };
    let session_until = fresh.store.clock().now().plus(Lifetime::from_secs(10));
    new.challenge.known_browser = binding == Binding::Addressed;
    new.challenge.step_up = Some(StepUp { session_id, did: Some(did(name)), session_until });
    new
}

async fn opened(fresh: &Fresh, name: &str, session_id: SessionId, binding: Binding) -> ChallengeId {
    match fresh.open_challenge(asking(fresh, name, session_id, binding)).await {
        Created::New(challenge) => challenge.id,
        other => panic!("not new: {other:?}"),
    }
}

/// Approves it, as far as the store is concerned; false where it was over by then.
async fn approve(fresh: &Fresh, id: ChallengeId) -> bool {
    let approving = fresh.store.write("approve", move |tx| {
        Box::pin(async move {
            let found = tx.challenge_of_service(id, &shop()).await?.expect("there");
            if found.standing(tx.now).0 != ChallengeStatus::Pending {
                return Ok(false);
            }
            let grant =
                Grant { id: uuid_v7(tx.now), scopes: vec![], disclosure: None, statement: String::new() };
            let code_expires_at = tx.now.plus(Lifetime::from_secs(120));
            let state = State::Approved(Approved { code_expires_at, grant });
            let (version, approvals) = (found.version + 1, found.approvals + 1);
            let next = Challenge { version, approvals, state, changed_at: tx.now, ..found };
            tx.advance(Step { next, wallet: None, service: None }, None);
            Ok(true)
        })
    });
    approving.await.expect("the store works")
}

/// Exchanges it, as far as the store is concerned; false where nothing came of it.
async fn exchange(fresh: &Fresh, id: ChallengeId) -> bool {
    let exchanging = fresh.store.write("exchange", move |tx| {
        Box::pin(async move {
            let (challenge, _) = tx.challenge_for_exchange(id).await?.expect("there");
            let Redeem::StepUp(confirmed) = challenge.redeem(tx.now) else { return Ok(false) };
            let session = tx.session(confirmed.session_id()).await?.expect("there");
            if !session.is_live(tx.now) {
                return Ok(false);
            }
            tx.advance(confirmed.spend(tx.now), None);
            Ok(true)
        })
    });
    exchanging.await.expect("the store works")
}

async fn end(fresh: &Fresh, id: SessionId) {
    let ending = fresh.store.write("revoke", move |tx| {
        Box::pin(async move {
            let session = tx.session(id).await?.expect("there");
            tx.revoke_session(&session, RevokeReason::User, None).await
        })
    });
    ending.await.expect("the store works");
}

async fn read(fresh: &Fresh, id: ChallengeId) -> Challenge {
    let mut reader = fresh.store.read().await.expect("a reader");
    reader.challenge_of_service(id, &shop()).await.expect("read").expect("there")
}

const OVER: (ChallengeStatus, Option<EndReason>) =
    (ChallengeStatus::Expired, Some(EndReason::Expired(ExpireReason::SessionEnded)));

async fn a_step_up_is_over_when_its_session_is_in_the_same_transaction(fresh: Fresh) {
    for (i, way) in ["swept", "revoked", "superseded", "retired"].into_iter().enumerate() {
        let name = &format!("person{i}");
        let session = open_sessions(&fresh, name, 1).await[0];
        let other = open_sessions(&fresh, &format!("other{i}"), 1).await[0];
        let unclaimed = opened(&fresh, name, session, Binding::Linked).await;
        let claimed = opened(&fresh, name, session, Binding::Linked).await;
        take(&fresh, name, claimed).await.expect("claimed");
        let approved = opened(&fresh, name, session, Binding::Addressed).await;
        assert!(approve(&fresh, approved).await);
        let elsewhere = opened(&fresh, &format!("other{i}"), other, Binding::Linked).await;
        let (wallet, service) = (StreamKey::wallet(&did(name)), StreamKey::service(&shop()));
        let mut reader = fresh.store.read().await.expect("a reader");
        let before = reader.head(&wallet).await.expect("a head");
        let told_before = reader.head(&service).await.expect("a head");
        drop(reader);
        match way {
            "revoked" => end(&fresh, session).await,
            "superseded" => supersede(&fresh, name, 0).await,
            "retired" => assert_eq!(retire(&fresh, name).await.ended, Some(1)),
            _ => {
                fresh.wait(9_998); // and not those of the other's
                assert!(fresh.store.sweep_deadlines().await.expect("swept").sessions > 0);
            }
        }
        for id in [unclaimed, claimed, approved] {
            let challenge = read(&fresh, id).await;
            assert_eq!(challenge.state, State::Expired(ExpireReason::SessionEnded), "{way}");
        }
        let LogPage::Events(told) = fresh.log(&service, told_before).await else { panic!("in the log") };
        let about: BTreeSet<_> = told
            .iter()
            .filter(|event| event.name == "challenge_expired" && event.data.contains("session_ended"))
            .filter_map(|event| event.about.clone())
            .collect();
        let expected: BTreeSet<_> = [unclaimed, claimed, approved].map(|id| id.to_string()).into();
        assert_eq!(about, expected, "{way}: {told:?}");
        let LogPage::Events(told) = fresh.log(&wallet, before).await else { panic!("in the log") };
        let expired = told.iter().filter(|event| event.name == "challenge_expired").count();
        assert_eq!(expired, 2, "{way}: nobody had the third");
        assert!(!exchange(&fresh, approved).await && !approve(&fresh, claimed).await);
        assert_eq!(read(&fresh, elsewhere).await.state, State::Pending, "another session's goes on");
    }
}

async fn a_session_that_ran_out_takes_its_step_ups_along_before_anybody_sweeps(fresh: Fresh) {
    let session = open_sessions(&fresh, "alice", 1).await[0];
    let pending = opened(&fresh, "alice", session, Binding::Linked).await;
    let approved = opened(&fresh, "alice", session, Binding::Addressed).await;
    assert!(approve(&fresh, approved).await);
    fresh.wait(9_999);
    let now = fresh.store.clock().now();
    for id in [pending, approved] {
        assert_eq!(read(&fresh, id).await.standing(now), OVER);
    }
    assert_eq!(take(&fresh, "alice", pending).await, Err("over"));
    assert!(!exchange(&fresh, approved).await);
    let late = fresh.open_challenge(asking(&fresh, "alice", session, Binding::Linked)).await;
    assert!(matches!(late, Created::SessionOver), "{late:?}");
    // Refreshed in time, everything goes on.
    let session = open_sessions(&fresh, "bob", 1).await[0];
    let pending = opened(&fresh, "bob", session, Binding::Linked).await;
    let refreshing = fresh.store.write("refresh", move |tx| {
        Box::pin(async move {
            let session = tx.session(session).await?.expect("there");
            tx.rotate(&session, tx.now.plus(Lifetime::from_secs(100))).await
        })
    });
    assert!(refreshing.await.expect("the store works"));
    fresh.wait(50_000);
    assert_eq!(take(&fresh, "bob", pending).await, Ok(0));
}

async fn a_step_up_is_answered_by_nobody_but_its_sessions_person(fresh: Fresh) {
    let session = open_sessions(&fresh, "alice", 1).await[0];
    let id = opened(&fresh, "alice", session, Binding::Linked).await;
    let seen = read(&fresh, id).await;
    let racing: Vec<String> =
        (0..8).map(|i| if i == 5 { "alice".to_owned() } else { format!("thief{i}") }).collect();
    let claims = join_all(racing.iter().map(|name| take(&fresh, name, id))).await;
    for (name, claim) in racing.iter().zip(claims) {
        assert_eq!(claim, if name == "alice" { Ok(0) } else { Err("for another") }, "{name}");
    }
    let challenge = read(&fresh, id).await;
    assert_eq!((challenge.did, challenge.version), (Some(did("alice")), seen.version + 1));
    assert_eq!(
        seen.claim(&did("mallory"), "person", fresh.store.clock().now()).err(),
        Some(Refusal::AnotherPerson)
    );
    // A hint that names somebody else opens nothing.
    let mut new = asking(&fresh, "mallory", session, Binding::Addressed);
    new.challenge.step_up.as_mut().expect("a step-up").did = Some(did("alice"));
    assert!(matches!(fresh.open_challenge(new).await, Created::AnotherPerson));
}

async fn of_many_step_ups_at_once_three_are_pending_in_a_session(fresh: Fresh) {
    let sessions = [open_sessions(&fresh, "alice", 1).await[0], open_sessions(&fresh, "bob", 1).await[0]];
    let asking = (0..12).map(|i| {
        let name = if i % 2 == 0 { "alice" } else { "bob" };
        fresh.open_challenge(asking(&fresh, name, sessions[i % 2], Binding::Linked))
    });
    let created = join_all(asking).await;
    for session in 0..2 {
        let of_session = || created.iter().skip(session).step_by(2);
        assert_eq!(of_session().filter(|c| matches!(c, Created::New(_))).count(), 3, "{created:?}");
        assert_eq!(of_session().filter(|c| matches!(c, Created::TooMany(_))).count(), 3, "{created:?}");
    }
    // What was answered does not count.
    let first = created.iter().find_map(|c| match c {
        Created::New(challenge) => Some(challenge.clone()),
        _ => None,
    });
    let first = first.expect("three of them");
    let (name, session) = if first.step_up.as_ref().expect("a step-up").session_id == sessions[0] {
        ("alice", sessions[0])
    } else {
        ("bob", sessions[1])
    };
    assert!(approve(&fresh, first.id).await);
    opened(&fresh, name, session, Binding::Linked).await;
}

/// A few turns of the scheduler, so that rounds meet at different moments.
async fn turns(n: usize) {
    for _ in 0..n {
        tokio::task::yield_now().await;
    }
}

async fn what_is_opened_beside_the_end_of_its_session_ends_with_it_or_is_refused(fresh: Fresh) {
    for i in 0..40 {
        let name = format!("person{i}");
        let session = open_sessions(&fresh, &name, 1).await[0];
        let binding = if i % 2 == 0 { Binding::Linked } else { Binding::Addressed };
        let ending = async {
            turns(i % 8).await;
            match i % 3 {
                0 => end(&fresh, session).await,
                1 => supersede(&fresh, &name, 0).await,
                _ => drop(retire(&fresh, &name).await),
            }
        };
        let new = asking(&fresh, &name, session, binding);
        let id = new.challenge.id;
        let ((), created) = tokio::join!(ending, fresh.open_challenge(new));
        match created {
            Created::New(_) => {
                let state = read(&fresh, id).await.state;
                assert_eq!(state, State::Expired(ExpireReason::SessionEnded), "round {i}");
            }
            Created::SessionOver => {}
            other => panic!("round {i}: {other:?}"),
        }
    }
}

async fn an_exchange_beside_the_end_of_its_session_is_before_it_or_nothing(fresh: Fresh) {
    for i in 0..40 {
        let name = format!("person{i}");
        let session = open_sessions(&fresh, &name, 1).await[0];
        let id = opened(&fresh, &name, session, Binding::Addressed).await;
        assert!(approve(&fresh, id).await);
        let ending = async {
            turns(i % 8).await;
            match i % 3 {
                0 => end(&fresh, session).await,
                1 => supersede(&fresh, &name, 0).await,
                _ => drop(retire(&fresh, &name).await),
            }
        };
        let ((), one, other) = tokio::join!(ending, exchange(&fresh, id), exchange(&fresh, id));
        assert!(!(one && other), "round {i}: once");
        match read(&fresh, id).await.state {
            State::Active(active) => assert!((one || other) && active.session_id == session, "round {i}"),
            state => {
                assert!(!one && !other, "round {i}");
                assert_eq!(state, State::Expired(ExpireReason::SessionEnded), "round {i}");
            }
        }
        let mut reader = fresh.store.read().await.expect("a reader");
        let told = reader.log_about(&shop(), id, Position(0)).await.expect("the log");
        let expected = if one || other { "challenge_exchanged" } else { "challenge_expired" };
        assert_eq!(told.iter().map(|event| &*event.name).collect::<Vec<_>>(), [expected], "round {i}");
    }
}

async fn whoever_keeps_changing_a_step_up_does_not_keep_its_session_alive(fresh: Fresh) {
    let session = open_sessions(&fresh, "alice", 1).await[0];
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(opened(&fresh, "alice", session, Binding::Linked).await);
    }
    let (changed, stop) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    let changing = join_all(ids.iter().map(|id| keep_changing(&fresh, *id, changed.clone(), &stop)));
    let ending = async {
        while changed.load(Ordering::Relaxed) < 50 {
            tokio::task::yield_now().await;
        }
        end(&fresh, session).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(changing, ending);
    for id in ids {
        assert_eq!(read(&fresh, id).await.state, State::Expired(ExpireReason::SessionEnded));
    }
}
