//! An answer, and what a scenario claims about it.

use bytes::Bytes;
use miid_protocol::problem;
use miid_protocol::{ErrorCode, Problem};
use reqwest::header::{HeaderMap, HeaderName};
use serde::de::DeserializeOwned;

use crate::secrets::Secrets;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// Reads a response to its end, and remembers every secret in it.
    pub async fn read(response: reqwest::Response, secrets: &Secrets) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?;
        secrets.add_all_in(&String::from_utf8_lossy(&body));
        Ok(Self { status, headers, body })
    }

    /// A header field's value, where it is text.
    pub fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into()).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success, parsed.
    #[track_caller]
    pub fn ok<T: DeserializeOwned>(&self) -> T {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {}", self.text()),
        }
    }

    /// The body of a success as JSON, for what has no type.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        self.ok()
    }

    /// Claims that this status came.
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The code, where the answer is a whole and right problem document.
    #[track_caller]
    pub fn problem(&self) -> Problem {
        let content_type = self.header(reqwest::header::CONTENT_TYPE).unwrap_or_default();
        assert_eq!(content_type, problem::CONTENT_TYPE, "{}: {}", self.status, self.text());
        let problem: Problem = match serde_json::from_slice(&self.body) {
            Ok(problem) => problem,
            Err(error) => panic!("{error}: {}", self.text()),
        };
        assert_eq!(problem.status, self.status, "{}", self.text());
        assert_eq!(problem.code.status(), self.status, "{}", self.text());
        assert_eq!(problem.kind, format!("urn:miid:problem:{}", problem.code));
        assert!(!problem.title.is_empty());
        problem
    }

    /// Claims that it was refused with this code.
    #[track_caller]
    pub fn refused(&self, code: ErrorCode) -> &Self {
        assert!(self.status >= 400, "expected {code}, but {}: {}", self.status, self.text());
        let problem = self.problem();
        assert_eq!(problem.code, code, "{}", self.text());
        if matches!(self.status, 429 | 503) {
            assert!(self.header(reqwest::header::RETRY_AFTER).is_some(), "{code} without Retry-After");
        }
        self
    }
}
