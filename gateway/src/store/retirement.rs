//! An identity ends: one transaction, after which nothing of it is live and nothing of it can become so.
//!
//! What could, is kept from slipping through: whatever becomes pending for a person does so under the lock of the
//! person, and whatever becomes a session under that of the person's sessions. A retirement holds both. So what it
//! does not see was made after its commit, by somebody who saw that the identity is over. What it does see it holds:
//! somebody who is changing it at this moment is waited for, and whoever comes after loses a compare-and-set and looks
//! again. So nobody who has the key as well can hold a retirement off by changing things faster than it reads them.

use miid_protocol::statement::Retirement;
use miid_protocol::{Did, Timestamp};

use super::challenge_rows::{from_row, select};
use super::db::values;
use super::{AuditRow, Reader, StoreError, Tx, dialect, jti_key};
use crate::domain::Challenge;
use crate::streams::StreamKey;

/// What became of a retirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Since when the identity is over.
    pub at: Timestamp,
    /// How many sessions ended with it; `None` where it was over before.
    pub ended: Option<usize>,
}

impl Tx {
    /// Ends an identity, by whose keyed hash quotas count it. Where it is over already nothing changes.
    pub async fn retire(
        &mut self,
        did: &Did,
        person_key: &str,
        retirement: &Retirement,
    ) -> Result<Retired, StoreError> {
        self.lock_person(person_key).await?;
        self.lock_sessions(did).await?;
        self.write_pending().await?;
        if let Some(at) = self.retired_at(did).await? {
            return Ok(Retired { at, ended: None });
        }
        let at = self.now;
        self.conn()
            .execute("-- retire\nINSERT INTO retired (did, at) VALUES ($1, $2)", values![did.as_str(), at])
            .await?;
        self.audit_retirement(did, retirement).await?;
        for challenge in self.open_challenges(did, person_key).await? {
            if let Some(step) = challenge.retire(retirement, at) {
                self.advance(step, None);
            }
        }
        // Before the sessions are looked for: an exchange that was faster has made one by now.
        self.write_pending().await?;
        let ended = self.retire_sessions(did).await?;
        self.release_handle(did).await?;
        self.end_stream(StreamKey::wallet(did));
        Ok(Retired { at, ended: Some(ended) })
    }

    async fn retired_at(&mut self, did: &Did) -> Result<Option<Timestamp>, StoreError> {
        let sql = "-- retired_at\nSELECT at FROM retired WHERE did = $1";
        let row = self.conn().optional(sql, values![did.as_str()]).await?;
        Ok(row.map(|row| row.int(0)).transpose()?.map(Timestamp::from_millis))
    }

    /// The statement is kept under its name, or without one where the name was used before: whoever has stolen the
    /// key must not be able to keep it alive by using up the name that stands on a sheet of paper.
    async fn audit_retirement(&mut self, did: &Did, retirement: &Retirement) -> Result<(), StoreError> {
        let made = retirement.clone().into_made();
        let jti_key = jti_key(did, made.jti());
        let used = self.statement_named(&jti_key).await?.is_some();
        self.audit(AuditRow {
            action: "retired",
            did: Some(did.to_string()),
            jti_key: (!used).then_some(jti_key),
            statement: Some(made.statement().to_owned()),
            ..AuditRow::default()
        });
        Ok(())
    }

    async fn open_challenges(&mut self, did: &Did, person_key: &str) -> Result<Vec<Challenge>, StoreError> {
        dialect::lock_sessions_of(&mut self.conn(), did.as_str()).await?;
        // A statement of its own: it waits, and what is read must be what stands there afterwards.
        dialect::lock_open_challenges(&mut self.conn(), person_key, did.as_str()).await?;
        let sql = select!("WHERE c.person_key = $1 AND c.did = $2 AND c.deadline IS NOT NULL");
        let rows = self.conn().all(sql, values![person_key, did.as_str()]).await?;
        Ok(rows.iter().map(|row| from_row(row, 0)).collect::<sqlx::Result<_>>()?)
    }
}

impl Reader {
    /// Whether an identity is over.
    pub async fn is_retired(&mut self, did: &Did) -> Result<bool, StoreError> {
        let sql = "-- is_retired\nSELECT at FROM retired WHERE did = $1";
        Ok(self.conn().optional(sql, values![did.as_str()]).await?.is_some())
    }
}
