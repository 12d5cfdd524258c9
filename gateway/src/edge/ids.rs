//! What a request is called: `X-Request-Id`, and W3C trace context. Neither is a secret, so they come from a
//! fast generator that each thread seeds once.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue};

use super::upstreams::headers::REQUEST_ID;
use crate::clock;

/// The request's name in logs, here and behind.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's where it is a plain word, else a fresh one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        match headers.get(&REQUEST_ID) {
            Some(value) if (1..=64).contains(&value.len()) && value.as_bytes().iter().all(plain) => {
                Self(value.clone())
            }
            _ => Self::fresh(),
        }
    }

    /// One that nobody had before.
    pub(crate) fn fresh() -> Self {
        let mut text = [0; 32];
        hex(next(), &mut text[..16]);
        hex(next(), &mut text[16..]);
        Self(header(&text))
    }

    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// `traceparent` (W3C Trace Context, section 3.2).
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    value: HeaderValue,
    /// Whether it begins here, so that what else the caller says of a trace is about none (`tracestate`).
    begins: bool,
}

impl Trace {
    /// A step further in the caller's trace, or a trace of its own where the caller has none that is well-formed.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut values = headers.get_all("traceparent").iter().map(HeaderValue::as_bytes);
        // Of two, nobody knows which one is meant: as if there were none.
        let given = values.next().filter(|value| values.next().is_none() && is_trace(value));
        match given {
            Some(value) => {
                text[3..35].copy_from_slice(&value[3..35]);
                text[54] = flags(value);
            }
            None => {
                hex(next(), &mut text[3..19]);
                hex(next() | 1, &mut text[19..35]);
            }
        }
        hex(next() | 1, &mut text[36..52]);
        Self { value: header(&text), begins: given.is_none() }
    }

    /// Whether it begins here.
    pub(crate) fn begins(&self) -> bool {
        self.begins
    }

    pub(crate) fn into_value(self) -> HeaderValue {
        self.value
    }
}

/// The flags that are known, as one digit: whether it is sampled, and in this version whether it is random.
fn flags(value: &[u8]) -> u8 {
    let known = if value.starts_with(b"00") { 3 } else { 1 };
    let digit = (value[54] as char).to_digit(16).unwrap_or(0) as usize;
    b"0123"[digit & known]
}

fn is_trace(value: &[u8]) -> bool {
    let digits = |from: usize, to: usize| {
        value[from..to].iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    };
    let zero = |from: usize, to: usize| value[from..to].iter().all(|b| *b == b'0');
    // Of a later version more may follow (section 3.2.4 of the standard), of this one nothing.
    (value.len() == 55 || (value.len() > 55 && value[55] == b'-' && !value.starts_with(b"00")))
        && digits(0, 2)
        && !value.starts_with(b"ff")
        && value[2] == b'-'
        && value[35] == b'-'
        && value[52] == b'-'
        && digits(3, 35)
        && digits(36, 52)
        && digits(53, 55)
        && !zero(3, 35)
        && !zero(36, 52)
}

fn header(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

fn hex(number: u64, text: &mut [u8]) {
    for (i, digit) in text.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * i) & 15) as usize];
    }
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(u64::from_le_bytes(clock::random()));
}

/// SplitMix64.
fn next() -> u64 {
    STATE.with(|state| {
        let step = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(step);
        let mixed = (step ^ (step >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_plain_words_are_kept_and_others_replaced() {
        let of = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(&REQUEST_ID, HeaderValue::from_bytes(value).expect("a value"));
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(of(b"abc-1.2_3"), "abc-1.2_3");
        for other in [&b""[..], b"a b", b"a\"b", &[b'a'; 65], b"\xff"] {
            let fresh = of(other);
            assert!(fresh.len() == 32 && fresh != of(other), "{fresh}");
        }
    }

    #[test]
    fn a_trace_goes_on_and_a_bad_one_begins_anew() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(value));
            let trace = Trace::of(&headers);
            (trace.begins(), trace.into_value().to_str().expect("text").to_owned())
        };
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (begins, next) = of(given);
        assert!(!begins);
        assert_eq!((&next[..36], &next[52..]), (&given[..36], &given[52..]));
        assert_ne!(next, given, "the step is ours");
        for bad in [
            "",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "01-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            let (begins, fresh) = of(bad);
            assert!(begins && is_trace(fresh.as_bytes()) && !fresh.contains("0af7651916cd43dd"), "{fresh}");
        }
    }

    #[test]
    fn a_trace_of_a_later_version_goes_on_in_ours_and_of_two_neither_does() {
        let step = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("traceparent", HeaderValue::from_str(value).expect("a value"));
            }
            let trace = Trace::of(&headers);
            (trace.begins(), trace.into_value().to_str().expect("text").to_owned())
        };
        for (given, flags) in [
            (format!("01-{step}-01"), "-01"),
            (format!("cc-{step}-03-what the future brings"), "-01"),
            (format!("fe-{step}-08-"), "-00"),
            (format!("00-{step}-03"), "-03"),
            (format!("00-{step}-ff"), "-03"),
        ] {
            let (begins, next) = of(&[&given]);
            assert!(!begins && next.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{given}: {next}");
            assert!(next.len() == 55 && next.ends_with(flags), "{given}: {next}");
        }
        let given = format!("00-{step}-01");
        let (begins, next) = of(&[&given, &given]);
        assert!(begins && !next.contains("0af7651916cd43dd"), "{next}");
    }
}
