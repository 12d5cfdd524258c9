//! A service asks, looks, and gives up (section 4).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use miid_protocol::ids::LoginHintError;
use miid_protocol::link::WalletLink;
use miid_protocol::request::{ServiceName, SignInRequest};
use miid_protocol::service::{
    Binding, Challenge as ChallengeBody, ChallengeStatus, CreateChallenge, ExpireReason, Risk, Withdraw,
};
use miid_protocol::{ChallengeId, ErrorCode, LoginHint, Problem, Timestamp, jws, text};

use super::extract::{Body, Caller, PathId};
use super::{ApiError, App, AppState};
use crate::clock;
use crate::domain::{Challenge, State as ChallengeState};
use crate::store::{BindingRule, Created, NewChallenge, Service, StoreError, Tx};

/// Ask a person to sign in
#[utoipa::path(post, path = "/v1/auth/challenge", tag = "service",
    request_body = CreateChallenge,
    responses((status = 201, body = ChallengeBody), (status = 200, body = ChallengeBody, description = "Asked before"),
              (status = 400, body = Problem), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(service): Caller,
    body: Body,
) -> Result<(StatusCode, Json<ChallengeBody>), ApiError> {
    let asked: CreateChallenge = body.json()?;
    let whom = check(&asked, &service)?;
    let op = Arc::new(Opening { app: app.clone(), service, asked, whom });
    let created = app
        .store
        .write("open_challenge", move |tx| {
            let op = op.clone();
            Box::pin(async move { op.run(tx).await })
        })
        .await?;
    match created {
        Created::New(challenge) => {
            metrics::counter!("miid_challenges_total", "outcome" => "created").increment(1);
            Ok((StatusCode::CREATED, Json(app.show(&challenge))))
        }
        Created::Same(challenge) => Ok((StatusCode::OK, Json(app.show(&challenge)))),
        Created::TooMany(ends) => {
            metrics::counter!("miid_challenges_total", "outcome" => "refused").increment(1);
            let wait_s = (ends.millis() - app.clock.now().millis()) / 1000 + 1;
            Err(ApiError::new(ErrorCode::TooManyChallenges).retry_after_s(wait_s))
        }
    }
}

/// Everything that opening a challenge needs, so that it can run again.
struct Opening {
    app: App,
    service: Service,
    asked: CreateChallenge,
    whom: Whom,
}

/// Who is to answer.
enum Whom {
    /// Whom the hint names.
    Named(LoginHint),
    /// Whoever claims the link; the browser returns to this address.
    WhoeverClaims(String),
}

impl Opening {
    async fn run(&self, tx: &mut Tx) -> Result<Created, StoreError> {
        let (asked, now) = (&self.asked, tx.now);
        let keys = &self.app.keys;
        let id = ChallengeId::from_uuid(clock::uuid_v7(now));
        let (did, handle) = match &self.whom {
            Whom::Named(LoginHint::Did(did)) => (Some(did.clone()), None),
            Whom::Named(LoginHint::Handle(handle)) => (None, Some(handle.clone())),
            Whom::WhoeverClaims(_) => (None, None),
        };
        let (binding, return_url, hint_key) = match &self.whom {
            Whom::Named(hint) => (Binding::Addressed, None, keys.hint_key(hint.as_str())),
            // A name of its own: until somebody claims it, it counts for nobody.
            Whom::WhoeverClaims(url) => (Binding::Linked, Some(url.clone()), id.to_string()),
        };
        let person_key = did.as_ref().map_or_else(|| hint_key.clone(), |did| keys.person_key(did));
        let nonce = jws::encode(&clock::random::<16>());
        let expires_at = now.plus(self.app.settings.lifetimes.challenge_ttl);
        let request = SignInRequest {
            challenge_id: id,
            nonce: nonce.clone(),
            service: ServiceName { id: self.service.client_id.clone(), name: self.service.name.clone() },
            binding,
            binding_message: asked
                .binding_message
                .clone()
                .unwrap_or_else(|| format!("Sign in to {}", self.service.name)),
            scopes: asked.scopes.clone(),
            claims: asked.claims.clone(),
            risk: asked.risk,
            user_agent: asked.user_agent.clone(),
            ip: asked.ip.clone(),
            code_challenge: asked.code_challenge.clone(),
            created_at: now,
            expires_at,
        };
        let challenge = Challenge {
            id,
            version: 0,
            client_id: self.service.client_id.clone(),
            did,
            hint_key,
            person_key,
            // Known as whom, nobody can say before a wallet claims it.
            known_browser: asked.known_browser && binding == Binding::Addressed,
            binding,
            return_url,
            nonce,
            request: request.to_text(),
            code_challenge: asked.code_challenge.clone(),
            created_at: now,
            expires_at,
            changed_at: now,
            approvals: 0,
            state: ChallengeState::Pending,
        };
        // An id that does not parse is an unknown one, and an unknown one is ignored.
        let replaces = asked.replaces.as_deref().and_then(|id| ChallengeId::parse(id).ok());
        tx.open_challenge(&NewChallenge { challenge, handle, replaces, quota: self.app.settings.quota() })
            .await
    }
}

