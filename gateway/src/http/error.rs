//! What a caller sees when something is refused: a problem document with one code, our own words,
//! and never what the caller sent or what went on inside.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use miid_protocol::did::DidError;
use miid_protocol::problem::{self, ErrorCode, Problem};
use miid_protocol::proof::ProofError;
use miid_protocol::statement::StatementError;

use crate::domain::Refusal;
use crate::store::StoreError;

/// An answer that refuses.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: ErrorCode,
    detail: Option<Cow<'static, str>>,
    retry_after_s: Option<i64>,
    token_endpoint: bool,
}

impl ApiError {
    /// With nothing said beyond the code.
    pub fn new(code: ErrorCode) -> Self {
        Self { code, detail: None, retry_after_s: None, token_endpoint: false }
    }

    /// Says what was wrong, in our own words.
    pub fn detail(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(code) }
    }

    /// Says when to come back, at least a second from now.
    #[must_use]
    pub fn retry_after_s(self, seconds: i64) -> Self {
        Self { retry_after_s: Some(seconds.max(1)), ..self }
    }

    /// Adds RFC 6749's members.
    #[must_use]
    pub fn at_token_endpoint(self) -> Self {
        Self { token_endpoint: true, ..self }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Silent | StoreError::Lost => {
                Self::new(ErrorCode::Busy).retry_after_s(1)
            }
            StoreError::Database(sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
            | StoreError::Damaged(_) => {
                tracing::error!(%error, "the database holds something unreadable");
                Self::new(ErrorCode::InternalError)
            }
            StoreError::Database(_) => {
                tracing::warn!(%error, "the database could not be used");
                Self::new(ErrorCode::StoreUnavailable).retry_after_s(1)
            }
        }
    }
}

impl From<ProofError> for ApiError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Invalid => Self::new(ErrorCode::InvalidProof),
            // `Date`, which every answer carries, is what the wallet may correct its clock by.
            ProofError::Stale => Self::new(ErrorCode::StaleProof),
        }
    }
}

impl From<StatementError> for ApiError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::DidMismatch => Self::new(ErrorCode::DidMismatch),
            StatementError::Invalid(why) => Self::detail(ErrorCode::InvalidStatement, why),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::new(match refusal {
            Refusal::NotPending => ErrorCode::ChallengeNotPending,
            Refusal::NotApproved => ErrorCode::ChallengeNotApproved,
            Refusal::Expired => ErrorCode::ChallengeExpired,
            Refusal::AlreadyClaimed => ErrorCode::AlreadyClaimed,
            Refusal::AnotherPerson => ErrorCode::DidMismatch,
        })
    }
}

impl From<DidError> for ApiError {
    fn from(error: DidError) -> Self {
        Self::new(match error {
            DidError::Invalid => ErrorCode::InvalidDid,
            DidError::Unsupported => ErrorCode::UnsupportedDidMethod,
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut problem = Problem::new(self.code);
        problem.detail = self.detail.map(Cow::into_owned);
        if self.token_endpoint {
            problem = problem.for_token_endpoint();
        }
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        let scheme = match self.code {
            ErrorCode::InvalidClient => Some("Basic realm=\"miid\""),
            ErrorCode::InvalidProof | ErrorCode::StaleProof | ErrorCode::ReplayedProof => Some("DIDProof"),
            ErrorCode::InvalidToken => Some("Bearer error=\"invalid_token\""),
            _ => None,
        };
        if let Some(scheme) = scheme {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound)
}

pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed)
}
