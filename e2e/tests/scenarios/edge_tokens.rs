//! Access tokens at the edge: which count, for how long, and what somebody is told whose does not. The arrows are
//! those of the design: the client gets a token (1 to 4), calls (5), the gateway takes it from its cache (6a) or
//! examines it (6b), forwards (7a) or refuses (7b), and passes the answer on (8, 9).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use miid_e2e::edge::route;
use miid_e2e::port::Port;
use miid_e2e::{Edge, Forger, Renewable as _, Upstream, World, clock, eventually, on_both, on_sqlite};
use miid_protocol::jws;
use reqwest::Method;
use serde_json::{Value, json};

use crate::edge::{everything, gateway, refused, routes};

on_both!(
    arrows_1_to_9_a_token_lets_a_call_through_and_says_who_calls,
    arrows_6a_and_6b_a_token_is_taken_from_the_cache_and_examined_again_when_its_time_there_is_over,
    arrow_7b_a_token_that_does_not_count_is_refused_with_its_reason,
    a_token_of_a_retired_key_is_refused_while_it_is_cached,
);

on_sqlite!(
    what_a_thief_of_the_signing_key_makes_up_is_refused,
    a_route_asks_for_scopes_and_a_step_up,
    a_hundred_thousand_bad_tokens_leave_nothing_behind,
    a_token_is_refused_from_the_second_on_in_which_it_expires,
    the_caller_cannot_say_who_calls,
);

async fn arrows_1_to_9_a_token_lets_a_call_through_and_says_who_calls(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    for round in 0..3 {
        let answer = edge.get("/api/orders?page=2", &tokens.access_token).await;
        let said = answer.is(200).json();
        assert_eq!(said["target"], "/api/orders?page=2");
        let header = |name: &str| said["headers"][name][0].as_str().unwrap_or_default().to_owned();
        assert_eq!(header("x-miid-subject"), tokens.sub, "round {round}");
        assert_eq!(header("x-miid-session"), tokens.session_id.to_string());
        assert_eq!(header("x-miid-client"), "demo-shop");
        assert_eq!(header("x-miid-scope"), "profile");
        assert_eq!(header("x-forwarded-for"), "127.0.0.1");
        assert_eq!(header("authorization"), "", "the token itself goes no further");
        assert_eq!(header("host"), edge.address());
        assert_eq!(answer.header(reqwest::header::HeaderName::from_static("x-hop")), None);
        identity_holds(&world, &gateway, &header("x-miid-identity"), &tokens.sub).await;
    }
    assert_eq!(upstream.requests(), 3);
    assert!(upstream.connections() <= 3);

    // A public route asks nothing, and passes on what it is sent.
    let said = edge.get("/pub/x", "whatever").await.is(200).json();
    assert_eq!(said["headers"]["authorization"][0], "Bearer whatever");
    assert_eq!(said["headers"]["x-miid-subject"], Value::Null);
}

