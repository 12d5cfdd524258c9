//! A server behind the edge: it says what it was sent, and misbehaves on request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A running one, on a thread of its own; gone when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug, Default)]
struct State {
    requests: AtomicUsize,
    open: AtomicUsize,
    connections: AtomicUsize,
    sick: AtomicBool,
    leaving: Notify,
}

/// What it is asked to be.
#[derive(Debug, Clone)]
enum Manner {
    Http1,
    Http2 {
        websockets: bool,
    },
    /// HTTP/2, with one request at once on the first connection.
    OneByOne,
    /// Answers one request on each connection, and hangs up at the second.
    Once,
    /// Answers whatever comes with these bytes, and closes.
    Bytes(Arc<[u8]>),
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl Upstream {
    /// One that speaks HTTP/1.
    pub fn start() -> Self {
        Self::with(Manner::Http1)
    }

    /// One that speaks HTTP/2 without TLS, and nothing else.
    pub fn start_http2() -> Self {
        Self::with(Manner::Http2 { websockets: true })
    }

    /// The same, which takes no WebSockets.
    pub fn start_http2_without_websockets() -> Self {
        Self::with(Manner::Http2 { websockets: false })
    }

    /// The same, which takes the next request of its first connection once the one before is answered.
    pub fn start_http2_one_by_one() -> Self {
        Self::with(Manner::OneByOne)
    }

    /// One that answers one request on each connection, keeps it open, and hangs up when it hears a second.
    pub fn hanging_up() -> Self {
        Self::with(Manner::Once)
    }

    /// One that answers every request with these bytes, whatever they are, and closes.
    pub fn answering(bytes: &[u8]) -> Self {
        Self::with(Manner::Bytes(bytes.into()))
    }

    fn with(manner: Manner) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let state = Arc::new(State::default());
        let listener = listener_of(&runtime);
        let address = listener.local_addr().expect("an address");
        runtime.spawn(accept(listener, manner, state.clone()));
        Self { address, state, runtime: Some(runtime) }
    }

    /// As a route names it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that came so far.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Connections that came so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Requests under way.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Says on all its connections, where they are [one by one](Self::start_http2_one_by_one), that it goes away.
    pub fn go_away(&self) {
        self.state.leaving.notify_waiters();
    }

