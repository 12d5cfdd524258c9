//! How often the window comes to the front by itself. Anybody who knows a handle can ask, and any page can open a
//! link: neither may keep the window before the person's eyes. What the person does themselves (the tray, a
//! notification, starting the app again) is not counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Two raises are at least this far apart.
const CALM: Duration = Duration::from_secs(10);

/// Why it would come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody asks who may be anywhere.
    Addressed,
    /// A link was opened on this computer, whatever came of it.
    Link,
}

/// What is remembered between two raises.
#[derive(Debug, Default)]
pub struct Forward(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// An addressed request has raised it, and since then the person has neither answered anything nor put the
    /// window away.
    has_asked: bool,
}

impl Forward {
    /// Whether it may come now; counts it where it may.
    pub fn may_raise(&self, why: Why, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_calm = state.last.is_none_or(|last| now.saturating_duration_since(last) >= CALM);
        if !is_calm || (why == Why::Addressed && state.has_asked) {
            return false;
        }
        state.last = Some(now);
        state.has_asked |= why == Why::Addressed;
        true
    }

    /// The person answered something, or put the window away: the next request may raise it again.
    pub fn settled(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).has_asked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_raise_the_window_once_until_the_person_has_done_something() {
        let (forward, start) = (Forward::default(), Instant::now());
        let after = |s: u64| start + Duration::from_secs(s);
        assert!(forward.may_raise(Why::Addressed, start));
        let raised = (1..3_600).filter(|s| forward.may_raise(Why::Addressed, after(*s))).count();
        assert_eq!(raised, 0);
        forward.settled();
        assert!(forward.may_raise(Why::Addressed, after(3_600)));
    }

    #[test]
    fn links_raise_it_every_ten_seconds_at_most_and_requests_are_no_way_around() {
        let (forward, start) = (Forward::default(), Instant::now());
        let raised = (0..60)
            .filter(|s| {
                forward.settled();
                let at = start + Duration::from_secs(*s);
                // At the same moment: one of them.
                let (link, request) =
                    (forward.may_raise(Why::Link, at), forward.may_raise(Why::Addressed, at));
                assert!(!(link && request));
                link || request
            })
            .count();
        assert_eq!(raised, 6);
    }

    #[test]
    fn a_link_comes_also_where_a_request_had_its_turn() {
        let (forward, start) = (Forward::default(), Instant::now());
        assert!(forward.may_raise(Why::Addressed, start));
        assert!(!forward.may_raise(Why::Link, start + Duration::from_secs(9)));
        assert!(forward.may_raise(Why::Link, start + CALM));
        assert!(!forward.may_raise(Why::Addressed, start + CALM * 2));
    }
}
