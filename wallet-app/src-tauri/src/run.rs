//! From arguments to a running app, and its orderly end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miid_wallet::desk::{Desk, Options};
use miid_wallet::files::{self, FileError};
use tauri::{App, AppHandle, Manager as _, RunEvent, Wry};

use crate::arguments::{Arguments, bus_name};
use crate::bridge::{self, Began};
use crate::browser::DesktopBrowser;
use crate::early::Early;
use crate::forward::Forward;
use crate::panel::Panel;
use crate::tray::Tray;
use crate::{autostart, deep_link, events, handover, window};

/// How often it is looked whether a tray came or went.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often in a row none was there until the window shows: a panel takes its time after a login, and comes back
/// when it was restarted.
const PATIENCE: u32 = 3;

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No home.
    #[error("there is no home folder to keep a wallet in; name one: --dir DIR")]
    NoFolder,
    /// The runtime.
    #[error("the program could not be set up: {0}")]
    Runtime(#[from] std::io::Error),
    /// The desktop.
    #[error("the desktop could not be reached: {0}")]
    Desktop(#[from] tauri::Error),
}

/// Logs go to standard error; `RUST_LOG` says how much.
pub fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,miid_wallet=info,miid_wallet_app=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Runs until it is quit.
pub fn run(arguments: Arguments, began: Began) -> Result<(), RunError> {
    let folder = arguments.folder().ok_or(RunError::NoFolder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tauri::async_runtime::set(runtime.handle().clone());
    let single = tauri_plugin_single_instance::Builder::new()
        .callback(|app, words, _| deep_link::second_start(app, &words))
        .dbus_id(bus_name(&folder))
        .build();
    let built = tauri::Builder::default()
        .plugin(single)
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_notification::init())
        .plugin(tauri_plugin_autostart::Builder::new().args(arguments.at_login()).build())
        .manage(began)
        .manage(Panel)
        .manage(events::Unheard::default())
        .manage(Forward::default())
        .manage(Early::default())
        .setup(move |app| Ok(set_up(app, &arguments, folder)?))
        .invoke_handler(handler())
        .build(tauri::generate_context!());
    let app = match built {
        Err(error) if handover::may_start_again(&error) => return Err(handover::start_again().into()),
        built => built?,
    };
    app.run(|app, event| match event {
        // The tray has no window that would keep it alive; only “Quit” has a code.
        RunEvent::ExitRequested { api, code: None, .. } => api.prevent_exit(),
        RunEvent::Exit => close(app),
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => window::come_to_front(app),
        _ => {}
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Every command. None but `touch` says that the person is there: a page calls some by itself.
fn handler() -> impl Fn(tauri::ipc::Invoke<Wry>) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        bridge::view,
        bridge::touch,
        bridge::create_identity,
        bridge::restore_identity,
        bridge::unlock,
        bridge::lock,
        bridge::recovery_sheet,
        bridge::save_sheet,
        bridge::keep_sheet,
        bridge::set_handle,
        bridge::profile,
        bridge::set_profile,
        bridge::proposal,
        bridge::approve,
        bridge::deny,
        bridge::cancel,
        bridge::open_return,
        bridge::continue_link,
        bridge::drop_link,
        bridge::end_session,
        bridge::end_all_sessions,
        bridge::history,
        bridge::export_history,
        bridge::remove_rule,
        bridge::unmute,
        bridge::retire,
        bridge::remove_identity,
        bridge::set_settings,
        bridge::refresh,
        bridge::copy,
        bridge::quit,
    ]
}

fn set_up(app: &mut App, arguments: &Arguments, folder: PathBuf) -> tauri::Result<()> {
    let handle = app.handle().clone();
    if arguments.quit {
        // Nobody was running, or this start would have been handed over.
        handle.exit(0);
        return Ok(());
    }
    let mut options = Options::new(Arc::new(DesktopBrowser));
    options.gateway = arguments.gateway.clone();
    options.documents = app.path().document_dir().or_else(|_| app.path().home_dir()).ok();
    let desk = tauri::async_runtime::block_on(Desk::open(&folder, options));
    let view = desk.view();
    app.manage(desk);
    match pictures_in(&folder) {
        Ok(pictures) => match Tray::put_up(&handle, &pictures, &view) {
            Ok(tray) => drop(app.manage(tray)),
            Err(error) => tracing::warn!(%error, "there is no tray"),
        },
        Err(error) => tracing::warn!(%error, "there is no tray"),
    }
    events::listen(&handle);
    if let Some(notice) = handle.state::<Desk>().first_notice() {
        events::notice(&handle, &notice);
    }
    deep_link::listen(&handle, arguments);
    if arguments.hidden {
        handle.state::<Began>().say("tray");
    } else {
        window::make(&handle, true)?;
    }
    if let Some(link) = &arguments.link {
        deep_link::open(&handle, link);
    }
    tauri::async_runtime::spawn(keep_looking(handle.clone()));
    tauri::async_runtime::spawn(until_a_signal(handle.clone()));
    for words in handle.state::<Early>().ready() {
        deep_link::second_start(&handle, &words);
    }
    Ok(())
}

/// Where the tray's pictures lie. Made here and private, with the wallet's folder above it: whoever draws the tray
/// would make both as the umask says, and a vault does not go into a folder that others may write to.
fn pictures_in(folder: &Path) -> Result<PathBuf, FileError> {
    let pictures = folder.join("tray");
    files::private_dir(folder)?;
    files::private_dir(&pictures)?;
    Ok(pictures)
}

/// A tray may come or go. Where there is none the window shows, in the task bar: somewhere it must be.
async fn keep_looking(app: AppHandle) {
    let desk = app.state::<Desk>().inner().clone();
    autostart::follow(&app, &desk).await;
    let mut every = tokio::time::interval(LOOK_EVERY);
    let mut missing = 0;
    loop {
        every.tick().await;
        missing = if app.state::<Panel>().look(&desk).await { 0 } else { missing + 1 };
        if missing >= PATIENCE && !window::is_shown(&app) {
            window::stay(&app);
        }
    }
}

async fn until_a_signal(app: AppHandle) {
    wait_for_a_signal().await;
    tracing::info!("asked to end");
    app.exit(0);
}

#[cfg(unix)]
async fn wait_for_a_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut hup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_a_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Keys wiped, streams closed.
fn close(app: &AppHandle) {
    if let Some(desk) = app.try_state::<Desk>() {
        tauri::async_runtime::block_on(desk.inner().clone().close());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::commands::COMMANDS;

    /// This program again, under a umask that lets the group write.
    #[cfg(unix)]
    #[test]
    fn a_first_start_under_a_loose_umask_makes_private_folders() {
        use std::os::unix::fs::PermissionsExt as _;
        const FOLDER: &str = "MIID_TEST_FIRST_START";
        if let Some(folder) = std::env::var_os(FOLDER) {
            super::pictures_in(std::path::Path::new(&folder)).expect("made");
            return;
        }
        let home = tempfile::tempdir().expect("temporary folder");
        let folder = home.path().join("share/miid-wallet");
        let done = std::process::Command::new("sh")
            .args(["-c", "umask 002 && exec \"$@\"", "sh"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "run::tests::a_first_start_under_a_loose_umask_makes_private_folders"])
            .env(FOLDER, &folder)
            .output()
            .expect("started");
        assert!(done.status.success(), "{done:?}");
        for made in [folder.join("tray"), folder] {
            let mode = std::fs::metadata(&made).expect("made").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", made.display());
        }
    }

    /// What is written as a command is in the list, the handler and the capability, and nothing else is.
    #[test]
    fn the_page_may_call_exactly_the_commands_there_are() {
        let written: Vec<_> = include_str!("bridge.rs")
            .split("#[command(rename_all = \"snake_case\")]")
            .skip(1)
            .filter_map(|rest| rest.split_once("fn ")?.1.split('(').next())
            .collect();
        assert_eq!(written, COMMANDS);
        let capability: serde_json::Value =
            serde_json::from_str(include_str!("../capabilities/window.json")).expect("json");
        let allowed: Vec<_> = capability["permissions"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|permission| permission.as_str()?.strip_prefix("allow-"))
            .map(|name| name.replace('-', "_"))
            .collect();
        assert_eq!(allowed, COMMANDS);
        for command in COMMANDS {
            assert!(include_str!("run.rs").contains(&format!("bridge::{command},")), "{command}");
        }
        let others: Vec<_> = capability["permissions"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|permission| permission.as_str().filter(|text| text.contains(':')))
            .collect();
        // `window.print` is a command of the runtime's own on macOS, and the engine's elsewhere.
        assert_eq!(
            others,
            ["core:event:allow-listen", "core:event:allow-unlisten", "core:webview:allow-print"]
        );
    }

    /// What no page calls is of use to nobody but a page that was taken over.
    #[test]
    fn every_command_that_is_permitted_is_called_by_the_page() {
        let mut calls = String::new();
        read_page(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../ui/src")), &mut calls);
        for command in COMMANDS {
            assert!(calls.contains(&format!("call(\"{command}\"")), "no page calls {command}");
        }
    }

    /// All sources of the page that are written by hand, without their tests.
    fn read_page(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("the page's sources") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if name != "gen" {
                    read_page(&path, text);
                }
            } else if (name.ends_with(".ts") && !name.ends_with(".test.ts")) || name.ends_with(".svelte") {
                text.push_str(&std::fs::read_to_string(&path).expect("text"));
            }
        }
    }

    #[test]
    fn the_configuration_keeps_the_page_in_its_place() {
        let config: serde_json::Value =
            serde_json::from_str(include_str!("../tauri.conf.json")).expect("json");
        let security = &config["app"]["security"];
        let csp = security["csp"].as_str().expect("a policy");
        assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{csp}");
        for loose in ["unsafe", "*", "data:", "https:", "blob:"] {
            assert!(!csp.contains(loose), "{loose}");
        }
        assert_eq!(security["freezePrototype"], true);
        assert_eq!(config["app"]["withGlobalTauri"], false);
        assert!(
            security.get("assetProtocol").is_none()
                && security.get("dangerousDisableAssetCspModification").is_none()
        );
        assert!(config["build"].get("devUrl").is_none());
    }
}
