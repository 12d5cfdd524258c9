//! Two gateways on one PostgreSQL: no instance owns anything that the other could not take over.

use std::time::Instant;

use futures_util::future::join_all;
use miid_e2e::{Renewable as _, World, on_postgres};
use miid_protocol::service::{ChallengeStatus, TokenResponse};
use miid_protocol::{ErrorCode, paths};

on_postgres!(
    traffic_crosses_between_two_gateways,
    a_proof_is_accepted_once_over_both,
    sixteen_decisions_over_both_have_one_winner,
    one_instance_dies_and_the_other_goes_on,
);

async fn traffic_crosses_between_two_gateways(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another_elsewhere("gateway-b").await;
    let alice = world.wallet();
    let mut wallet = alice.events(&a, None).await;
    let mut log = shop.events(&b, None, None).await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let login = shop.login(&b, alice.did().as_str()).await;
        let asked = wallet.expect("challenge_created").await;
        took.push(start.elapsed());
        assert_eq!(asked.json()["challenge_id"], login.id().to_string());

        // Approved at A, told at B, shown at B, exchanged at A, used at B.
        alice.approve(&a, &login.challenge, login.number()).await.is(200);
        let verified = log.expect("challenge_verified").await.json();
        let code = shop.code(&b, login.id()).await;
        assert_eq!(verified["authorization_code"], code.as_str());
        assert_eq!(shop.code(&a, login.id()).await, code);
        let tokens: TokenResponse = shop.exchange(&a, &code, &login.verifier).await.ok();
        assert!(shop.introspect(&b, &tokens.access_token).await.active);
        let refreshed: TokenResponse = shop.refresh(&b, tokens.renewal()).await.ok();
        let again: TokenResponse = shop.refresh(&a, tokens.renewal()).await.ok();
        assert_eq!(refreshed.renewal(), again.renewal());
        wallet.expect("session_created").await;
        alice.revoke(&b, "demo-shop", tokens.session_id).await.is(200);
        assert_eq!(wallet.expect("session_revoked").await.json()["reason"], "user");
        log.expect("session_revoked").await;
        assert!(!shop.introspect(&a, &tokens.access_token).await.active);
    }
    println!("from a challenge asked for at one gateway to the wallet's event at the other: {took:?}");
    let keys = (world.get(&a, paths::JWKS).await.json(), world.get(&b, paths::JWKS).await.json());
    assert_eq!(keys.0, keys.1);

    // A position of A's is a position of B's.
    let login = shop.login(&a, alice.did().as_str()).await;
    let position = wallet.expect("challenge_created").await.id.unwrap();
    let code_dead = shop.challenge(&b, login.id()).await.status;
    assert_eq!(code_dead, ChallengeStatus::Pending);
    alice.approve(&b, &login.challenge, login.number()).await.is(200);
    let mut resumed = alice.events(&b, Some(&position)).await;
    assert_eq!(resumed.next().await.unwrap().name, "challenge_approved");
}

async fn a_proof_is_accepted_once_over_both(world: World) {
    let a = world.gateway(&[]).await;
    let b = a.another("gateway-b").await;
    let alice = world.wallet();
    for _ in 0..5 {
        let proof = alice.proof(&a, "GET", paths::WALLET_SESSIONS, b"");
        let sends = (0..8).map(|i| {
            let at = if i % 2 == 0 { &a } else { &b };
            alice.send_with(at, &proof, "GET", paths::WALLET_SESSIONS, b"")
        });
        let answers = join_all(sends).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        for answer in lost {
            answer.refused(ErrorCode::ReplayedProof);
        }
    }
}

async fn sixteen_decisions_over_both_have_one_winner(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another("gateway-b").await;
    for _ in 0..4 {
        let alice = world.wallet();
        let login = shop.login(&a, alice.did().as_str()).await;
        let decisions = (0..16).map(|i| {
            let at = if i % 4 < 2 { &a } else { &b };
            let (alice, login) = (&alice, &login);
            async move {
                if i % 2 == 0 {
                    alice.approve(at, &login.challenge, login.number()).await
                } else {
                    let reason = miid_protocol::service::DenyReason::Declined;
                    alice.deny(at, &login.challenge, reason).await
                }
            }
        });
        let answers = join_all(decisions).await;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());

        // And the exchanges, over both.
        let now = shop.challenge(&b, login.id()).await;
        if let Some(code) = now.authorization_code {
            let exchanges =
                (0..8).map(|i| shop.exchange(if i % 2 == 0 { &a } else { &b }, &code, &login.verifier));
            let answers = join_all(exchanges).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        }
    }
}

async fn one_instance_dies_and_the_other_goes_on(world: World) {
    let (mut a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another("gateway-b").await;
    let alice = world.wallet();
    let mut wallet = alice.events(&a, None).await;
    let login = shop.login(&a, alice.did().as_str()).await;
    let position = wallet.expect("challenge_created").await.id.unwrap();
    a.kill();
    wallet.rest().await;
    let mut wallet = alice.events(&b, Some(&position)).await;
    alice.approve(&b, &login.challenge, login.number()).await.is(200);
    let tokens = shop.finish(&b, &login).await;
    wallet.expect("session_created").await;
    a.restart().await;
    assert!(shop.introspect(&a, &tokens.access_token).await.active);
}
