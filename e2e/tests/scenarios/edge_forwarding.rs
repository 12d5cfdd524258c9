//! What goes through the edge, and how: bodies as they come, event streams, WebSockets, both versions of HTTP both
//! ways; and what happens when the server behind misbehaves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use miid_e2e::edge::route;
use miid_e2e::wait::within;
use miid_e2e::{Edge, Frames, Upstream, World, eventually, on_sqlite};
use miid_protocol::jws;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::edge::{everything, gateway, refused};

on_sqlite!(
    bodies_go_through_whole_in_both_framings,
    what_is_too_large_is_refused_and_what_is_slow_too,
    an_event_stream_is_passed_on_event_by_event,
    a_websocket_goes_both_ways_and_ends_with_its_session,
    a_stream_ends_with_its_session,
    heads_of_every_kind_are_answered_right,
    two_hundred_megabytes_go_through_without_being_kept,
    an_upstream_that_hangs_dies_or_talks_nonsense_is_told_apart,
    what_breaks_off_looks_broken_and_what_never_began_is_refused,
    interim_answers_of_an_upstream_are_passed_on,
    http2_goes_through_on_either_side,
    requests_are_named_and_traced,
    what_a_proxy_says_on_the_way_is_said_as_the_standards_want,
);

async fn bodies_go_through_whole_in_both_framings(world: World) {
    let (_upstream, edge, _gateway, _shop) = everything(&world, "").await;
    for length in [1, 1000, 100_000, 3_000_000] {
        let body: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
        let digest = jws::encode(&Sha256::digest(&body));
        let said =
            edge.send(Method::POST, "/pub/x", |request| request.body(body.clone())).await.is(200).json();
        assert_eq!((said["length"].as_u64(), said["sha256"].as_str()), (Some(length), Some(digest.as_str())));
        assert_eq!(said["headers"]["content-length"][0], length.to_string());

        let mut connection = edge.connect().await;
        connection
            .write(
                b"POST /pub/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            )
            .await;
        for piece in body.chunks(4099) {
            connection.write(format!("{:x}\r\n", piece.len()).as_bytes()).await;
            connection.write(piece).await;
            connection.write(b"\r\n").await;
        }
        connection.write(b"0\r\nX-Sum: 7\r\n\r\n").await;
        let answer = connection.rest().await;
        assert!(answer.contains(&digest), "{answer}");
    }
    // A body may take longer than the answer after it (1 s here), as long as more of it comes.
    let mut connection = edge.connect().await;
    connection.write(b"POST /pub/x HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n").await;
    let mut pace = tokio::time::interval(Duration::from_millis(120));
    for _ in 0..15 {
        pace.tick().await;
        connection.write(b"x").await;
    }
    assert!(connection.until("\"HTTP/1.1\"}").await.contains("\"length\":15"));
    // Nothing is waited for: half of a body arrives while the other half is not there.
    let mut connection = edge.connect().await;
    connection
        .write(b"POST /pub/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(connection.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    connection.write(b"01234").await;
    connection.write(b"56789").await;
    assert!(connection.until("}").await.starts_with("HTTP/1.1 200 "));
}

async fn what_is_too_large_is_refused_and_what_is_slow_too(world: World) {
    let upstream = Upstream::start();
    let small = "max_body = 1000\nidle_timeout = \"300ms\"";
    let edge = Edge::new(&world, "edge", &route("small", "/", "public", &upstream.url(), small));
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    let said = |length: usize| edge.send(Method::POST, "/x", move |request| request.body(vec![b'x'; length]));
    said(1000).await.is(200);
    refused(&said(1001).await, 413, "body_too_large", "");
    // In chunks nobody knows before.
    let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
    let request = format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    let answer = edge.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = edge.raw(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // And before a body is asked for at all.
    let answer = edge
        .raw(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    eventually("nothing is left under way", || async { (upstream.open() == 0).then_some(()) }).await;
}

async fn an_event_stream_is_passed_on_event_by_event(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let mut connection = edge.connect().await;
    let request =
        format!("GET /api/sse HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", tokens.access_token);
    connection.write(request.as_bytes()).await;
    assert!(connection.until("\r\n\r\n").await.contains("text/event-stream"));
    let begun = Instant::now();
    for n in 0..10 {
        connection.until(&format!("data: {n}\n\n")).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(upstream.open(), 1);
    drop(connection);
    eventually("the upstream's side ends with the reader's", || async {
        (upstream.open() == 0).then_some(())
    })
    .await;
}

async fn a_stream_ends_with_its_session(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let mut connection = edge.connect().await;
    let request =
        format!("GET /api/sse HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", tokens.access_token);
    connection.write(request.as_bytes()).await;
    connection.until("data: 3\n\n").await;
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    let begun = Instant::now();
    connection.rest().await;
    println!("from the wallet's revoke to the end of a stream at the edge: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    eventually("the upstream's side ends, too", || async { (upstream.open() == 0).then_some(()) }).await;
}

async fn a_websocket_goes_both_ways_and_ends_with_its_session(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let ask = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            tokens.access_token
        )
    };
    // After another request on the same connection, with bytes that come too early.
    let mut connection = edge.connect().await;
    connection
        .write(format!("GET /pub/x HTTP/1.1\r\nHost: a\r\n\r\n{}early", ask("/api/ws")).as_bytes())
        .await;
    connection.until("\"version\":\"HTTP/1.1\"}").await;
    let head = connection.until("\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    assert_eq!(connection.exactly(5).await, b"early");
    for n in 0..100u32 {
        // What looks like a request is none any more.
        let message = format!("GET /pub/{n} HTTP/1.1\nContent-Length: 1\r\n\0\r\n\r\n");
        connection.write(message.as_bytes()).await;
        assert_eq!(connection.exactly(message.len()).await, message.as_bytes());
    }
    assert_eq!(upstream.requests(), 2);

    // One that nobody switches goes on as HTTP.
    let mut plain = edge.connect().await;
    plain.write(ask("/api/x").as_bytes()).await;
    plain.until("\"version\":\"HTTP/1.1\"}").await;
    plain.write(b"GET /pub/again HTTP/1.1\r\nHost: a\r\n\r\n").await;
    plain.until("/pub/again").await;

    // Without a token there is none.
    let answer = edge
        .raw(ask("/api/ws").replace("Bearer ", "Bearer x").replace("keep-alive, ", "close, ").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    let begun = Instant::now();
    connection.rest().await;
    println!("from the wallet's revoke to the end of a WebSocket at the edge: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    eventually("the upstream's side ends, too", || async { (upstream.open() == 0).then_some(()) }).await;
}

async fn heads_of_every_kind_are_answered_right(world: World) {
    let early =
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (hints, coded) = (
        Upstream::answering(early),
        Upstream::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    );
    let more = [
        route("hints", "/hints", "public", &hints.url(), ""),
        route("coded", "/coded", "public", &coded.url(), ""),
    ];
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;

    // HEAD: the head of a GET, and no body.
    let head = edge.send(Method::HEAD, "/pub/x", |request| request).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let mut connection = edge.connect().await;
    connection
        .write(b"HEAD /pub/big HTTP/1.1\r\nHost: a\r\n\r\nGET /pub/x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    connection.until("\r\n\r\n").await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "no body stands between");

    // 1xx of the upstream are not the answer.
    assert_eq!(edge.send(Method::GET, "/hints", |request| request).await.is(200).text(), "ok");
    // An answer with both lengths leaves with one.
    let answer = edge.send(Method::GET, "/coded", |request| request).await;
    assert_eq!(
        (answer.is(200).text().as_str(), answer.header(reqwest::header::CONTENT_LENGTH)),
        ("ok", None)
    );

    // Trailers, for whoever takes them.
    let mut connection = edge.connect().await;
    connection
        .write(b"GET /pub/trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        .await;
    let answer = connection.until("x-sum: 42\r\n\r\n").await.to_lowercase();
    assert!(answer.contains("trailer: x-sum") && answer.contains("4\r\nbody\r\n0\r\n"), "{answer}");

    for (path, status, code) in [("/nowhere", 404, "not_found"), ("/", 404, "not_found")] {
        refused(&edge.send(Method::GET, path, |request| request).await, status, code, "");
    }
}

async fn two_hundred_megabytes_go_through_without_being_kept(world: World) {
    let (_upstream, edge, mut gateway, _shop) = everything(&world, "").await;
    let mut connection = edge.connect().await;
    connection.write(b"GET /pub/big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    connection.until("\r\n\r\n").await;
    let before = resident_kib(gateway.program().id());
    let mut length = 0;
    // 200 MB in chunks of this one size, and the chunks' own lines.
    while length < 3200 * 64 * 1024 {
        length += within("more comes", connection.exactly(1 << 20)).await.len();
    }
    let after = resident_kib(gateway.program().id());
    println!("200 MB: {before} KiB before, {after} KiB after");
    assert!(after < before + 16 * 1024, "{before} KiB became {after} KiB");
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

async fn an_upstream_that_hangs_dies_or_talks_nonsense_is_told_apart(world: World) {
    let nonsense = Upstream::answering(b"this is not HTTP\r\n\r\n");
    let nothing = Upstream::answering(b"");
    let away = {
        let gone = Upstream::start();
        gone.url()
    };
    let more = [
        route("nonsense", "/nonsense", "public", &nonsense.url(), ""),
        route("nothing", "/nothing", "public", &nothing.url(), ""),
        route("away", "/away", "public", &away, ""),
    ];
    let (upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;
    let get = |path: &'static str| edge.send(Method::GET, path, |request| request);

    let begun = Instant::now();
    refused(&get("/pub/hang").await, 504, "upstream_timeout", "");
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(4));
    eventually("it is not asked any more", || async { (upstream.open() == 0).then_some(()) }).await;
    refused(&get("/nonsense").await, 502, "upstream_failed", "");
    refused(&get("/nothing").await, 502, "upstream_failed", "");
    refused(&get("/away").await, 503, "upstream_unavailable", "");

    // And all the others go on.
    let answers = join_all((0..20).map(|_| get("/pub/x"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
}

async fn what_breaks_off_looks_broken_and_what_never_began_is_refused(world: World) {
    let answering = |text: &str| Upstream::answering(text.as_bytes());
    let (bare, short, chunk) = (
        answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"),
    );
    let half = answering("HTTP/1.1 200 OK\r\nContent-Le");
    let slow = "idle_timeout = \"300ms\"";
    let total = "total_timeout = \"1s\"\nfirst_byte_timeout = \"10s\"\nidle_timeout = \"10s\"";
    let (upstream, second) = (Upstream::start(), Upstream::start_http2());
    let more = [
        route("bare", "/bare", "public", &bare.url(), ""),
        route("short", "/short", "public", &short.url(), ""),
        route("chunk", "/chunk", "public", &chunk.url(), ""),
        route("half", "/half", "public", &half.url(), ""),
        route("slow", "/slow", "public", &upstream.url(), slow),
        route("total", "/total", "public", &upstream.url(), total),
        route("h2", "/h2", "public", &second.url(), &format!("protocol = \"h2c\"\n{slow}")),
    ];
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;
    let answers = async |path: &str, more: &str| {
        let hidden = "GET /pub/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        edge.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n{hidden}").as_bytes()).await
    };
    for _ in 0..20 {
        // Its head never came, or nothing behind it: there is an answer, and it is ours.
        let answer = answers("/half/x", "Connection: close\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_failed"), "{answer}");
        let answer = answers("/bare/x", "Connection: close\r\n").await;
        let broken = answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n");
        let refused = answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_failed");
        assert!(refused || broken, "{answer}");
    }
    // What dies in the middle of a body must not look whole: the connection is closed, and nothing follows on it.
    for (path, ends) in [
        ("/short/x", "short"),
        ("/chunk/x", "5\r\nshort\r\n"),
        ("/pub/die", "the first part\r\n"),
        ("/slow/stall", "the first part\r\n"),
        ("/total/stall", "the first part\r\n"),
        ("/h2/stall", "the first part\r\n"),
    ] {
        let answer = answers(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(ends), "{path}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{path}: {answer}");
    }
    // The same before a head: by the deadline, whichever is first.
    let begun = Instant::now();
    let hang = edge.send(Method::GET, "/total/hang", |request| request).await;
    refused(&hang, 504, "upstream_timeout", "");
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(5));
    for server in [&upstream, &second] {
        eventually("nothing is left under way", || async { (server.open() == 0).then_some(()) }).await;
    }
}

async fn interim_answers_of_an_upstream_are_passed_on(world: World) {
    let hints = Upstream::answering(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let only = Upstream::answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    let more = [
        route("hints", "/hints", "public", &hints.url(), ""),
        route("only", "/only", "public", &only.url(), ""),
    ];
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;
    // Each stands between answers, also of requests that were sent at once.
    let mut connection = edge.connect().await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    connection
        .write([ask("/pub/x"), ask("/hints/x"), ask("/pub/y"), ask("/hints/z")].concat().as_bytes())
        .await;
    for path in ["/pub/x", "/pub/y"] {
        assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 "), "{path}");
        assert!(connection.until("\"HTTP/1.1\"}").await.contains(path));
        for link in ["</a>", "</b>"] {
            let interim = connection.until("\r\n\r\n").await;
            assert_eq!(
                interim,
                format!("HTTP/1.1 103 Early Hints\r\nlink: {link}\r\n\r\n"),
                "and nothing else"
            );
        }
        let head = connection.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("link"), "{head}");
        assert_eq!(connection.exactly(2).await, b"ok");
    }
    // An older client does not know them, and a client that waits for its answer is told that there is none.
    let answer = edge.raw(b"GET /hints/x HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && !answer.contains("103"), "{answer}");
    let answer = edge
        .raw(
            format!(
                "{}{}",
                ask("/only/x"),
                ask("/pub/z").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
            )
            .as_bytes(),
        )
        .await;
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses[..3], ["103", "502", "200"], "{answer}");
}

async fn http2_goes_through_on_either_side(world: World) {
    let second = Upstream::start_http2();
    let more = route("h2", "/h2", "general", &second.url(), "protocol = \"h2c\"");
    let (_upstream, edge, gateway, shop) = everything(&world, &more).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    // HTTP/1 to HTTP/2.
    let answers = join_all((0..20).map(|i| {
        edge.send(Method::POST, "/h2/x", {
            let token = tokens.access_token.clone();
            move |request| request.bearer_auth(token).body(vec![b'x'; i * 1000])
        })
    }))
    .await;
    for (i, answer) in answers.iter().enumerate() {
        let said = answer.is(200).json();
        assert_eq!(
            (said["version"].as_str(), said["length"].as_u64()),
            (Some("HTTP/2.0"), Some(i as u64 * 1000))
        );
        assert_eq!(said["headers"]["x-miid-subject"][0], tokens.sub);
    }
    assert!(second.connections() <= 4, "they share connections: {}", second.connections());

    // HTTP/2 to both.
    let socket = tokio::net::TcpStream::connect(edge.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let driven = tokio::spawn(connection);
    let ask = |path: &'static str, build: fn(http::request::Builder) -> http::request::Builder| {
        let (mut sender, token) = (sender.clone(), tokens.access_token.clone());
        let request = http::Request::get(format!("http://{}{path}", edge.address()));
        let request = build(request.header("authorization", format!("Bearer {token}")));
        async move {
            let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            let status = answer.status();
            (status, answer.into_body().collect().await.unwrap().to_bytes())
        }
    };
    for path in ["/api/x", "/h2/x"] {
        let asked = |request: http::request::Builder| {
            request.header("cookie", "a=1").header("cookie", "b=2").header("x_miid_subject", "mallory")
        };
        let answers = join_all((0..20).map(|_| ask(path, asked))).await;
        for (status, body) in answers {
            assert_eq!(status, 200, "{path}");
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(said["headers"]["cookie"], serde_json::json!(["a=1; b=2"]));
            assert_eq!(said["headers"]["x-miid-subject"], serde_json::json!([tokens.sub]));
            assert!(!said.to_string().contains("mallory"));
        }
    }
    for path in ["/api/%2e%2e/x", "/api//x"] {
        assert_eq!(ask(path, |request| request).await.0, 400, "{path}");
    }
    assert_eq!(ask("/api/x", |request| request.header("host", "other")).await.0, 400);
    drop(sender);
    driven.abort();
}

async fn requests_are_named_and_traced(world: World) {
    let (_upstream, edge, mut gateway, shop) = everything(&world, "").await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = edge
        .send(Method::GET, "/api/x?secret=yes", |request| {
            request
                .bearer_auth(&tokens.access_token)
                .header("x-request-id", "mine-1")
                .header("traceparent", trace)
        })
        .await;
    let said = answer.is(200).json();
    assert_eq!(said["headers"]["x-request-id"][0], "mine-1");
    let passed = said["headers"]["traceparent"][0].as_str().unwrap();
    assert!(passed.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && passed != trace, "{passed}");
    let answer = edge.get("/api/x", "nonsense").await;
    let named = answer.headers.get("x-request-id").unwrap().to_str().unwrap().to_owned();
    assert_eq!(named.len(), 32);

    // The log names request, subject, route and verdict, and neither token nor path.
    let log = eventually("the log says so", || {
        let log = gateway.program().errors();
        std::future::ready(log.contains(&named).then_some(log))
    })
    .await;
    let line = log.lines().find(|line| line.contains("request_id=mine-1")).expect("a line");
    assert!(line.contains(&format!("subject={}", tokens.sub)) && line.contains("route=api"), "{line}");
    assert!(line.contains("status=200") && line.contains("verdict=ok"), "{line}");
    assert!(log.lines().any(|line| line.contains(&named) && line.contains("verdict=malformed")), "{log}");
    assert!(!log.contains("secret=yes") && !log.contains(&tokens.access_token));
}

async fn what_a_proxy_says_on_the_way_is_said_as_the_standards_want(world: World) {
    let second = Upstream::start_http2();
    let h2 = route("h2", "/h2", "public", &second.url(), "protocol = \"h2c\"");
    let (_upstream, edge, _gateway, _shop) = everything(&world, &h2).await;
    let said = async |path: &str, version: &str, more: &str| {
        let answer = edge
            .raw(
                format!("GET {path} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n{more}\r\n").as_bytes(),
            )
            .await;
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        serde_json::from_str::<Value>(body).expect("JSON")["headers"].clone()
    };
    // Via: behind those that were there.
    for path in ["/pub/x", "/h2/x"] {
        assert_eq!(said(path, "1.1", "").await["via"], json!(["1.1 miid-edge"]), "{path}");
        assert_eq!(said(path, "1.0", "").await["via"], json!(["1.0 miid-edge"]), "{path}");
        let before = said(path, "1.1", "Via: 2.0 front, 1.1 (middle)\r\n").await;
        assert_eq!(before["via"], json!(["2.0 front, 1.1 (middle)", "1.1 miid-edge"]), "{path}");
    }
    let mut frames = Frames::connect(&edge, 1 << 20).await;
    frames.get(1, "/pub/x", "none").await;
    let (_, body) = frames.answer(1).await.expect("an answer");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["headers"]["via"], json!(["2.0 miid-edge"]));

    // TE is named where it is for one connection only, and alone.
    let trailers = "TE: trailers\r\nConnection: TE, X-Private\r\nX-Private: 1\r\n";
    let there = said("/pub/x", "1.1", trailers).await;
    assert_eq!((&there["te"], &there["connection"]), (&json!(["trailers"]), &json!(["TE"])), "{there}");
    assert!(there["x-private"].is_null(), "{there}");
    let there = said("/h2/x", "1.1", trailers).await;
    assert!(there["te"] == json!(["trailers"]) && there["connection"].is_null(), "{there}");
    let there = said("/pub/x", "1.1", "TE: gzip\r\n").await;
    assert!(there["te"].is_null() && there["connection"].is_null(), "{there}");

    // What else is said of a trace goes on with it, and not with another.
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent =
        |version: &str, more: &str| format!("traceparent: {version}-{trace}-b7ad6b7169203331-01{more}\r\n");
    let state = "tracestate: vendor=1\r\n";
    for (given, goes_on) in [
        (parent("00", ""), true),
        (parent("01", "-more"), true),
        (String::new(), false),
        (parent("00", "-more"), false),
        (parent("ff", ""), false),
        ([parent("00", ""), parent("00", "")].concat(), false),
    ] {
        let there = said("/pub/x", "1.1", &format!("{given}{state}")).await;
        let passed = there["traceparent"][0].as_str().expect("one");
        assert_eq!(there["traceparent"].as_array().map(Vec::len), Some(1), "{given}: {there}");
        assert_eq!(passed.starts_with(&format!("00-{trace}-")), goes_on, "{given}: {there}");
        assert_eq!(there["tracestate"] == json!(["vendor=1"]), goes_on, "{given}: {there}");
        assert_eq!(there["tracestate"].is_null(), !goes_on, "{given}: {there}");
    }
}
