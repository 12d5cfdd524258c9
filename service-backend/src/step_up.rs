//! A step-up: the person is asked once more, in the wallet, before something critical in a session that is there
//! already (section 4).
//!
//! It goes the way of a sign-in, with three differences. Nothing comes of it but a short token, which is kept with
//! the session and counts once the session's own browser has completed it: no other session, no other cookie. Its
//! code is sent once: a second use would end the session, so a step-up whose answer was lost is asked for again.
//! And when the session ends, so does whatever was asked for it.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::SET_COOKIE;
use miid_protocol::browser::StartResponse;
use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{
    ACR_STEP_UP, Binding, Challenge, CreateChallenge, ExpireReason, Risk, TokenResponse,
};
use miid_protocol::{ChallengeId, Lifetime, SessionId, text};

use crate::config::Bindings;
use crate::cookies::LOGINS_PER_BROWSER;
use crate::finish::{self, Claim};
use crate::gateway::GatewayError;
use crate::logins::LoginState;
use crate::refusal::Refusal;
use crate::routes::start;
use crate::sessions::{End, Session, UNTOLD};
use crate::sign_in::{Core, SignIn};
use crate::signed_in::{AccessToken, SignedIn};
use crate::store::{StepUpToken, StoreError};

/// For what its token is sealed.
const SEAL: &str = "step_up";
/// Step-ups of a session that are looked at to find what a new one takes the place of.
const LOOKED_AT: i64 = 100;

/// A step-up that has begun: what the page shows and watches, and the cookie that lets this browser finish it.
#[derive(Debug)]
#[must_use = "the page has to be told of it"]
pub struct StepUp {
    started: StartResponse,
    cookies: HeaderMap,
}

impl StepUp {
    /// The object of `POST /auth/start`.
    pub fn started(&self) -> &StartResponse {
        &self.started
    }

    /// That object and the header fields that must go with it, for an answer of one's own around it.
    pub fn into_parts(self) -> (StartResponse, HeaderMap) {
        (self.started, self.cookies)
    }
}

/// As `POST /auth/start` answers.
impl IntoResponse for StepUp {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, self.cookies, Json(self.started)).into_response()
    }
}

impl SignIn {
    /// Asks this person to approve once more, in the wallet, which shows `message`: what it is for, such as
    /// "Send 250 to Bob". How: [`Config::step_up`](crate::Config::step_up). An earlier one that this session still
    /// waits for ends.
    ///
    /// # Errors
    /// 401 where the session has ended, 429 where too many wait, 503 where store or gateway are away.
    pub async fn step_up(&self, user: &SignedIn, message: &str) -> Result<StepUp, Refusal> {
        let core = &self.core;
        core.starts
            .allow(user.browser.ip)
            .map_err(|seconds| Refusal::new(ErrorCode::RateLimited).retry_after_s(seconds))?;
        if message.is_empty() || !text::is_displayable(message, text::MAX_BINDING_MESSAGE) {
            return Err(Refusal::new(ErrorCode::InvalidRequest)
                .detail("What the wallet shows must be a line of at most 140 characters."));
        }
        let session = core.live(user.session_id).await?;
        let earlier = core.store.step_ups_of(session.session_id, LOOKED_AT).await?;
        let waiting = earlier.iter().find_map(|(id, waits)| waits.then_some(*id));
        let seed = URL_SAFE_NO_PAD.encode(core.outside.random::<32>());
        let challenge = ask(core, user, &session, message, &seed, waiting).await?;
        let (started, cookie) =
            start::open(core, challenge, seed, String::new(), Some(session.session_id)).await?;
        let mut cookies = HeaderMap::new();
        cookies.append(SET_COOKIE, cookie);
        for (old, _) in earlier.iter().skip(LOGINS_PER_BROWSER - 1) {
            cookies.append(SET_COOKIE, core.cookies.clear_login(*old));
        }
        tracing::info!(challenge_id = %started.challenge_id, session_id = %session.session_id, "step-up begun");
        Ok(StepUp { started, cookies })
    }

    /// The token of this session's last step-up, as long as it counts. The person was asked for it, so it is for
    /// the calls that need one; all others take [`SignIn::access_token`].
    ///
    /// # Errors
    /// 401 where the session has ended, 503 where the store is away.
    pub async fn step_up_token(&self, user: &SignedIn) -> Result<Option<AccessToken>, Refusal> {
        let session = self.core.live(user.session_id).await?;
        let Some(stepped_up) = session.stepped_up_at(self.core.now()) else { return Ok(None) };
        let token = self.core.opened(SEAL, session.session_id, &stepped_up.sealed)?;
        Ok(Some(AccessToken(token)))
    }
}

