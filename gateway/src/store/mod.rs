//! What is remembered. The store speaks the domain's verbs; each module beside this one holds the
//! statements for one noun. A change is one transaction: a compare-and-set, the events that announce
//! it and its audit row, and nobody is answered before the commit.

mod audit;
mod challenge_rows;
mod challenges;
mod db;
mod dialect;
mod events;
mod handles;
mod open;
mod presence;
mod proofs;
mod retirement;
mod rows;
mod services;
mod sessions;
mod signing_keys;
mod step_ups;
mod sweep;
mod tx;
mod writer;

use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use audit::{AuditRow, jti_key};
pub use challenges::{Created, ForClaim, ForDecision, NewChallenge, Quota};
pub use events::{LogPage, Position};
pub use handles::{Claim, FROZEN};
pub use open::{OpenError, Options};
pub use presence::{Present, Reported, Reporting};
pub use proofs::Remembered;
pub use retirement::Retired;
pub use services::{BindingRule, Service, ServiceChange, SessionPolicy, StepUpRule};
pub use sweep::{Retention, Swept};
pub use tx::Tx;
pub use writer::OpFuture;

use crate::clock::Clock;
use crate::streams::Hub;
use db::Conn;
use tx::TxConn;
use writer::{Job, Waiting};

/// Why the store could not do it. None of these is the caller's doing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// Somebody else changed the same thing first, again and again.
    #[error("lost to others")]
    Lost,
    /// Too much waits already.
    #[error("too many operations are waiting")]
    Busy,
    /// It did not answer in time: nobody knows whether it will.
    #[error("the database did not answer in time")]
    Silent,
    /// What is stored is not what this program writes.
    #[error("the database holds something unreadable: {0}")]
    Damaged(&'static str),
}

/// The database, either kind.
#[derive(Clone)]
pub struct Store {
    kind: Kind,
    hub: Hub,
    clock: Clock,
}

#[derive(Clone)]
enum Kind {
    Sqlite { writer: mpsc::Sender<Box<dyn Job>>, readers: SqlitePool, task: WriterTask },
    Postgres { pool: PgPool },
}

/// The task that writes to SQLite, to be waited for at the end.
#[derive(Clone)]
struct WriterTask {
    stop: CancellationToken,
    ended: TaskTracker,
}

/// A connection to read with.
pub struct Reader(ReaderConn);

enum ReaderConn {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Reader {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            ReaderConn::Sqlite(conn) => Conn::Sqlite(conn),
            ReaderConn::Postgres(conn) => Conn::Postgres(conn),
        }
    }
}

/// How often an operation is begun again where another transaction was in its way.
const MAX_ATTEMPTS: u32 = 20;

impl Store {
    /// Runs an operation in a transaction of its own name. It may run more than once, each time
    /// from the beginning, so it must not keep anything between runs.
    pub async fn write<T, F>(&self, name: &'static str, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> OpFuture<'t, T> + Send + Sync + 'static,
    {
        let begun = Instant::now();
        let result = match &self.kind {
            Kind::Sqlite { writer, .. } => {
                let (reply, answer) = oneshot::channel();
                match writer.try_send(Box::new(Waiting { op, out: None, reply })) {
                    Ok(()) => answer.await.unwrap_or(Err(StoreError::Busy)),
                    Err(_) => Err(StoreError::Busy),
                }
            }
            // A task of its own: a caller that goes away must not come between a commit and telling of it.
            Kind::Postgres { pool } => {
                let (store, pool) = (self.clone(), pool.clone());
                let written = tokio::spawn(async move { store.write_postgres(&pool, op).await });
                written.await.unwrap_or(Err(StoreError::Busy))
            }
        };
        metrics::histogram!("miid_store_seconds", "operation" => name).record(begun.elapsed().as_secs_f64());
        result
    }

    async fn write_postgres<T, F>(&self, pool: &PgPool, op: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'t> Fn(&'t mut Tx) -> OpFuture<'t, T> + Send + Sync,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut tx = Tx::new(TxConn::Postgres(db::in_time(pool.begin()).await?), self.clock.now());
            let run = async {
                let out = op(&mut tx).await?;
                let log = tx.flush().await?;
                Ok::<_, StoreError>((out, log))
            };
            match run.await {
                Ok((out, log)) => {
                    let TxConn::Postgres(transaction) = tx.conn else { return Err(StoreError::Busy) };
                    db::in_time(transaction.commit()).await?;
                    self.hub.publish(log);
                    return Ok(out);
                }
                Err(failure) if attempt < MAX_ATTEMPTS && is_in_the_way(&failure) => {
                    metrics::counter!("miid_store_retries_total").increment(1);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A connection to read with, outside any transaction.
    pub async fn read(&self) -> Result<Reader, StoreError> {
        Ok(Reader(match &self.kind {
            Kind::Sqlite { readers, .. } => ReaderConn::Sqlite(readers.acquire().await?),
            Kind::Postgres { pool } => ReaderConn::Postgres(pool.acquire().await?),
        }))
    }

    /// A share of the connections, which leaves most of them to others: how many may ask the same thing at once.
    pub fn share(&self) -> usize {
        let connections = match &self.kind {
            Kind::Sqlite { readers, .. } => readers.options().get_max_connections(),
            Kind::Postgres { pool } => pool.options().get_max_connections(),
        };
        usize::try_from(connections / 4).unwrap_or(1).max(1)
    }

    /// Whether it answers, within a second.
    pub async fn is_ready(&self) -> bool {
        if let Kind::Sqlite { writer, .. } = &self.kind
            && writer.is_closed()
        {
            return false;
        }
        let asked =
            async { self.read().await?.conn().optional("SELECT 1", &[]).await.map_err(StoreError::from) };
        matches!(tokio::time::timeout(Duration::from_secs(1), asked).await, Ok(Ok(_)))
    }

    /// Lets the operations that wait end, then closes the database; SQLite's log is merged into its file.
    pub async fn close(&self) {
        match &self.kind {
            Kind::Sqlite { readers, task, .. } => {
                // The last connection merges, and it must be one that may write.
                readers.close().await;
                task.stop.cancel();
                task.ended.wait().await;
            }
            Kind::Postgres { pool } => pool.close().await,
        }
    }

    /// Who is told after a commit.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The time that transactions have.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether several instances may share it.
    pub fn postgres(&self) -> Option<&PgPool> {
        match &self.kind {
            Kind::Sqlite { .. } => None,
            Kind::Postgres { pool } => Some(pool),
        }
    }
}

/// Whether another transaction was in the way, so that beginning again can succeed: a compare-and-set that
/// was lost, serialization failures, deadlocks, and a unique row that somebody else wrote first (the operation will see it).
fn is_in_the_way(failure: &StoreError) -> bool {
    match failure {
        StoreError::Lost => true,
        StoreError::Database(sqlx::Error::Database(e)) => {
            e.is_unique_violation() || matches!(e.code().as_deref(), Some("40001" | "40P01"))
        }
        _ => false,
    }
}

/// Whether nothing more can come over this connection.
fn is_connection_lost(failure: &StoreError) -> bool {
    matches!(failure, StoreError::Database(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed))
}
