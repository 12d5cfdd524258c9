//! HTTP/2 at the edge, from callers and to upstreams: WebSockets (RFC 8441), bodies and streams that go on while
//! others do, and answers that break off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use miid_e2e::edge::route;
use miid_e2e::wait::within;
use miid_e2e::{Edge, Upstream, World, eventually, on_sqlite};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::edge::everything;

on_sqlite!(
    a_websocket_over_http2_reaches_upstreams_of_either_version,
    a_websocket_over_http1_reaches_an_upstream_of_http2,
    a_websocket_over_http2_ends_with_its_session,
    only_websockets_are_connected_to,
    bodies_and_streams_go_on_beside_each_other_over_http2,
    an_answer_that_breaks_off_over_http2_is_reset,
    what_waits_for_an_upstream_over_http2_that_goes_away_is_asked_again,
);

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A connection of HTTP/2 to the edge.
#[derive(Clone)]
struct Client {
    sender: SendRequest<Body>,
    origin: String,
}

impl Client {
    async fn connect(edge: &Edge) -> Self {
        let socket = tokio::net::TcpStream::connect(edge.address()).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, origin: edge.origin() }
    }

    fn request(&self, method: Method, path: &str, token: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.origin));
        request.header("authorization", format!("Bearer {token}"))
    }

    async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        let mut sender = self.sender.clone();
        within("the edge answers", async { sender.send_request(request).await }).await.unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> Response<Incoming> {
        self.send(self.request(Method::GET, path, token).body(none()).unwrap()).await
    }

    /// Extended CONNECT.
    async fn connect_to(
        &self,
        protocol: Option<&'static str>,
        path: &str,
        token: &str,
    ) -> Response<Incoming> {
        let mut request = self.request(Method::CONNECT, path, token).header("sec-websocket-version", "13");
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        self.send(request.body(none()).unwrap()).await
    }
}

fn none() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// What is sent comes back.
async fn echoes(socket: &mut TokioIo<Upgraded>) {
    for length in [1usize, 100, 70_000, 300_000] {
        let message: Vec<u8> = (0..length).map(|i| (i * 31 % 253) as u8).collect();
        let mut back = vec![0; length];
        let (mut from, mut to) = tokio::io::split(&mut *socket);
        let (wrote, read) = within("the echo comes", async {
            tokio::join!(
                async {
                    to.write_all(&message).await?;
                    to.flush().await
                },
                from.read_exact(&mut back)
            )
        })
        .await;
        wrote.unwrap();
        assert_eq!(read.unwrap(), length);
        assert!(back == message, "{length} bytes came back as others");
    }
}

async fn a_websocket_over_http2_reaches_upstreams_of_either_version(world: World) {
    let second = Upstream::start_http2();
    let h2 = route("h2", "/h2", "general", &second.url(), "protocol = \"h2c\"\nmethods = [\"GET\"]");
    let (_upstream, edge, gateway, shop) = everything(&world, &h2).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let client = Client::connect(&edge).await;
    // Once around, so that it is known what the edge takes.
    assert_eq!(client.get("/api/x", &tokens.access_token).await.status(), 200);
    for path in ["/api/ws", "/h2/ws", "/h2/ws"] {
        let answer = client.connect_to(Some("websocket"), path, &tokens.access_token).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers().get("sec-websocket-accept").is_none(), "there was no key");
        let said: Value = serde_json::from_str(answer.headers()["x-said"].to_str().unwrap()).unwrap();
        assert_eq!(said["x-miid-subject"][0], tokens.sub, "{path}");
        assert_eq!(said["sec-websocket-version"][0], "13");
        assert_eq!(said["sec-websocket-key"].is_null(), path == "/h2/ws", "{path}: {said}");
        echoes(&mut TokioIo::new(hyper::upgrade::on(answer).await.unwrap())).await;
    }
    assert!(second.connections() <= 2, "WebSockets share a connection: {}", second.connections());
    // Beside them requests go on.
    assert_eq!(client.get("/h2/x", &tokens.access_token).await.status(), 200);
    let answer = client.connect_to(Some("websocket"), "/api/ws", "nonsense").await;
    assert_eq!(answer.status(), 401);
    // Who does not switch has not said yes, whatever it says.
    let answer = client.connect_to(Some("websocket"), "/api/x", &tokens.access_token).await;
    assert_eq!(answer.status(), 502);
}

