//! What a head must not say, whichever way it comes, and what is said about it: hosts, lengths and names over HTTP/2,
//! requests to become a WebSocket that only some read as one, and refusals of what is only half there.

use miid_e2e::edge::route;
use miid_e2e::frames::{BAD_REQUEST, OK};
use miid_e2e::{Edge, Frames, Renewable as _, Upstream, World, eventually, on_sqlite};
use miid_protocol::jws;
use miid_protocol::service::TokenResponse;
use reqwest::Method;
use serde_json::{Value, json};

use crate::edge::{everything, gateway, refused};

on_sqlite!(
    over_http2_host_and_length_are_held_to_the_rules_of_http1,
    names_that_somebody_behind_reads_otherwise_end_here,
    a_request_that_only_some_read_as_an_upgrade_leaves_the_connection_as_it_was,
    a_refusal_says_that_what_is_left_of_a_body_is_not_read,
    a_connection_that_was_closed_meanwhile_is_made_again_to_the_same_upstream,
    an_identity_is_signed_by_a_key_that_counts,
);

async fn over_http2_host_and_length_are_held_to_the_rules_of_http1(world: World) {
    let second = Upstream::start_http2();
    let more = route("h2", "/h2", "public", &second.url(), "protocol = \"h2c\"");
    let (upstream, edge, _gateway, _shop) = everything(&world, &more).await;
    let mut frames = Frames::connect(&edge, 1 << 20).await;
    let mut stream = 1;
    for path in ["/pub/x", "/h2/x"] {
        for host in ["evil/a?b@c \"x\", y", "a/b", "a b", "a@b", "", "a\u{e9}"] {
            let fields: [(&str, &[u8]); 4] = [
                (":method", b"GET"),
                (":scheme", b"http"),
                (":path", path.as_bytes()),
                ("host", host.as_bytes()),
            ];
            frames.request(stream, &fields, true).await;
            let (status, _) = frames.answer(stream).await.expect("an answer");
            assert_eq!(status, BAD_REQUEST, "{path} {host:?}");
            stream += 2;
        }
    }
    for lengths in [&["0", "00"][..], &["5", "5"], &["5", "05"], &[""]] {
        let mut fields: Vec<(&str, &[u8])> =
            vec![(":method", b"POST"), (":scheme", b"http"), (":authority", b"a"), (":path", b"/pub/x")];
        fields.extend(lengths.iter().map(|length| ("content-length", length.as_bytes())));
        let empty = matches!(lengths[0], "" | "0");
        frames.request(stream, &fields, empty).await;
        if !empty {
            frames.data(stream, b"hello", true).await;
        }
        // Refused by whoever sees it first.
        let answer = frames.answer(stream).await;
        assert!(answer.as_ref().is_none_or(|(status, _)| *status == BAD_REQUEST), "{lengths:?}: {answer:?}");
        stream += 2;
    }
    assert_eq!((upstream.requests(), second.requests()), (0, 0), "nobody behind saw any of it");

    // What is the same number is sent on in its one spelling.
    let fields: [(&str, &[u8]); 5] = [
        (":method", b"POST"),
        (":scheme", b"http"),
        (":authority", b"a"),
        (":path", b"/pub/x"),
        ("content-length", b"010"),
    ];
    frames.request(stream, &fields, false).await;
    frames.data(stream, b"0123456789", true).await;
    let (status, body) = frames.answer(stream).await.expect("an answer");
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &said["headers"]["content-length"]), (OK, &json!(["10"])));
    let answer = edge
        .raw(b"POST /pub/x HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\nConnection: close\r\n\r\n0123456789")
        .await;
    assert!(answer.contains("\"content-length\":[\"10\"]"), "{answer}");
    // HTTP/1.0 need not say for whom it is, but HTTP/2 behind must be told.
    let answer = edge.raw(b"GET /h2/x HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 400 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(second.requests(), 0);
}

