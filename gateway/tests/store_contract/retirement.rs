//! An identity ends: nothing of it stays live, and nothing slips past.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use miid_gateway::clock::random;
use miid_gateway::domain::{Challenge, Session, Step};
use miid_gateway::keys::ServerKeys;
use miid_gateway::store::{Claim, Created, ForDecision, LogPage, Position, Retired};
use miid_gateway::streams::{EventStream, Filter, Limits, Start, StreamKey};
use miid_gateway::verify::Received;
use miid_protocol::service::{ChallengeStatus, RevokeReason};
use miid_protocol::statement::{self, Decision, Signed};
use miid_protocol::{ChallengeId, SessionId, jws};

use zeroize::Zeroizing;

use crate::fresh::{Fresh, claim, did, issuer, key, on_both, proof, session_of, shop, standing};
use crate::links::{new_link, take};
use crate::retention;

on_both!(
    a_retirement_ends_everything_once,
    what_is_asked_for_beside_a_retirement_is_ended_or_refused,
    whoever_keeps_changing_what_is_open_does_not_hold_a_retirement_off,
    a_reader_that_jumps_over_the_end_of_its_stream_is_sent_away,
    of_several_sessions_only_the_oldest_make_room,
);

pub(crate) async fn retire(fresh: &Fresh, name: &str) -> Retired {
    let now = fresh.store.clock().now();
    let jti = jws::encode(&random::<16>());
    let token = statement::sign(&key(name), Decision::Retire, &issuer(), &jti, now.seconds());
    let signed = Signed::open(&token).expect("signed just now");
    let (issuer, did) = (issuer(), did(name));
    let retirement =
        Received { issuer: &issuer, now, did: &did }.retirement(&signed).expect("a good statement");
    let inputs = Arc::new((did, format!("person of {name}"), retirement));
    fresh
        .store
        .write("retire", move |tx| {
            let inputs = inputs.clone();
            Box::pin(async move { tx.retire(&inputs.0, &inputs.1, &inputs.2).await })
        })
        .await
        .expect("the store works")
}

async fn a_retirement_ends_everything_once(fresh: Fresh) {
    let pending = fresh.new_challenge("alice").await;
    let link = new_link(&fresh).await;
    assert_eq!(take(&fresh, "alice", link.id).await, Ok(0));
    assert_eq!(claim(&fresh, "alice", "alice").await, Claim::Held);
    let untouched = fresh.new_challenge("bob").await;
    let sessions: Vec<Session> = (0..100).map(|_| session_of(&fresh, "alice")).collect();
    let (opened, id) = (Arc::new(sessions), session_of(&fresh, "alice").id);
    let last = opened.last().map_or(id, |session| session.id);
    let opening = fresh.store.write("open_sessions", move |tx| {
        let sessions = opened.clone();
        Box::pin(async move {
            sessions.iter().for_each(|session| tx.open_session(session));
            Ok(())
        })
    });
    opening.await.expect("opened");

    let at = fresh.store.clock().now();
    assert_eq!(retire(&fresh, "alice").await, Retired { at, ended: Some(100) });
    fresh.wait(1000);
    assert_eq!(retire(&fresh, "alice").await, Retired { at, ended: None }, "again");
    for id in [pending.id, link.id] {
        assert_eq!(standing(&fresh, id).await, ChallengeStatus::Denied);
    }
    assert_eq!(standing(&fresh, untouched.id).await, ChallengeStatus::Pending);
    let ended =
        fresh.store.read().await.expect("a reader").session(last).await.expect("read").expect("there");
    assert_eq!(ended.revoked, Some((at, RevokeReason::Retired)));
    assert_eq!(claim(&fresh, "bob", "alice").await, Claim::Taken, "frozen");
    assert_eq!(take(&fresh, "alice", new_link(&fresh).await.id).await, Err("retired"));
    // The stream's last word is that it ends.
    let stream = StreamKey::wallet(&did("alice"));
    let head = fresh.store.read().await.expect("a reader").head(&stream).await.expect("a head");
    let LogPage::Events(told) = fresh.log(&stream, Position(head.0 - 103)).await else {
        panic!("in the log")
    };
    assert_eq!(told.len(), 103);
    assert!(told.iter().all(|event| event.is_end() == (event.seq == head.0)));
}

