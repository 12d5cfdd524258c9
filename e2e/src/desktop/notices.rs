//! A notification daemon that writes down what it is to show and to withdraw, and whose notifications can be clicked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zbus::object_server::SignalEmitter;
use zbus::zvariant::OwnedValue;

/// Where it is on the bus.
const PATH: &str = "/org/freedesktop/Notifications";
/// A click on the notification itself, where its program wants to hear of that.
const CLICK: &str = "default";
/// Why one is gone: its program has withdrawn it.
const WITHDRAWN: u32 = 3;

/// One notification, as a bystander could read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What the bus calls it.
    id: u32,
    /// Which program it came from.
    pub from: String,
    /// Its headline.
    pub summary: String,
    /// What is below that.
    pub body: String,
    /// Whether its program wants to hear of clicks on it.
    is_heard: bool,
    /// Whether its program has taken it off the screen again.
    withdrawn: bool,
}

/// What was shown so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    /// Becomes the daemon of a connection.
    pub(super) fn serve_on<'a>(
        &self,
        builder: zbus::connection::Builder<'a>,
    ) -> zbus::Result<zbus::connection::Builder<'a>> {
        builder.name("org.freedesktop.Notifications")?.serve_at(PATH, self.clone())
    }

    pub(super) fn so_far(&self) -> Vec<Notice> {
        self.list().clone()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_withdrawn(&self, notice: &Notice) -> bool {
        self.list().iter().any(|shown| shown.id == notice.id && shown.withdrawn)
    }

    /// A person clicks one that is on the screen.
    pub(super) async fn click(&self, connection: &zbus::Connection, notice: &Notice) {
        assert!(!self.is_withdrawn(notice) && notice.is_heard, "{notice:?} can be clicked");
        let emitter = SignalEmitter::new(connection, PATH).expect("a path of the bus");
        Self::action_invoked(&emitter, notice.id, CLICK).await.expect("the bus takes a signal");
    }
}

/// <https://specifications.freedesktop.org/notification-spec/latest/protocol.html>
#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Notices {
    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".to_owned(), "actions".to_owned()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        ("scenario".to_owned(), "miid".to_owned(), "1".to_owned(), "1.2".to_owned())
    }

    #[allow(clippy::too_many_arguments, reason = "the specification's own")]
    fn notify(
        &self,
        app_name: String,
        replaces_id: u32,
        _app_icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _expire_timeout: i32,
    ) -> u32 {
        let mut shown = self.list();
        let id =
            if replaces_id == 0 { u32::try_from(shown.len() + 1).unwrap_or(u32::MAX) } else { replaces_id };
        let is_heard = actions.iter().step_by(2).any(|action| action == CLICK);
        shown.push(Notice { id, from: app_name, summary, body, is_heard, withdrawn: false });
        id
    }

    async fn close_notification(&self, id: u32, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>) {
        let mut is_new = false;
        for shown in self.list().iter_mut().filter(|shown| shown.id == id && !shown.withdrawn) {
            (shown.withdrawn, is_new) = (true, true);
        }
        if is_new {
            let _ = Self::notification_closed(&emitter, id, WITHDRAWN).await;
        }
    }

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, action_key: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn notification_closed(emitter: &SignalEmitter<'_>, id: u32, reason: u32) -> zbus::Result<()>;
}
