//! Who is connected (section 4): services say which sessions have an open page or socket, and are told whether
//! one has before they do what cannot be undone. What cannot be found out is no.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CACHE_CONTROL;
use miid_protocol::service::{
    ActiveReason, Activity, AskActive, PRESENCE_BATCH, PRESENCE_TTL_S, PresenceAnswer, PresenceReport,
};
use miid_protocol::{ErrorCode, Problem};

use super::extract::{Body, Caller};
use super::{ApiError, App};
use crate::store::{Present, Reported, Reporting};

/// Say which sessions are connected
#[utoipa::path(put, path = "/v1/service/presence", tag = "service", request_body = PresenceReport,
    responses((status = 200, body = PresenceAnswer), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 503, body = Problem, description = "Too many instances of this service report")))]
pub(super) async fn report(
    State(app): State<App>,
    Caller(service): Caller,
    body: Body,
) -> Result<Json<PresenceAnswer>, ApiError> {
    let sent: PresenceReport = body.json()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !(16..=64).contains(&sent.holder.len()) || !sent.holder.bytes().all(plain) {
        return Err(ApiError::detail(ErrorCode::InvalidRequest, "holder has 16 to 64 of a-z A-Z 0-9 _ -"));
    }
    if sent.opened.len() > PRESENCE_BATCH || sent.closed.len() > PRESENCE_BATCH {
        return Err(ApiError::detail(
            ErrorCode::InvalidRequest,
            "at most 500 sessions opened, and 500 closed",
        ));
    }
    let report = Reported {
        client_id: service.client_id,
        holder: sent.holder,
        seq: sent.seq,
        reset: sent.reset,
        opened: sent.opened,
        closed: sent.closed,
    };
    let outcome = app
        .store
        .write("presence", move |tx| {
            let report = report.clone();
            Box::pin(async move { tx.report_presence(&report).await })
        })
        .await?;
    let known = match outcome {
        Reporting::Taken => true,
        Reporting::Unknown => false,
        // Those that are not heard of any more make room by then.
        Reporting::TooMany => return Err(ApiError::new(ErrorCode::Busy).retry_after_s(PRESENCE_TTL_S)),
    };
    Ok(Json(PresenceAnswer { known, ttl_s: PRESENCE_TTL_S }))
}

/// Ask whether a person is connected
#[utoipa::path(post, path = "/v1/sessions/active", tag = "service", request_body = AskActive,
    responses((status = 200, body = Activity), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 503, body = Problem, description = "It cannot be found out: treat it as no")))]
pub(super) async fn active(
    State(app): State<App>,
    Caller(service): Caller,
    body: Body,
) -> Result<Response, ApiError> {
    let asked: AskActive = body.json_or_form()?;
    let now = app.clock.now();
    let session = match (&asked.token, asked.session_id, &asked.sub) {
        (Some(token), None, None) => app.session_of_token(&service.client_id, token).await?,
        (None, Some(id), None) => app.store.read().await?.session(id).await?,
        (None, None, Some(sub)) => {
            let mut reader = app.store.read().await?;
            let (lives, present) = reader.presence_of_person(&service.client_id, sub, now).await?;
            return Ok(answer(lives, present));
        }
        _ => {
            let why = "exactly one of token, session_id and sub";
            return Err(ApiError::detail(ErrorCode::InvalidRequest, why));
        }
    };
    // Another service's looks like none.
    let session = session.filter(|session| session.client_id == service.client_id && session.is_live(now));
    let Some(session) = session else { return Ok(answer(false, None)) };
    let mut reader = app.store.read().await?;
    Ok(answer(true, reader.presence_of_session(&service.client_id, session.id, now).await?))
}

fn answer(lives: bool, present: Option<Present>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(activity(lives, present))).into_response()
}

fn activity(lives: bool, present: Option<Present>) -> Activity {
    let reason = match (lives, &present) {
        (_, Some(_)) => ActiveReason::Connected,
        (true, None) => ActiveReason::NotConnected,
        (false, None) => ActiveReason::NoSession,
    };
    Activity {
        active: present.is_some(),
        since: present.map(|present| present.since),
        session_id: present.map(|present| present.session),
        reason,
    }
}
