//! The service backend and the wallet come and go; nothing is lost.

use futures_util::future::join_all;
use miid_e2e::{World, eventually, on_both, on_sqlite};
use miid_protocol::events::ChallengeCreated;
use miid_protocol::service::ChallengeStatus;

use crate::sign_in::{approve, is_active, reaches};

on_both!(
    the_shop_restarts_while_waiting,
    an_approval_while_the_shop_is_away_is_found,
    an_approval_taken_back_while_the_shop_is_away_leaves_the_page_waiting,
    a_session_revoked_while_the_shop_is_away_is_over_when_it_returns,
    the_gateway_restarts_while_the_page_waits,
    two_instances_of_the_shop_told_of_one_approval_exchange_once,
    a_wallet_that_was_offline_while_three_challenges_came_is_told_of_them,
);

// On PostgreSQL another instance may still live, so a lease has to run out first; that is the shop's own test.
on_sqlite!(the_shop_is_killed_around_an_exchange);

async fn the_shop_restarts_while_waiting(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    let mut page = browser.stream(started.challenge_id).await;
    shop.kill();
    page.rest().await;
    shop.restart().await;
    let mut page = browser.stream(started.challenge_id).await;
    assert_eq!(page.expect("snapshot").await.json()["status"], "pending");
    approve(&gateway, &alice, &started, &[("name", "Alice")]).await;
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    shop.kill();
    shop.restart().await;
    assert_eq!(browser.session().await.claims["name"], "Alice");
}

async fn an_approval_while_the_shop_is_away_is_found(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    shop.kill();
    approve(&gateway, &alice, &started, &[]).await;
    shop.restart().await;
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}

async fn an_approval_taken_back_while_the_shop_is_away_leaves_the_page_waiting(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    shop.kill();
    approve(&gateway, &alice, &started, &[]).await;
    let challenge = shop.service().challenge(&gateway, started.challenge_id).await;
    alice.cancel(&gateway, &challenge).await.is(200);
    shop.restart().await;
    let mut page = browser.stream(started.challenge_id).await;
    assert_eq!(page.expect("snapshot").await.json()["status"], "pending");
    // The number is still good.
    approve(&gateway, &alice, &started, &[]).await;
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
}

async fn a_session_revoked_while_the_shop_is_away_is_over_when_it_returns(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    crate::sign_in::sign_in(&gateway, &browser, &alice).await;
    let session = browser.session().await.session_id;
    shop.kill();
    alice.revoke(&gateway, "demo-shop", session).await.is(200);
    shop.restart().await;
    eventually("the browser is signed out", || async { (!browser.is_signed_in().await).then_some(()) }).await;
}

