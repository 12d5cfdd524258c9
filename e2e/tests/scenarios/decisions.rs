//! What a wallet may decide, and what nobody else may decide for it.

use futures_util::future::join_all;
use miid_e2e::{World, eventually, on_both, service};
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::statement::Decision;
use miid_protocol::wallet::DecisionOutcome;
use miid_protocol::{ErrorCode, paths};
use serde_json::json;

on_both!(
    cancel_then_approve_again,
    approve_twice,
    approve_and_deny_at_once_16_ways,
    a_strangers_wallet_approves_denies_revokes,
    wrong_number,
    a_missing_number_is_a_wrong_one,
    the_number_is_looked_at_last,
    a_statement_is_used_once,
    a_statement_of_another_decision_or_request_is_refused,
    cancel_after_the_deadline_finds_it_expired,
    the_service_gives_a_request_up,
);

async fn cancel_then_approve_again(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let first = shop.code(&gateway, login.id()).await;

    let cancelled: DecisionOutcome = alice.cancel(&gateway, &login.challenge).await.ok();
    assert_eq!(cancelled.status, ChallengeStatus::Pending);
    let now = shop.challenge(&gateway, login.id()).await;
    assert_eq!((now.status, now.authorization_code), (ChallengeStatus::Pending, None));
    assert_eq!((&now.nonce, &now.request), (&login.challenge.nonce, &login.challenge.request));
    assert_eq!(now.match_code, login.challenge.match_code);
    shop.exchange(&gateway, &first, &login.verifier).await.refused(ErrorCode::InvalidGrant);

    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let second = shop.code(&gateway, login.id()).await;
    assert_ne!(first, second);
    shop.exchange(&gateway, &first, &login.verifier).await.refused(ErrorCode::InvalidGrant);
    let tokens: miid_protocol::service::TokenResponse =
        shop.exchange(&gateway, &second, &login.verifier).await.ok();
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);

    // The log says all of it in order, and gives no dead or spent code away.
    let mut log = shop.events(&gateway, Some(login.id()), None).await;
    let verified = log.expect("challenge_verified").await.json();
    assert!(verified["authorization_code"].is_null(), "{verified}");
    log.expect("approval_cancelled").await;
    let verified = log.expect("challenge_verified").await.json();
    assert!(verified["authorization_code"].is_null(), "{verified}");
    log.expect("session_created").await;
}

async fn approve_twice(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let code = shop.code(&gateway, login.id()).await;
    let again = alice.approve(&gateway, &login.challenge, login.number()).await;
    again.refused(ErrorCode::ChallengeNotPending);
    assert_eq!(shop.code(&gateway, login.id()).await, code, "the second approval changed nothing");
    let late = alice.deny(&gateway, &login.challenge, DenyReason::Declined).await;
    late.refused(ErrorCode::ChallengeNotPending);

    let tokens = shop.finish(&gateway, &login).await;
    alice.cancel(&gateway, &login.challenge).await.refused(ErrorCode::ChallengeNotApproved);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}

async fn approve_and_deny_at_once_16_ways(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for _ in 0..4 {
        let alice = world.wallet();
        let login = shop.login(&gateway, alice.did().as_str()).await;
        let answers = join_all((0..16).map(|i| {
            let (alice, gateway, login) = (&alice, &gateway, &login);
            async move {
                let answer = if i % 2 == 0 {
                    alice.approve(gateway, &login.challenge, login.number()).await
                } else {
                    alice.deny(gateway, &login.challenge, DenyReason::Declined).await
                };
                (i, answer)
            }
        }))
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 200);
        assert_eq!(won.len(), 1, "one wins: {:?}", answers.iter().map(|(_, a)| a.status).collect::<Vec<_>>());
        for (_, answer) in lost {
            answer.refused(ErrorCode::ChallengeNotPending);
        }
        let approved = won[0].0 % 2 == 0;
        let now = shop.challenge(&gateway, login.id()).await;
        let expected = if approved { ChallengeStatus::Approved } else { ChallengeStatus::Denied };
        assert_eq!(now.status, expected);

        // One event for one transition: what follows in the log is of the next step.
        let next = if approved {
            shop.finish(&gateway, &login).await;
            vec!["challenge_verified", "session_created"]
        } else {
            vec!["challenge_denied"]
        };
        let mut log = shop.events(&gateway, Some(login.id()), None).await;
        let mut events = Vec::new();
        for _ in &next {
            events.push(log.next().await.expect("the log goes on"));
        }
        assert_eq!(service::names(&events), next);
    }
}