async fn arrows_6a_and_6b_a_token_is_taken_from_the_cache_and_examined_again_when_its_time_there_is_over(
    world: World,
) {
    let (upstream, metrics) = (Upstream::start(), Port::take());
    let short = routes(&upstream, "").replace("[edge]\n", "[edge]\ncache_time = \"5s\"\n");
    let edge = Edge::new(&world, "edge", &short);
    let (gateway, shop) = gateway(&world, &edge, &["--metrics-listen", &metrics.address()]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let looked_at = async || -> (u64, u64) {
        let text =
            world.http().get(format!("{}/metrics", metrics.origin())).send().await.unwrap().text().await;
        let text = text.unwrap();
        let count = |found: &str| {
            let name = format!("miid_edge_tokens_total{{cache=\"{found}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
        };
        (count("hit"), count("miss"))
    };
    let begun = Instant::now();
    edge.get("/api/x", &tokens.access_token).await.is(200);
    assert_eq!(looked_at().await, (0, 1), "6b: nobody knows it yet");
    edge.get("/api/x", &tokens.access_token).await.is(200);
    assert_eq!(looked_at().await, (1, 1), "6a: it is known");
    // Nobody sees a difference when it is examined again, which is not before its time.
    eventually("it is examined again", || async {
        let said = edge.get("/api/x", &tokens.access_token).await.is(200).json();
        assert_eq!(said["headers"]["x-miid-subject"][0], tokens.sub);
        (looked_at().await.1 == 2).then_some(())
    })
    .await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(upstream.requests() as u64, looked_at().await.0 + 2, "each went on");
}

/// What the upstream is shown is signed by a key of the gateway's, for this route and nobody else.
async fn identity_holds(world: &World, gateway: &miid_e2e::Gateway, identity: &str, sub: &str) {
    let parts: Vec<&str> = identity.split('.').collect();
    let json_of = |part: &str| -> Value {
        serde_json::from_slice(&jws::decode(part).expect("base64url")).expect("JSON")
    };
    let (head, claims) = (json_of(parts[0]), json_of(parts[1]));
    assert_eq!(head["typ"], "miid-identity+jwt");
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(sub), &json!("api")));
    assert_eq!(claims["iss"], gateway.issuer.as_str());
    let left = claims["exp"].as_i64().unwrap() - clock::now_s();
    assert!((1..=60).contains(&left), "{left}");
    let keys = world.get(gateway, miid_protocol::paths::JWKS).await.json();
    let key =
        keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == head["kid"]).expect("published");
    let public: [u8; 32] = jws::decode(key["x"].as_str().unwrap()).unwrap().try_into().unwrap();
    let key = miid_protocol::VerifyingKey::from_bytes(&public).unwrap();
    let signature = miid_protocol::Signature::from_slice(&jws::decode(parts[2]).unwrap()).unwrap();
    key.verify_strict(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).expect("it holds");
}

