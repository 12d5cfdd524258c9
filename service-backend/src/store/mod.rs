//! What the service remembers, in the verbs of its domain: [`logins`], [`sessions`],
//! [`step_ups`], [`known`] browsers. Every change of state is a compare-and-set that says whether it happened.

pub(crate) mod db;
mod known;
mod logins;
mod sessions;
mod step_ups;
#[cfg(test)]
mod tests;

use std::path::Path;

use miid_protocol::Timestamp;

use db::{Db, values};
pub use db::{OpenError, StoreError};
pub(crate) use known::KnownAs;
pub(crate) use logins::{Approval, NewLogin};
pub(crate) use step_ups::StepUpToken;

use crate::seal::Keys;

/// Rows that one statement of a sweep deletes: short enough that nobody waits for it.
pub(crate) const SWEEP_BATCH: i64 = 500;

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    db: Db,
}

impl Store {
    /// Opens the database, brings it up to date, and checks that it was made with this key file.
    pub(crate) async fn open(url: &str, keys: &Keys, key_file: &Path) -> Result<Self, OpenError> {
        let store = Self { db: Db::open(url).await? };
        let check = keys.check();
        store
            .db
            .execute(
                "-- remember_key
                 INSERT INTO facts (name, text_value, int_value) VALUES ('key_check', $1, 0)
                 ON CONFLICT (name) DO NOTHING",
                values![check.as_str()],
            )
            .await?;
        match store.fact("key_check").await? {
            Some((remembered, _)) if remembered == check => Ok(store),
            _ => Err(OpenError::OtherKey(key_file.to_owned())),
        }
    }

    /// Whether it answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.fact("key_check").await.map(|_| ())
    }

    /// Whether no other instance can be at work on the same database.
    pub(crate) const fn is_exclusive(&self) -> bool {
        self.db.is_exclusive()
    }

    /// When any instance on this database last had its ear at the gateway.
    pub(crate) async fn heard_at(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.fact("heard_at").await?.map(|(_, at)| Timestamp::from_millis(at)))
    }

    /// Remembers it; never goes back.
    pub(crate) async fn heard(&self, at: Timestamp) -> Result<(), StoreError> {
        self.db
            .execute(
                "-- heard
                 INSERT INTO facts (name, text_value, int_value) VALUES ('heard_at', '', $1)
                 ON CONFLICT (name) DO UPDATE SET int_value = excluded.int_value
                 WHERE facts.int_value < excluded.int_value",
                values![at],
            )
            .await?;
        Ok(())
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }

    async fn fact(&self, name: &str) -> Result<Option<(String, i64)>, StoreError> {
        let row = self
            .db
            .read_one("SELECT text_value, int_value FROM facts WHERE name = $1", values![name])
            .await?;
        row.map(|row| Ok((row.text("text_value")?, row.int("int_value")?))).transpose()
    }
}

#[cfg(test)]
impl Store {
    /// How many rows there are of what sign-ins write.
    async fn row_counts(&self) -> [(&'static str, i64); 3] {
        let mut counts = [("logins", 0), ("sessions", 0), ("known_browsers", 0)];
        let sql = [
            "SELECT count(*) AS n FROM logins",
            "SELECT count(*) AS n FROM sessions",
            "SELECT count(*) AS n FROM known_browsers",
        ];
        for ((_, count), sql) in counts.iter_mut().zip(sql) {
            let row = self.db.read_one(sql, Vec::new()).await.expect("reads").expect("a row");
            *count = row.int("n").expect("a number");
        }
        counts
    }
}
