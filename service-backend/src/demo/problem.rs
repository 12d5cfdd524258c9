//! What the demo refuses in words of its own, which the protocol does not have: problem documents (RFC 9457) like
//! all others.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use miid_protocol::browser::StartResponse;
use miid_protocol::problem;
use serde::Serialize;

/// Why nothing was done, or why nobody knows whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// The body cannot be used.
    InvalidRequest(&'static str),
    /// No identity that our gateway signed for this call.
    InvalidIdentity,
    /// The person has to approve this first; for who may not ask for that here.
    StepUpMissing,
    /// The same for a page, which is told where to begin.
    StepUpRequired,
    /// No page of the session is open.
    ActiveSessionRequired,
    InsufficientFunds,
    /// The API cannot be reached: nothing was sent.
    ApiAway,
    /// The API's answer was lost or is none.
    ApiLost,
    /// Whether the caller may cannot be found out.
    GatewayAway,
    /// Too many people have an account here.
    Busy,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_up: Option<&'a StartResponse>,
}

impl Problem {
    /// Status, `code`, and one line for a person.
    const fn words(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidRequest(_) => (400, "invalid_request", "The request is not well-formed."),
            Self::InvalidIdentity => {
                (401, "invalid_identity", "Nobody that the gateway vouches for asks this.")
            }
            Self::StepUpMissing => {
                (401, "insufficient_user_authentication", "This needs a fresh approval in the wallet.")
            }
            Self::StepUpRequired => (401, "step_up_required", "Approve this in your wallet first."),
            Self::ActiveSessionRequired => {
                (403, "active_session_required", "This works only while the page is connected.")
            }
            Self::InsufficientFunds => (409, "insufficient_funds", "The account does not hold so much."),
            Self::ApiLost => (502, "api_unavailable", "The answer did not come: look at the balance."),
            Self::ApiAway => (503, "api_unavailable", "The account cannot be reached. Nothing was sent."),
            Self::GatewayAway => {
                (503, "gateway_unavailable", "Whether this is allowed cannot be found out now.")
            }
            Self::Busy => (503, "busy", "Too much is going on."),
        }
    }

    /// As a document that may hold a step-up.
    pub(super) fn with(self, step_up: Option<&StartResponse>) -> Response {
        let (status, code, title) = self.words();
        let detail = match self {
            Self::InvalidRequest(detail) => Some(detail),
            _ => None,
        };
        let kind = format!("urn:miid:problem:{code}");
        let document = Document { kind, title, status, detail, code, step_up };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.with(None)
    }
}
