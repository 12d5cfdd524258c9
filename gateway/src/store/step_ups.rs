//! Step-ups and the sessions that they are for: one is opened only in a session that lives, and ends with it.
//!
//! Whoever opens one holds the session's row until the commit. So whoever ends the session meanwhile waits, and then
//! sees the step-up; and who opens one after that sees that the session is over. A step-up that is being answered or
//! exchanged is held by its version, as any challenge: of that and the session's end one is first, and the other looks
//! again.

use miid_protocol::{ClientId, SessionId, Timestamp};

use super::challenge_rows::{from_row, select};
use super::db::values;
use super::{StoreError, Tx, dialect};
use crate::domain::Challenge;

/// What stands in the way of another step-up, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing.
    Free,
    /// So many are pending in this session; the first of them ends then.
    Full(Timestamp),
    /// The session is over.
    Over,
}

impl Tx {
    /// What this service asked for with this `code_challenge`, where that can still be answered again.
    pub async fn asked_before(
        &mut self,
        client_id: &ClientId,
        code_challenge: &str,
    ) -> Result<Option<Challenge>, StoreError> {
        let key = format!("{client_id}/{code_challenge}");
        self.about_to_read(&[format!("idempotency/{key}")]).await?;
        let row = self.conn().optional(select!("WHERE c.idempotency_key = $1"), values![&key]).await?;
        let found = row.as_ref().map(|row| from_row(row, 0)).transpose()?;
        Ok(found.filter(|challenge| self.now < challenge.expires_at))
    }

    /// Whether another step-up may be pending in a session, which stays as it is until the transaction ends.
    pub(super) async fn room_for_step_up(&mut self, id: SessionId, most: i64) -> Result<Room, StoreError> {
        let (id, now) = (id.to_string(), self.now);
        self.about_to_read(&[format!("session/{id}"), step_ups_of(&id)]).await?;
        // A statement of its own: it waits, and what is read must be what stands there afterwards.
        dialect::lock_session(&mut self.conn(), &id).await?;
        let row = self
            .conn()
            .one(
                "-- room_for_step_up
                 SELECT (SELECT count(*) FROM sessions WHERE id = $1 AND revoked_at IS NULL AND idle_until > $2),
                        count(*), min(expires_at)
                 FROM challenges
                 WHERE step_up_session = $1 AND step_up_session IS NOT NULL AND deadline IS NOT NULL
                   AND state = 'pending' AND deadline > $2",
                values![&id, now],
            )
            .await?;
        Ok(if row.int(0)? == 0 {
            Room::Over
        } else if row.int(1)? >= most {
            Room::Full(Timestamp::from_millis(row.opt_int(2)?.unwrap_or(now.millis())))
        } else {
            Room::Free
        })
    }

    /// Ends what is pending or approved in sessions that this transaction has ended.
    pub(super) async fn end_step_ups(&mut self, sessions: &[SessionId]) -> Result<(), StoreError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = sessions.iter().map(SessionId::to_string).collect();
        let names: Vec<String> = ids.iter().map(|id| step_ups_of(id)).collect();
        self.about_to_read(&names).await?;
        let list = serde_json::to_string(&ids).map_err(|_| StoreError::Damaged("a session's id"))?;
        let rows = dialect::step_ups_of_sessions(&mut self.conn(), &list).await?;
        for row in &rows {
            if let Some(step) = from_row(row, 0)?.end_with_session(self.now) {
                self.advance(step, None);
            }
        }
        Ok(())
    }
}

/// What changes to the step-ups of a session are called while they are kept back.
pub(super) fn step_ups_of(session_id: &str) -> String {
    format!("step-ups/{session_id}")
}
