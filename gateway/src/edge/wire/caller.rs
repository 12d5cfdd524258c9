//! A caller's connection, or one stream of it over HTTP/2, as those who answer see it: its seat among the
//! connections that may be open, and the bounds of an answer that nobody asks for its next piece.
//!
//! hyper asks a body for more once there is room for it, so a reader that takes nothing would hold an answer, and
//! the connection to the upstream that it comes over, past every bound that is looked at there. Whatever answers
//! is therefore polled inside of [`Caller::serve`], which looks at the same bounds while a piece waits for room.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::edge::upstreams::response_body::{Bounds, Broken};

/// Ends with why.
type Over = Pin<Box<dyn Future<Output = Broken> + Send>>;

tokio::task_local! {
    static CALLER: Caller;
}

/// Of the connections that may be open, this one, and that the listener waits for it when it stops. Held by the
/// connection, and by what it became.
pub(crate) struct Seat {
    permit: OwnedSemaphorePermit,
    _open: TaskTrackerToken,
}

impl Seat {
    pub(crate) fn new(permit: OwnedSemaphorePermit, open: TaskTrackerToken) -> Arc<Self> {
        Arc::new(Self { permit, _open: open })
    }
}

/// Who is answered in this task.
#[derive(Clone)]
pub(crate) struct Caller {
    seat: Option<Arc<Seat>>,
    pace: Option<Pace>,
    held: Arc<Held>,
}

/// What is asked of a reader, where nobody else does.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// It takes the next piece within this …
    pub(crate) stall: Duration,
    /// … and no piece is larger.
    pub(crate) most: usize,
}

/// An answer that may wait for its reader.
#[derive(Default)]
struct Held {
    /// A piece was handed on, and nobody has asked for the next one.
    waits: AtomicBool,
    /// Which piece.
    turn: AtomicU32,
    bounds: Mutex<Option<Bounds>>,
}

impl Caller {
    /// Somebody new.
    pub(crate) fn new(seat: Option<Arc<Seat>>, pace: Option<Pace>) -> Self {
        Self { seat, pace, held: Arc::default() }
    }

    /// Who is answered in this task.
    pub(crate) fn current() -> Option<Self> {
        CALLER.try_with(Self::clone).ok()
    }

    /// The seat, for what outlives the connection.
    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.seat.clone()
    }

    /// A seat beside the connection's own, for a stream that may last as long as a connection does; none where
    /// all are taken.
    pub(crate) fn another_seat(&self) -> Option<OwnedSemaphorePermit> {
        self.seat.as_ref()?.permit.semaphore().clone().try_acquire_owned().ok()
    }

    /// Most bytes of a piece, where there is a bound.
    pub(crate) fn most(&self) -> Option<usize> {
        self.pace.map(|pace| pace.most)
    }

    /// Bounds of an answer that is not whole yet.
    pub(crate) fn bound(&self, bounds: Bounds) {
        *self.bounds() = Some(bounds);
    }

    /// A piece was handed on.
    pub(crate) fn handed_on(&self) {
        self.held.turn.fetch_add(1, Ordering::Relaxed);
        self.held.waits.store(true, Ordering::Release);
    }

    /// The next piece is asked for, and not there: who asks looks at the bounds.
    pub(crate) fn asked(&self) {
        self.held.waits.store(false, Ordering::Release);
    }

    /// The answer is over.
    pub(crate) fn done(&self, bounded: bool) {
        self.asked();
        if bounded {
            *self.bounds() = None;
        }
    }

    fn bounds(&self) -> std::sync::MutexGuard<'_, Option<Bounds>> {
        self.held.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers, to its end or until a piece that waits for its reader may not wait any longer.
    pub(crate) async fn serve<F: Future>(self, answer: F) -> Option<F::Output> {
        let mut answer = pin!(CALLER.scope(self.clone(), answer));
        let mut waiting: Option<(u32, Over)> = None;
        poll_fn(|cx| {
            if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            if !self.held.waits.load(Ordering::Acquire) {
                waiting = None;
                return Poll::Pending;
            }
            let turn = self.held.turn.load(Ordering::Relaxed);
            let over = match &mut waiting {
                Some((of, over)) if *of == turn => over,
                other => &mut other.insert((turn, Box::pin(self.over()))).1,
            };
            let Poll::Ready(why) = over.as_mut().poll(cx) else { return Poll::Pending };
            tracing::debug!(%why, "an answer was given up that its reader did not take");
            Poll::Ready(None)
        })
        .await
    }

    fn over(&self) -> impl Future<Output = Broken> + Send + 'static + use<> {
        let bounds = self.bounds().as_ref().map(Bounds::over);
        let stalled = self.pace.map(|pace| tokio::time::sleep(pace.stall));
        async move {
            let bounds = async {
                match bounds {
                    Some(bounds) => bounds.await,
                    None => std::future::pending().await,
                }
            };
            let stalled = async {
                match stalled {
                    Some(stalled) => stalled.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                broken = bounds => broken,
                () = stalled => Broken::Idle,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const LATER: Duration = Duration::from_secs(3600);
    const NOW: Duration = Duration::from_millis(1);

    fn caller(total: Option<Duration>, stall: Option<Duration>) -> Caller {
        let caller = Caller::new(None, stall.map(|stall| Pace { stall, most: 16 }));
        let begun = Instant::now();
        let deadline = total.map(|total| begun + total);
        caller.bound(Bounds { begun, idle: NOW, deadline, access: None, endless: None });
        caller
    }

    async fn is_given_up(caller: Caller) {
        let served = caller.serve(std::future::pending::<()>());
        let served = tokio::time::timeout(Duration::from_secs(20), served).await;
        assert_eq!(served, Ok(None));
    }

    /// An answer that takes longer than its bounds.
    async fn goes_on(caller: Caller) {
        let answer = tokio::time::sleep(NOW * 20);
        assert_eq!(caller.serve(answer).await, Some(()));
    }

    #[tokio::test]
    async fn a_piece_that_nobody_takes_waits_no_longer_than_its_bounds() {
        for (total, stall) in
            [(Some(NOW), None), (Some(NOW), Some(LATER)), (None, Some(NOW)), (Some(LATER), Some(NOW))]
        {
            let caller = caller(total, stall);
            caller.handed_on();
            is_given_up(caller).await;
        }
        let caller = caller(Some(LATER), None);
        caller.handed_on();
        goes_on(caller).await;
    }

    #[tokio::test]
    async fn who_waits_for_an_upstream_or_is_done_is_not_given_up_here() {
        let caller = caller(Some(NOW), Some(NOW));
        goes_on(caller.clone()).await;
        caller.handed_on();
        caller.asked();
        goes_on(caller.clone()).await;
        caller.handed_on();
        caller.done(true);
        goes_on(caller).await;
    }

    #[tokio::test]
    async fn each_piece_has_its_own_time() {
        let answer = async {
            CALLER.with(Caller::handed_on);
            tokio::task::yield_now().await;
            CALLER.with(Caller::handed_on);
            tokio::task::yield_now().await;
            CALLER.with(Caller::handed_on);
        };
        assert_eq!(caller(None, Some(LATER)).serve(answer).await, Some(()));
    }
}