async fn a_strangers_wallet_approves_denies_revokes(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let not_found = ErrorCode::ChallengeNotFound;
    assert!(mallory.listed(&gateway, login.id()).await.is_none());
    mallory.approve(&gateway, &login.challenge, login.number()).await.refused(not_found);
    mallory.deny(&gateway, &login.challenge, DenyReason::NotMe).await.refused(not_found);
    mallory.cancel(&gateway, &login.challenge).await.refused(not_found);

    // Alice's statement under Mallory's proof, and the other way round.
    let path = paths::approve(login.id());
    let hers = alice.approval(&gateway, &login.challenge.request, Some(login.number()));
    mallory.post(&gateway, &path, &json!({"statement": hers})).await.refused(not_found);
    let theirs = mallory.approval(&gateway, &login.challenge.request, Some(login.number()));
    alice.post(&gateway, &path, &json!({"statement": theirs})).await.refused(ErrorCode::DidMismatch);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Pending);

    // Mallory's failure has not used Alice's statement up.
    alice.post(&gateway, &path, &json!({"statement": hers})).await.is(200);
    let tokens = shop.finish(&gateway, &login).await;
    let session = tokens.session_id;
    mallory.revoke(&gateway, "demo-shop", session).await.refused(ErrorCode::SessionNotFound);
    let theirs = mallory.revocation(&gateway, "demo-shop", session);
    let path = paths::revoke(session);
    alice.post(&gateway, &path, &json!({"statement": theirs})).await.refused(ErrorCode::DidMismatch);
    assert!(mallory.sessions(&gateway).await.is_empty());
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
}

async fn wrong_number(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let wrong = alice.approve(&gateway, &login.challenge, login.wrong_number()).await;
    wrong.refused(ErrorCode::WrongMatchCode);
    let now = shop.challenge(&gateway, login.id()).await;
    assert_eq!(now.status, ChallengeStatus::Denied);
    assert_eq!(now.reason, Some(EndReason::Denied(DenyReason::WrongMatchCode)));
    // No second guess.
    let right = alice.approve(&gateway, &login.challenge, login.number()).await;
    right.refused(ErrorCode::ChallengeNotPending);
    let denied = shop.events(&gateway, Some(login.id()), None).await.expect("challenge_denied").await;
    assert_eq!(denied.json()["reason"], "wrong_match_code");
}

async fn a_missing_number_is_a_wrong_one(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let statement = alice.approval(&gateway, &login.challenge.request, None);
    let answer = alice.post(&gateway, &paths::approve(login.id()), &json!({"statement": statement})).await;
    answer.refused(ErrorCode::WrongMatchCode);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Denied);
}

async fn the_number_is_looked_at_last(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let request = SignInRequest::parse(&login.challenge.request).unwrap();
    let path = paths::approve(login.id());
    // Each number once, with something else wrong: the answer must not tell which of them is right.
    for number in [login.number(), login.wrong_number()] {
        let statement = alice.sign(
            &gateway,
            Decision::Approve {
                request_text: &login.challenge.request,
                request: &request,
                match_code: Some(number),
                scopes: &["admin".to_owned()],
                disclosure: None,
            },
        );
        let answer = alice.post(&gateway, &path, &json!({"statement": statement})).await;
        answer.refused(ErrorCode::InvalidStatement);
        let statement = alice.approval(&gateway, &login.challenge.request, Some(number));
        let body = json!({"statement": statement, "disclosure": "{\"salt\":\"\",\"claims\":{}}"});
        alice.post(&gateway, &path, &body).await.refused(ErrorCode::InvalidStatement);
    }
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Pending);
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    // When the state is against it, the number plays no part any more.
    for number in [login.number(), login.wrong_number()] {
        let answer = alice.approve(&gateway, &login.challenge, number).await;
        answer.refused(ErrorCode::ChallengeNotPending);
    }
}

