//! Questions to the store that requests wait for. Only so many are asked at once, whoever sends however many requests,
//! and none is waited for long: the store's other connections are for those who sign in and for hearing of ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::store::StoreError;

/// How long a request waits until its question is asked.
const TURN: Duration = Duration::from_secs(1);
/// How long it then waits for the answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Questions of one kind.
pub(crate) struct Asking {
    /// Where the store is asked.
    main: Handle,
    turns: Arc<Semaphore>,
    turn: Duration,
    answer: Duration,
}

impl Asking {
    /// So many at once.
    pub(crate) fn new(main: Handle, at_once: usize) -> Self {
        Self { main, turns: Arc::new(Semaphore::new(at_once)), turn: TURN, answer: ANSWER }
    }

    /// The answer, if it can be had in time.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = timeout(self.turn, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(StoreError::Busy) };
        let answer = self.answer;
        let asked = self.main.spawn(async move {
            // Until it is answered, also where nobody waits for the answer any more.
            let _turn = turn;
            timeout(answer, question).await.unwrap_or(Err(StoreError::Silent))
        });
        asked.await.unwrap_or(Err(StoreError::Busy))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn of_however_many_requests_only_so_many_ask_at_once_even_if_those_who_asked_are_gone() {
        let asking = Arc::new(Asking {
            turn: Duration::from_millis(50),
            answer: Duration::from_secs(60),
            ..Asking::new(Handle::current(), 4)
        });
        let (under_way, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (asking, under_way, answer) = (asking.clone(), under_way.clone(), answer.clone());
            tokio::spawn(async move {
                let question = async move {
                    under_way.fetch_add(1, Ordering::SeqCst);
                    answer.notified().await;
                    Ok(())
                };
                asking.ask(question).await
            })
        };
        let first: Vec<_> = (0..4).map(|_| ask()).collect();
        while under_way.load(Ordering::SeqCst) < 4 {
            tokio::task::yield_now().await;
        }
        // Their callers go away, and many more come: the store is still busy with the first four.
        for gone in &first {
            gone.abort();
        }
        for more in (0..32).map(|_| ask()).collect::<Vec<_>>() {
            assert!(matches!(more.await.expect("no panic"), Err(StoreError::Busy)));
        }
        assert_eq!(under_way.load(Ordering::SeqCst), 4);
        answer.notify_waiters();
        let next = ask();
        while under_way.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
        answer.notify_waiters();
        assert!(next.await.expect("no panic").is_ok(), "a turn is given back");
    }

    #[tokio::test]
    async fn a_store_that_falls_silent_keeps_nobody_waiting_nor_its_turn() {
        let asking = Asking { answer: Duration::from_millis(10), ..Asking::new(Handle::current(), 1) };
        for _ in 0..3 {
            let silent = asking.ask(std::future::pending::<Result<(), _>>()).await;
            assert!(matches!(silent, Err(StoreError::Silent)));
        }
        assert!(matches!(asking.ask(async { Ok(7) }).await, Ok(7)));
    }
}
