//! Time on the wire (section 1): RFC 3339 UTC with milliseconds in JSON, integers of milliseconds
//! in the stores, NumericDate seconds in tokens. And lifetimes as flags say them (`90s`, `5m`, `30d`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds, as the stores keep it.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// In milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// In whole seconds, rounded down: NumericDate (RFC 7519).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and a lifetime more.
    #[must_use]
    pub fn plus(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_add(lifetime.millis()))
    }

    /// From RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp(self.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            self.0.rem_euclid(1000)
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// How long something lives, as a flag says it: `250ms`, `90s`, `5m`, `12h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(i64);

impl Lifetime {
    /// So many milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// So many seconds.
    pub const fn from_secs(s: i64) -> Self {
        Self(s * 1000)
    }

    /// In milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// In whole seconds.
    pub const fn seconds(self) -> i64 {
        self.0 / 1000
    }

    /// As a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }
}

/// A text that is no lifetime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a lifetime: write a whole number and a unit, such as 250ms, 90s, 5m, 12h or 30d (ten years at most)"
)]
pub struct LifetimeError;

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(LifetimeError)?;
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().map_err(|_| LifetimeError)?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(LifetimeError),
        };
        let ms = number.checked_mul(unit).ok_or(LifetimeError)?;
        if (1..=3650 * 86_400_000).contains(&ms) { Ok(Self(ms)) } else { Err(LifetimeError) }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if self.0 % ms == 0 {
                return write!(f, "{}{unit}", self.0 / ms);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_and_read_back() {
        let at = Timestamp::from_millis(1_767_322_985_007);
        assert_eq!(at.to_string(), "2026-01-02T03:03:05.007Z");
        assert_eq!(Timestamp::parse("2026-01-02T03:03:05.007Z"), Some(at));
        assert_eq!(Timestamp::parse("2026-01-02T12:03:05.007+09:00"), Some(at));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn lifetimes_need_a_number_and_a_unit() {
        for (text, ms) in [("90s", 90_000), ("5m", 300_000), ("30d", 2_592_000_000), ("250ms", 250)] {
            let lifetime: Lifetime = text.parse().expect(text);
            assert_eq!(lifetime.millis(), ms);
            assert_eq!(lifetime.to_string().parse::<Lifetime>(), Ok(lifetime));
        }
        for text in ["", "5", "m", "-5m", "5 m", "0s", "99999999999999999d", "5min"] {
            assert!(text.parse::<Lifetime>().is_err(), "{text}");
        }
    }
}
