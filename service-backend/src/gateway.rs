//! The gateway as a service sees it (section 4). Every call has a bound in time, and every failure
//! says whether the gateway can have acted on it.

use std::time::Duration;

use miid_protocol::paths;
use miid_protocol::problem::{ErrorCode, Problem};
use miid_protocol::secret::{ClientSecret, ResponseCode, Secret};
use miid_protocol::service::{
    Activity, AskActive, Challenge, ChallengeList, CreateChallenge, Introspection, PresenceAnswer,
    PresenceReport, ServiceSessionList, TokenRequest, TokenResponse, TokenSubject, Withdraw,
};
use miid_protocol::{ChallengeId, ClientId, Issuer, SessionId, json};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest wait for an answer; the gateway commits before it answers, and a commit is quick.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Heartbeats come every 15 s: after two and a half of them missing the stream is dead, whatever TCP
/// believes.
pub(crate) const STREAM_SILENCE: Duration = Duration::from_secs(38);
/// Larger answers are not the gateway's; a page of sessions is the largest …
const MAX_ANSWER: usize = 4 << 20;
/// … but for the list of challenges, which strangers make longer.
const MAX_CHALLENGES: usize = 64 << 20;

/// Why the gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// No connection: the request never left.
    #[error("no connection to the gateway")]
    NotSent(#[source] reqwest::Error),
    /// The request left and no usable answer came: it may have been done.
    #[error("no answer from the gateway")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It said no.
    #[error("the gateway refused: {}", .problem.code)]
    Refused {
        problem: Box<Problem>,
        /// Seconds.
        retry_after: Option<u64>,
    },
}

impl GatewayError {
    /// The code of a refusal.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { problem, .. } => Some(problem.code),
            _ => None,
        }
    }
}

/// The gateway's public keys (RFC 7517, RFC 8037).
#[derive(Debug, Deserialize)]
pub(crate) struct Jwks {
    pub(crate) keys: Vec<Jwk>,
}

/// One of them.
#[derive(Debug, Deserialize)]
pub(crate) struct Jwk {
    pub(crate) kty: String,
    #[serde(default)]
    pub(crate) crv: String,
    #[serde(default)]
    pub(crate) kid: String,
    #[serde(default)]
    pub(crate) x: String,
}

/// A client of one gateway, as one service.
#[derive(Debug)]
pub(crate) struct Gateway {
    calls: reqwest::Client,
    streams: reqwest::Client,
    base: Issuer,
    client_id: ClientId,
    client_secret: Secret<ClientSecret>,
}