/// Everything about the request that can be refused without looking anything up.
fn check(asked: &CreateChallenge, service: &Service) -> Result<Whom, ApiError> {
    let wrong = |why: &'static str| Err(ApiError::detail(ErrorCode::InvalidRequest, why));
    if asked.code_challenge_method != "S256" || !text::is_s256_challenge(&asked.code_challenge) {
        return wrong("code_challenge must be the base64url SHA-256 of the verifier, and its method S256");
    }
    if asked.scopes.len() > text::MAX_NAMES || text::has_duplicates(&asked.scopes) {
        return Err(ApiError::detail(ErrorCode::InvalidScope, "at most 20 scopes, each once"));
    }
    if asked.scopes.iter().any(|scope| !service.scopes.contains(scope)) {
        return Err(ApiError::detail(ErrorCode::InvalidScope, "a scope is not on this service's list"));
    }
    if asked.claims.len() > text::MAX_NAMES
        || text::has_duplicates(&asked.claims)
        || !asked.claims.iter().all(|claim| text::is_claim_name(claim))
    {
        return wrong("at most 20 claims, each once, each 1 to 32 of a-z 0-9 _");
    }
    let shown =
        |text: &Option<String>, max| text.as_deref().is_none_or(|text| text::is_displayable(text, max));
    if !shown(&asked.binding_message, text::MAX_BINDING_MESSAGE) {
        return wrong("binding_message has at most 140 characters, none of them control, format or bidi");
    }
    if !shown(&asked.user_agent, text::MAX_USER_AGENT) {
        return wrong("user_agent has at most 512 characters, none of them control, format or bidi");
    }
    if asked.ip.as_deref().is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return wrong("ip must be an IP address");
    }
    if asked.risk == Risk::StepUp || asked.step_up_session.is_some() {
        return wrong("step-up is not offered by this version");
    }
    check_whom(asked, service)
}

/// By a hint, or by a link: one of the two, and never both.
fn check_whom(asked: &CreateChallenge, service: &Service) -> Result<Whom, ApiError> {
    let wrong = |why: &'static str| Err(ApiError::detail(ErrorCode::InvalidRequest, why));
    match (&asked.login_hint, &asked.return_url) {
        (Some(_), Some(_)) => wrong("login_hint and return_url exclude each other"),
        (None, None) => wrong("login_hint is missing, or return_url for a sign-in by link"),
        (None, Some(url)) if service.return_urls.contains(url) => Ok(Whom::WhoeverClaims(url.clone())),
        (None, Some(_)) => wrong("return_url is not one of those registered for this service"),
        (Some(_), None) if service.binding == BindingRule::Linked => {
            wrong("this service is registered for linked challenges only")
        }
        (Some(hint), None) => LoginHint::parse(hint).map(Whom::Named).map_err(|error| match error {
            LoginHintError::Did(error) => error.into(),
            LoginHintError::Handle(_) => ApiError::detail(
                ErrorCode::InvalidRequest,
                "login_hint is neither a DID nor a handle (3 to 32 of a-z 0-9 _ -)",
            ),
        }),
    }
}

