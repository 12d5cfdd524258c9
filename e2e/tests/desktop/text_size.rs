//! The size of texts that the desktop is set to: the engine follows it, and the page has to fit.

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::{Desktop, DesktopWallet};
use miid_e2e::{World, on_sqlite};

use crate::people::{PASSPHRASE, asked, asks_by_handle, enroll, town};

on_sqlite!(texts_are_as_large_as_the_desktop_says_and_no_page_is_cut);

/// How many pixels of the screen one of the page's takes.
async fn scale(wallet: &DesktopWallet<'_>) -> f64 {
    wallet.script("return outerWidth / innerWidth").await.as_f64().unwrap()
}

/// What stands out at the side, where nobody can scroll to, and by how much. A pixel is a width that was rounded.
async fn cut(wallet: &DesktopWallet<'_>) -> String {
    let script = "return [document.documentElement, ...document.querySelectorAll('header, main, nav')] \
                  .filter((part) => part.scrollWidth > part.clientWidth + 1) \
                  .map((part) => `${part.localName} by ${part.scrollWidth - part.clientWidth}`).join()";
    wallet.script(script).await.as_str().unwrap().to_owned()
}

/// Presses a button by a script: where a page is enlarged so, the driver presses beside it.
async fn press(wallet: &DesktopWallet<'_>, css: &str) {
    wallet.appears(css).await;
    wallet.script(&format!("document.querySelector('{css}').click()")).await;
}

async fn texts_are_as_large_as_the_desktop_says_and_no_page_is_cut(world: World) {
    let usual = Desktop::start(&world, "usual").await;
    let wallet = usual.start_wallet().await;
    let found = scale(&wallet).await;
    assert!((found - 1.0).abs() < 0.01, "{found}");
    wallet.stop().await;

    let (gateway, shop) = town(&world).await;
    let desktop = Desktop::start(&world, "alice").await;
    // What the desktops' own switch for large texts sets: a quarter more.
    desktop.screen.set_text_dpi(120).await;
    enroll(&desktop, &gateway, "Alice").await;
    let wallet = desktop.start_wallet().await;
    let found = scale(&wallet).await;
    assert!((found - 1.25).abs() < 0.01, "{found}");
    wallet.fill("#unlock-passphrase", PASSPHRASE).await;
    press(&wallet, "#unlock").await;
    wallet.is_connected().await;
    let page = Chromium::start(&world).await;
    asks_by_handle(&page, &shop, "alice").await;
    asked(&wallet).await;
    for name in ["requests", "sessions", "history", "settings"] {
        press(&wallet, &format!("#tab-{name}")).await;
        wallet.appears(&format!("main[data-page={name}]")).await;
        wallet.keep(&format!("{name}-large-texts")).await;
        assert_eq!(cut(&wallet).await, "", "on the page {name}");
    }
    wallet.stop().await;
    page.close().await;
}
