//! One request on its way: to which upstream, over which connection, again or not, and its answer.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::headers::drop_hop_by_hop;
use super::kept::Kept;
use super::pool::{self, ConnectError, Link};
use super::request_body::{BadBody, Fate, RequestBody};
use super::response_body::{Bounds, Broken, Endless, LONG, ResponseBody};
use crate::edge::refusal::{BadToken, Refusal};
use crate::edge::routes::route::{Protocol, Route, Upstream};
use crate::edge::tokens::access::Access;
use crate::edge::wire::gate::Talk;
use crate::edge::wire::head::Wrong;
use crate::edge::wire::interim::Interim;
use crate::edge::wire::rarely::{Alarm, Rarely};

/// A request whose head is as the upstream is to see it.
pub(crate) struct Outgoing<'r> {
    pub(crate) route: &'r Arc<Route>,
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    pub(crate) host: HeaderValue,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Incoming,
    pub(crate) access: Option<(Arc<Access>, Instant)>,
    /// Where interim answers go, where they can be passed on.
    pub(crate) interim: Option<Talk>,
    /// When this instance stops.
    pub(crate) stopping: &'r CancellationToken,
}

/// Why one attempt gave no answer, and whether there may be another.
enum Failed {
    /// Nothing of it was sent: here it is again.
    Unsent(Box<Request<RequestBody>>, Refusal),
    /// The connection had been used before, and was closed before anything was sent: here it is again.
    Closed(Box<Request<RequestBody>>),
    /// It was sent over a connection that had been used before, which then closed without a word, or with one that
    /// this was not looked at.
    Stale,
    /// There will be no answer.
    Lost(Refusal),
}

impl Outgoing<'_> {
    /// Sends it, to as many upstreams as it takes within the route's bound, and gives the answer's head with the
    /// body to come.
    pub(crate) async fn send(self) -> Result<Response<ResponseBody>, Refusal> {
        let Self { route, method, target, host, mut headers, body, access, interim, stopping } = self;
        let begun = Instant::now();
        let bodiless = body.is_end_stream();
        if body.size_hint().lower() > route.max_body {
            return Err(Refusal::BodyTooLarge);
        }
        let fate = Fate::default();
        let sent = if bodiless {
            RequestBody::none()
        } else {
            RequestBody::new(body, route.max_body, route.timeouts.idle, fate.clone())
        };
        if !bodiless && route.protocol == Protocol::Http1 && !headers.contains_key(CONTENT_LENGTH) {
            // For some methods hyper takes it that there is no body unless it is told.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let target = uri(route.protocol, target, &host)?;
        // Only where sending it again does no harm and nothing of it is gone is a copy kept.
        let again = (bodiless && is_idempotent(&method)).then(|| Kept::of(&method, &target, &headers));
        let request = |method: Method, target: Uri, headers, body| {
            let mut request = Request::new(body);
            *request.method_mut() = method;
            *request.uri_mut() = target;
            *request.version_mut() = version(route.protocol);
            *request.headers_mut() = headers;
            if let (Some(talk), Protocol::Http1) = (&interim, route.protocol) {
                Interim::listen(talk.clone(), &mut request);
            }
            request
        };
        let mut request_now = request(method, target, headers, sent);
        let mut tried: Vec<usize> = Vec::new();
        // The upstream that is asked once more, over another connection.
        let (mut fresh, mut same) = (false, None);
        let mut since = begun;
        loop {
            let next = same.take().or_else(|| route.choose(&tried));
            let Some((chosen, upstream)) = next else { return Err(Refusal::NoUpstream) };
            let access_now = access.as_ref().map(|(access, _)| &**access);
            let patience = Patience::new(route, begun, since, access_now, &fate);
            let (failed, well) = match attempt(route, upstream, request_now, patience, fresh).await {
                Ok((mut response, link)) => {
                    route.metrics().upstream.record(begun.elapsed().as_secs_f64());
                    clean(&mut response);
                    let bounds = bounds(&response, route, begun, access, stopping);
                    let begun = begin(response, link, bounds).await;
                    match begun {
                        Err(Refusal::BadGateway) => upstream.well.failed(),
                        _ => upstream.well.answered(),
                    }
                    return begun;
                }
                // The caller's doing or end, not the upstream's.
                Err(Failed::Lost(
                    refusal @ (Refusal::Token(_) | Refusal::StoreAway | Refusal::BodyTooSlow),
                )) => {
                    return Err(refusal);
                }
                Err(failed) => (failed, &upstream.well),
            };
            if let Some(bad) = fate.bad() {
                // The caller's doing, not the upstream's.
                return Err(match bad {
                    BadBody::TooLarge => Refusal::BodyTooLarge,
                    BadBody::TooSlow => Refusal::BodyTooSlow,
                    BadBody::Broken => Refusal::Ambiguous("the body broke off, or is not well-formed"),
                });
            }
            since = Instant::now();
            let again_now = again.as_ref().filter(|_| (tried.len() as u32) < route.retries + 1);
            request_now = match (failed, again_now) {
                // There is one idle connection less; one that is shared is given up on once (see [`attempt_shared`]).
                (Failed::Closed(request), _) => {
                    fresh |= route.protocol == Protocol::H2c;
                    same = Some((chosen, upstream));
                    *request
                }
                // An old connection says nothing about the upstream: once more, over a new one.
                (Failed::Stale, Some(kept)) if !fresh => {
                    (fresh, same) = (true, Some((chosen, upstream)));
                    let (method, target, headers) = kept.again();
                    request(method, target, headers, RequestBody::none())
                }
                (Failed::Stale, _) => {
                    well.failed();
                    return Err(Refusal::BadGateway);
                }
                (Failed::Unsent(request, refusal), _) => {
                    well.failed();
                    tried.push(chosen);
                    // What was said of this one's connections says nothing of the next one's.
                    fresh = false;
                    let more = tried.len() < route.upstreams.len() && tried.len() as u32 <= route.retries;
                    if !more {
                        return Err(refusal);
                    }
                    *request
                }
                (Failed::Lost(refusal), _) => {
                    well.failed();
                    return Err(refusal);
                }
            };
        }
    }
}

