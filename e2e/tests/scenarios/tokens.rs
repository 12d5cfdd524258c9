//! Access tokens, refresh tokens, and what a service can ask about them.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use miid_e2e::{Renewable as _, World, clock, eventually, on_both, on_sqlite};
use miid_protocol::service::TokenResponse;
use miid_protocol::{ErrorCode, Signature, VerifyingKey, jws, paths};
use serde_json::{Value, json};

on_both!(
    a_spent_refresh_token_gives_the_same_successor_while_that_is_unused,
    refreshes_in_lockstep_agree,
    a_refresh_token_used_after_its_successor_ends_the_session,
    a_refresh_token_used_after_the_window_ends_the_session,
    another_services_token_is_inactive_and_stays_alive,
    an_expired_access_token_is_inactive,
    a_revoked_token_takes_its_session_along,
);
on_sqlite!(
    anyone_can_check_an_access_token_with_the_jwks,
    the_metadata_says_where_everything_is,
    a_service_proves_who_it_is,
    keys_rotate_without_a_restart,
);

async fn a_spent_refresh_token_gives_the_same_successor_while_that_is_unused(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let first = shop.sign_in(&gateway, &alice).await;
    let second: TokenResponse = shop.refresh(&gateway, first.renewal()).await.ok();
    assert_ne!(first.renewal(), second.renewal());
    assert_eq!((first.session_id, &first.sub), (second.session_id, &second.sub));
    for _ in 0..3 {
        let again: TokenResponse = shop.refresh(&gateway, first.renewal()).await.ok();
        assert_eq!(again.renewal(), second.renewal());
        assert!(shop.introspect(&gateway, &again.access_token).await.active);
    }
    let third: TokenResponse = shop.refresh(&gateway, second.renewal()).await.ok();
    assert_ne!(second.renewal(), third.renewal());
    assert!(shop.introspect(&gateway, &third.access_token).await.active);
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}

async fn refreshes_in_lockstep_agree(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut token = shop.sign_in(&gateway, &alice).await.renewal().clone();
    for _ in 0..3 {
        let answers = join_all((0..16).map(|_| shop.refresh(&gateway, &token))).await;
        let successors: BTreeSet<String> =
            answers.iter().map(|answer| answer.ok::<TokenResponse>().renewal().clone()).collect();
        assert_eq!(successors.len(), 1);
        token = successors.into_iter().next().unwrap();
    }
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}

async fn a_refresh_token_used_after_its_successor_ends_the_session(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    let first = shop.sign_in(&gateway, &alice).await;
    let second: TokenResponse = shop.refresh(&gateway, first.renewal()).await.ok();
    let third: TokenResponse = shop.refresh(&gateway, second.renewal()).await.ok();
    shop.refresh(&gateway, first.renewal()).await.refused(ErrorCode::InvalidGrant);
    assert_eq!(log.expect("session_revoked").await.json()["reason"], "refresh_reuse");
    shop.refresh(&gateway, third.renewal()).await.refused(ErrorCode::InvalidGrant);
    assert!(!shop.introspect(&gateway, &third.access_token).await.active);
    assert!(alice.sessions(&gateway).await.is_empty());
}

async fn a_refresh_token_used_after_the_window_ends_the_session(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--retry-window", "300ms"]).await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    let first = shop.sign_in(&gateway, &alice).await;
    let second: TokenResponse = shop.refresh(&gateway, first.renewal()).await.ok();
    eventually("the window closes", || async {
        let answer = shop.refresh(&gateway, first.renewal()).await;
        if answer.status == 200 {
            assert_eq!(answer.ok::<TokenResponse>().renewal(), second.renewal());
            return None;
        }
        answer.refused(ErrorCode::InvalidGrant);
        Some(())
    })
    .await;
    assert_eq!(log.expect("session_revoked").await.json()["reason"], "refresh_reuse");
    shop.refresh(&gateway, second.renewal()).await.refused(ErrorCode::InvalidGrant);
}

