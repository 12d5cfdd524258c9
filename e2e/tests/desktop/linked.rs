//! Linked sign-in: the page opens the wallet, no number is typed, and the browser that began is the one that
//! goes on.

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::DesktopWallet;
use miid_e2e::{Shop, World, eventually, on_sqlite};

use crate::people::{
    asked, asks_by_handle, enrolled, is_signed_in, live_sessions, opened, sessions_become, tick, town,
};

on_sqlite!(
    a_person_signs_in_with_one_click_on_the_page_and_one_in_the_wallet,
    a_link_that_was_sent_to_somebody_else_signs_nobody_in,
    a_link_of_a_gateway_that_nobody_here_knows_is_refused,
    a_link_that_was_opened_while_locked_waits_for_the_passphrase,
    a_link_opened_twice_asks_once,
    a_rule_signs_in_at_a_known_service_without_a_question,
);

/// Presses "Open in wallet" and gives the link that the browser would hand to the desktop.
pub(crate) async fn opens_in_wallet(page: &Chromium, shop: &Shop) -> String {
    page.open(shop.origin()).await;
    page.click("#start-linked").await;
    page.attribute("#open-wallet", "href").await
}

/// Says yes to the link.
pub(crate) async fn continues(wallet: &DesktopWallet<'_>) {
    wallet.press_until_gone("#continue-link").await;
}

/// Approves the request of a link that was continued; gives the address that the wallet opens, the `nth`.
pub(crate) async fn approves_link(wallet: &DesktopWallet<'_>, nth: usize) -> String {
    let id = asked(wallet).await;
    wallet.answer(id, "#approve").await;
    wallet.home().opens(nth).await
}

async fn a_person_signs_in_with_one_click_on_the_page_and_one_in_the_wallet(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    page.open(shop.origin()).await;
    page.appears("#start-linked").await;
    page.picture("desktop/login-start").await;
    let link = opens_in_wallet(&page, &shop).await;
    page.picture("desktop/login-opened").await;
    desktop.click_link(&link).await.ok();

    wallet.says("Continue?").await;
    wallet.keep("link").await;
    continues(&wallet).await;
    let id = asked(&wallet).await;
    assert!(!wallet.shows("#number").await, "there is no number to type");
    wallet.keep("request-linked").await;
    let back = approves_link(&wallet, 0).await;
    world.secrets().add_all_in(&back);
    wallet.appears(&format!("[data-request=\"{id}\"][data-standing=approved]")).await;
    wallet.keep("approved-linked").await;
    assert!(back.starts_with(&format!("{}/auth/return#", shop.origin())), "{back}");

    // The person's browser is the one that began.
    page.open(&back).await;
    goes_on(&page).await;
    is_signed_in(&page).await;
    wallet.appears("[data-notice=signed_in]").await;
    sessions_become(&shop, &gateway, 1).await;
    // Nothing of the secret is left where it could be seen.
    let address = page.client().current_url().await.unwrap();
    assert!(address.fragment().is_none(), "{address}");
    page.close().await;
}

/// A page that was never signed in before may ask whether to go on.
pub(crate) async fn goes_on(page: &Chromium) {
    eventually("the return page goes on", || async {
        if page.shows("#claims").await {
            return Some(());
        }
        if page.shows("#continue-as").await {
            page.click("#continue-as").await;
        }
        None
    })
    .await;
}

async fn a_link_that_was_sent_to_somebody_else_signs_nobody_in(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Bob").await;
    let wallet = opened(&desktop).await;
    // Mallory begins, and sends Bob the link.
    let mallory = Chromium::start_as(&world, "mallory").await;
    let link = opens_in_wallet(&mallory, &shop).await;
    desktop.click_link(&link).await.ok();
    continues(&wallet).await;
    let back = approves_link(&wallet, 0).await;
    world.secrets().add_all_in(&back);

    // Bob's approval comes back to Bob's browser, which began nothing.
    let bobs = Chromium::start_as(&world, "bobs").await;
    bobs.open(&back).await;
    wallet.appears("[data-notice=other_browser], [data-notice=expired]").await;
    wallet.says("Somebody else began this sign-in").await;
    wallet.keep("other-browser").await;
    bobs.picture("desktop/login-other-browser").await;
    bobs.says("This sign-in was stopped").await;
    mallory.says("Stopped to keep you safe").await;
    assert_eq!(live_sessions(&shop, &gateway).await, 0);
    for browser in [&mallory, &bobs] {
        browser.open(shop.origin()).await;
        browser.appears("#start-linked").await;
        assert!(!browser.shows("#claims").await, "nobody is signed in");
    }
    mallory.close().await;
    bobs.close().await;
}

