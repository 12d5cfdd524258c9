//! The first minute: an identity, a handle, a recovery sheet; and its way back from the sheet.

use std::time::{Duration, Instant};

use miid_e2e::chromium::Chromium;
use miid_e2e::desktop::{Desktop, DesktopWallet};
use miid_e2e::{Gateway, World, on_sqlite};

use crate::people::{PASSPHRASE, signs_in, town};

on_sqlite!(
    a_person_is_ready_within_a_minute_and_signs_in,
    the_words_of_the_sheet_bring_the_identity_back_on_another_computer,
    the_words_are_hidden_until_asked_for_and_asked_back,
    a_handle_that_is_taken_is_said_and_another_one_is_free,
);

/// Goes through the first run as a person does who writes the words down; gives them.
pub(crate) async fn walk_through(
    wallet: &DesktopWallet<'_>,
    gateway: &Gateway,
    name: &str,
    passphrase: Option<&str>,
) -> Vec<String> {
    wallet.stage("first_run").await;
    wallet.fill("[data-step=name] #name", name).await;
    wallet.click("[data-step=name] #next").await;
    protect(wallet, passphrase).await;
    wallet.fill("[data-step=gateway] #gateway", gateway.issuer.as_str()).await;
    wallet.click("[data-step=gateway] #next").await;
    wallet.fill("[data-step=handle] #handle", &name.to_lowercase()).await;
    wallet.click("[data-step=handle] #next").await;
    wallet.click("[data-step=sheet] #show-words").await;
    let words = words(wallet).await;
    wallet.click("#written").await;
    confirm(wallet, &words).await;
    wallet.click("[data-step=done] #next").await;
    wallet.stage("open").await;
    words
}

async fn protect(wallet: &DesktopWallet<'_>, passphrase: Option<&str>) {
    match passphrase {
        Some(passphrase) => {
            wallet.click("#by-passphrase").await;
            wallet.fill("[data-step=protect] #passphrase", passphrase).await;
            wallet.fill("[data-step=protect] #passphrase-again", passphrase).await;
        }
        None => wallet.click("#by-keychain").await,
    }
    wallet.click("[data-step=protect] #next").await;
}

/// The 24 words as they are shown.
async fn words(wallet: &DesktopWallet<'_>) -> Vec<String> {
    let mut words = Vec::new();
    for at in 1..=24 {
        words.push(wallet.text(&format!("[data-word='{at}'] .word")).await.trim().to_owned());
    }
    words
}

/// Types the two words that are asked back.
async fn confirm(wallet: &DesktopWallet<'_>, words: &[String]) {
    let asked = wallet.attribute("#confirm-words", "data-asked").await;
    for (n, at) in asked.split(',').enumerate() {
        let at: usize = at.parse().unwrap();
        wallet.fill(&format!("#confirm-{n}"), &words[at - 1]).await;
    }
    wallet.click("#confirm-words").await;
}

