//! The same in Chromium: what the pages of a person do between the login page, the wallet and the way back.

use miid_e2e::chromium::Chromium;
use miid_e2e::{World, eventually, on_sqlite};
use miid_protocol::browser::StartResponse;
use miid_protocol::link::WalletLink;
use serde_json::json;

use crate::linked_browser::{approve, claim};

on_sqlite!(
    chromium_opens_the_wallet_and_both_tabs_end_signed_in,
    chromium_of_somebody_else_stops_what_it_did_not_begin,
    chromium_asks_where_another_page_led_it,
    chromium_notices_that_no_wallet_opened,
);

/// What a page shows of the login that it has just begun, read off its link.
async fn on_the_page(page: &Chromium) -> StartResponse {
    let link = page.attribute("#open-wallet", "href").await;
    let id = WalletLink::parse(&link).expect("a link to a wallet").challenge_id;
    serde_json::from_value(json!({"challenge_id": id, "binding": "linked", "status": "pending",
        "match_code": null, "wallet_link": link, "stream_url": "", "expires_at": "2026-01-01T00:00:00.000Z"}))
    .expect("a start")
}

async fn chromium_opens_the_wallet_and_both_tabs_end_signed_in(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = world.wallet();
    let page = Chromium::start(&world).await;
    page.open(shop.origin()).await;
    page.press("#start-linked").await;
    let started = on_the_page(&page).await;
    world.secrets().add_all_in(started.wallet_link.as_deref().expect("a link"));
    claim(&gateway, &alice, &started).await;
    page.says("Your wallet has it").await;
    let address = approve(&gateway, &alice, &started).await;
    page.says("Your browser comes back here by itself").await;
    page.picture("linked-1-approved").await;

    // The wallet opens the address; the browser shows it in a tab of its own.
    let first = page.open_tab(&address).await;
    page.says("You are signed in").await;
    let bar = page.client().current_url().await.expect("an address").to_string();
    assert_eq!(bar, format!("{}/", shop.origin()), "the way back is gone from the address");
    let kept =
        page.client().execute("return JSON.stringify([{...localStorage}, {...sessionStorage}])", vec![]);
    let kept = kept.await.expect("storage can be read").to_string();
    assert!(!kept.contains("miid_"), "{kept}");
    page.picture("linked-2-signed-in").await;
    // Going back does not bring it up again.
    page.client().back().await.expect("the browser goes back");
    let bar = page.client().current_url().await.expect("an address").to_string();
    assert!(!bar.contains("miid_rc_"), "{bar}");
    page.go_to(first).await;
    page.says("You are signed in").await;
    let sessions = alice.sessions(&gateway).await;
    assert_eq!(sessions.len(), 1);
    // One session: its end is the end of both.
    alice.revoke(&gateway, "demo-shop", sessions[0].session_id).await.is(200);
    page.says("You ended this session in your wallet").await;
    page.close().await;
}

async fn chromium_of_somebody_else_stops_what_it_did_not_begin(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let victim = world.wallet();
    let attackers = Chromium::start_as(&world, "attacker").await;
    attackers.open(shop.origin()).await;
    attackers.press("#start-linked").await;
    let started = on_the_page(&attackers).await;
    claim(&gateway, &victim, &started).await;
    let address = approve(&gateway, &victim, &started).await;
    attackers.says("Your browser comes back here by itself").await;

    let victims = Chromium::start_as(&world, "victim").await;
    victims.open(&address).await;
    victims.says("This sign-in was stopped").await;
    victims.picture("linked-3-stopped").await;
    attackers.says("Somebody opened this sign-in in another browser, so it was stopped.").await;
    attackers.picture("linked-4-other-browser").await;
    assert!(victim.sessions(&gateway).await.is_empty());
    for browser in [attackers, victims] {
        browser.open(shop.origin()).await;
        browser.says("Sign in with your wallet").await;
        browser.close().await;
    }
}

async fn chromium_asks_where_another_page_led_it(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (mallory, page) = (world.wallet(), Chromium::start(&world).await);
    page.open(shop.origin()).await;
    page.press("#start-linked").await;
    let started = on_the_page(&page).await;
    // Somebody else took the link first, approved as themselves, and leads this browser there.
    claim(&gateway, &mallory, &started).await;
    let address = approve(&gateway, &mallory, &started).await;
    page.says("Your browser comes back here by itself").await;
    let lure = format!("data:text/html,<a id=lure href='{}'>A prize</a>", address.replace('#', "%23"));
    let tab = page.open_tab(&lure).await;
    page.press("#lure").await;
    page.says("Another page led you here").await;
    let did = mallory.did().as_str();
    let text = page.page_text().await.expect("a page");
    assert!(text.contains(&did[did.len() - 6..]), "it says who: {text}");
    page.picture("linked-5-continue-as").await;
    assert!(mallory.sessions(&gateway).await.is_empty(), "nothing happens before the answer");
    page.press("#stop-here").await;
    page.says("Stopped. Nobody was signed in here.").await;
    page.go_to(tab).await;
    page.says("The request was cancelled").await;
    assert!(mallory.sessions(&gateway).await.is_empty());

    // Where it is one's own approval, it goes on.
    page.press("main .button").await;
    page.press("#start-linked").await;
    let started = on_the_page(&page).await;
    let alice = world.wallet();
    claim(&gateway, &alice, &started).await;
    let address = approve(&gateway, &alice, &started).await;
    let lure = format!("data:text/html,<a id=lure href='{}'>Back</a>", address.replace('#', "%23"));
    page.open_tab(&lure).await;
    page.press("#lure").await;
    page.press("#continue-as").await;
    page.says("You are signed in").await;
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
    page.close().await;
}

async fn chromium_notices_that_no_wallet_opened(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let alice = world.wallet();
    alice.claim_handle(&gateway, "alice").await.is(200);
    let page = Chromium::start(&world).await;
    page.open(shop.origin()).await;
    page.press("#start-linked").await;
    let started = on_the_page(&page).await;
    page.says("Did your wallet not open?").await;
    page.picture("linked-6-no-wallet").await;
    page.press("#use-handle").await;
    page.says("Wallet on another computer?").await;
    // By script: the browser's own question whether to open a wallet waits for an answer, and takes the keyboard.
    let typed = "const field = document.querySelector('#handle'); field.value = 'alice'; \
                 field.dispatchEvent(new Event('input', {bubbles: true})); field.form.requestSubmit();";
    page.client().execute(typed, Vec::new()).await.expect("a form can be sent");
    let number = page.text("#match-code").await;
    let listed = eventually("the wallet is asked", || async {
        let listed = alice.challenges(&gateway).await;
        listed.into_iter().find(|one| one.challenge_id != started.challenge_id)
    })
    .await;
    alice.approve_sharing(&gateway, &listed.request, &number, &[]).await.is(200);
    page.says("You are signed in").await;
    page.close().await;
}
