//! Strangers who know a handle: they neither shut its owner out nor learn whether it exists.

use std::collections::BTreeMap;

use miid_e2e::{Answer, Gateway, World, on_both};
use miid_protocol::ErrorCode;
use miid_protocol::service::ChallengeStatus;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use crate::sign_in::{approve, is_active, sign_in};

on_both!(
    a_stranger_in_a_loop_does_not_shut_the_owner_out,
    an_unknown_handle_cannot_be_told_from_a_known_one,
    handles_are_unique_by_what_they_look_like,
    replaces_ends_only_what_is_named_and_ones_own,
);

async fn a_stranger_in_a_loop_does_not_shut_the_owner_out(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    alice.claim_handle(&gateway, "alice").await.is(200);
    // This browser has signed in as her before.
    let first = browser.start("alice").await;
    approve(&gateway, &alice, &first, &[]).await;
    is_active(&browser, &first).await;
    browser.complete(first.challenge_id).await.is(200);
    browser.logout().await.is(204);
    // She is about to sign in again.
    let hers = browser.start("alice").await;

    let mut admitted = Vec::new();
    let mut refused = 0;
    for _ in 0..12 {
        let stranger = world.browser(&shop);
        let answer = stranger.try_start("@ALICE").await;
        if answer.status == 201 {
            admitted.push((stranger, answer.ok::<miid_protocol::browser::StartResponse>()));
        } else {
            answer.refused(ErrorCode::TooManyChallenges);
            refused += 1;
        }
    }
    assert!((1..=3).contains(&admitted.len()), "{}", admitted.len());
    assert_eq!(admitted.len() + refused, 12);

    // Hers stands, beside theirs, and can be found by her own browser's number alone.
    assert_eq!(browser.status(hers.challenge_id).await.status, ChallengeStatus::Pending);
    let listed = alice.challenges(&gateway).await;
    assert_eq!(listed.len(), admitted.len() + 1);
    assert!(
        listed.windows(2).all(|pair| {
            pair[0].challenge_id.uuid().get_timestamp().unwrap().to_unix()
                >= pair[1].challenge_id.uuid().get_timestamp().unwrap().to_unix()
        }),
        "newest first"
    );
    approve(&gateway, &alice, &hers, &[]).await;
    is_active(&browser, &hers).await;
    browser.complete(hers.challenge_id).await.is(200);
    assert_eq!(browser.session().await.did, *alice.did());
    for (stranger, started) in &admitted {
        assert_eq!(stranger.status(started.challenge_id).await.status, ChallengeStatus::Pending);
        assert!(!stranger.is_signed_in().await);
    }
    // And once more while the stranger's still wait.
    browser.logout().await.is(204);
    sign_in(&gateway, &browser, &alice).await;
}

async fn an_unknown_handle_cannot_be_told_from_a_known_one(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    alice.claim_handle(&gateway, "alice").await.is(200);
    // A wallet that the gateway knows, and one that nobody has ever heard of.
    let (known, somebody) = (world.wallet(), world.wallet());
    known.claim_handle(&gateway, "known-well").await.is(200);
    let pairs =
        [("alice".to_owned(), "nadie".to_owned()), (known.did().to_string(), somebody.did().to_string())];
    for (known, unknown) in &pairs {
        // What is made for the first request of a service alone is made by neither of the two.
        let other = world.wallet();
        shop.login(&gateway, other.did().as_str()).await;
        let mut seen = Vec::new();
        for hint in [known, unknown] {
            // The same lengths everywhere: the two names have as many letters.
            let mut attempts = Vec::new();
            for _ in 0..4 {
                let before = gateway.database.row_counts().await;
                let (body, _) = shop.asking(hint);
                let answer = shop.create(&gateway, &body).await;
                let after = gateway.database.row_counts().await;
                attempts.push((shape(&answer), grown(&before, &after)));
                if answer.status == 201 {
                    let id = answer.json()["challenge_id"].as_str().unwrap().to_owned();
                    let path = format!("/v1/auth/challenges/{id}");
                    attempts.push((shape(&shop.get(&gateway, &path).await), BTreeMap::new()));
                }
            }
            let statuses: Vec<u16> = attempts.iter().map(|(shape, _)| shape.status).collect();
            assert_eq!(statuses, [201, 200, 201, 200, 201, 200, 429], "{hint}");
            seen.push(attempts);
        }
        let unknown = seen.pop().unwrap();
        let known = seen.pop().unwrap();
        for (known, unknown) in known.iter().zip(&unknown) {
            assert_eq!(known, unknown);
        }
    }
}

