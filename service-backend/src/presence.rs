//! Who is connected: sessions with an open stream here, told to the gateway as they come and go. Where this
//! instance dies the gateway hears nothing more of it, and its sessions count as not connected after a while.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use miid_protocol::SessionId;
use miid_protocol::service::{PRESENCE_BATCH, PRESENCE_TTL_S, PresenceReport};
use tokio::sync::Notify;

use crate::gateway::GatewayError;
use crate::sign_in::Core;

/// Reports that say nothing new go out three times within the time that one counts for.
const RENEW: Duration = Duration::from_secs(PRESENCE_TTL_S as u64 / 3);
/// Between two attempts that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a shutdown waits for the gateway to hear that nobody is connected here any more.
const GOODBYE: Duration = Duration::from_secs(1);

/// Sessions with an open stream at this instance.
#[derive(Default)]
pub(crate) struct Presence {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Of the last report.
    seq: i64,
    open: HashMap<SessionId, usize>,
    untold: HashSet<SessionId>,
}

/// A stream is open; dropped, it is not.
pub(crate) struct Connected {
    presence: Arc<Presence>,
    id: SessionId,
}

impl Presence {
    /// A stream of this session opens.
    pub(crate) fn connect(self: &Arc<Self>, id: SessionId) -> Connected {
        let mut state = self.state();
        let open = state.open.entry(id).or_default();
        *open += 1;
        if *open == 1 {
            state.untold.insert(id);
            self.changed.notify_one();
        }
        Connected { presence: Arc::clone(self), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next portion of what is to be told; all of it, where the gateway knows nothing of us.
    fn next(&self, holder: &str, from_the_beginning: bool) -> PresenceReport {
        let mut state = self.state();
        if from_the_beginning {
            state.untold = state.open.keys().copied().collect();
        }
        state.seq += 1;
        let portion: Vec<SessionId> = state.untold.iter().copied().take(PRESENCE_BATCH).collect();
        let mut report = PresenceReport {
            holder: holder.to_owned(),
            seq: state.seq,
            reset: from_the_beginning,
            ..PresenceReport::default()
        };
        for id in portion {
            state.untold.remove(&id);
            let list = if state.open.contains_key(&id) { &mut report.opened } else { &mut report.closed };
            list.push(id);
        }
        report
    }

    /// Nobody is connected here any more, whatever was said before.
    fn goodbye(&self, holder: &str) -> PresenceReport {
        let mut state = self.state();
        state.seq += 1;
        PresenceReport { holder: holder.to_owned(), seq: state.seq, reset: true, ..PresenceReport::default() }
    }

    /// A report was not heard.
    fn keep(&self, report: &PresenceReport) {
        self.state().untold.extend(report.opened.iter().chain(&report.closed));
    }

    fn is_told(&self) -> bool {
        self.state().untold.is_empty()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut state = self.presence.state();
        let Some(open) = state.open.get_mut(&self.id) else { return };
        *open -= 1;
        if *open == 0 {
            state.open.remove(&self.id);
            state.untold.insert(self.id);
            self.presence.changed.notify_one();
        }
    }
}

/// Tells the gateway, until the service closes.
pub(crate) async fn run(core: Arc<Core>) {
    let holder = &core.instance;
    let mut known = false;
    loop {
        let before = known;
        let wait = match tell(&core, holder, &mut known).await {
            Ok(()) => pause(before, known, core.presence.is_told()),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "the gateway has yet to hear who is connected"
                );
                AGAIN
            }
        };
        let rung = async {
            // What failed is not tried again at once because something else changed.
            if wait == RENEW { core.presence.changed.notified().await } else { std::future::pending().await }
        };
        tokio::select! {
            () = rung => {}
            () = tokio::time::sleep(wait) => {}
            () = core.closing.cancelled() => break,
        }
    }
    let nobody = core.presence.goodbye(holder);
    let _ = tokio::time::timeout(GOODBYE, core.gateway.report_presence(&nobody)).await;
}

/// Until the next report, by whether this instance was known to the gateway before this one and is now. All of it is
/// said at once to a gateway that forgot; but not again and again to one that will not know.
fn pause(before: bool, known: bool, told: bool) -> Duration {
    match (before, known) {
        (_, true) if told => RENEW,
        (false, false) => AGAIN,
        _ => Duration::ZERO,
    }
}

async fn tell(core: &Core, holder: &str, known: &mut bool) -> Result<(), GatewayError> {
    let report = core.presence.next(holder, !*known);
    match core.gateway.report_presence(&report).await {
        Ok(answer) => {
            if !answer.known {
                core.presence.keep(&report);
            }
            *known = answer.known;
            Ok(())
        }
        Err(error) => {
            core.presence.keep(&report);
            // It may have been heard or not, or is going to be: saying it again does no harm, and once that was
            // heard the first does none either.
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> SessionId {
        SessionId::parse(&format!("0198e0a0-0000-7000-8000-0000000000{n:02x}")).expect("an id")
    }

    #[test]
    fn a_session_is_connected_from_its_first_stream_to_its_last() {
        let presence = Arc::new(Presence::default());
        let first = presence.connect(id(1));
        let second = presence.connect(id(1));
        assert_eq!(presence.next("h", false).opened, [id(1)]);
        drop(first);
        assert!(presence.is_told(), "one is still open");
        drop(second);
        assert_eq!(presence.next("h", false).closed, [id(1)]);
        assert!(presence.is_told());
    }

    #[test]
    fn what_was_not_heard_is_told_as_it_is_by_then() {
        let presence = Arc::new(Presence::default());
        let stream = presence.connect(id(1));
        let lost = presence.next("h", false);
        drop(stream);
        presence.keep(&lost);
        let report = presence.next("h", false);
        assert_eq!((report.opened, report.closed), (vec![], vec![id(1)]));
    }

    #[test]
    fn every_report_has_a_larger_number_whatever_it_says() {
        let presence = Arc::new(Presence::default());
        let _stays = presence.connect(id(1));
        let reports = [
            presence.next("h", true),
            presence.next("h", false),
            presence.next("h", true),
            presence.goodbye("h"),
        ];
        assert!(reports.windows(2).all(|two| two[0].seq < two[1].seq), "{reports:?}");
        assert!(reports[3].reset && reports[3].opened.is_empty());
    }

    #[test]
    fn a_gateway_that_forgot_is_told_at_once_and_one_that_will_not_know_is_left_a_pause() {
        assert_eq!(pause(true, false, false), Duration::ZERO);
        assert_eq!(pause(false, false, false), AGAIN);
        assert_eq!(pause(false, false, true), AGAIN);
        assert_eq!(pause(false, true, false), Duration::ZERO, "there is another portion");
        assert_eq!(pause(false, true, true), RENEW);
    }

    #[test]
    fn from_the_beginning_means_all_that_is_open_and_nothing_else() {
        let presence = Arc::new(Presence::default());
        let _stays = presence.connect(id(1));
        drop(presence.connect(id(2)));
        let report = presence.next("h", true);
        assert!(report.reset && report.closed.is_empty());
        assert_eq!(report.opened, [id(1)]);
    }
}
