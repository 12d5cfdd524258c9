//! What a caller is told where the edge lets nothing through: a problem document (RFC 9457), and for tokens
//! the challenge of RFC 6750 and RFC 9470. Never what the caller sent, never what went on behind.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use miid_protocol::problem::CONTENT_TYPE as PROBLEM;
use miid_protocol::service::RevokeReason;
use serde_json::json;

use super::ids::RequestId;
use super::routes::path::PathError;
use super::routes::route::Route;
use super::wire::head::Wrong;
use crate::leases::CloseReason;

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// There is none.
    Missing,
    /// It is no access token, or says what none of ours says.
    Malformed,
    /// Signed with a key that is not ours, or not any more.
    UnknownKey,
    /// The signature does not hold.
    Signature,
    /// Another issuer's.
    Issuer,
    /// Another service's.
    Audience,
    /// Its time is over.
    Expired,
    /// Its session ended.
    Revoked,
}

impl BadToken {
    /// As in `reason`.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "bad_signature",
            Self::Issuer => "wrong_issuer",
            Self::Audience => "wrong_audience",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Missing => "Send one access token as Authorization: Bearer.",
            Self::Malformed => "This is not an access token of this gateway.",
            Self::UnknownKey => "The key that signed this token does not count here: refresh it.",
            Self::Signature => "The token's signature does not hold.",
            Self::Issuer => "Another gateway issued this token.",
            Self::Audience => "This token is for another service.",
            Self::Expired => "The token's time is over: refresh it.",
            Self::Revoked => "The session behind this token has ended: sign in again.",
        }
    }
}