async fn the_gateway_restarts_while_the_page_waits(world: World) {
    let (mut gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    let mut page = browser.stream(started.challenge_id).await;
    gateway.crash().await;
    assert_eq!(browser.status(started.challenge_id).await.status, ChallengeStatus::Pending);
    approve(&gateway, &alice, &started, &[]).await;
    // The page's own stream has lived through it; the shop has reconnected its one.
    assert_eq!(crate::sign_in::ends(&mut page).await.status, ChallengeStatus::Active);
    browser.complete(started.challenge_id).await.is(200);
    let mut session = browser.session_stream().await;
    gateway.crash().await;
    let id = browser.session().await.session_id;
    alice.revoke(&gateway, "demo-shop", id).await.is(200);
    session.expect("force_logout").await;
}

async fn two_instances_of_the_shop_told_of_one_approval_exchange_once(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    if world.kind() == miid_e2e::Kind::Sqlite {
        // One file has one server. What can be done twice there is to be told twice: the shop polls and
        // streams at once, and its stream is cut so that the log is sent again.
        told_twice(world, gateway, shop).await;
        return;
    }
    let second = shop.another("shop-b").await;
    let mut log = shop.service().events(&gateway, None, None).await;
    let wallets: Vec<_> = (0..6).map(|_| world.wallet()).collect();
    let logins = join_all(wallets.iter().enumerate().map(|(i, wallet)| {
        let browser = world.browser(&shop);
        let browser = if i % 2 == 0 { browser } else { browser.through(second.instance()) };
        let gateway = &gateway;
        async move {
            let started = browser.start(wallet.did().as_str()).await;
            approve(gateway, wallet, &started, &[]).await;
            (browser, started)
        }
    }))
    .await;
    for (i, (browser, started)) in logins.iter().enumerate() {
        // Completed at the other instance than the one that began it.
        let other = browser.through(if i % 2 == 0 { second.instance() } else { shop.instance() });
        reaches(&other, started, ChallengeStatus::Active).await;
        other.complete(started.challenge_id).await.is(200);
        assert!(browser.is_signed_in().await && other.is_signed_in().await);
    }
    // One session for each, and none that was revoked for a second use.
    let mut created = 0;
    while created < wallets.len() {
        let event = log.next().await.unwrap();
        assert_ne!(event.name, "session_revoked", "{event:?}");
        created += usize::from(event.name == "session_created");
    }
    for wallet in &wallets {
        assert_eq!(wallet.sessions(&gateway).await.len(), 1);
    }
    // Both instances hear of the end, whichever made the session.
    let (browser, _) = &logins[0];
    let mut at_first = browser.through(shop.instance()).session_stream().await;
    let mut at_second = browser.through(second.instance()).session_stream().await;
    let id = browser.session().await.session_id;
    wallets[0].revoke(&gateway, "demo-shop", id).await.is(200);
    at_first.expect("force_logout").await;
    at_second.expect("force_logout").await;
}

async fn told_twice(world: World, mut gateway: miid_e2e::Gateway, shop: miid_e2e::Shop) {
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    for crash in [false, true] {
        let started = browser.start(alice.did().as_str()).await;
        approve(&gateway, &alice, &started, &[]).await;
        if crash {
            gateway.crash().await;
        }
        let polls = join_all((0..8).map(|_| browser.status(started.challenge_id))).await;
        assert_eq!(polls.len(), 8);
        is_active(&browser, &started).await;
        browser.complete(started.challenge_id).await.is(200);
        assert!(browser.is_signed_in().await);
        assert_eq!(alice.sessions(&gateway).await.len(), 1);
    }
}

async fn a_wallet_that_was_offline_while_three_challenges_came_is_told_of_them(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut stream = alice.events(&gateway, None).await;
    let before = shop.login(&gateway, alice.did().as_str()).await;
    let position = stream.expect("challenge_created").await.id.unwrap();
    alice.approve(&gateway, &before.challenge, before.number()).await.is(200);
    shop.finish(&gateway, &before).await;
    drop(stream);

    let mut ids = Vec::new();
    for i in 0..3 {
        ids.push(shop.login(&gateway, alice.did().as_str()).await.id());
        if i == 1 {
            gateway.crash().await;
        }
    }
    let mut stream = alice.events(&gateway, Some(&position)).await;
    assert_eq!(stream.next().await.unwrap().name, "challenge_approved");
    assert_eq!(stream.next().await.unwrap().name, "session_created");
    for id in &ids {
        let event = stream.next().await.unwrap();
        assert_eq!(event.name, "challenge_created");
        assert_eq!(event.parse::<ChallengeCreated>().challenge_id, *id);
    }
    let mut listed: Vec<_> = alice.challenges(&gateway).await.iter().map(|c| c.challenge_id).collect();
    listed.reverse();
    assert_eq!(listed, ids, "newest first");
}

async fn the_shop_is_killed_around_an_exchange(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut signed_in = 0;
    for round in 0..8 {
        let started = browser.start(alice.did().as_str()).await;
        approve(&gateway, &alice, &started, &[]).await;
        // A look or two at the page, so that the kill falls into different moments of the exchange.
        for _ in 0..round / 2 {
            browser.status(started.challenge_id).await;
        }
        shop.kill();
        shop.restart().await;
        let status = eventually("the sign-in is over, one way or the other", || async {
            let now = browser.status(started.challenge_id).await;
            now.status.is_final().then_some(now.status)
        })
        .await;
        if status == ChallengeStatus::Active {
            signed_in += 1;
            browser.complete(started.challenge_id).await.is(200);
            assert_eq!(browser.session().await.did, *alice.did());
            assert_eq!(alice.sessions(&gateway).await.len(), 1);
        } else {
            // The answer died with the shop; what it gave is nobody's, and the person starts again.
            assert_eq!(status, ChallengeStatus::Expired);
            eventually("nothing is left over", || async {
                (alice.sessions(&gateway).await.len() <= 1).then_some(())
            })
            .await;
        }
    }
    println!("signed in {signed_in} times of 8");
    crate::sign_in::sign_in(&gateway, &browser, &alice).await;
    eventually("one session is left", || async { (alice.sessions(&gateway).await.len() == 1).then_some(()) })
        .await;
}
