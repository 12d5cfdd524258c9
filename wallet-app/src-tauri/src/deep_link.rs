//! `miid://` links, from wherever the desktop hands them over: the command line, a second start, or (on macOS) an
//! event. What is one and whose is for the desk to say; a link has a secret in it, and is in no log.

use miid_wallet::desk::Desk;
use tauri::{AppHandle, Manager as _, Runtime};
use tauri_plugin_deep_link::DeepLinkExt as _;

use crate::arguments::Arguments;
use crate::early::Early;
use crate::forward::Why;
use crate::window;

/// Gives a link to the desk. The window comes by the desk's call for attention, or here to say what is wrong.
pub fn open<R: Runtime>(app: &AppHandle<R>, link: &str) {
    let (app, link) = (app.clone(), link.to_owned());
    // A second start is handed over on a thread of the bus, where the desk could start no work of its own.
    tauri::async_runtime::spawn(async move {
        let Some(desk) = app.try_state::<Desk>() else { return };
        if let Err(error) = desk.open_link(&link) {
            tracing::info!(code = ?error.code(), "a link that goes nowhere");
            window::come_forward(&app, Why::Link);
        }
    });
}

/// Somebody started the app again: it was handed over to this one.
pub fn second_start<R: Runtime>(app: &AppHandle<R>, words: &[String]) {
    // This one may still be reading its folder.
    if app.state::<Early>().keeps(words) {
        return;
    }
    let Some(arguments) = Arguments::of_second_start(words) else { return window::come_to_front(app) };
    match arguments {
        Arguments { quit: true, .. } => app.exit(0),
        Arguments { link: Some(link), .. } => open(app, &link),
        Arguments { hidden: true, .. } => {}
        _ => window::come_to_front(app),
    }
}

/// Hears links that come as events, and registers the scheme where no package has done so.
pub fn listen<R: Runtime>(app: &AppHandle<R>, arguments: &Arguments) {
    if cfg!(target_os = "macos") {
        let handle = app.clone();
        app.deep_link().on_open_url(move |event| {
            for url in event.urls() {
                open(&handle, url.as_str());
            }
        });
        return;
    }
    let is_image = std::env::var_os("APPIMAGE").is_some();
    if (arguments.register_links || is_image || cfg!(windows))
        && let Err(error) = app.deep_link().register_all()
    {
        tracing::warn!(%error, "miid:// links could not be registered");
    }
}
