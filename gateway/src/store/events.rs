//! Reading the logs that streams are made from. They are written by [`super::Tx`].

use std::borrow::Cow;
use std::sync::Arc;

use miid_protocol::{ChallengeId, ClientId, Timestamp};

use super::db::{Row, values};
use super::{Reader, StoreError, Tx, dialect};
use crate::clock;
use crate::streams::{LogEvent, StreamKey};

/// Most events read at once.
const PAGE: i64 = 200;

/// Where a reader stands in a log: everything up to here it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub i64);

/// What the log holds after a position.
#[derive(Debug, Clone)]
pub enum LogPage {
    /// The next events, in order and without a gap; fewer than a page means that this is the head.
    Events(Vec<Arc<LogEvent>>),
    /// The position is not in the log: too old, or ahead of it. The head is here.
    Resync(Position),
}

/// What a new stream's events will be kept by: the moment, and enough randomness that no two streams of
/// one moment get the same; so it grows with time, and new streams stand side by side.
pub(super) fn fresh_stream_id(now: Timestamp) -> i64 {
    let random = u32::from_be_bytes(clock::random()) >> 11;
    (now.millis() << 21) | i64::from(random)
}

impl Tx {
    /// The head of a stream, which begins to exist here if it did not.
    pub async fn open_stream(&mut self, stream: &StreamKey) -> Result<Position, StoreError> {
        let now = self.now;
        let row = self
            .conn()
            .one(
                "-- open_stream
                 INSERT INTO streams (stream, id, head, pruned_to, touched_at) VALUES ($1, $3, $2, $2, $2)
                 ON CONFLICT (stream) DO UPDATE SET touched_at = $2 RETURNING head",
                values![stream.as_str(), now, fresh_stream_id(now)],
            )
            .await?;
        Ok(Position(row.int(0)?))
    }
}

impl Reader {
    /// What follows a position in a stream.
    pub async fn log_after(&mut self, stream: &StreamKey, position: Position) -> Result<LogPage, StoreError> {
        let mut head = None;
        loop {
            let rows = self
                .conn()
                .all(
                    "-- log_after
                     SELECT seq, name, data, about, approval FROM events
                     WHERE stream_id = (SELECT id FROM streams WHERE stream = $1) AND seq > $2
                     ORDER BY seq LIMIT $3",
                    values![stream.as_str(), position.0, PAGE],
                )
                .await?;
            let first = rows.first().map(|row| row.int(0)).transpose()?;
            if first == Some(position.0 + 1) {
                let events =
                    rows.iter().map(|row| from_row(stream, row)).collect::<sqlx::Result<Vec<_>>>()?;
                return Ok(LogPage::Events(events));
            }
            // The head is read before the rows are believed to be missing: an event may have been
            // appended between the two statements.
            match head {
                Some(head) => return Ok(LogPage::Resync(head)),
                None => head = Some(self.head(stream).await?),
            }
            if head == Some(position) {
                return Ok(LogPage::Events(Vec::new()));
            }
        }
    }

    /// What a service's log says about one challenge, after a position.
    pub async fn log_about(
        &mut self,
        client_id: &ClientId,
        challenge: ChallengeId,
        after: Position,
    ) -> Result<Vec<Arc<LogEvent>>, StoreError> {
        let stream = StreamKey::service(client_id);
        let mut log = Vec::new();
        let mut after = after.0;
        loop {
            let page = self.page_about(&stream, challenge, after).await?;
            let Some(last) = page.last() else { return Ok(log) };
            after = last.seq;
            log.extend(page);
        }
    }

    async fn page_about(
        &mut self,
        stream: &StreamKey,
        challenge: ChallengeId,
        after: i64,
    ) -> Result<Vec<Arc<LogEvent>>, StoreError> {
        let rows = self
            .conn()
            .all(
                "-- log_about
                 SELECT seq, name, data, about, approval FROM events
                 WHERE about = $1 AND stream_id = (SELECT id FROM streams WHERE stream = $2) AND seq > $3
                 ORDER BY seq LIMIT $4",
                values![&challenge.to_string(), stream.as_str(), after, PAGE],
            )
            .await?;
        Ok(rows.iter().map(|row| from_row(stream, row)).collect::<sqlx::Result<_>>()?)
    }

    /// The number of the last event of a stream.
    pub async fn head(&mut self, stream: &StreamKey) -> Result<Position, StoreError> {
        let row = self
            .conn()
            .optional("-- head\nSELECT head FROM streams WHERE stream = $1", values![stream.as_str()])
            .await?;
        Ok(Position(row.map(|row| row.int(0)).transpose()?.unwrap_or_default()))
    }

    /// The heads of several streams.
    pub async fn heads(&mut self, streams: &[StreamKey]) -> Result<Vec<(StreamKey, Position)>, StoreError> {
        let names: Vec<&str> = streams.iter().map(StreamKey::as_str).collect();
        let list = serde_json::to_string(&names).map_err(|_| StoreError::Damaged("a stream's name"))?;
        let rows = dialect::heads(&mut self.conn(), &list).await?;
        let heads = rows.iter().map(|row| Ok((StreamKey::from_text(&row.text(0)?), Position(row.int(1)?))));
        Ok(heads.collect::<sqlx::Result<_>>()?)
    }
}

fn from_row(stream: &StreamKey, row: &Row) -> sqlx::Result<Arc<LogEvent>> {
    Ok(Arc::new(LogEvent {
        stream: stream.clone(),
        seq: row.int(0)?,
        name: Cow::Owned(row.text(1)?),
        data: row.text(2)?,
        about: row.opt_text(3)?,
        approval: row.opt_int(4)?,
    }))
}
