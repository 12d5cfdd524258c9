//! What anyone may ask: keys, metadata, health.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use miid_protocol::service::ACR_STEP_UP;
use miid_protocol::{ErrorCode, Problem, paths};
use serde_json::json;
use std::sync::atomic::Ordering;

use super::{ApiError, App};

/// Token signing keys (RFC 7517)
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "public", responses((status = 200, body = serde_json::Value)))]
pub(super) async fn jwks(State(app): State<App>) -> Response {
    let keys = app.control().ring.jwks(app.clock.now());
    // Short: a key that was retired in an emergency must be gone everywhere soon.
    ([(CACHE_CONTROL, "public, max-age=60")], Json(keys)).into_response()
}

/// Metadata (RFC 8414)
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "public",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn metadata(State(app): State<App>) -> Response {
    let at = |path: &str| format!("{}{path}", app.issuer);
    let metadata = json!({
        "issuer": app.issuer,
        "token_endpoint": at(paths::TOKEN_EXCHANGE),
        "introspection_endpoint": at(paths::TOKEN_INTROSPECT),
        "revocation_endpoint": at(paths::TOKEN_REVOKE),
        "userinfo_endpoint": at(paths::USERINFO),
        "jwks_uri": at(paths::JWKS),
        "miid_challenge_endpoint": at(paths::CHALLENGE),
        "miid_service_events_endpoint": at(paths::SERVICE_EVENTS),
        "miid_wallet_events_endpoint": at(paths::WALLET_EVENTS),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "acr_values_supported": [ACR_STEP_UP],
        "response_types_supported": [],
        "service_documentation": at(paths::OPENAPI),
    });
    ([(CACHE_CONTROL, "public, max-age=300")], Json(metadata)).into_response()
}

/// Alive
#[utoipa::path(get, path = "/healthz", tag = "public", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready for traffic: the store answers, and nobody told the program to stop
#[utoipa::path(get, path = "/readyz", tag = "public",
    responses((status = 200, body = String), (status = 503, body = Problem)))]
pub(super) async fn readyz(State(app): State<App>) -> Result<(StatusCode, &'static str), ApiError> {
    if app.draining.load(Ordering::Relaxed) {
        return Err(ApiError::detail(ErrorCode::Busy, "shutting down").retry_after_s(5));
    }
    if app.store.is_ready().await {
        Ok((StatusCode::OK, "ready\n"))
    } else {
        Err(ApiError::new(ErrorCode::StoreUnavailable).retry_after_s(1))
    }
}
