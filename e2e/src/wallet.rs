//! A wallet as the gateway sees one: a key and section 5. It signs whatever a scenario wants.

use std::collections::BTreeMap;

use miid_protocol::link::Returned;
use miid_protocol::proof::{self, Request};
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{Challenge, DenyReason};
use miid_protocol::statement::{self, Decision, Disclosure};
use miid_protocol::wallet::{
    DecisionOutcome, WalletChallenge, WalletChallengeList, WalletSession, WalletSessionList,
};
use miid_protocol::{ChallengeId, ClientId, Did, SessionId, SigningKey, paths};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::clock;
use crate::gateway::Address;
use crate::service::{Login, RETURN_URL};
use crate::sse::Stream;
use crate::world::World;

/// A key, and the person behind it.
#[derive(Debug, Clone)]
pub struct Wallet {
    world: World,
    /// The key itself.
    pub key: SigningKey,
    did: Did,
}

impl Wallet {
    pub(crate) fn new(world: &World) -> Self {
        let key = SigningKey::from_bytes(&clock::random());
        let did = Did::of(&key.verifying_key());
        Self { world: world.clone(), key, did }
    }

    /// Its name.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// A proof for a request, fresh and right.
    pub fn proof(&self, at: &Address, method: &str, path: &str, body: &[u8]) -> String {
        self.proof_at(at, method, path, body, clock::now_s())
    }

    /// A proof made at another time.
    pub fn proof_at(&self, at: &Address, method: &str, path: &str, body: &[u8], now_s: i64) -> String {
        let path = path.split('?').next().unwrap_or_default();
        proof::sign(&self.key, Request { method, path, body }, &at.issuer, &clock::name(), now_s)
    }