async fn names_that_somebody_behind_reads_otherwise_end_here(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let request = "GET /pub/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nProxy: http://evil/\r\nX_Request_Id: x\r\nTransfer_Encoding: chunked\r\nContent_Length: 5\r\nX_MiID_Subject: admin\r\nX.MiID.Subject: admin\r\nX-Own: mine\r\n\r\n";
    let answer = edge.raw(request.as_bytes()).await;
    let said: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let names: Vec<&String> = said["headers"].as_object().unwrap().keys().collect();
    assert!(names.iter().any(|name| *name == "x-own"), "{names:?}");
    assert!(names.iter().all(|name| *name != "proxy" && !name.contains(['_', '.'])), "{names:?}");
    assert!(!answer.contains("admin"), "{answer}");

    let before = upstream.requests();
    let answer = edge.raw(b"TRACE /pub/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert_eq!(upstream.requests(), before);
}

async fn a_request_that_only_some_read_as_an_upgrade_leaves_the_connection_as_it_was(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let mut connection = edge.connect().await;
    let mut requests = 0;
    for (upgrade, asks) in [
        (&b"Upgrade: websocket, x\xff\r\nConnection: upgrade"[..], "upgrade"),
        (b"Upgrade: websocket\r\nConnection: upgrade, \xff", "upgrade"),
        (b"Upgrade: h2c, websocket\r\nConnection: keep-alive\r\nConnection: Upgrade", "upgrade"),
        (b"Upgrade: \xff\r\nConnection: \xff", "no"),
        (b"Upgrade: websockets\r\nConnection: upgrade", "no"),
        (b"Upgrade: websocket", "no"),
    ] {
        let mut request = b"GET /pub/x HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n".to_vec();
        request.extend([upgrade, b"\r\n\r\n"].concat());
        connection.write(&request).await;
        // Whoever is behind does not switch; the next request on the same connection is one.
        let answer = connection.until("\"version\":\"HTTP/1.1\"}").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let passed_on = answer.contains("\"upgrade\":[\"websocket\"]");
        assert_eq!(passed_on, asks == "upgrade", "{}: {answer}", String::from_utf8_lossy(upgrade));
        connection.write(b"GET /pub/next HTTP/1.1\r\nHost: a\r\n\r\n").await;
        connection.until("/pub/next").await;
        connection.until("\"HTTP/1.1\"}").await;
        requests += 2;
        assert_eq!(upstream.requests(), requests);
    }
}

async fn a_refusal_says_that_what_is_left_of_a_body_is_not_read(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    for start in ["POST /api/x HTTP/1.1\r\nHost: a\r\n", "POST /nowhere HTTP/1.1\r\nHost: a\r\n"] {
        // More than lies in any buffer by the time of the answer, and all of it is sent.
        let mut connection = edge.connect().await;
        connection.write(format!("{start}Content-Length: 200000\r\n\r\n").as_bytes()).await;
        for _ in 0..20 {
            connection.write(&[b'x'; 10_000]).await;
        }
        let answer = connection.rest().await;
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        assert!(head.starts_with("http/1.1 40"), "{answer:?}");
        assert!(head.contains("\r\nconnection: close"), "{answer}");
        assert!(answer.ends_with('}'), "the whole document: {answer}");
    }
    // Where there is none the connection stays.
    let mut connection = edge.connect().await;
    for _ in 0..2 {
        connection.write(b"GET /api/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = connection.until("}").await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.to_lowercase().contains("connection: close"));
    }
    assert_eq!(upstream.requests(), 0);
}

async fn a_connection_that_was_closed_meanwhile_is_made_again_to_the_same_upstream(world: World) {
    let (first, second) = (Upstream::hanging_up(), Upstream::hanging_up());
    let one = format!("upstreams = [\"{}\"]", first.url());
    let two = format!("upstreams = [\"{}\", \"{}\"]", first.url(), second.url());
    let routes = route("x", "/", "public", &first.url(), "").replace(&one, &two);
    let edge = Edge::new(&world, "edge", &routes);
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    // At one worker, whose connections are both idle then, and dead.
    let mut caller = edge.connect().await;
    let mut ask = async || {
        caller.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(caller.until("ok").await.starts_with("HTTP/1.1 200 "));
    };
    ask().await;
    ask().await;
    assert_eq!((first.connections(), second.connections()), (1, 1));
    ask().await;
    assert_eq!((first.connections(), second.connections()), (2, 1), "it was the first one's turn");
}

async fn an_identity_is_signed_by_a_key_that_counts(world: World) {
    let (_upstream, edge, gateway, shop) = everything(&world, "").await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let kid_of = |token: &str| {
        let head = jws::decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&head).unwrap()["kid"].as_str().unwrap().to_owned()
    };
    let shown = async |token: &str| {
        let said = edge.get("/api/x", token).await.is(200).json();
        kid_of(said["headers"]["x-miid-identity"][0].as_str().unwrap())
    };
    let old = kid_of(&tokens.access_token);
    assert_eq!(shown(&tokens.access_token).await, old);
    gateway.run(&["keys", "retire", &old, "--now"]).await.ok();
    eventually("the edge refuses what the key signed", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    // The same session, of which an identity was signed a moment ago.
    let fresh: TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();
    let new = kid_of(&fresh.access_token);
    assert_ne!(new, old);
    assert_eq!(shown(&fresh.access_token).await, new);
    refused(&edge.send(Method::GET, "/api/x", |request| request).await, 401, "invalid_token", "missing");
}
