//! `POST /auth/start`: a browser begins.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use miid_protocol::browser::{StartRequest, StartResponse};
use miid_protocol::did::DidError;
use miid_protocol::ids::LoginHintError;
use miid_protocol::problem::ErrorCode;
use miid_protocol::secret::Secret;
use miid_protocol::service::{Binding, Challenge, CreateChallenge};
use miid_protocol::{ChallengeId, Did, Lifetime, LoginHint, SessionId, paths};
use sha2::{Digest as _, Sha256};

use crate::gateway::GatewayError;
use crate::logins::LoginState;
use crate::refusal::Refusal;
use crate::sign_in::Core;
use crate::store::NewLogin;
use crate::{address, agent, housekeeping};

/// The cookie outlives the challenge: a page may complete after it, or ask what became of it.
const COOKIE_MARGIN: Lifetime = Lifetime::from_secs(15 * 60);

/// Parse, ask the gateway, remember, answer with a cookie of its own for this login.
pub(super) async fn start(
    State(core): State<Arc<Core>>,
    parts: Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let ip = address::of(&parts, &core.config.trusted_proxies);
    core.starts.allow(ip).map_err(|seconds| Refusal::new(ErrorCode::RateLimited).retry_after_s(seconds))?;
    let hint = parse_hint(super::body::json(&parts.headers, body).await?)?;
    let binding = if hint.is_some() { Binding::Addressed } else { Binding::Linked };
    check_offered(&core, binding)?;
    let hint_digest = hint.as_ref().map(|hint| core.keys.hint_digest(hint.as_str())).unwrap_or_default();
    let known_browser = match &hint {
        Some(hint) => is_known(&core, &parts.headers, hint, &hint_digest).await?,
        None => false, // nobody is asked for, and nobody's quota counts it
    };
    let seed = URL_SAFE_NO_PAD.encode(core.outside.random::<32>());
    let asked = core
        .gateway
        .create_challenge(&CreateChallenge {
            return_url: hint.is_none().then(|| core.config.return_url.clone()),
            login_hint: hint.map(|hint| hint.as_str().to_owned()),
            scopes: core.config.scopes.clone(),
            claims: core.config.claims.clone(),
            binding_message: Some(core.config.binding_message()),
            code_challenge: s256(&core.keys.code_verifier(&seed)),
            code_challenge_method: "S256".into(),
            user_agent: parts.headers.get(USER_AGENT).and_then(|value| agent::short(value.to_str().ok()?)),
            ip: ip.map(|ip| ip.to_string()),
            replaces: own_pending(&core, &parts.headers).await?.map(|id| id.to_string()),
            known_browser,
            ..CreateChallenge::default()
        })
        .await;
    let challenge = match asked {
        Err(error) if binding == Binding::Linked && error.code() == Some(ErrorCode::InvalidRequest) => {
            return Err(return_refused(&core, error));
        }
        asked => asked?,
    };
    check_binding(&challenge, binding)?;
    remember(&core, &parts.headers, challenge, seed, hint_digest).await
}

/// `None` opens the wallet on the same machine.
fn parse_hint(request: StartRequest) -> Result<Option<LoginHint>, Refusal> {
    let Some(text) = request.login_hint else { return Ok(None) };
    LoginHint::parse(&text).map(Some).map_err(|error| match error {
        LoginHintError::Did(DidError::Invalid) => ErrorCode::InvalidDid.into(),
        LoginHintError::Did(DidError::Unsupported) => ErrorCode::UnsupportedDidMethod.into(),
        LoginHintError::Handle(_) => Refusal::new(ErrorCode::InvalidRequest)
            .detail("login_hint must be a handle (3 to 32 of a-z 0-9 _ -) or a DID."),
    })
}

fn check_offered(core: &Core, binding: Binding) -> Result<(), Refusal> {
    if core.config.bindings.offers(binding) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::InvalidRequest).detail(match binding {
        Binding::Linked => {
            "Say who signs in: login_hint must be a handle or a DID. Sign-in by link is not offered here."
        }
        Binding::Addressed => {
            "Sign-in is offered by opening the wallet on this machine only: leave login_hint away."
        }
    }))
}

