//! Errors as everyone sees them: RFC 9457 problem documents with one of the codes of section 8.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($status:literal $(#[$doc:meta])* $name:ident $text:literal $title:literal;)*) => {
        /// What went wrong (section 8).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $(
                #[doc = $title]
                $(#[$doc])*
                #[serde(rename = $text)]
                $name,
            )*
        }

        impl ErrorCode {
            /// Every code, in the order of section 8.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As it stands in `code`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The HTTP status it travels with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// One line for a person.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

codes! {
    400 InvalidRequest "invalid_request" "The request is not well-formed.";
    400 InvalidDid "invalid_did" "This is not a valid DID.";
    400 UnsupportedDidMethod "unsupported_did_method" "Only did:key with Ed25519 is supported.";
    400 InvalidGrant "invalid_grant" "The code or token cannot be used.";
    400 WrongResponseCode "wrong_response_code" "The response code is not right.";
    400 UnsupportedGrantType "unsupported_grant_type" "This grant type is not supported.";
    400 InvalidScope "invalid_scope" "A scope that was asked for is not allowed.";
    401 InvalidClient "invalid_client" "The service could not be authenticated.";
    401 InvalidProof "invalid_proof" "The wallet's proof does not hold for this request.";
    401 StaleProof "stale_proof" "The wallet's proof is too old or from the future.";
    401 ReplayedProof "replayed_proof" "The wallet's proof was used before.";
    401 InvalidStatement "invalid_statement" "The signed statement is not accepted.";
    401 InvalidToken "invalid_token" "The access token is not accepted.";
    401 NotAuthenticated "not_authenticated" "Nobody is signed in.";
    403 DidMismatch "did_mismatch" "The statement was signed by another identity than the request.";
    403 DidRetired "did_retired" "This identity was retired.";
    403 WrongMatchCode "wrong_match_code" "The number was wrong, and the request is denied.";
    403 CrossSiteRequest "cross_site_request" "The request came from another site.";
    404 ChallengeNotFound "challenge_not_found" "There is no such request to sign in.";
    404 SessionNotFound "session_not_found" "There is no such session.";
    404 ServiceNotFound "service_not_found" "There is no such service.";
    404 NotFound "not_found" "There is nothing here.";
    405 MethodNotAllowed "method_not_allowed" "This cannot be done here.";
    409 ChallengeNotPending "challenge_not_pending" "The request was already answered.";
    409 ChallengeNotApproved "challenge_not_approved" "The request is not approved.";
    409 AlreadyClaimed "already_claimed" "Another wallet already took this request.";
    409 AlreadyCompleted "already_completed" "This sign-in was already completed.";
    409 NotActiveYet "not_active_yet" "The sign-in is not active yet.";
    409 HandleTaken "handle_taken" "This handle cannot be claimed.";
    410 ChallengeExpired "challenge_expired" "The request has expired.";
    413 BodyTooLarge "body_too_large" "The body is larger than 64 KiB.";
    429 TooManyChallenges "too_many_challenges" "Too many requests are waiting for this person.";
    429 RateLimited "rate_limited" "Too many requests came from this address.";
    500 InternalError "internal_error" "Something failed that should not have.";
    503 StoreUnavailable "store_unavailable" "The database cannot be reached.";
    503 GatewayUnavailable "gateway_unavailable" "The sign-in gateway cannot be reached.";
    503 Busy "busy" "Too much is going on.";
}

impl ErrorCode {
    /// RFC 6749's `error` for the token endpoints, where one corresponds.
    pub const fn oauth_error(self) -> &'static str {
        match self {
            Self::WrongResponseCode => "invalid_grant",
            Self::InvalidGrant
            | Self::InvalidClient
            | Self::InvalidScope
            | Self::InvalidToken
            | Self::UnsupportedGrantType => self.as_str(),
            Self::StoreUnavailable | Self::Busy | Self::RateLimited => "temporarily_unavailable",
            Self::InternalError => "server_error",
            _ => "invalid_request",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The content type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An RFC 9457 problem document. `detail` never echoes input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:miid:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub detail: Option<String>,
    /// The code to decide by.
    pub code: ErrorCode,
    /// RFC 6749's `error`, at the token endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub error: Option<String>,
    /// RFC 6749's `error_description`, at the token endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub error_description: Option<String>,
}

impl Problem {
    /// A problem with nothing said beyond its code.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            kind: format!("urn:miid:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: None,
            code,
            error: None,
            error_description: None,
        }
    }

    /// Says what was wrong this time; our own words, never the caller's.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds RFC 6749's members, for the token endpoints.
    #[must_use]
    pub fn for_token_endpoint(mut self) -> Self {
        self.error = Some(self.code.oauth_error().to_owned());
        self.error_description = Some(self.detail.clone().unwrap_or_else(|| self.title.clone()));
        self
    }
}
