//! A stream followed from inside this program: the same log, hints and position as for a reader outside.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::hub::{Guard, Hint};
use super::{Hub, Limits, LogEvent, StreamKey};
use crate::store::{LogPage, Position, Store, StoreError};

/// Nobody outside has this address: our own readers are bounded by how many services there are.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const UNBOUNDED: Limits =
    Limits { per_key: usize::MAX, per_address: usize::MAX, total: usize::MAX, max_age: Duration::MAX };

/// No reading of a page takes longer on a connection over which anything comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a tail hears.
pub enum Heard {
    /// The next events, in order and without a gap.
    Events(Vec<Arc<LogEvent>>),
    /// Some events are gone for good: whoever keeps a state by them reads the rows.
    Gap,
    /// This instance stops.
    Closed,
}

/// Follows one stream.
pub struct Tail {
    guard: Guard,
    store: Store,
    key: StreamKey,
    position: Position,
    /// What could not be read is read again.
    owed: bool,
}

impl Tail {
    /// From now on: whatever is committed after this returns will be heard.
    pub async fn open(store: &Store, key: StreamKey) -> Result<Option<Self>, StoreError> {
        let Ok(guard) = store.hub().join(key.clone(), INSIDE, UNBOUNDED) else { return Ok(None) };
        let opened = key.clone();
        let position = store
            .write("open_tail", move |tx| {
                let key = opened.clone();
                Box::pin(async move { tx.open_stream(&key).await })
            })
            .await?;
        Ok(Some(Self { guard, store: store.clone(), key, position, owed: false }))
    }

    /// Up to where it has heard everything.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next that happened; an error where the log could not be read, after which it may be asked again.
    pub async fn next(&mut self) -> Result<Heard, StoreError> {
        loop {
            if self.owed {
                return self.read().await;
            }
            let guard = &self.guard;
            let hint = poll_fn(|cx| match guard.slot.take(cx.waker()) {
                Hint::Nothing => Poll::Pending,
                hint => Poll::Ready(hint),
            })
            .await;
            match hint {
                Hint::Event(event, _) if event.seq <= self.position.0 => {}
                Hint::Event(event, _) if event.seq == self.position.0 + 1 => {
                    self.position = Position(event.seq);
                    return Ok(Heard::Events(vec![event]));
                }
                Hint::Event(..) | Hint::ReadLog => self.owed = true,
                Hint::Beat | Hint::Nothing => {}
                Hint::Closed => match self.rejoin(self.store.hub()) {
                    Some(guard) => (self.guard, self.owed) = (guard, true),
                    None => return Ok(Heard::Closed),
                },
            }
        }
    }

    /// Streams are closed when they are old; not those of this program.
    fn rejoin(&self, hub: &Hub) -> Option<Guard> {
        hub.join(self.key.clone(), INSIDE, UNBOUNDED).ok()
    }

    async fn read(&mut self) -> Result<Heard, StoreError> {
        let page = async { self.store.read().await?.log_after(&self.key, self.position).await };
        // Whoever asks again does so over another connection.
        match tokio::time::timeout(PATIENCE, page).await.map_err(|_| StoreError::Silent)?? {
            LogPage::Resync(head) => {
                (self.position, self.owed) = (head, false);
                Ok(Heard::Gap)
            }
            LogPage::Events(events) => {
                match events.last() {
                    // There may be another page.
                    Some(last) => self.position = Position(last.seq),
                    None => self.owed = false,
                }
                Ok(Heard::Events(events))
            }
        }
    }
}
