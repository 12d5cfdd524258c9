//! A session ends: in the wallet, at the service, by a newer sign-in; and the browser knows at once.

use std::time::{Duration, Instant};

use miid_e2e::{Shop, World, eventually, on_both};
use miid_protocol::browser::ForceLogout;
use miid_protocol::service::RevokeReason;
use miid_protocol::{ErrorCode, paths};
use reqwest::Method;

use crate::sign_in::sign_in;

on_both!(
    a_revoke_in_the_wallet_logs_the_browser_out_within_a_second,
    a_new_login_logs_the_other_browser_out,
    logging_out_ends_the_gateways_session_too,
    a_shop_that_hears_nothing_of_its_gateway_fails_closed,
);

async fn a_revoke_in_the_wallet_logs_the_browser_out_within_a_second(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut took = Vec::new();
    for _ in 0..5 {
        sign_in(&gateway, &browser, &alice).await;
        let session = browser.session().await.session_id;
        let mut page = browser.session_stream().await;
        let start = Instant::now();
        alice.revoke(&gateway, "demo-shop", session).await.is(200);
        let event = page.expect("force_logout").await;
        took.push(start.elapsed());
        assert_eq!(event.parse::<ForceLogout>().reason, RevokeReason::User);
        browser.get(paths::SESSION).await.refused(ErrorCode::NotAuthenticated);
        assert_eq!(page.next().await, None, "the stream of a session that is over ends");
    }
    took.sort();
    println!("from the wallet's revoke to the browser's force_logout: {took:?}");
    assert!(took.iter().all(|took| *took < Duration::from_secs(1)), "{took:?}");
}

async fn a_new_login_logs_the_other_browser_out(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = world.wallet();
    let (first, second) = (world.browser(&shop), world.browser(&shop));
    sign_in(&gateway, &first, &alice).await;
    let mut page = first.session_stream().await;
    sign_in(&gateway, &second, &alice).await;
    let event = page.expect("force_logout").await;
    assert_eq!(event.parse::<ForceLogout>().reason, RevokeReason::Superseded);
    assert!(!first.is_signed_in().await);
    assert_eq!(second.session().await.did, *alice.did());
    assert_eq!(alice.sessions(&gateway).await.len(), 1);

    // Signing in as somebody else in one browser ends what that browser had before.
    let bob = world.wallet();
    sign_in(&gateway, &second, &bob).await;
    assert_eq!(second.session().await.did, *bob.did());
    eventually("the browser's earlier session is over at the gateway", || async {
        alice.sessions(&gateway).await.is_empty().then_some(())
    })
    .await;
}

async fn a_shop_that_hears_nothing_of_its_gateway_fails_closed(world: World) {
    let (mut gateway, service) = world.gateway_and_service(&[]).await;
    let flags = ["--introspect-after", "200ms", "--fail-closed-after", "1s"];
    let shop = Shop::start(&world, &gateway, &service, &flags).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    sign_in(&gateway, &browser, &alice).await;
    gateway.kill();
    // Whoever keeps a service from its stream keeps no session alive by it (threats 20).
    let answer = eventually("the session is not trusted any more", || async {
        let answer = browser.get(paths::SESSION).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    answer.refused(ErrorCode::GatewayUnavailable);
    browser.try_start(alice.did().as_str()).await.refused(ErrorCode::GatewayUnavailable);
    gateway.restart().await;
    eventually("the session is trusted again", || async { browser.is_signed_in().await.then_some(()) }).await;
}

async fn logging_out_ends_the_gateways_session_too(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut wallet = alice.events(&gateway, None).await;
    sign_in(&gateway, &browser, &alice).await;
    let sid = browser.cookie("sid").unwrap();
    browser.logout().await.is(204);
    assert!(!browser.is_signed_in().await);
    assert_eq!(wallet.expect("session_revoked").await.json()["reason"], "service");
    assert!(alice.sessions(&gateway).await.is_empty());
    // With no cookie, a spent one and a foreign one it is the same.
    browser.logout().await.is(204);
    for cookie in [sid.as_str(), "miid_sid_x", "somebody's"] {
        let stranger = world.browser(&shop);
        stranger.plant_cookie("sid", cookie, "/");
        stranger.logout().await.is(204);
        let request = stranger.request(Method::GET, paths::SESSION_STREAM);
        stranger.send(request).await.refused(ErrorCode::NotAuthenticated);
    }
}
