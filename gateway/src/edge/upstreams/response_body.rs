//! The body of an answer on its way to the caller: a frame at a time, as the upstream sends it. It drives the
//! connection that it comes over, gives that back when it is over, and breaks off where it may not go on: the
//! session ended, the token's time is over, or nothing came for too long.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pool::Link;
use crate::edge::tokens::access::Access;
use crate::edge::wire::caller::Caller;
use crate::edge::wire::gate::Answering;

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
    /// What was there already when the head came.
    first: Option<Polled>,
    /// Whether something was handed on that may not be written yet.
    unwritten: bool,
    /// Why it ends, once what was handed on before is written.
    broken: Option<Broken>,
    /// Who reads it, and whether they know its bounds.
    caller: Option<Caller>,
    bounded: bool,
}

/// A piece, an end, or why there is none.
type Polled = Option<Result<Frame<Bytes>, Broken>>;

/// An answer that was begun for a session which ended since is not broken off, unless it has taken so long.
pub(crate) const LONG: Duration = Duration::from_secs(5);

/// What ends a body early.
#[derive(Clone)]
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
#[derive(Clone)]
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
    /// Ends when a body that is waited for must.
    fn wait(&self) -> impl Future<Output = Broken> + Send + 'static + use<> {
        let (idle, over) = (self.idle, self.over());
        async move {
            tokio::select! {
                () = tokio::time::sleep(idle) => Broken::Idle,
                broken = over => broken,
            }
        }
    }

    /// Ends when a body must, whether it is waited for or not.
    pub(crate) fn over(&self) -> impl Future<Output = Broken> + Send + 'static + use<> {
        let deadline = self.deadline;
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
                () = total => Broken::Total,
                () = session => Broken::Session,
                () = endless => Broken::Over,
            }
        }
    }
}

impl Bounds {
    /// The same, of a body that never has to be waited for.
    pub(crate) fn passed(&self) -> Option<Broken> {
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

    /// The upstream's, and the connection that it comes over; nothing where it broke off before a piece of it
    /// came, so that the caller can be told in a head of ours.
    pub(crate) async fn theirs(
        incoming: Incoming,
        link: Option<Link>,
        bounds: Bounds,
    ) -> Result<Self, Broken> {
        let mut theirs = Box::new(Theirs {
            incoming,
            link,
            bounds,
            waiting: None,
            first: None,
            unwritten: false,
            broken: None,
            caller: Caller::current(),
            bounded: false,
        });
        if !theirs.incoming.is_end_stream() {
            match poll_fn(|cx| Poll::Ready(theirs.poll(cx))).await {
                Poll::Ready(Some(Err(broken))) => return Err(broken),
                Poll::Ready(first) => theirs.first = Some(first),
                Poll::Pending => {}
            }
        }
        theirs.unwritten = true;
        // What is there as a whole holds nothing any more but itself.
        if !theirs.incoming.is_end_stream()
            && let Some(caller) = &theirs.caller
        {
            caller.bound(theirs.bounds.clone());
            theirs.bounded = true;
        }
        Ok(Self { kind: Kind::Theirs(theirs), answering: None })
    }
}

impl Theirs {
    /// The next piece. Where there is none any more, what was handed on before is written first: who reads it
    /// sees where it broke off.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        let polled = match (self.first.take(), self.broken.take()) {
            (Some(first), _) => Poll::Ready(first),
            (None, Some(broken)) => Poll::Ready(Some(Err(broken))),
            (None, None) => self.poll(cx),
        };
        let polled = match polled {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(self.cut(frame)))),
            polled => polled,
        };
        match polled {
            Poll::Ready(Some(Err(broken))) if self.unwritten => {
                (self.broken, self.unwritten) = (Some(broken), false);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => {
                self.unwritten = polled.is_ready();
                if let Some(caller) = &self.caller {
                    match polled.is_ready() {
                        true => caller.handed_on(),
                        false => caller.asked(),
                    }
                }
                polled
            }
        }
    }

    /// As much of a piece as its reader is handed at once.
    fn cut(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(most) = self.caller.as_ref().and_then(Caller::most) else { return frame };
        match frame.into_data() {
            Ok(mut data) if data.len() > most => {
                let piece = data.split_to(most);
                self.first = Some(Some(Ok(Frame::data(data))));
                Frame::data(piece)
            }
            Ok(data) => Frame::data(data),
            Err(frame) => frame,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        let incoming = &mut self.incoming;
        let polled = Link::poll(&mut self.link, cx, |cx| Pin::new(&mut *incoming).poll_frame(cx));
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                if let Some(broken) = self.bounds.passed() {
                    self.link = None;
                    return Poll::Ready(Some(Err(broken)));
                }
                // The last piece may wait for its reader; the connection need not.
                if self.incoming.is_end_stream()
                    && let Some(link) = self.link.take()
                {
                    link.give_back();
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

impl Theirs {
    /// Of what is still to be handed on.
    fn size_hint(&self) -> SizeHint {
        let left = self.incoming.size_hint();
        let first = match &self.first {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        match left.exact() {
            Some(left) => SizeHint::with_exact(left + first),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Theirs {
    /// A body of known length is not asked for its end.
    fn drop(&mut self) {
        if let Some(caller) = &self.caller {
            caller.done(self.bounded);
        }
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
            Kind::Theirs(theirs) => theirs.next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Ours(bytes) => bytes.is_none(),
            Kind::Theirs(theirs) => {
                theirs.first.is_none() && theirs.broken.is_none() && theirs.incoming.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ours(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Theirs(theirs) => theirs.size_hint(),
        }
    }
}
