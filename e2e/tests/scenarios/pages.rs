//! The real pages in a real browser, with the real wallet approving.

use std::time::{Duration, Instant};

use miid_e2e::chromium::Chromium;
use miid_e2e::{Shop, Terminal, World, eventually, on_sqlite};
use miid_protocol::ChallengeId;

on_sqlite!(a_person_signs_in_with_chromium_and_the_wallet_logs_them_out);

async fn a_person_signs_in_with_chromium_and_the_wallet_logs_them_out(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let mut alice = Terminal::init(&world, &gateway, "Alice").await;
    alice.run(&["profile", "set", "name=Alice Kim", "email=alice@example.com"]).await.ok();
    alice.run(&["handle", "alice"]).await.ok();
    alice.listen().await;
    let page = Chromium::start(&world).await;
    page.open(shop.origin()).await;
    page.submit("#handle", "alice").await;

    let number = page.text("#match-code").await;
    assert!(number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()), "{number:?}");
    page.picture("1-waiting-with-number").await;
    let id = pending(&shop, &gateway).await;
    alice.is_asked(id).await;
    alice.approve(id, &number, &["name"]);

    page.says("Alice Kim").await;
    assert!(page.text("#claims [data-claim=name]").await.contains("Alice Kim"));
    assert!(page.text("#claims [data-claim=email]").await.contains('–'), "what was not shared is a dash");
    page.picture("2-signed-in").await;

    // A reload stays signed in.
    page.client().refresh().await.expect("the page reloads");
    page.says("Alice Kim").await;

    let session = live_session(&shop, &gateway).await;
    let revoke = alice.run(&["revoke", &session]).await;
    let start = Instant::now();
    revoke.ok();
    page.says("You are signed out").await;
    let took = start.elapsed();
    page.picture("3-logged-out-from-the-wallet").await;
    println!("from the end of `miid-wallet revoke` to the page that says so: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    page.says("You ended this session in your wallet").await;
    page.close().await;
}

async fn pending(shop: &Shop, gateway: &miid_e2e::Gateway) -> ChallengeId {
    eventually("the gateway has the challenge", || async {
        let open = shop.service().get(gateway, miid_protocol::paths::SERVICE_CHALLENGES).await.json();
        ChallengeId::parse(open["challenges"][0]["challenge_id"].as_str()?).ok()
    })
    .await
}

async fn live_session(shop: &Shop, gateway: &miid_e2e::Gateway) -> String {
    let live = shop.service().get(gateway, miid_protocol::paths::SERVICE_SESSIONS).await.json();
    live["sessions"][0]["session_id"].as_str().expect("one session").to_owned()
}
