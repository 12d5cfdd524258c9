//! Codes and refresh tokens for tokens (section 4).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use miid_protocol::secret::{AuthorizationCode, RefreshToken, Secret};
use miid_protocol::service::{ACR_STEP_UP, Binding, RevokeReason, TokenRequest, TokenResponse};
use miid_protocol::{ErrorCode, Lifetime, Problem, SessionId, Timestamp, jws, text};
use subtle::ConstantTimeEq as _;

use super::extract::{Body, Caller};
use super::{ApiError, App, AppState};
use crate::clock;
use crate::domain::challenge::{Confirmed, Grant, Redeem, Redeemable};
use crate::domain::{Challenge, Refresh, Session};
use crate::keys::AccessClaims;
use crate::store::{Service, SessionPolicy, StoreError, Tx};

/// Exchange a code or a refresh token
#[utoipa::path(post, path = "/v1/token/exchange", tag = "token", request_body = TokenRequest,
    responses((status = 200, body = TokenResponse), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn exchange(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    body: Result<Body, ApiError>,
) -> Response {
    let exchanged = async {
        let Caller(service) = caller?;
        exchanged(&app, service, &body?).await
    };
    match exchanged.await {
        Ok(tokens) => ([(CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
        Err(error) => error.at_token_endpoint().into_response(),
    }
}

async fn exchanged(app: &App, service: Service, body: &Body) -> Result<TokenResponse, ApiError> {
    let asked: TokenRequest = body.json_or_form()?;
    match asked.grant_type.as_str() {
        "authorization_code" => {
            let code = asked.code.ok_or(missing("code is missing"))?;
            let verifier = asked.code_verifier.ok_or(missing("code_verifier is missing"))?;
            let code = Secret::<AuthorizationCode>::parse(&code).map_err(|_| ErrorCode::InvalidGrant)?;
            let op =
                Redeeming { app: app.clone(), service, code, verifier, response_code: asked.response_code };
            match redeem(app, op).await? {
                Given::Session(session) => app.tokens_of(&session),
                Given::StepUp(step_up) => app.token_of_step_up(&step_up),
            }
        }
        "refresh_token" => {
            let token = asked.refresh_token.ok_or(missing("refresh_token is missing"))?;
            let token = Secret::<RefreshToken>::parse(&token).map_err(|_| ErrorCode::InvalidGrant)?;
            app.tokens_of(&refresh(app, service, token).await?)
        }
        "" => Err(missing("grant_type is missing")),
        _ => Err(ErrorCode::UnsupportedGrantType.into()),
    }
}

fn missing(what: &'static str) -> ApiError {
    ApiError::detail(ErrorCode::InvalidRequest, what)
}

/// What the exchange of a code gave.
enum Given {
    /// A sign-in: a session.
    Session(Session),
    /// A step-up: a token of a session that was there.
    StepUp(SteppedUp),
}

/// A step-up that was exchanged.
struct SteppedUp {
    /// As it was, and stays.
    session: Session,
    /// What the person granted this time.
    grant: Grant,
    approved_at: Timestamp,
}

async fn redeem(app: &App, op: Redeeming) -> Result<Given, ApiError> {
    let op = Arc::new(op);
    let result = app
        .store
        .write("exchange", move |tx| {
            let op = op.clone();
            Box::pin(async move { op.run(tx).await })
        })
        .await?;
    let outcome = match &result {
        Ok(Given::Session(_)) => "active",
        Ok(Given::StepUp(_)) => "stepped_up",
        Err(_) => "exchange_refused",
    };
    metrics::counter!("miid_challenges_total", "outcome" => outcome).increment(1);
    result
}

/// Everything that the exchange of a code needs, so that it can run again.
struct Redeeming {
    app: App,
    service: Service,
    code: Secret<AuthorizationCode>,
    verifier: String,
    response_code: Option<String>,
}

impl Redeeming {
    /// Service, verifier, response code, then reuse: only where the first three hold is it a second use.
    async fn run(&self, tx: &mut Tx) -> Result<Result<Given, ApiError>, StoreError> {
        let refused = || Ok(Err(ApiError::new(ErrorCode::InvalidGrant)));
        let keys = &self.app.keys;
        let Some(id) = keys.challenge_of(&self.code) else { return refused() };
        let Some((challenge, sub)) = tx.challenge_for_exchange(id).await? else { return refused() };
        // Only the code of the last approval counts: those of approvals that were taken back are dead.
        if keys.code(id, challenge.approvals).hash() != self.code.hash() {
            return refused();
        }
        if challenge.client_id != self.service.client_id
            || !verifies(&challenge.code_challenge, &self.verifier)
        {
            return refused();
        }
        if !self.is_from_the_same_browser(&challenge) {
            return Ok(Err(ErrorCode::WrongResponseCode.into()));
        }
        match challenge.redeem(tx.now) {
            Redeem::Dead => refused(),
            Redeem::Again(session_id) => {
                if let Some(session) = tx.session(session_id).await?.filter(|s| s.revoked.is_none()) {
                    tx.revoke_session(&session, RevokeReason::CodeReuse, None).await?;
                    tracing::warn!(session = %session_id, "an authorization code was used twice");
                }
                refused()
            }
            Redeem::SignIn(redeemable) => Ok(Ok(Given::Session(self.open(tx, &redeemable, sub).await?))),
            Redeem::StepUp(confirmed) => match confirm(tx, &confirmed).await? {
                Some(step_up) => Ok(Ok(Given::StepUp(step_up))),
                None => refused(),
            },
        }
    }

    /// A linked challenge needs what came back through the browser that began it. An addressed one has no response
    /// code, so whoever brings one along is about to finish another sign-in than they think.
    fn is_from_the_same_browser(&self, challenge: &Challenge) -> bool {
        match (challenge.binding, &self.response_code) {
            (Binding::Addressed, presented) => presented.is_none(),
            (Binding::Linked, None) => false,
            (Binding::Linked, Some(code)) => {
                self.app.keys.is_response_code(challenge.id, challenge.approvals, code)
            }
        }
    }

    /// One transaction: the challenge becomes active, earlier sessions end, the new one stands.
    async fn open(
        &self,
        tx: &mut Tx,
        redeemable: &Redeemable<'_>,
        known_sub: Option<String>,
    ) -> Result<Session, StoreError> {
        let (now, did, client_id) = (tx.now, redeemable.did(), &self.service.client_id);
        let lifetimes = &self.app.settings.lifetimes;
        let id = SessionId::from_uuid(clock::uuid_v7(now));
        tx.lock_sessions(did).await?;
        let others = match self.service.session_policy {
            SessionPolicy::Single => 0,
            // A retirement ends all of them in one transaction, so they must not be without bound.
            SessionPolicy::Multiple => self.app.settings.bounds.sessions_per_person.saturating_sub(1),
        };
        tx.supersede(client_id, did, others).await?;
        let sub = known_sub.unwrap_or_else(|| {
            let fresh = jws::encode(&clock::random::<16>());
            tx.add_subject(client_id, did, &fresh);
            fresh
        });
        let step = redeemable.activate(id, &sub, now);
        let expires_at = now.plus(lifetimes.session_ttl);
        let grant = redeemable.grant();
        let session = Session {
            id,
            challenge_id: step.next.id,
            client_id: client_id.clone(),
            did: did.clone(),
            sub,
            scopes: grant.scopes.clone(),
            grant_id: grant.id,
            disclosure: grant.disclosure.clone(),
            statement: grant.statement.clone(),
            created_at: now,
            last_used_at: now,
            expires_at,
            idle_until: now.plus(lifetimes.refresh_idle).min(expires_at),
            generation: 1,
            rotated_at: now,
            revoked: None,
        };
        tx.advance(step, None);
        tx.open_session(&session);
        Ok(session)
    }
}

/// The challenge becomes active, and nothing of its session changes. `None` where that ended at this moment: whoever
/// ended it says what becomes of the challenge.
async fn confirm(tx: &mut Tx, confirmed: &Confirmed<'_>) -> Result<Option<SteppedUp>, StoreError> {
    let now = tx.now;
    let session = tx.session(confirmed.session_id()).await?.filter(|session| session.is_live(now));
    let Some(session) = session else { return Ok(None) };
    let (grant, approved_at) = (confirmed.grant().clone(), confirmed.approved_at());
    tx.advance(confirmed.spend(now), None);
    Ok(Some(SteppedUp { session, grant, approved_at }))
}

/// PKCE S256 (RFC 7636, section 4.6).
fn verifies(challenge: &str, verifier: &str) -> bool {
    text::is_code_verifier(verifier)
        && bool::from(jws::digest(verifier.as_bytes()).as_bytes().ct_eq(challenge.as_bytes()))
}

async fn refresh(app: &App, service: Service, token: Secret<RefreshToken>) -> Result<Session, ApiError> {
    let inputs = Arc::new((app.clone(), service, token));
    app.store
        .write("refresh", move |tx| {
            let inputs = inputs.clone();
            Box::pin(async move {
                let (app, service, token) = &*inputs;
                run_refresh(tx, app, service, token).await
            })
        })
        .await?
}

async fn run_refresh(
    tx: &mut Tx,
    app: &AppState,
    service: &Service,
    token: &Secret<RefreshToken>,
) -> Result<Result<Session, ApiError>, StoreError> {
    let refused = || Ok(Err(ApiError::new(ErrorCode::InvalidGrant)));
    let Some(id) = app.keys.session_of(token) else { return refused() };
    loop {
        let Some(mut session) = tx.session(id).await? else { return refused() };
        let generation = app.keys.generation_of(id, session.generation, token);
        let Some(generation) = generation.filter(|_| session.client_id == service.client_id) else {
            return refused();
        };
        let lifetimes = &app.settings.lifetimes;
        match session.refresh(generation, tx.now, lifetimes.retry_window) {
            Refresh::Dead => return refused(),
            Refresh::Repeat => return Ok(Ok(session)),
            Refresh::Reuse => {
                tx.revoke_session(&session, RevokeReason::RefreshReuse, None).await?;
                tracing::warn!(session = %session.id, "a refresh token was used twice");
                return refused();
            }
            Refresh::Rotate => {
                let idle_until = tx.now.plus(lifetimes.refresh_idle).min(session.expires_at);
                if tx.rotate(&session, idle_until).await? {
                    session.generation += 1;
                    session.idle_until = idle_until;
                    return Ok(Ok(session));
                }
            }
        }
    }
}

impl AppState {
    /// The tokens of a session: a new access token, and the refresh token that counts.
    fn tokens_of(&self, session: &Session) -> Result<TokenResponse, ApiError> {
        let claims = self.access_claims(session, &session.scopes, self.settings.lifetimes.access_ttl);
        Ok(TokenResponse {
            refresh_token: Some(self.keys.refresh_token(session.id, session.generation).expose().to_owned()),
            claims: session.claims(),
            statement: session.statement.clone(),
            ..self.answer(session, claims)?
        })
    }

    /// A token that says when the person approved it; it is not renewed, and shares nothing again.
    fn token_of_step_up(&self, given: &SteppedUp) -> Result<TokenResponse, ApiError> {
        let SteppedUp { session, grant, approved_at } = given;
        let mut claims = self.access_claims(session, &grant.scopes, self.settings.lifetimes.step_up_ttl);
        claims.acr = Some(ACR_STEP_UP.to_owned());
        // Another instance noted it, and its clock may be a little ahead.
        claims.auth_time = Some(approved_at.seconds().min(claims.iat));
        Ok(TokenResponse { statement: grant.statement.clone(), ..self.answer(session, claims)? })
    }

    /// What a token of a session says; nothing outlives the session.
    fn access_claims(&self, session: &Session, scopes: &[String], ttl: Lifetime) -> AccessClaims {
        let now = self.clock.now();
        AccessClaims {
            iss: self.issuer.as_str().to_owned(),
            aud: session.client_id.to_string(),
            client_id: session.client_id.to_string(),
            sub: session.sub.clone(),
            sid: session.id,
            scope: scopes.join(" "),
            iat: now.seconds(),
            exp: now.plus(ttl).min(session.expires_at).seconds(),
            jti: jws::encode(&clock::random::<16>()),
            acr: None,
            auth_time: None,
        }
    }

    /// What every exchange answers.
    fn answer(&self, session: &Session, claims: AccessClaims) -> Result<TokenResponse, ApiError> {
        let access_token = self.control().ring.sign(&claims, self.clock.now()).ok_or_else(|| {
            tracing::error!("there is no signing key; run: miid-gateway keys rotate");
            ApiError::new(ErrorCode::InternalError)
        })?;
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_in: claims.exp - claims.iat,
            refresh_token: None,
            session_id: session.id,
            session_expires_at: Some(session.expires_at),
            scope: claims.scope,
            sub: session.sub.clone(),
            did: session.did.clone(),
            claims: BTreeMap::new(),
            claims_verified: false,
            statement: String::new(),
            acr: claims.acr,
            auth_time: claims.auth_time,
        })
    }
}
