//! One transaction: what an operation read, what it changes, and what it announces.
//!
//! An operation reads with one statement and then says what is to change; the changes are kept and
//! written together at the end, for all operations of the transaction at once. So a trip to the database
//! is made for each *kind* of change and not for each change, refusing costs nothing, and the counters
//! of the streams, which everybody wants, are held the shortest and taken in one order.
//!
//! An operation that is about to read what an earlier one of the same transaction changed has that
//! written first ([`Tx::about_to_read`]). A compare-and-set that finds another version fails the
//! transaction with [`StoreError::Lost`], and its operations run again from the beginning.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use miid_protocol::Timestamp;
use miid_protocol::events::{ServiceEvent, WalletEvent};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::audit::AuditRow;
use super::db::{Conn, Value};
use super::rows::{Column, Rows};
use super::{StoreError, audit, challenge_rows, dialect, events, proofs, sessions};
use crate::domain::{Challenge, Session};
use crate::streams::{END_OF_STREAM, LogEvent, StreamKey};

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
    pub(super) pending: Pending,
    events: Vec<Outgoing>,
    audit: Vec<AuditRow>,
}

/// Changes that are not written yet, by kind.
#[derive(Default)]
pub(super) struct Pending {
    /// Names of what they change, so that nobody reads past them.
    touched: HashSet<String>,
    pub(super) proofs: Vec<(String, Timestamp)>,
    pub(super) opened: Vec<Challenge>,
    /// Each with the version that it replaces.
    pub(super) moved: Vec<Challenge>,
    pub(super) subjects: Vec<(String, String, String)>,
    pub(super) sessions: Vec<Session>,
    pub(super) disclosures: Vec<(Uuid, String)>,
}

struct Outgoing {
    stream: StreamKey,
    name: &'static str,
    data: String,
    about: Option<String>,
    approval: Option<i64>,
}

impl Tx {
    pub(super) fn new(conn: TxConn, now: Timestamp) -> Self {
        Self { conn, now, pending: Pending::default(), events: Vec::new(), audit: Vec::new() }
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

    /// Keeps what is being decided about a person apart: how much is pending, and that the identity is over. What
    /// becomes pending for a person does so under this lock, so that a retirement sees all of it.
    pub async fn lock_person(&mut self, person_key: &str) -> Result<(), StoreError> {
        self.lock(&format!("person/{person_key}")).await
    }

    /// Announces to the wallets behind a stream.
    pub fn tell_wallet(&mut self, stream: StreamKey, event: &WalletEvent) {
        let (name, data) = (event.name(), event.data());
        self.events.push(Outgoing { stream, name, data, about: None, approval: None });
    }

    /// Ends a stream for whoever reads it, behind what was announced before, in every instance.
    pub fn end_stream(&mut self, stream: StreamKey) {
        let (name, data) = (END_OF_STREAM, "{}".to_owned());
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
        if let Some(key) = &row.jti_key {
            self.touch(format!("jti/{key}"));
        }
        self.audit.push(row);
    }

    /// Remembers that a change to what is called `name` is kept back.
    pub(super) fn touch(&mut self, name: String) {
        self.pending.touched.insert(name);
    }

    /// Writes what is kept back if any of it is called one of `names`.
    pub(super) async fn about_to_read(&mut self, names: &[String]) -> Result<(), StoreError> {
        if names.iter().any(|name| self.pending.touched.contains(name)) {
            self.write_pending().await?;
        }
        Ok(())
    }

    /// Whether a change to what is called `name` is kept back.
    pub(super) fn is_touched(&self, name: &str) -> bool {
        self.pending.touched.contains(name)
    }

    /// Writes what is kept back, in an order in which nothing points at what is not there yet.
    pub(super) async fn write_pending(&mut self) -> Result<(), StoreError> {
        let now = self.now;
        let pending = std::mem::take(&mut self.pending);
        let audit = std::mem::take(&mut self.audit);
        let mut conn = self.conn();
        proofs::write(&mut conn, &pending.proofs).await?;
        challenge_rows::write_opened(&mut conn, &pending.opened).await?;
        challenge_rows::write_moved(&mut conn, &pending.moved).await?;
        sessions::write_subjects(&mut conn, &pending.subjects).await?;
        sessions::write_sessions(&mut conn, &pending.sessions).await?;
        audit::write_disclosures(&mut conn, &pending.disclosures).await?;
        audit::write(&mut conn, &audit, now).await
    }

    /// Writes everything that is left; gives the events with their numbers, to be published once the
    /// transaction is committed.
    pub(super) async fn flush(&mut self) -> Result<Vec<Arc<LogEvent>>, StoreError> {
        self.write_pending().await?;
        let told = std::mem::take(&mut self.events);
        if told.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.now.millis();
        let mut counts: BTreeMap<&StreamKey, i64> = BTreeMap::new();
        for event in &told {
            *counts.entry(&event.stream).or_default() += 1;
        }
        let list: Vec<_> = counts
            .iter()
            .map(|(stream, n)| (stream.as_str(), n, events::fresh_stream_id(self.now)))
            .collect();
        let list = serde_json::to_string(&list).map_err(|_| StoreError::Damaged("a stream's name"))?;
        // The number that the next event of each stream gets, and what the stream's events are kept by.
        let mut next: BTreeMap<StreamKey, (i64, i64)> = BTreeMap::new();
        for row in dialect::advance_heads(&mut self.conn(), &list, now).await? {
            let stream = StreamKey::from_text(&row.text(0)?);
            let count = counts.get(&stream).copied().unwrap_or_default();
            next.insert(stream, (row.int(1)? - count + 1, row.int(2)?));
        }
        let mut log = Vec::with_capacity(told.len());
        let mut stream_ids = Vec::with_capacity(told.len());
        for event in told {
            let (seq, id) =
                next.get_mut(&event.stream).ok_or(StoreError::Damaged("a stream without a head"))?;
            stream_ids.push(*id);
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
        let rows = log.iter().zip(&stream_ids).map(|(event, stream_id)| {
            vec![
                Value::from(*stream_id),
                Value::from(event.seq),
                Value::from(now),
                Value::from(&*event.name),
                Value::from(&event.data),
                Value::from(event.about.as_deref()),
                Value::from(event.approval),
            ]
        });
        EVENTS.execute(&mut self.conn(), rows).await?;
        Ok(log)
    }

    /// Forgets what was not written, after a rollback.
    pub(super) fn clear(&mut self) {
        self.pending = Pending::default();
        self.events.clear();
        self.audit.clear();
    }
}

static EVENTS: Rows = Rows::new(
    "-- insert_events
     INSERT INTO events (stream_id, seq, at, name, data, about, approval)",
    &[Column::Int, Column::Int, Column::Int, Column::Text, Column::Text, Column::Text, Column::Int],
    "",
);
