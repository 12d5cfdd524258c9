//! A service asks a person to sign in, or to confirm something in a session that is there (section 4).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use miid_protocol::ids::LoginHintError;
use miid_protocol::request::{ServiceName, SignInRequest};
use miid_protocol::service::{Binding, Challenge as ChallengeBody, CreateChallenge, Risk};
use miid_protocol::{ChallengeId, ErrorCode, LoginHint, Problem, SessionId, Timestamp, jws, text};

use super::extract::{Body, Caller};
use super::{ApiError, App};
use crate::clock;
use crate::domain::{Challenge, Session, State as ChallengeState, StepUp};
use crate::store::{BindingRule, Created, NewChallenge, Service, StepUpRule, StoreError, Tx};

/// Ask a person to sign in, or to confirm something in a session
#[utoipa::path(post, path = "/v1/auth/challenge", tag = "service",
    request_body = CreateChallenge,
    responses((status = 201, body = ChallengeBody), (status = 200, body = ChallengeBody, description = "Asked before"),
              (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 429, body = Problem)))]
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
        .await??;
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
        Created::SessionOver => Err(ErrorCode::SessionNotFound.into()),
        Created::AnotherPerson => {
            let why = "login_hint names somebody else than the session's person";
            Err(ApiError::detail(ErrorCode::InvalidRequest, why))
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
    async fn run(&self, tx: &mut Tx) -> Result<Result<Created, ApiError>, StoreError> {
        let session = match self.asked.step_up_session {
            None => None,
            Some(id) => match self.live_session(tx, id).await? {
                Some(session) => Some(session),
                // Its session may have ended while the answer was lost: then the challenge says so itself.
                None => return self.asked_before(tx).await,
            },
        };
        let Some(scopes) = self.scopes(session.as_ref()) else {
            return Ok(Err(ApiError::detail(ErrorCode::InvalidScope, "a scope is not one of the session's")));
        };
        let challenge = self.challenge(session.as_ref(), scopes, tx.now);
        let handle = match &self.whom {
            Whom::Named(LoginHint::Handle(handle)) => Some(handle.clone()),
            Whom::Named(LoginHint::Did(_)) | Whom::WhoeverClaims(_) => None,
        };
        // An id that does not parse is an unknown one, and an unknown one is ignored.
        let replaces = self.asked.replaces.as_deref().and_then(|id| ChallengeId::parse(id).ok());
        let new = NewChallenge { challenge, handle, replaces, quota: self.app.settings.quota() };
        tx.open_challenge(&new).await.map(Ok)
    }

    /// The session that a step-up is for: a foreign one looks like none, and so does one that is over.
    async fn live_session(&self, tx: &mut Tx, id: SessionId) -> Result<Option<Session>, StoreError> {
        let now = tx.now;
        let found = tx.session(id).await?;
        Ok(found.filter(|session| session.client_id == self.service.client_id && session.is_live(now)))
    }

    async fn asked_before(&self, tx: &mut Tx) -> Result<Result<Created, ApiError>, StoreError> {
        let same = tx.asked_before(&self.service.client_id, &self.asked.code_challenge).await?;
        Ok(same.map(Created::Same).ok_or(ErrorCode::SessionNotFound.into()))
    }

    /// What the person is asked to allow: of a session's scopes all, unless some are named.
    fn scopes(&self, session: Option<&Session>) -> Option<Vec<String>> {
        let asked = &self.asked.scopes;
        match session {
            Some(session) if asked.is_empty() => Some(session.scopes.clone()),
            Some(session) if !asked.iter().all(|scope| session.scopes.contains(scope)) => None,
            Some(_) | None => Some(asked.clone()),
        }
    }

    fn challenge(&self, session: Option<&Session>, scopes: Vec<String>, now: Timestamp) -> Challenge {
        let (asked, keys) = (&self.asked, &self.app.keys);
        let id = ChallengeId::from_uuid(clock::uuid_v7(now));
        let (binding, return_url, hint_key) = match &self.whom {
            Whom::Named(hint) => (Binding::Addressed, None, keys.hint_key(hint.as_str())),
            // A name of its own: until somebody claims it, it counts for nobody.
            Whom::WhoeverClaims(url) => (Binding::Linked, Some(url.clone()), id.to_string()),
        };
        let did = match &self.whom {
            Whom::Named(LoginHint::Did(did)) => Some(did.clone()),
            Whom::Named(LoginHint::Handle(_)) | Whom::WhoeverClaims(_) => None,
        };
        let person_key = did.as_ref().map_or_else(|| hint_key.clone(), |did| keys.person_key(did));
        let nonce = jws::encode(&clock::random::<16>());
        let expires_at = now.plus(self.app.settings.lifetimes.challenge_ttl);
        let expires_at = session.map_or(expires_at, |session| session.expires_at.min(expires_at));
        let request = self.request((id, &nonce), binding, scopes, (now, expires_at));
        Challenge {
            id,
            version: 0,
            client_id: self.service.client_id.clone(),
            did,
            hint_key,
            person_key,
            // Known as whom, nobody can say before a wallet claims it. That of a step-up is, or could not ask.
            known_browser: (asked.known_browser || session.is_some()) && binding == Binding::Addressed,
            step_up: session.map(|session| StepUp {
                session_id: session.id,
                did: Some(session.did.clone()),
                session_until: session.idle_until,
            }),
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
        }
    }

    /// What is shown, and signed.
    fn request(
        &self,
        (id, nonce): (ChallengeId, &str),
        binding: Binding,
        scopes: Vec<String>,
        (created_at, expires_at): (Timestamp, Timestamp),
    ) -> SignInRequest {
        let (asked, service) = (&self.asked, &self.service);
        let message = asked.binding_message.clone();
        SignInRequest {
            challenge_id: id,
            nonce: nonce.to_owned(),
            service: ServiceName { id: service.client_id.clone(), name: service.name.clone() },
            binding,
            binding_message: message.unwrap_or_else(|| format!("Sign in to {}", service.name)),
            scopes,
            claims: asked.claims.clone(),
            risk: asked.risk,
            step_up_session: asked.step_up_session,
            user_agent: asked.user_agent.clone(),
            ip: asked.ip.clone(),
            code_challenge: asked.code_challenge.clone(),
            created_at,
            expires_at,
        }
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
    // Those of a step-up are the session's, whatever the list says now.
    if asked.risk == Risk::Normal && asked.scopes.iter().any(|scope| !service.scopes.contains(scope)) {
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
    check_step_up(asked, service)?;
    check_whom(asked, service)
}

/// A step-up says which session it is for, and what for.
fn check_step_up(asked: &CreateChallenge, service: &Service) -> Result<(), ApiError> {
    let wrong = |why: &'static str| Err(ApiError::detail(ErrorCode::InvalidRequest, why));
    match (asked.risk, asked.step_up_session) {
        (Risk::Normal, None) => return Ok(()),
        (Risk::StepUp, Some(_)) => {}
        (Risk::Normal, Some(_)) => return wrong("step_up_session goes with risk step_up only"),
        (Risk::StepUp, None) => return wrong("step_up_session is missing"),
    }
    if asked.binding_message.as_deref().is_none_or(|message| message.trim().is_empty()) {
        return wrong("a step-up says in binding_message what it is for");
    }
    if !asked.claims.is_empty() {
        return wrong("a step-up asks for no claims");
    }
    if asked.login_hint.is_some() && service.step_up == StepUpRule::Linked {
        return wrong("this service is registered for linked step-ups only");
    }
    Ok(())
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
