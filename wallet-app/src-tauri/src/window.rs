//! The one window: a small page of our own and nothing else. It shows, hides, comes to the front, and goes
//! nowhere.

use std::time::Instant;

use miid_wallet::desk::Desk;
use serde::Serialize;
use tauri::webview::NewWindowResponse;
use tauri::{
    AppHandle, Emitter as _, Manager as _, Runtime, Url, UserAttentionType, WebviewUrl, WebviewWindow,
    WebviewWindowBuilder, WindowEvent,
};

use crate::forward::{Forward, Why};
use crate::panel::Panel;
use crate::words::Words;

/// Its name, for capabilities and events.
pub const MAIN: &str = "main";

/// Where the page is asked to go.
#[derive(Debug, Clone, Serialize)]
pub struct Show {
    /// Which page.
    pub page: &'static str,
    /// About which request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<String>,
}

/// Makes the window, shown or not.
pub fn make<R: Runtime>(app: &AppHandle<R>, shown: bool) -> tauri::Result<WebviewWindow<R>> {
    let words = Words::of(&app.state::<Desk>().view().settings.language);
    let window = WebviewWindowBuilder::new(app, MAIN, WebviewUrl::App("index.html".into()))
        .title(words.title())
        .inner_size(380.0, 600.0)
        .min_inner_size(320.0, 440.0)
        .resizable(true)
        .visible(shown)
        .focused(shown)
        // Nothing of what it shows is kept on the disk by the browser engine. A driver of tests finds only windows
        // that are not so (the engine gives each private one a context of its own, which cannot be driven).
        .incognito(!is_driven())
        .devtools(cfg!(debug_assertions))
        .on_navigation(is_ours)
        .on_new_window(|_, _| NewWindowResponse::Deny)
        .on_download(|_, _| false)
        .build()?;
    let handle = app.clone();
    window.on_window_event(move |event| {
        // That it has the focus says nothing of the person: a request may have raised it.
        if let WindowEvent::CloseRequested { api, .. } = event {
            api.prevent_close();
            close(&handle);
        }
    });
    Ok(window)
}

/// Whether a test drives the window: the engine's own switch.
fn is_driven() -> bool {
    std::env::var_os("TAURI_WEBVIEW_AUTOMATION").is_some_and(|value| value == "true")
}

/// Our own page, and no other address.
fn is_ours(url: &Url) -> bool {
    match url.scheme() {
        "tauri" => !cfg!(windows) && url.host_str() == Some("localhost"),
        // Windows serves it so, and elsewhere that is an address like any other.
        "http" => cfg!(windows) && url.host_str() == Some("tauri.localhost") && url.port().is_none(),
        _ => false,
    }
}

/// Closed by the person: it goes into the tray; without one it stays where it can be found again.
fn close<R: Runtime>(app: &AppHandle<R>) {
    let app = app.clone();
    tracing::debug!("asked to close the window");
    tauri::async_runtime::spawn(async move {
        let Some(window) = app.get_webview_window(MAIN) else { return };
        // Asked at this moment: a window that hides where no tray is could not be found again.
        let hides = app.state::<Panel>().look(&app.state::<Desk>()).await;
        tracing::debug!(hides, "the window goes");
        let done = if hides { window.hide() } else { window.minimize() };
        app.state::<Forward>().settled();
        if let Err(error) = done {
            tracing::warn!(%error, "the window could not be closed");
        }
    });
}

/// Comes to the front by itself, where it has not just done so.
pub fn come_forward<R: Runtime>(app: &AppHandle<R>, why: Why) {
    let forward = app.state::<Forward>();
    if is_put_away(app) {
        forward.settled();
    }
    if forward.may_raise(why, Instant::now()) {
        come_to_front(app);
    }
}