async fn another_services_token_is_inactive_and_stays_alive(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    for token in [&tokens.access_token, tokens.renewal()] {
        let answer = other.post(&gateway, paths::TOKEN_INTROSPECT, &json!({"token": token})).await;
        assert_eq!(answer.is(200).json(), json!({"active": false}));
        other.revoke(&gateway, token).await.is(200);
    }
    for junk in ["", "x", "miid_rt_x", "eyJ.eyJ.x"] {
        let answer = shop.post(&gateway, paths::TOKEN_INTROSPECT, &json!({"token": junk})).await;
        if !junk.is_empty() {
            assert_eq!(answer.is(200).json(), json!({"active": false}));
            shop.revoke(&gateway, junk).await.is(200);
        }
    }
    let introspection = shop.introspect(&gateway, &tokens.access_token).await;
    assert!(introspection.active);
    assert_eq!(introspection.client_id.as_deref(), Some("demo-shop"));
    assert_eq!(introspection.sub.as_deref(), Some(tokens.sub.as_str()));
    assert_eq!(introspection.sid, Some(tokens.session_id));
    assert!(shop.introspect(&gateway, tokens.renewal()).await.active);
}

async fn an_expired_access_token_is_inactive(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--access-ttl", "1s"]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    assert_eq!(tokens.expires_in, 1);
    eventually("the access token expires", || async {
        (!shop.introspect(&gateway, &tokens.access_token).await.active).then_some(())
    })
    .await;
    shop.userinfo(&gateway, &tokens.access_token).await.refused(ErrorCode::InvalidToken);
    // The session goes on.
    shop.refresh(&gateway, tokens.renewal()).await.is(200);
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}

async fn a_revoked_token_takes_its_session_along(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    for by_access in [true, false] {
        let tokens = shop.sign_in(&gateway, &alice).await;
        let token = if by_access { &tokens.access_token } else { tokens.renewal() };
        for _ in 0..2 {
            shop.revoke(&gateway, token).await.is(200);
        }
        assert_eq!(log.expect("session_revoked").await.json()["reason"], "service");
        assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
        assert!(alice.sessions(&gateway).await.is_empty());
    }
}

