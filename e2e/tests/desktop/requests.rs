//! Requests for a handle: the number is typed, and everything else a person can answer.

use std::time::{Duration, Instant};

use miid_e2e::chromium::Chromium;
use miid_e2e::{World, on_sqlite};

use crate::people::{
    approves, asked, asks_by_handle, enrolled, is_signed_in, live_sessions, opened, sessions_become,
    signs_in, tick, town,
};

on_sqlite!(
    a_person_signs_in_by_handle_and_shares_what_they_tick,
    a_wrong_number_signs_nobody_in,
    deny_is_said_on_the_page,
    not_me_is_quiet_on_the_page_and_mutes_the_service,
    an_approval_is_taken_back_while_the_page_waits,
    a_person_signs_in_without_a_mouse,
    nothing_approves_by_accident,
    a_gateway_that_was_away_is_heard_again,
    a_newer_request_announces_itself_and_takes_no_card_away,
);

async fn a_person_signs_in_by_handle_and_shares_what_they_tick(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    wallet.keep("requests-none").await;
    // The window is away, and comes to the front when somebody asks.
    desktop.close_window().await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;

    let id = asked(&wallet).await;
    desktop.window_is_shown(true).await;
    wallet.says("Demo Shop wants to sign you in").await;
    let card = wallet.text(&format!("[data-request=\"{id}\"]")).await;
    assert!(card.contains("127.0.0.1") && card.contains("Sign in to Demo Shop"), "{card}");
    // As a word: two digits also stand in an address or in the time that is left.
    let says_number = |text: &str| text.split_whitespace().any(|word| word == number);
    assert!(!says_number(&wallet.all_text().await), "the number stands on the page alone");
    let notice = desktop.bus.notice("Demo Shop", |notice| notice.summary.contains("Demo Shop")).await;
    assert!(!says_number(&notice.body), "{notice:?}");

    wallet.fill("#number", &number).await;
    tick(&wallet, "name", true).await;
    tick(&wallet, "email", false).await;
    wallet.keep("request").await;
    wallet.keep_screen("request-on-the-screen").await;
    page.picture("desktop/login-number").await;
    wallet.answer(&id, "#approve").await;

    page.says("Alice Kim").await;
    assert!(page.text("#claims [data-claim=email]").await.contains('–'), "what was not shared is a dash");
    page.picture("desktop/login-signed-in").await;
    wallet.appears("[data-notice=signed_in]").await;
    wallet.keep("signed-in").await;
    wallet.stop().await;
    page.close().await;
}

async fn a_wrong_number_signs_nobody_in(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;
    approves(&wallet, if number == "47" { "74" } else { "47" }).await;

    page.says("The number did not match").await;
    wallet.says("The number did not match").await;
    wallet.keep("wrong-number").await;
    assert_eq!(live_sessions(&shop, &gateway).await, 0);
    page.close().await;
}

async fn deny_is_said_on_the_page(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    asks_by_handle(&page, &shop, "alice").await;
    let id = asked(&wallet).await;
    wallet.answer(&id, "#deny").await;

    page.says("You said no in your wallet").await;
    wallet.says("Nothing is asking").await;
    wallet.click("#tab-history").await;
    wallet.says("Denied").await;
    wallet.keep("history").await;
    assert_eq!(live_sessions(&shop, &gateway).await, 0);
    page.close().await;
}

async fn not_me_is_quiet_on_the_page_and_mutes_the_service(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let stranger = Chromium::start_as(&world, "stranger").await;
    asks_by_handle(&stranger, &shop, "alice").await;
    let id = asked(&wallet).await;
    wallet.click("#not-me").await;
    wallet.click("[name=mute][value='60']").await;
    wallet.keep("not-me").await;
    wallet.answer(&id, "#confirm-not-me").await;
    wallet.says("Nothing is asking").await;
    // Whoever tries identities of others learns nothing: the page goes on waiting.
    assert!(!stranger.page_text().await.unwrap().contains("no in your wallet"));

    let before = desktop.bus.notices().len();
    let (alice, number) = {
        let alice = Chromium::start_as(&world, "alices").await;
        let number = asks_by_handle(&alice, &shop, "alice").await;
        (alice, number)
    };
    // The muted service's next request stands in the list, and can be answered.
    approves(&wallet, &number).await;
    is_signed_in(&alice).await;
    let loud: Vec<_> =
        desktop.bus.notices().split_off(before).into_iter().filter(|n| n.summary.contains("wants")).collect();
    assert!(loud.is_empty(), "a muted service raises no notification: {loud:?}");
    stranger.close().await;
    alice.close().await;
}

