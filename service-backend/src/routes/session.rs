//! Who is signed in, hearing of its end, and signing out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use miid_protocol::SessionId;
use miid_protocol::browser::{ForceLogout, SessionInfo};
use miid_protocol::problem::ErrorCode;
use miid_protocol::service::RevokeReason;

use super::streams;
use crate::refusal::Refusal;
use crate::sessions::Session;
use crate::sign_in::Core;
use crate::wakes::Waiter;

/// Another instance may have ended the session without our hearing of it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Streams of one session: a browser opens six connections to one host at most, all tabs together.
const STREAMS_PER_SESSION: usize = 16;

/// `GET /session`
pub(super) async fn show(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
) -> Result<Json<SessionInfo>, Refusal> {
    Ok(Json(core.authenticate(&headers).await?.info(core.now())))
}

/// `GET /session/stream`
pub(super) async fn stream(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let id = core.authenticate(&headers).await?.session_id;
    let waiter =
        core.session_wakes.wait_for(id, STREAMS_PER_SESSION, streams::STREAMS).ok_or(ErrorCode::Busy)?;
    // Once more, now that nothing can ring unheard.
    let session = core.authenticate(&headers).await?;
    Ok(streams::response(watch(core, session, waiter)))
}

/// Silent until the session ends.
fn watch(
    core: Arc<Core>,
    session: Session,
    mut waiter: Waiter<SessionId>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let id = session.session_id;
        // As long as the browser reads this, the session is connected.
        let _connected = core.presence.connect(id);
        loop {
            let left = session.expires_at.millis() - core.now().millis();
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0).max(10));
            tokio::select! {
                () = waiter.rung() => {}
                () = tokio::time::sleep(LOOK_AGAIN.min(left)) => {}
                () = core.closing.cancelled() => return,
            }
            let Ok(Some(session)) = core.store.session(id).await else { return };
            if let Some(end) = session.end_at(core.now()) {
                yield Ok(streams::event("force_logout", &ForceLogout { reason: end.reason, at: end.at }));
                return;
            }
            // Not trusted any more, but not known to have ended: the page asks, and is told to wait. An
            // end that the question itself brings to light rings the bell again.
            if let Err(refusal) = core.trusted(session).await
                && refusal.code() != ErrorCode::NotAuthenticated
            {
                return;
            }
        }
    }
}

/// `POST /auth/logout`: 204 whatever the cookie was, or was not.
pub(super) async fn logout(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Refusal> {
    if let Some(sid) = core.cookies.sid(&headers)
        && let Some(session) = core.store.session_of(sid.hash()).await?
    {
        core.end_everywhere(session.session_id, RevokeReason::Service).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, core.cookies.clear_sid())]).into_response())
}
