//! The demo's transfer, all the way: page, shop, edge, API server, and back. It works only while the page is connected
//! (arrows 10 to 16), and for nobody whom the gateway does not vouch for.

use miid_e2e::demo::Change;
use miid_e2e::{Answer, Browser, Demo, Stream, Wallet, World, eventually, on_both, on_sqlite};
use miid_protocol::service::Activity;
use miid_protocol::{ErrorCode, SessionId, paths};
use reqwest::Method;
use reqwest::header::{CACHE_CONTROL, RETRY_AFTER};
use serde_json::json;

use crate::edge::refused;
use crate::edge_critical::connected;
use crate::sign_in::sign_in;

on_both!(arrows_10_to_16_a_transfer_works_only_while_the_page_is_connected);
on_sqlite!(
    a_page_that_is_open_speaks_for_its_own_session_only,
    a_transfer_is_asked_for_by_our_own_page_only,
    a_transfer_that_cannot_be_is_refused_before_it_is_sent,
    whoever_goes_around_the_edge_is_nobody,
    nothing_is_sent_where_nobody_can_say_whether_it_may,
    a_shop_without_an_edge_says_so,
);

const BALANCE: &str = "/demo/balance";
pub(crate) const TRANSFER: &str = "/demo/transfer";

/// What the page posts.
pub(crate) async fn transfer(browser: &Browser, amount: u64) -> Answer {
    let answer = browser.post(TRANSFER, Some(json!({"to": "Bob", "amount": amount}))).await;
    no_token_in(&answer);
    answer
}

/// A token in an answer to a browser would begin like any JWT.
pub(crate) fn no_token_in(answer: &Answer) {
    let all = format!("{:?} {}", answer.headers, answer.text());
    assert!(!all.contains("eyJ") && !all.contains("miid_rt_"), "a token reached the browser: {all}");
}

pub(crate) async fn balance(browser: &Browser) -> u64 {
    let answer = browser.get(BALANCE).await;
    no_token_in(&answer);
    answer.is(200).json()["balance"].as_u64().expect("a whole number")
}

/// The demo, somebody signed in to it, and their page, which is connected.
pub(crate) async fn with_a_page(world: &World, change: Change<'_>) -> (Demo, Wallet, Browser, Stream) {
    let demo = Demo::start(world, change).await;
    let (alice, browser) = (world.wallet(), world.browser(&demo.shop));
    sign_in(&demo.gateway, &browser, &alice).await;
    let page = open(&demo, &browser).await;
    (demo, alice, browser, page)
}

/// Opens the page's stream, and waits until the gateway knows.
pub(crate) async fn open(demo: &Demo, browser: &Browser) -> Stream {
    let session = browser.session().await;
    let page = browser.session_stream().await;
    connected(&demo.shop, &demo.gateway, &session.sub, true, Some(session.session_id)).await;
    page
}

async fn arrows_10_to_16_a_transfer_works_only_while_the_page_is_connected(world: World) {
    let demo = Demo::start(&world, Change::default()).await;
    let (alice, browser) = (world.wallet(), world.browser(&demo.shop));
    transfer(&browser, 25).await.refused(ErrorCode::NotAuthenticated);
    sign_in(&demo.gateway, &browser, &alice).await;
    let session = browser.session().await;
    // 15b: signed in, but no page is open. What is general works.
    let before = balance(&browser).await;
    refused(&transfer(&browser, 25).await, 403, "active_session_required", "");

    // 15a.
    let page = open(&demo, &browser).await;
    let answer = transfer(&browser, 25).await;
    assert_eq!(answer.header(CACHE_CONTROL), Some("no-store"));
    let done = answer.is(200).json();
    assert_eq!((&done["transferred"]["to"], &done["transferred"]["amount"]), (&json!("Bob"), &json!(25)));
    assert!(done["transferred"]["id"].is_string() && done["transferred"]["at"].is_string(), "{done}");
    assert_eq!(done["balance"], json!(before - 25));
    assert_eq!(balance(&browser).await, before - 25);

    // 15b again, once it is closed; and 15a with a page of another tab.
    drop(page);
    connected(&demo.shop, &demo.gateway, &session.sub, false, None).await;
    refused(&transfer(&browser, 25).await, 403, "active_session_required", "");
    assert_eq!(balance(&browser).await, before - 25, "nothing was sent");
    let mut page = open(&demo, &browser).await;
    transfer(&browser, 25).await.is(200);

    // The session ends in the wallet: an open page does not keep it alive.
    alice.revoke(&demo.gateway, "demo-shop", session.session_id).await.is(200);
    page.expect("force_logout").await;
    transfer(&browser, 25).await.refused(ErrorCode::NotAuthenticated);
    browser.get(BALANCE).await.refused(ErrorCode::NotAuthenticated);
}

