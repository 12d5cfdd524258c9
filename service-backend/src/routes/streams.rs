//! What both kinds of event stream share (section 1).

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use miid_protocol::events::{HEARTBEAT_S, RETRY_MS};
use serde::Serialize;

/// The id of an event after which nothing follows; whoever comes back with it gets 204, which tells a
/// browser not to come back again.
pub(super) const FINAL: &str = "final";
/// Things watched at once on one instance, logins and sessions each.
pub(super) const STREAMS: usize = 10_000;

pub(super) fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

/// `retry:` first, then the events, and a comment now and then.
pub(super) fn response(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let retry = stream::iter([Ok(Event::default().retry(Duration::from_millis(RETRY_MS)))]);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(HEARTBEAT_S));
    let mut response = Sse::new(retry.chain(events)).keep_alive(keep_alive).into_response();
    // A proxy that collects before it passes on would hold an event back for minutes.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
