//! Who takes part: Alice at her desktop, with an identity that is enrolled, and her browser.

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::{Desktop, DesktopWallet};
use miid_e2e::{Gateway, Shop, World, eventually};

/// Opens every vault of these scenarios.
pub(crate) const PASSPHRASE: &str = "four plain words here";

/// A gateway and a shop that sells to people.
pub(crate) async fn town(world: &World) -> (Gateway, Shop) {
    world.gateway_and_shop(&[]).await
}

/// Somebody's desktop, whose wallet has an identity, a handle and a profile. Made on the command line: how
/// the window makes one is a scenario of its own.
pub(crate) async fn enrolled(world: &World, gateway: &Gateway, name: &str) -> Desktop {
    let desktop = Desktop::start(world, &name.to_lowercase()).await;
    enroll(&desktop, gateway, name).await;
    desktop
}

/// The same on a desktop that is there.
pub(crate) async fn enroll(desktop: &Desktop, gateway: &Gateway, name: &str) {
    let handle = name.to_lowercase();
    let (full_name, email) = (format!("name={name} Kim"), format!("email={handle}@example.com"));
    for words in [
        &["init", "--name", name, "--gateway", gateway.issuer.as_str()][..],
        &["handle", &handle],
        &["profile", "set", &full_name, &email],
    ] {
        desktop.command_line(words, PASSPHRASE).await.ok();
    }
}

/// Starts the wallet, opens it and waits until it hears its gateway.
pub(crate) async fn opened(desktop: &Desktop) -> DesktopWallet<'_> {
    let wallet = desktop.start_wallet().await;
    wallet.unlock(PASSPHRASE).await;
    wallet.is_connected().await;
    wallet
}

/// Begins to sign in by handle; gives the number on the page.
pub(crate) async fn asks_by_handle(page: &Chromium, shop: &Shop, handle: &str) -> String {
    page.open(shop.origin()).await;
    page.submit("#handle", handle).await;
    page.text("#match-code").await
}

/// The request whose card is open in the window, as soon as there is one.
pub(crate) async fn asked(wallet: &DesktopWallet<'_>) -> String {
    wallet.attribute("article[data-request][data-standing=pending]", "data-request").await
}

/// Types the number and approves.
pub(crate) async fn approves(wallet: &DesktopWallet<'_>, number: &str) {
    let id = asked(wallet).await;
    wallet.fill("#number", number).await;
    wallet.answer(id, "#approve").await;
}

/// A whole sign-in by handle.
pub(crate) async fn signs_in(wallet: &DesktopWallet<'_>, page: &Chromium, shop: &Shop, name: &str) {
    let number = asks_by_handle(page, shop, &name.to_lowercase()).await;
    approves(wallet, &number).await;
    is_signed_in(page).await;
}

/// Waits until the page says who is signed in.
pub(crate) async fn is_signed_in(page: &Chromium) {
    page.text("#claims").await;
}

/// How many sessions the shop has at its gateway.
pub(crate) async fn live_sessions(shop: &Shop, gateway: &Gateway) -> usize {
    let live = shop.service().get(gateway, miid_protocol::paths::SERVICE_SESSIONS).await.json();
    live["sessions"].as_array().map_or(0, Vec::len)
}

/// Waits until the shop has so many.
pub(crate) async fn sessions_become(shop: &Shop, gateway: &Gateway, wanted: usize) {
    eventually(&format!("there are {wanted} sessions"), || async {
        (live_sessions(shop, gateway).await == wanted).then_some(())
    })
    .await;
}

/// Puts a claim's tick where it is wanted.
pub(crate) async fn tick(wallet: &DesktopWallet<'_>, claim: &str, wanted: bool) {
    let css = format!("[data-claim={claim}] input[type=checkbox]");
    if wallet.is_ticked(&css).await != wanted {
        wallet.click(&css).await;
    }
}
