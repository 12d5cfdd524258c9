//! `POST /auth/return`: a browser comes back from the wallet of a linked sign-in (section 6).
//!
//! Whoever holds the login cookie began the sign-in; whoever holds the response code was sent here by the wallet
//! that approved it. Only where both are one browser somebody is signed in. The right code without the cookie says
//! that the person approved what somebody else began: then it ends for everybody (threats 10 and 11). Whether a
//! code is right only the gateway can say; nothing of it is kept here beyond the exchange.
//!
//! The address that the wallet opened also says who approved, and the page asks "Continue as …?" with that. So it
//! must be true: with another name in it nothing is exchanged.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;
use http::request::Parts;
use miid_protocol::browser::{LoginStatus, ReturnRequest};
use miid_protocol::problem::ErrorCode;
use miid_protocol::secret::{ResponseCode, Secret};
use miid_protocol::service::{Binding, ChallengeStatus, EndReason, ExpireReason};
use miid_protocol::{ChallengeId, Did};

use super::login::own;
use super::streams;
use crate::finish::{self, Claim, Grant};
use crate::logins::{Login, LoginState};
use crate::refusal::Refusal;
use crate::sign_in::Core;
use crate::store::Approval;
use crate::{address, events};

/// How long an answer waits for the exchange; beyond it the page is told that it is under way.
const PATIENCE: Duration = Duration::from_secs(8);
/// Another instance may have changed the row without our hearing of it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Browsers of one login that wait for an answer at once, streams included.
const WAITING_PER_LOGIN: usize = 16;

