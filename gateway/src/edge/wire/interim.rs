//! Interim answers (1xx) of an upstream on their way to the caller: a proxy passes them on (RFC 9110, section
//! 15.2). hyper has no way to send one, so they are written past it, by the [gate](super::gate), which knows when
//! nothing of another answer is half written. Over HTTP/2 neither side of hyper shows or sends them.

use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use super::gate::Talk;
use crate::edge::upstreams::headers::drop_hop_by_hop;
use crate::edge::upstreams::request_body::RequestBody;

/// Bytes of interim answers that wait to be written; more are left out, since none of them is needed.
const MOST: usize = 32 * 1024;

const NONE: u8 = 0;
/// The answer itself is still to come.
const BEFORE: u8 = 1;
/// Its head is on its way: they come right before it, or not at all.
const BESIDE: u8 = 2;

/// Those that wait to be written.
#[derive(Default)]
pub(crate) struct Interim {
    state: AtomicU8,
    bytes: Mutex<Vec<u8>>,
}

impl Interim {
    /// Has what an upstream says to this request before its answer passed on.
    pub(crate) fn listen(talk: Talk, request: &mut Request<RequestBody>) {
        hyper::ext::on_informational(request, move |answer| {
            // `100 Continue` is between the edge and its caller alone.
            if answer.status() != StatusCode::CONTINUE {
                talk.interim().add(answer.status(), answer.headers().clone());
            }
        });
    }

    fn add(&self, status: StatusCode, mut headers: HeaderMap) {
        drop_hop_by_hop(&mut headers);
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = bytes.len();
        let reason = status.canonical_reason().unwrap_or_default();
        let _ = write!(bytes, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in &headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        if bytes.len() > MOST {
            bytes.truncate(before);
        }
        self.state.store(BEFORE, Ordering::Release);
    }

    /// The answer's head is there.
    pub(crate) fn end(&self) {
        if self.is_there() {
            self.state.store(BESIDE, Ordering::Release);
        }
    }

    /// Whether some wait.
    pub(crate) fn is_there(&self) -> bool {
        self.state.load(Ordering::Acquire) != NONE
    }

    /// What may be written now. `between` says that nothing of an answer was written since the last one was whole,
    /// `flushed` that nothing is about to be.
    pub(crate) fn take(&self, between: bool, flushed: bool) -> Bytes {
        let now = match self.state.load(Ordering::Acquire) {
            BEFORE => between || flushed,
            // Too late for those that did not find their place before the head.
            BESIDE => between && !flushed,
            _ => return Bytes::new(),
        };
        let wait = !now && self.state.load(Ordering::Acquire) == BEFORE;
        if wait {
            return Bytes::new();
        }
        self.state.store(NONE, Ordering::Release);
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        if now { bytes.into() } else { Bytes::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Interim {
        let interim = Interim::default();
        let mut headers = HeaderMap::new();
        headers.insert("link", http::HeaderValue::from_static("</a>"));
        headers.insert("connection", http::HeaderValue::from_static("x"));
        interim.add(StatusCode::EARLY_HINTS, headers);
        interim
    }

    const TEXT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

    #[test]
    fn one_stands_between_answers_and_never_in_the_middle_of_one() {
        let interim = one();
        assert_eq!(interim.take(false, false), "", "an earlier answer is half written");
        assert_eq!(interim.take(false, true), TEXT, "now it is whole");
        assert!(!interim.is_there());

        let interim = one();
        interim.end();
        assert_eq!(interim.take(true, false), TEXT, "right before the head");

        let interim = one();
        interim.end();
        assert_eq!(interim.take(false, false), "", "the head is part of what is being written");
        assert!(!interim.is_there(), "and the next answer does not get it");
    }

    #[test]
    fn an_upstream_that_never_comes_to_its_answer_is_bounded() {
        let interim = one();
        for _ in 0..10_000 {
            let mut headers = HeaderMap::new();
            headers.insert("link", http::HeaderValue::from_static("</b>"));
            interim.add(StatusCode::PROCESSING, headers);
        }
        let bytes = interim.take(true, true);
        assert!(bytes.len() <= MOST && bytes.starts_with(TEXT) && bytes.ends_with(b"\r\n\r\n"));
    }
}
