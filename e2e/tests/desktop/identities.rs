//! Two identities in one window: which one a link is for is chosen, and what each is signed in to is told apart.

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::DesktopWallet;
use miid_e2e::{Gateway, World, on_sqlite};

use crate::linked::{approves_link, continues, goes_on, opens_in_wallet};
use crate::people::{PASSPHRASE, enrolled, is_signed_in, opened, sessions_become, signs_in, town};

on_sqlite!(a_link_is_continued_as_the_identity_that_was_chosen_and_its_session_is_listed_under_it);

/// Makes one more identity by the settings page; its sheet can wait.
async fn adds_another(wallet: &DesktopWallet<'_>, gateway: &Gateway, name: &str) {
    wallet.click("#tab-settings").await;
    wallet.click("#add-identity").await;
    wallet.fill("[data-step=name] #name", name).await;
    wallet.click("[data-step=name] #next").await;
    wallet.fill("[data-step=gateway] #gateway", gateway.issuer.as_str()).await;
    wallet.click("[data-step=gateway] #next").await;
    wallet.click("[data-step=handle] #skip").await;
    // Whoever sits there now may be somebody else: the words are for who knows the passphrase.
    wallet.fill("[data-step=sheet] #sheet-passphrase", PASSPHRASE).await;
    wallet.click("[data-step=sheet] #open-sheet").await;
    wallet.click("[data-step=sheet] #later").await;
    wallet.click("[data-step=done] #next").await;
    wallet.is_connected().await;
}

async fn a_link_is_continued_as_the_identity_that_was_chosen_and_its_session_is_listed_under_it(
    world: World,
) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    adds_another(&wallet, &gateway, "Work").await;
    let (own, page) = (Chromium::start_as(&world, "own").await, Chromium::start_as(&world, "work").await);
    signs_in(&wallet, &own, &shop, "Alice").await;

    let link = opens_in_wallet(&page, &shop).await;
    desktop.click_link(&link).await.ok();
    wallet.says("Continue?").await;
    assert_eq!(wallet.count("[name=identity]").await, 2);
    wallet.click("[name=identity][value=Work]").await;
    wallet.keep("link-which-identity").await;
    continues(&wallet).await;
    let back = approves_link(&wallet, 0).await;
    world.secrets().add_all_in(&back);
    page.open(&back).await;
    goes_on(&page).await;
    is_signed_in(&page).await;
    sessions_become(&shop, &gateway, 2).await;

    wallet.click("#tab-sessions").await;
    for (whose, others) in [("Alice", "Work"), ("Work", "Alice")] {
        wallet.select("#filter", whose).await;
        let row = wallet.text("[data-session]:only-child").await;
        assert!(row.contains(whose) && !row.contains(others), "{row:?}");
    }
    wallet.keep("sessions-of-one-identity").await;
    wallet.click("[data-session]:only-child .end").await;
    page.says("You are signed out").await;
    sessions_become(&shop, &gateway, 1).await;
    // Nothing of the other's is touched.
    wallet.select("#filter", "Alice").await;
    wallet.appears("[data-session][data-over=false]:only-child").await;
    assert!(own.shows("#claims").await, "the other one stays signed in");
    own.close().await;
    page.close().await;
}