async fn a_websocket_over_http1_reaches_an_upstream_of_http2(world: World) {
    let (second, without) = (Upstream::start_http2(), Upstream::start_http2_without_websockets());
    let more = [
        route("h2", "/h2", "general", &second.url(), "protocol = \"h2c\""),
        route("no", "/no", "public", &without.url(), "protocol = \"h2c\"\nconnect_timeout = \"500ms\""),
    ];
    let (_upstream, edge, gateway, shop) = everything(&world, &more.concat()).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let ask = |path: &str, key: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{key}\r\n",
            tokens.access_token
        )
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut connection = edge.connect().await;
    connection.write(ask("/h2/ws", key).as_bytes()).await;
    let head = connection.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    assert!(!head.contains("sec-websocket-key"), "an upstream of HTTP/2 is sent no key: {head}");
    connection.write(b"there and back").await;
    assert_eq!(connection.exactly(14).await, b"there and back");
    drop(connection);
    eventually("the upstream's side ends", || async { (second.open() == 0).then_some(()) }).await;

    let answer = edge.raw(ask("/h2/ws", "").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // One that does not say that it takes WebSockets is not asked.
    let mut connection = edge.connect().await;
    connection.write(ask("/no/ws", key).as_bytes()).await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 502 "));
    assert_eq!(without.requests(), 0);
}