/// Finishing it by the rules of the other kind would be less than what was asked for.
pub(crate) fn check_binding(challenge: &Challenge, asked: Binding) -> Result<(), Refusal> {
    if challenge.binding == asked {
        return Ok(());
    }
    tracing::error!(?asked, got = ?challenge.binding, "the gateway made another kind of challenge");
    Err(Refusal::new(ErrorCode::GatewayUnavailable).detail("The gateway answered something else."))
}

/// Nearly always: nobody registered where the browser comes back to. Said to whoever can do something about it.
pub(crate) fn return_refused(core: &Core, error: GatewayError) -> Refusal {
    let detail = match &error {
        GatewayError::Refused { problem, .. } => problem.detail.clone().unwrap_or_default(),
        _ => String::new(),
    };
    tracing::error!(
        detail,
        "the gateway refuses linked sign-in for this service; its return address is registered with: {}",
        core.config.registration()
    );
    Refusal::new(ErrorCode::GatewayUnavailable).detail(
        "The gateway refuses this service's return address. How to register it stands in the service's log.",
    )
}

/// PKCE (RFC 7636).
pub(crate) fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// The newest login that this browser still waits for: the new one takes its place. A browser proves
/// that it is its own by the cookie, so nobody ends somebody else's (threat 1).
async fn own_pending(core: &Core, headers: &HeaderMap) -> Result<Option<ChallengeId>, Refusal> {
    for (id, cookie) in core.cookies.logins(headers) {
        if let Some(login) = core.store.login(id).await?
            && login.cookie_hash == cookie.hash()
            && login.step_up.is_none()
            && login.is_open(core.now())
            && matches!(login.state, LoginState::Waiting { .. })
        {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Whether this browser has signed in as this person before.
async fn is_known(core: &Core, headers: &HeaderMap, hint: &LoginHint, digest: &str) -> Result<bool, Refusal> {
    let Some(known) = core.cookies.known(headers) else { return Ok(false) };
    let did: Option<&Did> = match hint {
        LoginHint::Did(did) => Some(did),
        LoginHint::Handle(_) => None,
    };
    Ok(core.store.is_known(known.hash(), did, digest).await?)
}

async fn remember(
    core: &Arc<Core>,
    headers: &HeaderMap,
    challenge: Challenge,
    seed: String,
    hint_digest: String,
) -> Result<Response, Refusal> {
    let (started, cookie) = open(core, challenge, seed, hint_digest, None).await?;
    let mut response = (StatusCode::CREATED, Json(started)).into_response();
    let set = response.headers_mut();
    set.append(SET_COOKIE, cookie);
    for old in core.cookies.surplus_logins(headers) {
        set.append(SET_COOKIE, core.cookies.clear_login(old));
    }
    Ok(response)
}

/// Writes the row of a login that begins: what its page is told, and the cookie with which alone it goes on.
pub(crate) async fn open(
    core: &Arc<Core>,
    challenge: Challenge,
    seed: String,
    hint_digest: String,
    step_up: Option<SessionId>,
) -> Result<(StartResponse, HeaderValue), Refusal> {
    let id = challenge.challenge_id;
    let now = core.now();
    let cookie = Secret::from_bytes(core.outside.random());
    let login = NewLogin {
        challenge_id: id,
        cookie_hash: cookie.hash(),
        seed,
        hint_digest,
        binding: challenge.binding,
        step_up,
        created_at: now,
        expires_at: challenge.expires_at,
    };
    core.store.open_login(&login).await?;
    housekeeping::hear_early(core, id).await?;

    let max_age =
        Lifetime::from_millis((challenge.expires_at.millis() - now.millis()).max(0) + COOKIE_MARGIN.millis());
    let started = StartResponse {
        challenge_id: id,
        binding: challenge.binding,
        status: challenge.status,
        match_code: challenge.match_code,
        wallet_link: challenge.wallet_link,
        stream_url: paths::with_id(paths::AUTH_STREAM, id),
        expires_at: challenge.expires_at,
    };
    Ok((started, core.cookies.set_login(id, &cookie, max_age)))
}
