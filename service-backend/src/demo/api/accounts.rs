//! What everybody has, for as long as this process lives.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::problem::Problem;

/// With what an account begins.
const GIFT: u64 = 10_000;
/// People who can have an account.
const PEOPLE: usize = 10_000;

#[derive(Default)]
pub(super) struct Accounts(Mutex<HashMap<String, u64>>);

impl Accounts {
    pub(super) fn balance(&self, sub: &str) -> u64 {
        self.lock().get(sub).copied().unwrap_or(GIFT)
    }

    /// What is left.
    pub(super) fn take(&self, sub: &str, amount: u64) -> Result<u64, Problem> {
        let mut accounts = self.lock();
        if accounts.len() >= PEOPLE && !accounts.contains_key(sub) {
            return Err(Problem::Busy);
        }
        let left = accounts.get(sub).copied().unwrap_or(GIFT);
        let left = left.checked_sub(amount).ok_or(Problem::InsufficientFunds)?;
        accounts.insert(sub.to_owned(), left);
        Ok(left)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sends_what_they_do_not_have() {
        let accounts = Accounts::default();
        assert_eq!(accounts.take("a", GIFT - 1), Ok(1));
        assert_eq!(accounts.take("a", 2), Err(Problem::InsufficientFunds));
        assert_eq!((accounts.balance("a"), accounts.balance("b")), (1, GIFT));
    }
}
