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
            _ => {
                let mut text = [0; 32];
                hex(next(), &mut text[..16]);
                hex(next(), &mut text[16..]);
                Self(header(&text))
            }
        }
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
pub(crate) struct Trace(HeaderValue);

impl Trace {
    /// A step further in the caller's trace, or a trace of its own where the caller has none that is well-formed.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        match headers.get("traceparent").map(HeaderValue::as_bytes).filter(|value| is_trace(value)) {
            Some(value) => {
                text[3..35].copy_from_slice(&value[3..35]);
                text[53..].copy_from_slice(&value[53..55]);
            }
            None => {
                hex(next(), &mut text[3..19]);
                hex(next() | 1, &mut text[19..35]);
            }
        }
        hex(next() | 1, &mut text[36..52]);
        Self(header(&text))
    }

    pub(crate) fn into_value(self) -> HeaderValue {
        self.0
    }
}

fn is_trace(value: &[u8]) -> bool {
    let digits = |from: usize, to: usize| {
        value[from..to].iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    };
    let zero = |from: usize, to: usize| value[from..to].iter().all(|b| *b == b'0');
    value.len() == 55
        && value.starts_with(b"00-")
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
            Trace::of(&headers).into_value().to_str().expect("text").to_owned()
        };
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let next = of(given);
        assert_eq!((&next[..36], &next[52..]), (&given[..36], &given[52..]));
        assert_ne!(next, given, "the step is ours");
        for bad in [
            "",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            let fresh = of(bad);
            assert!(is_trace(fresh.as_bytes()) && !fresh.contains("0af7651916cd43dd"), "{fresh}");
        }
    }
}