async fn an_approval_is_taken_back_while_the_page_waits(world: World) {
    let (gateway, mut shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;
    let id = asked(&wallet).await;
    // The shop cannot fetch what was approved.
    shop.kill();
    approves(&wallet, &number).await;
    wallet.appears(&format!("[data-request=\"{id}\"][data-standing=approved]")).await;
    wallet.says("Waiting for Demo Shop").await;
    wallet.keep("approved").await;
    wallet.answer(&id, "#cancel").await;
    shop.restart().await;
    assert_eq!(live_sessions(&shop, &gateway).await, 0, "nobody is signed in by an approval taken back");
    // The request itself is still good, and so is its number.
    assert_eq!(page.text("#match-code").await, number);
    approves(&wallet, &number).await;
    is_signed_in(&page).await;
    page.close().await;
}

async fn a_person_signs_in_without_a_mouse(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;
    let id = asked(&wallet).await;
    // The field of the number has the focus by itself.
    wallet.focus_is_on("#number").await;
    desktop.screen.press(&[&number[..1], &number[1..]]).await;
    wallet.becomes_live(&format!("[data-request=\"{id}\"] #approve")).await;
    for _ in 0..12 {
        if wallet.has_focus("#approve").await {
            break;
        }
        desktop.screen.press(&["Tab"]).await;
    }
    wallet.focus_is_on("#approve").await;
    wallet.keep("focus-on-approve").await;
    desktop.screen.press(&["Return"]).await;
    is_signed_in(&page).await;
    page.close().await;
}

async fn nothing_approves_by_accident(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;
    let id = asked(&wallet).await;
    assert!(!wallet.is_live("#approve").await, "without a number there is nothing to approve");
    wallet.fill("#number", &number[..1]).await;
    assert!(!wallet.is_live("#approve").await, "half a number is none");
    wallet.fill("#number", &number).await;
    wallet.becomes_live("#approve").await;
    // Enter in the field is not a yes.
    desktop.screen.press(&["Return", "KP_Enter"]).await;
    assert!(wallet.is_live("#approve").await, "it still waits for an answer");
    wallet.appears(&format!("[data-request=\"{id}\"][data-standing=pending]")).await;
    assert_eq!(live_sessions(&shop, &gateway).await, 0);
    assert!(page.page_text().await.unwrap().contains(&number), "the page still shows its number");
    page.close().await;
}

async fn a_gateway_that_was_away_is_heard_again(world: World) {
    let (mut gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    gateway.kill();
    wallet.appears("[data-connection=disconnected]").await;
    wallet.says("Nothing is lost").await;
    wallet.keep("gateway-away").await;
    gateway.restart().await;
    let start = Instant::now();
    wallet.click("#refresh").await;
    wallet.is_connected().await;
    println!("from \"Try now\" to connected: {:?}", start.elapsed());
    let page = Chromium::start(&world).await;
    signs_in(&wallet, &page, &shop, "Alice").await;
    sessions_become(&shop, &gateway, 1).await;
    assert!(start.elapsed() < Duration::from_secs(20));
    page.close().await;
}

async fn a_newer_request_announces_itself_and_takes_no_card_away(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let first = Chromium::start_as(&world, "first").await;
    asks_by_handle(&first, &shop, "alice").await;
    let older = asked(&wallet).await;
    let second = Chromium::start_as(&world, "second").await;
    let number = asks_by_handle(&second, &shop, "alice").await;
    // What a person looks at is not exchanged under their eyes: the newer one announces itself.
    wallet.says("1 newer request").await;
    assert_eq!(asked(&wallet).await, older);
    wallet.keep("requests-two").await;
    wallet.click("#show-newer").await;
    wallet.appears(&format!("button[data-request=\"{older}\"]")).await;
    let newer = asked(&wallet).await;
    assert_ne!(older, newer);
    approves(&wallet, &number).await;
    is_signed_in(&second).await;
    assert_eq!(asked(&wallet).await, older, "the other one waits on");
    first.close().await;
    second.close().await;
}
