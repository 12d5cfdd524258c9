//! Is there a tray on this desktop? macOS and Windows always have one. On Linux it is one of two things: a
//! *status notifier host* on the session bus (KDE, Xfce, GNOME with an extension), or, on X11, the older system
//! tray that embeds windows (tint2, trayer, i3bar), which the indicator library falls back to. Panels come and
//! go, so it is asked again and again, and at the moment in which the answer matters.

use miid_wallet::desk::Desk;

/// Who looks for the tray.
#[derive(Debug, Default)]
pub struct Panel;

impl Panel {
    /// Looks, tells the desk, and says it.
    pub async fn look(&self, desk: &Desk) -> bool {
        let there = look().await;
        if desk.view().tray != there {
            tracing::info!(there, "the tray");
            desk.set_tray(there);
        }
        there
    }
}

#[cfg(not(target_os = "linux"))]
async fn look() -> bool {
    true
}

#[cfg(target_os = "linux")]
async fn look() -> bool {
    if linux::notifier_host().await {
        return true;
    }
    tokio::task::spawn_blocking(linux::embedding_tray).await.unwrap_or(false)
}

#[cfg(target_os = "linux")]
mod linux {
    use x11rb::connection::Connection as _;
    use x11rb::protocol::xproto::ConnectionExt as _;
    use zbus::names::BusName;
    use zbus::proxy::CacheProperties;

    const WATCHER: &str = "org.kde.StatusNotifierWatcher";

    /// Whether a host of status notifiers is there: the watcher alone shows nothing.
    pub(super) async fn notifier_host() -> bool {
        has_host().await.unwrap_or(false)
    }

    async fn has_host() -> zbus::Result<bool> {
        let bus = zbus::Connection::session().await?;
        let names = zbus::fdo::DBusProxy::new(&bus).await?;
        let watcher = BusName::try_from(WATCHER)?;
        // Asked first: a call would start a watcher that the desktop could start, and wait for it.
        if !names.name_has_owner(watcher).await? {
            return Ok(false);
        }
        let proxy = zbus::proxy::Builder::<zbus::Proxy<'_>>::new(&bus)
            .destination(WATCHER)?
            .path("/StatusNotifierWatcher")?
            .interface(WATCHER)?
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        proxy.get_property("IsStatusNotifierHostRegistered").await
    }

    /// Whether somebody owns the tray of this X11 screen. Not under Wayland, where nothing of ours could be
    /// embedded even where an X server runs beside it.
    pub(super) fn embedding_tray() -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_x11 =
            !is_set("WAYLAND_DISPLAY") || std::env::var("GDK_BACKEND").is_ok_and(|backend| backend == "x11");
        is_x11 && is_set("DISPLAY") && has_owner().unwrap_or(false)
    }

    fn has_owner() -> Result<bool, Box<dyn std::error::Error>> {
        let (connection, screen) = x11rb::connect(None)?;
        let name = format!("_NET_SYSTEM_TRAY_S{screen}");
        let atom = connection.intern_atom(true, name.as_bytes())?.reply()?.atom;
        if atom == x11rb::NONE {
            return Ok(false);
        }
        let owner = connection.get_selection_owner(atom)?.reply()?.owner;
        connection.flush()?;
        Ok(owner != x11rb::NONE)
    }
}
