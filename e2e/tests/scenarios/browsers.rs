//! Browsers: reloads, tabs, and those of other people.

use miid_e2e::{World, eventually, on_both, on_sqlite};
use miid_protocol::browser::LoginStatus;
use miid_protocol::service::{ChallengeStatus, EndReason, ExpireReason};
use miid_protocol::{ErrorCode, paths};
use reqwest::Method;
use serde_json::json;

use crate::sign_in::{approve, ends, is_active, sign_in};

on_both!(
    another_browser_neither_watches_nor_completes,
    reloads_and_reconnects,
    completing_again_makes_a_new_cookie_and_kills_the_old_one,
    two_tabs,
);
on_sqlite!(another_site_changes_nothing, a_planted_login_cookie_opens_nothing);

async fn another_browser_neither_watches_nor_completes(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    let id = started.challenge_id;

    // One browser without any cookie, and one with a cookie of its own under this login's name.
    let bare = world.browser(&shop);
    let forger = world.browser(&shop);
    let own = forger.start(world.wallet().did().as_str()).await;
    let value = forger.cookie(&format!("login-{}", own.challenge_id)).expect("a cookie for each login");
    forger.plant_cookie(&format!("login-{id}"), &value, "/auth");
    for stranger in [&bare, &forger] {
        for path in [paths::AUTH_STREAM, paths::AUTH_STATUS] {
            let answer = stranger.get(&paths::with_id(path, id)).await;
            answer.refused(ErrorCode::ChallengeNotFound);
        }
        stranger.complete(id).await.refused(ErrorCode::ChallengeNotFound);
    }
    approve(&gateway, &alice, &started, &[]).await;
    is_active(&browser, &started).await;
    for stranger in [&bare, &forger] {
        stranger.complete(id).await.refused(ErrorCode::ChallengeNotFound);
        assert!(!stranger.is_signed_in().await);
    }
    browser.complete(id).await.is(200);
    assert_eq!(browser.session().await.did, *alice.did());
}

async fn reloads_and_reconnects(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    let id = started.challenge_id;
    for _ in 0..3 {
        let mut page = browser.stream(id).await;
        let snapshot: LoginStatus = page.expect("snapshot").await.parse();
        assert_eq!(snapshot.status, ChallengeStatus::Pending);
    }
    // The approval comes while nobody looks.
    approve(&gateway, &alice, &started, &[]).await;
    is_active(&browser, &started).await;
    let mut page = browser.stream(id).await;
    let snapshot = page.expect("snapshot").await;
    assert_eq!(snapshot.id.as_deref(), Some("final"));
    assert_eq!(snapshot.parse::<LoginStatus>().status, ChallengeStatus::Active);
    assert_eq!(page.next().await, None);
    browser.send(browser.stream_request(id, Some("final"))).await.is(204);
    browser.complete(id).await.is(200);
    assert_eq!(browser.session().await.did, *alice.did());
}

async fn completing_again_makes_a_new_cookie_and_kills_the_old_one(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = sign_in(&gateway, &browser, &alice).await;
    let first = browser.cookie("sid").expect("signed in");

    // The answer was lost, and the page asks again.
    browser.complete(started.challenge_id).await.is(200);
    let second = browser.cookie("sid").expect("signed in");
    assert_ne!(first, second);
    assert_eq!(browser.session().await.did, *alice.did());
    let old = world.browser(&shop);
    old.plant_cookie("sid", &first, "/");
    old.get(paths::SESSION).await.refused(ErrorCode::NotAuthenticated);
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}

