//! The body of an answer on its way to the caller: a frame at a time, as the upstream sends it. It drives the
//! connection that it comes over, gives that back when it is over, and breaks off where it may not go on: the
//! session ended, the token's time is over, or nothing came for too long.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::gate::Answering;
use super::pool::Link;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the upstream broke off")]
    Upstream(#[source] Box<dyn Error + Send + Sync>),
    #[error("nothing came for too long")]
    Idle,
    #[error("it took too long altogether")]
    Total,
    #[error("the session behind it ended")]
    Session,
    #[error("the token's time is over, or this instance stops")]
    Over,
}

/// An answer's body.
pub(crate) struct ResponseBody {
    kind: Kind,
    /// Gone with the body: the request was answered.
    pub(crate) answering: Option<Answering>,
}

enum Kind {
    /// Ours, and whole.
    Ours(Option<Bytes>),
    /// The upstream's.
    Theirs(Box<Theirs>),
}

/// The upstream's body.
pub(crate) struct Theirs {
    incoming: Incoming,
    /// The connection, where this body is alone on it.
    link: Option<Link>,
    bounds: Bounds,
    /// Made when something has to be waited for: most bodies come at once.
    waiting: Option<Pin<Box<dyn Future<Output = Broken> + Send>>>,
}

/// An answer that was begun for a session which ended since is not broken off, unless it has taken so long.
const LONG: Duration = Duration::from_secs(5);

/// What ends a body early.
pub(crate) struct Bounds {
    pub(crate) begun: Instant,
    pub(crate) idle: Duration,
    pub(crate) deadline: Option<Instant>,
    /// Whose token it is.
    pub(crate) access: Option<Arc<Access>>,
    /// When the token is over, and when this instance stops, where the answer is one that goes on and on: its
    /// reader comes back, with another token or to another instance.
    pub(crate) endless: Option<Endless>,
}

/// What ends an answer that would not end by itself.
pub(crate) struct Endless {
    pub(crate) until: Option<Instant>,
    pub(crate) stopping: CancellationToken,
}

impl Endless {
    /// Ends when it should.
    pub(crate) async fn over(until: Option<Instant>, stopping: CancellationToken) {
        match until {
            Some(until) => drop(tokio::time::timeout_at(until, stopping.cancelled()).await),
            None => stopping.cancelled().await,
        }
    }
}

impl Bounds {
    fn wait(&self) -> impl Future<Output = Broken> + Send + 'static {
        let (idle, deadline) = (self.idle, self.deadline);
        let closing = self.access.as_ref().map(|access| access.lease.closing());
        let endless = self.endless.as_ref().map(|endless| (endless.until, endless.stopping.clone()));
        let grace = if endless.is_some() { self.begun } else { self.begun + LONG };
        async move {
            let total = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let session = async {
                match closing {
                    Some(closing) => {
                        closing.cancelled().await;
                        tokio::time::sleep_until(grace).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let endless = async {
                match endless {
                    Some((until, stopping)) => Endless::over(until, stopping).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(idle) => Broken::Idle,
                () = total => Broken::Total,
                () = session => Broken::Session,
                () = endless => Broken::Over,
            }
        }
    }
}

impl Bounds {
    /// The same, of a body that never has to be waited for.
    fn passed(&self) -> Option<Broken> {
        let over = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        let ended = self.access.as_ref().is_some_and(|access| access.lease.check().is_err());
        if ended && (self.endless.is_some() || self.begun.elapsed() >= LONG) {
            return Some(Broken::Session);
        }
        if self.endless.as_ref().is_some_and(|endless| over(endless.until)) {
            return Some(Broken::Over);
        }
        over(self.deadline).then_some(Broken::Total)
    }
}

impl ResponseBody {
    /// Ours, and whole; or none.
    pub(crate) fn ours(bytes: Option<Bytes>) -> Self {
        Self { kind: Kind::Ours(bytes), answering: None }
    }

    /// The upstream's, and the connection that it comes over.
    pub(crate) fn theirs(incoming: Incoming, link: Option<Link>, bounds: Bounds) -> Self {
        let theirs = Theirs { incoming, link, bounds, waiting: None };
        Self { kind: Kind::Theirs(Box::new(theirs)), answering: None }
    }
}

impl Theirs {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let incoming = &mut self.incoming;
        let polled = Link::poll(&mut self.link, cx, |cx| Pin::new(&mut *incoming).poll_frame(cx));
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                if let Some(broken) = self.bounds.passed() {
                    self.link = None;
                    return Poll::Ready(Some(Err(broken)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.link = None;
                Poll::Ready(Some(Err(Broken::Upstream(error.into()))))
            }
            Poll::Ready(None) => {
                if let Some(link) = self.link.take() {
                    link.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                let bounds = &self.bounds;
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(bounds.wait()));
                match waiting.as_mut().poll(cx) {
                    Poll::Ready(broken) => {
                        self.link = None;
                        Poll::Ready(Some(Err(broken)))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl Drop for Theirs {
    /// A body of known length is not asked for its end.
    fn drop(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(link) = self.link.take()
        {
            link.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.get_mut().kind {
            Kind::Ours(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Theirs(theirs) => theirs.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Ours(bytes) => bytes.is_none(),
            Kind::Theirs(theirs) => theirs.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ours(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Theirs(theirs) => theirs.incoming.size_hint(),
        }
    }
}