async fn arrow_7b_a_token_that_does_not_count_is_refused_with_its_reason(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let elsewhere = other.sign_in(&gateway, &alice).await;
    let [head, payload, signature] = tokens.access_token.split('.').collect::<Vec<_>>()[..] else { panic!() };

    let none = edge.send(Method::GET, "/api/x", |request| request).await;
    refused(&none, 401, "invalid_token", "missing");
    assert_eq!(none.header(reqwest::header::WWW_AUTHENTICATE), Some("Bearer realm=\"miid\""));

    let swapped = |text: &str| format!("{}.{payload}.{signature}", jws::encode(text.as_bytes()));
    let kid = |kid: &str| swapped(&json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}).to_string());
    let changed = {
        let mut claims: Value = serde_json::from_slice(&jws::decode(payload).unwrap()).unwrap();
        claims["scope"] = "profile admin".into();
        format!("{head}.{}.{signature}", jws::encode(claims.to_string().as_bytes()))
    };
    for (token, reason) in [
        ("nonsense".to_owned(), "malformed"),
        (tokens.renewal().clone(), "malformed"),
        (swapped(r#"{"alg":"none","typ":"at+jwt"}"#), "malformed"),
        (format!("{}.{payload}.", jws::encode(br#"{"alg":"none","typ":"at+jwt","kid":"x"}"#)), "malformed"),
        (swapped(r#"{"typ":"at+jwt","alg":"HS256","kid":"x"}"#), "malformed"),
        (kid("../../../../etc/passwd"), "unknown_key"),
        (kid("http://127.0.0.1:1/key"), "unknown_key"),
        (changed, "bad_signature"),
        (format!("{head}.{payload}.{}", jws::encode(&[7; 64])), "bad_signature"),
        (elsewhere.access_token.clone(), "wrong_audience"),
    ] {
        let answer = edge.get("/api/x", &token).await;
        refused(&answer, 401, "invalid_token", reason);
        let challenge = answer.header(reqwest::header::WWW_AUTHENTICATE).unwrap();
        assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains(reason), "{challenge}");
    }
    // Twice the header, one of them right.
    let twice = |request: reqwest::RequestBuilder| {
        request.bearer_auth(&tokens.access_token).header("authorization", "Bearer other")
    };
    refused(&edge.send(Method::GET, "/api/x", twice).await, 401, "invalid_token", "malformed");
    assert_eq!(upstream.requests(), 0, "nobody behind saw any of it");

    // Another gateway's token, and its own of a session that ended.
    let another = world.gateway_on(world.database("another").await, &[]).await;
    let theirs = another.add_service("demo-shop", &[]).await;
    let foreign = theirs.sign_in(&another, &alice).await.access_token;
    refused(&edge.get("/api/x", &foreign).await, 401, "invalid_token", "unknown_key");
    edge.get("/api/x", &tokens.access_token).await.is(200);
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    eventually("the edge has heard of the end", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    refused(&edge.get("/api/x", &tokens.access_token).await, 401, "invalid_token", "revoked");
    // And of one that had ended before the edge ever saw its token.
    let ended = shop.sign_in(&gateway, &alice).await;
    alice.revoke(&gateway, "demo-shop", ended.session_id).await.is(200);
    refused(&edge.get("/api/x", &ended.access_token).await, 401, "invalid_token", "revoked");
}

async fn what_a_thief_of_the_signing_key_makes_up_is_refused(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let tokens = shop.sign_in(&gateway, &alice).await;
    let bobs = shop.sign_in(&gateway, &bob).await;
    let forger = Forger::new(&gateway.data_dir, &tokens.access_token);
    edge.get("/api/x", &forger.another()).await.is(200);
    assert_eq!(upstream.requests(), 1, "the thief signs as the gateway does");

    let now = clock::now_s();
    let nobodys = uuid::Uuid::now_v7().to_string();
    type Change = Box<dyn FnOnce(&mut Value)>;
    let cases: Vec<(&str, Change, &str)> = vec![
        ("a session that never was", Box::new(move |c| c["sid"] = nobodys.into()), "revoked"),
        ("another person's session", Box::new(move |c| c["sid"] = json!(bobs.session_id)), "malformed"),
        ("another person", Box::new(|c| c["sub"] = "somebody".into()), "malformed"),
        ("more than was granted", Box::new(|c| c["scope"] = "profile admin".into()), "malformed"),
        ("a year", Box::new(move |c| c["exp"] = (now + 31_536_000).into()), "malformed"),
        ("the far future", Box::new(|c| c["exp"] = i64::MAX.into()), "malformed"),
        (
            "issued in the future",
            Box::new(move |c| {
                c["iat"] = (now + 5000).into();
                c["exp"] = (now + 5600).into();
            }),
            "malformed",
        ),
        (
            "issued before its session",
            Box::new(move |c| {
                c["iat"] = (now - 1000).into();
            }),
            "malformed",
        ),
        (
            "over",
            Box::new(move |c| {
                c["iat"] = (now - 100).into();
                c["exp"] = (now - 1).into();
            }),
            "expired",
        ),
        ("another issuer", Box::new(|c| c["iss"] = "http://127.0.0.1:9".into()), "wrong_issuer"),
        ("another service", Box::new(|c| c["aud"] = "other-shop".into()), "wrong_audience"),
    ];
    for (what, change, reason) in cases {
        let token = forger.forge(json!({}), change);
        let answer = edge.get("/api/x", &token).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        refused(&answer, 401, "invalid_token", reason);
    }
    for head in [
        json!({"typ": "JWT"}),
        json!({"typ": "miid-identity+jwt"}),
        json!({"alg": "none"}),
        json!({"crit": ["x"]}),
        json!({"jwk": {}}),
    ] {
        refused(&edge.get("/api/x", &forger.forge(head, |_| {})).await, 401, "invalid_token", "malformed");
    }
    assert_eq!(upstream.requests(), 1);
}

async fn a_token_of_a_retired_key_is_refused_while_it_is_cached(world: World) {
    let (_upstream, edge, gateway, shop) = everything(&world, "").await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    edge.get("/api/x", &tokens.access_token).await.is(200);
    let head = jws::decode(tokens.access_token.split('.').next().unwrap()).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    gateway.run(&["keys", "retire", head["kid"].as_str().unwrap(), "--now"]).await.ok();
    eventually("the edge refuses what the key signed", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    refused(&edge.get("/api/x", &tokens.access_token).await, 401, "invalid_token", "unknown_key");
    // The session lives on, under a new key.
    let fresh: miid_protocol::service::TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();
    edge.get("/api/x", &fresh.access_token).await.is(200);
}

async fn a_route_asks_for_scopes_and_a_step_up(world: World) {
    let upstream = Upstream::start();
    let more = [
        route("mail", "/mail", "general", &upstream.url(), "scopes = [\"profile\", \"email\"]"),
        route("pay", "/pay", "general", &upstream.url(), "step_up = \"5m\""),
        route("soon", "/soon", "general", &upstream.url(), "step_up = \"2s\""),
    ];
    let edge = Edge::new(&world, "edge", &routes(&upstream, &more.concat()));
    let (gateway, shop) = gateway(&world, &edge, &[]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let answer = edge.get("/mail", &tokens.access_token).await;
    refused(&answer, 403, "insufficient_scope", "");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["missing_scopes"], json!(["email"]));
    let challenge = answer.header(reqwest::header::WWW_AUTHENTICATE).unwrap();
    assert_eq!(challenge, "Bearer realm=\"miid\", error=\"insufficient_scope\", scope=\"email\"");

    let answer = edge.get("/pay", &tokens.access_token).await;
    refused(&answer, 401, "insufficient_user_authentication", "");
    let challenge = answer.header(reqwest::header::WWW_AUTHENTICATE).unwrap();
    assert!(challenge.contains("acr_values=\"step_up\", max_age=\"300\""), "{challenge}");
    assert_eq!(upstream.requests(), 0);

    // With an approval that is fresh, and with one that is not any more.
    let forger = Forger::new(&gateway.data_dir, &tokens.access_token);
    let stepped_up = |at: i64| {
        forger.forge(json!({}), |claims| {
            claims["acr"] = "step_up".into();
            claims["auth_time"] = at.into();
        })
    };
    let approved_at = forger.issued_at();
    let said = edge.get("/pay", &stepped_up(approved_at)).await.is(200).json();
    let identity = said["headers"]["x-miid-identity"][0].as_str().unwrap().to_owned();
    let claims: Value =
        serde_json::from_slice(&jws::decode(identity.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!((&claims["acr"], claims["auth_time"].as_i64()), (&json!("step_up"), Some(approved_at)));
    // An approval that was given to nobody's session is none.
    refused(&edge.get("/pay", &stepped_up(approved_at - 301)).await, 401, "invalid_token", "malformed");
    let answer = eventually("it is not fresh any more", || async {
        let answer = edge.get("/soon", &stepped_up(approved_at)).await;
        (answer.status == 401).then_some(answer)
    })
    .await;
    refused(&answer, 401, "insufficient_user_authentication", "");
    assert!(clock::now_s() >= approved_at + 2);
    edge.get("/pay", &stepped_up(approved_at)).await.is(200);
}

async fn a_hundred_thousand_bad_tokens_leave_nothing_behind(world: World) {
    const ROUNDS: usize = 50;
    const AT_ONCE: usize = 20;
    const EACH: usize = 100;
    let (upstream, metrics) = (Upstream::start(), Port::take());
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    let (mut gateway, shop) = gateway(&world, &edge, &["--metrics-listen", &metrics.address()]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    edge.get("/api/x", &tokens.access_token).await.is(200);
    // Malformed ones, ones of unknown keys, and ones with a signature that must be looked at.
    let [head, payload, _] = tokens.access_token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let unknown = jws::encode(br#"{"typ":"at+jwt","alg":"EdDSA","kid":"nobody"}"#);
    let flood = |head: String, payload: String| {
        let edge = edge.clone();
        async move {
            let mut connection = edge.connect().await;
            for _ in 0..EACH {
                let mut signature = clock::random::<64>();
                // Its number is below the group's order, so that there is something to look at.
                signature[63] &= 0x0f;
                let signature = jws::encode(&signature);
                let request = format!(
                    "GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {head}.{payload}.{signature}\r\n\r\n"
                );
                connection.write(request.as_bytes()).await;
                let answer = connection.until("\r\n\r\n").await;
                assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
                let length = answer.to_lowercase();
                let length = length
                    .split("content-length: ")
                    .nth(1)
                    .unwrap()
                    .split('\r')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap();
                connection.exactly(length).await;
            }
        }
    };
    // Once around so that everything that is made once is there.
    join_all((0..AT_ONCE).map(|_| flood(head.to_owned(), payload.to_owned()))).await;
    let before = resident_kib(gateway.program().id());
    for round in 0..ROUNDS {
        let head = if round % 5 == 0 { head.to_owned() } else { unknown.clone() };
        join_all((0..AT_ONCE).map(|_| flood(head.clone(), payload.to_owned()))).await;
    }
    let after = resident_kib(gateway.program().id());
    println!("{} bad tokens: {before} KiB before, {after} KiB after", ROUNDS * AT_ONCE * EACH);
    // The allocator keeps some MiB more or less for later; were the tokens themselves kept, it would be far more.
    let kept = u64::try_from(ROUNDS * AT_ONCE * EACH * tokens.access_token.len() / 1024).expect("a number");
    assert!(after < before + kept / 2, "{before} KiB became {after} KiB; the tokens are {kept}");
    assert_eq!(upstream.requests(), 1);
    edge.get("/api/x", &tokens.access_token).await.is(200);
    eventually("what is cached is the one that is good", || async {
        let text = world.http().get(format!("{}/metrics", metrics.origin())).send().await.ok()?;
        let text = text.text().await.ok()?;
        text.lines().any(|line| line == "miid_edge_cached_tokens 1").then_some(())
    })
    .await;
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

async fn a_token_is_refused_from_the_second_on_in_which_it_expires(world: World) {
    let upstream = Upstream::start();
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    let (gateway, shop) = gateway(&world, &edge, &["--access-ttl", "3s"]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let payload = jws::decode(tokens.access_token.split('.').nth(1).unwrap()).unwrap();
    let exp = serde_json::from_slice::<Value>(&payload).unwrap()["exp"].as_i64().unwrap();
    edge.get("/api/x", &tokens.access_token).await.is(200);
    let (mut let_through, mut last) = (0, clock::now_s());
    loop {
        let before = clock::now_s();
        let answer = edge.get("/api/x", &tokens.access_token).await;
        if answer.status == 200 {
            assert!(before < exp, "let through at {before}, over at {exp}");
            (let_through, last) = (let_through + 1, before);
            continue;
        }
        assert!(clock::now_s() >= exp, "refused before its time");
        refused(&answer, 401, "invalid_token", "expired");
        break;
    }
    assert!(let_through > 3 && last < exp);
    let fresh: miid_protocol::service::TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();
    edge.get("/api/x", &fresh.access_token).await.is(200);
}

async fn the_caller_cannot_say_who_calls(world: World) {
    let upstream = Upstream::start();
    let standard = route("standard", "/standard", "public", &upstream.url(), "forwarded = true");
    let edge = Edge::new(&world, "edge", &routes(&upstream, &standard));
    let (gateway, shop) = gateway(&world, &edge, &[]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let lies = [
        "X-MiID-Subject",
        "x-miid-identity",
        "X_MiID_Subject",
        "X-MIID_SUBJECT",
        "X-MiID-Role",
        "X.MiID.Subject",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Real-IP",
        "Forwarded",
        "True-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "CF-Connecting-IP",
    ];
    for path in ["/api/x", "/pub/x", "/standard/x"] {
        let answer = edge
            .send(Method::GET, path, |request| {
                let request = request.bearer_auth(&tokens.access_token).header("X-Mine", "stays");
                // What `Connection` names must not take away what the edge says.
                let request = request
                    .header("Connection", "close, X-MiID-Subject, X-Forwarded-For, X-Gone")
                    .header("X-Gone", "1");
                lies.iter().fold(request, |request, name| request.header(*name, "mallory"))
            })
            .await;
        let said = answer.is(200).json();
        let headers = said["headers"].as_object().unwrap();
        for (name, values) in headers {
            assert!(!values.to_string().contains("mallory"), "{path}: {name}: {values}");
        }
        assert_eq!(headers["x-mine"][0], "stays");
        assert_eq!(headers["x-forwarded-for"], json!(["127.0.0.1"]));
        assert!(!headers.contains_key("x-gone"));
        let standard = format!("for=127.0.0.1;proto=http;host=\"{}\"", edge.address());
        let forwarded = (path == "/standard/x").then(|| json!([standard]));
        assert_eq!(headers.get("forwarded"), forwarded.as_ref());
        assert_eq!(headers.contains_key("x-miid-subject"), path == "/api/x");
    }
}