/// Look at a challenge
#[utoipa::path(get, path = "/v1/auth/challenges/{id}", tag = "service", params(("id" = String, Path)),
    responses((status = 200, body = ChallengeBody), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    Caller(service): Caller,
    PathId(id): PathId,
) -> Result<Json<ChallengeBody>, ApiError> {
    let id = ChallengeId::parse(&id).map_err(|_| ErrorCode::ChallengeNotFound)?;
    let found = app.store.read().await?.challenge_of_service(id, &service.client_id).await?;
    let challenge = found.ok_or(ErrorCode::ChallengeNotFound)?;
    let mut body = app.show(&challenge);
    if let ChallengeState::Active(active) = &challenge.state {
        let session = app.store.read().await?.session(active.session_id).await?;
        let now = app.clock.now();
        if session.is_none_or(|session| !session.is_live(now)) {
            body.status = ChallengeStatus::Revoked;
        }
    }
    Ok(Json(body))
}

/// Give a challenge up
#[utoipa::path(post, path = "/v1/auth/challenges/{id}/withdraw", tag = "service", params(("id" = String, Path)),
    request_body = Withdraw,
    responses((status = 200, body = ChallengeBody), (status = 400, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn withdraw(
    State(app): State<App>,
    Caller(service): Caller,
    PathId(id): PathId,
    body: Body,
) -> Result<Json<ChallengeBody>, ApiError> {
    let id = ChallengeId::parse(&id).map_err(|_| ErrorCode::ChallengeNotFound)?;
    let asked: Withdraw = if body.bytes.is_empty() { Withdraw::default() } else { body.json()? };
    let withdrawing = Arc::new(Withdrawing { app: app.clone(), id, service, asked });
    let result = app
        .store
        .write("withdraw", move |tx| {
            let withdrawing = withdrawing.clone();
            Box::pin(async move { withdrawing.run(tx).await })
        })
        .await?;
    result.map(|challenge| Json(app.show(&challenge)))
}

/// Everything that giving a challenge up needs, so that it can run again.
struct Withdrawing {
    app: App,
    id: ChallengeId,
    service: Service,
    asked: Withdraw,
}

impl Withdrawing {
    async fn run(&self, tx: &mut Tx) -> Result<Result<Challenge, ApiError>, StoreError> {
        let now = tx.now;
        let Some(challenge) = tx.challenge_of_service(self.id, &self.service.client_id).await? else {
            return Ok(Err(ErrorCode::ChallengeNotFound.into()));
        };
        let reason = match self.asked.response_code.as_deref() {
            None => ExpireReason::Withdrawn,
            // It came back through a browser that did not begin this sign-in.
            Some(code) if self.is_right(&challenge, code, now) => ExpireReason::OtherBrowser,
            Some(_) => return Ok(Err(ErrorCode::WrongResponseCode.into())),
        };
        Ok(match challenge.withdraw(reason, now) {
            Err(refusal) => Err(refusal.into()),
            Ok(None) => Ok(challenge),
            Ok(Some(step)) => {
                let next = step.next.clone();
                tx.advance(step, None);
                Ok(next)
            }
        })
    }

    fn is_right(&self, challenge: &Challenge, code: &str, now: Timestamp) -> bool {
        challenge.has_response_code(now)
            && self.app.keys.is_response_code(challenge.id, challenge.approvals, code)
    }
}

impl AppState {
    /// A challenge as its service sees it now.
    pub(super) fn show(&self, challenge: &Challenge) -> ChallengeBody {
        let (status, reason) = challenge.standing(self.clock.now());
        let approved = match &challenge.state {
            ChallengeState::Approved(approved) if status == ChallengeStatus::Approved => Some(approved),
            _ => None,
        };
        let code = approved.map(|_| self.keys.code(challenge.id, challenge.approvals));
        ChallengeBody {
            challenge_id: challenge.id,
            nonce: challenge.nonce.clone(),
            request: challenge.request.clone(),
            status,
            reason,
            binding: challenge.binding,
            expires_at: challenge.expires_at,
            match_code: (challenge.binding == Binding::Addressed).then(|| self.keys.match_code(challenge.id)),
            wallet_link: (challenge.binding == Binding::Linked).then(|| self.wallet_link(challenge)),
            claimed: challenge.binding == Binding::Linked && challenge.did.is_some(),
            authorization_code: code.map(|code| code.expose().to_owned()),
            code_expires_at: approved.map(|approved| approved.code_expires_at),
            did: approved.and(challenge.did.clone()),
        }
    }
    /// What a page opens in the wallet. Nothing of it is stored.
    fn wallet_link(&self, challenge: &Challenge) -> String {
        let secret = self.keys.link_secret(challenge.id);
        WalletLink { challenge_id: challenge.id, issuer: self.issuer.clone(), secret }.to_text()
    }
}
