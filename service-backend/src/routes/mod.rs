//! Section 6 on one page.

pub(crate) mod body;
mod login;
mod returned;
mod session;
pub(crate) mod start;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use miid_protocol::paths;
use miid_protocol::problem::ErrorCode;

use crate::refusal::Refusal;
use crate::same_origin;
use crate::sign_in::{Core, SignIn};

/// Every route that a browser signs in with.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(sign_in: &SignIn) -> Router<S> {
    let core = Arc::clone(&sign_in.core);
    Router::new()
        .route(paths::AUTH_START, post(start::start))
        .route(paths::AUTH_STREAM, get(login::stream))
        .route(paths::AUTH_STATUS, get(login::status))
        .route(paths::AUTH_RETURN, post(returned::returned))
        .route(paths::AUTH_COMPLETE, post(login::complete))
        .route(paths::AUTH_CANCEL, post(login::cancel))
        .route(paths::AUTH_LOGOUT, post(session::logout))
        .route(paths::SESSION, get(session::show))
        .route(paths::SESSION_STREAM, get(session::stream))
        .method_not_allowed_fallback(async || Refusal::new(ErrorCode::MethodNotAllowed))
        .layer(from_fn_with_state(Arc::clone(&core), guard))
        .with_state(core)
}

/// What holds for every one of them: from our own pages only, no encoded bodies, nothing cached.
async fn guard(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let allowed = same_origin::check(&parts, &core.config.public_url).and_then(|()| {
        if parts.headers.contains_key(CONTENT_ENCODING) {
            Err(Refusal::new(ErrorCode::InvalidRequest).detail("Encoded bodies are not accepted."))
        } else {
            body::check_length(&parts.headers)
        }
    });
    let mut response = match allowed {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(route) = route {
        response.extensions_mut().insert(route); // for a log line around all of this
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