/// One attempt at one upstream.
async fn attempt(
    route: &Route,
    upstream: &Upstream,
    request: Request<RequestBody>,
    mut patience: Patience<'_>,
    fresh: bool,
) -> Result<(Response<Incoming>, Option<Link>), Failed> {
    if route.protocol == Protocol::H2c {
        return attempt_shared(route, upstream, request, patience, fresh).await;
    }
    let idle = if fresh { None } else { Link::idle(upstream, patience.since) };
    let mut link = match idle {
        Some(link) => Some(link),
        None => match Link::open(upstream, route.timeouts.connect).await {
            Ok(link) => {
                patience.since = Instant::now();
                Some(link)
            }
            Err(error) => return Err(Failed::Unsent(Box::new(request), unreachable(upstream, &error))),
        },
    };
    let Some(Link { sender, used, alarm, .. }) = &mut link else {
        return Err(Failed::Lost(Refusal::BadGateway));
    };
    let (used, mut alarm) = (*used, std::mem::take(alarm));
    let mut answer = pin!(sender.try_send_request(request));
    let answered =
        patience.wait(&mut alarm, |cx| Link::poll(&mut link, cx, |cx| answer.as_mut().poll(cx))).await;
    if let Some(link) = &mut link {
        link.alarm = alarm;
    }
    match answered {
        Ok(Ok(response)) => Ok((response, link)),
        Ok(Err(error)) => Err(match failed(upstream, error, used) {
            Failed::Unsent(request, _) if used => Failed::Closed(request),
            failed => failed,
        }),
        Err(refusal) => Err(Failed::Lost(refusal)),
    }
}

