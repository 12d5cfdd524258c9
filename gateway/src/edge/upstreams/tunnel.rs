//! A connection that became a WebSocket: bytes both ways, until either side ends, nothing is said for too long,
//! or the session behind it is over. Callers ask for it over HTTP/1.1 (`Upgrade`, RFC 6455) or HTTP/2 (extended
//! `CONNECT`, RFC 8441), and so does the edge of an upstream, whichever it speaks: what differs is only how it
//! begins.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::ext::Protocol as ConnectTo;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forward::{Outgoing, Patience, begin, bounds, uri, version};
use super::headers::drop_hop_by_hop;
use super::pool::{self, ConnectError, Link};
use super::request_body::{Fate, RequestBody};
use super::response_body::{Endless, ResponseBody};
use crate::clock;
use crate::edge::refusal::Refusal;
use crate::edge::routes::route::{Protocol, Route, Upstream};
use crate::edge::tokens::access::Access;
use crate::edge::wire::caller::Caller;
use crate::edge::wire::gate::Talk;
use crate::edge::wire::head::{self, Wrong};
use crate::edge::wire::rarely::Alarm;

/// Bytes carried at once.
const PIECE: usize = 16 * 1024;
/// What the answer to a key is made of beside the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How a caller asked.
pub(crate) enum Asked {
    /// By `Upgrade`; the gate holds back what follows.
    Upgrade(Talk),
    /// By extended `CONNECT`.
    Connect,
}

impl Asked {
    /// Whether a request asks to become a WebSocket: over HTTP/1 by the same rule as [`crate::edge::wire::head`]. A `CONNECT`
    /// to anything else goes nowhere.
    pub(crate) fn by(request: &Request<Incoming>, talk: Option<Talk>) -> Result<Option<Self>, Refusal> {
        if *request.method() == Method::CONNECT {
            let websocket = |to: &ConnectTo| to.as_ref().eq_ignore_ascii_case(b"websocket");
            return match request.extensions().get::<ConnectTo>().is_some_and(websocket) {
                true => Ok(Some(Self::Connect)),
                false => Err(Refusal::Malformed(Wrong::Connect)),
            };
        }
        // The gate holds back what follows a request that asks; where it does not, nobody switches.
        let asked = |talk: &Talk| {
            talk.holds()
                && request.body().is_end_stream()
                && is_upgrade(request.method(), request.version(), request.headers())
        };
        Ok(talk.filter(asked).map(Self::Upgrade))
    }
}

fn is_upgrade(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    let word = |name, wanted: &[u8]| {
        headers.get_all(name).iter().any(|value: &HeaderValue| head::has_word(value.as_bytes(), wanted))
    };
    *method == Method::GET
        && version == Version::HTTP_11
        && word(UPGRADE, b"websocket")
        && word(CONNECTION, b"upgrade")
}

