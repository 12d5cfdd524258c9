//! Notifications of the desktop: what a click on one does, and how long one stays.

use miid_e2e::chromium::Chromium;
use miid_e2e::{World, on_sqlite};

use crate::people::{asked, asks_by_handle, enrolled, opened, town};

on_sqlite!(
    a_click_on_a_notification_opens_the_window,
    a_notification_that_names_a_service_is_gone_when_the_wallet_is_locked,
    a_notification_of_requests_is_gone_when_nobody_asks_any_more,
    a_second_request_does_not_take_the_front_again_and_its_notification_leads_there,
);

async fn a_click_on_a_notification_opens_the_window(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    // Locked, so that the window does not come to the front by itself.
    wallet.click("#lock").await;
    wallet.stage("locked").await;
    desktop.close_window().await;
    let page = Chromium::start(&world).await;
    asks_by_handle(&page, &shop, "alice").await;
    let notice = desktop.bus.notice("something", |notice| notice.summary.contains("is waiting")).await;
    desktop.window_is_shown(false).await;
    desktop.bus.click(&notice).await;
    desktop.window_is_shown(true).await;
    wallet.stage("locked").await;
    page.close().await;
}

async fn a_notification_that_names_a_service_is_gone_when_the_wallet_is_locked(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    desktop.close_window().await;
    let page = Chromium::start(&world).await;
    asks_by_handle(&page, &shop, "alice").await;
    let notice = desktop.bus.notice("Demo Shop", |notice| notice.summary.contains("Demo Shop")).await;
    asked(&wallet).await;
    assert!(!desktop.bus.is_withdrawn(&notice), "it stays while somebody asks");
    desktop.bus.tray().await.choose("Lock").await;
    wallet.stage("locked").await;
    desktop.bus.becomes_withdrawn(&notice).await;
    page.close().await;
}

async fn a_notification_of_requests_is_gone_when_nobody_asks_any_more(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    desktop.close_window().await;
    let (first, second) =
        (Chromium::start_as(&world, "first").await, Chromium::start_as(&world, "second").await);
    asks_by_handle(&first, &shop, "alice").await;
    let notice = desktop.bus.notice("Demo Shop", |notice| notice.summary.contains("Demo Shop")).await;
    let older = asked(&wallet).await;
    asks_by_handle(&second, &shop, "alice").await;
    wallet.says("1 newer request").await;

    wallet.answer(&older, "#deny").await;
    first.says("You said no in your wallet").await;
    let newer = asked(&wallet).await;
    assert_ne!(older, newer);
    assert!(!desktop.bus.is_withdrawn(&notice), "one still asks");
    wallet.answer(&newer, "#deny").await;
    desktop.bus.becomes_withdrawn(&notice).await;
    first.close().await;
    second.close().await;
}

async fn a_second_request_does_not_take_the_front_again_and_its_notification_leads_there(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    desktop.close_window().await;
    let page = Chromium::start(&world).await;
    asks_by_handle(&page, &shop, "alice").await;
    asked(&wallet).await;
    desktop.screen.comes_to_front("MiID").await;

    // The person is at something else when it is taken back, and somebody asks again.
    let _letter = desktop.screen.open_another("A letter").await;
    page.click("p:has([role=timer]) > button.link").await;
    wallet.says("Nothing is asking").await;
    let before = desktop.bus.notices().len();
    asks_by_handle(&page, &shop, "alice").await;
    desktop.bus.notices_become(before + 1).await;
    // Whatever it does about a request is done once page and tray show it, too: the notification comes last.
    asked(&wallet).await;
    desktop.bus.tray().await.says("1 request").await;
    wallet.is_drawn().await;
    assert_eq!(desktop.screen.in_front().await, "A letter");
    let notice = desktop.bus.notices().pop().unwrap();
    desktop.bus.click(&notice).await;
    desktop.screen.comes_to_front("MiID").await;
    asked(&wallet).await;
    page.close().await;
}
