//! The tray: which icons the panel shows, and their menus, over the bus as the panel itself reads them.

use std::collections::HashMap;

use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

use super::Bus;
use crate::wait::eventually;

/// What the panel knows of one icon: a name on the bus and where its menu is.
#[derive(Debug, Clone)]
pub struct Tray {
    connection: zbus::Connection,
    owner: String,
    menu: OwnedObjectPath,
    /// The icon's name or file.
    pub icon: String,
}

/// One line of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    id: i32,
    /// What it says, without the mark of its key.
    pub label: String,
    /// Whether it can be chosen.
    pub enabled: bool,
    /// Whether it is ticked, where it can be.
    pub ticked: Option<bool>,
}

type Layout = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

impl Bus {
    /// The one icon in the tray, as soon as it is there.
    pub async fn tray(&self) -> Tray {
        eventually("the panel shows an icon in its tray", || async { self.icon().await }).await
    }

    async fn icon(&self) -> Option<Tray> {
        let connection = self.connection();
        let watcher = "org.kde.StatusNotifierWatcher";
        let watcher = zbus::Proxy::new(connection, watcher, "/StatusNotifierWatcher", watcher).await.ok()?;
        let items: Vec<String> = watcher.get_property("RegisteredStatusNotifierItems").await.ok()?;
        let item = items.first()?;
        let (owner, path) = match item.find('/') {
            Some(at) => item.split_at(at),
            None => (item.as_str(), "/StatusNotifierItem"),
        };
        let item =
            zbus::Proxy::new(connection, owner.to_owned(), path.to_owned(), "org.kde.StatusNotifierItem")
                .await
                .ok()?;
        let menu: OwnedObjectPath = item.get_property("Menu").await.ok()?;
        let icon: String = item.get_property("IconName").await.unwrap_or_default();
        Some(Tray { connection: connection.clone(), owner: owner.to_owned(), menu, icon })
    }

    /// Whether the tray is empty.
    pub async fn tray_is_empty(&self) -> bool {
        self.icon().await.is_none()
    }
}

impl Tray {
    /// The menu's lines now, separators left out.
    pub async fn menu(&self) -> Vec<Entry> {
        let words: Vec<&str> = Vec::new();
        let (_revision, layout): (u32, Layout) =
            self.proxy().await.call("GetLayout", &(0i32, -1i32, words)).await.expect("the tray has a menu");
        let mut entries = Vec::new();
        collect(layout, &mut entries);
        entries
    }

    /// Waits until a line of the menu begins like this.
    pub async fn says(&self, start: &str) -> Entry {
        eventually(&format!("the tray's menu says \"{start}…\""), || async {
            self.menu().await.into_iter().find(|entry| entry.label.starts_with(start))
        })
        .await
    }

    /// Chooses the line that begins like this.
    pub async fn choose(&self, start: &str) {
        let entry = self.says(start).await;
        assert!(entry.enabled, "{entry:?} can be chosen");
        let event = (entry.id, "clicked", Value::from(0i32), 0u32);
        self.proxy().await.call::<_, _, ()>("Event", &event).await.expect("the tray's menu takes a click");
    }

    async fn proxy(&self) -> zbus::Proxy<'_> {
        zbus::Proxy::new(&self.connection, self.owner.as_str(), &self.menu, "com.canonical.dbusmenu")
            .await
            .expect("the tray's menu is on the bus")
    }
}

fn collect((id, properties, children): Layout, entries: &mut Vec<Entry>) {
    if let Some(label) = properties.get("label").and_then(|label| <&str>::try_from(label).ok()) {
        let flag = |name: &str| properties.get(name).and_then(|value| bool::try_from(value).ok());
        let ticked = properties
            .contains_key("toggle-type")
            .then(|| properties.get("toggle-state").and_then(|state| i32::try_from(state).ok()) == Some(1));
        entries.push(Entry {
            id,
            label: label.replace('_', ""),
            enabled: flag("enabled") != Some(false),
            ticked,
        });
    }
    for child in children {
        if let Ok(child) = Layout::try_from(child) {
            collect(child, entries);
        }
    }
}