async fn a_page_that_is_open_speaks_for_its_own_session_only(world: World) {
    let change = Change { registration: &["--session-policy", "multiple"], ..Change::default() };
    let (demo, alice, first, page) = with_a_page(&world, change).await;
    let (second, mallory) = (world.browser(&demo.shop), world.browser(&demo.shop));
    sign_in(&demo.gateway, &second, &alice).await;
    sign_in(&demo.gateway, &mallory, &world.wallet()).await;
    for other in [&second, &mallory] {
        refused(&transfer(other, 25).await, 403, "active_session_required", "");
    }
    transfer(&first, 25).await.is(200);
    // Both are open; then the first is not any more.
    let id = second.session().await.session_id;
    let _second_page = second.session_stream().await;
    is_connected(&demo, id, true).await;
    transfer(&second, 25).await.is(200);
    transfer(&first, 25).await.is(200);
    drop(page);
    is_connected(&demo, first.session().await.session_id, false).await;
    refused(&transfer(&first, 25).await, 403, "active_session_required", "");
    transfer(&second, 25).await.is(200);
}

async fn is_connected(demo: &Demo, id: SessionId, active: bool) {
    eventually(&format!("the page of a session is open: {active}"), || async {
        let body = json!({"session_id": id});
        let answer = demo.shop.service().post(&demo.gateway, paths::SESSIONS_ACTIVE, &body).await;
        (answer.ok::<Activity>().active == active).then_some(())
    })
    .await;
}

