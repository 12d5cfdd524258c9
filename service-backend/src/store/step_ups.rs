//! Step-ups: see [`crate::step_up`].

use miid_protocol::{ChallengeId, SessionId, Timestamp};

use super::db::{StoreError, Tx, values};
use super::{SWEEP_BATCH, Store};
use crate::finish::Claim;

/// What an exchange gave for a session that is there already.
#[derive(Debug)]
pub(crate) struct StepUpToken {
    pub(crate) session_id: SessionId,
    pub(crate) sealed: String,
    pub(crate) expires_at: Timestamp,
}

/// Part of [`Store::end_session`]: what is asked for a session that ended is over. One that is being exchanged
/// finds out by itself.
pub(super) async fn end_with(tx: &mut Tx, id: SessionId) -> Result<(), StoreError> {
    tx.execute(
        "-- end_step_ups
         UPDATE logins SET state = 'expired', reason = 'session_ended'
         WHERE step_up_session = $1 AND state = 'waiting'",
        values![id.to_string()],
    )
    .await?;
    tx.execute(
        "-- drop_step_up_tokens
         UPDATE logins SET step_up_sealed = NULL, step_up_expires_at = NULL
         WHERE step_up_session = $1 AND step_up_sealed IS NOT NULL",
        values![id.to_string()],
    )
    .await?;
    Ok(())
}

impl Store {
    /// The step-ups of a session that are remembered, newest first, at most `limit`; and whether each still waits.
    pub(crate) async fn step_ups_of(
        &self,
        id: SessionId,
        limit: i64,
    ) -> Result<Vec<(ChallengeId, bool)>, StoreError> {
        let rows = self
            .db
            .read(
                "-- step_ups_of
                 SELECT challenge_id, state FROM logins WHERE step_up_session = $1
                 ORDER BY challenge_id DESC LIMIT $2",
                values![id.to_string(), limit],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let id = ChallengeId::parse(&row.text("challenge_id")?);
                Ok((id.map_err(|_| StoreError::Corrupt("a challenge_id"))?, row.text("state")? == "waiting"))
            })
            .collect()
    }

    /// exchanging → active, with the token, as long as the session lives.
    pub(crate) async fn activate_step_up(
        &self,
        claim: &Claim,
        token: &StepUpToken,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- activate_step_up
                 UPDATE logins SET state = 'active', session_id = $3, step_up_sealed = $4, step_up_expires_at = $5,
                                   code_sealed = NULL, response_sealed = NULL,
                                   exchange_owner = NULL, exchange_until = NULL
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2 AND step_up_session = $3
                   AND EXISTS (SELECT 1 FROM sessions
                               WHERE session_id = $3 AND ended_at IS NULL AND expires_at > $6)",
                values![
                    claim.id.to_string(),
                    claim.owner.as_str(),
                    token.session_id.to_string(),
                    token.sealed.as_str(),
                    token.expires_at,
                    now,
                ],
            )
            .await?;
        Ok(changed == 1)
    }

    /// The session's browser is back: from here on the token counts. Again, it changes nothing; and an older
    /// step-up never takes the place of a newer one: as asked for, since both may end with the session.
    pub(crate) async fn complete_step_up(
        &self,
        id: ChallengeId,
        session: SessionId,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        tx.execute(
            "-- complete_step_up
             UPDATE sessions
             SET step_up_sealed = (SELECT step_up_sealed FROM logins WHERE challenge_id = $1),
                 step_up_expires_at = (SELECT step_up_expires_at FROM logins WHERE challenge_id = $1),
                 step_up_challenge = $1
             WHERE session_id = $2 AND ended_at IS NULL
               AND EXISTS (SELECT 1 FROM logins
                           WHERE challenge_id = $1 AND state = 'active' AND step_up_session = $2
                             AND step_up_sealed IS NOT NULL
                             AND challenge_id > COALESCE(sessions.step_up_challenge, ''))",
            values![id.to_string(), session.to_string()],
        )
        .await?;
        tx.execute(
            "-- step_up_completed
             UPDATE logins SET step_up_sealed = NULL, step_up_expires_at = NULL
             WHERE challenge_id = $1 AND step_up_session = $2",
            values![id.to_string(), session.to_string()],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets tokens whose time was over before; says how many, at most [`SWEEP_BATCH`] of each kind.
    pub(crate) async fn sweep_step_ups(&self, before: Timestamp) -> Result<u64, StoreError> {
        let with_sessions = self
            .db
            .execute(
                "-- sweep_step_ups
                 UPDATE sessions SET step_up_sealed = NULL, step_up_expires_at = NULL WHERE session_id IN
                     (SELECT session_id FROM sessions WHERE step_up_expires_at < $1 LIMIT $2)",
                values![before, SWEEP_BATCH],
            )
            .await?;
        let with_logins = self
            .db
            .execute(
                "-- sweep_uncompleted_step_ups
                 UPDATE logins SET step_up_sealed = NULL, step_up_expires_at = NULL WHERE challenge_id IN
                     (SELECT challenge_id FROM logins WHERE step_up_expires_at < $1 LIMIT $2)",
                values![before, SWEEP_BATCH],
            )
            .await?;
        Ok(with_sessions.max(with_logins))
    }
}
