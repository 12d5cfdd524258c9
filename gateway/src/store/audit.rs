//! The audit log, and the names of statements, which are unique per DID for ever.

use miid_protocol::{Did, Timestamp, jws};
use uuid::Uuid;

use super::db::{Conn, Value, values};
use super::rows::{Column, Rows};
use super::{StoreError, Tx};
use crate::clock;

/// One line of the audit log.
#[derive(Debug, Default, Clone)]
pub struct AuditRow {
    /// Its id, where something points at it; else a fresh one.
    pub id: Option<Uuid>,
    /// What happened.
    pub action: &'static str,
    /// At which service.
    pub client_id: Option<String>,
    /// Whose wallet.
    pub did: Option<String>,
    /// Which challenge.
    pub challenge_id: Option<String>,
    /// Which session.
    pub session_id: Option<String>,
    /// Why.
    pub reason: Option<&'static str>,
    /// The statement's name, keyed by DID: unique for ever.
    pub jti_key: Option<String>,
    /// The signed decision.
    pub statement: Option<String>,
}

/// What a statement's `jti` is kept as: scoped by DID, so that nobody burns another's (threats 8).
pub fn jti_key(did: &Did, jti: &str) -> String {
    jws::digest(format!("{did}\n{jti}").as_bytes())
}

impl Tx {
    /// The statement that already used this name, if one did.
    pub async fn statement_named(&mut self, jti_key: &str) -> Result<Option<String>, StoreError> {
        self.about_to_read(&[format!("jti/{jti_key}")]).await?;
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

static AUDIT: Rows = Rows::new(
    "-- insert_audit
     INSERT INTO audit (id, at, action, client_id, did, challenge_id, session_id, reason, jti_key, statement)",
    &[
        Column::Text,
        Column::Int,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
    ],
    "",
);

pub(super) async fn write(conn: &mut Conn<'_>, audit: &[AuditRow], now: Timestamp) -> Result<(), StoreError> {
    let id = |row: &AuditRow| row.id.unwrap_or_else(|| clock::uuid_v7(now)).to_string();
    let ids: Vec<String> = audit.iter().map(id).collect();
    let rows = audit.iter().zip(&ids).map(|(row, id)| {
        vec![
            Value::from(id),
            Value::from(now),
            Value::from(row.action),
            Value::from(row.client_id.as_deref()),
            Value::from(row.did.as_deref()),
            Value::from(row.challenge_id.as_deref()),
            Value::from(row.session_id.as_deref()),
            Value::from(row.reason),
            Value::from(row.jti_key.as_deref()),
            Value::from(row.statement.as_deref()),
        ]
    });
    AUDIT.execute(conn, rows).await?;
    Ok(())
}

static DISCLOSURES: Rows = Rows::new(
    "-- insert_disclosures
     INSERT INTO disclosures (grant_id, disclosure)",
    &[Column::Text, Column::Text],
    "",
);

/// What was shared with approvals, beside the lines that they are in the log.
pub(super) async fn write_disclosures(
    conn: &mut Conn<'_>,
    disclosures: &[(Uuid, String)],
) -> Result<(), StoreError> {
    let ids: Vec<String> = disclosures.iter().map(|(id, _)| id.to_string()).collect();
    let rows = disclosures.iter().zip(&ids).map(|((_, text), id)| vec![Value::from(id), Value::from(text)]);
    DISCLOSURES.execute(conn, rows).await?;
    Ok(())
}
