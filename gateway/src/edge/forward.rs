//! One request on its way: to which upstream, over which connection, again or not, and its answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::headers::drop_hop_by_hop;
use super::kept::Kept;
use super::pool::{self, ConnectError, Link};
use super::rarely::Alarm;
use super::refusal::Refusal;
use super::request_body::{BadBody, Fate, RequestBody};
use super::response_body::{Bounds, Endless, ResponseBody};
use super::route::{Protocol, Route, Upstream};

/// A request whose head is as the upstream is to see it.
pub(crate) struct Outgoing<'r> {
    pub(crate) route: &'r Arc<Route>,
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    pub(crate) host: HeaderValue,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Incoming,
    pub(crate) access: Option<(Arc<Access>, Instant)>,
    /// When this instance stops.
    pub(crate) stopping: &'r CancellationToken,
}

/// Why one attempt gave no answer, and whether there may be another.
enum Failed {
    /// Nothing of it was sent: here it is again.
    Unsent(Box<Request<RequestBody>>, Refusal),
    /// The connection had been idle, and was closed before anything was sent: here it is again.
    Closed(Box<Request<RequestBody>>),
    /// It was sent over a connection that had been idle, which then closed without a word.
    Stale,
    /// There will be no answer.
    Lost(Refusal),
}

impl Outgoing<'_> {
    /// Sends it, to as many upstreams as it takes within the route's bound, and gives the answer's head with the
    /// body to come.
    pub(crate) async fn send(self) -> Result<Response<ResponseBody>, Refusal> {
        let Self { route, method, target, host, headers, body, access, stopping } = self;
        let begun = Instant::now();
        let deadline = route.timeouts.total.map(|total| begun + total);
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
        // Only where sending it again does no harm and nothing of it is gone is a copy kept.
        let again = (bodiless && is_idempotent(&method)).then(|| Kept::of(&method, &target, &headers));
        let request = |method: Method, target: PathAndQuery, headers, body| {
            let mut request = Request::new(body);
            *request.method_mut() = method;
            *request.uri_mut() = uri(route.protocol, target, &host);
            *request.version_mut() = version(route.protocol);
            *request.headers_mut() = headers;
            request
        };
        let mut request_now = request(method, target, headers, sent);
        let mut tried: Vec<usize> = Vec::new();
        let (mut fresh, mut attempted) = (false, begun);
        loop {
            let Some((chosen, upstream)) = route.choose(&tried) else { return Err(Refusal::NoUpstream) };
            let patience =
                Patience { begun: attempted, first_byte: route.timeouts.first_byte, deadline, fate: &fate };
            let (failed, well) = match attempt(route, upstream, request_now, patience, fresh).await {
                Ok((mut response, link)) => {
                    upstream.well.answered();
                    route.metrics().upstream.record(begun.elapsed().as_secs_f64());
                    clean(&mut response);
                    let until = access.as_ref().map(|(_, until)| *until);
                    let endless = goes_on(&response).then(|| Endless { until, stopping: stopping.clone() });
                    let access = access.map(|(access, _)| access);
                    let bounds = Bounds { begun, idle: route.timeouts.idle, deadline, access, endless };
                    return Ok(response.map(|incoming| ResponseBody::theirs(incoming, link, bounds)));
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
            attempted = Instant::now();
            let again_now = again.as_ref().filter(|_| (tried.len() as u32) < route.retries + 1);
            request_now = match (failed, again_now) {
                // There is one idle connection less.
                (Failed::Closed(request), _) => *request,
                // An old connection says nothing about the upstream: once more, over a new one.
                (Failed::Stale, Some(kept)) if !fresh => {
                    fresh = true;
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
        return attempt_shared(route, upstream, request, patience).await;
    }
    let idle = if fresh { None } else { Link::idle(upstream, patience.begun) };
    let mut link = match idle {
        Some(link) => Some(link),
        None => match Link::open(upstream, route.timeouts.connect).await {
            Ok(link) => {
                patience.begun = Instant::now();
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
        Some(Ok(response)) => Ok((response, link)),
        Some(Err(error)) => Err(match failed(upstream, error, used) {
            Failed::Unsent(request, _) if used => Failed::Closed(request),
            failed => failed,
        }),
        None => Err(Failed::Lost(Refusal::Timeout)),
    }
}

/// The same over a connection of HTTP/2, which others use, too.
async fn attempt_shared(
    route: &Route,
    upstream: &Upstream,
    request: Request<RequestBody>,
    mut patience: Patience<'_>,
) -> Result<(Response<Incoming>, Option<Link>), Failed> {
    let (mut sender, used) = match pool::shared(upstream, route.timeouts.connect).await {
        Ok(found) => found,
        Err(error) => return Err(Failed::Unsent(Box::new(request), unreachable(upstream, &error))),
    };
    if sender.ready().await.is_err() {
        return Err(Failed::Unsent(Box::new(request), Refusal::NoUpstream));
    }
    patience.begun = Instant::now();
    let mut answer = pin!(sender.try_send_request(request));
    match patience.wait(&mut Alarm::default(), |cx| answer.as_mut().poll(cx)).await {
        Some(Ok(response)) => Ok((response, None)),
        Some(Err(error)) => Err(failed(upstream, error, used)),
        None => Err(Failed::Lost(Refusal::Timeout)),
    }
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
        None if used && (error.is_incomplete_message() || error.is_canceled() || error.is_closed()) => {
            Failed::Stale
        }
        None => Failed::Lost(Refusal::BadGateway),
    }
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

/// How long an answer is waited for: from the last piece of the request's body on, and not beyond the deadline.
#[derive(Clone, Copy)]
struct Patience<'f> {
    begun: Instant,
    first_byte: Duration,
    deadline: Option<Instant>,
    fate: &'f Fate,
}

impl Patience<'_> {
    async fn wait<T>(
        self,
        alarm: &mut Alarm,
        mut answer: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        let due = |from: Instant| {
            let due = from + self.first_byte;
            self.deadline.map_or(due, |deadline| deadline.min(due))
        };
        let (mut pieces, mut now_due) = (self.fate.pieces(), due(self.begun));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer(cx) {
                return Poll::Ready(Some(answer));
            }
            loop {
                ready!(alarm.poll(now_due, cx));
                let over = self.deadline.is_some_and(|deadline| deadline <= now_due);
                if over || self.fate.pieces() == pieces {
                    return Poll::Ready(None);
                }
                (pieces, now_due) = (self.fate.pieces(), due(Instant::now()));
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
pub(crate) fn uri(protocol: Protocol, target: PathAndQuery, host: &HeaderValue) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target);
    if protocol == Protocol::H2c {
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = host.to_str().ok().and_then(|host| host.parse().ok());
    }
    Uri::from_parts(parts).unwrap_or_default()
}

/// The status of an answer that became something else.
pub(crate) const SWITCHED: StatusCode = StatusCode::SWITCHING_PROTOCOLS;
