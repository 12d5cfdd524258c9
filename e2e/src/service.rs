//! A service as the gateway sees one: Basic authentication and section 4, nothing in between.

use miid_protocol::link::WalletLink;
use miid_protocol::service::{Challenge, CreateChallenge, Introspection, TokenResponse};
use miid_protocol::{ChallengeId, SessionId, jws, paths};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::gateway::Address;
use crate::sse::Stream;
use crate::wallet::Wallet;
use crate::world::World;
use crate::{Event, clock};

/// A registered service.
#[derive(Debug, Clone)]
pub struct Service {
    world: World,
    /// Its `client_id`.
    pub client_id: String,
    /// Its `client_secret`.
    pub secret: String,
}

/// A challenge and what only its service knows.
#[derive(Debug, Clone)]
pub struct Login {
    /// As created.
    pub challenge: Challenge,
    /// PKCE (RFC 7636).
    pub verifier: String,
}

impl Login {
    /// Its id.
    pub fn id(&self) -> ChallengeId {
        self.challenge.challenge_id
    }

    /// The number on the page.
    #[track_caller]
    pub fn number(&self) -> &str {
        self.challenge.match_code.as_deref().expect("an addressed challenge has a number")
    }

    /// What opens the wallet.
    #[track_caller]
    pub fn link(&self) -> WalletLink {
        let link = self.challenge.wallet_link.as_deref().expect("a linked challenge has a link");
        WalletLink::parse(link).expect("the gateway's link parses")
    }

    /// A number that is not the one on the page.
    #[track_caller]
    pub fn wrong_number(&self) -> &'static str {
        if self.number() == "47" { "74" } else { "47" }
    }
}

/// Where a service's browsers return to; registered for each.
pub const RETURN_URL: &str = "http://127.0.0.1:15000/auth/return";

/// A PKCE verifier and its challenge.
pub fn pkce() -> (String, String) {
    let verifier = jws::encode(&clock::random::<32>());
    let challenge = jws::digest(verifier.as_bytes());
    (verifier, challenge)
}

impl Service {
    pub(crate) fn new(world: &World, client_id: &str, secret: &str) -> Self {
        Self { world: world.clone(), client_id: client_id.to_owned(), secret: secret.to_owned() }
    }

    /// Any request of this service.
    pub async fn send(
        &self,
        at: &Address,
        method: Method,
        path: &str,
        build: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let signed = |request: RequestBuilder| build(request.basic_auth(&self.client_id, Some(&self.secret)));
        self.world.send(at, method, path, signed).await
    }

    /// The same, where nobody may answer.
    pub async fn try_post(&self, at: &Address, path: &str, body: &Value) -> Option<Answer> {
        let request = self.world.http().post(format!("{}{path}", at.origin)).json(body);
        let response = request.basic_auth(&self.client_id, Some(&self.secret)).send().await.ok()?;
        Answer::read(response, self.world.secrets()).await.ok()
    }

    /// `GET`, where nobody may answer.
    pub async fn try_get(&self, at: &Address, path: &str) -> Option<Answer> {
        let request = self.world.http().get(format!("{}{path}", at.origin));
        let response = request.basic_auth(&self.client_id, Some(&self.secret)).send().await.ok()?;
        Answer::read(response, self.world.secrets()).await.ok()
    }

    /// `GET`
    pub async fn get(&self, at: &Address, path: &str) -> Answer {
        self.send(at, Method::GET, path, |request| request).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, at: &Address, path: &str, body: &Value) -> Answer {
        self.send(at, Method::POST, path, |request| request.json(body)).await
    }

    /// What a usual request for a challenge says.
    pub fn asking(&self, hint: &str) -> (CreateChallenge, String) {
        let (verifier, code_challenge) = pkce();
        let body = CreateChallenge {
            login_hint: Some(hint.to_owned()),
            scopes: vec!["profile".into()],
            claims: vec!["name".into(), "email".into()],
            binding_message: Some("Sign in to Demo Shop".into()),
            code_challenge,
            code_challenge_method: "S256".into(),
            user_agent: Some("Scenario/1.0".into()),
            ip: Some("192.0.2.1".into()),
            ..CreateChallenge::default()
        };
        (body, verifier)
    }

    /// What a usual request for a linked challenge says.
    pub fn asking_for_a_link(&self) -> (CreateChallenge, String) {
        let (body, verifier) = self.asking("");
        (CreateChallenge { login_hint: None, return_url: Some(RETURN_URL.into()), ..body }, verifier)
    }

    /// `POST /v1/auth/challenge`, whatever the answer.
    pub async fn create(&self, at: &Address, body: &CreateChallenge) -> Answer {
        self.post(at, paths::CHALLENGE, &json!(body)).await
    }

    /// A challenge for a DID or a handle.
    #[track_caller]
    pub fn login(&self, at: &Address, hint: &str) -> impl Future<Output = Login> {
        let (body, verifier) = self.asking(hint);
        async move {
            let challenge = self.create(at, &body).await.is(201).ok();
            Login { challenge, verifier }
        }
    }

