//! What takes the lock of a person waits its turn here and not at the database: there each one that waits holds a
//! connection, and one identity with many calls at once would leave none for anybody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use miid_protocol::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ApiError;

/// Of one name, under way at once.
const AT_ONCE: usize = 2;
/// Of one name, under way or waiting.
const MOST: usize = 16;
/// Longest wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is under way and who waits, by name. Holds nothing about anybody who is not here.
#[derive(Clone)]
pub struct Turns {
    places: Arc<Mutex<HashMap<String, Place>>>,
    patience: Duration,
}

struct Place {
    gate: Arc<Semaphore>,
    here: usize,
}

/// A place among those of one name, let go of when dropped: the operation keeps it, since it goes on when its caller
/// goes away.
pub struct Turn {
    turns: Turns,
    name: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: Arc::default(), patience: PATIENCE }
    }
}

impl Turns {
    /// Waits for a turn; busy where too many wait already, or for too long.
    pub async fn enter(&self, name: &str) -> Result<Turn, ApiError> {
        let busy = || ApiError::new(ErrorCode::Busy).retry_after_s(1);
        let (mut turn, gate) = self.take_place(name).ok_or_else(busy)?;
        let permit = tokio::time::timeout(self.patience, gate.acquire_owned()).await;
        turn.permit = Some(permit.map_err(|_| busy())?.map_err(|_| busy())?);
        Ok(turn)
    }

    fn take_place(&self, name: &str) -> Option<(Turn, Arc<Semaphore>)> {
        let mut places = self.places();
        let fresh = || Place { gate: Arc::new(Semaphore::new(AT_ONCE)), here: 0 };
        let place = places.entry(name.to_owned()).or_insert_with(fresh);
        if place.here >= MOST {
            return None;
        }
        place.here += 1;
        let turn = Turn { turns: self.clone(), name: name.to_owned(), permit: None };
        Some((turn, place.gate.clone()))
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut places = self.turns.places();
        if let Some(place) = places.get_mut(&self.name) {
            place.here -= 1;
            if place.here == 0 {
                places.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn of_one_name_two_are_under_way_and_the_others_wait_or_are_sent_away() {
        let turns = Turns { patience: Duration::from_millis(20), ..Turns::default() };
        let (first, second) = (turns.enter("alice").await, turns.enter("alice").await);
        let (first, second) = (first.expect("a turn"), second.expect("a turn"));
        let mut waiting: Vec<_> = (2..MOST).map(|_| Box::pin(turns.enter("alice"))).collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        assert!(turns.enter("alice").now_or_never().expect("at once").is_err(), "too many wait");
        assert!(turns.enter("bob").now_or_never().expect("at once").is_ok(), "others go on");
        drop(first);
        let third = waiting.remove(0).await.expect("its turn");
        assert!(waiting.remove(0).await.is_err(), "nobody waits for ever");
        drop((second, third, waiting));
        assert!(turns.places().is_empty(), "nothing is kept about anybody who is not here");
    }

    #[tokio::test]
    async fn whoever_goes_away_while_waiting_leaves_the_place() {
        let turns = Turns::default();
        let held = [turns.enter("alice").await.ok(), turns.enter("alice").await.ok()];
        for _ in 0..MOST * 2 {
            assert!(turns.enter("alice").now_or_never().is_none(), "it waits, and is dropped");
        }
        drop(held);
        assert!(turns.enter("alice").now_or_never().expect("at once").is_ok());
        assert!(turns.places().is_empty());
    }
}