/// Shows the window in front of the others, where there is a desk to show. No control of it has the focus but by
/// the person's own doing: the page sees to that, so what is being typed elsewhere approves nothing here.
pub fn come_to_front<R: Runtime>(app: &AppHandle<R>) {
    if app.try_state::<Desk>().is_none() {
        return;
    }
    let app = app.clone();
    // Also called from a tray's or a bus's thread.
    let main = app.clone();
    let done = main.run_on_main_thread(move || {
        let window = match app.get_webview_window(MAIN) {
            Some(window) => Ok(window),
            None => make(&app, true),
        };
        let shown = window.and_then(|window| {
            if window.is_minimized().unwrap_or(false) {
                window.unminimize()?;
            }
            window.show()?;
            window.set_focus()?;
            if !window.is_focused().unwrap_or(false) {
                // A desktop that does not let programs come to the front by themselves may at least mark it.
                window.request_user_attention(Some(UserAttentionType::Informational))?;
            }
            Ok(())
        });
        if let Err(error) = shown {
            tracing::error!(%error, "the window could not be shown");
        }
    });
    if let Err(error) = done {
        tracing::error!(%error, "the window could not be shown");
    }
}

/// Asks the page to go somewhere.
pub fn go<R: Runtime>(app: &AppHandle<R>, page: &'static str, challenge_id: Option<String>) {
    if let Err(error) = app.emit_to(MAIN, "show", Show { page, challenge_id }) {
        tracing::warn!(%error, "the page could not be asked");
    }
}

/// Whether the person has it before them.
pub fn is_in_front<R: Runtime>(app: &AppHandle<R>) -> bool {
    app.get_webview_window(MAIN)
        .is_some_and(|window| window.is_visible().unwrap_or(false) && window.is_focused().unwrap_or(false))
}

/// Whether it is anywhere on the screen, or in a task bar.
pub fn is_shown<R: Runtime>(app: &AppHandle<R>) -> bool {
    app.get_webview_window(MAIN).is_some_and(|window| window.is_visible().unwrap_or(false))
}

/// Whether it was minimised. A raise shows it, so whoever did that did it since the last one.
fn is_put_away<R: Runtime>(app: &AppHandle<R>) -> bool {
    app.get_webview_window(MAIN).is_some_and(|window| window.is_minimized().unwrap_or(false))
}

/// Shows it in the task bar, out of the way.
pub fn stay<R: Runtime>(app: &AppHandle<R>) {
    let (app, main) = (app.clone(), app.clone());
    let done = main.run_on_main_thread(move || {
        let window = match app.get_webview_window(MAIN) {
            Some(window) => Ok(window),
            None => make(&app, false),
        };
        let shown = window.and_then(|window| {
            window.show()?;
            window.minimize()
        });
        if let Err(error) = shown {
            tracing::error!(%error, "the window could not be shown");
        }
    });
    if let Err(error) = done {
        tracing::error!(%error, "the window could not be shown");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_goes_to_no_address_but_its_own_page() {
        let is_ours = |text: &str| is_ours(&Url::parse(text).expect("an address"));
        // Each platform serves the page in one way, and the other's address is a stranger's.
        let (elsewhere, windows) =
            (["tauri://localhost", "tauri://localhost/index.html#/sessions"], ["http://tauri.localhost/"; 2]);
        let (ours, others) = if cfg!(windows) { (windows, elsewhere) } else { (elsewhere, windows) };
        for good in ours {
            assert!(is_ours(good), "{good}");
        }
        for bad in others {
            assert!(!is_ours(bad), "{bad}");
        }
        for bad in [
            "https://example.com/",
            "http://localhost/",
            "https://tauri.localhost/",
            "http://tauri.localhost:8080/",
            "http://tauri.localhost.example.com/",
            "tauri://example.com/",
            "file:///etc/passwd",
            "data:text/html,hello",
            "about:blank",
            "blob:tauri://localhost/1",
            "javascript:alert(1)",
        ] {
            assert!(!is_ours(bad), "{bad}");
        }
    }
}
