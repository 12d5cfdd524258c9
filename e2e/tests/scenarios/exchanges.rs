//! A code is exchanged once, by its service, with its verifier.

use futures_util::future::join_all;
use miid_e2e::{Renewable as _, World, on_both, service};
use miid_protocol::ErrorCode;
use miid_protocol::paths;
use miid_protocol::service::{ChallengeStatus, EndReason, ExpireReason, TokenResponse};
use serde_json::json;

on_both!(
    exchanges_of_one_code_32_at_once,
    a_code_used_twice_revokes,
    another_service_neither_exchanges_nor_watches,
    a_wrong_verifier_changes_nothing,
    a_code_that_is_not_exchanged_in_time_dies,
    the_same_request_again_is_the_same_challenge,
    forms_are_taken_as_well_as_json,
);

async fn exchanges_of_one_code_32_at_once(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let code = shop.code(&gateway, login.id()).await;

    let answers = join_all((0..32).map(|_| shop.exchange(&gateway, &code, &login.verifier))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for answer in lost {
        answer.refused(ErrorCode::InvalidGrant);
    }
    // Somebody holds a code that is not theirs alone, so what it gave is taken back.
    let tokens: TokenResponse = won[0].ok();
    let revoked = log.expect("session_revoked").await.json();
    assert_eq!(revoked["reason"], "code_reuse");
    assert_eq!(revoked["session_id"], json!(tokens.session_id));
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    assert!(alice.sessions(&gateway).await.is_empty());

    // One session was made and ended, once each: the next events are those of the next sign-in.
    let bob = world.wallet();
    shop.sign_in(&gateway, &bob).await;
    let next = log.next().await.expect("the log goes on");
    assert_eq!(next.name, "challenge_verified");
}

async fn a_code_used_twice_revokes(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut wallet = alice.events(&gateway, None).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let code = shop.code(&gateway, login.id()).await;
    let tokens: TokenResponse = shop.exchange(&gateway, &code, &login.verifier).await.ok();
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);

    // With a wrong verifier it is no second use: a thief of the code alone cannot end the session.
    let thief = shop.exchange(&gateway, &code, &service::pkce().0).await;
    thief.refused(ErrorCode::InvalidGrant);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);

    shop.exchange(&gateway, &code, &login.verifier).await.refused(ErrorCode::InvalidGrant);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    shop.refresh(&gateway, tokens.renewal()).await.refused(ErrorCode::InvalidGrant);
    assert_eq!(wallet.expect("session_revoked").await.json()["reason"], "code_reuse");
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Revoked);
}

async fn another_service_neither_exchanges_nor_watches(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let mut others = other.events(&gateway, None, None).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let code = shop.code(&gateway, login.id()).await;

    let not_found = ErrorCode::ChallengeNotFound;
    other.get(&gateway, &paths::with_id(paths::CHALLENGE_BY_ID, login.id())).await.refused(not_found);
    let watch = format!("{}?challenge_id={}", paths::SERVICE_EVENTS, login.id());
    other.get(&gateway, &watch).await.refused(not_found);
    let withdraw = paths::with_id(paths::CHALLENGE_WITHDRAW, login.id());
    other.post(&gateway, &withdraw, &json!({})).await.refused(not_found);
    other.exchange(&gateway, &code, &login.verifier).await.refused(ErrorCode::InvalidGrant);

    let tokens: TokenResponse = shop.exchange(&gateway, &code, &login.verifier).await.ok();
    other.exchange(&gateway, &code, &login.verifier).await.refused(ErrorCode::InvalidGrant);
    other.refresh(&gateway, tokens.renewal()).await.refused(ErrorCode::InvalidGrant);
    other.end_session(&gateway, tokens.session_id).await.refused(ErrorCode::SessionNotFound);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active, "nothing of it had an effect");
    shop.refresh(&gateway, tokens.renewal()).await.is(200);

    // The other service's stream begins with its own first event.
    let own = other.login(&gateway, bob.did().as_str()).await;
    bob.approve(&gateway, &own.challenge, own.number()).await.is(200);
    let event = others.next().await.expect("the log goes on").json();
    assert_eq!(event["challenge_id"], json!(own.id()));
    let subs = (shop.sign_in(&gateway, &bob).await.sub, other.finish(&gateway, &own).await.sub);
    assert_ne!(subs.0, subs.1, "a person is somebody else at each service");
}

