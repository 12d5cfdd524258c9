//! Starting with the desktop: the desktop's own list is the truth, the settings follow it.

use std::path::{Path, PathBuf};

use miid_wallet::desk::{Desk, Fault};
use miid_wallet::settings::SettingsChange;
use tauri::{AppHandle, Manager as _, Runtime};
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
    match done(move || list_it(&list, wanted)).await {
        Ok(changed) => changed?,
        Err(error) => return Err(AutostartError::Desktop(error.to_string())),
    }
    let change = SettingsChange { start_at_login: Some(wanted), ..SettingsChange::default() };
    Ok(desk.set_settings(change).await?)
}

/// What the person did with the desktop's own tools since last time counts.
pub async fn follow<R: Runtime>(app: &AppHandle<R>, desk: &Desk) {
    let list = app.clone();
    let listed = tokio::task::spawn_blocking(move || is_listed(&list)).await;
    let Ok(Some(listed)) = listed else { return };
    if listed != desk.view().settings.start_at_login {
        let change = SettingsChange { start_at_login: Some(listed), ..SettingsChange::default() };
        if let Err(error) = desk.set_settings(change).await {
            tracing::warn!(%error, "the settings could not follow the desktop's list");
        }
    }
}

fn list_it<R: Runtime>(app: &AppHandle<R>, wanted: bool) -> Result<(), AutostartError> {
    let list = app.autolaunch();
    let done = if wanted { list.enable() } else { list.disable() };
    done.map_err(|error| AutostartError::Desktop(error.to_string()))?;
    let Some((written, looked_for)) = elsewhere(app) else { return Ok(()) };
    let moved = match (wanted, looked_for.parent()) {
        (true, Some(folder)) => std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::copy(&written, &looked_for))
            .and_then(|_| std::fs::remove_file(&written)),
        _ if looked_for.exists() => std::fs::remove_file(&looked_for),
        _ => Ok(()),
    };
    moved.map_err(|error| AutostartError::Desktop(error.to_string()))
}

fn is_listed<R: Runtime>(app: &AppHandle<R>) -> Option<bool> {
    if !cfg!(target_os = "linux") {
        return app.autolaunch().is_enabled().ok();
    }
    let entry = app.path().config_dir().ok()?.join(entry(app));
    Some(std::fs::read_to_string(entry).is_ok_and(|text| is_on(&text)))
}

/// Whether an entry counts: the desktop's own tools switch one off by a line in it, and leave it there.
fn is_on(entry: &str) -> bool {
    let is_off = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or_default();
        matches!((key.trim(), value.trim()), ("Hidden", "true") | ("X-GNOME-Autostart-enabled", "false"))
    };
    !entry.lines().any(is_off)
}

fn entry<R: Runtime>(app: &AppHandle<R>) -> PathBuf {
    PathBuf::from("autostart").join(format!("{}.desktop", app.package_info().name))
}

/// Where the entry is written and where the desktop looks for it, where those are two: what writes it takes
/// `~/.config` for everybody's, and whoever sets `XDG_CONFIG_HOME` has another.
fn elsewhere<R: Runtime>(app: &AppHandle<R>) -> Option<(PathBuf, PathBuf)> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let written = app.path().home_dir().ok()?.join(".config").join(entry(app));
    let looked_for = app.path().config_dir().ok()?.join(entry(app));
    are_two(&written, &looked_for).then_some((written, looked_for))
}

/// Whether they lie in two folders: one folder by two names is one.
fn are_two(one: &Path, other: &Path) -> bool {
    let folder = |entry: &Path| entry.parent().and_then(|folder| folder.canonicalize().ok());
    one != other && (folder(one).is_none() || folder(one) != folder(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn one_folder_by_two_names_is_one() {
        let home = tempfile::tempdir().expect("a folder");
        let (real, linked) = (home.path().join("dotfiles"), home.path().join(".config"));
        std::fs::create_dir_all(real.join("autostart")).expect("a folder");
        std::os::unix::fs::symlink(&real, &linked).expect("a link");
        let entry = |folder: &Path| folder.join("autostart").join("x.desktop");
        assert!(!are_two(&entry(&linked), &entry(&real)));
        assert!(are_two(&entry(&linked), &entry(&home.path().join("other"))), "not there yet");
        std::fs::create_dir_all(home.path().join("other/autostart")).expect("a folder");
        assert!(are_two(&entry(&linked), &entry(&home.path().join("other"))));
    }

    #[test]
    fn an_entry_that_the_desktop_switched_off_counts_as_none() {
        let entry = "[Desktop Entry]\nType=Application\nName=MiID Wallet\nExec=miid-wallet-app --hidden\n";
        assert!(is_on(entry));
        assert!(is_on(&format!("{entry}Hidden=false\nX-GNOME-Autostart-enabled=true\n")));
        assert!(!is_on(&format!("{entry}Hidden=true\n")));
        assert!(!is_on(&format!("{entry}X-GNOME-Autostart-enabled = false\n")));
    }
}
