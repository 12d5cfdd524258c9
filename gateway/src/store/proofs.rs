//! Proofs that were accepted. Remembered in the store, so that one is accepted once over all
//! instances and restarts (threats 7), and only after its signature held (threats 8).

use miid_protocol::{Timestamp, jws};

use super::db::{Conn, Value, values};
use super::rows::{Column, Rows};
use super::{StoreError, Tx};
use crate::verify::HeldProof;

/// What is known about a proof, once it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// It was never seen before.
    Fresh,
    /// It was.
    Replayed,
    /// It was not, but the identity is over.
    Retired,
}

/// What a proof is remembered as.
pub(super) fn proof_id(proof: &HeldProof) -> String {
    jws::digest(format!("{}\n{}", proof.did(), jws::digest(proof.jti().as_bytes())).as_bytes())
}

impl Tx {
    /// Remembers a proof, and says whether its owner may do anything with it.
    pub async fn remember_proof(&mut self, proof: &HeldProof) -> Result<Remembered, StoreError> {
        let id = proof_id(proof);
        self.about_to_read(&[format!("proof/{id}")]).await?;
        let row = self
            .conn()
            .one(
                "-- proof_seen
                 SELECT (SELECT count(*) FROM proofs WHERE id = $1),
                        (SELECT count(*) FROM retired WHERE did = $2)",
                values![&id, proof.did().as_str()],
            )
            .await?;
        if row.int(0)? > 0 {
            return Ok(Remembered::Replayed);
        }
        self.keep_proof(id, proof);
        Ok(if row.int(1)? > 0 { Remembered::Retired } else { Remembered::Fresh })
    }

    /// Remembers a proof that was looked for and not found. Another instance may do the same at this
    /// moment: then the row is there when this one is written, and the operation runs again.
    pub(super) fn keep_proof(&mut self, id: String, proof: &HeldProof) {
        self.touch(format!("proof/{id}"));
        self.pending.proofs.push((id, proof.forget_at()));
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

static PROOFS: Rows = Rows::new(
    "-- insert_proofs
     INSERT INTO proofs (id, forget_at)",
    &[Column::Text, Column::Int],
    "",
);

pub(super) async fn write(conn: &mut Conn<'_>, proofs: &[(String, Timestamp)]) -> Result<(), StoreError> {
    let rows = proofs.iter().map(|(id, forget_at)| vec![Value::from(id), Value::from(*forget_at)]);
    PROOFS.execute(conn, rows).await?;
    Ok(())
}

impl super::Reader {
    /// How many proofs are remembered.
    pub async fn count_proofs(&mut self) -> Result<i64, StoreError> {
        Ok(self.conn().one("-- count_proofs\nSELECT count(*) FROM proofs", &[]).await?.int(0)?)
    }
}
