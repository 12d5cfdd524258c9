//! The end of an identity.

use miid_e2e::chromium::Chromium;
use miid_e2e::{World, on_sqlite};

use crate::people::{PASSPHRASE, enrolled, opened, sessions_become, signs_in, town};

on_sqlite!(a_retired_identity_is_signed_out_everywhere_and_signs_in_nowhere);

async fn a_retired_identity_is_signed_out_everywhere_and_signs_in_nowhere(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    signs_in(&wallet, &page, &shop, "Alice").await;

    wallet.click("header .who").await;
    wallet.click("#lost-key").await;
    wallet.says("This cannot be undone").await;
    assert!(!wallet.is_live("#give-up-now").await, "not without its name");
    wallet.fill("#confirm-name", "Alice").await;
    wallet.fill("#retire-passphrase", PASSPHRASE).await;
    wallet.keep("retire").await;
    wallet.click("#give-up-now").await;
    page.says("You are signed out").await;
    wallet.says("Retired").await;
    wallet.keep("retired").await;
    sessions_become(&shop, &gateway, 0).await;

    // Its handle leads nowhere any more, and looks like any other that nobody has.
    let another = Chromium::start_as(&world, "another").await;
    crate::people::asks_by_handle(&another, &shop, "alice").await;
    wallet.click("#tab-requests").await;
    assert!(!wallet.shows("article[data-request]").await);
    page.close().await;
    another.close().await;
}
