//! The audit log, and the names of statements, which are unique per DID for ever.

use miid_protocol::Did;
use miid_protocol::jws;

use super::db::values;
use super::{StoreError, Tx};

/// What a statement's `jti` is kept as: scoped by DID, so that nobody burns another's (threats 8).
pub fn jti_key(did: &Did, jti: &str) -> String {
    jws::digest(format!("{did}\n{jti}").as_bytes())
}

impl Tx {
    /// The statement that already used this name, if one did.
    pub async fn statement_named(&mut self, jti_key: &str) -> Result<Option<String>, StoreError> {
        let row = self
            .conn()
            .optional(
                "-- statement_named
                 SELECT statement FROM audit WHERE jti_key = $1",
                values![jti_key],
            )
            .await?;
        Ok(row.map(|row| row.opt_text(0)).transpose()?.flatten())
    }
}