impl Gateway {
    pub(crate) fn new(
        base: &Issuer,
        client_id: ClientId,
        client_secret: Secret<ClientSecret>,
    ) -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none()) // nobody sends our password elsewhere
                .no_proxy()
                .tcp_nodelay(true)
                .user_agent(concat!("miid-service/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            calls: builder().timeout(ANSWER_TIMEOUT).build()?,
            streams: builder().read_timeout(STREAM_SILENCE).build()?,
            base: base.clone(),
            client_id,
            client_secret,
        })
    }

    /// Asks for a challenge. Tried twice: the same `code_challenge` gets the same challenge.
    pub(crate) async fn create_challenge(&self, body: &CreateChallenge) -> Result<Challenge, GatewayError> {
        let ask = || self.call(Method::POST, paths::CHALLENGE.to_owned(), Some(body));
        match ask().await {
            Err(GatewayError::NotSent(_) | GatewayError::Unanswered(_)) => ask().await,
            answer => answer,
        }
    }

    pub(crate) async fn challenge(&self, id: ChallengeId) -> Result<Challenge, GatewayError> {
        self.call(Method::GET, paths::with_id(paths::CHALLENGE_BY_ID, id), None::<&()>).await
    }

    /// Gives a challenge up; with its response code, because that came back through another browser.
    pub(crate) async fn withdraw(
        &self,
        id: ChallengeId,
        response: Option<&Secret<ResponseCode>>,
    ) -> Result<Challenge, GatewayError> {
        let body = Withdraw { response_code: response.map(|code| code.expose().to_owned()) };
        self.call(Method::POST, paths::with_id(paths::CHALLENGE_WITHDRAW, id), Some(&body)).await
    }

    pub(crate) async fn live_challenges(&self) -> Result<ChallengeList, GatewayError> {
        let request = self.request(&self.calls, Method::GET, paths::SERVICE_CHALLENGES);
        self.answer(request, MAX_CHALLENGES).await
    }

    pub(crate) async fn live_sessions(
        &self,
        after: Option<SessionId>,
    ) -> Result<ServiceSessionList, GatewayError> {
        let path = match after {
            Some(id) => format!("{}?after={id}", paths::SERVICE_SESSIONS),
            None => paths::SERVICE_SESSIONS.to_owned(),
        };
        self.call(Method::GET, path, None::<&()>).await
    }

    pub(crate) async fn exchange(&self, request: &TokenRequest) -> Result<TokenResponse, GatewayError> {
        self.call(Method::POST, paths::TOKEN_EXCHANGE.to_owned(), Some(request)).await
    }

    pub(crate) async fn introspect(&self, token: &str) -> Result<Introspection, GatewayError> {
        let body = TokenSubject { token: token.to_owned(), token_type_hint: None };
        self.call(Method::POST, paths::TOKEN_INTROSPECT.to_owned(), Some(&body)).await
    }

    /// Says which sessions are connected here.
    pub(crate) async fn report_presence(
        &self,
        report: &PresenceReport,
    ) -> Result<PresenceAnswer, GatewayError> {
        self.call(Method::PUT, paths::SERVICE_PRESENCE.to_owned(), Some(report)).await
    }

    /// Whether somebody is connected now.
    pub(crate) async fn activity(&self, asked: &AskActive) -> Result<Activity, GatewayError> {
        self.call(Method::POST, paths::SESSIONS_ACTIVE.to_owned(), Some(asked)).await
    }

    /// The keys that it signs with.
    pub(crate) async fn keys(&self) -> Result<Jwks, GatewayError> {
        self.answer(self.calls.get(format!("{}{}", self.base, paths::JWKS)), MAX_ANSWER).await
    }

    /// Ends a session; one that is not there has ended.
    pub(crate) async fn end_session(&self, id: SessionId) -> Result<(), GatewayError> {
        let path = paths::with_id(paths::SESSION_BY_ID, id);
        match self.send(self.request(&self.calls, Method::DELETE, &path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(ErrorCode::SessionNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The request for the event stream, after this position.
    pub(crate) fn events(&self, last_event_id: Option<&str>) -> RequestBuilder {
        let request = self.request(&self.streams, Method::GET, paths::SERVICE_EVENTS);
        match last_event_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        }
    }

    fn request(&self, client: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        client.request(method, url).basic_auth(self.client_id.as_str(), Some(self.client_secret.expose()))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: Option<&impl Serialize>,
    ) -> Result<T, GatewayError> {
        let mut request = self.request(&self.calls, method, &path);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request, MAX_ANSWER).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        most: usize,
    ) -> Result<T, GatewayError> {
        let answer = self.send(request).await?;
        let bytes = bounded_body(answer, most).await?;
        json::from_slice(&bytes).map_err(|error| GatewayError::Unanswered(error.into()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, GatewayError> {
        let answer = request.send().await.map_err(|error| {
            // Without the URL: it may hold an id that does not belong into a log line.
            let error = error.without_url();
            if error.is_connect() || error.is_builder() {
                GatewayError::NotSent(error)
            } else {
                GatewayError::Unanswered(error.into())
            }
        })?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }
}

/// What an answer outside 2xx means. Only a problem document is a refusal; and a 5xx is nobody's
/// decision, except where it says when to come back.
pub(crate) async fn refusal(answer: Response) -> GatewayError {
    let status = answer.status();
    let retry_after = answer
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let problem = match bounded_body(answer, MAX_ANSWER).await {
        Ok(bytes) => json::from_slice::<Problem>(&bytes).ok(),
        Err(error) => return error,
    };
    match problem {
        Some(problem) => GatewayError::Refused { problem: Box::new(problem), retry_after },
        None => GatewayError::Unanswered(format!("status {status} without a problem document").into()),
    }
}

pub(crate) async fn bounded_body(mut answer: Response, most: usize) -> Result<Vec<u8>, GatewayError> {
    let unanswered = |error: reqwest::Error| GatewayError::Unanswered(error.without_url().into());
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
        if bytes.len() + chunk.len() > most {
            return Err(GatewayError::Unanswered("the answer is too large".into()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
