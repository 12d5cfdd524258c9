use crate::world::{Browser, World};

#[tokio::test]
async fn hints_that_are_none_are_refused_by_name() {
    let world = World::new().await;
    let mut browser = world.browser();
    for (hint, code) in [
        ("", "invalid_request"),
        ("a b", "invalid_request"),
        ("did:key:z", "invalid_did"),
        ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2do0", "invalid_did"),
        ("did:web:example.com", "unsupported_did_method"),
    ] {
        browser.try_start(hint).await.refused(400, code);
    }
    assert!(world.gateway.book().created.is_empty());
}

#[tokio::test]
async fn every_malformed_body_gets_a_problem_document() {
    let world = World::new().await;
    let mut browser = world.browser();
    let post = |browser: &Browser, body: &str| {
        browser.request(reqwest::Method::POST, "/auth/start").body(body.to_owned())
    };
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"alice\"",
        "{\"login_hint\":1}",
        "{\"login_hint\":\"a\",\"login_hint\":\"b\"}",
        "\u{feff}{}",
    ] {
        let request = post(&browser, body);
        browser.send(request).await.refused(400, "invalid_request");
    }
    let nested = format!("{{\"x\":{}", "[".repeat(30_000));
    let request = post(&browser, &nested);
    browser.send(request).await.refused(400, "invalid_request");
    let request = post(&browser, &format!("{{\"login_hint\":\"{}\"}}", "a".repeat(70_000)));
    browser.send(request).await.refused(413, "body_too_large");
    let chunks = futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let request =
        browser.request(reqwest::Method::POST, "/auth/start").body(reqwest::Body::wrap_stream(chunks));
    browser.send(request).await.refused(413, "body_too_large");
    let request = post(&browser, "{\"login_hint\":\"alice\"}").header("content-encoding", "gzip");
    browser.send(request).await.refused(400, "invalid_request");
    assert!(world.gateway.book().created.is_empty());
}

#[tokio::test]
async fn other_sites_and_other_hosts_are_refused() {
    let world = World::new().await;
    let client = reqwest::Client::new();
    let url = &world.service.url;
    let mut browser = world.browser();
    for path in ["/auth/start", "/auth/return", "/auth/logout", "/auth/cancel/x", "/auth/complete/x"] {
        for request in [
            client.post(format!("{url}{path}")),
            client.post(format!("{url}{path}")).header("origin", "https://evil.example"),
            client.post(format!("{url}{path}")).header("origin", "null"),
            client.post(format!("{url}{path}")).header("sec-fetch-site", "cross-site"),
            client.post(format!("{url}{path}")).header("origin", url).header("host", "evil.example"),
        ] {
            browser.send(request).await.refused(403, "cross_site_request");
        }
    }
    let rebound = client.get(format!("{url}/session")).header("host", "evil.example");
    browser.send(rebound).await.refused(403, "cross_site_request");
    for path in ["/", "/auth/return"] {
        let page = client.get(format!("{url}{path}")).header("host", "evil.example");
        browser.send(page).await.refused(403, "cross_site_request");
    }
    let without_origin = client.post(format!("{url}/auth/logout")).header("sec-fetch-site", "same-origin");
    let answer = browser.send(without_origin).await.expect(204);
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
    let health = client.get(format!("{url}/healthz")).header("host", "10.0.0.7:15000");
    browser.send(health).await.expect(200);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_a_problem_document() {
    let world = World::new().await;
    let mut browser = world.browser();
    for id in ["x", "0198e0a0-0000-7000-8000-000000000001", "%ff", "..%2fx"] {
        browser.get(&format!("/auth/status/{id}")).await.refused(404, "challenge_not_found");
    }
    browser.get("/nowhere").await.refused(404, "not_found");
    browser.get("/assets/../../service.key").await.refused(404, "not_found");
    browser.get("/assets/%2e%2e/%2e%2e/service.key").await.refused(404, "not_found");
    browser.get("/auth/start").await.refused(405, "method_not_allowed");
    browser.post("/session").await.refused(405, "method_not_allowed");
    browser.post("/nowhere").await.refused(405, "method_not_allowed");
    browser.post("/healthz").await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn pages_are_served_with_headers_that_keep_them_ours() {
    let world = World::new().await;
    let mut browser = world.browser();
    let page = browser.get("/").await.expect(200);
    assert_eq!(page.headers["cache-control"], "no-cache");
    let asset = browser.get("/assets/app.js").await.expect(200);
    assert_eq!(asset.headers["cache-control"], "public, max-age=31536000, immutable");
    let missing = browser.get("/assets/gone.js").await.expect(404);
    assert_eq!(missing.headers["cache-control"], "no-store");
    let session = browser.get("/session").await.expect(401);
    for answer in [page, asset, missing, session] {
        let csp = answer.headers["content-security-policy"].to_str().expect("text");
        assert!(
            csp.starts_with("default-src 'none'; script-src 'self'")
                && csp.contains("frame-ancestors 'none'")
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
    }
    browser.get("/readyz").await.expect(200);
}
