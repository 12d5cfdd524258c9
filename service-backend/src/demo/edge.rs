//! The gateway's edge, through which the shop calls its API with the person's token.

use std::time::Duration;

use http::{Method, StatusCode};
use miid_protocol::{Issuer, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::gateway::bounded_body;
use crate::signed_in::AccessToken;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 64 << 10;

/// A client of one edge.
#[derive(Debug)]
pub(super) struct Edge {
    client: reqwest::Client,
    base: Issuer,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A step-up is missing or too old.
    StepUp,
    NotActive,
    /// The token is not taken any more: its time is over, or its key was taken back.
    Expired,
    /// The session has ended.
    SignedOut,
    InsufficientFunds,
    /// It was not done.
    Away,
    /// It may have been done.
    Lost,
}

/// What of a problem document is looked at.
#[derive(Deserialize)]
struct Said {
    code: String,
    #[serde(default)]
    reason: String,
}

impl Edge {
    pub(super) fn new(base: Issuer) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none()) // nobody sends a person's token elsewhere
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { client, base })
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &AccessToken,
        body: Option<&impl Serialize>,
    ) -> Result<T, Fault> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            let error = error.without_url();
            tracing::warn!(error = &error as &dyn std::error::Error, "the edge gives no answer");
            if error.is_connect() { Fault::Away } else { Fault::Lost }
        })?;
        let status = answer.status();
        let bytes = bounded_body(answer, MAX_ANSWER).await.map_err(|_| Fault::Lost)?;
        if status == StatusCode::OK {
            return json::from_slice(&bytes).map_err(|_| Fault::Lost);
        }
        let Ok(said) = json::from_slice::<Said>(&bytes) else { return Err(Fault::Lost) };
        tracing::info!(status = status.as_u16(), code = said.code, reason = said.reason, "the API says no");
        Err(Fault::of(status, &said))
    }
}

impl Fault {
    fn of(status: StatusCode, said: &Said) -> Self {
        match (status.as_u16(), said.code.as_str(), said.reason.as_str()) {
            (401, "insufficient_user_authentication", _) => Self::StepUp,
            (401, "invalid_token", "revoked") => Self::SignedOut,
            (401, "invalid_token", _) => Self::Expired,
            (403, "active_session_required", _) => Self::NotActive,
            (409, "insufficient_funds", _) => Self::InsufficientFunds,
            // Refused before anything was sent on.
            (503, "upstream_unavailable" | "too_many_connections" | "gateway_unavailable" | "busy", _) => {
                Self::Away
            }
            // The edge got no answer, none that it understood, or none that it could stand by.
            (500.., ..) => Self::Lost,
            // Refused before anything was done, for a reason that is not the person's.
            (status, code, reason) => {
                tracing::error!(status, code, reason, "the edge or the API refuses this service");
                Self::Away
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_that_nothing_was_done_unless_that_is_certain() {
        let of = |status: u16, code: &str, reason: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            Fault::of(status, &Said { code: code.to_owned(), reason: reason.to_owned() })
        };
        assert_eq!(of(503, "upstream_unavailable", ""), Fault::Away);
        assert_eq!(of(403, "insufficient_scope", ""), Fault::Away);
        for (status, code) in [(500, "internal_error"), (502, "upstream_failed"), (503, "store_unavailable")]
        {
            assert_eq!(of(status, code, ""), Fault::Lost, "{code}");
        }
    }

    #[test]
    fn a_token_that_is_not_taken_any_more_is_asked_for_anew() {
        let of = |reason: &str| {
            let said = Said { code: "invalid_token".to_owned(), reason: reason.to_owned() };
            Fault::of(StatusCode::UNAUTHORIZED, &said)
        };
        assert_eq!(of("revoked"), Fault::SignedOut);
        for reason in ["expired", "unknown_key", "malformed"] {
            assert_eq!(of(reason), Fault::Expired, "{reason}");
        }
    }
}
