//! The gateway, as a wallet calls it (protocol, section 5): each request carries a fresh proof, nothing follows
//! a redirect, everything is bounded in time and size, and an error is the gateway's problem document or says
//! what became of the request.
//!
//! Proofs and statements are made here and only here, so the key is needed nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use miid_protocol::problem::ErrorCode;
use miid_protocol::proof;
use miid_protocol::service::DenyReason;
use miid_protocol::statement::{self, Disclosure};
use miid_protocol::wallet::{
    ClaimHandle, Decision, DecisionOutcome, HandleClaimed, RevokeOutcome, WalletChallenge,
    WalletChallengeList, WalletSession, WalletSessionList,
};
use miid_protocol::{ChallengeId, ClientId, Did, Handle, Issuer, Problem, SessionId, Timestamp, paths};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;

use crate::clock::{Clock, ClockError, GatewayClock, SystemClock, parse_http_date};
use crate::entropy::{self, Entropy, EntropyError, SystemEntropy};
use crate::identity::Identity;
use crate::policy::Granted;
use crate::request::Request;
use crate::stream::EventStream;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole request may take, and the head of a stream.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer that is read: a list of thousands of sessions.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest `Retry-After` that is believed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// What became of a request that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection: the request was not sent.
    #[error("the gateway at {gateway} cannot be reached")]
    Unreachable {
        /// Which.
        gateway: Issuer,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke, or nothing came in time: the request may have been done.
    #[error("the gateway's answer was lost")]
    AnswerLost(#[source] reqwest::Error),
    /// Nothing came in time: the request may have been done.
    #[error("the gateway at {0} did not answer in time")]
    NoAnswer(Issuer),
    /// The gateway said no, and why.
    #[error("{}", .0.problem.detail.as_deref().unwrap_or(&.0.problem.title))]
    Refused(Box<Refusal>),
    /// Something between us and the gateway answered, or no gateway at all: a redirect, a page.
    #[error("what answers at {gateway} is no MiID gateway (status {status})")]
    Unexpected {
        /// Which.
        gateway: Issuer,
        /// HTTP status.
        status: u16,
    },
    /// A good status with a body that is none of ours, or too large.
    #[error("the gateway's answer could not be understood")]
    NotUnderstood,
    /// The clocks are too far apart.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// No random bytes for a proof.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
}

/// A problem document, and how long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the gateway said.
    pub problem: Problem,
    /// `Retry-After`, at most five minutes.
    pub retry_after: Option<Duration>,
}

impl ClientError {
    /// The gateway's error code, where it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.code),
            _ => None,
        }
    }

    /// Whether the request may have been done all the same.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::AnswerLost(_) | Self::NoAnswer(_) | Self::NotUnderstood => true,
            Self::Unexpected { status, .. } => *status >= 500,
            Self::Refused(refusal) => refusal.problem.status >= 500,
            _ => false,
        }
    }

    /// Whether the gateway is away, so that another attempt makes sense by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
            || self.may_have_been_done()
            || self.code() == Some(ErrorCode::RateLimited)
    }

    /// How long the gateway wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

/// A signed decision, ready to be sent as often as it takes: same bytes, each time under a fresh proof. It has
/// no `Debug`, since what is shared is in it.
#[derive(Clone)]
pub struct SignedDecision {
    path: String,
    body: Decision,
}

impl SignedDecision {
    /// What was signed.
    pub fn statement(&self) -> &str {
        &self.body.statement
    }
}

/// One identity's connection to one gateway. Cheap to clone.
#[derive(Clone)]
pub struct GatewayClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    identity: Arc<Identity>,
    issuer: Issuer,
    address: Issuer,
    clock: GatewayClock,
    entropy: Arc<dyn Entropy>,
}