async fn a_transfer_is_asked_for_by_our_own_page_only(world: World) {
    let (_demo, _alice, browser, _page) = with_a_page(&world, Change::default()).await;
    for page in ["/", paths::AUTH_RETURN] {
        let html = browser.get(page).await.is(200).text();
        assert!(html.contains(r#"<meta name="miid-transfer" content="on" />"#), "{html}");
    }
    let before = balance(&browser).await;
    for amount in [25, 250] {
        let body = json!({"to": "Eve", "amount": amount});
        let post = || browser.request(Method::POST, TRANSFER).json(&body);
        for request in [
            post(),
            post().header("Origin", "http://evil.example"),
            post().header("Origin", "null"),
            post().header("Sec-Fetch-Site", "same-site"),
            post().header("Sec-Fetch-Site", "cross-site"),
        ] {
            browser.send(request).await.refused(ErrorCode::CrossSiteRequest);
        }
    }
    // A form, which any site can send, is not what is read here.
    let origin = browser.request(Method::POST, TRANSFER).header("Sec-Fetch-Site", "same-origin");
    let form = origin.header("Content-Type", "text/plain").body(r#"{"to":"Eve","amount":25}"#);
    browser.send(form).await.refused(ErrorCode::InvalidRequest);
    browser.get(TRANSFER).await.refused(ErrorCode::MethodNotAllowed);
    assert_eq!(balance(&browser).await, before);
}

async fn a_transfer_that_cannot_be_is_refused_before_it_is_sent(world: World) {
    let (_demo, _alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let before = balance(&browser).await;
    for body in [
        json!({}),
        json!([]),
        json!({"to": "Bob"}),
        json!({"to": "Bob", "amount": 0}),
        json!({"to": "Bob", "amount": -1}),
        json!({"to": "Bob", "amount": 1.5}),
        json!({"to": "Bob", "amount": "25"}),
        json!({"to": "Bob", "amount": 1_000_001}),
        json!({"to": "", "amount": 25}),
        json!({"to": "Bob\nSign in to your bank", "amount": 250}),
        json!({"to": "\u{202e}boB", "amount": 250}),
        json!({"to": "B".repeat(41), "amount": 250}),
    ] {
        let answer = browser.post(TRANSFER, Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        answer.refused(ErrorCode::InvalidRequest);
    }
    assert_eq!(balance(&browser).await, before);
}

async fn whoever_goes_around_the_edge_is_nobody(world: World) {
    let (demo, _alice, browser, _page) = with_a_page(&world, Change::default()).await;
    let (before, session) = (balance(&browser).await, browser.session().await);
    let direct = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = world.http().post(format!("{}{path}", demo.api.origin()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.json(&json!({"to": "Eve", "amount": 25}));
        Answer::read(request.send().await.expect("it answers"), world.secrets()).await.expect("whole")
    };
    let made_up = [
        r#"{"alg":"none","typ":"miid-identity+jwt","kid":"a"}"#,
        &json!({"iss": demo.gateway.issuer, "aud": "transfers", "client_id": "demo-shop", "sub": session.sub,
            "sid": session.session_id, "iat": 0, "exp": i64::MAX})
        .to_string(),
        "",
    ]
    .map(|part| miid_protocol::jws::encode(part.as_bytes()))
    .join(".");
    let sid = session.session_id.to_string();
    for headers in [
        &[][..],
        &[
            ("X-MiID-Subject", session.sub.as_str()),
            ("X-MiID-Session", sid.as_str()),
            ("X-MiID-Client", "demo-shop"),
        ],
        &[("X-MiID-Identity", made_up.as_str())],
        &[("X-MiID-Identity", "nonsense")],
    ] {
        for path in ["/api/transfers", "/api/transfers/large"] {
            refused(&direct(path, headers).await, 401, "invalid_identity", "");
        }
    }
    // Through the edge nobody says who they are, either.
    let through = demo
        .edge
        .send(Method::POST, "/api/transfers", |request| request.header("X-MiID-Identity", &made_up))
        .await;
    refused(&through, 401, "invalid_token", "missing");
    assert_eq!(balance(&browser).await, before);
}

/// A refusal whose words are the demo's own, and when to come back.
#[track_caller]
fn away(answer: &Answer) {
    refused(answer, 503, "api_unavailable", "");
    assert!(answer.header(RETRY_AFTER).is_some());
}

async fn nothing_is_sent_where_nobody_can_say_whether_it_may(world: World) {
    let (mut demo, _alice, browser, _page) = with_a_page(&world, Change::default()).await;
    transfer(&browser, 25).await.is(200);
    // The API server is gone, and then the edge is, too.
    demo.api.program().kill();
    eventually("the edge notices", || async {
        let answer = transfer(&browser, 25).await;
        refused(&answer, answer.status, "api_unavailable", "");
        (answer.status == 503).then_some(())
    })
    .await;
    away(&browser.get(BALANCE).await);
    demo.gateway.kill();
    away(&transfer(&browser, 25).await);
    assert!(browser.is_signed_in().await, "the session goes on");
}

async fn a_shop_without_an_edge_says_so(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    sign_in(&gateway, &browser, &alice).await;
    away(&transfer(&browser, 25).await);
    away(&transfer(&browser, 250).await);
    away(&browser.get(BALANCE).await);
    for page in ["/", paths::AUTH_RETURN] {
        let html = browser.get(page).await.is(200).text();
        assert!(html.contains(r#"<meta name="miid-transfer" content="off" />"#), "{html}");
    }
}
