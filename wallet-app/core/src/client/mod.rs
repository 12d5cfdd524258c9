//! The gateway, as a wallet calls it (protocol, section 5): each request carries a fresh proof, nothing follows
//! a redirect, everything is bounded in time and size ([`transport`]), and an error is the gateway's problem
//! document or says what became of the request ([`error`]).
//!
//! Proofs and statements ([`sign`]) are made here and only here, so the key is needed nowhere else.

mod error;
mod sign;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;

use miid_protocol::link::WalletLink;
use miid_protocol::service::DenyReason;
use miid_protocol::wallet::{
    ClaimChallenge, ClaimHandle, DecisionOutcome, HandleClaimed, Retire, RetireOutcome, RevokeOutcome,
    WalletChallenge, WalletChallengeList, WalletSession, WalletSessionList,
};
use miid_protocol::{ChallengeId, Did, Handle, Issuer, Timestamp, paths};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, SystemEntropy};
use crate::identity::Identity;
use crate::policy::Granted;
use crate::recovery::RetireStatement;
use crate::request::Request;
use crate::stream::EventStream;
use transport::{Call, Transport};

pub use error::{ClientError, Refusal};
pub use sign::SignedDecision;

/// One identity's connection to one gateway. Cheap to clone.
#[derive(Clone)]
pub struct GatewayClient {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Arc<Identity>,
    transport: Transport,
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
        let transport = Transport::new(issuer, address, clock, entropy)?;
        Ok(Self { inner: Arc::new(Inner { identity, transport }) })
    }

    /// Whose requests these are.
    pub fn did(&self) -> &Did {
        self.inner.identity.did()
    }

    /// The gateway's name.
    pub fn issuer(&self) -> &Issuer {
        &self.inner.transport.issuer
    }

    /// This moment, as the gateway should see it.
    pub fn now(&self) -> Timestamp {
        self.inner.transport.clock.now()
    }

    /// Wipes the key: from now on nothing can be signed or proved. What is open stays open.
    pub fn lock(&self) {
        self.inner.identity.lock();
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.inner.transport.entropy
    }

    /// Opens the event stream, after `last_event_id` or from now.
    pub async fn events(&self, last_event_id: Option<&str>) -> Result<EventStream, ClientError> {
        let call = self.call_of(&Method::GET, paths::WALLET_EVENTS, &[]);
        let response = self.inner.transport.send_with_clock(Call { last_event_id, ..call }).await?;
        let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
            value.to_str().is_ok_and(|text| text.split(';').next() == Some("text/event-stream"))
        });
        if is_stream {
            Ok(EventStream::new(response))
        } else {
            Err(self.inner.transport.unexpected(&response))
        }
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

    /// Takes the challenge of a link, once and for all for this identity; the same again gets the same answer.
    /// A link of another gateway is not sent anywhere: its secret is none of ours to give away.
    pub async fn claim(&self, link: &WalletLink) -> Result<WalletChallenge, ClientError> {
        if link.issuer != *self.issuer() {
            return Err(ClientError::OtherGateway(link.issuer.clone()));
        }
        let secret = link.secret.expose().to_owned();
        let body = Zeroizing::new(to_json(&ClaimChallenge { secret }));
        self.call(&Method::POST, &paths::with_id(paths::WALLET_CLAIM, link.challenge_id), &body).await
    }

    /// Ends this identity at this gateway, for good. The same again repeats its answer.
    pub async fn retire(&self, statement: &str) -> Result<RetireOutcome, ClientError> {
        let body = to_json(&Retire { statement: statement.to_owned() });
        self.call(&Method::POST, paths::WALLET_RETIRE, &body).await
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
        self.inner.transport.call(self.call_of(method, path, body)).await
    }

    fn call_of<'a>(&'a self, method: &'a Method, path: &'a str, body: &'a [u8]) -> Call<'a> {
        Call { method, path, body, last_event_id: None, prover: Some(&self.inner.identity) }
    }
}

/// Ends an identity whose key may be gone, by a statement that was printed before: whoever has the paper can
/// send it, and nothing else is needed. The same again repeats its answer.
pub async fn retire_with(
    statement: &RetireStatement,
    address: Option<&Issuer>,
) -> Result<RetireOutcome, ClientError> {
    let issuer = statement.gateway.clone();
    let address = address.unwrap_or(&issuer).clone();
    let transport = Transport::new(issuer, address, Arc::new(SystemClock), Arc::new(SystemEntropy))?;
    let body = to_json(&Retire { statement: statement.statement.clone() });
    let (method, path) = (&Method::POST, paths::WALLET_RETIRE);
    let outcome: RetireOutcome =
        transport.call(Call { method, path, body: &body, last_event_id: None, prover: None }).await?;
    if outcome.did == statement.did { Ok(outcome) } else { Err(ClientError::NotUnderstood) }
}

fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes,
        Err(_) => unreachable!("plain structs serialise"),
    }
}