async fn a_link_of_a_gateway_that_nobody_here_knows_is_refused(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    // Somebody else's gateway, which Alice's wallet must not even call.
    let other_gateway = world.other_gateway("other").await;
    let (other, other_shop) = world.shop_of(other_gateway, &[]).await;
    let page = Chromium::start(&world).await;
    let link = opens_in_wallet(&page, &other_shop).await;
    desktop.click_link(&link).await.ok();
    wallet.appears("[data-notice=not_ours]").await;
    wallet.keep("link-of-another-gateway").await;
    assert!(!wallet.shows("#continue-link").await, "there is nothing to continue");
    assert_eq!(live_sessions(&other_shop, &other).await, 0);
    page.close().await;
}

async fn a_link_that_was_opened_while_locked_waits_for_the_passphrase(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = desktop.start_wallet().await;
    wallet.stage("locked").await;
    let page = Chromium::start(&world).await;
    let link = opens_in_wallet(&page, &shop).await;
    desktop.click_link(&link).await.ok();
    wallet.stage("locked").await;
    wallet.unlock(crate::people::PASSPHRASE).await;
    continues(&wallet).await;
    let back = approves_link(&wallet, 0).await;
    world.secrets().add_all_in(&back);
    page.open(&back).await;
    goes_on(&page).await;
    is_signed_in(&page).await;
    page.close().await;
}

async fn a_link_opened_twice_asks_once(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    let link = opens_in_wallet(&page, &shop).await;
    for _ in 0..3 {
        desktop.click_link(&link).await.ok();
    }
    continues(&wallet).await;
    asked(&wallet).await;
    assert_eq!(wallet.count("[data-request]").await, 1);
    assert_eq!(wallet.count("[data-link]").await, 0);
    // Opened again after it was taken, it changes nothing either.
    desktop.click_link(&link).await.ok();
    let back = approves_link(&wallet, 0).await;
    world.secrets().add_all_in(&back);
    page.open(&back).await;
    goes_on(&page).await;
    is_signed_in(&page).await;
    sessions_become(&shop, &gateway, 1).await;
    page.close().await;
}

async fn a_rule_signs_in_at_a_known_service_without_a_question(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    // Twice by hand: a rule is for services that are known.
    for nth in 0..2 {
        if nth == 1 {
            page.click("#sign-out").await;
            sessions_become(&shop, &gateway, 0).await;
        }
        let link = opens_in_wallet(&page, &shop).await;
        desktop.click_link(&link).await.ok();
        continues(&wallet).await;
        asked(&wallet).await;
        if nth == 1 {
            // What is left out now may be asked for again, and stays out.
            tick(&wallet, "name", true).await;
            tick(&wallet, "email", false).await;
            wallet.click("article details:has(#rule) summary").await;
            wallet.click("#rule").await;
            wallet.keep("request-with-rule").await;
        } else {
            assert!(!wallet.shows("#rule").await, "no rule for a service that is not known");
        }
        let back = approves_link(&wallet, nth).await;
        world.secrets().add_all_in(&back);
        page.open(&back).await;
        goes_on(&page).await;
        is_signed_in(&page).await;
    }
    page.click("#sign-out").await;
    sessions_become(&shop, &gateway, 0).await;

    // Nobody looks at the wallet, and it does not come forward.
    desktop.close_window().await;
    let link = opens_in_wallet(&page, &shop).await;
    desktop.click_link(&link).await.ok();
    let back = wallet.home().opens(2).await;
    world.secrets().add_all_in(&back);
    desktop.bus.notice("the rule", |notice| notice.summary.contains("Signed in to Demo Shop")).await;
    desktop.window_is_shown(false).await;
    page.open(&back).await;
    goes_on(&page).await;
    is_signed_in(&page).await;
    assert!(page.text("#claims [data-claim=name]").await.contains("Alice Kim"));
    assert!(page.text("#claims [data-claim=email]").await.contains('–'), "the rule shares what was ticked");
    desktop.click_icon().await.ok();
    desktop.window_is_shown(true).await;
    wallet.click("#tab-history").await;
    wallet.says("Approved by your rule").await;
    wallet.keep("one-click").await;

    // For a request that was typed, a rule is no answer: the number is asked, always.
    page.click("#sign-out").await;
    sessions_become(&shop, &gateway, 0).await;
    wallet.click("#tab-requests").await;
    let typed = Chromium::start_as(&world, "typed").await;
    asks_by_handle(&typed, &shop, "alice").await;
    asked(&wallet).await;
    wallet.appears("#number").await;
    assert_eq!(live_sessions(&shop, &gateway).await, 0);
    page.close().await;
    typed.close().await;
}
