//! Bounds that hold whatever the other side does: a reader that takes nothing, an upload that never ends, an answer
//! that was asked for in another way, connections that became something else.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use miid_e2e::edge::{Raw, route};
use miid_e2e::frames::OK;
use miid_e2e::wait::within;
use miid_e2e::{Edge, Frames, Upstream, World, eventually, on_sqlite};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::edge::{everything, gateway, routes};

on_sqlite!(
    a_reader_over_http2_that_takes_nothing_holds_no_upstream_past_any_bound,
    a_reader_over_http1_that_takes_nothing_holds_no_upstream_past_any_bound,
    an_answer_that_was_asked_to_switch_ends_like_any_other,
    an_upload_ends_with_its_session,
    a_caller_who_is_slow_is_not_the_upstreams_failure,
    websockets_count_as_connections,
    websockets_over_http2_count_as_connections,
);

/// Streams of events and large answers, for three seconds at most.
fn short(upstream: &Upstream) -> String {
    route("short", "/short", "public", &upstream.url(), "total_timeout = \"3s\"")
}

async fn none_is_open(upstream: &Upstream, why: &str) {
    eventually(why, || async { (upstream.open() == 0).then_some(()) }).await;
}

async fn a_reader_over_http2_that_takes_nothing_holds_no_upstream_past_any_bound(world: World) {
    let second = Upstream::start_http2();
    let more = [
        route("short", "/short", "public", "UPSTREAM", "total_timeout = \"3s\""),
        route("h2", "/h2", "public", &second.url(), "protocol = \"h2c\"\ntotal_timeout = \"3s\""),
    ];
    let upstream = Upstream::start();
    let edge =
        Edge::new(&world, "edge", &routes(&upstream, &more.concat().replace("UPSTREAM", &upstream.url())));
    let (gateway, shop) = gateway(&world, &edge, &[]).await;
    for (path, upstream) in
        [("/short/sse", &upstream), ("/short/big", &upstream), ("/h2/sse", &second), ("/h2/big", &second)]
    {
        let mut frames = Frames::connect(&edge, 0).await;
        for stream in 0..50 {
            frames.get(2 * stream + 1, path, "none").await;
        }
        eventually("all of them are open", || async { (upstream.open() == 50).then_some(()) }).await;
        let staying = tokio::spawn(frames.stay());
        none_is_open(upstream, &format!("{path}: its time is over")).await;
        assert!(!staying.is_finished(), "{path}: the connection stays");
        staying.abort();
    }

    // The same, where a session ends.
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let mut frames = Frames::connect(&edge, 0).await;
    for stream in 0..20 {
        frames.get(2 * stream + 1, "/api/sse", &tokens.access_token).await;
    }
    eventually("all of them are open", || async { (upstream.open() == 20).then_some(()) }).await;
    let staying = tokio::spawn(frames.stay());
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    let begun = Instant::now();
    none_is_open(&upstream, "the session is over").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    staying.abort();

    // Who takes it is served, by the piece and as a whole.
    let mut frames = Frames::connect(&edge, 1 << 20).await;
    frames.get(1, "/pub/x", "none").await;
    let (status, body) = frames.answer(1).await.expect("an answer");
    assert!(status == OK && body.ends_with(b"}"));
}

