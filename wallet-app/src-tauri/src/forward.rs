//! How often the window comes to the front by itself. Anybody who knows a handle can ask, and any page can open a
//! link: neither may keep the window before the person's eyes. What the person does themselves (the tray, a
//! notification, starting the app again) is not counted.
//!
//! No two raises are closer than [`CALM`]. Somebody who asks raises it once. The next one does where
//!
//! - the person has done something since: answered, used the window, put it away; or
//! - nothing has waited for [`QUIET`] on end, whoever saw to that: so what ran out unseen hours ago is no reason, and
//!   whoever begins and takes back in a loop is never through with it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Two raises are at least this far apart.
const CALM: Duration = Duration::from_secs(10);
/// For how long nothing has to wait until a request may raise it that nobody has made room for.
const QUIET: Duration = Duration::from_secs(5 * 60);

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
    /// An addressed request has raised it, and since then the person has not done anything here.
    has_asked: bool,
    /// Since when nothing waits; `None` while something does.
    quiet_since: Option<Instant>,
}

impl Forward {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may come now; counts it where it may.
    pub fn may_raise(&self, why: Why, now: Instant) -> bool {
        let mut state = self.state();
        state.heed_quiet(now);
        if why == Why::Addressed {
            // Somebody asks: where that is over before anybody looks, the quiet begins anew all the same.
            state.quiet_since = state.quiet_since.map(|_| now);
        }
        let is_calm = state.last.is_none_or(|last| now.saturating_duration_since(last) >= CALM);
        if !is_calm || (why == Why::Addressed && state.has_asked) {
            return false;
        }
        state.last = Some(now);
        state.has_asked |= why == Why::Addressed;
        true
    }

    /// The person answered something, used the window, or put it away: the next request may raise it again.
    pub fn settled(&self) {
        self.state().has_asked = false;
    }

    /// Whether something waits for the person at this moment. That it does may be heard before or after it asks to
    /// raise the window.
    pub fn waits(&self, something: bool, now: Instant) {
        let mut state = self.state();
        state.heed_quiet(now);
        state.quiet_since = if something { None } else { state.quiet_since.or(Some(now)) };
    }
}

impl State {
    /// Nothing has waited for long: the next request is not one of those before.
    fn heed_quiet(&mut self, now: Instant) {
        if self.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= QUIET) {
            self.has_asked = false;
        }
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
    fn a_request_hours_after_one_that_nobody_answered_here_raises_it_again() {
        // Whether the view that shows it comes first or its call.
        for view_first in [true, false] {
            let (forward, start) = (Forward::default(), Instant::now());
            let asks = |s: u64| {
                let at = start + Duration::from_secs(s);
                if view_first {
                    forward.waits(true, at);
                }
                let raised = forward.may_raise(Why::Addressed, at);
                forward.waits(true, at);
                raised
            };
            // It ran out, the service took it back, or the command line answered it.
            let is_over = |s: u64| forward.waits(false, start + Duration::from_secs(s));
            is_over(0);
            assert!(asks(1));
            is_over(300);
            assert!(!asks(599));
            is_over(600);
            is_over(700);
            assert!(!asks(899));
            is_over(900);
            assert!(asks(1_200), "{view_first}");
            // And that one had its turn.
            is_over(1_210);
            assert!(!asks(1_220));
        }
    }

    #[test]
    fn whoever_begins_and_takes_back_in_a_loop_raises_it_once() {
        // Each may be over before anybody has looked.
        for is_seen in [true, false] {
            let (forward, start) = (Forward::default(), Instant::now());
            forward.waits(false, start);
            // Every minute, for a day.
            let raised = (1..24 * 60)
                .filter(|minute| {
                    let at = start + Duration::from_secs(minute * 60);
                    forward.waits(is_seen, at);
                    let raised = forward.may_raise(Why::Addressed, at);
                    forward.waits(false, at + Duration::from_secs(1));
                    raised
                })
                .count();
            assert_eq!(raised, 1, "{is_seen}");
        }
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
