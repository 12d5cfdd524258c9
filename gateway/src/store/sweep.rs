//! What time undoes, in bounded batches: challenges and sessions past their deadlines end (with
//! their events), and what nobody can need any more is deleted.

use miid_protocol::service::RevokeReason;
use miid_protocol::{Lifetime, Timestamp};

use super::db::values;
use super::{Store, StoreError, Tx};
use crate::clock;

/// Rows per transaction: small enough that nobody waits long behind one.
const BATCH: i64 = 100;
/// Batches per kind and sweep: a backlog is worked off over several sweeps.
const MAX_BATCHES: u32 = 50;

/// How long what is over is kept. The audit log is kept for ever.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Events: a wallet that was away longer reads the lists (`resync`).
    pub events: Lifetime,
    /// Events per stream, whatever their age.
    pub events_per_stream: i64,
    /// Challenges and ended sessions, whose reuse is recognised that long.
    pub ended: Lifetime,
}

/// What a sweep did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Swept {
    /// Challenges that ran out.
    pub challenges: u64,
    /// Sessions that ran out.
    pub sessions: u64,
    /// Rows deleted.
    pub deleted: u64,
}

impl Store {
    /// Ends what is past its deadline. Cheap where nothing is; meant to run every second.
    pub async fn sweep_deadlines(&self) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for _ in 0..MAX_BATCHES {
            let n = self.write("sweep_challenges", |tx| Box::pin(expire_challenges(tx))).await?;
            swept.challenges += n;
            if n < BATCH.unsigned_abs() {
                break;
            }
        }
        for _ in 0..MAX_BATCHES {
            let n = self.write("sweep_sessions", |tx| Box::pin(expire_sessions(tx))).await?;
            swept.sessions += n;
            if n < BATCH.unsigned_abs() {
                break;
            }
        }
        Ok(swept)
    }

    /// Deletes what nobody can need any more. Meant to run every minute or so.
    pub async fn sweep_remains(&self, retention: Retention) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for kind in [
            Remains::Proofs,
            Remains::Events,
            Remains::Challenges,
            Remains::Sessions,
            Remains::Disclosures,
            Remains::Handles,
            Remains::Streams,
        ] {
            for _ in 0..MAX_BATCHES {
                let n = self.write("sweep_remains", move |tx| Box::pin(delete(tx, kind, retention))).await?;
                deleted += n;
                if n < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        let n = self.write("sweep_long_streams", move |tx| Box::pin(prune_long(tx, retention))).await?;
        Ok(deleted + n)
    }
}

async fn expire_challenges(tx: &mut Tx) -> Result<u64, StoreError> {
    let lapsed = tx.lapsed_challenges(BATCH).await?;
    for challenge in &lapsed {
        if let Some(step) = challenge.lapse(tx.now) {
            tx.advance(step, None);
        }
    }
    Ok(lapsed.len() as u64)
}

async fn expire_sessions(tx: &mut Tx) -> Result<u64, StoreError> {
    let lapsed = tx.lapsed_sessions(BATCH).await?;
    for session in &lapsed {
        tx.revoke_session(session, RevokeReason::Expired, None).await?;
    }
    Ok(lapsed.len() as u64)
}

#[derive(Clone, Copy)]
enum Remains {
    Proofs,
    Events,
    Challenges,
    Sessions,
    Disclosures,
    Handles,
    Streams,
}

fn before(now: Timestamp, lifetime: Lifetime) -> Timestamp {
    Timestamp::from_millis(now.millis().saturating_sub(lifetime.millis()))
}

async fn delete(tx: &mut Tx, kind: Remains, retention: Retention) -> Result<u64, StoreError> {
    let now = tx.now;
    let old_event = before(now, retention.events);
    let ended = before(now, retention.ended);
    let mut conn = tx.conn();
    Ok(match kind {
        Remains::Proofs => return tx.forget_proofs(now, BATCH).await,
        Remains::Events => {
            conn.execute(
                "-- delete_old_events
                 DELETE FROM events WHERE (stream_id, seq) IN
                     (SELECT stream_id, seq FROM events WHERE at < $1 ORDER BY at LIMIT $2)",
                values![old_event, BATCH],
            )
            .await?
        }
        // The session, if there is one, is deleted by its own age: reuse of a code is recognised as
        // long as its challenge stands, so a challenge stays while its session lives.
        Remains::Challenges => {
            conn.execute(
                "-- delete_old_challenges
                 DELETE FROM challenges WHERE id IN
                     (SELECT c.id FROM challenges c LEFT JOIN sessions s ON s.id = c.session_id
                      WHERE c.id < $1 AND c.deadline IS NULL AND (s.id IS NULL OR s.revoked_at IS NOT NULL)
                      ORDER BY c.id LIMIT $2)",
                values![&clock::uuid_v7_floor(ended), BATCH],
            )
            .await?
        }
        Remains::Sessions => {
            conn.execute(
                "-- delete_old_sessions
                 DELETE FROM sessions WHERE id IN
                     (SELECT id FROM sessions WHERE id < $1 AND revoked_at < $2 ORDER BY id LIMIT $3)",
                values![&clock::uuid_v7_floor(ended), ended, BATCH],
            )
            .await?
        }
        // Sessions end before (see Settings::retention), so nothing live is forgotten.
        Remains::Disclosures => {
            conn.execute(
                "-- delete_old_disclosures
                 DELETE FROM disclosures WHERE grant_id IN
                     (SELECT grant_id FROM disclosures WHERE grant_id < $1 ORDER BY grant_id LIMIT $2)",
                values![&clock::uuid_v7_floor(ended), BATCH],
            )
            .await?
        }
        Remains::Handles => {
            conn.execute(
                "-- delete_thawed_handles
                 DELETE FROM handles WHERE handle IN
                     (SELECT handle FROM handles WHERE frozen_until <= $1 LIMIT $2)",
                values![now, BATCH],
            )
            .await?
        }
        Remains::Streams => {
            conn.execute(
                "-- delete_idle_streams
                 DELETE FROM streams WHERE stream IN
                     (SELECT s.stream FROM streams s WHERE s.touched_at < $1
                        AND NOT EXISTS (SELECT 1 FROM events e WHERE e.stream_id = s.id) LIMIT $2)",
                values![old_event, BATCH],
            )
            .await?
        }
    })
}

/// Cuts streams that are longer than they may be; at most a batch of streams.
async fn prune_long(tx: &mut Tx, retention: Retention) -> Result<u64, StoreError> {
    let long = tx
        .conn()
        .all(
            "-- long_streams
             SELECT stream, head, id FROM streams WHERE head - pruned_to > $1 ORDER BY stream LIMIT $2",
            values![retention.events_per_stream, BATCH],
        )
        .await?;
    let mut deleted = 0;
    for row in long {
        let (stream, cut) = (row.text(0)?, row.int(1)? - retention.events_per_stream / 2);
        deleted += tx
            .conn()
            .execute(
                "-- prune_stream
                 DELETE FROM events WHERE stream_id = $1 AND seq <= $2",
                values![row.int(2)?, cut],
            )
            .await?;
        tx.conn()
            .execute("-- pruned\nUPDATE streams SET pruned_to = $2 WHERE stream = $1", values![&stream, cut])
            .await?;
    }
    Ok(deleted)
}
