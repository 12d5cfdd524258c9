//! Starting with the desktop: the desktop's own list is the truth, the settings follow it.

use miid_wallet::desk::{Desk, Fault};
use miid_wallet::settings::SettingsChange;
use tauri::{AppHandle, Runtime};
use tauri_plugin_autostart::ManagerExt as _;

/// The desktop's list could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum AutostartError {
    /// The list.
    #[error("the desktop's list of programs to start could not be changed: {0}")]
    Desktop(String),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] Fault),
}

/// Puts it on the desktop's list, or takes it off, and keeps the choice.
pub async fn choose<R: Runtime>(app: &AppHandle<R>, desk: &Desk, wanted: bool) -> Result<(), AutostartError> {
    let (list, done) = (app.clone(), tokio::task::spawn_blocking);
    let changed = done(move || {
        let list = list.autolaunch();
        if wanted { list.enable() } else { list.disable() }
    });
    match changed.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(AutostartError::Desktop(error.to_string())),
        Err(error) => return Err(AutostartError::Desktop(error.to_string())),
    }
    let change = SettingsChange { start_at_login: Some(wanted), ..SettingsChange::default() };
    Ok(desk.set_settings(change).await?)
}

/// What the person did with the desktop's own tools since last time counts.
pub async fn follow<R: Runtime>(app: &AppHandle<R>, desk: &Desk) {
    let list = app.clone();
    let listed = tokio::task::spawn_blocking(move || list.autolaunch().is_enabled()).await;
    let Ok(Ok(listed)) = listed else { return };
    if listed != desk.view().settings.start_at_login {
        let change = SettingsChange { start_at_login: Some(listed), ..SettingsChange::default() };
        if let Err(error) = desk.set_settings(change).await {
            tracing::warn!(%error, "the settings could not follow the desktop's list");
        }
    }
}