/// Whatever is asked of a person while they retire: it is ended by the retirement, or comes after it, and then
/// its wallet finds that the identity is over.
async fn what_is_asked_for_beside_a_retirement_is_ended_or_refused(fresh: Fresh) {
    for i in 0..40 {
        let name = format!("person{i}");
        let link = new_link(&fresh).await;
        let retiring = async {
            for _ in 0..i % 8 {
                tokio::task::yield_now().await;
            }
            retire(&fresh, &name).await
        };
        let asking = async {
            let created = fresh.open_challenge(fresh.pending(&name)).await;
            let Created::New(challenge) = created else { panic!("new") };
            // As the wallet's decision would look for it.
            let inputs = Arc::new((proof(&fresh, &name), challenge.id));
            let found = fresh.store.write("decide", move |tx| {
                let inputs = inputs.clone();
                Box::pin(async move {
                    let found = tx.challenge_for_decision(Some(inputs.1), &inputs.0, None).await?;
                    Ok(match found {
                        ForDecision::Found { challenge, .. } => challenge.standing(tx.now).0,
                        ForDecision::Retired => ChallengeStatus::Expired,
                        other => panic!("{other:?}"),
                    })
                })
            });
            (challenge, found.await.expect("the store works"))
        };
        let (_, (challenge, found), taken) = tokio::join!(retiring, asking, take(&fresh, &name, link.id));
        // Found open before the retirement's commit, it is over after it.
        let now = standing(&fresh, challenge.id).await;
        if found == ChallengeStatus::Pending {
            assert_eq!(now, ChallengeStatus::Denied, "round {i}");
        }
        let now = standing(&fresh, link.id).await;
        let expected = if taken.is_ok() { ChallengeStatus::Denied } else { ChallengeStatus::Pending };
        assert_eq!(now, expected, "round {i}: {taken:?}");
    }
}

