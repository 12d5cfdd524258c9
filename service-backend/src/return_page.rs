//! `GET /auth/return`: the page that the wallet opens in the person's browser (section 6). It does nothing by
//! itself: what stands behind the `#` reaches no server, and its script posts it. All that the server adds is
//! whether that script has to ask first, since only the server sees where the navigation came from.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use miid_protocol::paths;
use miid_protocol::problem::ErrorCode;

use crate::refusal::Refusal;
use crate::same_origin;
use crate::sign_in::SignIn;

/// Only what the pages need; no inline script, no frame, nobody else's anything.
pub(crate) const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
static COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A page of the service's own, with a script that
///
/// 1. reads `challenge_id`, `response_code` and `iss` from the fragment and takes them out of the address at once
///    (`history.replaceState`), before anything else can see them;
/// 2. asks `GET /auth/status/{id}` who approved, and says so. Where `<meta name="miid-return">` is not `go`, or
///    `known` is `false`, it asks "Continue as …?" first: somebody else may have led the browser here (threat 11);
/// 3. posts the three to `POST /auth/return`, and then `POST /auth/complete/{id}`.
///
/// The `meta` is put before `</head>` by the server: `go` where the browser itself opened the page, as it does for a
/// wallet, `ask` where another page led to it or the browser does not say. Inline scripts do not run.
#[derive(Debug, Clone)]
pub enum ReturnPage {
    /// Its HTML.
    Text(String),
    /// A file with its HTML, read each time.
    File(PathBuf),
}

impl ReturnPage {
    /// See [`ReturnPage::Text`].
    pub fn text(html: impl Into<String>) -> Self {
        Self::Text(html.into())
    }

    /// See [`ReturnPage::File`].
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// The page with these `meta` elements; `None` where there is no page. Names and contents are ours.
    pub(crate) async fn with(&self, metas: &[(&str, &str)]) -> Option<String> {
        let html = match self {
            Self::Text(html) => html.clone(),
            Self::File(path) => tokio::fs::read_to_string(path).await.ok()?,
        };
        let metas: String = metas
            .iter()
            .map(|(name, content)| format!("<meta name=\"{name}\" content=\"{content}\" />"))
            .collect();
        let at = html.find("</head>")?;
        let (before, after) = html.split_at(at);
        Some(format!("{before}{metas}{after}"))
    }
}

/// Whether the browser says that it opened the page itself (an address that another program handed to it, a
/// bookmark) or that our own page led to it. An older browser says nothing: then the page asks.
fn is_led_here_by_nobody_else(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let site = sites.next().and_then(|site| site.to_str().ok());
    sites.next().is_none() && matches!(site, Some("none" | "same-origin"))
}

/// `more` is what else the page is told.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(
    sign_in: &SignIn,
    page: ReturnPage,
    more: Option<Meta>,
) -> Router<S> {
    let state = (sign_in.clone(), Arc::new(page), more);
    Router::new().route(paths::AUTH_RETURN, get(show)).with_state(state)
}

/// Name and content.
pub(crate) type Meta = (&'static str, &'static str);

async fn show(
    State((sign_in, page, more)): State<(SignIn, Arc<ReturnPage>, Option<Meta>)>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let config = &sign_in.core.config;
    let ask = if is_led_here_by_nobody_else(&parts.headers) { "go" } else { "ask" };
    let mut response = match same_origin::check(&parts, &config.public_url) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => {
            let told = [("miid-return", ask), ("miid-binding", config.bindings.as_str())];
            match page.with(&told.into_iter().chain(more).collect::<Vec<_>>()).await {
                Some(html) => Html(html).into_response(),
                None => Refusal::new(ErrorCode::NotFound).detail("The page is missing.").into_response(),
            }
        }
    };
    if let Some(route) = route {
        response.extensions_mut().insert(route); // for a log line around all of this
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, CSP),
        // Whoever opened the window keeps no hold of it.
        (COOP.clone(), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_browser_that_says_so_came_by_itself() {
        let came = |sites: &[&str]| {
            let mut headers = HeaderMap::new();
            for site in sites {
                headers.append("sec-fetch-site", site.parse().expect("a value"));
            }
            is_led_here_by_nobody_else(&headers)
        };
        assert!(came(&["none"]) && came(&["same-origin"]));
        for other in [&[][..], &["cross-site"], &["same-site"], &["None"], &[""], &["none", "none"]] {
            assert!(!came(other), "{other:?}");
        }
    }

    #[tokio::test]
    async fn the_page_is_told_in_its_head() {
        let page = ReturnPage::text("<html><head><title>x</title></head><body></head></body></html>");
        let html = page.with(&[("miid-return", "ask")]).await.expect("a page");
        assert_eq!(
            html,
            "<html><head><title>x</title><meta name=\"miid-return\" content=\"ask\" /></head><body></head></body></html>"
        );
        assert!(ReturnPage::text("no head").with(&[]).await.is_none());
        assert!(ReturnPage::file("/no/such").with(&[]).await.is_none());
    }
}
