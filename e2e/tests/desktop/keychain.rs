//! The desktop's own keychain seals the vault.

use miid_e2e::desktop::Desktop;
use miid_e2e::{World, on_sqlite};

use crate::first_run::walk_through;

on_sqlite!(with_a_keychain_nothing_is_typed_and_without_it_nothing_opens);

async fn with_a_keychain_nothing_is_typed_and_without_it_nothing_opens(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = Desktop::start(&world, "alice").await;
    let keyring = desktop.start_keyring().await;
    let wallet = desktop.start_wallet().await;
    walk_through(&wallet, &gateway, "Alice", None).await;
    wallet.is_connected().await;
    wallet.stop().await;

    // The next start opens it without a word.
    let wallet = desktop.start_wallet().await;
    wallet.stage("open").await;
    wallet.is_connected().await;
    // A lock asks the keychain again.
    wallet.click("#lock").await;
    wallet.stage("locked").await;
    wallet.click("#unlock").await;
    wallet.stage("open").await;
    wallet.stop().await;

    // Whoever takes the folder away has nothing that opens it.
    drop(keyring);
    let wallet = desktop.start_wallet().await;
    wallet.stage("locked").await;
    wallet.click("#unlock").await;
    wallet.appears("[role=alert]").await;
    wallet.stage("locked").await;
    wallet.stop().await;
}
