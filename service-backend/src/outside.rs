//! The two things that come from outside, time and randomness, as arguments: whoever tests expiry
//! passes a clock of their own.

use std::fmt;
use std::sync::Arc;

use miid_protocol::Timestamp;

/// Where time and randomness come from.
#[derive(Clone)]
pub struct Outside {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    fill: Arc<Fill>,
}

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Outside {
    /// The machine's clock and the system's random numbers.
    pub fn real() -> Self {
        Self { now: Arc::new(machine_clock), fill: Arc::new(system_random) }
    }

    /// Another clock.
    #[must_use]
    pub fn with_clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.now = Arc::new(now);
        self
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Fresh random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.fill)(&mut bytes);
        bytes
    }

    /// A number from 0 to `below - 1`, evenly enough for jitter.
    pub fn jitter(&self, below: u64) -> u64 {
        u64::from_le_bytes(self.random()) % below.max(1)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

#[allow(clippy::disallowed_methods)] // this is the one place
fn machine_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// # Panics
/// Where the system has no randomness nothing here could be kept secret.
fn system_random(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        panic!("the system gives no random numbers: {error}");
    }
}
