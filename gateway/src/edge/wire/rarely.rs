//! Waiting for what nearly never comes, beside work that is polled all the time. Timers and signals to stop cost a
//! little each time they are asked; here they are asked again only after they said that something happened.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep};

/// A future that is polled when it asked to be, and when somebody else waits for it than before.
pub(crate) struct Rarely<F> {
    future: Pin<Box<F>>,
    /// Who waits, as far as is known here.
    waiting: Option<Waker>,
    asked: Arc<Asked>,
    waker: Waker,
}

#[derive(Default)]
struct Asked {
    again: AtomicBool,
    whom: AtomicWaker,
}

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, Ordering::Release);
        self.whom.wake();
    }
}

impl<F: Future> Rarely<F> {
    pub(crate) fn new(future: F) -> Self {
        let asked = Arc::new(Asked::default());
        let waker = Waker::from(asked.clone());
        Self { future: Box::pin(future), waiting: None, asked, waker }
    }

    fn poll_rarely(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let known = self.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker()));
        if known && !self.asked.again.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.asked.again.store(false, Ordering::Release);
        // Before the future is asked: what happens since then finds somebody to wake.
        self.asked.whom.register(cx.waker());
        if !known {
            self.waiting = Some(cx.waker().clone());
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

impl<F: Future> Future for Rarely<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.get_mut().poll_rarely(cx)
    }
}

/// Who is woken by what this task drives itself. What is done to it in the course of driving it is no news: it is
/// looked at again at once, and the task is not woken for it.
pub(crate) struct Driver {
    asked: Arc<Driven>,
    waker: Waker,
}

#[derive(Default)]
struct Driven {
    driving: AtomicBool,
    again: AtomicBool,
    whom: AtomicWaker,
}

impl Wake for Driven {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.driving.load(Ordering::Acquire) {
            self.again.store(true, Ordering::Release);
        } else {
            self.whom.wake();
        }
    }
}

impl Default for Driver {
    fn default() -> Self {
        let asked = Arc::new(Driven::default());
        let waker = Waker::from(asked.clone());
        Self { asked, waker }
    }
}

impl Driver {
    /// Nobody drives it, and nobody is woken, until it is polled again.
    pub(crate) fn rest(&self) {
        self.asked.driving.store(true, Ordering::Release);
    }

    /// Polls `wanted`; where it has nothing, `drive` is polled for it, which brings it about. `None` where `drive`
    /// came to its end, and `wanted` has to be polled by itself.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut drive: impl FnMut(&mut Context<'_>) -> Poll<()>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Option<Poll<T>> {
        // Filled by nobody but `drive`, so it has nobody to wake.
        let quiet = &mut Context::from_waker(Waker::noop());
        self.asked.whom.register(cx.waker());
        self.asked.driving.store(true, Ordering::Release);
        let mut polled = wanted(quiet);
        let mut ended = false;
        for _ in 0..2 {
            if polled.is_ready() {
                break;
            }
            self.asked.again.store(false, Ordering::Release);
            ended = drive(&mut Context::from_waker(&self.waker)).is_ready();
            if ended {
                break;
            }
            polled = wanted(quiet);
            if !self.asked.again.load(Ordering::Acquire) {
                break;
            }
        }
        self.asked.driving.store(false, Ordering::Release);
        if !ended && polled.is_pending() && self.asked.again.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
        (!ended).then_some(polled)
    }
}

/// A moment that is waited for and mostly moved on before it comes. The timer behind it is left as it is then, and
/// set anew when it rings too early: once in a while and not for each request.
#[derive(Default)]
pub(crate) struct Alarm(Option<Rarely<Sleep>>);

impl Alarm {
    /// Whether `due` has come; if not, whoever asks is woken by then.
    pub(crate) fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let sleep = self.0.get_or_insert_with(|| Rarely::new(tokio::time::sleep_until(due)));
            if sleep.future.deadline() > due {
                sleep.reset(due);
            }
            ready!(sleep.poll_rarely(cx));
            if Instant::now() >= due {
                self.0 = None;
                return Poll::Ready(());
            }
            sleep.reset(due);
        }
    }
}

impl Rarely<Sleep> {
    fn reset(&mut self, due: Instant) {
        self.future.as_mut().reset(due);
        self.asked.again.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_alarm_that_was_moved_on_does_not_ring_early_and_one_that_was_moved_back_does_not_wait() {
        let begun = Instant::now();
        let mut alarm = Alarm::default();
        let at = |ms| begun + Duration::from_millis(ms);
        for (first, then) in [(10, 40), (60_000, 50), (60, 60)] {
            let _ = poll_fn(|cx| Poll::Ready(alarm.poll(at(first), cx))).await;
            poll_fn(|cx| alarm.poll(at(then), cx)).await;
            assert!((at(then)..at(30_000)).contains(&Instant::now()));
        }
    }

    #[tokio::test]
    async fn what_is_polled_rarely_is_heard_by_whoever_waits_last() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<u8>();
        let mut rarely = Rarely::new(receiver);
        assert!(rarely.poll_rarely(&mut Context::from_waker(Waker::noop())).is_pending());
        let waiting = tokio::spawn(rarely);
        tokio::task::yield_now().await;
        sender.send(7).expect("somebody waits");
        assert_eq!(waiting.await.expect("no panic"), Ok(7));
    }
}
