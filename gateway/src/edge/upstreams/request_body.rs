//! The body of a request on its way to an upstream: a frame at a time, with bounds in size and time. Nothing of
//! it is kept.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

/// What became of a body, for whoever answers the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    bad: AtomicU8,
    pieces: AtomicU64,
    waits: AtomicBool,
}

/// How a body may come to a bad end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBody {
    #[error("the body is larger than it may be")]
    TooLarge,
    #[error("the body did not come in time")]
    TooSlow,
    #[error("the body broke off")]
    Broken,
}

impl Fate {
    fn set(&self, bad: BadBody) {
        self.0.bad.store(1 + bad as u8, Ordering::Release);
    }

    /// How many pieces of it went on their way: as long as more do, nobody has begun to wait for an answer.
    pub(crate) fn pieces(&self) -> u64 {
        self.0.pieces.load(Ordering::Relaxed)
    }

    /// Whether more of it is wanted than the caller has sent: not where it is the upstream that takes no more.
    pub(crate) fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// How it came to a bad end, if it did.
    pub(crate) fn bad(&self) -> Option<BadBody> {
        match self.0.bad.load(Ordering::Acquire) {
            1 => Some(BadBody::TooLarge),
            2 => Some(BadBody::TooSlow),
            3 => Some(BadBody::Broken),
            _ => None,
        }
    }
}

/// The body.
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    left: u64,
    idle: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    fate: Option<Fate>,
}

impl RequestBody {
    /// None.
    pub(crate) fn none() -> Self {
        Self { incoming: None, left: 0, idle: Duration::ZERO, waiting: None, fate: None }
    }

    /// What comes in, at most so many bytes of it.
    pub(crate) fn new(incoming: Incoming, most: u64, idle: Duration, fate: Fate) -> Self {
        Self { incoming: Some(incoming), left: most, idle, waiting: None, fate: Some(fate) }
    }

    fn fail(&mut self, bad: BadBody) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        if let Some(fate) = &self.fate {
            fate.set(bad);
        }
        self.incoming = None;
        Poll::Ready(Some(Err(bad)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BadBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        if let Some(fate) = &this.fate {
            fate.0.waits.store(polled.is_pending(), Ordering::Relaxed);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = None;
                // Trailers end here: a server that puts them among the header fields would believe of them what
                // only the edge may say.
                if frame.is_trailers() {
                    this.incoming = None;
                    return Poll::Ready(None);
                }
                if let Some(fate) = &this.fate {
                    fate.0.pieces.fetch_add(1, Ordering::Relaxed);
                }
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(length) {
                    Some(left) => this.left = left,
                    None => return this.fail(BadBody::TooLarge),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BadBody::Broken),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let idle = this.idle;
                let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(waiting.as_mut().poll(cx));
                this.fail(BadBody::TooSlow)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