impl GatewayClient {
    /// For a gateway that is where its name says, by the machine's clock and randomness.
    pub fn new(identity: Arc<Identity>, issuer: Issuer) -> Result<Self, ClientError> {
        let address = issuer.clone();
        Self::with(identity, issuer, address, Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// `address` is where the gateway is reached, should that not be its name: one instance of several, say.
    /// Proofs and statements always name the issuer.
    pub fn with(
        identity: Arc<Identity>,
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
        let clock = GatewayClock::new(clock);
        Ok(Self { inner: Arc::new(Inner { http, identity, issuer, address, clock, entropy }) })
    }

    /// Whose requests these are.
    pub fn did(&self) -> &Did {
        self.inner.identity.did()
    }

    /// The gateway's name.
    pub fn issuer(&self) -> &Issuer {
        &self.inner.issuer
    }

    /// This moment, as the gateway should see it.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.inner.entropy
    }

    /// Opens the event stream, after `last_event_id` or from now.
    pub async fn events(&self, last_event_id: Option<&str>) -> Result<EventStream, ClientError> {
        let response = self.send_with_clock(&Method::GET, paths::WALLET_EVENTS, &[], last_event_id).await?;
        let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
            value.to_str().is_ok_and(|text| text.split(';').next() == Some("text/event-stream"))
        });
        if is_stream { Ok(EventStream::new(response)) } else { Err(self.unexpected(&response)) }
    }

    /// Pending and approved challenges, newest first.
    pub async fn challenges(&self) -> Result<Vec<WalletChallenge>, ClientError> {
        let list: WalletChallengeList = self.read(paths::WALLET_CHALLENGES).await?;
        Ok(list.challenges)
    }

    /// Live sessions, newest first.
    pub async fn sessions(&self) -> Result<Vec<WalletSession>, ClientError> {
        let list: WalletSessionList = self.read(paths::WALLET_SESSIONS).await?;
        Ok(list.sessions)
    }

    /// Claims a handle, or releases the one held. Repeating it changes nothing, so a lost answer is no harm.
    pub async fn set_handle(&self, handle: Option<&Handle>) -> Result<Option<Handle>, ClientError> {
        let body = ClaimHandle { handle: handle.map(ToString::to_string) };
        let claimed: HandleClaimed = self.call(&Method::PUT, paths::WALLET_HANDLE, &to_json(&body)).await?;
        claimed.handle.map(|text| Handle::parse(&text).map_err(|_| ClientError::NotUnderstood)).transpose()
    }

    /// Signs a yes to exactly the text of this request.
    pub fn sign_approval(&self, request: &Request, granted: &Granted) -> Result<SignedDecision, ClientError> {
        let disclosure = if granted.claims.is_empty() {
            None
        } else {
            Some(Disclosure::to_text(entropy::bytes(self.entropy())?, granted.claims.clone()))
        };
        let statement = self.sign(statement::Decision::Approve {
            request_text: request.text(),
            request: request.says(),
            match_code: granted.match_code.as_deref(),
            scopes: &granted.scopes,
            disclosure: disclosure.as_deref(),
        })?;
        let path = paths::approve(request.id());
        Ok(SignedDecision { path, body: Decision { statement, disclosure } })
    }

    /// Signs a no.
    pub fn sign_denial(&self, request: &Request, reason: DenyReason) -> Result<SignedDecision, ClientError> {
        let (request_text, says) = (request.text(), request.says());
        let statement = self.sign(statement::Decision::Deny { request_text, request: says, reason })?;
        Ok(SignedDecision::bare(paths::with_id(paths::WALLET_DENY, request.id()), statement))
    }

    /// Signs that an approval is taken back.
    pub fn sign_cancellation(&self, request: &Request) -> Result<SignedDecision, ClientError> {
        let (request_text, says) = (request.text(), request.says());
        let statement = self.sign(statement::Decision::Cancel { request_text, request: says })?;
        Ok(SignedDecision::bare(paths::with_id(paths::WALLET_CANCEL, request.id()), statement))
    }

    /// Signs that a session ends.
    pub fn sign_revocation(
        &self,
        service: &ClientId,
        session_id: SessionId,
    ) -> Result<SignedDecision, ClientError> {
        let statement = self.sign(statement::Decision::Revoke { client_id: service, session_id })?;
        Ok(SignedDecision::bare(paths::revoke(session_id), statement))
    }

    /// Sends a decision about a challenge, once.
    pub async fn decide(&self, decision: &SignedDecision) -> Result<DecisionOutcome, ClientError> {
        self.call(&Method::POST, &decision.path, &to_json(&decision.body)).await
    }

    /// Sends a revocation, once; the same again repeats its answer.
    pub async fn revoke(&self, decision: &SignedDecision) -> Result<RevokeOutcome, ClientError> {
        self.call(&Method::POST, &decision.path, &to_json(&decision.body)).await
    }

    /// Yes in one call, for who drives the protocol itself: reads `text`, signs it, sends it once.
    pub async fn approve(
        &self,
        id: ChallengeId,
        text: &str,
        match_code: Option<&str>,
        claims: BTreeMap<String, String>,
    ) -> Result<DecisionOutcome, ClientError> {
        let request = Request::read(id, text).map_err(|_| ClientError::NotUnderstood)?;
        let scopes = request.says().scopes.clone();
        let granted = Granted { match_code: match_code.map(str::to_owned), scopes, claims };
        self.decide(&self.sign_approval(&request, &granted)?).await
    }

    /// No in one call.
    pub async fn deny(
        &self,
        id: ChallengeId,
        text: &str,
        reason: DenyReason,
    ) -> Result<DecisionOutcome, ClientError> {
        let request = Request::read(id, text).map_err(|_| ClientError::NotUnderstood)?;
        self.decide(&self.sign_denial(&request, reason)?).await
    }

    /// Takes an approval back in one call.
    pub async fn cancel(&self, id: ChallengeId, text: &str) -> Result<DecisionOutcome, ClientError> {
        let request = Request::read(id, text).map_err(|_| ClientError::NotUnderstood)?;
        self.decide(&self.sign_cancellation(&request)?).await
    }

    fn sign(&self, decision: statement::Decision<'_>) -> Result<String, ClientError> {
        let jti = entropy::jti(self.entropy())?;
        Ok(self.inner.identity.state(decision, &self.inner.issuer, &jti, self.now()))
    }

    /// A list: asked for once more where the answer was lost, since asking changes nothing.
    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        match self.call(&Method::GET, path, &[]).await {
            Err(ClientError::AnswerLost(_) | ClientError::NoAnswer(_)) => {
                self.call(&Method::GET, path, &[]).await
            }
            answer => answer,
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
    ) -> Result<T, ClientError> {
        let mut response = self.send_with_clock(method, path, body, None).await?;
        let bytes = bounded(&mut response).await?;
        miid_protocol::json::from_slice(&bytes).map_err(|_| ClientError::NotUnderstood)
    }

    /// Sends, and where our time was refused once more by the gateway's clock.
    async fn send_with_clock(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        last_event_id: Option<&str>,
    ) -> Result<Response, ClientError> {
        match self.send(method, path, body, last_event_id).await? {
            Sent::Good(response) => Ok(response),
            Sent::Refused(refusal, date) if refusal.problem.code == ErrorCode::StaleProof => {
                self.inner.clock.correct(date.ok_or(ClockError::NoDate)?)?;
                match self.send(method, path, body, last_event_id).await? {
                    Sent::Good(response) => Ok(response),
                    Sent::Refused(refusal, _) => Err(ClientError::Refused(refusal)),
                }
            }
            Sent::Refused(refusal, _) => Err(ClientError::Refused(refusal)),
        }
    }

    /// One attempt, with a proof of its own.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        last_event_id: Option<&str>,
    ) -> Result<Sent, ClientError> {
        let jti = entropy::jti(self.entropy())?;
        let what = proof::Request { method: method.as_str(), path, body };
        let proof = self.inner.identity.prove(what, &self.inner.issuer, &jti, self.now());
        let url = format!("{}{path}", self.inner.address);
        let mut request = self
            .inner
            .http
            .request(method.clone(), url)
            .header(AUTHORIZATION, format!("{} {proof}", proof::SCHEME));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        if path == paths::WALLET_EVENTS {
            request = request.header(reqwest::header::ACCEPT, "text/event-stream");
            if let Some(id) = last_event_id {
                request = request.header("last-event-id", id);
            }
        } else {
            // Of the body, too; a stream has no end to wait for.
            request = request.timeout(REQUEST_TIMEOUT);
        }
        let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(e)) if e.is_connect() || e.is_builder() => {
                return Err(ClientError::Unreachable { gateway: self.inner.issuer.clone(), source: e });
            }
            Ok(Err(e)) => return Err(ClientError::AnswerLost(e)),
            Err(_) => return Err(ClientError::NoAnswer(self.inner.issuer.clone())),
        };
        if response.status().is_success() {
            return Ok(Sent::Good(response));
        }
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

    fn unexpected(&self, response: &Response) -> ClientError {
        ClientError::Unexpected { gateway: self.inner.issuer.clone(), status: response.status().as_u16() }
    }
}

impl SignedDecision {
    fn bare(path: String, statement: String) -> Self {
        Self { path, body: Decision { statement, disclosure: None } }
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

fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes,
        Err(_) => unreachable!("plain structs serialise"),
    }
}
