//! Every page in both languages and both themes, and that what is chosen stays.

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::DesktopWallet;
use miid_e2e::{World, on_sqlite};

use crate::people::{asked, asks_by_handle, enrolled, opened, signs_in, town};

on_sqlite!(korean_and_dark_are_chosen_once_and_stay);

async fn korean_and_dark_are_chosen_once_and_stay(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    signs_in(&wallet, &page, &shop, "Alice").await;
    let second = Chromium::start_as(&world, "second").await;
    asks_by_handle(&second, &shop, "alice").await;
    asked(&wallet).await;

    wallet.click("#tab-settings").await;
    wallet.says("Language").await;
    pictures(&wallet, "en-light").await;
    choose(&wallet, "theme", "dark").await;
    pictures(&wallet, "en-dark").await;
    choose(&wallet, "language", "ko").await;
    wallet.says("언어").await;
    pictures(&wallet, "ko-dark").await;
    choose(&wallet, "theme", "light").await;
    pictures(&wallet, "ko-light").await;
    let tray = desktop.bus.tray().await;
    tray.says("요청 1개가 기다려요").await;
    wallet.stop().await;

    // The next start is Korean from its first page.
    let wallet = desktop.start_wallet().await;
    wallet.says("잠겨 있어요").await;
    wallet.keep("locked-ko-light").await;
    wallet.stop().await;
    page.close().await;
    second.close().await;
}

async fn choose(wallet: &DesktopWallet<'_>, setting: &str, value: &str) {
    wallet.click("#tab-settings").await;
    wallet.select(&format!("#{setting}"), value).await;
}

async fn pictures(wallet: &DesktopWallet<'_>, look: &str) {
    for page in ["requests", "sessions", "history", "settings"] {
        wallet.click(&format!("#tab-{page}")).await;
        wallet.appears(&format!("main[data-page={page}]")).await;
        wallet.keep(&format!("{page}-{look}")).await;
    }
}
