//! One login, for the browser that began it: watch, ask, complete, give up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use miid_protocol::browser::LoginStatus;
use miid_protocol::problem::ErrorCode;
use miid_protocol::secret::{BrowserSession, Secret};
use miid_protocol::service::{Binding, ChallengeStatus, RevokeReason};
use miid_protocol::{ChallengeId, Lifetime, SessionId};

use super::body::InPath;
use super::streams;
use crate::logins::{GRACE, Login, LoginState};
use crate::refusal::Refusal;
use crate::sessions::{Session, TELL_AGAIN};
use crate::sign_in::Core;
use crate::store::KnownAs;
use crate::wakes::Waiter;
use crate::{events, housekeeping};

/// A completion whose answer was lost can be repeated for so long (section 6).
const COMPLETE_AGAIN: Lifetime = Lifetime::from_secs(60);
/// How long a cancellation waits for the gateway before it is told in the background.
const TELL_PATIENCE: Duration = Duration::from_secs(2);
/// Another instance may have changed the row without our hearing of it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// And while an exchange is under way, which may be another instance's, it changes any moment now.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(20);
/// A wallet has taken the link.
const CLAIMED: &str = "claimed";
/// Streams of one login: a browser opens six connections to one host at most, all tabs together.
const STREAMS_PER_LOGIN: usize = 8;

/// The login with this id, if this browser began it. A missing login and somebody else's look alike.
pub(super) async fn own(core: &Core, id: ChallengeId, headers: &HeaderMap) -> Result<Login, Refusal> {
    let not_found = || Refusal::new(ErrorCode::ChallengeNotFound);
    let cookie = core.cookies.login(headers, id).ok_or_else(not_found)?;
    let login = core.store.login(id).await?.ok_or_else(not_found)?;
    if login.cookie_hash == cookie.hash() { Ok(login) } else { Err(not_found()) }
}

/// `GET /auth/status/{id}`
pub(super) async fn status(
    State(core): State<Arc<Core>>,
    InPath(id): InPath,
    headers: HeaderMap,
) -> Result<Json<LoginStatus>, Refusal> {
    let mut login = own(&core, id, &headers).await?;
    if look_if_deaf(&core, &login).await? {
        login = own(&core, id, &headers).await?;
    }
    Ok(Json(login.seen_at(core.now())))
}

/// A page must see that its wallet took the link and approved. Where we do not hear the gateway, it is asked.
async fn look_if_deaf(core: &Arc<Core>, login: &Login) -> Result<bool, Refusal> {
    let waits =
        login.binding == Binding::Linked && matches!(login.state, LoginState::Waiting { approved: None });
    if !waits || core.link.is_current() || !core.looks.take(login.challenge_id, core.now()) {
        return Ok(false);
    }
    match core.gateway.challenge(login.challenge_id).await {
        Ok(challenge) => events::apply_challenge(core, challenge, None).await?,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a linked sign-in cannot be looked at");
            return Ok(false);
        }
    }
    Ok(true)
}

/// `GET /auth/stream/{id}`
pub(super) async fn stream(
    State(core): State<Arc<Core>>,
    InPath(id): InPath,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // Before the first look, so that nothing rings unheard in between.
    let waiter = core.login_wakes.wait_for(id, STREAMS_PER_LOGIN, streams::STREAMS).ok_or(ErrorCode::Busy)?;
    let login = own(&core, id, &headers).await?;
    if headers.get("last-event-id").is_some_and(|id| id == streams::FINAL) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(streams::response(watch(core, login, waiter)))
}

/// Says where the login stands, and says it again each time that changes, to its end.
fn watch(
    core: Arc<Core>,
    login: Login,
    mut waiter: Waiter<ChallengeId>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let id = login.challenge_id;
        let mut told = login.seen_at(core.now());
        let mut soon = LOOK_AGAIN_SOON;
        yield Ok(event("snapshot", &told));
        while !told.status.is_final() {
            let pause = if told.status == ChallengeStatus::Approved {
                soon = LOOK_AGAIN.min(soon * 2);
                soon
            } else {
                let left = login.expires_at.plus(GRACE).millis() - core.now().millis();
                LOOK_AGAIN.min(Duration::from_millis(u64::try_from(left).unwrap_or(0).max(10)))
            };
            tokio::select! {
                () = waiter.rung() => {}
                () = tokio::time::sleep(pause) => {}
                () = core.closing.cancelled() => return,
            }
            // A store that gives no answer, or a login that was swept: the browser comes back and is told.
            let Ok(Some(login)) = core.store.login(id).await else { return };
            let now = login.seen_at(core.now());
            if now.status == told.status {
                if now.claimed && !told.claimed && now.status == ChallengeStatus::Pending {
                    yield Ok(event(CLAIMED, &now));
                    told = now;
                }
                continue;
            }
            if now.status == ChallengeStatus::Active && told.status == ChallengeStatus::Pending {
                // It was approved, only too quickly for us to see it.
                yield Ok(event(ChallengeStatus::Approved.as_str(), &LoginStatus { status: ChallengeStatus::Approved, ..now.clone() }));
            }
            yield Ok(event(now.status.as_str(), &now));
            told = now;
            soon = LOOK_AGAIN_SOON;
        }
    }
}