    /// A request with a proof that may have been made for another one.
    pub async fn send_with(
        &self,
        at: &Address,
        proof: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Answer {
        self.world
            .send(at, Method::from_bytes(method.as_bytes()).expect("a method"), path, |request| {
                with_proof(request, proof, body)
            })
            .await
    }

    /// The same, where nobody may answer.
    pub async fn try_send_with(
        &self,
        at: &Address,
        proof: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Option<Answer> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.world.http().request(method, format!("{}{path}", at.origin));
        let response = with_proof(request, proof, body).send().await.ok()?;
        Answer::read(response, self.world.secrets()).await.ok()
    }

    /// `GET` with a fresh proof.
    pub async fn get(&self, at: &Address, path: &str) -> Answer {
        self.send_with(at, &self.proof(at, "GET", path, b""), "GET", path, b"").await
    }

    /// `POST` of JSON with a fresh proof.
    pub async fn post(&self, at: &Address, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let proof = self.proof(at, "POST", path, body.as_bytes());
        self.send_with(at, &proof, "POST", path, body.as_bytes()).await
    }

    /// `GET /v1/wallet/events`
    pub async fn events(&self, at: &Address, after: Option<&str>) -> Stream {
        self.world.open(self.events_request(at, after)).await
    }

    /// The request behind [`Self::events`].
    pub fn events_request(&self, at: &Address, after: Option<&str>) -> RequestBuilder {
        let proof = self.proof(at, "GET", paths::WALLET_EVENTS, b"");
        let request = self.world.http().get(format!("{}{}", at.origin, paths::WALLET_EVENTS));
        let request = with_proof(request, &proof, b"");
        match after {
            Some(after) => request.header("Last-Event-ID", after),
            None => request,
        }
    }

    /// `GET /v1/wallet/challenges`
    pub async fn challenges(&self, at: &Address) -> Vec<WalletChallenge> {
        self.get(at, paths::WALLET_CHALLENGES).await.ok::<WalletChallengeList>().challenges
    }

    /// `GET /v1/wallet/sessions`
    pub async fn sessions(&self, at: &Address) -> Vec<WalletSession> {
        self.get(at, paths::WALLET_SESSIONS).await.ok::<WalletSessionList>().sessions
    }

    /// Claims a handle.
    pub async fn claim_handle(&self, at: &Address, handle: &str) -> Answer {
        let body = json!({"handle": handle}).to_string();
        let proof = self.proof(at, "PUT", paths::WALLET_HANDLE, body.as_bytes());
        self.send_with(at, &proof, "PUT", paths::WALLET_HANDLE, body.as_bytes()).await
    }

    /// `POST /v1/wallet/challenges/:id/claim`
    pub async fn claim_with(&self, at: &Address, id: impl std::fmt::Display, secret: &str) -> Answer {
        self.post(at, &paths::with_id(paths::WALLET_CLAIM, id), &json!({"secret": secret})).await
    }

    /// Takes a linked challenge, as its link says.
    pub async fn claim(&self, at: &Address, login: &Login) -> Answer {
        self.claim_with(at, login.id(), login.link().secret.expose()).await
    }

    /// Approves a linked challenge; all scopes, no claims. What to open in the browser.
    pub async fn approve_linked(&self, at: &Address, challenge: &Challenge) -> Returned {
        let outcome: DecisionOutcome = self.try_approve_linked(at, challenge).await.ok();
        returned(&outcome.return_to.expect("an approved linked challenge says where to return"))
    }

    /// The same, whatever the answer.
    pub async fn try_approve_linked(&self, at: &Address, challenge: &Challenge) -> Answer {
        let statement = self.approval(at, &challenge.request, None);
        self.post(at, &paths::approve(challenge.challenge_id), &json!({"statement": statement})).await
    }

    /// Signs the end of this identity, as a sheet of paper holds it.
    pub fn retirement(&self, at: &Address) -> String {
        self.sign(at, Decision::Retire)
    }

    /// Ends this identity.
    pub async fn retire(&self, at: &Address) -> Answer {
        self.post(at, paths::WALLET_RETIRE, &json!({"statement": self.retirement(at)})).await
    }

    /// Signs an approval that shares nothing.
    pub fn approval(&self, at: &Address, request_text: &str, number: Option<&str>) -> String {
        let request = SignInRequest::parse(request_text).expect("the gateway's request text parses");
        let decision = Decision::Approve {
            request_text,
            request: &request,
            match_code: number,
            scopes: &request.scopes,
            disclosure: None,
        };
        self.sign(at, decision)
    }

    /// Signs a decision.
    pub fn sign(&self, at: &Address, decision: Decision<'_>) -> String {
        statement::sign(&self.key, decision, &at.issuer, &clock::name(), clock::now_s())
    }

    /// Approves with this number; all scopes, no claims.
    pub async fn approve(&self, at: &Address, challenge: &Challenge, number: &str) -> Answer {
        let statement = self.approval(at, &challenge.request, Some(number));
        self.post(at, &paths::approve(challenge.challenge_id), &json!({"statement": statement})).await
    }

    /// Approves and shares these claims.
    pub async fn approve_sharing(
        &self,
        at: &Address,
        request_text: &str,
        number: &str,
        claims: &[(&str, &str)],
    ) -> Answer {
        let request = SignInRequest::parse(request_text).expect("the gateway's request text parses");
        let claims: BTreeMap<String, String> =
            claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let disclosure = Disclosure::to_text(clock::random(), claims);
        let statement = self.sign(
            at,
            Decision::Approve {
                request_text,
                request: &request,
                match_code: Some(number),
                scopes: &request.scopes,
                disclosure: Some(&disclosure),
            },
        );
        let body = json!({"statement": statement, "disclosure": disclosure});
        self.post(at, &paths::approve(request.challenge_id), &body).await
    }

    /// Denies.
    pub async fn deny(&self, at: &Address, challenge: &Challenge, reason: DenyReason) -> Answer {
        let request_text = &challenge.request;
        let request = SignInRequest::parse(request_text).expect("the gateway's request text parses");
        let statement = self.sign(at, Decision::Deny { request_text, request: &request, reason });
        let path = paths::with_id(paths::WALLET_DENY, challenge.challenge_id);
        self.post(at, &path, &json!({"statement": statement})).await
    }

    /// Takes an approval back.
    pub async fn cancel(&self, at: &Address, challenge: &Challenge) -> Answer {
        let request_text = &challenge.request;
        let request = SignInRequest::parse(request_text).expect("the gateway's request text parses");
        let statement = self.sign(at, Decision::Cancel { request_text, request: &request });
        let path = paths::with_id(paths::WALLET_CANCEL, challenge.challenge_id);
        self.post(at, &path, &json!({"statement": statement})).await
    }

    /// Ends a session at a service.
    pub async fn revoke(&self, at: &Address, client_id: &str, session_id: SessionId) -> Answer {
        let statement = self.revocation(at, client_id, session_id);
        self.post(at, &paths::revoke(session_id), &json!({"statement": statement})).await
    }

    /// Signs the end of a session.
    pub fn revocation(&self, at: &Address, client_id: &str, session_id: SessionId) -> String {
        let client_id = ClientId::parse(client_id).expect("a client_id");
        self.sign(at, Decision::Revoke { client_id: &client_id, session_id })
    }

    /// Where a challenge stands in this wallet's list; `None` when it is not there.
    pub async fn listed(&self, at: &Address, id: ChallengeId) -> Option<WalletChallenge> {
        self.challenges(at).await.into_iter().find(|challenge| challenge.challenge_id == id)
    }
}

/// Reads the address that a wallet opens in the person's browser.
#[track_caller]
pub fn returned(address: &str) -> Returned {
    let (page, fragment) = address.split_once('#').expect("what matters is in the fragment");
    assert_eq!(page, RETURN_URL);
    Returned::parse(fragment).expect("the gateway's fragment parses")
}

fn with_proof(request: RequestBuilder, proof: &str, body: &[u8]) -> RequestBuilder {
    let request = request.header("Authorization", format!("{} {proof}", proof::SCHEME));
    if body.is_empty() {
        return request;
    }
    request.header("Content-Type", "application/json").body(body.to_vec())
}
