//! One transaction: the statements of an operation, and what it announces. Events, audit rows and
//! refresh tokens are written last, for all operations of the transaction together: the counters of
//! the streams are the rows that everybody wants, so they are held the shortest, and taken in one
//! order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use miid_protocol::Timestamp;
use miid_protocol::events::{ServiceEvent, WalletEvent};
use sqlx::SqliteConnection;

use super::db::Conn;
use super::{StoreError, dialect};
use crate::clock;
use crate::streams::{LogEvent, StreamKey};

/// The connection that a transaction runs on.
pub(super) enum TxConn {
    Sqlite(SqliteConnection),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A transaction under way.
pub struct Tx {
    pub(super) conn: TxConn,
    /// The time of everything in it.
    pub now: Timestamp,
    events: Vec<Outgoing>,
    audit: Vec<AuditRow>,
}

struct Outgoing {
    stream: StreamKey,
    name: &'static str,
    data: String,
    about: Option<String>,
    approval: Option<i64>,
}

/// One line of the audit log.
#[derive(Debug, Default, Clone)]
pub struct AuditRow {
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

impl Tx {
    pub(super) fn new(conn: TxConn, now: Timestamp) -> Self {
        Self { conn, now, events: Vec::new(), audit: Vec::new() }
    }

    /// The connection, for the statements of the store's verbs.
    pub(super) fn conn(&mut self) -> Conn<'_> {
        match &mut self.conn {
            TxConn::Sqlite(conn) => Conn::Sqlite(conn),
            TxConn::Postgres(tx) => Conn::Postgres(tx),
        }
    }

    /// See [`dialect::lock`].
    pub async fn lock(&mut self, name: &str) -> Result<(), StoreError> {
        Ok(dialect::lock(&mut self.conn(), name).await?)
    }

    /// Announces to the wallets behind a stream.
    pub fn tell_wallet(&mut self, stream: StreamKey, event: &WalletEvent) {
        let (name, data) = (event.name(), event.data());
        self.events.push(Outgoing { stream, name, data, about: None, approval: None });
    }

    /// Announces to a service. `about` is the challenge, `approval` says which code belongs into it.
    pub fn tell_service(
        &mut self,
        stream: StreamKey,
        event: &ServiceEvent,
        about: Option<String>,
        approval: Option<i64>,
    ) {
        let (name, data) = (event.name(), event.data());
        self.events.push(Outgoing { stream, name, data, about, approval });
    }

    /// Adds a line to the audit log.
    pub fn audit(&mut self, row: AuditRow) {
        self.audit.push(row);
    }

    /// Writes what was announced; gives the events with their numbers, to be published once the
    /// transaction is committed.
    pub(super) async fn flush(&mut self) -> Result<Vec<Arc<LogEvent>>, StoreError> {
        let now = self.now;
        let audit = std::mem::take(&mut self.audit);
        let events = std::mem::take(&mut self.events);
        if !audit.is_empty() {
            let rows: Vec<_> = audit
                .iter()
                .map(|row| {
                    let id = clock::uuid_v7(now).to_string();
                    (
                        id,
                        row.action,
                        &row.client_id,
                        &row.did,
                        &row.challenge_id,
                        &row.session_id,
                        row.reason,
                        &row.jti_key,
                        &row.statement,
                    )
                })
                .collect();
            dialect::insert_audit(&mut self.conn(), &to_json(&rows), now.millis()).await?;
        }
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut counts: BTreeMap<&StreamKey, i64> = BTreeMap::new();
        for event in &events {
            *counts.entry(&event.stream).or_default() += 1;
        }
        let list: Vec<_> = counts.iter().map(|(stream, n)| (stream.as_str(), n)).collect();
        let rows = dialect::advance_heads(&mut self.conn(), &to_json(&list), now.millis()).await?;
        // From here on the map holds the number that the next event of each stream gets.
        let mut next: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows {
            let stream = row.text(0)?;
            let count = counts.iter().find(|(key, _)| key.as_str() == stream).map_or(0, |(_, n)| *n);
            next.insert(stream, row.int(1)? - count + 1);
        }
        let mut log = Vec::with_capacity(events.len());
        for event in events {
            let seq =
                next.get_mut(event.stream.as_str()).ok_or(StoreError::Damaged("a stream without a head"))?;
            log.push(Arc::new(LogEvent {
                stream: event.stream,
                seq: *seq,
                name: Cow::Borrowed(event.name),
                data: event.data,
                about: event.about,
                approval: event.approval,
            }));
            *seq += 1;
        }
        let list: Vec<_> =
            log.iter().map(|e| (e.stream.as_str(), e.seq, &*e.name, &e.data, &e.about, e.approval)).collect();
        dialect::insert_events(&mut self.conn(), &to_json(&list), now.millis()).await?;
        Ok(log)
    }

    /// Forgets what was announced, after a rollback.
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.audit.clear();
    }
}

fn to_json<T: serde::Serialize>(list: &T) -> String {
    match serde_json::to_string(list) {
        Ok(text) => text,
        Err(_) => unreachable!("lists of text and integers serialise"),
    }
}
