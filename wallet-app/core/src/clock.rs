//! Time: the machine's clock, and the same clock as the gateway sees it. The only file that reads it.
//!
//! A proof is refused when its `iat` is more than 60 s from the gateway's clock (protocol, section 2). The
//! answer carries `Date`, and the wallet may believe it *once*, by at most ten minutes: more would let whoever
//! speaks for the gateway choose the times that we sign (threat 28). An [`Issuer`] is https or loopback by
//! its type, so a `Date` always comes from somebody who may say it.
//!
//! [`Issuer`]: miid_protocol::Issuer

use std::sync::{Arc, Mutex, PoisonError};

use miid_protocol::Timestamp;
use miid_protocol::proof::MAX_SKEW_S;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// How far the gateway's `Date` may move us, in milliseconds.
pub const MAX_CORRECTION_MS: i64 = 10 * 60 * 1000;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let ms = since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Timestamp::from_millis(ms)
    }
}

/// Why the gateway's time is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The two clocks are more than ten minutes apart.
    #[error("this computer's clock and the gateway's are {0} s apart")]
    TooFar(u64),
    /// It was corrected before, and once is all.
    #[error("this computer's clock and the gateway's are still {0} s apart after a correction")]
    AlreadyCorrected(u64),
    /// The gateway did not say what time it has.
    #[error("the gateway calls our time wrong and does not say what time it has")]
    NoDate,
}

/// What became of the one correction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Correction {
    /// Never needed.
    Unused,
    /// The gateway's clock minus ours, in milliseconds.
    Applied(i64),
    /// Taken back, since the machine's own clock became right again. There is no second one.
    Spent,
}

/// The machine's clock, corrected by the gateway at most once.
pub struct GatewayClock {
    local: Arc<dyn Clock>,
    correction: Mutex<Correction>,
}

impl GatewayClock {
    /// Uncorrected.
    pub fn new(local: Arc<dyn Clock>) -> Self {
        Self { local, correction: Mutex::new(Correction::Unused) }
    }

    /// This moment, as the gateway should see it.
    pub fn now(&self) -> Timestamp {
        self.correction().apply(self.local.now())
    }

    /// The gateway refused our time and says that it is `date`. `Ok` means that another try makes sense.
    pub fn correct(&self, date: Timestamp) -> Result<(), ClockError> {
        let mut correction = self.correction();
        *correction = correction.step(self.local.now(), date)?;
        Ok(())
    }

    fn correction(&self) -> std::sync::MutexGuard<'_, Correction> {
        self.correction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Correction {
    fn apply(self, local: Timestamp) -> Timestamp {
        match self {
            Self::Applied(ms) => Timestamp::from_millis(local.millis().saturating_add(ms)),
            Self::Unused | Self::Spent => local,
        }
    }

    fn step(self, local: Timestamp, gateway: Timestamp) -> Result<Self, ClockError> {
        let off = |at: Timestamp| gateway.millis().saturating_sub(at.millis());
        let near = |ms: i64| ms.unsigned_abs() <= MAX_SKEW_S.unsigned_abs() * 1000;
        let seconds = |ms: i64| ms.unsigned_abs() / 1000;
        // Another request of ours was answered first and has corrected it already.
        if near(off(self.apply(local))) && self != Self::Unused {
            return Ok(self);
        }
        match self {
            Self::Unused if off(local).unsigned_abs() <= MAX_CORRECTION_MS.unsigned_abs() => {
                Ok(Self::Applied(off(local)))
            }
            Self::Unused => Err(ClockError::TooFar(seconds(off(local)))),
            // Somebody set the machine's clock right meanwhile: the correction is now the error.
            Self::Applied(_) if near(off(local)) => Ok(Self::Spent),
            Self::Applied(_) | Self::Spent => {
                Err(ClockError::AlreadyCorrected(seconds(off(self.apply(local)))))
            }
        }
    }
}

/// The `Date` of an answer (RFC 9110, section 5.6.7).
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Timestamp::from_millis(at.unix_timestamp().checked_mul(1000)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A clock that a test sets.
    pub(crate) struct Hand(pub(crate) AtomicI64);

    impl Hand {
        pub(crate) fn at(ms: i64) -> Arc<Self> {
            Arc::new(Self(AtomicI64::new(ms)))
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    const T: i64 = 1_800_000_000_000;
    const MINUTE: i64 = 60_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn it_is_corrected_once_and_by_ten_minutes_at_most() {
        let local = Hand::at(T);
        let clock = GatewayClock::new(local.clone());
        assert_eq!(clock.correct(at(T + 11 * MINUTE)), Err(ClockError::TooFar(660)));
        assert_eq!(clock.now(), at(T));
        assert_eq!(clock.correct(at(T - 10 * MINUTE)), Ok(()));
        assert_eq!(clock.now(), at(T - 10 * MINUTE));
        assert_eq!(clock.correct(at(T - 15 * MINUTE)), Err(ClockError::AlreadyCorrected(300)));
        assert_eq!(clock.now(), at(T - 10 * MINUTE));
    }

    #[test]
    fn two_requests_refused_at_once_share_the_correction() {
        let clock = GatewayClock::new(Hand::at(T));
        assert_eq!(clock.correct(at(T + 5 * MINUTE)), Ok(()));
        assert_eq!(clock.correct(at(T + 5 * MINUTE + 900)), Ok(()));
        assert_eq!(clock.now(), at(T + 5 * MINUTE));
    }

    #[test]
    fn a_machine_that_is_right_again_is_believed_again_and_not_corrected_anew() {
        let local = Hand::at(T);
        let clock = GatewayClock::new(local.clone());
        assert_eq!(clock.correct(at(T + 5 * MINUTE)), Ok(()));
        local.0.store(T + 6 * MINUTE, Ordering::SeqCst);
        assert_eq!(clock.correct(at(T + 6 * MINUTE)), Ok(()));
        assert_eq!(clock.now(), at(T + 6 * MINUTE));
        assert!(clock.correct(at(T + 9 * MINUTE)).is_err());
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(
            parse_http_date("Fri, 20 Nov 2026 11:20:21 GMT"),
            Timestamp::parse("2026-11-20T11:20:21Z")
        );
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
