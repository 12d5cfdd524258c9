//! Proofs that were accepted. Remembered in the store, so that one is accepted once over all
//! instances and restarts (threats 7), and only after its signature held (threats 8).

use miid_protocol::{Timestamp, jws};

use super::db::values;
use super::{StoreError, Tx};
use crate::verify::HeldProof;

impl Tx {
    /// Remembers a proof; false where it was seen before.
    pub async fn remember_proof(&mut self, proof: &HeldProof) -> Result<bool, StoreError> {
        let id = jws::digest(format!("{}\n{}", proof.did(), jws::digest(proof.jti().as_bytes())).as_bytes());
        let rows = self
            .conn()
            .execute(
                "-- remember_proof
                 INSERT INTO proofs (id, forget_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
                values![&id, proof.forget_at()],
            )
            .await?;
        Ok(rows == 1)
    }

    /// Forgets at most `limit` proofs that could not be accepted again anyway.
    pub async fn forget_proofs(&mut self, now: Timestamp, limit: i64) -> Result<u64, StoreError> {
        Ok(self
            .conn()
            .execute(
                "-- forget_proofs
                 DELETE FROM proofs WHERE id IN (SELECT id FROM proofs WHERE forget_at < $1 LIMIT $2)",
                values![now, limit],
            )
            .await?)
    }
}

impl super::Reader {
    /// How many proofs are remembered.
    pub async fn count_proofs(&mut self) -> Result<i64, StoreError> {
        Ok(self.conn().one("-- count_proofs\nSELECT count(*) FROM proofs", &[]).await?.int(0)?)
    }
}
