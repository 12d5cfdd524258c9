//! One connection to the event stream, and how long to wait for the next.

use std::time::Duration;

use miid_protocol::events::{Resync, WalletEvent};
use tokio::time::Instant;

use crate::entropy::{self, Entropy};
use crate::sse::Reader;

/// Bounds of reconnecting.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// The first wait is up to this.
    pub backoff_start: Duration,
    /// No wait is longer, except where the gateway asks for it.
    pub backoff_max: Duration,
    /// No bytes for so long: the connection is dead. The gateway sends a comment every 15 s, so three were lost.
    pub silence: Duration,
    /// A stream that lived so long, or told anything, was a good one: the waits begin anew.
    pub good_after: Duration,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            backoff_start: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            silence: Duration::from_secs(45),
            good_after: Duration::from_secs(10),
        }
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// The gateway closed it, as it does after an hour and when it stops.
    #[error("the gateway closed the stream")]
    Closed,
    /// Nothing came any more, not even a comment.
    #[error("the stream fell silent")]
    Silent,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// What came is no event stream of ours.
    #[error("the stream cannot be read: {0}")]
    Unreadable(String),
}

/// One event and the position behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What to resume from; `None` where the gateway gave none.
    pub id: Option<String>,
    /// What happened; `None` for an event that this version does not know. One that it knows and cannot
    /// read is a resync: the lists say what it would have said, and the stream goes on behind it.
    pub event: Option<WalletEvent>,
}

/// An open stream.
pub struct EventStream {
    response: reqwest::Response,
    reader: Reader,
    last_byte: Instant,
}

impl EventStream {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self { response, reader: Reader::default(), last_byte: Instant::now() }
    }

    /// The next event; may be dropped and called again without losing any.
    pub async fn next(&mut self, silence: Duration) -> Result<Told, StreamEnd> {
        loop {
            if let Some(message) = self.reader.next() {
                let event = WalletEvent::parse(&message.event, &message.data).unwrap_or_else(|_| {
                    tracing::warn!(event = %message.event, "an event cannot be read; reading the lists");
                    Some(WalletEvent::Resync(Resync {}))
                });
                // What cannot stand in a header is no position to resume from.
                let id = message.id.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic()));
                return Ok(Told { id, event });
            }
            let chunk = tokio::time::timeout_at(self.last_byte + silence, self.response.chunk()).await;
            match chunk {
                Err(_) => return Err(StreamEnd::Silent),
                Ok(Err(e)) => return Err(StreamEnd::Broken(e)),
                Ok(Ok(None)) => return Err(StreamEnd::Closed),
                Ok(Ok(Some(bytes))) => {
                    self.last_byte = Instant::now();
                    self.reader.push(&bytes).map_err(|e| StreamEnd::Unreadable(e.to_string()))?;
                }
            }
        }
    }

    /// How long the gateway wants to be left alone after this stream (`retry:`).
    pub fn retry(&self) -> Option<Duration> {
        self.reader.retry()
    }
}

/// Exponential back-off with full jitter: each wait is anywhere between nothing and a bound that doubles, so
/// that a thousand wallets do not come back in step after a gateway was away.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    settings: StreamSettings,
    start: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing failed yet.
    pub fn new(settings: StreamSettings) -> Self {
        Self { settings, start: settings.backoff_start, failures: 0 }
    }

    /// It went well: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The gateway said how long a reconnect should wait; it cannot make us wait for ever, or not at all.
    pub fn heed_retry(&mut self, retry: Duration) {
        self.start = retry.clamp(self.settings.backoff_start, self.settings.backoff_max);
    }

    /// How long to wait now; `retry_after` comes on top, being a wish and not a guess.
    pub fn wait(&mut self, retry_after: Option<Duration>, entropy: &dyn Entropy) -> Duration {
        let bound = self.start.saturating_mul(1 << self.failures.min(16)).min(self.settings.backoff_max);
        self.failures = self.failures.saturating_add(1);
        retry_after.unwrap_or_default() + bound.mul_f64(entropy::fraction(entropy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{EntropyError, SystemEntropy};

    /// The largest fraction there is.
    struct Most;
    impl Entropy for Most {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(0xff);
            Ok(())
        }
    }
    /// The smallest.
    struct Least;
    impl Entropy for Least {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(0);
            Ok(())
        }
    }

    fn ms(duration: Duration) -> u128 {
        (duration + Duration::from_micros(500)).as_millis()
    }

    #[test]
    fn waits_double_up_to_their_bound_and_begin_anew() {
        let mut backoff = Backoff::new(StreamSettings::default());
        let waits: Vec<_> = (0..9).map(|_| ms(backoff.wait(None, &Most))).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        for _ in 0..100 {
            backoff.wait(None, &Most);
        }
        assert_eq!(ms(backoff.wait(None, &Most)), 30_000);
        backoff.reset();
        assert_eq!(ms(backoff.wait(None, &Most)), 250);
    }

    #[test]
    fn the_jitter_is_full() {
        let mut backoff = Backoff::new(StreamSettings::default());
        assert_eq!(backoff.wait(None, &Least), Duration::ZERO);
        for _ in 0..200 {
            assert!(backoff.wait(None, &SystemEntropy) <= Duration::from_secs(30));
        }
    }

    #[test]
    fn the_gateways_wishes_are_heeded_within_reason() {
        let mut backoff = Backoff::new(StreamSettings::default());
        backoff.heed_retry(Duration::from_secs(1));
        assert_eq!(ms(backoff.wait(None, &Most)), 1000);
        assert_eq!(ms(backoff.wait(Some(Duration::from_secs(7)), &Most)), 9000);
        backoff.reset();
        for (said, most) in [(0, 250), (86_400_000, 30_000)] {
            backoff.reset();
            backoff.heed_retry(Duration::from_millis(said));
            assert_eq!(ms(backoff.wait(None, &Most)), most);
        }
    }
}
