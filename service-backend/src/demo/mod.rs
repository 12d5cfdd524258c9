//! The demo shop: the library's routes, the built pages, an account behind the gateway's edge ([`api`]), and
//! nothing that another service could not do for itself.

mod account;
pub mod api;
mod edge;
mod problem;
mod transfer;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use miid_protocol::problem::ErrorCode;
use miid_protocol::{Issuer, paths};
use tower_http::services::ServeDir;

use self::edge::Edge;
use crate::refusal::Refusal;
use crate::return_page::{self, CSP, Meta, ReturnPage};
use crate::same_origin;
use crate::sign_in::{ConnectError, SignIn};

/// Everything that the demo answers. `/healthz` and `/readyz` are for whoever runs it, under any host name.
/// `edge` is where the gateway's edge is; without one nobody has an account here.
///
/// # Errors
/// Where no HTTP client can be made.
pub fn app(sign_in: &SignIn, pages: &Path, edge: Option<Issuer>) -> Result<Router, ConnectError> {
    let config = &sign_in.core.config;
    let transfer = if edge.is_some() { "on" } else { "off" };
    let edge = edge.map(Edge::new).transpose().map_err(ConnectError::Client)?;
    let public_url = config.public_url.clone();
    let metas = [("miid-binding", config.bindings.as_str()), ("miid-transfer", transfer)];
    let front = ReturnPage::file(pages.join("index.html"));
    let index = Arc::new(front.clone());
    let pages = ServeDir::new(pages)
        .append_index_html_on_directories(false)
        .call_fallback_on_method_not_allowed(true)
        .fallback(Router::new().fallback(nothing));
    let site = Router::new()
        .route("/", get(async move || front_page(&index, metas).await))
        .merge(sign_in.routes())
        .merge(return_page::router(sign_in, front, Some(metas[1])))
        .merge(transfer::routes(sign_in, edge))
        .fallback_service(pages)
        .layer(from_fn_with_state(public_url, only_our_host));
    Ok(Router::new()
        .route(paths::HEALTHZ, get(async || Json(serde_json::json!({ "status": "ok" }))))
        .route(paths::READYZ, get(ready))
        .method_not_allowed_fallback(async || Refusal::new(ErrorCode::MethodNotAllowed))
        .with_state(sign_in.clone())
        .fallback_service(site)
        .layer(from_fn(headers))
        .layer(from_fn(log)))
}

async fn ready(State(sign_in): State<SignIn>) -> Response {
    match sign_in.ready().await {
        Ok(()) => Json(serde_json::json!({ "status": "ok" })).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// The same page as behind `/auth/return`; told how people may sign in here, and whether they have an account.
async fn front_page(page: &ReturnPage, metas: [Meta; 2]) -> Response {
    match page.with(&metas).await {
        Some(html) => Html(html).into_response(),
        None => Refusal::new(ErrorCode::NotFound).into_response(),
    }
}

async fn nothing(request: Request) -> Refusal {
    if matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
        ErrorCode::NotFound.into()
    } else {
        ErrorCode::MethodNotAllowed.into()
    }
}

async fn only_our_host(State(public_url): State<Issuer>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if same_origin::is_our_host(&parts, &public_url) {
        next.run(Request::from_parts(parts, body)).await
    } else {
        Refusal::new(ErrorCode::CrossSiteRequest)
            .detail("The request names another host than this service's public URL.")
            .into_response()
    }
}

/// Security headers on everything; hashed assets are kept for ever, pages are asked for again.
async fn headers(request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let kept = is_asset
        && matches!(
            response.status(),
            StatusCode::OK | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
        );
    let headers = response.headers_mut();
    let mut set =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, CSP);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(if kept {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }));
    response
}

/// One line for each answer, by route template: ids, hints and queries stay out of the log.
async fn log(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = response.extensions().get::<MatchedPath>().map_or("(page)", MatchedPath::as_str);
    tracing::info!(%method, route, status = response.status().as_u16(), ms = began.elapsed().as_millis(), "answered");
    response
}
