//! Locked: what a bystander sees, and what is there afterwards.

use miid_e2e::chromium::Chromium;
use miid_e2e::{World, on_sqlite};

use crate::people::{PASSPHRASE, approves, asked, asks_by_handle, enrolled, is_signed_in, opened, town};

on_sqlite!(
    requests_wait_behind_the_lock_and_nothing_says_whose,
    requests_that_came_while_the_wallet_was_off_are_there,
    a_wrong_passphrase_says_so_and_opens_nothing,
);

async fn requests_wait_behind_the_lock_and_nothing_says_whose(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    wallet.click("#lock").await;
    wallet.stage("locked").await;
    let before = desktop.bus.notices().len();

    // Nobody is told in a notification what stands before their eyes.
    desktop.close_window().await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;
    // The stream that was open counts, and tells no more.
    wallet.says("1 request is waiting").await;
    desktop.bus.tray().await.says("Locked · 1 request").await;
    desktop.bus.notice("something", |notice| notice.summary.contains("A request is waiting")).await;
    desktop.click_icon().await.ok();
    desktop.window_is_shown(true).await;
    wallet.keep("locked").await;
    let shown = desktop.bus.notices().split_off(before);
    for text in [
        wallet.all_text().await,
        wallet.script("return document.documentElement.outerHTML").await.to_string(),
    ] {
        assert!(!text.contains("Demo Shop") && !text.contains("demo-shop"), "{text}");
    }
    for notice in &shown {
        let told = format!("{} {}", notice.summary, notice.body);
        for secret in ["Demo Shop", "Alice", "alice", "demo-shop", number.as_str()] {
            assert!(!told.contains(secret), "a bystander reads {secret:?} in {told:?}");
        }
    }

    wallet.unlock(PASSPHRASE).await;
    approves(&wallet, &number).await;
    is_signed_in(&page).await;
    page.close().await;
}

async fn requests_that_came_while_the_wallet_was_off_are_there(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    opened(&desktop).await.stop().await;
    let page = Chromium::start(&world).await;
    let number = asks_by_handle(&page, &shop, "alice").await;
    let wallet = desktop.start_wallet().await;
    wallet.stage("locked").await;
    wallet.unlock(PASSPHRASE).await;
    asked(&wallet).await;
    approves(&wallet, &number).await;
    is_signed_in(&page).await;
    page.close().await;
}

async fn a_wrong_passphrase_says_so_and_opens_nothing(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = desktop.start_wallet().await;
    wallet.fill("#unlock-passphrase", "another one entirely").await;
    wallet.click("#unlock").await;
    wallet.appears("[role=alert]").await;
    wallet.keep("wrong-passphrase").await;
    wallet.stage("locked").await;
    wallet.unlock(PASSPHRASE).await;
}