/// Changes a challenge again and again, as somebody would who approves it and takes that back; until it is over.
pub(crate) async fn keep_changing(
    fresh: &Fresh,
    id: ChallengeId,
    changed: Arc<AtomicUsize>,
    stop: &AtomicBool,
) {
    let mut over = false;
    while !over && !stop.load(Ordering::Relaxed) {
        let step = fresh.store.write("change", move |tx| {
            Box::pin(async move {
                let found = tx.challenge_of_service(id, &shop()).await?.expect("there");
                if found.standing(tx.now).0.is_final() {
                    return Ok(true);
                }
                let next = Challenge { version: found.version + 1, ..found };
                tx.advance(Step { next, wallet: None, service: None }, None);
                Ok(false)
            })
        });
        over = step.await.expect("the store works");
        changed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn whoever_keeps_changing_what_is_open_does_not_hold_a_retirement_off(fresh: Fresh) {
    let mut ids = Vec::new();
    for _ in 0..10 {
        let id = new_link(&fresh).await.id;
        take(&fresh, "alice", id).await.expect("claimed");
        ids.push(id);
    }
    let (changed, stop) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    let changing = join_all(ids.iter().map(|id| keep_changing(&fresh, *id, changed.clone(), &stop)));
    let retiring = async {
        while changed.load(Ordering::Relaxed) < 50 {
            tokio::task::yield_now().await;
        }
        let retired = retire(&fresh, "alice").await;
        stop.store(true, Ordering::Relaxed);
        retired
    };
    let (_, retired) = tokio::join!(changing, retiring);
    assert_eq!(retired.ended, Some(0));
    for id in ids {
        assert_eq!(standing(&fresh, id).await, ChallengeStatus::Denied);
    }
}

/// A wallet's stream from its head on.
async fn stream_of(fresh: &Fresh, name: &str) -> EventStream {
    let limits = Limits { per_key: 9, per_address: 9, total: 99, max_age: Duration::from_secs(60) };
    let key = StreamKey::wallet(&did(name));
    let guard =
        fresh.store.hub().join(key.clone(), IpAddr::from(Ipv4Addr::LOCALHOST), limits).expect("a place");
    let opened = key.clone();
    let opening = fresh.store.write("open_stream", move |tx| {
        let key = opened.clone();
        Box::pin(async move { tx.open_stream(&key).await })
    });
    let head = opening.await.expect("the store works");
    let keys = Arc::new(ServerKeys::new(Zeroizing::new([7; 32])));
    EventStream::new(guard, fresh.store.clone(), keys, key, Filter::Wallet(did(name)), Start::At(head))
}

async fn next_text(stream: &mut EventStream) -> Option<String> {
    let frame =
        tokio::time::timeout(Duration::from_secs(10), stream.frame()).await.expect("a frame, or the end");
    let bytes = frame?.expect("never fails").into_data().expect("data");
    Some(String::from_utf8(bytes.to_vec()).expect("text"))
}

pub(crate) async fn open_sessions(fresh: &Fresh, name: &str, many: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..many {
        let session = Arc::new(session_of(fresh, name));
        ids.push(session.id);
        let opening = fresh.store.write("open_session", move |tx| {
            let session = session.clone();
            Box::pin(async move {
                tx.open_session(&session);
                Ok(())
            })
        });
        opening.await.expect("opened");
        fresh.wait(1);
    }
    ids
}

async fn a_reader_that_jumps_over_the_end_of_its_stream_is_sent_away(fresh: Fresh) {
    let (mut alices, mut bobs) = (stream_of(&fresh, "alice").await, stream_of(&fresh, "bob").await);
    for stream in [&mut alices, &mut bobs] {
        assert!(next_text(stream).await.expect("a head").starts_with("retry:"));
    }
    // More than is kept for a slow reader; and the log is cut before either of them looks into it.
    open_sessions(&fresh, "alice", 30).await;
    retire(&fresh, "alice").await;
    for _ in 0..30 {
        open_sessions(&fresh, "bob", 1).await;
        supersede(&fresh, "bob", 0).await;
    }
    fresh.store.sweep_remains(retention(0)).await.expect("swept");
    for stream in [&mut alices, &mut bobs] {
        let told = next_text(stream).await.expect("not before it was told");
        assert!(told.contains("event: resync"), "{told}");
    }
    assert_eq!(next_text(&mut alices).await, None, "nothing more comes for an identity that is over");
    assert!(bobs.frame().now_or_never().is_none(), "others read on");
}

pub(crate) async fn supersede(fresh: &Fresh, name: &str, others: u32) {
    let did = did(name);
    let superseding = fresh.store.write("supersede", move |tx| {
        let did = did.clone();
        Box::pin(async move { tx.supersede(&shop(), &did, others).await })
    });
    superseding.await.expect("the store works");
}

async fn of_several_sessions_only_the_oldest_make_room(fresh: Fresh) {
    let ids = open_sessions(&fresh, "alice", 5).await;
    let bobs = open_sessions(&fresh, "bob", 1).await;
    supersede(&fresh, "alice", 5).await;
    supersede(&fresh, "alice", 3).await;
    let mut reader = fresh.store.read().await.expect("a reader");
    for (i, id) in ids.iter().chain(&bobs).enumerate() {
        let session = reader.session(*id).await.expect("read").expect("there");
        let reason = session.revoked.map(|(_, reason)| reason);
        assert_eq!(reason, (i < 2).then_some(RevokeReason::Superseded), "the session {i}");
    }
}