/// Everything about an answer that does not change from request to request.
#[derive(Debug, PartialEq)]
pub(crate) struct Shape {
    status: u16,
    headers: BTreeMap<String, String>,
    length: usize,
    body: Value,
}

pub(crate) fn shape(answer: &Answer) -> Shape {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date" && **name != RETRY_AFTER)
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = serde_json::from_slice(&answer.body).unwrap();
    Shape { status: answer.status, headers, length: answer.body.len(), body: outline(&body) }
}

/// The value with every text replaced by its length; the words of the protocol stay.
fn outline(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > 12 => Value::from(text.len()),
        Value::String(text) if text.chars().all(|c| c.is_ascii_digit()) => Value::from(text.len()),
        Value::Array(items) => items.iter().map(outline).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), outline(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

pub(crate) fn grown(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    after
        .iter()
        .map(|(table, rows)| (table.clone(), rows - before.get(table).copied().unwrap_or_default()))
        .filter(|(_, rows)| *rows != 0)
        .collect()
}

async fn handles_are_unique_by_what_they_look_like(world: World) {
    let gateway = world.gateway(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let claimed = alice.claim_handle(&gateway, "@Alice-Kim").await.is(200).json();
    assert_eq!(claimed["handle"], "alice-kim");
    alice.claim_handle(&gateway, "alice-kim").await.is(200);
    for taken in ["alice-kim", "al1ce-k1m", "alice_kim", "admin", "adm1n", "miid"] {
        mallory.claim_handle(&gateway, taken).await.refused(ErrorCode::HandleTaken);
    }
    for malformed in ["", "a", "-alice", "앨리스", "al ice", "did:key:z6Mk"] {
        mallory.claim_handle(&gateway, malformed).await.refused(ErrorCode::InvalidRequest);
    }
    // Who gives a handle up keeps others from being taken for them.
    claim_at_once(&gateway, &world).await;
    alice.claim_handle(&gateway, "somebody-else").await.is(200);
    mallory.claim_handle(&gateway, "alice-kim").await.refused(ErrorCode::HandleTaken);
}

async fn claim_at_once(gateway: &Gateway, world: &World) {
    let wallets: Vec<_> = (0..8).map(|_| world.wallet()).collect();
    let claims = wallets.iter().map(|wallet| wallet.claim_handle(gateway, "everybodys-darling"));
    let answers = futures_util::future::join_all(claims).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

async fn replaces_ends_only_what_is_named_and_ones_own(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let hint = alice.did().as_str();
    let (first, beside) = (shop.login(&gateway, hint).await, shop.login(&gateway, hint).await);
    let foreign = other.login(&gateway, hint).await;
    let replacing = async |id: String| {
        let (mut body, _) = shop.asking(hint);
        body.replaces = Some(id);
        shop.create(&gateway, &body).await.is(201).ok::<miid_protocol::service::Challenge>()
    };
    let second = replacing(first.id().to_string()).await;
    let now = shop.challenge(&gateway, first.id()).await;
    assert_eq!(now.status, ChallengeStatus::Expired);
    assert_eq!(now.reason.unwrap().as_str(), "replaced");
    // Unknown, foreign, finished, and no id at all: ignored.
    let last = replacing(foreign.id().to_string()).await;
    shop.post(
        &gateway,
        &format!("/v1/auth/challenges/{}/withdraw", last.challenge_id),
        &serde_json::json!({}),
    )
    .await
    .is(200);
    let third = replacing(first.id().to_string()).await;
    for login in [beside.id(), second.challenge_id, third.challenge_id] {
        assert_eq!(shop.challenge(&gateway, login).await.status, ChallengeStatus::Pending);
    }
    assert_eq!(other.challenge(&gateway, foreign.id()).await.status, ChallengeStatus::Pending);
}
