//! Sessions: see [`crate::sessions`].

use miid_protocol::secret::SecretHash;
use miid_protocol::service::{Binding, RevokeReason};
use miid_protocol::{Did, Issuer, Lifetime, SessionId, Timestamp};

use super::db::{Row, StoreError, Tx, values};
use super::logins::{binding_of, binding_text};
use super::{SWEEP_BATCH, Store};
use crate::sessions::{End, NewSession, Session, SteppedUp};

/// Part of [`Store::activate`].
pub(super) async fn insert(tx: &mut Tx, session: &NewSession) -> Result<(), StoreError> {
    let json = |list: Result<String, serde_json::Error>| list.map_err(|_| StoreError::Corrupt("claims"));
    tx.execute(
        "-- insert_session
         INSERT INTO sessions (session_id, iss, sub, did, scope, requested_claims, claims, access_sealed,
                               access_expires_at, refresh_sealed, created_at, checked_at, expires_at, binding)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        values![
            session.session_id.to_string(),
            session.iss.as_str(),
            session.sub.as_str(),
            session.did.as_str(),
            session.scope.as_str(),
            json(serde_json::to_string(&session.requested_claims))?,
            json(serde_json::to_string(&session.claims))?,
            session.access_sealed.as_str(),
            session.access_expires_at,
            session.refresh_sealed.as_str(),
            session.created_at,
            session.created_at,
            session.expires_at,
            binding_text(session.binding),
        ],
    )
    .await?;
    Ok(())
}

impl Store {
    pub(crate) async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let row = self
            .db
            .read_one("-- session\n SELECT * FROM sessions WHERE session_id = $1", values![id.to_string()])
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// The session of this browser, live or ended.
    pub(crate) async fn session_of(&self, sid: SecretHash) -> Result<Option<Session>, StoreError> {
        let row = self
            .db
            .read_one("-- session_of\n SELECT * FROM sessions WHERE sid_hash = $1", values![sid.to_text()])
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Gives the session to a browser: the first time, or again within `window` after a lost answer.
    /// The sid that it had is dead from here on.
    pub(crate) async fn complete_session(
        &self,
        id: SessionId,
        sid: SecretHash,
        now: Timestamp,
        window: Lifetime,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- complete_session
                 UPDATE sessions SET sid_hash = $2, completed_at = COALESCE(completed_at, $3)
                 WHERE session_id = $1 AND ended_at IS NULL AND expires_at > $3
                   AND (completed_at IS NULL OR completed_at > $4)",
                values![id.to_string(), sid.to_text(), now, now.millis() - window.millis()],
            )
            .await?;
        Ok(changed == 1)
    }