/// The same over a connection of HTTP/2, which others use, too. Where that is closed, or says that it goes away, the
/// next one to ask makes another.
async fn attempt_shared(
    route: &Route,
    upstream: &Upstream,
    request: Request<RequestBody>,
    mut patience: Patience<'_>,
    fresh: bool,
) -> Result<(Response<Incoming>, Option<Link>), Failed> {
    let (mut shared, used) = match pool::shared(upstream, route.timeouts.connect).await {
        Ok(shared) => shared,
        Err(error) => return Err(Failed::Unsent(Box::new(request), unreachable(upstream, &error))),
    };
    // Ready once the other side takes one more stream, which it may never do.
    let mut alarm = Alarm::default();
    patience.since = Instant::now();
    match patience.wait(&mut alarm, |cx| shared.sender.poll_ready(cx)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) if used && !fresh => {
            shared.give_up();
            return Err(Failed::Closed(Box::new(request)));
        }
        Ok(Err(_)) => return Err(Failed::Unsent(Box::new(request), Refusal::NoUpstream)),
        Err(refusal) => return Err(Failed::Lost(refusal)),
    }
    patience.since = Instant::now();
    let mut answer = pin!(shared.sender.try_send_request(request));
    let answered = patience.wait(&mut alarm, |cx| answer.as_mut().poll(cx)).await;
    match answered {
        Ok(Ok(response)) => Ok((response, None)),
        Ok(Err(error)) => Err({
            let failed = match failed(upstream, error, used) {
                Failed::Unsent(request, _) if used && !fresh => Failed::Closed(request),
                failed => failed,
            };
            if matches!(failed, Failed::Closed(_) | Failed::Stale) {
                shared.give_up();
            }
            failed
        }),
        Err(refusal) => Err(Failed::Lost(refusal)),
    }
}

/// What ends an answer early, however it was asked for.
pub(crate) fn bounds(
    response: &Response<Incoming>,
    route: &Route,
    begun: Instant,
    access: Option<(Arc<Access>, Instant)>,
    stopping: &CancellationToken,
) -> Bounds {
    let until = access.as_ref().map(|(_, until)| *until);
    Bounds {
        begun,
        idle: route.timeouts.idle,
        deadline: route.timeouts.total.map(|total| begun + total),
        access: access.map(|(access, _)| access),
        endless: goes_on(response).then(|| Endless { until, stopping: stopping.clone() }),
    }
}

/// An answer whose body has begun, or has not yet; one that broke off at once is none.
pub(crate) async fn begin(
    response: Response<Incoming>,
    link: Option<Link>,
    bounds: Bounds,
) -> Result<Response<ResponseBody>, Refusal> {
    let access = bounds.access.clone();
    let (head, incoming) = response.into_parts();
    let body = match bounds.passed() {
        Some(broken) => Err(broken),
        None => ResponseBody::theirs(incoming, link, bounds).await,
    };
    body.map(|body| Response::from_parts(head, body)).map_err(|broken| match broken {
        Broken::Upstream(_) => Refusal::BadGateway,
        Broken::Idle | Broken::Total => Refusal::Timeout,
        Broken::Session => access.map_or(Refusal::Token(BadToken::Revoked), |access| access.ended()),
        Broken::Over => Refusal::Token(BadToken::Expired),
    })
}

fn unreachable(upstream: &Upstream, error: &ConnectError) -> Refusal {
    tracing::debug!(upstream = %upstream.address, %error, "an upstream cannot be reached");
    match error {
        ConnectError::Timeout => Refusal::Timeout,
        ConnectError::Io(_) | ConnectError::Hyper(_) => Refusal::NoUpstream,
    }
}

fn failed(upstream: &Upstream, mut error: TrySendError<Request<RequestBody>>, used: bool) -> Failed {
    let unsent = error.take_message();
    let error = error.into_error();
    tracing::debug!(upstream = %upstream.address, error = &error as &dyn std::error::Error, "an upstream gave no answer");
    match unsent {
        Some(request) => Failed::Unsent(Box::new(request), Refusal::NoUpstream),
        None if used && is_stale(&error) => Failed::Stale,
        None => Failed::Lost(Refusal::BadGateway),
    }
}