async fn a_websocket_over_http2_ends_with_its_session(world: World) {
    let second = Upstream::start_http2();
    let h2 = route("h2", "/h2", "general", &second.url(), "protocol = \"h2c\"");
    let (upstream, edge, gateway, shop) = everything(&world, &h2).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let client = Client::connect(&edge).await;
    assert_eq!(client.get("/api/x", &tokens.access_token).await.status(), 200);
    let mut open = Vec::new();
    for path in ["/api/ws", "/h2/ws"] {
        let answer = client.connect_to(Some("websocket"), path, &tokens.access_token).await;
        let mut socket = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        echoes(&mut socket).await;
        open.push(socket);
    }
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    let begun = Instant::now();
    for mut socket in open {
        let mut rest = Vec::new();
        let _ = within("it ends", socket.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
    println!("from the wallet's revoke to the end of WebSockets over HTTP/2: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for server in [&upstream, &second] {
        eventually("the upstream's side ends, too", || async { (server.open() == 0).then_some(()) }).await;
    }
    // The connection itself is not the session's.
    assert_eq!(client.get("/api/x", &tokens.access_token).await.status(), 401);
}

async fn only_websockets_are_connected_to(world: World) {
    let (upstream, edge, gateway, shop) = everything(&world, "").await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let client = Client::connect(&edge).await;
    assert_eq!(client.get("/pub/x", &tokens.access_token).await.status(), 200);
    let before = upstream.requests();
    for protocol in [Some("connect-udp"), Some("webtransport"), None] {
        let answer = client.connect_to(protocol, "/pub/ws", &tokens.access_token).await;
        assert_eq!(answer.status(), 400, "{protocol:?}");
    }
    assert_eq!(upstream.requests(), before, "nobody behind saw any of it");
}

async fn bodies_and_streams_go_on_beside_each_other_over_http2(world: World) {
    const PIECES: usize = 200;
    let second = Upstream::start_http2();
    let h2 = route("h2", "/h2", "general", &second.url(), "protocol = \"h2c\"\nmax_body = 100000000");
    let (_upstream, edge, gateway, shop) = everything(&world, &h2).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let client = Client::connect(&edge).await;
    for prefix in ["/api", "/h2"] {
        let mut events = client.get(&format!("{prefix}/sse"), &tokens.access_token).await.into_body();
        // 13 MB up, piece by piece, each of which is asked for by an event that came down meanwhile.
        let (more, pieces) = futures_util::stream::unfold(0, |n| async move {
            (n < PIECES).then(|| (Ok(Frame::data(Bytes::from(vec![b'x'; 65_536]))), n + 1))
        })
        .chunks(PIECES / 10)
        .fold((Vec::new(), 0), |(mut all, count), chunk| async move {
            all.push(chunk);
            (all, count + 1)
        })
        .await;
        assert_eq!(pieces, 10);
        let (wanted, asks) = tokio::sync::mpsc::unbounded_channel::<()>();
        let asks =
            futures_util::stream::unfold(asks, |mut asks| async move { Some((asks.recv().await?, asks)) });
        let body = asks
            .zip(futures_util::stream::iter(more))
            .flat_map(|((), chunk)| futures_util::stream::iter(chunk));
        let request = client.request(http::Method::POST, &format!("{prefix}/x"), &tokens.access_token);
        let sent = client.send(request.body(StreamBody::new(body).boxed_unsync()).unwrap());
        let driving = async {
            for _ in 0..10 {
                let frame = within("an event comes", events.frame()).await.unwrap().unwrap();
                assert!(frame.into_data().unwrap().starts_with(b"data: "));
                wanted.send(()).unwrap();
            }
            drop(wanted);
        };
        let (answer, ()) = tokio::join!(sent, driving);
        assert_eq!(answer.status(), StatusCode::OK, "{prefix}");
        let said: Value =
            serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(said["length"], PIECES * 65_536, "{prefix}");
        // And down.
        let mut length = 0;
        let mut big = client.get(&format!("{prefix}/big"), &tokens.access_token).await.into_body();
        while length < 20_000_000 {
            let frame = within("more comes", big.frame()).await.unwrap().unwrap();
            length += frame.into_data().unwrap().len();
        }
    }
}

async fn an_answer_that_breaks_off_over_http2_is_reset(world: World) {
    let (second, short) = (
        Upstream::start_http2(),
        Upstream::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
    );
    let more = [
        route("h2", "/h2", "public", &second.url(), "protocol = \"h2c\"\nidle_timeout = \"300ms\""),
        route("short", "/short", "public", &short.url(), ""),
    ];
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;
    let client = Client::connect(&edge).await;
    for path in ["/pub/die", "/pub/stall", "/h2/die", "/h2/stall", "/short"] {
        let answer = client.get(path, "").await;
        if answer.status() == 502 {
            assert!(path.ends_with("/die") || path == "/short", "{path}");
            continue;
        }
        assert_eq!(answer.status(), 200, "{path}");
        let broken = within("it breaks off", answer.into_body().collect()).await;
        assert!(broken.is_err(), "{path} must not look whole");
    }
    // The connection is no worse for it.
    assert_eq!(client.get("/pub/x", "").await.status(), 200);
}

async fn what_waits_for_an_upstream_over_http2_that_goes_away_is_asked_again(world: World) {
    let (leaving, other) = (Upstream::start_http2_one_by_one(), Upstream::start_http2_one_by_one());
    let one = format!("upstreams = [\"{}\"]", leaving.url());
    let two = format!("upstreams = [\"{}\", \"{}\"]", leaving.url(), other.url());
    let more = [
        route("leaving", "/leaving", "public", &leaving.url(), "protocol = \"h2c\""),
        route("both", "/both", "public", &leaving.url(), "protocol = \"h2c\"").replace(&one, &two),
    ];
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more.concat()).await;
    let client = Client::connect(&edge).await;
    assert_eq!(client.get("/leaving/x", "").await.status(), 200);
    let ask = |path: String| {
        let client = client.clone();
        tokio::spawn(async move {
            let request = client.request(Method::GET, &path, "").body(none()).unwrap();
            client.sender.clone().send_request(request).await.map(|answer| answer.status())
        })
    };
    let hanging = ask("/leaving/hang".into());
    eventually("the connection is taken", || async { (leaving.open() == 1).then_some(()) }).await;
    // One is next on the connection, and the others wait for it; more than it takes to be left alone.
    let waiting: Vec<_> = (0..8).map(|i| ask(format!("/leaving/{i}"))).collect();
    // At the same worker, after them.
    assert_eq!(client.get("/pub/x", "").await.status(), 200);
    assert_eq!(leaving.requests(), 2, "they wait");
    leaving.go_away();
    for waits in waiting {
        let status = within("it is answered", waits).await.unwrap().unwrap();
        assert_eq!(status, 200);
    }
    assert_eq!((leaving.requests(), leaving.connections()), (10, 2), "each once, over another connection");
    hanging.abort();
    // And none of it was its failure.
    let before = leaving.requests();
    for _ in 0..4 {
        assert_eq!(client.get("/both/x", "").await.status(), 200);
    }
    assert_eq!(leaving.requests() - before, 2, "it has its turns");
}
