//! What people are called. One handle per DID, unique by look-alike skeleton; a released one stays
//! frozen, so that nobody takes over a name that others still remember.

use miid_protocol::{Did, Handle, Lifetime, Timestamp};

use super::db::values;
use super::{AuditRow, StoreError, Tx};

/// How long a released handle is nobody's.
pub const FROZEN: Lifetime = Lifetime::from_secs(90 * 86_400);

/// Names that one wallet may have let go of and that are still frozen: nobody hoards them by changing.
const MAX_FROZEN: i64 = 5;

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The handle is this wallet's.
    Held,
    /// It is somebody else's, looks like somebody else's, is reserved, or frozen.
    Taken,
}

impl Tx {
    /// Gives a handle to a wallet, by whose keyed hash quotas will count it, which lets go of the one it held.
    pub async fn claim_handle(
        &mut self,
        did: &Did,
        person_key: &str,
        handle: &Handle,
    ) -> Result<Claim, StoreError> {
        let now = self.now;
        if handle.is_reserved() {
            return Ok(Claim::Taken);
        }
        let frozen = self
            .conn()
            .one(
                "-- count_frozen
                 SELECT count(*) FROM handles WHERE did = $1 AND frozen_until > $2",
                values![did.as_str(), now],
            )
            .await?;
        if frozen.int(0)? >= MAX_FROZEN {
            return Ok(Claim::Taken);
        }
        let skeleton = handle.skeleton();
        self.lock(&format!("handle:{skeleton}")).await?;
        let holder = self
            .conn()
            .optional(
                "-- holder_of_skeleton
                 SELECT did, frozen_until, handle FROM handles WHERE skeleton = $1",
                values![&skeleton],
            )
            .await?;
        if let Some(row) = holder {
            let own = row.text(0)? == did.as_str();
            let frozen_until = row.opt_int(1)?;
            let free = frozen_until.is_some_and(|until| until <= now.millis());
            if own && frozen_until.is_none() && row.text(2)? == handle.as_str() {
                return Ok(Claim::Held);
            }
            if !own && !free {
                return Ok(Claim::Taken);
            }
            self.conn()
                .execute("-- free_skeleton\nDELETE FROM handles WHERE skeleton = $1", values![&skeleton])
                .await?;
        }
        self.release_handle(did).await?;
        self.conn()
            .execute(
                "-- claim_handle
                 INSERT INTO handles (handle, skeleton, did, person_key, claimed_at) VALUES ($1, $2, $3, $4, $5)",
                values![handle.as_str(), &skeleton, did.as_str(), person_key, now],
            )
            .await?;
        self.audit(AuditRow { action: "handle_claimed", did: Some(did.to_string()), ..AuditRow::default() });
        Ok(Claim::Held)
    }

    /// Lets go of the handle that a wallet holds, if it holds one.
    pub async fn release_handle(&mut self, did: &Did) -> Result<(), StoreError> {
        let frozen: Timestamp = self.now.plus(FROZEN);
        self.conn()
            .execute(
                "-- release_handle
                 UPDATE handles SET frozen_until = $2 WHERE did = $1 AND frozen_until IS NULL",
                values![did.as_str(), frozen],
            )
            .await?;
        Ok(())
    }
}
