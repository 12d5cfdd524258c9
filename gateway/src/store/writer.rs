//! SQLite has one writer, so all operations go through one task, which commits many in one
//! transaction: whoever waits while a commit is on its way to the disk shares the next one. Nobody is
//! answered before the commit that holds their change.
//!
//! What an operation keeps back before it refuses is written all the same: a refusal uses up its proof. One
//! that *fails* takes the transaction with it, and then each runs again alone.

use std::future::Future;
use std::pin::Pin;

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::tx::{Tx, TxConn};
use super::{StoreError, is_connection_lost, is_in_the_way};
use crate::clock::Clock;
use crate::streams::Hub;

/// Most operations in one transaction: enough to share the cost of a commit, few enough that the
/// first does not wait long for the last.
const MAX_BATCH: usize = 64;
/// How often an operation that failed alone is begun again.
const MAX_ALONE: usize = 3;
/// Most operations waiting; beyond, the caller is told to come back.
pub(super) const MAX_WAITING: usize = 4096;

/// The future of an operation.
pub type OpFuture<'t, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 't>>;

/// Something that can run in a transaction, and again in another if that one fails.
pub(super) trait Job: Send {
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> OpFuture<'t, ()>;
    /// Called once, after the commit or the failure.
    fn finish(self: Box<Self>, failure: Option<StoreError>);
}

/// An operation, its result, and who waits for it.
pub(super) struct Waiting<T, F> {
    pub op: F,
    pub out: Option<T>,
    pub reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F> Job for Waiting<T, F>
where
    F: for<'t> Fn(&'t mut Tx) -> OpFuture<'t, T> + Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> OpFuture<'t, ()> {
        let running = (self.op)(tx);
        let out = &mut self.out;
        Box::pin(async move {
            *out = Some(running.await?);
            Ok(())
        })
    }

    fn finish(self: Box<Self>, failure: Option<StoreError>) {
        let result = match (failure, self.out) {
            (None, Some(out)) => Ok(out),
            (Some(failure), _) => Err(failure),
            (None, None) => Err(StoreError::Busy),
        };
        // Nobody listens where the caller went away; the change stands all the same.
        let _ = self.reply.send(result);
    }
}

/// Runs until it is told to stop and nobody waits any more, then closes the connection.
pub(super) async fn run(
    connection: SqliteConnection,
    mut waiting: mpsc::Receiver<Box<dyn Job>>,
    stop: CancellationToken,
    hub: Hub,
    clock: Clock,
) {
    let mut tx = Tx::new(TxConn::Sqlite(connection), clock.now());
    let mut batch: Vec<Box<dyn Job>> = Vec::with_capacity(MAX_BATCH);
    loop {
        let received = tokio::select! {
            biased;
            received = waiting.recv_many(&mut batch, MAX_BATCH) => received,
            () = stop.cancelled() => {
                waiting.close();
                waiting.recv_many(&mut batch, MAX_BATCH).await
            }
        };
        if received == 0 {
            break;
        }
        metrics::histogram!("miid_store_batch_size").record(batch.len() as f64);
        match commit(&mut tx, &mut batch, &hub, &clock).await {
            Ok(()) => batch.drain(..).for_each(|job| job.finish(None)),
            Err(failure) if is_connection_lost(&failure) => {
                let mut failure = Some(failure);
                for job in batch.drain(..) {
                    job.finish(Some(failure.take().unwrap_or(StoreError::Busy)));
                }
            }
            Err(_) => {
                for job in batch.drain(..) {
                    let mut alone = [job];
                    let failure = commit_alone(&mut tx, &mut alone, &hub, &clock).await.err();
                    let [job] = alone;
                    job.finish(failure);
                }
            }
        }
    }
    if let TxConn::Sqlite(connection) = tx.conn {
        let _ = connection.close().await;
    }
}

/// One operation by itself, begun again where something unique was there already: it looks, or draws,
/// anew.
async fn commit_alone(
    tx: &mut Tx,
    job: &mut [Box<dyn Job>],
    hub: &Hub,
    clock: &Clock,
) -> Result<(), StoreError> {
    for _ in 0..MAX_ALONE {
        match commit(tx, job, hub, clock).await {
            Err(failure) if is_in_the_way(&failure) => {}
            other => return other,
        }
    }
    commit(tx, job, hub, clock).await
}

/// Begin, every operation, what they announce, commit, publish; or nothing at all.
async fn commit(tx: &mut Tx, batch: &mut [Box<dyn Job>], hub: &Hub, clock: &Clock) -> Result<(), StoreError> {
    tx.now = clock.now();
    let result = try_commit(tx, batch).await;
    match result {
        Ok(log) => {
            hub.publish(log);
            Ok(())
        }
        Err(failure) => {
            tx.clear();
            if let TxConn::Sqlite(conn) = &mut tx.conn {
                let _ = conn.execute("ROLLBACK").await;
            }
            Err(failure)
        }
    }
}

async fn try_commit(
    tx: &mut Tx,
    batch: &mut [Box<dyn Job>],
) -> Result<Vec<std::sync::Arc<crate::streams::LogEvent>>, StoreError> {
    execute(tx, "BEGIN IMMEDIATE").await?;
    for job in batch.iter_mut() {
        job.run(tx).await?;
    }
    let log = tx.flush().await?;
    execute(tx, "COMMIT").await?;
    Ok(log)
}

async fn execute(tx: &mut Tx, sql: &'static str) -> Result<(), StoreError> {
    if let TxConn::Sqlite(conn) = &mut tx.conn {
        conn.execute(sql).await?;
    }
    Ok(())
}
