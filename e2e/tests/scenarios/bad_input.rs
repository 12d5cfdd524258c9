//! Whatever a client can send gets a problem document with its code; nothing panics, nothing is a 500.

use miid_e2e::{Answer, World, clock, on_sqlite, service};
use miid_protocol::{ErrorCode, paths};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

on_sqlite!(
    bodies_that_are_no_json_or_not_only_that,
    a_body_has_a_bound,
    fields_of_a_challenge,
    fields_of_a_token_request,
    ids_routes_and_methods,
    a_wallets_bodies,
    the_shops_own_routes,
    bytes_that_are_no_http,
);

const JSON: &str = "application/json";

fn body(content_type: &'static str, body: impl Into<Body>) -> impl FnOnce(RequestBuilder) -> RequestBuilder {
    let body = body.into();
    move |request| request.header("Content-Type", content_type).body(body)
}

#[track_caller]
fn is(name: &str, answer: &Answer, code: ErrorCode) {
    assert!(answer.status >= 400, "{name} was accepted: {}", answer.text());
    assert_eq!(answer.problem().code, code, "{name}: {}", answer.text());
}

async fn bodies_that_are_no_json_or_not_only_that(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (good, _) = shop.asking(world.wallet().did().as_str());
    let good = json!(good).to_string();
    let twice = good.replacen('{', r#"{"scopes":[],"#, 1);
    let twice_unknown = good.replacen('{', r#"{"x":{"y":1,"\u0079":2},"#, 1);
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let cases: Vec<(&str, &'static str, Vec<u8>)> = vec![
        ("a member twice", JSON, twice.into_bytes()),
        ("an unknown member twice", JSON, twice_unknown.into_bytes()),
        ("nothing", JSON, vec![]),
        ("half", JSON, good.as_bytes()[..good.len() / 2].to_vec()),
        ("more behind it", JSON, format!("{good} x").into_bytes()),
        ("two of them", JSON, format!("{good}{good}").into_bytes()),
        ("a list", JSON, b"[]".to_vec()),
        ("null", JSON, b"null".to_vec()),
        ("a text", JSON, b"\"x\"".to_vec()),
        ("no UTF-8", JSON, b"{\"x\":\"\xff\"}".to_vec()),
        ("UTF-16", JSON, good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a byte order mark", JSON, [b"\xef\xbb\xbf", good.as_bytes()].concat()),
        ("very deep", JSON, deep.into_bytes()),
        ("a huge number", JSON, b"{\"x\":1e999999}".to_vec()),
        ("plain text", "text/plain", good.clone().into_bytes()),
        ("a form", "application/x-www-form-urlencoded", good.clone().into_bytes()),
        ("another media type", "application/jsonp", good.clone().into_bytes()),
        ("multipart", "multipart/form-data; boundary=x", good.clone().into_bytes()),
        ("no media type", "", good.clone().into_bytes()),
    ];
    for (name, content_type, bytes) in cases {
        let answer = shop.send(&gateway, Method::POST, paths::CHALLENGE, body(content_type, bytes)).await;
        is(name, &answer, ErrorCode::InvalidRequest);
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        let encoded =
            |request: RequestBuilder| body(JSON, good.clone())(request).header("Content-Encoding", encoding);
        let answer = shop.send(&gateway, Method::POST, paths::CHALLENGE, encoded).await;
        is(encoding, &answer, ErrorCode::InvalidRequest);
    }
    let charset = "application/json; charset=utf-8";
    shop.send(&gateway, Method::POST, paths::CHALLENGE, body(charset, good)).await.is(201);
}

async fn a_body_has_a_bound(world: World) {
    const BOUND: usize = 64 * 1024;
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let padded = |length: usize| {
        let (good, _) = shop.asking(world.wallet().did().as_str());
        let good = json!(good).to_string();
        let empty = good.replacen('{', r#"{"padding":"","#, 1);
        good.replacen('{', &format!(r#"{{"padding":"{}","#, "x".repeat(length - empty.len())), 1)
    };
    assert_eq!(padded(BOUND).len(), BOUND);
    shop.send(&gateway, Method::POST, paths::CHALLENGE, body(JSON, padded(BOUND))).await.is(201);
    for length in [BOUND + 1, 300_000] {
        let answer = shop.send(&gateway, Method::POST, paths::CHALLENGE, body(JSON, padded(length))).await;
        is("too long", &answer, ErrorCode::BodyTooLarge);
    }
    // Without a length, piece by piece.
    let pieces = futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(1024))));
    let answer =
        shop.send(&gateway, Method::POST, paths::TOKEN_EXCHANGE, body(JSON, Body::wrap_stream(pieces))).await;
    is("too many pieces", &answer, ErrorCode::BodyTooLarge);
    // A wallet's, with a proof that holds.
    let alice = world.wallet();
    let long = format!("{{\"handle\":\"{}\"}}", "a".repeat(BOUND));
    let proof = alice.proof(&gateway, "PUT", paths::WALLET_HANDLE, long.as_bytes());
    let answer = alice.send_with(&gateway, &proof, "PUT", paths::WALLET_HANDLE, long.as_bytes()).await;
    is("a wallet's", &answer, ErrorCode::BodyTooLarge);
}

async fn fields_of_a_challenge(world: World) {
    use ErrorCode::{InvalidDid, InvalidRequest, InvalidScope, UnsupportedDidMethod};
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let did = world.wallet().did().to_string();
    let many = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>();
    let cases = [
        ("a wrong hint", "login_hint", json!("a"), InvalidRequest),
        ("no text as a hint", "login_hint", json!(7), InvalidRequest),
        ("an empty hint", "login_hint", json!(""), InvalidRequest),
        ("a broken DID", "login_hint", json!("did:key:z"), InvalidDid),
        ("a DID with a tail", "login_hint", json!(format!("{did}#x")), InvalidDid),
        ("a DID of another method", "login_hint", json!("did:web:example.com"), UnsupportedDidMethod),
        ("a very long hint", "login_hint", json!("a".repeat(50_000)), InvalidRequest),
        (
            "a return URL beside a hint",
            "return_url",
            json!("http://127.0.0.1:15000/auth/return"),
            InvalidRequest,
        ),
        ("a scope that is not allowed", "scopes", json!(["admin"]), InvalidScope),
        ("a malformed scope", "scopes", json!(["Profile!"]), InvalidScope),
        ("scopes as a text", "scopes", json!("profile"), InvalidRequest),
        ("21 claims", "claims", json!(many(21)), InvalidRequest),
        ("a claim twice", "claims", json!(["name", "name"]), InvalidRequest),
        ("a malformed claim", "claims", json!(["Name"]), InvalidRequest),
        ("a long message", "binding_message", json!("x".repeat(141)), InvalidRequest),
        ("a message with bidi", "binding_message", json!("Sign in \u{202e}to"), InvalidRequest),
        ("a message of two lines", "binding_message", json!("a\nb"), InvalidRequest),
        ("a message with an invisible", "binding_message", json!("a\u{200b}b"), InvalidRequest),
        ("a long browser", "user_agent", json!("x".repeat(513)), InvalidRequest),
        ("a browser with a NUL", "user_agent", json!("a\u{0}"), InvalidRequest),
        ("no verifier", "code_challenge", Value::Null, InvalidRequest),
        ("a short challenge", "code_challenge", json!("abc"), InvalidRequest),
        (
            "a challenge with padding",
            "code_challenge",
            json!(format!("{}=", service::pkce().1)),
            InvalidRequest,
        ),
        ("plain PKCE", "code_challenge_method", json!("plain"), InvalidRequest),
        ("another risk", "risk", json!("huge"), InvalidRequest),
        ("a flag as a text", "known_browser", json!("yes"), InvalidRequest),
    ];
    for (name, member, value, code) in cases {
        let (good, _) = shop.asking(&did);
        let mut request = json!(good);
        request[member] = value.clone();
        let answer = shop.post(&gateway, paths::CHALLENGE, &request).await;
        is(name, &answer, code);
        let (said, value) = (answer.text(), value.as_str().unwrap_or_default());
        assert!(value.len() < 4 || !said.contains(value), "{name} is echoed: {said}");
    }
    // At their bounds.
    let (mut good, _) = shop.asking(&format!("  {did} "));
    good.claims = many(20);
    good.binding_message = Some("가".repeat(140));
    good.user_agent = Some("x".repeat(512));
    good.scopes = vec![];
    shop.create(&gateway, &good).await.is(201);
}

async fn fields_of_a_token_request(world: World) {
    use ErrorCode::{InvalidGrant, InvalidRequest, UnsupportedGrantType};
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let verifier = service::pkce().0;
    let random = miid_protocol::jws::encode(&clock::random::<32>());
    let (code, refresh) = (format!("miid_ac_{random}"), format!("miid_rt_{random}"));
    let cases = [
        ("no grant type", json!({}), UnsupportedGrantType),
        ("another grant type", json!({"grant_type": "password", "username": "a"}), UnsupportedGrantType),
        ("no code", json!({"grant_type": "authorization_code", "code_verifier": verifier}), InvalidRequest),
        ("no verifier", json!({"grant_type": "authorization_code", "code": code}), InvalidRequest),
        (
            "a code of nobody",
            json!({"grant_type": "authorization_code", "code": code, "code_verifier": verifier}),
            InvalidGrant,
        ),
        (
            "no code at all",
            json!({"grant_type": "authorization_code", "code": "x", "code_verifier": verifier}),
            InvalidGrant,
        ),
        (
            "a token as a code",
            json!({"grant_type": "authorization_code", "code": refresh, "code_verifier": verifier}),
            InvalidGrant,
        ),
        ("no refresh token", json!({"grant_type": "refresh_token"}), InvalidRequest),
        (
            "a refresh token of nobody",
            json!({"grant_type": "refresh_token", "refresh_token": refresh}),
            InvalidGrant,
        ),
    ];
    for (name, request, code) in cases {
        let answer = shop.post(&gateway, paths::TOKEN_EXCHANGE, &request).await;
        let problem = answer.problem();
        // RFC 6749 calls a missing grant type an invalid request; either name of it is fine.
        let missing = name == "no grant type" && problem.code == InvalidRequest;
        assert!(missing || problem.code == code, "{name}: {}", answer.text());
        assert_eq!(problem.error.as_deref(), Some(problem.code.oauth_error()), "{name}");
        assert_eq!(answer.header(reqwest::header::CACHE_CONTROL), Some("no-store"), "{name}");
    }
}

async fn ids_routes_and_methods(world: World) {
    use ErrorCode::{ChallengeNotFound, MethodNotAllowed, NotFound, SessionNotFound};
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let id = shop.login(&gateway, alice.did().as_str()).await.id().to_string();
    let v4 = "0198e0a0-0000-4000-8000-000000000001".to_owned();
    let unknown = uuid::Uuid::now_v7().to_string();
    let long = "0".repeat(1000);
    for bad in ["nothing", "%00", "%ff", &id.to_uppercase(), &id.replace('-', ""), &v4, &unknown, &long] {
        let answer = shop.get(&gateway, &format!("/v1/auth/challenges/{bad}")).await;
        is(bad, &answer, ChallengeNotFound);
        let answer = shop.post(&gateway, &format!("/v1/auth/challenges/{bad}/withdraw"), &json!({})).await;
        is(bad, &answer, ChallengeNotFound);
        let answer =
            shop.send(&gateway, Method::DELETE, &format!("/v1/sessions/{bad}"), |request| request).await;
        is(bad, &answer, SessionNotFound);
        for (path, code) in
            [("challenges/ID/approve", ChallengeNotFound), ("sessions/ID/revoke", SessionNotFound)]
        {
            let path = format!("/v1/wallet/{}", path.replace("ID", bad));
            let statement =
                alice.approval(&gateway, &shop.challenge(&gateway, id.parse().unwrap()).await.request, None);
            is(bad, &alice.post(&gateway, &path, &json!({"statement": statement})).await, code);
        }
    }
    for path in [
        "/",
        "/v1",
        "/v1/auth/challenge/",
        "/v2/auth/challenge",
        "/v1/wallet",
        "//",
        "/.env",
        "/v1/auth/challenges/",
    ] {
        is(path, &world.get(&gateway, path).await, NotFound);
    }
    for query in ["challenge_id=%ff", "challenge_id=a&challenge_id=b", "challenge_id=", "%ff=%fe&&&=="] {
        let request = shop.events_request(&gateway, None, None);
        let url = format!("{}{}?{query}", gateway.origin, paths::SERVICE_EVENTS);
        let mut request = request.build().unwrap();
        *request.url_mut() = url.parse().unwrap();
        let response = world.http().execute(request).await.unwrap();
        if response.status() != 200 {
            let answer = Answer::read(response, world.secrets()).await.unwrap();
            assert!(matches!(answer.problem().status, 400 | 404), "{query}: {}", answer.text());
        }
        let answer = shop
            .get(&gateway, &format!("{}?{}", paths::SERVICE_SESSIONS, query.replace("challenge_id", "after")))
            .await;
        assert!(answer.status == 200 || answer.problem().status == 400, "{query}: {}", answer.text());
    }
    for (method, path) in [
        (Method::GET, paths::CHALLENGE),
        (Method::PUT, paths::TOKEN_EXCHANGE),
        (Method::POST, paths::WALLET_EVENTS),
        (Method::DELETE, paths::JWKS),
        (Method::POST, paths::READYZ),
        (Method::PATCH, paths::WALLET_HANDLE),
        (Method::TRACE, paths::HEALTHZ),
    ] {
        let answer = world.send(&gateway, method.clone(), path, |request| request).await;
        is(&format!("{method} {path}"), &answer, MethodNotAllowed);
        assert!(answer.header(reqwest::header::ALLOW).is_some(), "{method} {path}: RFC 9110, section 15.5.6");
    }
}

async fn a_wallets_bodies(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let path = paths::approve(login.id());
    let bad = ErrorCode::InvalidRequest;
    for text in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"statement":7}"#,
        r#"{"statement":"a","statement":"b"}"#,
        r#"{"statement":null}"#,
    ] {
        let proof = alice.proof(&gateway, "POST", &path, text.as_bytes());
        let answer = alice.send_with(&gateway, &proof, "POST", &path, text.as_bytes()).await;
        is(text, &answer, bad);
    }
    let statement = alice.approval(&gateway, &login.challenge.request, Some(login.number()));
    for wrong in [
        "",
        "a.b.c",
        "a.b",
        &statement[1..],
        &format!("{statement}="),
        &statement.repeat(3),
        &"x".repeat(60_000),
    ] {
        let answer = alice.post(&gateway, &path, &json!({"statement": wrong})).await;
        is(&wrong.chars().take(20).collect::<String>(), &answer, ErrorCode::InvalidStatement);
    }
    for disclosure in [
        "",
        "{}",
        "[]",
        r#"{"salt":"","claims":{}}"#,
        r#"{"salt":"AAAAAAAAAAAAAAAAAAAAAA","claims":{"name":7}}"#,
    ] {
        let answer =
            alice.post(&gateway, &path, &json!({"statement": statement, "disclosure": disclosure})).await;
        is(disclosure, &answer, ErrorCode::InvalidStatement);
    }
    // A claim that was not asked for, a value that is too long, and what was asked for.
    let request = &login.challenge.request;
    let long = "x".repeat(1025);
    for claims in [[("phone", "1")], [("name", long.as_str())]] {
        let answer = alice.approve_sharing(&gateway, request, login.number(), &claims).await;
        is(claims[0].0, &answer, ErrorCode::InvalidStatement);
    }
    let markup = "<img src=x onerror=alert(1)> \u{202e}";
    alice.approve_sharing(&gateway, request, login.number(), &[("name", markup)]).await.is(200);
    let tokens = shop.finish(&gateway, &login).await;
    assert_eq!(tokens.claims["name"], markup, "text stays text");
}

async fn the_shops_own_routes(world: World) {
    use ErrorCode::{
        BodyTooLarge, ChallengeNotFound, InvalidDid, InvalidRequest, MethodNotAllowed, NotFound,
    };
    let (_gateway, shop) = world.gateway_and_shop(&[]).await;
    let browser = world.browser(&shop);
    let send = async |content_type: &'static str, bytes: Vec<u8>| {
        let request = browser.request(Method::POST, paths::AUTH_START).header("Origin", shop.origin());
        browser.send(body(content_type, bytes)(request)).await
    };
    let hint = |hint: &str| json!({"login_hint": hint}).to_string().into_bytes();
    is(
        "a member twice",
        &send(JSON, br#"{"login_hint":"alice","login_hint":"bob"}"#.to_vec()).await,
        InvalidRequest,
    );
    is("nothing", &send(JSON, vec![]).await, InvalidRequest);
    is("a list", &send(JSON, b"[]".to_vec()).await, InvalidRequest);
    is("plain text", &send("text/plain", hint("alice")).await, InvalidRequest);
    is("a broken DID", &send(JSON, hint("did:key:z")).await, InvalidDid);
    is("no handle", &send(JSON, hint("a b")).await, InvalidRequest);
    is(
        "too long",
        &send(JSON, format!("{{\"x\":\"{}\"}}", "x".repeat(70_000)).into_bytes()).await,
        BodyTooLarge,
    );
    let encoded = browser
        .request(Method::POST, paths::AUTH_START)
        .header("Origin", shop.origin())
        .header("Content-Encoding", "gzip");
    is("encoded", &browser.send(body(JSON, hint("alice"))(encoded)).await, InvalidRequest);

    for bad in ["nothing", "%00", "0198e0a0-0000-4000-8000-000000000001", &uuid::Uuid::now_v7().to_string()] {
        for path in [paths::AUTH_STREAM, paths::AUTH_STATUS] {
            is(bad, &browser.get(&paths::with_id(path, bad)).await, ChallengeNotFound);
        }
        is(bad, &browser.post(&paths::with_id(paths::AUTH_COMPLETE, bad), None).await, ChallengeNotFound);
    }
    is("an unknown route", &browser.get("/auth/nothing").await, NotFound);
    is("another method", &browser.get(paths::AUTH_START).await, MethodNotAllowed);
    browser.plant_cookie("sid", "\u{7f}", "/");
    // The pages themselves, with what keeps them from being used by others.
    browser.forget_cookie("sid");
    let page = browser.get("/").await;
    page.is(200);
    assert!(page.text().contains("<!doctype html>") || page.text().contains("<!DOCTYPE html>"));
    for header in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
        assert!(page.headers.contains_key(header), "{header}: {:?}", page.headers);
    }
    is("a way out of the pages", &browser.get("/..%2f..%2fCargo.toml").await, NotFound);
}

async fn bytes_that_are_no_http(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    for origin in [&gateway.origin, &shop.instance()] {
        let address = origin.strip_prefix("http://").unwrap();
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /v1/token/exchange HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\n\r\n",
        ] {
            let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
            connection.write_all(bytes).await.unwrap();
            connection.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // It may be cut instead of answered; what counts is that it ends.
            let reading = miid_e2e::wait::within("an answer ends", connection.read_to_end(&mut answer)).await;
            drop(reading);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(!answer.contains(" 500 "), "{answer}");
        }
    }
    world.get(&gateway, paths::READYZ).await.is(200);
    assert!(world.browser(&shop).get("/").await.status == 200);
}