async fn a_statement_is_used_once(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let statement = alice.approval(&gateway, &login.challenge.request, Some(login.number()));
    let (path, body) = (paths::approve(login.id()), json!({"statement": statement}));
    alice.post(&gateway, &path, &body).await.is(200);
    alice.cancel(&gateway, &login.challenge).await.is(200);
    alice.post(&gateway, &path, &body).await.refused(ErrorCode::InvalidStatement);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Pending);

    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let tokens = shop.finish(&gateway, &login).await;
    // A revocation whose answer was lost may be sent again as it is.
    let statement = alice.revocation(&gateway, "demo-shop", tokens.session_id);
    let (path, body) = (paths::revoke(tokens.session_id), json!({"statement": statement}));
    let first = alice.post(&gateway, &path, &body).await.is(200).json();
    let again = alice.post(&gateway, &path, &body).await.is(200).json();
    assert_eq!(first["at"], again["at"]);
    let fresh = alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200).json();
    assert_eq!(first["at"], fresh["at"]);
}

async fn a_statement_of_another_decision_or_request_is_refused(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let (one, two) =
        (shop.login(&gateway, alice.did().as_str()).await, shop.login(&gateway, alice.did().as_str()).await);
    let approval_of_two = alice.approval(&gateway, &two.challenge.request, Some(one.number()));
    let request = SignInRequest::parse(&one.challenge.request).unwrap();
    let request_text = &one.challenge.request;
    let denial = Decision::Deny { request_text, request: &request, reason: DenyReason::Declined };
    let path = paths::approve(one.id());
    let cases = [
        ("an approval of another request", approval_of_two),
        ("a denial sent as an approval", alice.sign(&gateway, denial)),
        ("a cancellation", alice.sign(&gateway, Decision::Cancel { request_text, request: &request })),
        ("a proof", alice.proof(&gateway, "POST", &path, b"{}")),
        ("nothing", String::new()),
    ];
    for (name, statement) in cases {
        let answer = alice.post(&gateway, &path, &json!({"statement": statement})).await;
        assert_eq!(answer.problem().code, ErrorCode::InvalidStatement, "{name}");
    }
    // A statement is no proof, either.
    let statement = alice.approval(&gateway, request_text, Some(one.number()));
    let answer = alice.send_with(&gateway, &statement, "GET", paths::WALLET_CHALLENGES, b"").await;
    answer.refused(ErrorCode::InvalidProof);
    assert_eq!(shop.challenge(&gateway, one.id()).await.status, ChallengeStatus::Pending);
}

async fn cancel_after_the_deadline_finds_it_expired(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--challenge-ttl", "3s", "--code-ttl", "60s"]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let over = login.challenge.expires_at.millis() / 1000 + 1;
    eventually("the challenge's time is over", || async { (miid_e2e::clock::now_s() > over).then_some(()) })
        .await;
    let outcome = alice.cancel(&gateway, &login.challenge).await;
    let outcome: DecisionOutcome = outcome.is(200).ok();
    assert_eq!(outcome.status, ChallengeStatus::Expired);
    let now = shop.challenge(&gateway, login.id()).await;
    assert_eq!(now.reason, Some(EndReason::Expired(ExpireReason::Timeout)));
}

async fn the_service_gives_a_request_up(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut wallet = alice.events(&gateway, None).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let path = paths::with_id(paths::CHALLENGE_WITHDRAW, login.id());
    for _ in 0..2 {
        let now = shop.post(&gateway, &path, &json!({})).await.is(200).json();
        assert_eq!((&now["status"], &now["reason"]), (&json!("expired"), &json!("withdrawn")));
    }
    assert_eq!(wallet.expect("challenge_expired").await.json()["reason"], "withdrawn");
    let late = alice.approve(&gateway, &login.challenge, login.number()).await;
    late.refused(ErrorCode::ChallengeExpired);
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.deny(&gateway, &login.challenge, DenyReason::Declined).await.is(200);
    let path = paths::with_id(paths::CHALLENGE_WITHDRAW, login.id());
    assert_eq!(shop.post(&gateway, &path, &json!({})).await.problem().status, 409);
}