    /// What it says when it is asked how it is.
    pub fn be_sick(&self, sick: bool) {
        self.state.sick.store(sick, Ordering::SeqCst);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A listener that belongs to a runtime which nobody is in.
fn listener_of(runtime: &tokio::runtime::Runtime) -> TcpListener {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.set_nonblocking(true).expect("a listener that does not block");
    let _inside = runtime.enter();
    TcpListener::from_std(listener).expect("a listener")
}

async fn accept(listener: TcpListener, manner: Manner, state: Arc<State>) {
    loop {
        let Ok((mut socket, _)) = listener.accept().await else { return };
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (manner, state) = (manner.clone(), state.clone());
        tokio::spawn(async move {
            match manner {
                Manner::Http1 => {
                    let service = service_fn(move |request| answer(request, state.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .with_upgrades()
                        .await;
                }
                Manner::Http2 { websockets } => {
                    let service = service_fn(move |request| answer(request, state.clone()));
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    if websockets {
                        builder.enable_connect_protocol();
                    }
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                }
                Manner::OneByOne => {
                    let at_once = if state.connections.load(Ordering::SeqCst) == 1 { 1 } else { 100 };
                    let leaving = state.clone();
                    let service = service_fn(move |request| answer(request, state.clone()));
                    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(socket);
                    let mut connection =
                        pin!(builder.max_concurrent_streams(at_once).serve_connection(io, service));
                    tokio::select! {
                        _ = &mut connection => return,
                        () = leaving.leaving.notified() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                }
                Manner::Once => {
                    let mut request = [0; 4096];
                    for turn in 0..2 {
                        if !matches!(socket.read(&mut request).await, Ok(1..)) {
                            return;
                        }
                        state.requests.fetch_add(1, Ordering::SeqCst);
                        if turn == 0 {
                            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                        }
                    }
                }
                Manner::Bytes(bytes) => {
                    let mut request = [0; 4096];
                    if matches!(socket.read(&mut request).await, Ok(1..)) {
                        state.requests.fetch_add(1, Ordering::SeqCst);
                        let _ = socket.write_all(&bytes).await;
                    }
                }
            }
        });
    }
}

/// Counts a request as under way until it is over, answered or not.
struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(mut request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    state.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(state.clone());
    let path = request.uri().path().to_owned();
    let last = path.rsplit('/').next().unwrap_or_default();
    Ok(match last {
        "healthz" => {
            let status = if state.sick.load(Ordering::SeqCst) { 503 } else { 200 };
            plain(StatusCode::from_u16(status).expect("a status"), "")
        }
        "hang" => {
            std::future::pending::<()>().await;
            drop(open);
            plain(StatusCode::OK, "")
        }
        "die" => body(stream::iter(0..2).then(|n| async move {
            if n == 0 {
                return Ok(Frame::data(Bytes::from_static(b"the first part")));
            }
            // Only what was written is seen by anybody.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(std::io::Error::other("dies"))
        })),
        "stall" => {
            body(stream::once(async { Ok(Frame::data(Bytes::from_static(b"the first part"))) }).chain(
                stream::once(async move {
                    std::future::pending::<()>().await;
                    drop(open);
                    Err(std::io::Error::other("never"))
                }),
            ))
        }
        "big" => {
            // 200 MB, made as they are taken.
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            body(stream::iter((0..3200).map(move |_| {
                let _under_way = &open;
                Ok(Frame::data(piece.clone()))
            })))
        }
        "sse" => {
            let events = stream::unfold((0, open), |(n, open)| async move {
                if n > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Some((Ok(Frame::data(Bytes::from(format!("data: {n}\n\n")))), (n + 1, open)))
            });
            let mut response = body(events);
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
            response
        }
        "trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            let frames = [Ok(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))];
            let mut response = body(stream::iter(frames));
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            response
        }
        "ws" => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let _open = open;
                let Ok(upgraded) = upgraded.await else { return };
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
            switched(&request)
        }
        _ => return Ok(echo(request).await),
    })
}

/// The answer to who asks for a WebSocket, in either version; what it was sent stands in `x-said`.
fn switched(request: &Request<Incoming>) -> Response<Body> {
    let protocol = request.extensions().get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str);
    let mut response = match (request.method().as_str(), protocol) {
        ("GET", None) => {
            let mut response = plain(StatusCode::SWITCHING_PROTOCOLS, "");
            let key =
                request.headers().get("sec-websocket-key").map(HeaderValue::as_bytes).unwrap_or_default();
            let guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
            let digest = sha1::Sha1::new().chain_update(key).chain_update(guid).finalize();
            let accept = base64::engine::general_purpose::STANDARD.encode(digest);
            for (name, value) in
                [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", &accept)]
            {
                response.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
            }
            response
        }
        ("CONNECT", Some("websocket")) => plain(StatusCode::OK, ""),
        other => panic!("this asks for no WebSocket: {other:?}"),
    };
    let said = fields(request.headers()).to_string();
    response.headers_mut().insert("x-said", HeaderValue::from_str(&said).expect("JSON is text"));
    response
}

/// Everything that was sent, as JSON.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, mut incoming) = request.into_parts();
    let (mut length, mut digest, mut trailers) = (0u64, Sha256::new(), HeaderMap::new());
    let mut pieces = 0;
    while let Some(Ok(frame)) = incoming.frame().await {
        match frame.into_data() {
            Ok(data) => {
                (length, pieces) = (length + data.len() as u64, pieces + 1);
                digest.update(&data);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    let said = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.path_and_query().map(ToString::to_string),
        "version": format!("{:?}", parts.version),
        "headers": fields(&parts.headers),
        "trailers": fields(&trailers),
        "length": length,
        "pieces": pieces,
        "sha256": miid_protocol::jws::encode(&digest.finalize()),
    });
    let mut response = plain(StatusCode::OK, &said.to_string());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response.headers_mut().insert("connection", HeaderValue::from_static("keep-alive, x-hop"));
    response.headers_mut().insert("x-hop", HeaderValue::from_static("ends here"));
    response
}

fn fields(headers: &HeaderMap) -> serde_json::Value {
    let mut fields = serde_json::Map::new();
    for name in headers.keys() {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
            .collect();
        fields.insert(name.to_string(), json!(values));
    }
    fields.into()
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let full = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(full.boxed_unsync());
    *response.status_mut() = status;
    response
}

fn body(frames: impl Stream<Item = std::io::Result<Frame<Bytes>>> + Send + 'static) -> Response<Body> {
    Response::new(StreamBody::new(frames).boxed_unsync())
}
