//! One person, one session (or several, where a service is registered so), and how sessions end.

use futures_util::future::join_all;
use miid_e2e::{Renewable as _, World, eventually, on_both};
use miid_protocol::{ErrorCode, paths};
use serde_json::json;

on_both!(
    a_new_login_supersedes_the_earlier_session,
    sign_ins_of_one_person_at_once_leave_one_session,
    several_sessions_where_the_service_is_registered_so,
    the_service_ends_a_session,
    nothing_outlives_the_session,
);

async fn a_new_login_supersedes_the_earlier_session(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    let first = shop.sign_in(&gateway, &alice).await;
    let elsewhere = other.sign_in(&gateway, &alice).await;
    let second = shop.sign_in(&gateway, &alice).await;
    assert_eq!(first.sub, second.sub, "a person stays who they are at a service");
    let revoked = log.expect("session_revoked").await.json();
    assert_eq!(revoked["session_id"], json!(first.session_id));
    assert_eq!(revoked["reason"], "superseded");
    assert!(!shop.introspect(&gateway, &first.access_token).await.active);
    shop.refresh(&gateway, first.renewal()).await.refused(ErrorCode::InvalidGrant);
    assert!(shop.introspect(&gateway, &second.access_token).await.active);
    assert!(other.introspect(&gateway, &elsewhere.access_token).await.active);
}

async fn sign_ins_of_one_person_at_once_leave_one_session(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut logins = Vec::new();
    for _ in 0..3 {
        let login = shop.login(&gateway, alice.did().as_str()).await;
        alice.approve(&gateway, &login.challenge, login.number()).await.is(200);
        logins.push((shop.code(&gateway, login.id()).await, login));
    }
    let exchanges = logins.iter().map(|(code, login)| shop.exchange(&gateway, code, &login.verifier));
    let answers = join_all(exchanges).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "each code is exchanged");
    let sessions = alice.sessions(&gateway).await;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let mut live = 0;
    for answer in &answers {
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        live += usize::from(shop.introspect(&gateway, &token).await.active);
    }
    assert_eq!(live, 1);
}

async fn several_sessions_where_the_service_is_registered_so(world: World) {
    let gateway = world.gateway(&[]).await;
    let shop = gateway.add_service("many-shop", &["--session-policy", "multiple"]).await;
    let alice = world.wallet();
    let first = shop.sign_in(&gateway, &alice).await;
    let second = shop.sign_in(&gateway, &alice).await;
    for tokens in [&first, &second] {
        assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    }
    let listed = alice.sessions(&gateway).await;
    assert_eq!(listed.len(), 2);
    // The wallet ends one of them, and only that one.
    alice.revoke(&gateway, "many-shop", first.session_id).await.is(200);
    assert!(!shop.introspect(&gateway, &first.access_token).await.active);
    assert!(shop.introspect(&gateway, &second.access_token).await.active);
    let live = shop.get(&gateway, paths::SERVICE_SESSIONS).await.json();
    let ids: Vec<_> = live["sessions"].as_array().unwrap().iter().map(|s| s["session_id"].clone()).collect();
    assert_eq!(ids, [json!(second.session_id)]);
}

async fn the_service_ends_a_session(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut wallet = alice.events(&gateway, None).await;
    let tokens = shop.sign_in(&gateway, &alice).await;
    assert!(shop.end_session(&gateway, tokens.session_id).await.status < 300);
    assert!(shop.end_session(&gateway, tokens.session_id).await.status < 300, "again is no error");
    let revoked = wallet.expect("session_revoked").await.json();
    assert_eq!((&revoked["reason"], &revoked["session_id"]), (&json!("service"), &json!(tokens.session_id)));
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    shop.userinfo(&gateway, &tokens.access_token).await.refused(ErrorCode::InvalidToken);
    let nobodys = miid_protocol::SessionId::from_uuid(uuid::Uuid::now_v7());
    shop.end_session(&gateway, nobodys).await.refused(ErrorCode::SessionNotFound);
}

async fn nothing_outlives_the_session(world: World) {
    let (gateway, shop) = world
        .gateway_and_service(&["--session-ttl", "4s", "--refresh-idle", "60s", "--access-ttl", "60s"])
        .await;
    let alice = world.wallet();
    let mut log = shop.events(&gateway, None, None).await;
    let tokens = shop.sign_in(&gateway, &alice).await;
    assert!(tokens.expires_in <= 4, "{}", tokens.expires_in);
    let refreshed = shop.refresh(&gateway, tokens.renewal()).await.json();
    let token = refreshed["access_token"].as_str().unwrap();
    let over = log.expect("session_revoked").await.json();
    assert_eq!(over["reason"], "expired");
    assert!(!shop.introspect(&gateway, token).await.active);
    let refresh_token = refreshed["refresh_token"].as_str().unwrap();
    shop.refresh(&gateway, refresh_token).await.refused(ErrorCode::InvalidGrant);
    eventually("the wallet's list is empty", || async {
        alice.sessions(&gateway).await.is_empty().then_some(())
    })
    .await;
}