impl Core {
    /// A session, where it has not ended.
    async fn live(&self, id: SessionId) -> Result<Session, Refusal> {
        let Some(session) = self.store.session(id).await? else {
            return Err(ErrorCode::NotAuthenticated.into());
        };
        match session.end_at(self.now()) {
            Some(end) => Err(Refusal::session_ended(end.reason, end.at)),
            None => Ok(session),
        }
    }
}

/// The gateway makes the challenge, for this session and this person alone.
async fn ask(
    core: &Core,
    user: &SignedIn,
    session: &Session,
    message: &str,
    seed: &str,
    replaces: Option<ChallengeId>,
) -> Result<Challenge, Refusal> {
    let binding = match core.config.step_up {
        Bindings::Linked => Binding::Linked,
        Bindings::Addressed => Binding::Addressed,
        Bindings::Any => session.binding,
    };
    let is_linked = binding == Binding::Linked;
    let asked = core
        .gateway
        .create_challenge(&CreateChallenge {
            return_url: is_linked.then(|| core.config.return_url.clone()),
            login_hint: (!is_linked).then(|| session.did.to_string()),
            binding_message: Some(message.to_owned()),
            code_challenge: start::s256(&core.keys.code_verifier(seed)),
            code_challenge_method: "S256".into(),
            risk: Risk::StepUp,
            step_up_session: Some(session.session_id),
            user_agent: user.browser.agent.clone(),
            ip: user.browser.ip.map(|ip| ip.to_string()),
            replaces: replaces.map(|id| id.to_string()),
            ..CreateChallenge::default()
        })
        .await;
    match asked {
        Ok(challenge) => {
            start::check_binding(&challenge, binding)?;
            Ok(challenge)
        }
        Err(error) if error.code() == Some(ErrorCode::SessionNotFound) => {
            let end = End { at: core.now(), reason: UNTOLD };
            core.end_here(session.session_id, end).await?;
            Err(Refusal::session_ended(end.reason, end.at))
        }
        Err(error) if error.code() == Some(ErrorCode::InvalidRequest) => {
            Err(if is_linked { start::return_refused(core, error) } else { addressed_refused(core, error) })
        }
        Err(error) => Err(error.into()),
    }
}

fn addressed_refused(core: &Core, error: GatewayError) -> Refusal {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the gateway refuses addressed step-ups for this service, unless it is told: \
         miid-gateway service update {} --step-up any",
        core.config.client_id
    );
    Refusal::new(ErrorCode::GatewayUnavailable)
        .detail("The gateway refuses this service. What to do stands in the service's log.")
}

/// The tokens are there: keeps them with the login, until its browser completes it.
pub(crate) async fn activate(
    core: &Arc<Core>,
    claim: &Claim,
    session_id: SessionId,
    tokens: TokenResponse,
) -> Result<(), StoreError> {
    let id = claim.id;
    let Some(session) = core.store.session(session_id).await? else {
        return finish::give_up(core, claim, &LoginState::Expired(ExpireReason::SessionEnded)).await;
    };
    if !is_for(core, &session, &tokens) {
        tracing::error!(challenge_id = %id, "the gateway answered a step-up with tokens that are for something else");
        return finish::give_up(core, claim, &LoginState::Expired(ExpireReason::Withdrawn)).await;
    }
    let token = StepUpToken {
        session_id,
        sealed: core.keys.seal(&core.outside, SEAL, &session_id.to_string(), &tokens.access_token),
        expires_at: core.now().plus(Lifetime::from_secs(tokens.expires_in)),
    };
    if finish::insisting(core, || core.store.activate_step_up(claim, &token, core.now())).await? {
        tracing::info!(challenge_id = %id, session_id = %session_id, "stepped up");
        core.login_wakes.wake(id);
        return Ok(());
    }
    // Of a session that ended; one that was done, and whose commit only seemed to fail, is not touched by this.
    finish::give_up(core, claim, &LoginState::Expired(ExpireReason::SessionEnded)).await
}

/// Nothing but a fresh approval of the same person, for this very session.
fn is_for(core: &Core, session: &Session, tokens: &TokenResponse) -> bool {
    tokens.session_id == session.session_id
        && tokens.sub == session.sub
        && tokens.did == session.did
        && tokens.acr.as_deref() == Some(ACR_STEP_UP)
        && tokens.refresh_token.is_none()
        && finish::issuer_of(&tokens.access_token).as_ref() == Some(&core.config.issuer)
}
