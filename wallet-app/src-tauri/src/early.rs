//! Starts that are handed over before there is a desk: while the wallet's folder is being read, a second start can
//! come already. They wait for it, a few of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most that wait.
const MAX_WAITING: usize = 8;

/// Second starts that came too early.
#[derive(Debug, Default)]
pub struct Early(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_ready: bool,
    waiting: Vec<Vec<String>>,
}

impl Early {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one for later; says whether it is to wait.
    pub fn keeps(&self, words: &[String]) -> bool {
        let mut state = self.state();
        if !state.is_ready && state.waiting.len() < MAX_WAITING {
            state.waiting.push(words.to_vec());
        }
        !state.is_ready
    }

    /// From now on nobody waits; those who did, in their order.
    pub fn ready(&self) -> Vec<Vec<String>> {
        let mut state = self.state();
        state.is_ready = true;
        std::mem::take(&mut state.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_desk_waits_in_its_order_and_nothing_waits_after() {
        let early = Early::default();
        let words = |n: usize| vec!["miid-wallet-app".to_owned(), n.to_string()];
        for n in 0..20 {
            assert!(early.keeps(&words(n)));
        }
        let waited = early.ready();
        assert_eq!(waited, (0..MAX_WAITING).map(words).collect::<Vec<_>>());
        assert!(!early.keeps(&words(20)) && early.ready().is_empty());
    }
}