    /// live → ended, and with it what was asked for it. `tell_at` where the gateway has yet to hear of it.
    pub(crate) async fn end_session(
        &self,
        id: SessionId,
        end: End,
        tell_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let changed = tx
            .execute(
                "-- end_session
                 UPDATE sessions SET ended_at = $2, end_reason = $3, end_due_at = $4,
                                     step_up_sealed = NULL, step_up_expires_at = NULL
                 WHERE session_id = $1 AND ended_at IS NULL",
                values![id.to_string(), end.at, end.reason.as_str(), tell_at.map(Timestamp::millis)],
            )
            .await?;
        if changed == 0 {
            return Ok(false);
        }
        super::step_ups::end_with(&mut tx, id).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ended sessions that the gateway has yet to hear of.
    pub(crate) async fn session_ends_due(&self, now: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let rows = self
            .db
            .read(
                "-- session_ends_due
                 SELECT session_id FROM sessions WHERE end_due_at <= $1 ORDER BY end_due_at LIMIT 50",
                values![now],
            )
            .await?;
        rows.iter().map(session_id).collect()
    }

    /// When to tell the gateway next; `None` when it has heard.
    pub(crate) async fn session_end_next(
        &self,
        id: SessionId,
        due: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.db
            .execute(
                "-- session_end_next
                 UPDATE sessions SET end_due_at = $2 WHERE session_id = $1",
                values![id.to_string(), due.map(Timestamp::millis)],
            )
            .await?;
        Ok(())
    }

    /// A page of what lives here, in order of ids.
    pub(crate) async fn live_sessions(
        &self,
        after: Option<SessionId>,
        limit: i64,
    ) -> Result<Vec<SessionId>, StoreError> {
        let rows = self
            .db
            .read(
                "-- live_sessions
                 SELECT session_id FROM sessions WHERE ended_at IS NULL AND session_id > $1
                 ORDER BY session_id LIMIT $2",
                values![after.map(|id| id.to_string()).unwrap_or_default(), limit],
            )
            .await?;
        rows.iter().map(session_id).collect()
    }

    /// Sessions that no browser ever came for.
    pub(crate) async fn uncompleted_sessions(&self, before: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let rows = self
            .db
            .read(
                "-- uncompleted_sessions
                 SELECT session_id FROM sessions
                 WHERE completed_at IS NULL AND ended_at IS NULL AND created_at < $1 LIMIT 100",
                values![before],
            )
            .await?;
        rows.iter().map(session_id).collect()
    }

    /// The gateway said that it lives.
    pub(crate) async fn session_checked(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
        self.db
            .execute(
                "-- session_checked
                 UPDATE sessions SET checked_at = $2 WHERE session_id = $1",
                values![id.to_string(), at],
            )
            .await?;
        Ok(())
    }

    /// Stores rotated tokens before anybody uses them; `false` where another instance was first.
    pub(crate) async fn store_tokens(
        &self,
        id: SessionId,
        version: i64,
        access_sealed: &str,
        access_expires_at: Timestamp,
        refresh_sealed: &str,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- store_tokens
                 UPDATE sessions SET access_sealed = $3, access_expires_at = $4, refresh_sealed = $5,
                                     token_version = token_version + 1
                 WHERE session_id = $1 AND token_version = $2 AND ended_at IS NULL",
                values![id.to_string(), version, access_sealed, access_expires_at, refresh_sealed],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Forgets sessions that ended or expired before, unless the gateway has yet to hear of it.
    pub(crate) async fn sweep_sessions(&self, before: Timestamp) -> Result<u64, StoreError> {
        let expired = self
            .db
            .execute(
                "-- sweep_expired_sessions
                 DELETE FROM sessions WHERE session_id IN
                     (SELECT session_id FROM sessions WHERE expires_at < $1 LIMIT $2)",
                values![before, SWEEP_BATCH],
            )
            .await?;
        let ended = self
            .db
            .execute(
                "-- sweep_ended_sessions
                 DELETE FROM sessions WHERE session_id IN
                     (SELECT session_id FROM sessions WHERE ended_at < $1 AND end_due_at IS NULL LIMIT $2)",
                values![before, SWEEP_BATCH],
            )
            .await?;
        Ok(expired.max(ended))
    }
}

fn session_id(row: &Row) -> Result<SessionId, StoreError> {
    SessionId::parse(&row.text("session_id")?).map_err(|_| StoreError::Corrupt("a session_id"))
}

fn from_row(row: &Row) -> Result<Session, StoreError> {
    let at = |column| Ok::<_, StoreError>(Timestamp::from_millis(row.int(column)?));
    let end = match row.opt_int("ended_at")? {
        None => None,
        Some(at) => Some(End {
            at: Timestamp::from_millis(at),
            reason: RevokeReason::parse(&row.text("end_reason")?).ok_or(StoreError::Corrupt("a reason"))?,
        }),
    };
    let stepped_up = match row.opt_text("step_up_sealed")? {
        None => None,
        Some(sealed) => Some(SteppedUp { sealed, until: at("step_up_expires_at")? }),
    };
    Ok(Session {
        session_id: session_id(row)?,
        iss: Issuer::parse(&row.text("iss")?).map_err(|_| StoreError::Corrupt("an issuer"))?,
        sub: row.text("sub")?,
        did: Did::parse(&row.text("did")?).map_err(|_| StoreError::Corrupt("a DID"))?,
        scope: row.text("scope")?,
        requested_claims: serde_json::from_str(&row.text("requested_claims")?)
            .map_err(|_| StoreError::Corrupt("claims"))?,
        claims: serde_json::from_str(&row.text("claims")?).map_err(|_| StoreError::Corrupt("claims"))?,
        access_sealed: row.text("access_sealed")?,
        access_expires_at: at("access_expires_at")?,
        refresh_sealed: row.text("refresh_sealed")?,
        token_version: row.int("token_version")?,
        binding: row.opt_text("binding")?.map_or(Ok(Binding::Linked), |text| binding_of(&text))?,
        created_at: at("created_at")?,
        checked_at: at("checked_at")?,
        expires_at: at("expires_at")?,
        stepped_up,
        end,
    })
}