async fn two_tabs(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let browser = world.browser(&shop);
    let (one, two) = (browser.clone(), browser.clone());
    let first = one.start(alice.did().as_str()).await;
    let mut page = one.stream(first.challenge_id).await;
    let second = two.start(bob.did().as_str()).await;

    // The same browser has begun again, and its first tab says so.
    let over = ends(&mut page).await;
    assert_eq!(over.reason, Some(EndReason::Expired(ExpireReason::Replaced)));
    // Each tab has its own cookie; the second has not overwritten the first.
    let cookie = |id| browser.cookie(&format!("login-{id}"));
    assert_ne!(cookie(first.challenge_id).unwrap(), cookie(second.challenge_id).unwrap());
    one.complete(first.challenge_id).await.refused(ErrorCode::ChallengeExpired);

    approve(&gateway, &bob, &second, &[]).await;
    is_active(&two, &second).await;
    two.complete(second.challenge_id).await.is(200);
    assert_eq!(one.session().await.did, *bob.did(), "tabs share their session");
    // What is open in a third browser is nobody's to replace.
    let elsewhere = world.browser(&shop);
    let waiting = elsewhere.start(alice.did().as_str()).await;
    one.start(alice.did().as_str()).await;
    assert_eq!(elsewhere.status(waiting.challenge_id).await.status, ChallengeStatus::Pending);
}

async fn another_site_changes_nothing(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    sign_in(&gateway, &browser, &alice).await;
    let start = json!({"login_hint": alice.did()});
    let host = shop.origin().strip_prefix("http://").unwrap();
    let cases = [
        ("another origin", Some("http://evil.example"), None, host),
        ("another port", Some("http://127.0.0.1:1"), None, host),
        ("the opaque origin", Some("null"), None, host),
        ("no origin, cross-site", None, Some("cross-site"), host),
        ("no origin, same-site", None, Some("same-site"), host),
        ("no origin, nothing said", None, None, host),
        ("a rebound name", Some("http://rebound.example"), Some("same-origin"), "rebound.example"),
        ("a rebound name with the right origin", Some(shop.origin()), None, "rebound.example"),
    ];
    for (name, origin, site, host) in cases {
        for (path, body) in [(paths::AUTH_START, Some(&start)), (paths::AUTH_LOGOUT, None)] {
            let mut request = browser.request(Method::POST, path);
            // `header` would add a second Host.
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("host", host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert("origin", origin.parse().unwrap());
            }
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            request = request.headers(headers);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = browser.send(request).await;
            assert_eq!(answer.status, 403, "{name}: {}", answer.text());
            answer.refused(ErrorCode::CrossSiteRequest);
        }
    }
    assert!(browser.is_signed_in().await);
    // Nothing answers a preflight with a permission.
    let preflight = browser
        .request(Method::OPTIONS, paths::AUTH_START)
        .header("Origin", "http://evil.example")
        .header("Access-Control-Request-Method", "POST");
    let answer = browser.send(preflight).await;
    assert!(answer.header(reqwest::header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    // A same-origin script without `Origin` (an old browser's GET-like POST) is let through.
    let request = browser.request(Method::POST, paths::AUTH_LOGOUT).header("Sec-Fetch-Site", "same-origin");
    browser.send(request).await.is(204);
    eventually("the session ends at the gateway", || async {
        alice.sessions(&gateway).await.is_empty().then_some(())
    })
    .await;
}

async fn a_planted_login_cookie_opens_nothing(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (mallory, victim) = (world.wallet(), world.browser(&shop));
    let attacker = world.browser(&shop);
    let started = attacker.start(mallory.did().as_str()).await;
    approve(&gateway, &mallory, &started, &[]).await;
    is_active(&attacker, &started).await;
    // A sibling host can plant the attacker's cookie; it is worth no more than the attacker's own login,
    // and completing needs this site's own script.
    let name = format!("login-{}", started.challenge_id);
    victim.plant_cookie(&name, &attacker.cookie(&name).unwrap(), "/auth");
    let path = paths::with_id(paths::AUTH_COMPLETE, started.challenge_id);
    let request = victim.request(Method::POST, &path).header("Origin", "http://sibling.example");
    victim.send(request).await.refused(ErrorCode::CrossSiteRequest);
    assert!(!victim.is_signed_in().await);
}
