//! An identity ends: nothing of it stays live, and nothing slips past.

use std::sync::Arc;

use miid_gateway::clock::random;
use miid_gateway::domain::Session;
use miid_gateway::store::{Claim, Created, ForDecision, LogPage, Position, Retired};
use miid_gateway::streams::StreamKey;
use miid_gateway::verify::Received;
use miid_protocol::jws;
use miid_protocol::service::{ChallengeStatus, RevokeReason};
use miid_protocol::statement::{self, Decision, Signed};

use crate::fresh::{Fresh, claim, did, issuer, key, on_both, proof, session_of, standing};
use crate::links::{new_link, take};

on_both!(a_retirement_ends_everything_once, what_is_asked_for_beside_a_retirement_is_ended_or_refused);

async fn retire(fresh: &Fresh, name: &str) -> Retired {
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