async fn anyone_can_check_an_access_token_with_the_jwks(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let shared = [("name", "Alice Kim")];
    alice.approve_sharing(&gateway, &login.challenge.request, login.number(), &shared).await.is(200);
    let tokens = shop.finish(&gateway, &login).await;

    let parts: Vec<&str> = tokens.access_token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let part = |i: usize| jws::decode(parts[i]).expect("strict base64url");
    let header: Value = serde_json::from_slice(&part(0)).unwrap();
    let claims: Value = serde_json::from_slice(&part(1)).unwrap();
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));

    let jwks = world.get(&gateway, paths::JWKS).await;
    let keys = jwks.json()["keys"].as_array().expect("keys").clone();
    for key in &keys {
        assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
        assert!(key.get("d").is_none(), "a private member");
    }
    let kids: Vec<_> = keys.iter().filter(|key| key["kid"] == header["kid"]).collect();
    assert_eq!(kids.len(), 1, "the key that signed is published, once");
    let key: [u8; 32] = jws::decode(kids[0]["x"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signature: [u8; 64] = part(2).try_into().unwrap();
    VerifyingKey::from_bytes(&key)
        .unwrap()
        .verify_strict(format!("{}.{}", parts[0], parts[1]).as_bytes(), &Signature::from_bytes(&signature))
        .expect("the signature holds");

    // RFC 9068.
    assert_eq!(claims["iss"], gateway.issuer.as_str());
    assert_eq!((&claims["aud"], &claims["client_id"]), (&json!("demo-shop"), &json!("demo-shop")));
    assert_eq!(claims["sub"], tokens.sub.as_str());
    assert_eq!(claims["sid"], json!(tokens.session_id));
    assert_eq!(claims["scope"], "profile");
    assert!(claims["jti"].is_string());
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((iat - clock::now_s()).abs() < 10);
    assert_eq!(exp - iat, 600);
    assert!(!claims.to_string().contains("did:key"), "no DID in the token");

    // The statement convinces anyone without the gateway.
    let statement = jws::verify(&tokens.statement, miid_protocol::statement::TYP).unwrap();
    assert_eq!(statement.did, *alice.did());
    let said: Value = statement.json().unwrap();
    assert_eq!(said["challenge_id"], json!(login.id()));
    assert!(!said.to_string().contains("Alice Kim"), "values lie beside the statement");

    let info = shop.userinfo(&gateway, &tokens.access_token).await.json();
    assert_eq!(info["sub"], tokens.sub.as_str());
    assert_eq!(info["claims"], json!({"name": "Alice Kim"}));
    assert_eq!(info["claims_verified"], false);
    for wrong in [tokens.renewal().as_str(), "x", &format!("{}x", tokens.access_token)] {
        shop.userinfo(&gateway, wrong).await.refused(ErrorCode::InvalidToken);
    }
    assert!(world.get(&gateway, paths::USERINFO).await.problem().status == 401);
}

async fn the_metadata_says_where_everything_is(world: World) {
    let (gateway, _shop) = world.gateway_and_service(&[]).await;
    let metadata = world.get(&gateway, paths::METADATA).await.json();
    assert_eq!(metadata["issuer"], gateway.issuer.as_str());
    for (member, path) in [
        ("jwks_uri", paths::JWKS),
        ("token_endpoint", paths::TOKEN_EXCHANGE),
        ("introspection_endpoint", paths::TOKEN_INTROSPECT),
        ("revocation_endpoint", paths::TOKEN_REVOKE),
    ] {
        assert_eq!(metadata[member], format!("{}{path}", gateway.issuer), "{member}");
    }
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    let openapi = world.get(&gateway, paths::OPENAPI).await.json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3."));
    for path in [paths::CHALLENGE, paths::WALLET_APPROVE, paths::TOKEN_EXCHANGE, paths::WALLET_EVENTS] {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
    world.get(&gateway, paths::HEALTHZ).await.is(200);
    world.get(&gateway, paths::READYZ).await.is(200);
}

async fn a_service_proves_who_it_is(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (body, _) = shop.asking(world.wallet().did().as_str());
    let wrong = [
        ("demo-shop", "wrong"),
        ("demo-shop", ""),
        ("nobody", shop.secret.as_str()),
        ("Demo-Shop", shop.secret.as_str()),
        ("", ""),
    ];
    for (client_id, secret) in wrong {
        let post = |request: reqwest::RequestBuilder| request.basic_auth(client_id, Some(secret)).json(&body);
        let answer = world.send(&gateway, reqwest::Method::POST, paths::CHALLENGE, post).await;
        answer.refused(ErrorCode::InvalidClient);
        assert!(answer.header(reqwest::header::WWW_AUTHENTICATE).is_some(), "RFC 9110, section 15.5.2");
    }
    for header in ["Basic", "Basic !!!", "Basic OjpA", "Bearer x"] {
        let post = |request: reqwest::RequestBuilder| request.header("Authorization", header).json(&body);
        let answer = world.send(&gateway, reqwest::Method::POST, paths::TOKEN_EXCHANGE, post).await;
        answer.refused(ErrorCode::InvalidClient);
    }
    world.get(&gateway, paths::SERVICE_EVENTS).await.refused(ErrorCode::InvalidClient);

    // A new secret counts at once on a running instance, and the old one no longer than its overlap.
    let rotated =
        gateway.run(&["service", "rotate-secret", "demo-shop", "--overlap", "1ms", "--json"]).await.ok();
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    let secret = rotated["client_secret"].as_str().unwrap();
    world.secrets().add(secret);
    let mut fresh = shop.clone();
    fresh.secret = secret.to_owned();
    eventually("the old secret is refused", || async {
        (shop.get(&gateway, paths::SERVICE_SESSIONS).await.status == 401).then_some(())
    })
    .await;
    fresh.get(&gateway, paths::SERVICE_SESSIONS).await.is(200);
    gateway.run(&["service", "remove", "demo-shop"]).await.ok();
    eventually("a service that is gone is refused", || async {
        (fresh.get(&gateway, paths::SERVICE_SESSIONS).await.status == 401).then_some(())
    })
    .await;
}

async fn keys_rotate_without_a_restart(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let kids = |jwks: &Value| -> Vec<String> {
        let keys = jwks["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let before = kids(&world.get(&gateway, paths::JWKS).await.json());
    gateway.run(&["keys", "rotate"]).await.ok();
    let after = eventually("a new key is published", || async {
        let now = kids(&world.get(&gateway, paths::JWKS).await.json());
        now.iter().any(|kid| !before.contains(kid)).then_some(now)
    })
    .await;
    let header = tokens.access_token.split('.').next().and_then(jws::decode).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert!(after.iter().any(|kid| header["kid"] == kid.as_str()), "the old key stays published");
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    shop.refresh(&gateway, tokens.renewal()).await.is(200);
}
