//! Time and randomness as arguments: the one place that asks the machine for either.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use miid_protocol::Timestamp;
use uuid::Uuid;

/// Where the time comes from; tests bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(|| {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        }))
    }

    /// A clock that says what `now` says.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// Fresh random bytes from the operating system.
///
/// # Panics
/// Where the operating system has no randomness to give: nothing here would be safe then.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no secret is one")]
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A fresh UUIDv7 (RFC 9562) for this moment.
pub fn uuid_v7(now: Timestamp) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(now.millis().unsigned_abs(), &random()).into_uuid()
}

/// What every UUIDv7 of this moment or later is not below, as text: ids are in the order of time.
pub fn uuid_v7_floor(at: Timestamp) -> String {
    let ms = at.millis().unsigned_abs();
    format!("{:08x}-{:04x}", ms >> 16, ms & 0xffff)
}