fn event(name: &str, status: &LoginStatus) -> Event {
    let event = streams::event(name, status);
    if status.status.is_final() { event.id(streams::FINAL) } else { event }
}

/// `POST /auth/complete/{id}`
pub(super) async fn complete(
    State(core): State<Arc<Core>>,
    InPath(id): InPath,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let login = own(&core, id, &headers).await?;
    let session = match login.step_up {
        Some(session_id) => Some(of_this_browser(&core, session_id, &headers).await?),
        None => None,
    };
    let LoginState::Active { session_id, .. } = login.state else {
        return Err(match login.seen_at(core.now()).status {
            ChallengeStatus::Denied => ErrorCode::ChallengeNotApproved,
            ChallengeStatus::Expired => ErrorCode::ChallengeExpired,
            _ => ErrorCode::NotActiveYet,
        }
        .into());
    };
    if let Some(session) = session {
        return complete_step_up(&core, id, session.session_id).await;
    }
    let (session, sid) = take_session(&core, session_id).await?;
    end_previous(&core, &headers, session_id).await?;

    let max_age = Lifetime::from_millis(session.expires_at.millis() - core.now().millis());
    let mut response = Json(session.info(core.now())).into_response();
    let set = response.headers_mut();
    set.append(SET_COOKIE, core.cookies.set_sid(&sid, max_age));
    if let Some(known) = remember_browser(&core, &headers, &session, login.hint_digest).await {
        set.append(SET_COOKIE, known);
    }
    Ok(response)
}

/// A step-up is completed by whoever began it and is in that very session.
async fn of_this_browser(core: &Core, id: SessionId, headers: &HeaderMap) -> Result<Session, Refusal> {
    let session = core.authenticate(headers).await?;
    if session.session_id == id {
        Ok(session)
    } else {
        Err(Refusal::new(ErrorCode::NotAuthenticated)
            .detail("This was asked for another session than the one that this browser has."))
    }
}

/// From here on its token counts. The session and its cookies stay as they are, so again is no different.
async fn complete_step_up(core: &Core, id: ChallengeId, session: SessionId) -> Result<Response, Refusal> {
    core.store.complete_step_up(id, session).await?;
    match core.store.session(session).await? {
        Some(session) if session.end_at(core.now()).is_none() => {
            Ok(Json(session.info(core.now())).into_response())
        }
        _ => Err(ErrorCode::NotAuthenticated.into()),
    }
}

/// Gives the session a fresh sid; one that it had is dead.
async fn take_session(core: &Core, id: SessionId) -> Result<(Session, Secret<BrowserSession>), Refusal> {
    let sid = Secret::from_bytes(core.outside.random());
    let now = core.now();
    let taken = core.store.complete_session(id, sid.hash(), now, COMPLETE_AGAIN).await?;
    match core.store.session(id).await? {
        Some(session) if session.end_at(now).is_none() => {
            if taken {
                Ok((session, sid))
            } else {
                Err(ErrorCode::AlreadyCompleted.into())
            }
        }
        _ => {
            Err(Refusal::new(ErrorCode::ChallengeExpired)
                .detail("The session has ended already; sign in again."))
        }
    }
}

/// A browser has one session: the one it had before ends, at the gateway too.
async fn end_previous(core: &Core, headers: &HeaderMap, now: SessionId) -> Result<(), Refusal> {
    let Some(sid) = core.cookies.sid(headers) else { return Ok(()) };
    if let Some(previous) = core.store.session_of(sid.hash()).await?
        && previous.session_id != now
        && previous.end.is_none()
    {
        core.end_everywhere(previous.session_id, RevokeReason::Superseded).await?;
    }
    Ok(())
}

/// A comfort for the next time: where it fails the sign-in still succeeds.
async fn remember_browser(
    core: &Core,
    headers: &HeaderMap,
    session: &Session,
    hint_digest: String,
) -> Option<http::HeaderValue> {
    let fresh = Secret::from_bytes(core.outside.random());
    let before = core.cookies.known(headers).map(|known| known.hash());
    let as_whom =
        KnownAs { iss: session.iss.clone(), sub: session.sub.clone(), did: session.did.clone(), hint_digest };
    match core.store.remember_browser(before, fresh.hash(), &as_whom, core.now()).await {
        Ok(()) => Some(core.cookies.set_known(&fresh)),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a browser was not remembered");
            None
        }
    }
}

/// `POST /auth/cancel/{id}`: the browser gives its own login up.
pub(super) async fn cancel(
    State(core): State<Arc<Core>>,
    InPath(id): InPath,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    own(&core, id, &headers).await?;
    if core.store.give_up(id, core.now().plus(TELL_AGAIN)).await? {
        core.login_wakes.wake(id);
        let _ = tokio::time::timeout(TELL_PATIENCE, housekeeping::tell_withdrawal(&core, id)).await;
        return Ok(StatusCode::NO_CONTENT);
    }
    // Not waiting: over, which is what was wished for, or being finished in this very moment.
    match own(&core, id, &headers).await?.state {
        LoginState::Denied(_) | LoginState::Expired(_) => Ok(StatusCode::NO_CONTENT),
        _ => Err(ErrorCode::ChallengeNotPending.into()),
    }
}
