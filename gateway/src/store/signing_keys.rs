//! When token signing keys count. Private halves are never here.

use miid_protocol::Timestamp;

use super::db::{Row, values};
use super::{Reader, StoreError, Tx};
use crate::keys::KeyRow;

const SELECT: &str = "SELECT kid, created_at, active_from, retired_at FROM signing_keys ORDER BY active_from";

impl Tx {
    /// Adds a key that signs from `active_from`.
    pub async fn add_signing_key(&mut self, kid: &str, active_from: Timestamp) -> Result<(), StoreError> {
        let now = self.now;
        self.conn()
            .execute(
                "-- add_signing_key
                 INSERT INTO signing_keys (kid, created_at, active_from) VALUES ($1, $2, $3)",
                values![kid, now, active_from],
            )
            .await?;
        self.changed("signing_key_added", None).await
    }

    /// Retires a key at once: nothing that it signed counts from now on. False where there is none.
    pub async fn retire_signing_key(&mut self, kid: &str) -> Result<bool, StoreError> {
        let now = self.now;
        let rows = self
            .conn()
            .execute(
                "-- retire_signing_key
                 UPDATE signing_keys SET retired_at = $2 WHERE kid = $1 AND retired_at IS NULL",
                values![kid, now],
            )
            .await?;
        self.changed("signing_key_retired", None).await?;
        Ok(rows == 1)
    }

    /// Every key, by the time from which it signs.
    pub async fn signing_keys(&mut self) -> Result<Vec<KeyRow>, StoreError> {
        // Two instances that find no key must not make two.
        self.lock("signing_keys").await?;
        let rows = self.conn().all(SELECT, &[]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }
}

impl Reader {
    /// Every key, by the time from which it signs.
    pub async fn signing_keys(&mut self) -> Result<Vec<KeyRow>, StoreError> {
        let rows = self.conn().all(SELECT, &[]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }
}

fn from_row(row: &Row) -> sqlx::Result<KeyRow> {
    Ok(KeyRow {
        kid: row.text(0)?,
        created_at: Timestamp::from_millis(row.int(1)?),
        active_from: Timestamp::from_millis(row.int(2)?),
        retired_at: row.opt_int(3)?.map(Timestamp::from_millis),
    })
}
