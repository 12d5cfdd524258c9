//! What is live at a service, for one that was away (section 4).

use axum::Json;
use axum::extract::State;
use miid_protocol::service::{ChallengeList, ServiceSession, ServiceSessionList};
use miid_protocol::{ErrorCode, Problem, SessionId};
use serde::Deserialize;

use super::extract::{Caller, QueryOf};
use super::{ApiError, App};

/// Most challenges in a list; their number is bounded by quotas, this bounds an accident.
const MAX_CHALLENGES: i64 = 10_000;
/// Sessions in a page.
const PAGE: i64 = 500;

/// Pending and approved challenges
#[utoipa::path(get, path = "/v1/service/challenges", tag = "service",
    responses((status = 200, body = ChallengeList), (status = 401, body = Problem)))]
pub(super) async fn challenges(
    State(app): State<App>,
    Caller(service): Caller,
) -> Result<Json<ChallengeList>, ApiError> {
    let open = app.store.read().await?.open_challenges_of_service(&service.client_id, MAX_CHALLENGES).await?;
    let shown = open.iter().map(|challenge| app.show(challenge));
    Ok(Json(ChallengeList { challenges: shown.filter(|shown| !shown.status.is_final()).collect() }))
}

#[derive(Deserialize)]
pub(super) struct Page {
    after: Option<String>,
}

/// Live sessions, a page at a time
#[utoipa::path(get, path = "/v1/service/sessions", tag = "service",
    params(("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = ServiceSessionList), (status = 401, body = Problem)))]
pub(super) async fn sessions(
    State(app): State<App>,
    Caller(service): Caller,
    QueryOf(page): QueryOf<Page>,
) -> Result<Json<ServiceSessionList>, ApiError> {
    let after = match page.after.as_deref().map(SessionId::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            return Err(ApiError::detail(ErrorCode::InvalidRequest, "after must be a session id"));
        }
    };
    let now = app.clock.now();
    let sessions =
        app.store.read().await?.live_sessions_of_service(&service.client_id, after, PAGE, now).await?;
    let full = sessions.len() as i64 == PAGE;
    let next = sessions.last().map(|session| session.id).filter(|_| full);
    let sessions = sessions.into_iter().map(|session| ServiceSession {
        session_id: session.id,
        sub: session.sub,
        scopes: session.scopes,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
    });
    Ok(Json(ServiceSessionList { sessions: sessions.collect(), next }))
}
