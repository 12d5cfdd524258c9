//! Sessions: seen in the window, ended in the window, and the browser is out.

use std::time::{Duration, Instant};

use miid_e2e::chromium::Chromium;
use miid_e2e::{World, on_sqlite};

use crate::people::{enrolled, live_sessions, opened, sessions_become, signs_in, town};

on_sqlite!(a_session_ended_in_the_window_signs_the_page_out_within_a_second, all_sessions_are_ended_at_once);

async fn a_session_ended_in_the_window_signs_the_page_out_within_a_second(world: World) {
    let (gateway, shop) = town(&world).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let page = Chromium::start(&world).await;
    signs_in(&wallet, &page, &shop, "Alice").await;

    wallet.click("#tab-sessions").await;
    let id = wallet.attribute("[data-session]", "data-session").await;
    wallet.says("Demo Shop").await;
    wallet.keep("sessions").await;
    let start = Instant::now();
    wallet.click(&format!("[data-session=\"{id}\"] .end")).await;
    page.says("You are signed out").await;
    let took = start.elapsed();
    println!("from the press on End to the page that is signed out: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    page.says("You ended this session in your wallet").await;
    page.picture("desktop/login-signed-out").await;
    wallet.says("Ended").await;
    wallet.keep("session-ended").await;
    sessions_become(&shop, &gateway, 0).await;
    page.close().await;
}

async fn all_sessions_are_ended_at_once(world: World) {
    let gateway = world.gateway(&[]).await;
    let (gateway, shop) = world.shop_of(gateway, &["--session-policy", "multiple"]).await;
    let desktop = enrolled(&world, &gateway, "Alice").await;
    let wallet = opened(&desktop).await;
    let (page, other) = (Chromium::start_as(&world, "one").await, Chromium::start_as(&world, "two").await);
    signs_in(&wallet, &page, &shop, "Alice").await;
    signs_in(&wallet, &other, &shop, "Alice").await;
    assert_eq!(live_sessions(&shop, &gateway).await, 2);
    wallet.click("#tab-sessions").await;
    wallet.click("#end-all").await;
    // It ends everything everywhere, so it asks once.
    wallet.keep("sessions-end-all").await;
    wallet.click("#confirm-end-all").await;
    for page in [&page, &other] {
        page.says("You are signed out").await;
    }
    sessions_become(&shop, &gateway, 0).await;
    page.close().await;
    other.close().await;
}
