//! Every answer that is not a success: one problem document (section 1), made in one place.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use miid_protocol::Timestamp;
use miid_protocol::problem::{self, ErrorCode, Problem};
use miid_protocol::service::RevokeReason;
use serde::Serialize;

use crate::gateway::GatewayError;
use crate::store::StoreError;

/// Seconds after which it makes sense to ask again when something we need is away.
const AWAY_RETRY_S: u64 = 2;

/// A refusal, ready to be sent.
#[derive(Debug, Clone)]
pub struct Refusal {
    problem: Box<Problem>,
    retry_after_s: Option<u64>,
    ended: Option<(RevokeReason, Timestamp)>,
}

/// The document of a 401 whose session is known to have ended: a page that was closed at that moment
/// learns here what `force_logout` would have told it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RevokeReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

impl Refusal {
    /// With nothing said beyond the code.
    pub fn new(code: ErrorCode) -> Self {
        let retry_after_s = (code.status() == 503).then_some(AWAY_RETRY_S);
        Self { problem: Box::new(Problem::new(code)), retry_after_s, ended: None }
    }

    /// Says what was wrong; our own words, never the caller's.
    #[must_use]
    pub fn detail(mut self, detail: &'static str) -> Self {
        *self.problem = self.problem.detail(detail);
        self
    }

    /// When to come back, in seconds.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 401, and what became of the session.
    pub(crate) fn session_ended(reason: RevokeReason, at: Timestamp) -> Self {
        Self { ended: Some((reason, at)), ..Self::new(ErrorCode::NotAuthenticated) }
    }

    /// The code to decide by.
    pub fn code(&self) -> ErrorCode {
        self.problem.code
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store gave no answer");
        match error {
            StoreError::Unavailable(_) => Self::new(ErrorCode::StoreUnavailable),
            StoreError::Corrupt(_) => Self::new(ErrorCode::InternalError),
        }
    }
}

impl From<GatewayError> for Refusal {
    /// What the gateway says about the person or the load is passed on. What it says about us
    /// (credentials, scopes) is our operator's to read in the log, not the browser's.
    fn from(error: GatewayError) -> Self {
        let GatewayError::Refused { problem, retry_after } = error else {
            tracing::warn!(error = &error as &dyn std::error::Error, "the gateway cannot be reached");
            return Self::new(ErrorCode::GatewayUnavailable);
        };
        match problem.code {
            code @ (ErrorCode::InvalidDid
            | ErrorCode::UnsupportedDidMethod
            | ErrorCode::TooManyChallenges
            | ErrorCode::RateLimited
            | ErrorCode::StoreUnavailable
            | ErrorCode::Busy) => {
                let mut refusal = Self::new(code);
                refusal.retry_after_s = match (code.status(), retry_after) {
                    (400, _) => None,
                    (_, told) => told.or(Some(AWAY_RETRY_S)),
                };
                refusal
            }
            code => {
                tracing::error!(%code, detail = problem.detail, "the gateway refuses what this service asks for");
                Self::new(ErrorCode::GatewayUnavailable).detail("The gateway refuses this service.")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let document = Document {
            problem: &self.problem,
            reason: self.ended.map(|(reason, _)| reason),
            at: self.ended.map(|(_, at)| at),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
