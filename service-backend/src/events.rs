//! The one event stream of this instance (section 4), for all of its logins and sessions.
//!
//! Where the stream cannot be resumed (the first connection, or after a `resync`) the gateway's lists
//! are read instead, after the stream is open, so that nothing falls between. So they are where it was
//! away for so long that sessions are not trusted any more, and where an event cannot be read. An event
//! counts as heard once its effect is stored: where that fails the stream is left and resumed before it.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use miid_protocol::events::{ChallengeVerified, RESYNC, ServiceEvent};
use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{Binding, Challenge, ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::{ChallengeId, Timestamp};
use reqwest_eventsource::retry::Never;
use reqwest_eventsource::{Error as StreamError, Event, EventSource};

use crate::finish::{self, Claim, Grant};
use crate::gateway::{GatewayError, STREAM_SILENCE};
use crate::logins::{Approved, LoginState};
use crate::sessions::{End, UNTOLD, is_within};
use crate::sign_in::Core;
use crate::store::{Approval, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Challenges asked about at once while catching up.
const ASKED_AT_ONCE: usize = 8;
/// A page of our own sessions while catching up.
const PAGE: i64 = 1_000;

/// Why the stream was left.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("the stream ended")]
    Stream(#[source] Box<StreamError>),
    #[error("the gateway's lists could not be read")]
    Lists(#[from] GatewayError),
    #[error("what was heard could not be stored")]
    Store(#[from] StoreError),
}

/// Listens until the service closes.
pub(crate) async fn listen(core: Arc<Core>) {
    let mut position: Option<String> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let followed = tokio::select! {
            followed = follow(&core, &mut position, &mut pause) => followed,
            () = core.closing.cancelled() => return,
        };
        let Err(left) = followed;
        if note(&core, &left) {
            pause = FIRST_PAUSE;
        }
        if matches!(&left, Left::Stream(error) if matches!(**error, StreamError::Utf8(_) | StreamError::Parser(_)))
        {
            position = None; // it would be there again; the lists lead around it
        }
        let jitter = Duration::from_millis(core.outside.jitter(pause.as_millis().try_into().unwrap_or(1)));
        if !core.pause(pause / 2 + jitter / 2).await {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says in the log why the stream was left, and notes until when everything was heard. Says whether it
/// was a good stream.
fn note(core: &Core, left: &Left) -> bool {
    let now = core.now();
    let mut heard_at = None;
    if let Left::Stream(error) = left {
        match &**error {
            StreamError::InvalidStatusCode(status, _) if status.as_u16() == 401 || status.as_u16() == 403 => {
                core.link.accepted(false);
                tracing::error!(%status, "the gateway refuses this service's client id or secret");
            }
            StreamError::StreamEnded => heard_at = Some(now),
            StreamError::Transport(_) => {
                // The line may have been dead for so long before anybody noticed.
                let silence = i64::try_from(STREAM_SILENCE.as_millis()).unwrap_or(0);
                heard_at = Some(Timestamp::from_millis(now.millis() - silence));
            }
            _ => {}
        }
    }
    let was_good = core.link.down(heard_at, now);
    tracing::warn!(reason = left as &dyn std::error::Error, "not listening to the gateway; trying again");
    was_good
}

/// Whether so little time was missed that a session may be trusted until the stream has told of it.
fn is_fresh(core: &Core) -> bool {
    let now = core.now();
    is_within(core.link.heard_at(now), now, core.config.introspect_after)
}

async fn follow(
    core: &Arc<Core>,
    position: &mut Option<String>,
    pause: &mut Duration,
) -> Result<Infallible, Left> {
    if !is_fresh(core) {
        *position = None; // the lists are read, which is quicker than all that happened
    }
    let request = core.gateway.events(position.as_deref());
    let Ok(mut stream) = EventSource::new(request) else {
        unreachable!("a GET has no body that cannot be cloned")
    };
    stream.set_retry_policy(Box::new(Never)); // we reconnect ourselves, with our own position
    loop {
        let event = match stream.next().await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(Left::Stream(Box::new(error))),
            None => return Err(Left::Stream(Box::new(StreamError::StreamEnded))),
        };
        match event {
            Event::Open => {
                core.link.accepted(true);
                if position.is_some() && is_fresh(core) {
                    core.link.resumed();
                } else {
                    catch_up(core).await?;
                }
                tracing::info!(resumed = position.is_some(), "listening to the gateway");
            }
            Event::Message(message) if message.event == RESYNC => {
                core.link.missed();
                catch_up(core).await?;
                move_on(position, message.id);
            }
            Event::Message(message) => {
                core.link.applying(core.now());
                match ServiceEvent::parse(&message.event, &message.data) {
                    Ok(Some(event)) => {
                        core.recent.push(&event);
                        apply(core, event).await?;
                        *pause = FIRST_PAUSE;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        // A newer gateway's words. Whatever they say, the lists say it, too.
                        tracing::warn!(
                            event = message.event,
                            error = &error as &dyn std::error::Error,
                            "an event cannot be read; reading the lists"
                        );
                        catch_up(core).await?;
                    }
                }
                core.link.applied();
                move_on(position, message.id);
            }
        }
    }
}

/// What cannot stand in a header is no position to resume from.
fn move_on(position: &mut Option<String>, id: String) {
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        *position = Some(id);
    }
}

/// One event, perhaps for the second time: every effect is a compare-and-set.
pub(crate) async fn apply(core: &Arc<Core>, event: ServiceEvent) -> Result<(), StoreError> {
    match event {
        ServiceEvent::ChallengeVerified(verified) => approved(core, verified).await,
        ServiceEvent::ChallengeDenied(denied) => {
            end(core, denied.challenge_id, LoginState::Denied(denied.reason)).await
        }
        ServiceEvent::ChallengeExpired(expired) => {
            end(core, expired.challenge_id, LoginState::Expired(expired.reason)).await
        }
        ServiceEvent::ChallengeClaimed(event) => claimed(core, event.challenge_id, event.at).await,
        // Where the code is being exchanged, whoever does that finds out.
        ServiceEvent::ApprovalCancelled(cancelled) => taken_back(core, cancelled.challenge_id, None).await,
        ServiceEvent::SessionCreated(created) => {
            core.login_wakes.wake(created.challenge_id);
            let login = core.store.login(created.challenge_id).await?;
            if login.is_some_and(|login| {
                login.step_up.is_none()
                    && matches!(login.state, LoginState::Expired(_) | LoginState::Denied(_))
            }) {
                // We gave this sign-in up while the answer to its exchange was lost: nobody has the tokens.
                let core = Arc::clone(core);
                core.tasks.clone().spawn(async move { finish::disown(&core, created.session_id).await });
            }
            Ok(())
        }
        // The session goes on as it was.
        ServiceEvent::ChallengeExchanged(exchanged) => {
            core.login_wakes.wake(exchanged.challenge_id);
            Ok(())
        }
        ServiceEvent::SessionRevoked(revoked) => {
            let end = End { at: revoked.at, reason: revoked.reason };
            core.end_here(revoked.session_id, end).await.map(|_| ())
        }
        ServiceEvent::Resync(_) => Ok(()),
    }
}

async fn end(core: &Core, id: ChallengeId, state: LoginState) -> Result<(), StoreError> {
    if core.store.end_login(id, &state).await? {
        tracing::info!(challenge_id = %id, ?state, "sign-in ended");
    }
    core.login_wakes.wake(id);
    Ok(())
}

async fn claimed(core: &Core, id: ChallengeId, at: Timestamp) -> Result<(), StoreError> {
    if core.store.claimed(id, at).await? {
        core.login_wakes.wake(id);
    }
    Ok(())
}

async fn approved(core: &Arc<Core>, verified: ChallengeVerified) -> Result<(), StoreError> {
    // A replay without a code tells of an approval that is over.
    let Some(code) = verified.authorization_code else { return Ok(()) };
    let id = verified.challenge_id;
    if verified.binding == Binding::Linked {
        // It waits for its browser to bring the response code; without that there is nothing to exchange. The
        // code is not kept for so long: the gateway is asked for it then.
        let approved = Approved { did: verified.did, code_expires_at: verified.code_expires_at };
        if core.store.approved(id, &approved, verified.at).await? {
            core.login_wakes.wake(id);
        }
        return Ok(());
    }
    let approval = Approval {
        did: verified.did,
        code_sealed: core.keys.seal(&core.outside, "code", &id.to_string(), &code),
        code_expires_at: verified.code_expires_at,
        response_sealed: None,
    };
    let now = core.now();
    let claim = Claim::new(core, id);
    if core.store.begin_exchange(&claim, &approval, now, now.plus(finish::LEASE)).await? {
        core.login_wakes.wake(id);
        finish::begin(core, claim, Grant { code: code.into(), response: None }, approval.code_expires_at);
    }
    Ok(())
}

async fn taken_back(core: &Core, id: ChallengeId, which: Option<Timestamp>) -> Result<(), StoreError> {
    if core.store.taken_back(id, which).await? {
        core.login_wakes.wake(id);
    }
    Ok(())
}

/// What `GET /v1/auth/challenges/{id}` and the list say, as if an event had said it. `before` is the approval that
/// was stored before asking: an answer that comes late says nothing about a newer one.
pub(crate) async fn apply_challenge(
    core: &Arc<Core>,
    challenge: Challenge,
    before: Option<Timestamp>,
) -> Result<(), StoreError> {
    let id = challenge.challenge_id;
    match challenge.status {
        ChallengeStatus::Pending => {
            if challenge.claimed {
                claimed(core, id, core.now()).await?;
            }
            match before {
                Some(_) => taken_back(core, id, before).await,
                None => Ok(()),
            }
        }
        ChallengeStatus::Approved => {
            let (Some(did), Some(code_expires_at)) = (challenge.did, challenge.code_expires_at) else {
                return Ok(());
            };
            let verified = ChallengeVerified {
                challenge_id: id,
                authorization_code: challenge.authorization_code,
                code_expires_at,
                binding: challenge.binding,
                did,
                at: core.now(),
            };
            approved(core, verified).await
        }
        status => end(core, id, end_of(status, challenge.reason)).await,
    }
}

/// How a login ends whose challenge is over at the gateway. `active` there and still waiting here means
/// that the tokens went to nobody.
pub(crate) const fn end_of(status: ChallengeStatus, reason: Option<EndReason>) -> LoginState {
    match (status, reason) {
        (_, Some(EndReason::Denied(reason))) => LoginState::Denied(reason),
        (_, Some(EndReason::Expired(reason))) => LoginState::Expired(reason),
        (ChallengeStatus::Denied, None) => LoginState::Denied(DenyReason::Declined),
        (ChallengeStatus::Expired, None) => LoginState::Expired(ExpireReason::Timeout),
        _ => LoginState::Expired(ExpireReason::Withdrawn),
    }
}

/// Reads what the stream did not tell: sessions that are not live any more, and then, since no session's
/// trust hangs on them, approvals and ends of logins that wait.
async fn catch_up(core: &Arc<Core>) -> Result<(), Left> {
    let asked_at = core.now();
    catch_up_sessions(core).await?;
    core.link.caught_up(asked_at, core.now());
    catch_up_logins(core).await
}

async fn catch_up_logins(core: &Arc<Core>) -> Result<(), Left> {
    let mut waiting: HashMap<_, _> = core.store.waiting_logins(core.now()).await?.into_iter().collect();
    if waiting.is_empty() {
        return Ok(());
    }
    match core.gateway.live_challenges().await {
        Ok(list) => {
            for challenge in list.challenges {
                if let Some(before) = waiting.remove(&challenge.challenge_id) {
                    apply_challenge(core, challenge, before).await?;
                }
            }
        }
        // Strangers begin challenges, too, and can make the list as long as they please. Ours can be asked for.
        Err(GatewayError::Unanswered(error)) => {
            tracing::warn!(%error, "the list of challenges cannot be read; asking for each of ours");
        }
        Err(error) => return Err(error.into()),
    }
    stream::iter(waiting)
        .map(|(id, before)| look(core, id, before))
        .buffer_unordered(ASKED_AT_ONCE)
        .try_collect::<()>()
        .await
}

/// Asks about one challenge and applies the answer.
async fn look(core: &Arc<Core>, id: ChallengeId, before: Option<Timestamp>) -> Result<(), Left> {
    match core.gateway.challenge(id).await {
        Ok(challenge) => Ok(apply_challenge(core, challenge, before).await?),
        Err(error) if error.code() == Some(ErrorCode::ChallengeNotFound) => {
            Ok(end(core, id, LoginState::Expired(ExpireReason::Timeout)).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Ours are read first: each of them was at the gateway before it was here, so what the gateway then
/// does not list has ended.
async fn catch_up_sessions(core: &Arc<Core>) -> Result<(), Left> {
    let mut ours = HashSet::new();
    let mut after = None;
    loop {
        let page = core.store.live_sessions(after, PAGE).await?;
        after = page.last().copied();
        let is_last = i64::try_from(page.len()).is_ok_and(|length| length < PAGE);
        ours.extend(page);
        if is_last {
            break;
        }
    }
    if ours.is_empty() {
        return Ok(());
    }
    let mut after = None;
    loop {
        let page = core.gateway.live_sessions(after).await?;
        for session in &page.sessions {
            ours.remove(&session.session_id);
        }
        match page.next {
            Some(next) if Some(next) != after => after = Some(next),
            _ => break,
        }
    }
    for id in ours {
        core.end_here(id, End { at: core.now(), reason: UNTOLD }).await?;
    }
    Ok(())
}
