//! Bodies and path parameters, parsed with a problem document for each thing that can be wrong.

use std::time::Duration;

use axum::RequestPartsExt as _;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use miid_protocol::problem::ErrorCode;
use miid_protocol::{ChallengeId, json};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// Section 1.
const MAX_BODY: usize = 64 << 10;
/// For the whole of it; a browser sends some hundred bytes.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses a body that says itself that it is too large.
pub(crate) fn check_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(ErrorCode::BodyTooLarge.into());
    }
    Ok(())
}

/// Strict JSON (section 1), and said to be that where a type is given: a form of another page cannot.
pub(crate) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refusal> {
    if let Some(value) = headers.get(CONTENT_TYPE) {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(
                Refusal::new(ErrorCode::InvalidRequest).detail("The content type must be application/json.")
            );
        }
    }
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(ErrorCode::BodyTooLarge.into()),
        Err(_) => return Err(Refusal::new(ErrorCode::InvalidRequest).detail("The body took too long.")),
    };
    let wrong =
        || Refusal::new(ErrorCode::InvalidRequest).detail("The body is not the expected JSON object.");
    // A list of its members would pass for an object, and an empty one for an empty object.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong());
    }
    json::from_slice(&bytes).map_err(|_| wrong())
}

/// A challenge's id in the path. What is no id is no challenge either.
pub(super) struct InPath(pub(super) ChallengeId);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let not_found = || Refusal::new(ErrorCode::ChallengeNotFound);
        let Path(text) = parts.extract::<Path<String>>().await.map_err(|_| not_found())?;
        ChallengeId::parse(&text).map(Self).map_err(|_| not_found())
    }
}
