//! [`SignedIn`]: an argument for handlers that only a signed-in person may reach.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use http::header::USER_AGENT;
use http::request::Parts;
use miid_protocol::problem::ErrorCode;
use miid_protocol::{Did, Issuer, SessionId, Timestamp};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::refusal::Refusal;
use crate::same_origin;
use crate::sessions::Session;
use crate::sign_in::SignIn;
use crate::{address, agent};

/// The person behind a request. Taking it as an argument answers 401 where nobody is signed in, and
/// 403 where another site makes the browser change something here.
///
/// An account is found by (`iss`, `sub`) and by nothing else: claims are what the person says of
/// themselves, and an `email` in them proves nothing (threat 6).
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The gateway that vouches for `sub`.
    pub iss: Issuer,
    /// The person, at this service.
    pub sub: String,
    /// The wallet.
    pub did: Did,
    /// The gateway's session.
    pub session_id: SessionId,
    /// What was granted, space-separated.
    pub scope: String,
    /// What the person chose to share, unverified.
    pub claims: BTreeMap<String, String>,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
    /// Whose request this is, as a wallet shows it.
    pub(crate) browser: Browser,
}

/// What a request says of the browser that sent it; it proves nothing.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) agent: Option<String>,
}

impl Browser {
    fn of(parts: &Parts, config: &Config) -> Self {
        let agent = parts.headers.get(USER_AGENT).and_then(|value| agent::short(value.to_str().ok()?));
        Self { ip: address::of(parts, &config.trusted_proxies), agent }
    }
}

impl SignedIn {
    fn of(session: Session, browser: Browser) -> Self {
        Self {
            iss: session.iss,
            sub: session.sub,
            did: session.did,
            session_id: session.session_id,
            scope: session.scope,
            claims: session.claims,
            expires_at: session.expires_at,
            browser,
        }
    }
}

impl<S> FromRequestParts<S> for SignedIn
where
    SignIn: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let core = SignIn::from_ref(state).core;
        same_origin::check(parts, &core.config.public_url)?;
        let session = core.authenticate(&parts.headers).await?;
        Ok(Self::of(session, Browser::of(parts, &core.config)))
    }
}

/// `Option<SignedIn>`: `None` where nobody is signed in; every other refusal stays one.
impl<S> OptionalFromRequestParts<S> for SignedIn
where
    SignIn: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Refusal> {
        match <Self as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(user) => Ok(Some(user)),
            Err(refusal) if refusal.code() == ErrorCode::NotAuthenticated => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// An access token, for calls on the person's behalf. Not shown by `Debug`.
pub struct AccessToken(pub(crate) Zeroizing<String>);

impl AccessToken {
    /// In the clear, for the `Authorization` header it is sent in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessToken")
    }
}