impl Outgoing<'_> {
    /// Asks an upstream to switch; where it does, both connections are joined.
    pub(crate) async fn tunnel(
        mut self,
        caller: OnUpgrade,
        asked: Asked,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let route = self.route.clone();
        // What lasts like a connection counts like one: over HTTP/1 it is the caller's own, over HTTP/2 one of many.
        let current = Caller::current();
        let (own, another) = match (&asked, current) {
            (Asked::Upgrade(_), current) => (current.and_then(|caller| caller.seat()), None),
            (Asked::Connect, None) => (None, None),
            (Asked::Connect, Some(caller)) => (None, Some(caller.another_seat().ok_or(Refusal::Full)?)),
        };
        let theirs = self.headers.remove(SEC_WEBSOCKET_KEY);
        if theirs.is_none() && matches!(asked, Asked::Upgrade(_)) {
            return Err(Refusal::Ambiguous("Sec-WebSocket-Key is missing"));
        }
        // Over HTTP/2 there is no key, so that towards HTTP/1 it is ours.
        let key = theirs.clone().unwrap_or_else(fresh_key);
        let begun = Instant::now();
        let (mut response, upstream) = self.ask(&route, &key, begun).await?;
        upstream.well.answered();
        route.metrics().upstream.record(begun.elapsed().as_secs_f64());
        let switched = match route.protocol {
            Protocol::Http1 => response.status() == StatusCode::SWITCHING_PROTOCOLS,
            Protocol::H2c => response.status() == StatusCode::OK,
        };
        if !switched {
            // Whoever asked by CONNECT would take it for a yes.
            if matches!(asked, Asked::Connect) && response.status().is_success() {
                return Err(Refusal::BadGateway);
            }
            drop_hop_by_hop(response.headers_mut());
            let bounds = bounds(&response, &route, begun, self.access, self.stopping);
            return begin(response, None, bounds).await;
        }
        if route.protocol == Protocol::Http1 && !keeps_the_handshake(response.headers(), &key) {
            return Err(Refusal::BadGateway);
        }
        let behind = hyper::upgrade::on(&mut response);
        drop_hop_by_hop(response.headers_mut());
        response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        match asked {
            Asked::Upgrade(talk) => {
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *response.version_mut() = Version::HTTP_11;
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_ACCEPT, accepted(&key));
                talk.switch();
            }
            Asked::Connect => {
                *response.status_mut() = StatusCode::OK;
                *response.version_mut() = Version::HTTP_2;
            }
        }
        let joined = join(caller, behind, self.access, route.timeouts.idle, self.stopping.clone());
        tokio::spawn(async move {
            joined.await;
            drop((own, another));
        });
        Ok(response.map(|_| ResponseBody::ours(None)))
    }

    /// The answer of the first upstream that can be reached: nothing was sent to those before.
    async fn ask<'u>(
        &mut self,
        route: &'u Route,
        key: &HeaderValue,
        begun: Instant,
    ) -> Result<(Response<Incoming>, &'u Upstream), Refusal> {
        let (mut tried, fate) = (Vec::new(), Fate::default());
        let access = self.access.as_ref().map(|(access, _)| access.clone());
        loop {
            let (chosen, upstream) = route.choose(&tried).ok_or(Refusal::NoUpstream)?;
            let sender = match Sender::open(route, upstream).await {
                Ok(sender) => sender,
                Err(refusal) => {
                    upstream.well.failed();
                    tried.push(chosen);
                    if tried.len() < route.upstreams.len() && tried.len() as u32 <= route.retries {
                        continue;
                    }
                    return Err(refusal);
                }
            };
            let request = self.request(route.protocol, key)?;
            let patience = Patience::new(route, begun, Instant::now(), access.as_deref(), &fate);
            let mut answer = pin!(sender.send(request));
            return match patience.wait(&mut Alarm::default(), |cx| answer.as_mut().poll(cx)).await {
                Ok(Ok(response)) => Ok((response, upstream)),
                Ok(Err(_)) => {
                    upstream.well.failed();
                    Err(Refusal::BadGateway)
                }
                Err(refusal) => {
                    if matches!(refusal, Refusal::Timeout) {
                        upstream.well.failed();
                    }
                    Err(refusal)
                }
            };
        }
    }

    /// The request in the upstream's version.
    fn request(&mut self, protocol: Protocol, key: &HeaderValue) -> Result<Request<RequestBody>, Refusal> {
        let mut request = Request::new(RequestBody::none());
        *request.uri_mut() = uri(protocol, self.target.clone(), &self.host)?;
        *request.version_mut() = version(protocol);
        *request.headers_mut() = std::mem::take(&mut self.headers);
        match protocol {
            Protocol::Http1 => {
                let headers = request.headers_mut();
                // Nothing else that is for this connection only.
                headers.remove(TE);
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_KEY, key.clone());
            }
            Protocol::H2c => {
                *request.method_mut() = Method::CONNECT;
                request.extensions_mut().insert(ConnectTo::from_static("websocket"));
            }
        }
        Ok(request)
    }
}

/// A connection on which an upstream can be asked to switch.
enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<RequestBody>),
    Http2(hyper::client::conn::http2::SendRequest<RequestBody>),
}

impl Sender {
    async fn open(route: &Route, upstream: &Upstream) -> Result<Self, Refusal> {
        let within = route.timeouts.connect;
        let away = |error: ConnectError| match error {
            ConnectError::Timeout => Refusal::Timeout,
            ConnectError::Io(_) | ConnectError::Hyper(_) => Refusal::NoUpstream,
        };
        match route.protocol {
            Protocol::Http1 => Link::open_to_upgrade(upstream, within).await.map(Self::Http1).map_err(away),
            Protocol::H2c => {
                let mut fresh = false;
                loop {
                    let (mut shared, used) = pool::shared(upstream, within).await.map_err(away)?;
                    let ready = tokio::time::timeout(within, async {
                        shared.connects().await && shared.sender.ready().await.is_ok()
                    });
                    match ready.await {
                        Ok(true) => return Ok(Self::Http2(shared.sender)),
                        // That an old connection went away says nothing about the upstream: once more.
                        Ok(false) if used && !fresh => {
                            shared.give_up();
                            fresh = true;
                        }
                        Ok(false) => return Err(Refusal::NoUpstream),
                        // One that does not say that it can be asked is not asked (RFC 8441, section 3).
                        Err(_) => return Err(Refusal::BadGateway),
                    }
                }
            }
        }
    }

