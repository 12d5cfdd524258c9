//! Hints that something may have changed: whoever waits looks into the store, which is the truth. A
//! lost hint costs a little time, since every waiter also looks now and then by itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// One bell for each thing that somebody waits for.
pub(crate) struct Wakes<K>(Arc<Mutex<HashMap<K, watch::Sender<()>>>>);

/// Somebody waits; dropped, nobody does any more.
pub(crate) struct Waiter<K: Eq + Hash + Copy> {
    key: K,
    bell: watch::Receiver<()>,
    wakes: Wakes<K>,
}

impl<K> Clone for Wakes<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Wakes<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Copy> Wakes<K> {
    /// Rings for whoever waits for `key`.
    pub(crate) fn wake(&self, key: K) {
        if let Some(bell) = self.bells().get(&key) {
            bell.send_replace(());
        }
    }

    /// Waits for `key`; `None` where `most` already do, or `most_in_all` wait for anything. What rings
    /// from here on is not missed.
    pub(crate) fn wait_for(&self, key: K, most: usize, most_in_all: usize) -> Option<Waiter<K>> {
        let mut bells = self.bells();
        if bells.len() >= most_in_all {
            return None;
        }
        let bell = bells.entry(key).or_insert_with(|| watch::Sender::new(()));
        if bell.receiver_count() >= most {
            return None;
        }
        Some(Waiter { key, bell: bell.subscribe(), wakes: self.clone() })
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Copy> Waiter<K> {
    /// Until it rings.
    pub(crate) async fn rung(&mut self) {
        // An error means that the bell is gone, which cannot be while we hold a receiver.
        let _ = self.bell.changed().await;
    }
}

impl<K: Eq + Hash + Copy> Drop for Waiter<K> {
    fn drop(&mut self) {
        let mut bells = self.wakes.bells();
        if bells.get(&self.key).is_some_and(|bell| bell.receiver_count() <= 1) {
            bells.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_before_the_wait_is_not_missed_and_nothing_is_left_behind() {
        let wakes = Wakes::default();
        let mut waiter = wakes.wait_for(1, 2, 10).expect("room");
        let second = wakes.wait_for(1, 2, 10).expect("room");
        assert!(wakes.wait_for(1, 2, 10).is_none());
        wakes.wake(1);
        waiter.rung().await;
        drop(waiter);
        assert_eq!(wakes.bells().len(), 1);
        drop(second);
        assert!(wakes.bells().is_empty());
        wakes.wake(1);
    }
}
