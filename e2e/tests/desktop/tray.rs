//! The icon in the tray, the one running instance, and desktops without a tray.

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::Desktop;
use miid_e2e::{World, eventually, on_sqlite};

use crate::people::{PASSPHRASE, asked, asks_by_handle, enroll, enrolled, opened, town};

on_sqlite!(
    the_tray_says_how_it_stands_and_its_menu_works,
    a_window_that_is_closed_leaves_the_tray_and_a_second_start_brings_it_back,
    without_a_tray_the_window_stays_and_says_why,
    asked_to_end_it_leaves_nothing_behind,
    a_start_in_the_moment_in_which_the_other_ends_takes_its_place,
);

async fn the_tray_says_how_it_stands_and_its_menu_works(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = desktop.start_wallet().await;
    let tray = desktop.bus.tray().await;
    tray.says("Locked").await;
    wallet.unlock(PASSPHRASE).await;
    tray.says("Connected").await;
    wallet.keep_screen("tray").await;
    let page = Chromium::start(&world).await;
    asks_by_handle(&page, &shop, "alice").await;
    asked(&wallet).await;
    tray.says("1 request is waiting for you").await;
    wallet.keep_screen("tray-waiting").await;
    tray.choose("Lock").await;
    wallet.stage("locked").await;
    tray.says("Locked").await;
    tray.choose("Quit").await;
    desktop.nothing_is_left().await;
    page.close().await;
}

async fn a_window_that_is_closed_leaves_the_tray_and_a_second_start_brings_it_back(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    desktop.window_is_shown(true).await;
    desktop.close_window().await;
    let tray = desktop.bus.tray().await;
    tray.says("Connected").await;

    let second = desktop.click_icon().await;
    assert!(second.status.success(), "{second:?}");
    desktop.window_is_shown(true).await;
    // It is the same wallet, still open.
    wallet.stage("open").await;

    desktop.close_window().await;
    tray.choose("Open").await;
    desktop.window_is_shown(true).await;
    wallet.stop().await;
}

async fn without_a_tray_the_window_stays_and_says_why(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = Desktop::bare(&world, "alice").await;
    enroll(&desktop, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    wallet.appears("[data-banner=no-tray]").await;
    wallet.keep("no-tray").await;
    desktop.window_is_shown(true).await;
    wallet.stop().await;
}

async fn asked_to_end_it_leaves_nothing_behind(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    desktop.bus.tray().await;
    wallet.stop().await;
    eventually("the tray is empty", || async { desktop.bus.tray_is_empty().await.then_some(()) }).await;
    // And it starts again on what it left.
    let again = opened(&desktop).await;
    again.kill().await;
    // Also after a crash.
    opened(&desktop).await.stop().await;
}

async fn a_start_in_the_moment_in_which_the_other_ends_takes_its_place(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let names = desktop.bus.names(".SingleInstance").await;
    assert_eq!(names.len(), 1, "{names:?}");
    wallet.kill().await;
    eventually("the name is free", || async { (!desktop.bus.has(&names[0]).await).then_some(()) }).await;

    let ending = desktop.bus.vanish_when_called(&names[0]).await;
    opened(&desktop).await.stop().await;
    ending.await.expect("it was called first");
}
