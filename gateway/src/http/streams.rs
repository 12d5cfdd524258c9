//! Opening an event stream (sections 1, 4 and 5): a place in the hub first, then the head of the log,
//! so that nothing falls between the two; and the position is taken before the response head.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Version};
use miid_protocol::{ChallengeId, ErrorCode, Problem};
use serde::Deserialize;

use super::extract::{Caller, Proved, QueryOf, Source, accepted};
use super::{ApiError, App};
use crate::store::Position;
use crate::streams::{EventStream, Filter, Guard, Start, StreamKey, TooMany};
use crate::takeover;

/// Events for the wallet that the proof belongs to
#[utoipa::path(get, path = "/v1/wallet/events", tag = "wallet",
    responses((status = 200, content_type = "text/event-stream"), (status = 401, body = Problem),
              (status = 403, body = Problem)))]
pub(super) async fn wallet_events(
    State(app): State<App>,
    Source(address): Source,
    slot: Option<Extension<takeover::Slot>>,
    version: Version,
    headers: HeaderMap,
    proved: Proved,
) -> Result<Response, ApiError> {
    let key = StreamKey::wallet(proved.proof.did());
    let guard = app.store.hub().join(key.clone(), address, app.settings.stream_limits()).map_err(busy)?;
    let filter = Filter::Wallet(proved.proof.did().clone());
    let inputs = Arc::new((proved.proof, key.clone()));
    let head = app
        .store
        .write("open_wallet_stream", move |tx| {
            let inputs = inputs.clone();
            Box::pin(async move {
                let (proof, key) = &*inputs;
                // The head first: a retirement that this one does not see then ends the stream behind it.
                let head = tx.open_stream(key).await?;
                Ok(accepted(tx.remember_proof(proof).await?).map(|()| head))
            })
        })
        .await??;
    let start = start(&headers, head);
    Ok(respond(
        slot,
        version,
        EventStream::new(guard, app.store.clone(), app.keys.clone(), key, filter, start),
    ))
}

#[derive(Deserialize)]
pub(super) struct About {
    challenge_id: Option<String>,
}

/// Events for the calling service, or of one of its challenges
#[utoipa::path(get, path = "/v1/service/events", tag = "service",
    params(("challenge_id" = Option<String>, Query, description = "Only of this challenge, from its beginning")),
    responses((status = 200, content_type = "text/event-stream"), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn service_events(
    State(app): State<App>,
    Source(address): Source,
    Caller(service): Caller,
    QueryOf(about): QueryOf<About>,
    slot: Option<Extension<takeover::Slot>>,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let client_id = service.client_id;
    let challenge = match about.challenge_id {
        None => None,
        Some(id) => {
            let id = ChallengeId::parse(&id).map_err(|_| ErrorCode::ChallengeNotFound)?;
            let found = app.store.read().await?.challenge_of_service(id, &client_id).await?;
            Some(found.ok_or(ErrorCode::ChallengeNotFound)?.id)
        }
    };
    let key = StreamKey::service(&client_id);
    let guard: Guard =
        app.store.hub().join(key.clone(), address, app.settings.stream_limits()).map_err(busy)?;
    let opened = key.clone();
    let head = app
        .store
        .write("open_service_stream", move |tx| {
            let key = opened.clone();
            Box::pin(async move { tx.open_stream(&key).await })
        })
        .await?;
    let start = start(&headers, head);
    let (store, keys) = (app.store.clone(), app.keys.clone());
    let stream = match challenge {
        None => EventStream::new(guard, store, keys, key, Filter::Service(client_id), start),
        Some(id) => EventStream::of_challenge(guard, store, keys, client_id, id, head, start).await?,
    };
    Ok(respond(slot, version, stream))
}

/// Where the reader wants to go on from. A position that is none, or ahead of the log, gets a resync;
/// one that is too old is found out when the log is read.
fn start(headers: &HeaderMap, head: Position) -> Start {
    let Some(value) = headers.get("last-event-id") else { return Start::At(head) };
    match value.to_str().ok().and_then(|text| text.parse::<i64>().ok()) {
        Some(position) if position == head.0 => Start::At(head),
        Some(position) if (0..head.0).contains(&position) => Start::After(Position(position)),
        _ => Start::Lost(head),
    }
}

fn busy(bound: TooMany) -> ApiError {
    match bound {
        TooMany::Own => ApiError::new(ErrorCode::RateLimited).retry_after_s(10),
        TooMany::Total => ApiError::new(ErrorCode::Busy).retry_after_s(10),
    }
}

/// The response of a stream: its head by hyper, the rest by the connection itself where it can (see
/// [`takeover`]), and else like any body.
fn respond(slot: Option<Extension<takeover::Slot>>, version: Version, stream: EventStream) -> Response {
    let mut response = match slot {
        Some(Extension(slot)) if version == Version::HTTP_11 => {
            let mut response = axum::body::Body::new(slot.leave(stream)).into_response();
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        _ => axum::body::Body::new(stream).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some proxies collect what they forward; an event that waits there is late.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