/// Whether it was the connection that ended, and not this request that had a bad end.
fn is_stale(error: &hyper::Error) -> bool {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return true;
    }
    // Over HTTP/2 it waited for its turn, and whoever drove the connection is gone.
    if error.is_user() {
        return true;
    }
    let source = error.source();
    let h2 = source.and_then(|source| source.downcast_ref::<h2::Error>());
    // A server that goes away says what it has not looked at (RFC 9113, sections 6.8 and 8.7); once it is gone that is
    // also said of the rest, as of what was sent over a connection of HTTP/1.
    let unseen = |error: &h2::Error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    };
    h2.is_some_and(|error| unseen(error) || error.is_io())
}

/// What an upstream says about its connection ends here.
fn clean(response: &mut Response<Incoming>) {
    let coded = response.headers().contains_key(TRANSFER_ENCODING);
    drop_hop_by_hop(response.headers_mut());
    if coded {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}

/// Whether an answer goes on until somebody ends it.
fn goes_on(response: &Response<Incoming>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// How long an answer is waited for: from the last piece of the request's body on, not beyond the deadline, and
/// once it is [`LONG`] no longer than the session behind it lives.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'f> {
    begun: Instant,
    since: Instant,
    first_byte: Duration,
    deadline: Option<Instant>,
    access: Option<&'f Access>,
    fate: &'f Fate,
}

impl<'f> Patience<'f> {
    /// For a request that came when it was `begun`; its answer is waited for `since` it was sent on.
    pub(crate) fn new(
        route: &Route,
        begun: Instant,
        since: Instant,
        access: Option<&'f Access>,
        fate: &'f Fate,
    ) -> Self {
        let deadline = route.timeouts.total.map(|total| begun + total);
        Self { begun, since, first_byte: route.timeouts.first_byte, deadline, access, fate }
    }

    pub(crate) async fn wait<T>(
        self,
        alarm: &mut Alarm,
        mut answer: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Refusal> {
        let long = self.begun + LONG;
        let (mut pieces, mut last) = (self.fate.pieces(), self.since);
        let mut closing = None;
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer(cx) {
                return Poll::Ready(Ok(answer));
            }
            loop {
                let by = last + self.first_byte;
                let by = self.deadline.map_or(by, |deadline| by.min(deadline));
                // Before that nobody asks about the session: nearly all answers need one timer, and that alone.
                let look = match (self.access, &mut closing) {
                    (Some(access), Some(closing)) => {
                        let closing: &mut Rarely<_> = closing;
                        if Pin::new(closing).poll(cx).is_ready() {
                            return Poll::Ready(Err(access.ended()));
                        }
                        by
                    }
                    (Some(_), None) => by.min(long),
                    (None, _) => by,
                };
                ready!(alarm.poll(look, cx));
                let now = Instant::now();
                if pieces != self.fate.pieces() {
                    (pieces, last) = (self.fate.pieces(), now);
                }
                if now >= last + self.first_byte || self.deadline.is_some_and(|deadline| now >= deadline) {
                    // Nobody answers what is still on its way to them.
                    let slow = if self.fate.waits() { Refusal::BodyTooSlow } else { Refusal::Timeout };
                    return Poll::Ready(Err(slow));
                }
                if let Some(access) = self.access.filter(|_| now >= long && closing.is_none()) {
                    closing = Some(Rarely::new(access.lease.closing().cancelled_owned()));
                }
            }
        })
        .await
    }
}

pub(crate) fn version(protocol: Protocol) -> Version {
    match protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::H2c => Version::HTTP_2,
    }
}

/// The target: alone for HTTP/1, with scheme and authority for HTTP/2.
pub(crate) fn uri(protocol: Protocol, target: PathAndQuery, host: &HeaderValue) -> Result<Uri, Refusal> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target);
    if protocol == Protocol::H2c {
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = host.to_str().ok().and_then(|host| host.parse().ok());
    }
    // Without a host that can be said there is nothing that could be asked for in its place.
    Uri::from_parts(parts).map_err(|_| Refusal::Malformed(Wrong::Host))
}