    async fn send(self, request: Request<RequestBody>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(mut sender) => sender.send_request(request).await,
            Self::Http2(mut sender) => sender.send_request(request).await,
        }
    }
}

/// A key of our own: 16 random bytes (RFC 6455, section 4.1).
fn fresh_key() -> HeaderValue {
    let text = STANDARD.encode(clock::random::<16>());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What an answer to this key says.
fn accepted(key: &HeaderValue) -> HeaderValue {
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    let text = STANDARD.encode(digest);
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether an upstream switched to what it was asked for, having read the request.
fn keeps_the_handshake(headers: &HeaderMap, key: &HeaderValue) -> bool {
    headers.get(UPGRADE).is_some_and(|kind| kind.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && headers.get(SEC_WEBSOCKET_ACCEPT) == Some(&accepted(key))
}

/// Carries bytes until one of them has enough.
async fn join(
    caller: OnUpgrade,
    behind: OnUpgrade,
    access: Option<(Arc<Access>, Instant)>,
    idle: Duration,
    stopping: CancellationToken,
) {
    let (Ok(caller), Ok(behind)) = tokio::join!(caller, behind) else { return };
    let (from_caller, to_caller) = tokio::io::split(TokioIo::new(caller));
    let (from_behind, to_behind) = tokio::io::split(TokioIo::new(behind));
    // Either direction shows that both live.
    let beat = tokio::sync::watch::Sender::new(Instant::now());
    let (closing, until) = match &access {
        Some((access, until)) => (access.lease.closing(), Some(*until)),
        None => (CancellationToken::new(), None),
    };
    let quiet = async {
        loop {
            let last = *beat.borrow();
            if last.elapsed() >= idle {
                return;
            }
            tokio::time::sleep_until(last + idle).await;
        }
    };
    tokio::select! {
        () = async { tokio::join!(carry(from_caller, to_behind, &beat), carry(from_behind, to_caller, &beat)); } => {}
        () = closing.cancelled() => {}
        () = Endless::over(until, stopping) => {}
        () = quiet => {}
    }
}

async fn carry(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    beat: &tokio::sync::watch::Sender<Instant>,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        beat.send_replace(Instant::now());
        if to.write_all(&piece[..length]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lists of words, most of which mean something to somebody, with bytes that are no text.
    fn list() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just(b"websocket".to_vec()),
            Just(b"WebSocket".to_vec()),
            Just(b"upgrade".to_vec()),
            Just(b"Upgrade".to_vec()),
            Just(b"h2c".to_vec()),
            Just(b"x\xff".to_vec()),
            Just(b"websocket/13".to_vec()),
            prop::collection::vec(prop_oneof![Just(b'\t'), 0x20u8..=0x7e, 0x80u8..=0xff], 0..4),
        ];
        let space = prop_oneof![Just(b",".to_vec()), Just(b", ".to_vec()), Just(b"\t,\t".to_vec())];
        prop::collection::vec((word, space), 0..4)
            .prop_map(|parts| parts.into_iter().flat_map(|(word, space)| [word, space]).flatten().collect())
    }

    proptest! {
        /// The gate holds back what follows a request; were it to see another request than those who answer, it
        /// would do so for ever, or let through what is no HTTP.
        #[test]
        fn the_gate_and_the_tunnel_agree_about_who_asks(
            upgrades in prop::collection::vec(list(), 0..3),
            connections in prop::collection::vec(list(), 0..3),
        ) {
            let mut text = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
            let mut headers = HeaderMap::new();
            for (name, values) in [(UPGRADE, upgrades), (CONNECTION, connections)] {
                for value in values {
                    text.extend([name.as_str().as_bytes(), b": ", &value, b"\r\n"].concat());
                    let value = HeaderValue::from_bytes(value.trim_ascii()).expect("a value");
                    headers.append(&name, value);
                }
            }
            text.extend(b"\r\n");
            let head = head::read(&text).expect("a head");
            prop_assert_eq!(head.upgrade, is_upgrade(&Method::GET, Version::HTTP_11, &headers));
        }
    }

    #[test]
    fn an_answer_to_a_key_is_that_of_the_standard() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        assert!(!keeps_the_handshake(&headers, &key), "it does not show that it read the key");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accepted(&key));
        assert!(keeps_the_handshake(&headers, &key));
        assert!(!keeps_the_handshake(&headers, &fresh_key()));
    }
}
