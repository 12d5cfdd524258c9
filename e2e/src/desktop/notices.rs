//! A notification daemon that writes down what it is to show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use zbus::zvariant::OwnedValue;

/// One notification, as a bystander could read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which program it came from.
    pub from: String,
    /// Its headline.
    pub summary: String,
    /// What is below that.
    pub body: String,
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
        builder
            .name("org.freedesktop.Notifications")?
            .serve_at("/org/freedesktop/Notifications", self.clone())
    }

    pub(super) fn so_far(&self) -> Vec<Notice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _expire_timeout: i32,
    ) -> u32 {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.push(Notice { from: app_name, summary, body });
        if replaces_id == 0 { u32::try_from(shown.len()).unwrap_or(u32::MAX) } else { replaces_id }
    }

    fn close_notification(&self, _id: u32) {}
}