async fn a_person_is_ready_within_a_minute_and_signs_in(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = Desktop::start(&world, "alice").await;
    let wallet = desktop.start_wallet().await;
    wallet.keep("first-run-name").await;
    let start = Instant::now();
    let words = walk_through(&wallet, &gateway, "Alice", Some(PASSPHRASE)).await;
    wallet.is_connected().await;
    println!("from the first page to a wallet that is connected: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60));
    world.secrets().add(words.join(" "));

    let page = Chromium::start(&world).await;
    signs_in(&wallet, &page, &shop, "Alice").await;
    wallet.stop().await;
    let mode = std::fs::metadata(vault(&desktop)).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    page.close().await;
}

/// The one file that everything is in.
fn vault(desktop: &Desktop) -> std::path::PathBuf {
    let files = std::fs::read_dir(desktop.home.wallet()).unwrap().flatten();
    let names = files.map(|entry| entry.path());
    names
        .into_iter()
        .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vault")))
        .unwrap()
}

async fn the_words_of_the_sheet_bring_the_identity_back_on_another_computer(world: World) {
    let (gateway, shop) = town(&world).await;
    let lost = Desktop::start(&world, "lost").await;
    let wallet = lost.start_wallet().await;
    let words = walk_through(&wallet, &gateway, "Alice", Some(PASSPHRASE)).await;
    wallet.stop().await;
    let did = lost.command_line(&["did"], PASSPHRASE).await.ok();

    let new = Desktop::start(&world, "new").await;
    let wallet = new.start_wallet().await;
    wallet.click("#have-sheet").await;
    wallet.fill("#name", "Alice").await;
    wallet.click("[data-step=name] #next").await;
    // One word that is none is named, and nothing is made.
    let mut wrong = words.clone();
    wrong[6] = "abandonn".to_owned();
    wallet.fill("[data-step=words] #words", &wrong.join(" ")).await;
    wallet.click("[data-step=words] #next").await;
    wallet.says("Word 7").await;
    wallet.fill("[data-step=words] #words", &words.join(" ")).await;
    wallet.click("[data-step=words] #next").await;
    protect(&wallet, Some("another passphrase")).await;
    wallet.fill("[data-step=gateway] #gateway", gateway.issuer.as_str()).await;
    wallet.click("[data-step=gateway] #next").await;
    // The handle belongs to the key: taking it again is no question.
    wallet.fill("[data-step=handle] #handle", "alice").await;
    wallet.click("[data-step=handle] #next").await;
    wallet.click("[data-step=done] #next").await;
    wallet.is_connected().await;
    assert_eq!(new.command_line(&["did"], "another passphrase").await.ok(), did);
    let page = Chromium::start(&world).await;
    signs_in(&wallet, &page, &shop, "Alice").await;
    page.close().await;
}

async fn the_words_are_hidden_until_asked_for_and_asked_back(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = Desktop::start(&world, "alice").await;
    let wallet = desktop.start_wallet().await;
    wallet.fill("#name", "Alice").await;
    wallet.click("[data-step=name] #next").await;
    wallet.keep("first-run-protect").await;
    protect(&wallet, Some(PASSPHRASE)).await;
    wallet.appears("[data-step=gateway] #gateway").await;
    wallet.keep("first-run-gateway").await;
    wallet.fill("[data-step=gateway] #gateway", gateway.issuer.as_str()).await;
    wallet.click("[data-step=gateway] #next").await;
    wallet.appears("[data-step=handle] #handle").await;
    wallet.keep("first-run-handle").await;
    wallet.click("[data-step=handle] #skip").await;
    wallet.appears("#show-words").await;
    wallet.keep("first-run-sheet-hidden").await;
    let page = wallet.script("return document.body.textContent").await.to_string();
    assert!(page.contains("••••••"), "the words stand covered: {page}");
    assert!(!wallet.is_live("#written").await, "nobody has written down what was not shown");
    wallet.click("#show-words").await;
    let shown = words(&wallet).await;
    // The picture is of words that open nothing any more when this scenario is over.
    wallet.keep("first-run-sheet").await;
    wallet.click("#written").await;
    wallet.fill("#confirm-0", "zebra").await;
    wallet.fill("#confirm-1", "zebra").await;
    wallet.click("#confirm-words").await;
    wallet.says("is another one").await;
    wallet.keep("first-run-sheet-check").await;
    confirm(&wallet, &shown).await;
    wallet.appears("[data-step=done]").await;
    wallet.keep("first-run-done").await;
    wallet.click("[data-step=done] #next").await;
    wallet.stage("open").await;
}

async fn a_handle_that_is_taken_is_said_and_another_one_is_free(world: World) {
    let gateway = world.gateway(&[]).await;
    world.wallet().claim_handle(&gateway, "alice").await.is(200);
    let desktop = Desktop::start(&world, "alice").await;
    let wallet = desktop.start_wallet().await;
    wallet.fill("#name", "Alice").await;
    wallet.click("[data-step=name] #next").await;
    protect(&wallet, Some(PASSPHRASE)).await;
    wallet.fill("[data-step=gateway] #gateway", gateway.issuer.as_str()).await;
    wallet.click("[data-step=gateway] #next").await;
    wallet.fill("[data-step=handle] #handle", "alice").await;
    wallet.click("[data-step=handle] #next").await;
    wallet.appears("[data-fault=handle_taken]").await;
    wallet.fill("[data-step=handle] #handle", "alice-kim").await;
    wallet.click("[data-step=handle] #next").await;
    wallet.appears("[data-step=sheet]").await;
    wallet.click("#later").await;
    wallet.click("[data-step=done] #next").await;
    wallet.says("alice-kim").await;
    // What was put off is not forgotten.
    wallet.says("You have not written down your recovery sheet yet").await;
    wallet.keep("sheet-reminder").await;
}
