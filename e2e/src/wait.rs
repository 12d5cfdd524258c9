//! Waiting for a state, never for a time.

use std::future::Future;
use std::time::Duration;

/// How long anything may take that a scenario waits for. Far more than it takes: a bound says "it hangs".
pub const BOUND: Duration = Duration::from_secs(20);

/// Looks until `condition` gives a value; the look itself must be cheap and change nothing.
///
/// # Panics
/// When [`BOUND`] passes first.
pub async fn eventually<T, F, Fut>(what: &str, mut condition: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let look = async {
        loop {
            tick.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    match tokio::time::timeout(BOUND, look).await {
        Ok(value) => value,
        Err(_) => panic!("not within {} s: {what}", BOUND.as_secs()),
    }
}

/// `future`, or a panic that says what did not come within [`BOUND`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {} s: {what}", BOUND.as_secs()),
    }
}
