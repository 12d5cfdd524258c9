//! How far a service's log has been heard, and as of when that was everything.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::lock;
use crate::store::Position;

/// Looks that are remembered until what they saw has been heard: those before them are too long ago to count.
const LOOKS: usize = 6;

/// Somebody hears a service's log until this ends.
pub(super) struct Line {
    pub(super) ended: CancellationToken,
    so_far: Mutex<SoFar>,
    /// What was committed before this moment has been heard. In milliseconds, as [`super::Leases`] counts them.
    as_of: AtomicU64,
}

struct SoFar {
    heard: Position,
    /// When somebody looked, and the head that the log had then.
    looks: VecDeque<(u64, Position)>,
}

impl Line {
    /// From `heard` on, which was read after `at`.
    pub(super) fn new(heard: Position, at: u64) -> Self {
        let so_far = Mutex::new(SoFar { heard, looks: VecDeque::new() });
        Self { ended: CancellationToken::new(), so_far, as_of: AtomicU64::new(at) }
    }

    pub(super) fn as_of(&self) -> u64 {
        self.as_of.load(Ordering::Relaxed)
    }

    pub(super) fn heard(&self) -> Position {
        lock(&self.so_far).heard
    }

    /// Everything up to here has been heard, and acted upon.
    pub(super) fn hear(&self, position: Position) {
        let mut so_far = lock(&self.so_far);
        so_far.heard = position;
        self.catch_up(&mut so_far);
    }

    /// What a look saw that began at `at`, before which `heard` had been heard. False where there is more to hear.
    pub(super) fn compare(&self, at: u64, heard: Position, head: Position) -> bool {
        let mut so_far = lock(&self.so_far);
        if heard > head {
            // An older database: what was heard of the other one says nothing of it.
            so_far.looks.clear();
            return false;
        }
        if so_far.looks.len() >= LOOKS {
            so_far.looks.pop_front();
        }
        so_far.looks.push_back((at, head));
        self.catch_up(&mut so_far);
        so_far.heard >= head
    }

    fn catch_up(&self, so_far: &mut SoFar) {
        let heard = so_far.heard;
        if let Some(last) = so_far.looks.iter().rposition(|(_, head)| *head <= heard)
            && let Some((at, _)) = so_far.looks.drain(..=last).next_back()
        {
            self.as_of.fetch_max(at, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_a_moment_behind_is_known_as_of_the_look_that_it_has_reached() {
        let line = Line::new(Position(10), 100);
        assert!(line.compare(1000, line.heard(), Position(10)));
        assert_eq!(line.as_of(), 1000, "nothing new");
        // Always a look behind, as under load: no worse than that.
        for second in 2..20 {
            let head = 10 + second * 5;
            assert!(!line.compare(second as u64 * 1000, line.heard(), Position(head)));
            assert_eq!(line.as_of(), (second as u64 - 1) * 1000);
            line.hear(Position(head - 1));
            assert_eq!(line.as_of(), (second as u64 - 1) * 1000, "not all of what the look saw");
            line.hear(Position(head));
            assert_eq!(line.as_of(), second as u64 * 1000);
        }
    }

    #[test]
    fn a_log_that_is_not_heard_stays_known_as_of_then_however_often_somebody_looks() {
        let line = Line::new(Position(10), 100);
        assert!(line.compare(1000, line.heard(), Position(10)));
        for second in 2..60 {
            assert!(!line.compare(second * 1000, line.heard(), Position(11)));
        }
        assert_eq!(line.as_of(), 1000);
        line.hear(Position(11));
        assert_eq!(line.as_of(), 59_000);
    }

    #[test]
    fn an_older_database_counts_once_it_is_heard_itself() {
        let line = Line::new(Position(10), 100);
        assert!(!line.compare(1000, line.heard(), Position(4)));
        assert_eq!(line.as_of(), 100, "ahead of a log is not at its head");
        line.hear(Position(4));
        assert!(line.compare(2000, line.heard(), Position(4)));
        assert_eq!(line.as_of(), 2000);
    }
}
