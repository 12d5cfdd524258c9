//! Linked challenges: nobody's until one wallet claims them.

use std::sync::Arc;

use miid_gateway::domain::{Challenge, Refusal};
use miid_gateway::store::{Created, ForClaim, LogPage, NewChallenge, Position};
use miid_gateway::streams::StreamKey;
use miid_protocol::service::Binding;
use miid_protocol::{ChallengeId, ClientId};

use crate::fresh::{Fresh, did, first_position, on_both, proof, shop};

on_both!(
    a_link_is_nobodys_until_one_of_many_claims_it,
    claims_count_for_whoever_claims_and_for_nobody_before,
);

pub(crate) fn linked(fresh: &Fresh) -> NewChallenge {
    let mut new = fresh.pending("nobody");
    let challenge = &mut new.challenge;
    (challenge.did, challenge.binding) = (None, Binding::Linked);
    challenge.return_url = Some("https://shop.example/auth/return".into());
    (challenge.hint_key, challenge.person_key) = (challenge.id.to_string(), challenge.id.to_string());
    new
}

pub(crate) async fn new_link(fresh: &Fresh) -> Challenge {
    match fresh.open_challenge(linked(fresh)).await {
        Created::New(challenge) => challenge,
        other => panic!("not new: {other:?}"),
    }
}

/// What became of a claim: the code of its refusal, or how many the wallet had claimed before.
pub(crate) async fn take(fresh: &Fresh, name: &str, id: ChallengeId) -> Result<i64, &'static str> {
    let inputs = Arc::new((proof(fresh, name), format!("person of {name}")));
    fresh
        .store
        .write("claim", move |tx| {
            let inputs = inputs.clone();
            Box::pin(async move {
                let (proof, person_key) = &*inputs;
                let (challenge, claimed) = match tx.challenge_for_claim(Some(id), proof, person_key).await? {
                    ForClaim::Found { challenge, claimed, .. } => (challenge, claimed),
                    ForClaim::NotFound => return Ok(Err("not found")),
                    ForClaim::Retired => return Ok(Err("retired")),
                    ForClaim::Replayed => panic!("a fresh proof"),
                };
                Ok(match challenge.claim(proof.did(), person_key, tx.now) {
                    Ok(Some(step)) => {
                        tx.advance(step, None);
                        Ok(claimed)
                    }
                    Ok(None) => Err("again"),
                    Err(Refusal::AlreadyClaimed) => Err("another's"),
                    Err(Refusal::AnotherPerson) => Err("for another"),
                    Err(_) => Err("over"),
                })
            })
        })
        .await
        .expect("the store works")
}

async fn a_link_is_nobodys_until_one_of_many_claims_it(fresh: Fresh) {
    let link = new_link(&fresh).await;
    let names: Vec<String> = (0..12).map(|i| format!("wallet{i}")).collect();
    let mut reader = fresh.store.read().await.expect("a reader");
    let nobody = StreamKey::from_text(&format!("n/{}", link.id));
    assert_eq!(reader.head(&nobody).await.expect("a head"), Position(0), "nobody is told");
    drop(reader);
    let addressed = fresh.new_challenge("alice").await;
    assert_eq!(take(&fresh, "alice", addressed.id).await, Err("not found"), "an addressed one is no link");
    let claims = names.iter().map(|name| take(&fresh, name, link.id));
    let claims = futures_util::future::join_all(claims).await;
    let winners: Vec<&String> =
        names.iter().zip(&claims).filter(|(_, claim)| claim.is_ok()).map(|(name, _)| name).collect();
    assert_eq!(winners.len(), 1, "{claims:?}");
    assert_eq!(claims.iter().filter(|claim| **claim == Err("another's")).count(), 11, "{claims:?}");
    let winner = winners[0];
    assert_eq!(take(&fresh, winner, link.id).await, Err("again"));
    let mut reader = fresh.store.read().await.expect("a reader");
    let person = format!("person of {winner}");
    let open = reader.open_challenges_of_wallet(&did(winner), &person, 10).await.expect("read");
    assert_eq!(open.iter().map(|challenge| challenge.id).collect::<Vec<_>>(), [link.id]);
    assert_eq!(open[0].return_url, link.return_url);
    let head = reader.head(&StreamKey::wallet(&did(winner))).await.expect("a head");
    drop(reader);
    let LogPage::Events(told) = fresh.log(&StreamKey::wallet(&did(winner)), Position(head.0 - 1)).await
    else {
        panic!("in the log")
    };
    assert_eq!(told[0].name, "challenge_created");
    let LogPage::Events(told) = fresh.log(&StreamKey::service(&shop()), first_position(&fresh).await).await
    else {
        panic!("in the log")
    };
    assert_eq!(told.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["challenge_claimed"]);
}

async fn claims_count_for_whoever_claims_and_for_nobody_before(fresh: Fresh) {
    let mut links = Vec::new();
    for _ in 0..12 {
        links.push(new_link(&fresh).await.id);
    }
    for _ in 0..3 {
        fresh.new_challenge("alice").await;
    }
    for (i, link) in (0..).zip(&links[..10]) {
        assert_eq!(take(&fresh, "alice", *link).await, Ok(i), "those that strangers ask for do not count");
    }
    assert_eq!(take(&fresh, "bob", links[10]).await, Ok(0));
    let mut elsewhere = fresh.pending("alice");
    elsewhere.challenge.client_id = ClientId::parse("other-shop").expect("id");
    assert!(matches!(fresh.open_challenge(elsewhere).await, Created::TooMany(_)), "hers count for her");
    fresh.wait(300_000);
    assert_eq!(take(&fresh, "alice", links[11]).await, Err("over"));
    assert_eq!(take(&fresh, "alice", new_link(&fresh).await.id).await, Ok(0), "what is over does not count");
}
