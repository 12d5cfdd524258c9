//! Starting with the desktop: chosen in the tray or on the settings page, and kept on the desktop's own list.

use miid_e2e::desktop::{Desktop, DesktopWallet, Tray};
use miid_e2e::{World, eventually, on_sqlite};

use crate::people::{PASSPHRASE, enrolled, opened};

on_sqlite!(
    chosen_in_the_tray_it_is_there_after_the_next_login_without_a_window,
    taken_off_the_desktops_list_by_hand_it_is_chosen_no_more,
);

/// The tray's line of it.
const LINE: &str = "Start at login";

/// Waits until the line is ticked, or is not, and the desktop's list agrees.
async fn becomes(desktop: &Desktop, tray: &Tray, wanted: bool) {
    eventually(&format!("starting at login is {wanted}"), || async {
        let is_ticked = tray.says(LINE).await.ticked == Some(true);
        let is_listed = desktop.home.at_login().len() == 1;
        (is_ticked == wanted && is_listed == wanted).then_some(())
    })
    .await;
}

/// Looks for its tick on the settings page.
async fn is_ticked_in_the_window(wallet: &DesktopWallet<'_>) -> bool {
    wallet.click("#tab-settings").await;
    wallet.is_ticked("#start-at-login").await
}

async fn chosen_in_the_tray_it_is_there_after_the_next_login_without_a_window(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let tray = desktop.bus.tray().await;
    becomes(&desktop, &tray, false).await;
    tray.choose(LINE).await;
    becomes(&desktop, &tray, true).await;
    assert!(is_ticked_in_the_window(&wallet).await, "the settings page says so, too");
    wallet.stop().await;

    let started = desktop.log_in();
    let tray = desktop.bus.tray().await;
    tray.says("Locked").await;
    // Which of both it says is decided: a page was asked for, or none was.
    eventually("it is ready", || std::future::ready(started[0].errors().contains("ready in").then_some(())))
        .await;
    assert!(started[0].errors().contains("(tray)"), "no page was made: {}", started[0].errors());
    desktop.window_is_shown(false).await;
    desktop.click_icon().await.ok();
    desktop.window_is_shown(true).await;

    tray.choose(LINE).await;
    becomes(&desktop, &tray, false).await;
    tray.choose("Quit").await;
    desktop.nothing_is_left().await;
    assert!(desktop.log_in().is_empty(), "the next login starts nothing");
}

async fn taken_off_the_desktops_list_by_hand_it_is_chosen_no_more(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    assert!(!is_ticked_in_the_window(&wallet).await);
    wallet.click("#start-at-login").await;
    let tray = desktop.bus.tray().await;
    becomes(&desktop, &tray, true).await;
    wallet.stop().await;
    // It stays chosen as long as it is on the list.
    let wallet = desktop.start_wallet().await;
    becomes(&desktop, &desktop.bus.tray().await, true).await;
    wallet.stop().await;

    for entry in desktop.home.at_login() {
        std::fs::remove_file(entry).unwrap();
    }
    let wallet = desktop.start_wallet().await;
    becomes(&desktop, &desktop.bus.tray().await, false).await;
    wallet.unlock(PASSPHRASE).await;
    assert!(!is_ticked_in_the_window(&wallet).await);
    wallet.stop().await;
}
