//! Confirming something in a session that is there: the page asks, the wallet says for what, and what was approved
//! happens once.

use miid_e2e::chromium::Chromium;
use miid_e2e::demo::Change;
use miid_e2e::desktop::{Desktop, DesktopWallet};
use miid_e2e::{Demo, World, on_sqlite};

use crate::linked::{approves_link, continues, goes_on, opens_in_wallet};
use crate::people::{asked, enrolled, is_signed_in, opened, sessions_become};

on_sqlite!(
    a_large_transfer_is_confirmed_in_the_wallet_and_sent_once_by_the_page_that_asked,
    a_session_that_is_ended_in_the_wallet_takes_along_what_it_asked,
);

/// Signs in with the link; the wallet opens the first of its addresses.
async fn signs_in(
    world: &World,
    demo: &Demo,
    desktop: &Desktop,
    wallet: &DesktopWallet<'_>,
    page: &Chromium,
) {
    let link = opens_in_wallet(page, &demo.shop).await;
    desktop.click_link(&link).await.ok();
    continues(wallet).await;
    let back = approves_link(wallet, 0).await;
    world.secrets().add_all_in(&back);
    page.open(&back).await;
    goes_on(page).await;
    is_signed_in(page).await;
}

/// Fills the form in, and presses the button. By a script: the browser's own question whether to open a wallet lies
/// over the page and takes the keys.
async fn sends(page: &Chromium, to: &str, amount: &str) {
    for (field, text) in [("#transfer-to", to), ("#transfer-amount", amount)] {
        page.appears(field).await;
        let script = "const [css, text] = arguments; const field = document.querySelector(css); \
                      field.value = text; field.dispatchEvent(new Event('input', { bubbles: true }));";
        let words = vec![field.into(), text.into()];
        page.client().execute(script, words).await.expect("a script runs");
    }
    page.click("#send-transfer").await;
}

/// Sends something large, hands the link to the wallet and continues there: the request's card is open then.
async fn asks_for_a_large_one(desktop: &Desktop, wallet: &DesktopWallet<'_>, page: &Chromium) -> String {
    sends(page, "Bob", "250").await;
    let link = page.attribute("#open-wallet", "href").await;
    page.says("Confirm in your wallet").await;
    page.picture("desktop/step-up-asked").await;
    desktop.click_link(&link).await.ok();
    continues(wallet).await;
    asked(wallet).await
}

async fn a_large_transfer_is_confirmed_in_the_wallet_and_sent_once_by_the_page_that_asked(world: World) {
    let demo = Demo::start(&world, Change::default()).await;
    let desktop = enrolled(&world, &demo.gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    signs_in(&world, &demo, &desktop, &wallet, &page).await;
    assert_eq!(page.text("#balance").await, "10,000");

    // A small one needs no more than the page that is open.
    sends(&page, "Bob", "25").await;
    page.says("Sent 25 to Bob.").await;
    assert_eq!((page.text("#balance").await, wallet.count("[data-request]").await), ("9,975".to_owned(), 0));

    let id = asks_for_a_large_one(&desktop, &wallet, &page).await;
    wallet.appears(&format!("article[data-request=\"{id}\"][data-risk=step_up]")).await;
    wallet.appears("[data-session-known=true]").await;
    let card = wallet.text("article").await;
    for part in
        ["Demo Shop asks\u{a0}you to confirm", "Send 250 to Bob", "In your session there", "signs nobody in"]
    {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain(&card).contains(&plain(part)), "{part:?} is not in {card:?}");
    }
    assert!(!card.contains("Share with"), "nothing is shared: {card:?}");
    wallet.keep("request-step-up").await;
    page.appears(".confirming[data-wallet=claimed]").await;

    let back = approves_link(&wallet, 1).await;
    world.secrets().add_all_in(&back);
    // The wallet opens another tab; the one that asked goes on.
    let began = page.open_tab(&back).await;
    page.says("Confirmed").await;
    page.picture("desktop/step-up-confirmed").await;
    page.go_to(began).await;
    page.says("Sent 250 to Bob.").await;
    assert_eq!(page.text("#balance").await, "9,725", "it was sent once");
    page.picture("desktop/step-up-sent").await;
    wallet.appears("[data-notice=confirmed]").await;
    sessions_become(&demo.shop, &demo.gateway, 1).await;

    // For five minutes nobody is asked again, and the history says what was confirmed.
    sends(&page, "Bob", "100").await;
    page.says("Sent 100 to Bob.").await;
    assert_eq!((page.text("#balance").await, wallet.count("[data-request]").await), ("9,625".to_owned(), 0));
    wallet.click("#tab-history").await;
    let confirmed = wallet.text("[data-what=confirmed]").await;
    assert!(confirmed.contains("Demo Shop") && confirmed.contains("Send 250 to Bob"), "{confirmed:?}");
    wallet.keep("history-step-up").await;
    page.close().await;
}

async fn a_session_that_is_ended_in_the_wallet_takes_along_what_it_asked(world: World) {
    let demo = Demo::start(&world, Change::default()).await;
    let desktop = enrolled(&world, &demo.gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    signs_in(&world, &demo, &desktop, &wallet, &page).await;
    asks_for_a_large_one(&desktop, &wallet, &page).await;

    // The card has come to the front, and to rest.
    wallet.becomes_live("#approve").await;
    wallet.click("#tab-sessions").await;
    wallet.click("[data-session] .end").await;
    wallet.appears("[data-notice=not_confirmed]").await;
    wallet.says("ended, and its request with it. Nothing was confirmed.").await;
    wallet.keep("step-up-session-ended").await;
    wallet.click("#tab-requests").await;
    wallet.says("Nothing is asking").await;
    page.says("You ended this session in your wallet").await;
    sessions_become(&demo.shop, &demo.gateway, 0).await;
    page.close().await;
}