async fn a_wrong_verifier_changes_nothing(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let code = shop.code(&gateway, login.id()).await;
    for _ in 0..3 {
        let answer = shop.exchange(&gateway, &code, &service::pkce().0).await;
        answer.refused(ErrorCode::InvalidGrant);
        let problem = answer.problem();
        assert_eq!(problem.error.as_deref(), Some("invalid_grant"));
        assert!(problem.error_description.is_some());
    }
    let answer = shop.exchange(&gateway, &code, &login.verifier).await;
    answer.is(200);
    assert_eq!(answer.header(reqwest::header::CACHE_CONTROL), Some("no-store"));
    let tokens: TokenResponse = answer.ok();
    assert_eq!((tokens.token_type.as_str(), tokens.scope.as_str()), ("Bearer", "profile"));
    assert_eq!(tokens.did, *alice.did());
    assert!(!tokens.claims_verified);
    assert!(!tokens.statement.is_empty());
}

async fn a_code_that_is_not_exchanged_in_time_dies(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--code-ttl", "2s"]).await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let verified = log.expect("challenge_verified").await.json();
    let code = verified["authorization_code"].as_str().expect("a live code").to_owned();
    assert_eq!(log.expect("challenge_expired").await.json()["reason"], "code_timeout");
    shop.exchange(&gateway, &code, &login.verifier).await.refused(ErrorCode::InvalidGrant);
    let now = shop.challenge(&gateway, login.id()).await;
    assert_eq!(now.reason, Some(EndReason::Expired(ExpireReason::CodeTimeout)));
    assert_eq!(now.authorization_code, None);
}

async fn the_same_request_again_is_the_same_challenge(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let (body, _) = shop.asking(alice.did().as_str());
    let first = shop.create(&gateway, &body).await.is(201).json();
    let mut changed = body.clone();
    changed.login_hint = Some(bob.did().as_str().to_owned());
    changed.binding_message = Some("Something else".into());
    for body in [&body, &changed] {
        assert_eq!(shop.create(&gateway, body).await.is(200).json(), first);
    }
    // The same challenge of another service is another one.
    let other = gateway.add_service("other-shop", &[]).await;
    let theirs = other.create(&gateway, &body).await.is(201).json();
    assert_ne!(theirs["challenge_id"], first["challenge_id"]);
    // And at once, from several instances of a service.
    let (body, _) = shop.asking(bob.did().as_str());
    let answers = join_all((0..8).map(|_| shop.create(&gateway, &body))).await;
    let ids: std::collections::BTreeSet<String> =
        answers.iter().map(|answer| answer.json()["challenge_id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
}

async fn forms_are_taken_as_well_as_json(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
    let code = shop.code(&gateway, login.id()).await;
    let form = |text: String| {
        move |request: reqwest::RequestBuilder| {
            request.header("Content-Type", "application/x-www-form-urlencoded").body(text)
        }
    };
    let text = format!("grant_type=authorization_code&code={code}&code_verifier={}", login.verifier);
    let answer = shop.send(&gateway, reqwest::Method::POST, paths::TOKEN_EXCHANGE, form(text)).await;
    let tokens: TokenResponse = answer.ok();
    let text = format!("token={}", tokens.access_token);
    let answer = shop.send(&gateway, reqwest::Method::POST, paths::TOKEN_INTROSPECT, form(text)).await;
    assert_eq!(answer.json()["active"], true);
    let twice = format!("grant_type=refresh_token&grant_type=x&refresh_token={}", tokens.renewal());
    let answer = shop.send(&gateway, reqwest::Method::POST, paths::TOKEN_EXCHANGE, form(twice)).await;
    answer.refused(ErrorCode::InvalidRequest);
}