/// Parse, find, and finish or stop.
pub(super) async fn returned(
    State(core): State<Arc<Core>>,
    parts: Parts,
    body: Body,
) -> Result<Json<LoginStatus>, Refusal> {
    let ip = address::of(&parts, &core.config.trusted_proxies);
    core.returns.allow(ip).map_err(|seconds| Refusal::new(ErrorCode::RateLimited).retry_after_s(seconds))?;
    let returned: ReturnRequest = super::body::json(&parts.headers, body).await?;
    // First of all: another gateway's code is not shown to ours (threat 31).
    if returned.iss != core.config.issuer.as_str() {
        return Err(Refusal::new(ErrorCode::InvalidRequest).detail("This does not come from our gateway."));
    }
    let id = returned.challenge_id;
    let response = Secret::<ResponseCode>::parse(&returned.response_code);
    match own(&core, id, &parts.headers).await {
        Ok(login) => {
            let wrong = || Refusal::new(ErrorCode::WrongResponseCode);
            let did = returned.did.map(|did| Did::parse(&did)).transpose().map_err(|_| wrong())?;
            let response = response.ok().filter(|_| login.binding == Binding::Linked).ok_or_else(wrong)?;
            finish(&core, login, &Brought { response, did }, &parts.headers).await.map(Json)
        }
        Err(refusal) if refusal.code() == ErrorCode::ChallengeNotFound => match response {
            Ok(response) => stop(&core, id, &response).await.map(Json),
            Err(_) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    }
}

/// What a browser came back with.
struct Brought {
    response: Secret<ResponseCode>,
    /// Whom it was told it goes on as.
    did: Option<Did>,
}

impl Brought {
    fn lies_about(&self, did: &Did) -> bool {
        self.did.as_ref().is_some_and(|brought| brought != did)
    }
}

/// The browser that began it: exchanges once, however often and through whichever instance it comes back.
async fn finish(
    core: &Arc<Core>,
    mut login: Login,
    brought: &Brought,
    headers: &HeaderMap,
) -> Result<LoginStatus, Refusal> {
    let wrong = || Refusal::new(ErrorCode::WrongResponseCode);
    let id = login.challenge_id;
    // Before the first look, so that nothing rings unheard in between.
    let mut bell =
        core.login_wakes.wait_for(id, WAITING_PER_LOGIN, streams::STREAMS).ok_or(ErrorCode::Busy)?;
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    let mut tried = false;
    loop {
        match &login.state {
            _ if login.seems_waiting(core.now()) => {
                if tried {
                    return Err(wrong());
                }
                tried = exchange(core, &login, brought).await?;
            }
            LoginState::Exchanging(exchange) if brought.lies_about(&exchange.did) => return Err(wrong()),
            LoginState::Active { did: Some(did), .. } if brought.lies_about(did) => return Err(wrong()),
            LoginState::Exchanging(_) => tokio::select! {
                () = bell.rung() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = &mut patience => break,
                () = core.closing.cancelled() => break,
            },
            _ => break,
        }
        login = own(core, id, headers).await?;
    }
    Ok(login.seen_at(core.now()))
}

/// Begins the exchange, if it is ours to begin and there is something to exchange. The gateway is asked now:
/// the browser is often quicker than the event, and the code was not kept. It is asked, too, about one that only
/// looks like waiting: the answer takes as long, and fails where the other would. Says whether that was all.
async fn exchange(core: &Arc<Core>, login: &Login, brought: &Brought) -> Result<bool, Refusal> {
    let id = login.challenge_id;
    let challenge = match core.gateway.challenge(id).await {
        Err(error) if error.code() == Some(ErrorCode::ChallengeNotFound) => {
            core.store.end_login(id, &LoginState::Expired(ExpireReason::Timeout)).await?;
            core.login_wakes.wake(id);
            return Ok(true);
        }
        challenge => challenge?,
    };
    let (ChallengeStatus::Approved, Binding::Linked, Some(code), Some(code_expires_at), Some(did)) = (
        challenge.status,
        challenge.binding,
        challenge.authorization_code.clone(),
        challenge.code_expires_at,
        challenge.did.clone(),
    ) else {
        // Taken back or over. Where it is pending the code belongs to an approval that is dead.
        events::apply_challenge(core, challenge, login.approval()).await?;
        return Ok(true);
    };
    if brought.lies_about(&did) {
        return Ok(true);
    }
    let row = id.to_string();
    let response = &brought.response;
    let approval = Approval {
        did,
        code_sealed: core.keys.seal(&core.outside, "code", &row, &code),
        code_expires_at,
        response_sealed: Some(core.keys.seal(&core.outside, "response", &row, response.expose())),
    };
    let now = core.now();
    let claim = Claim::new(core, id);
    let ours = core.store.begin_exchange(&claim, &approval, now, now.plus(finish::LEASE)).await?;
    if ours {
        core.login_wakes.wake(id);
        let grant = Grant { code: code.into(), response: Some(response.expose().to_owned().into()) };
        finish::begin(core, claim, grant, code_expires_at);
    }
    Ok(ours)
}

/// A browser that did not begin it. The right code ends it; anything else looks like no challenge at all.
async fn stop(
    core: &Arc<Core>,
    id: ChallengeId,
    response: &Secret<ResponseCode>,
) -> Result<LoginStatus, Refusal> {
    let not_found = || Refusal::new(ErrorCode::ChallengeNotFound);
    let login = core.store.login(id).await?.ok_or_else(not_found)?;
    if login.binding != Binding::Linked {
        return Err(not_found());
    }
    let challenge = match core.gateway.withdraw(id, Some(response)).await {
        Ok(challenge) => challenge,
        Err(error)
            if error.code().is_some_and(|code| code.status() < 429 && code != ErrorCode::InvalidClient) =>
        {
            return Err(not_found());
        }
        Err(error) => return Err(error.into()),
    };
    let reason = ExpireReason::OtherBrowser;
    if challenge.reason != Some(EndReason::Expired(reason)) {
        return Err(not_found());
    }
    tracing::warn!(challenge_id = %id, "an approval came back through another browser; the sign-in is stopped");
    core.store.end_login(id, &LoginState::Expired(reason)).await?;
    core.login_wakes.wake(id);
    Ok(LoginStatus {
        challenge_id: id,
        status: ChallengeStatus::Expired,
        expires_at: login.expires_at,
        claimed: true,
        reason: challenge.reason,
        did: None,
    })
}
