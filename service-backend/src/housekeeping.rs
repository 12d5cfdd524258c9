//! What has to be done now and then, in bounded portions: telling the gateway what it has yet to hear,
//! taking over exchanges that were left, ending sessions that no browser came for, forgetting.

use std::sync::Arc;
use std::time::Duration;

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::RevokeReason;
use miid_protocol::{ChallengeId, Lifetime, Timestamp};

use crate::cookies::KNOWN_FOR;
use crate::sessions::TELL_AGAIN;
use crate::sign_in::Core;
use crate::store::{SWEEP_BATCH, StoreError};
use crate::{events, finish};

const TICK: Duration = Duration::from_secs(1);
/// Every so many ticks: orphans and abandoned sessions; sweeps.
const SLOW: u64 = 5;
const SWEEP: u64 = 60;
/// Batches in one sweep, so that a mountain is carried off in portions.
const SWEEP_BATCHES: usize = 20;
/// A session whose browser never came back to complete it.
pub(crate) const COMPLETE_WITHIN: Lifetime = Lifetime::from_secs(600);
/// Finished logins are kept so long for pages that are still open.
const KEEP_LOGINS: Lifetime = Lifetime::from_secs(86_400);
/// Ended sessions are kept so long to say why they ended.
const KEEP_SESSIONS: Lifetime = Lifetime::from_secs(7 * 86_400);

/// At the start, before anything new begins: on a database that is ours alone, whoever left something in
/// exchanging is dead.
pub(crate) async fn take_up(core: &Arc<Core>) -> Result<(), StoreError> {
    if core.store.is_exclusive() {
        adopt_orphans(core, Timestamp::from_millis(i64::MAX)).await?;
    }
    Ok(())
}

/// Works until the service closes.
pub(crate) async fn run(core: Arc<Core>) {
    let mut is_behind = false;
    for tick in 1.. {
        if !core.pause(TICK).await {
            return;
        }
        log(tell_gateway(&core).await);
        if tick % SLOW == 0 {
            if core.link.is_current() {
                log(core.store.heard(core.now()).await);
            }
            log(adopt_orphans(&core, core.now()).await);
            log(end_uncompleted(&core).await);
        }
        if tick % SWEEP == 0 {
            core.starts.forget_quiet();
            core.returns.forget_quiet();
        }
        // A mountain is carried off a portion at each tick, or more might come than goes.
        if tick % SWEEP == 0 || is_behind {
            is_behind = sweep(&core).await.unwrap_or_else(|error| {
                log(Err(error));
                false
            });
        }
    }
}

fn log(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(error = &error as &dyn std::error::Error, "housekeeping is put off");
    }
}

/// Each is moved on before it is tried, so that of several instances one tries, and a death costs only
/// a little time.
async fn tell_gateway(core: &Arc<Core>) -> Result<(), StoreError> {
    if !core.link.is_up() {
        return Ok(()); // whoever cannot reach the gateway would only keep others from telling it
    }
    let again_at = || Some(core.now().plus(TELL_AGAIN));
    for id in core.store.session_ends_due(core.now()).await? {
        core.store.session_end_next(id, again_at()).await?;
        core.tell_session_end(id).await;
    }
    for id in core.store.withdrawals_due(core.now()).await? {
        core.store.withdraw_next(id, again_at()).await?;
        tell_withdrawal(core, id).await;
    }
    Ok(())
}

/// Tells the gateway once that a login was given up; what fails stays due in the store.
pub(crate) async fn tell_withdrawal(core: &Core, id: ChallengeId) {
    match core.gateway.withdraw(id, None).await {
        Err(error)
            if error.code().is_none_or(|code| code.status() >= 429 || code == ErrorCode::InvalidClient) =>
        {
            tracing::warn!(challenge_id = %id, error = &error as &dyn std::error::Error, "the gateway has yet to hear that a sign-in was given up");
        }
        // Done, or over there already.
        _ => {
            if let Err(error) = core.store.withdraw_next(id, None).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "will tell the gateway again");
            }
        }
    }
}

async fn adopt_orphans(core: &Arc<Core>, before: Timestamp) -> Result<(), StoreError> {
    for login in core.store.orphaned_exchanges(before).await? {
        finish::adopt(core, &login).await?;
    }
    Ok(())
}

async fn end_uncompleted(core: &Arc<Core>) -> Result<(), StoreError> {
    let before = Timestamp::from_millis(core.now().millis() - COMPLETE_WITHIN.millis());
    for id in core.store.uncompleted_sessions(before).await? {
        core.end_everywhere(id, RevokeReason::Service).await?;
    }
    Ok(())
}

/// Forgets what was kept long enough; whether there may be more of it.
async fn sweep(core: &Arc<Core>) -> Result<bool, StoreError> {
    let ago = |lifetime: Lifetime| Timestamp::from_millis(core.now().millis() - lifetime.millis());
    let full = |deleted: u64| i64::try_from(deleted).is_ok_and(|deleted| deleted >= SWEEP_BATCH);
    for _ in 0..SWEEP_BATCHES {
        let more = [
            core.store.sweep_logins(ago(KEEP_LOGINS)).await?,
            core.store.sweep_sessions(ago(KEEP_SESSIONS)).await?,
            core.store.sweep_known(ago(KNOWN_FOR)).await?,
            core.store.sweep_step_ups(core.now()).await?,
        ];
        if !more.into_iter().any(full) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Events about a challenge that came before its row was written.
pub(crate) async fn hear_early(core: &Arc<Core>, id: ChallengeId) -> Result<(), StoreError> {
    for event in core.recent.about_challenge(id) {
        events::apply(core, event).await?;
    }
    Ok(())
}
