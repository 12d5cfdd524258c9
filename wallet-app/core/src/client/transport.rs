//! One HTTP request to the gateway: bounded in time and size, no redirects, a fresh proof where a key makes
//! one, and the gateway's clock where ours is refused.

use std::sync::Arc;
use std::time::Duration;

use miid_protocol::problem::ErrorCode;
use miid_protocol::proof;
use miid_protocol::{Issuer, Problem, Timestamp, paths};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;

use super::error::{ClientError, Refusal};
use crate::clock::{Clock, ClockError, GatewayClock, parse_http_date};
use crate::entropy::{self, Entropy};
use crate::identity::Identity;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole request may take, and the head of a stream.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer that is read: a list of thousands of sessions.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest `Retry-After` that is believed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// What is sent.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
    pub(super) last_event_id: Option<&'a str>,
    /// Whose proof goes along; a retirement on paper has none.
    pub(super) prover: Option<&'a Identity>,
}

/// The way to one gateway.
pub(super) struct Transport {
    http: reqwest::Client,
    pub(super) issuer: Issuer,
    address: Issuer,
    pub(super) clock: GatewayClock,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl Transport {
    pub(super) fn new(
        issuer: Issuer,
        address: Issuer,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ClientError> {
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(concat!("miid-wallet/", env!("CARGO_PKG_VERSION")));
        if !address.is_https() {
            // Plain http is for loopback alone: no proxy gets to see it.
            http = http.no_proxy();
        }
        let http = http.build().map_err(ClientError::Setup)?;
        Ok(Self { http, issuer, address, clock: GatewayClock::new(clock), entropy })
    }

    /// Sends, and reads the answer.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, ClientError> {
        let mut response = self.send_with_clock(call).await?;
        let bytes = bounded(&mut response).await?;
        miid_protocol::json::from_slice(&bytes).map_err(|_| ClientError::NotUnderstood)
    }

    /// Sends, and where our time was refused once more by the gateway's clock.
    pub(super) async fn send_with_clock(&self, call: Call<'_>) -> Result<Response, ClientError> {
        match self.send(call).await? {
            Sent::Good(response) => Ok(response),
            Sent::Refused(refusal, date) if refusal.problem.code == ErrorCode::StaleProof => {
                self.clock.correct(date.ok_or(ClockError::NoDate)?)?;
                match self.send(call).await? {
                    Sent::Good(response) => Ok(response),
                    Sent::Refused(refusal, _) => Err(ClientError::Refused(refusal)),
                }
            }
            Sent::Refused(refusal, _) => Err(ClientError::Refused(refusal)),
        }
    }

    pub(super) fn unexpected(&self, response: &Response) -> ClientError {
        ClientError::Unexpected { gateway: self.issuer.clone(), status: response.status().as_u16() }
    }

    /// One attempt, with a proof of its own.
    async fn send(&self, call: Call<'_>) -> Result<Sent, ClientError> {
        let Call { method, path, body, last_event_id, prover } = call;
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.address));
        if let Some(identity) = prover {
            let jti = entropy::jti(&*self.entropy)?;
            let what = proof::Request { method: method.as_str(), path, body };
            let proof = identity.prove(what, &self.issuer, &jti, self.clock.now())?;
            request = request.header(AUTHORIZATION, format!("{} {proof}", proof::SCHEME));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        if path == paths::WALLET_EVENTS {
            request = request.header(ACCEPT, "text/event-stream");
            if let Some(id) = last_event_id {
                request = request.header("last-event-id", id);
            }
        } else {
            // Of the body, too; a stream has no end to wait for.
            request = request.timeout(REQUEST_TIMEOUT);
        }
        let response = match tokio::time::timeout(REQUEST_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(e)) if e.is_connect() || e.is_builder() => {
                return Err(ClientError::Unreachable { gateway: self.issuer.clone(), source: e });
            }
            Ok(Err(e)) => return Err(ClientError::AnswerLost(e)),
            Err(_) => return Err(ClientError::NoAnswer(self.issuer.clone())),
        };
        if response.status().is_success() { Ok(Sent::Good(response)) } else { self.refused(response).await }
    }

    /// Reads the problem document of an answer that is none.
    async fn refused(&self, mut response: Response) -> Result<Sent, ClientError> {
        let date = header(response.headers(), DATE.as_str()).and_then(parse_http_date);
        let retry_after = retry_after(response.headers());
        let status = response.status();
        let is_problem = header(response.headers(), CONTENT_TYPE.as_str())
            .is_some_and(|text| text.split(';').next() == Some(miid_protocol::problem::CONTENT_TYPE));
        let unexpected = self.unexpected(&response);
        if !is_problem {
            return Err(unexpected);
        }
        let bytes = bounded(&mut response).await?;
        let problem: Problem = miid_protocol::json::from_slice(&bytes).map_err(|_| unexpected)?;
        if problem.status != status.as_u16() {
            return Err(ClientError::NotUnderstood);
        }
        Ok(Sent::Refused(Box::new(Refusal { problem: shown(problem), retry_after }), date))
    }
}

enum Sent {
    Good(Response),
    Refused(Box<Refusal>, Option<Timestamp>),
}

/// The gateway's words end up on a terminal.
fn shown(mut problem: Problem) -> Problem {
    problem.title = crate::request::plain(&problem.title);
    problem.detail = problem.detail.map(|detail| crate::request::plain(&detail));
    problem
}

async fn bounded(response: &mut Response) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ClientError::AnswerLost)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(ClientError::NotUnderstood);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Seconds only: the gateway sends no dates here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = header(headers, RETRY_AFTER.as_str())?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
