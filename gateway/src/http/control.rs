//! What the command line can change beside a running instance: read again when somebody noticed, and handed to every
//! request from memory.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use miid_protocol::ClientId;

use crate::keys::KeyRing;
use crate::store::{Service, StoreError};

/// Services and keys.
pub struct Control {
    /// Every relying party.
    pub services: HashMap<ClientId, Service>,
    /// The token signing keys.
    pub ring: Arc<KeyRing>,
}

/// No reading of a working database takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that is read again now and then, by several who do not know of each other. One after another: who began
/// to read later sees what is at least as new, and is the one whose reading stays.
pub(super) struct Current<T> {
    now: RwLock<Arc<T>>,
    turn: tokio::sync::Mutex<()>,
    /// How long one may read, while others wait for it.
    patience: Duration,
}

impl<T> Current<T> {
    pub(super) fn new(value: T) -> Self {
        Self { now: RwLock::new(Arc::new(value)), turn: tokio::sync::Mutex::default(), patience: PATIENCE }
    }

    pub(super) fn get(&self) -> Arc<T> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads when it is its turn; `None` leaves what is there.
    pub(super) async fn renew(
        &self,
        read: impl Future<Output = Result<Option<T>, StoreError>>,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let read = tokio::time::timeout(self.patience, read).await.map_err(|_| StoreError::Busy)?;
        if let Some(value) = read? {
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_was_read_earlier_never_takes_the_place_of_what_was_read_later() {
        let (current, stored) = (Arc::new(Current::new(0)), Arc::new(AtomicI64::new(1)));
        // One reads, and is held up before it has put down what it read.
        let (has_read, reading) = oneshot::channel();
        let (go_on, held_up) = oneshot::channel::<()>();
        let slow = tokio::spawn({
            let (current, stored) = (current.clone(), stored.clone());
            async move {
                let read = async {
                    let value = stored.load(Ordering::SeqCst);
                    has_read.send(()).expect("somebody waits");
                    held_up.await.expect("told to");
                    Ok(Some(value))
                };
                current.renew(read).await
            }
        });
        reading.await.expect("it reads");
        // What is stored changes (a key is retired), and somebody else notices.
        stored.store(2, Ordering::SeqCst);
        let quick = tokio::spawn({
            let (current, stored) = (current.clone(), stored.clone());
            async move { current.renew(async { Ok(Some(stored.load(Ordering::SeqCst))) }).await }
        });
        tokio::task::yield_now().await;
        go_on.send(()).expect("it waits");
        for renewed in [slow, quick] {
            renewed.await.expect("it ends").expect("read");
        }
        assert_eq!(*current.get(), 2);
    }

    #[tokio::test]
    async fn a_reading_that_never_ends_does_not_keep_others_from_theirs() {
        let current = Current { patience: Duration::from_millis(10), ..Current::new(0) };
        let hung = current.renew(std::future::pending());
        let (hung, other) = tokio::join!(hung, current.renew(async { Ok(Some(1)) }));
        assert!(matches!(hung, Err(StoreError::Busy)) && other.is_ok());
        assert_eq!(*current.get(), 1);
        let failed = current.renew(async { Err(StoreError::Lost) }).await;
        assert!(failed.is_err() && *current.get() == 1, "what cannot be read stays as it was");
    }
}