async fn a_reader_over_http1_that_takes_nothing_holds_no_upstream_past_any_bound(world: World) {
    let upstream = Upstream::start();
    let edge = Edge::new(&world, "edge", &routes(&upstream, &short(&upstream)));
    let (gateway, shop) = gateway(&world, &edge, &[]).await;
    let mut connection = edge.connect().await;
    connection.write(b"GET /short/big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("it is under way", || async { (upstream.open() == 1).then_some(()) }).await;
    none_is_open(&upstream, "its time is over").await;

    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let mut connection = edge.connect().await;
    let token = &tokens.access_token;
    let request = format!("GET /api/big HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write(request.as_bytes()).await;
    eventually("it is under way", || async { (upstream.open() == 1).then_some(()) }).await;
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    none_is_open(&upstream, "the session is over").await;
}

async fn an_answer_that_was_asked_to_switch_ends_like_any_other(world: World) {
    let upstream = Upstream::start();
    let edge = Edge::new(&world, "edge", &routes(&upstream, &short(&upstream)));
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    for upgrade in [
        "",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let mut connection = edge.connect().await;
        let begun = Instant::now();
        connection.write(format!("GET /short/sse HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n").as_bytes()).await;
        connection.until("data: 1\n\n").await;
        connection.rest().await;
        assert!(begun.elapsed() >= Duration::from_millis(2900), "{upgrade:?}: {:?}", begun.elapsed());
        none_is_open(&upstream, "the upstream's side ends, too").await;
    }
}

async fn an_upload_ends_with_its_session(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let socket = tokio::net::TcpStream::connect(edge.address()).await.unwrap();
    let (mut from, mut to) = socket.into_split();
    let token = &tokens.access_token;
    let head = format!(
        "POST /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.unwrap();
    // A little at a time, for as long as it is taken.
    let sending = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while to.write_all(b"1\r\nx\r\n").await.is_ok() {
            pace.tick().await;
        }
    });
    eventually("it is under way", || async { (upstream.open() == 1).then_some(()) }).await;
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    let mut answer = String::new();
    let _ = within("the edge ends it", from.read_to_string(&mut answer)).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("\"revoked\""), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    none_is_open(&upstream, "the upstream hears no more of it").await;
    within("nobody takes any more", sending).await.unwrap();
}

async fn a_caller_who_is_slow_is_not_the_upstreams_failure(world: World) {
    let (first, second) = (Upstream::start(), Upstream::start());
    let one = format!("upstreams = [\"{}\"]", first.url());
    let two = format!("upstreams = [\"{}\", \"{}\"]", first.url(), second.url());
    let more = [
        route("total", "/total", "public", &first.url(), "total_timeout = \"1s\""),
        route("both", "/both", "public", &first.url(), "").replace(&one, &two),
    ];
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;
    let head = "POST /total/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    // More than it takes for an upstream to be left alone.
    let slow = (0..8).map(|_| async {
        let socket = tokio::net::TcpStream::connect(edge.address()).await.unwrap();
        let (mut from, mut to) = socket.into_split();
        to.write_all(head.as_bytes()).await.unwrap();
        let sending = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while to.write_all(b"1\r\nx\r\n").await.is_ok() {
                pace.tick().await;
            }
        });
        let mut answer = String::new();
        let _ = within("the edge ends it", from.read_to_string(&mut answer)).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"body_too_slow\""), "{answer}");
        within("nobody takes any more", sending).await.unwrap();
    });
    join_all(slow).await;
    let before = (first.requests(), second.requests());
    for _ in 0..4 {
        edge.send(Method::GET, "/both/x", |request| request).await.is(200);
    }
    assert_eq!((first.requests() - before.0, second.requests() - before.1), (2, 2), "both have their turns");
    // Who is asked, has it all, and does not answer is the one who is slow.
    let answer = edge.raw(b"POST /total/hang HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

async fn switched(connection: &mut Raw) {
    connection
        .write(b"GET /pub/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
}

async fn websockets_count_as_connections(world: World) {
    let upstream = Upstream::start();
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    let (_gateway, _shop) = gateway(&world, &edge, &["--edge-connections", "2"]).await;
    let (mut first, mut second) = (edge.connect().await, edge.connect().await);
    switched(&mut first).await;
    switched(&mut second).await;
    let mut third = edge.connect().await;
    third.write(b"GET /pub/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Both go on for much longer than a request takes.
    for _ in 0..200 {
        for connection in [&mut first, &mut second] {
            connection.write(b"hello").await;
            assert_eq!(connection.exactly(5).await, b"hello");
        }
    }
    assert_eq!(upstream.requests(), 2, "there is no room for a third");
    drop(first);
    assert!(third.until("\"HTTP/1.1\"}").await.starts_with("HTTP/1.1 200 "), "now there is");
}

async fn websockets_over_http2_count_as_connections(world: World) {
    let upstream = Upstream::start();
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    // One is the connection that they come over, and one is kept for the next to come.
    let (_gateway, _shop) = gateway(&world, &edge, &["--edge-connections", "4"]).await;
    let socket = tokio::net::TcpStream::connect(edge.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let ask = async |method: Method, path: &str| {
        let mut sender = sender.clone();
        let mut request = Request::builder().method(method.clone()).uri(format!("{}{path}", edge.origin()));
        if method == Method::CONNECT {
            request = request.extension(hyper::ext::Protocol::from_static("websocket"));
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        within("the edge answers", sender.send_request(request)).await.unwrap()
    };
    assert_eq!(ask(Method::GET, "/pub/x").await.status(), 200);
    let first = ask(Method::CONNECT, "/pub/ws").await;
    let second = ask(Method::CONNECT, "/pub/ws").await;
    assert_eq!((first.status(), second.status()), (reqwest::StatusCode::OK, reqwest::StatusCode::OK));
    let none_left = ask(Method::CONNECT, "/pub/ws").await;
    assert_eq!(none_left.status(), 503);
    assert_eq!(none_left.headers()["retry-after"], "1");
    assert_eq!(ask(Method::GET, "/pub/x").await.status(), 200, "requests go on");
    drop(hyper::upgrade::on(first).await.unwrap());
    eventually("there is room again", || async {
        (ask(Method::CONNECT, "/pub/ws").await.status() == 200).then_some(())
    })
    .await;
}
