//! What tokens and sessions are worth now: introspection, revocation, userinfo. The session's row
//! decides, not the signature alone (threats 22).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use miid_protocol::secret::{RefreshToken, Secret};
use miid_protocol::service::{Introspection, RevokeReason, TokenSubject, UserInfo};
use miid_protocol::{ClientId, ErrorCode, Problem, SessionId};

use super::extract::{Body, Caller, PathId, Source, authorization};
use super::{ApiError, App, AppState};
use crate::domain::Session;
use crate::store::Service;

/// Introspect a token (RFC 7662)
#[utoipa::path(post, path = "/v1/token/introspect", tag = "token", request_body = TokenSubject,
    responses((status = 200, body = Introspection), (status = 401, body = Problem)))]
pub(super) async fn introspect(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    body: Result<Body, ApiError>,
) -> Response {
    let introspected = async {
        let Caller(service) = caller?;
        let asked: TokenSubject = body?.json_or_form()?;
        app.introspect(&service, &asked.token).await
    };
    match introspected.await {
        Ok(answer) => ([(CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(error) => error.at_token_endpoint().into_response(),
    }
}

/// Revoke a token and its session (RFC 7009)
#[utoipa::path(post, path = "/v1/token/revoke", tag = "token", request_body = TokenSubject,
    responses((status = 200, description = "Also for a token that is none"), (status = 401, body = Problem)))]
pub(super) async fn revoke_token(
    State(app): State<App>,
    caller: Result<Caller, ApiError>,
    body: Result<Body, ApiError>,
) -> Response {
    let revoked = async {
        let Caller(service) = caller?;
        let asked: TokenSubject = body?.json_or_form()?;
        if let Some(session) = app.session_of_token(&service.client_id, &asked.token).await? {
            app.end_session(session.id, service.client_id).await?;
        }
        Ok(())
    };
    match revoked.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => ApiError::at_token_endpoint(error).into_response(),
    }
}

/// What an access token stands for
#[utoipa::path(get, path = "/v1/userinfo", tag = "token",
    responses((status = 200, body = UserInfo), (status = 401, body = Problem)))]
pub(super) async fn userinfo(
    State(app): State<App>,
    Source(address): Source,
    parts: Parts,
) -> Result<Response, ApiError> {
    app.limits.request(address)?;
    let token = authorization(&parts, "bearer").ok_or(ErrorCode::InvalidToken)?;
    let now = app.clock.now();
    let claims = app.control().ring.verify(token, None, now).ok_or(ErrorCode::InvalidToken)?;
    let session = app.store.read().await?.session(claims.sid).await?;
    let session = session.filter(|s| s.is_live(now) && s.client_id.as_str() == claims.aud);
    let session = session.ok_or(ErrorCode::InvalidToken)?;
    let info = UserInfo { sub: session.sub.clone(), claims: session.claims(), claims_verified: false };
    Ok(([(CACHE_CONTROL, "no-store")], Json(info)).into_response())
}

/// End a session of the calling service
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "service", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn end(
    State(app): State<App>,
    Caller(service): Caller,
    PathId(id): PathId,
) -> Result<StatusCode, ApiError> {
    let id = SessionId::parse(&id).map_err(|_| ErrorCode::SessionNotFound)?;
    let known = app.end_session(id, service.client_id).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(ErrorCode::SessionNotFound.into()) }
}

impl AppState {
    /// Ends a session if it is this service's; false where it is not.
    async fn end_session(&self, id: SessionId, client_id: ClientId) -> Result<bool, ApiError> {
        let known = self
            .store
            .write("end_session", move |tx| {
                let client_id = client_id.clone();
                Box::pin(async move {
                    let found = tx.session(id).await?.filter(|session| session.client_id == client_id);
                    let Some(session) = found else { return Ok(false) };
                    tx.revoke_session(&session, RevokeReason::Service, None).await?;
                    Ok(true)
                })
            })
            .await?;
        if known {
            metrics::counter!("miid_sessions_revoked_total", "by" => "service").increment(1);
        }
        Ok(known)
    }

    /// The session of a token of this service, live or not; another service's is nobody's.
    pub(super) async fn session_of_token(
        &self,
        client_id: &ClientId,
        token: &str,
    ) -> Result<Option<Session>, ApiError> {
        let mut reader = self.store.read().await?;
        let session = if let Ok(refresh) = Secret::<RefreshToken>::parse(token) {
            match self.keys.session_of(&refresh) {
                Some(id) => reader
                    .session(id)
                    .await?
                    .filter(|session| self.keys.generation_of(id, session.generation, &refresh).is_some()),
                None => None,
            }
        } else {
            let claims = self.control().ring.verify(token, Some(client_id), self.clock.now());
            match claims {
                Some(claims) => reader.session(claims.sid).await?,
                None => None,
            }
        };
        Ok(session.filter(|session| session.client_id == *client_id))
    }

    async fn introspect(&self, service: &Service, token: &str) -> Result<Introspection, ApiError> {
        let now = self.clock.now();
        let client_id = &service.client_id;
        let Some(session) = self.session_of_token(client_id, token).await? else {
            return Ok(Introspection::default());
        };
        if !session.is_live(now) {
            return Ok(Introspection::default());
        }
        let access = self.control().ring.verify(token, Some(client_id), now);
        let spent = match Secret::<RefreshToken>::parse(token) {
            Ok(refresh) => refresh.hash() != self.keys.refresh_token(session.id, session.generation).hash(),
            Err(_) => false,
        };
        if spent {
            return Ok(Introspection::default());
        }
        Ok(Introspection {
            active: true,
            // That of a step-up may be allowed less than its session.
            scope: Some(
                access.as_ref().map_or_else(|| session.scopes.join(" "), |claims| claims.scope.clone()),
            ),
            client_id: Some(client_id.to_string()),
            token_type: Some(if access.is_some() { "access_token" } else { "refresh_token" }.to_owned()),
            exp: Some(access.as_ref().map_or(session.idle_until.seconds(), |claims| claims.exp)),
            iat: Some(access.as_ref().map_or(session.created_at.seconds(), |claims| claims.iat)),
            sub: Some(session.sub),
            aud: Some(client_id.to_string()),
            iss: Some(self.issuer.to_string()),
            sid: Some(session.id),
            acr: access.as_ref().and_then(|claims| claims.acr.clone()),
            auth_time: access.as_ref().and_then(|claims| claims.auth_time),
        })
    }
}