    /// A challenge for whoever opens its link.
    #[track_caller]
    pub fn linked(&self, at: &Address) -> impl Future<Output = Login> {
        let (body, verifier) = self.asking_for_a_link();
        async move {
            let challenge = self.create(at, &body).await.is(201).ok();
            Login { challenge, verifier }
        }
    }

    /// `GET /v1/auth/challenges/:id`
    pub async fn challenge(&self, at: &Address, id: ChallengeId) -> Challenge {
        self.get(at, &paths::with_id(paths::CHALLENGE_BY_ID, id)).await.ok()
    }

    /// The code of an approved challenge.
    pub async fn code(&self, at: &Address, id: ChallengeId) -> String {
        self.challenge(at, id).await.authorization_code.expect("an approved challenge shows its code")
    }

    /// `GET /v1/service/events`, everything or one challenge.
    pub async fn events(&self, at: &Address, challenge: Option<ChallengeId>, after: Option<&str>) -> Stream {
        self.world.open(self.events_request(at, challenge, after)).await
    }

    /// The request behind [`Self::events`].
    pub fn events_request(
        &self,
        at: &Address,
        challenge: Option<ChallengeId>,
        after: Option<&str>,
    ) -> RequestBuilder {
        let query = challenge.map(|id| format!("?challenge_id={id}")).unwrap_or_default();
        let url = format!("{}{}{query}", at.origin, paths::SERVICE_EVENTS);
        let mut request = self.world.http().get(url).basic_auth(&self.client_id, Some(&self.secret));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        request
    }

    /// `POST /v1/token/exchange` of a code.
    pub async fn exchange(&self, at: &Address, code: &str, verifier: &str) -> Answer {
        let body = json!({"grant_type": "authorization_code", "code": code, "code_verifier": verifier});
        self.post(at, paths::TOKEN_EXCHANGE, &body).await
    }

    /// `POST /v1/token/exchange` of a code, with what came back through a browser.
    pub async fn exchange_returned(
        &self,
        at: &Address,
        code: &str,
        verifier: &str,
        response_code: &str,
    ) -> Answer {
        let body = json!({"grant_type": "authorization_code", "code": code, "code_verifier": verifier,
            "response_code": response_code});
        self.post(at, paths::TOKEN_EXCHANGE, &body).await
    }

    /// `POST /v1/auth/challenges/:id/withdraw`, with what came back through a browser or without.
    pub async fn withdraw(&self, at: &Address, id: ChallengeId, response_code: Option<&str>) -> Answer {
        let body = match response_code {
            Some(code) => json!({"response_code": code}),
            None => json!({}),
        };
        self.post(at, &paths::with_id(paths::CHALLENGE_WITHDRAW, id), &body).await
    }

    /// `POST /v1/token/exchange` of a refresh token.
    pub async fn refresh(&self, at: &Address, refresh_token: &str) -> Answer {
        let body = json!({"grant_type": "refresh_token", "refresh_token": refresh_token});
        self.post(at, paths::TOKEN_EXCHANGE, &body).await
    }

    /// `POST /v1/token/introspect`
    pub async fn introspect(&self, at: &Address, token: &str) -> Introspection {
        self.post(at, paths::TOKEN_INTROSPECT, &json!({"token": token})).await.ok()
    }

    /// `POST /v1/token/revoke`
    pub async fn revoke(&self, at: &Address, token: &str) -> Answer {
        self.post(at, paths::TOKEN_REVOKE, &json!({"token": token})).await
    }

    /// `DELETE /v1/sessions/:id`
    pub async fn end_session(&self, at: &Address, id: SessionId) -> Answer {
        self.send(at, Method::DELETE, &paths::with_id(paths::SESSION_BY_ID, id), |request| request).await
    }

    /// `GET /v1/userinfo` with an access token.
    pub async fn userinfo(&self, at: &Address, access_token: &str) -> Answer {
        self.world.send(at, Method::GET, paths::USERINFO, |request| request.bearer_auth(access_token)).await
    }

    /// Exchanges an approved challenge's code.
    pub async fn finish(&self, at: &Address, login: &Login) -> TokenResponse {
        let code = self.code(at, login.id()).await;
        self.exchange(at, &code, &login.verifier).await.ok()
    }

    /// A whole sign-in of this wallet.
    pub async fn sign_in(&self, at: &Address, wallet: &Wallet) -> TokenResponse {
        let login = self.login(at, wallet.did().as_str()).await;
        wallet.approve(at, &login.challenge, login.number()).await.is(200);
        self.finish(at, &login).await
    }
}

/// What a sign-in's tokens have and a step-up's do not.
pub trait Renewable {
    /// The refresh token.
    fn renewal(&self) -> &String;
}

impl Renewable for TokenResponse {
    #[track_caller]
    fn renewal(&self) -> &String {
        self.refresh_token.as_ref().expect("a session's tokens come with a refresh token")
    }
}

/// The names of events, in their order.
pub fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}
