//! Browsers that have signed in before. On this rests `known_browser`, and on that the quota that
//! strangers cannot fill (threat 2).

use miid_protocol::secret::SecretHash;
use miid_protocol::{Did, Issuer, Timestamp};

use super::db::{StoreError, values};
use super::{SWEEP_BATCH, Store};

/// As whom a browser has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownAs {
    pub(crate) iss: Issuer,
    pub(crate) sub: String,
    pub(crate) did: Did,
    /// What was typed; empty where nothing was (a linked login), which leaves what was typed before.
    pub(crate) hint_digest: String,
}

/// People that one browser is known as; a shared computer, not a crowd.
const PEOPLE_PER_BROWSER: i64 = 8;

impl Store {
    /// Whether this browser has signed in as whom this hint names: by DID, or by what was typed then.
    pub(crate) async fn is_known(
        &self,
        browser: SecretHash,
        did: Option<&Did>,
        hint_digest: &str,
    ) -> Result<bool, StoreError> {
        let row = self
            .db
            .read_one(
                "-- is_known
                 SELECT sub FROM known_browsers WHERE browser_hash = $1 AND (did = $2 OR hint_digest = $3) LIMIT 1",
                values![browser.to_text(), did.map(|did| did.as_str().to_owned()), hint_digest],
            )
            .await?;
        Ok(row.is_some())
    }

    /// Remembers a browser under a fresh cookie; what it was known as before moves along.
    pub(crate) async fn remember_browser(
        &self,
        before: Option<SecretHash>,
        fresh: SecretHash,
        as_whom: &KnownAs,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        if let Some(before) = before {
            tx.execute(
                "-- move_known
                 UPDATE known_browsers SET browser_hash = $2 WHERE browser_hash = $1",
                values![before.to_text(), fresh.to_text()],
            )
            .await?;
        }
        tx.execute(
            "-- remember_browser
             INSERT INTO known_browsers (browser_hash, iss, sub, did, hint_digest, last_seen)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (browser_hash, iss, sub)
             DO UPDATE SET did = excluded.did, last_seen = excluded.last_seen,
                           hint_digest = CASE WHEN excluded.hint_digest = '' THEN known_browsers.hint_digest
                                              ELSE excluded.hint_digest END",
            values![
                fresh.to_text(),
                as_whom.iss.as_str(),
                as_whom.sub.as_str(),
                as_whom.did.as_str(),
                as_whom.hint_digest.as_str(),
                now,
            ],
        )
        .await?;
        tx.execute(
            "-- bound_known
             DELETE FROM known_browsers WHERE browser_hash = $1 AND sub NOT IN
                 (SELECT sub FROM known_browsers WHERE browser_hash = $1 ORDER BY last_seen DESC LIMIT $2)",
            values![fresh.to_text(), PEOPLE_PER_BROWSER],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets browsers not seen since; says how many, at most [`SWEEP_BATCH`].
    pub(crate) async fn sweep_known(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.db
            .execute(
                "-- sweep_known
                 DELETE FROM known_browsers WHERE browser_hash IN
                     (SELECT browser_hash FROM known_browsers WHERE last_seen < $1 LIMIT $2)
                 AND last_seen < $1",
                values![before, SWEEP_BATCH],
            )
            .await
    }
}