/// Why a request goes no further.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// Bytes that are not one request in every reading.
    Malformed(Wrong),
    Path(PathError),
    /// Two readings of the same thing, above the level of bytes.
    Ambiguous(&'static str),
    NoRoute,
    Method,
    Token(BadToken),
    /// These scopes are missing.
    Scope(Vec<String>),
    /// A step-up is missing or older than so many seconds.
    StepUp(u64),
    /// No page or socket of the session is open.
    NotActive,
    BodyTooLarge,
    BodyTooSlow,
    /// The store cannot be asked, and nobody may be believed unasked.
    StoreAway,
    /// The upstream answered something that is no answer, or closed the connection.
    BadGateway,
    /// No upstream takes connections.
    NoUpstream,
    /// As many connections are open as may be.
    Full,
    /// The upstream took too long.
    Timeout,
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(Wrong::TooLong) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Malformed(_) | Self::Path(_) | Self::Ambiguous(_) => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Token(_) | Self::StepUp(_) => StatusCode::UNAUTHORIZED,
            Self::Scope(_) | Self::NotActive => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::StoreAway | Self::NoUpstream | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// `code`, and what it is counted by.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Path(_) | Self::Ambiguous(_) => "invalid_request",
            Self::NoRoute => "not_found",
            Self::Method => "method_not_allowed",
            Self::Token(_) => "invalid_token",
            Self::Scope(_) => "insufficient_scope",
            Self::StepUp(_) => "insufficient_user_authentication",
            Self::NotActive => "active_session_required",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::StoreAway => "store_unavailable",
            Self::BadGateway => "upstream_failed",
            Self::NoUpstream => "upstream_unavailable",
            Self::Full => "too_many_connections",
            Self::Timeout => "upstream_timeout",
        }
    }

    /// What metrics and the access log say.
    pub(crate) const fn verdict(&self) -> &'static str {
        match self {
            Self::Token(bad) => bad.reason(),
            Self::Malformed(wrong) => wrong.reason(),
            other => other.code(),
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Path(_) | Self::Ambiguous(_) => "The request is not well-formed.",
            Self::NoRoute => "There is nothing here.",
            Self::Method => "This cannot be done here.",
            Self::Token(_) => "The access token is not accepted.",
            Self::Scope(_) => "The token does not allow this.",
            Self::StepUp(_) => "This needs a fresh approval in the wallet.",
            Self::NotActive => "This works only while the page is connected.",
            Self::BodyTooLarge => "The body is larger than may be sent here.",
            Self::BodyTooSlow => "The body did not come in time.",
            Self::StoreAway => "Whether the session still lives cannot be found out now.",
            Self::BadGateway => "The server behind the gateway did not answer properly.",
            Self::NoUpstream => "The server behind the gateway cannot be reached.",
            Self::Full => "As many connections are open as may be.",
            Self::Timeout => "The server behind the gateway did not answer in time.",
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Malformed(wrong) => wrong.to_string(),
            Self::Path(wrong) => wrong.to_string(),
            Self::Ambiguous(what) => (*what).to_owned(),
            Self::Token(bad) => bad.detail().to_owned(),
            _ => return None,
        })
    }

    /// What a client does about a session's end, or about what is not known of it.
    fn advice(&self) -> Option<&'static str> {
        let reason = match self {
            Self::Token(BadToken::Expired | BadToken::UnknownKey) => CloseReason::Expired,
            Self::Token(BadToken::Revoked) => CloseReason::Ended(RevokeReason::User),
            Self::StoreAway => CloseReason::Unknown,
            _ => return None,
        };
        Some(reason.advice())
    }

    fn document(&self) -> Vec<u8> {
        let (status, code) = (self.status().as_u16(), self.code());
        let mut document = json!({
            "type": format!("urn:miid:problem:{code}"), "title": self.title(), "status": status, "code": code,
        });
        if let Some(detail) = self.detail() {
            document["detail"] = detail.into();
        }
        match self {
            Self::Token(bad) => document["reason"] = bad.reason().into(),
            Self::Scope(missing) => document["missing_scopes"] = json!(missing),
            Self::StepUp(age_s) => document["max_age_s"] = json!(age_s),
            _ => {}
        }
        if let Some(advice) = self.advice() {
            document["advice"] = advice.into();
        }
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The challenge of a 401 or 403 about a token.
    fn challenge(&self) -> Option<HeaderValue> {
        let mut text = String::from("Bearer realm=\"miid\"");
        match self {
            // Whoever sent nothing is told no error (RFC 6750, section 3).
            Self::Token(BadToken::Missing) => {}
            Self::Token(bad) => {
                let _ = write!(text, ", error=\"invalid_token\", error_description=\"{}\"", bad.reason());
            }
            Self::Scope(missing) => {
                let _ = write!(text, ", error=\"insufficient_scope\", scope=\"{}\"", missing.join(" "));
            }
            Self::StepUp(age_s) => {
                let _ = write!(
                    text,
                    ", error=\"insufficient_user_authentication\", acr_values=\"step_up\", max_age=\"{age_s}\""
                );
            }
            _ => return None,
        }
        HeaderValue::from_str(&text).ok()
    }

    /// Head and document. What else must be in the head is the caller's.
    pub(crate) fn response(&self, route: Option<&Route>) -> Response<Bytes> {
        let document = self.document();
        let length = document.len();
        let mut response = Response::new(Bytes::from(document));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(self, Self::StoreAway | Self::NoUpstream | Self::Full) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let (Self::Method, Some(route)) = (self, route) {
            let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
            if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
                headers.insert(ALLOW, allow);
            }
        }
        response
    }
}

/// The answer to bytes that never became a request, as bytes.
pub(crate) fn raw(refusal: &Refusal, request_id: &RequestId) -> Vec<u8> {
    let (status, document, name) = (refusal.status(), refusal.document(), request_id.as_str());
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM}\r\ncache-control: no-store\r\nconnection: close\r\nx-request-id: {name}\r\ncontent-length: {}\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        document.len(),
    )
    .into_bytes();
    answer.extend_from_slice(&document);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_over_a_session_is_told_what_to_do_about_it() {
        let advice = |refusal: Refusal| {
            let document: serde_json::Value = serde_json::from_slice(&refusal.document()).expect("JSON");
            document.get("advice").map(|advice| advice.as_str().expect("text").to_owned())
        };
        for (refusal, wanted) in [
            (Refusal::Token(BadToken::Expired), Some("refresh")),
            (Refusal::Token(BadToken::UnknownKey), Some("refresh")),
            (Refusal::Token(BadToken::Revoked), Some("give_up")),
            (Refusal::StoreAway, Some("retry")),
            (Refusal::Token(BadToken::Missing), None),
            (Refusal::NoUpstream, None),
        ] {
            assert_eq!(advice(refusal.clone()).as_deref(), wanted, "{refusal:?}");
        }
    }
}
