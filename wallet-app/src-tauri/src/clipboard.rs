//! Text into the clipboard, where the page's own way is not given: WebKit on Linux may refuse it.

use tauri::{AppHandle, Runtime};

/// There is no clipboard that could be reached.
#[derive(Debug, thiserror::Error)]
#[error("the clipboard cannot be reached")]
pub struct NoClipboard;

/// Puts text there.
#[cfg(target_os = "linux")]
pub fn put<R: Runtime>(app: &AppHandle<R>, text: String) -> Result<(), NoClipboard> {
    let put = move || gtk::Clipboard::get(&gtk::gdk::SELECTION_CLIPBOARD).set_text(&text);
    // GTK's own thread, and no other.
    app.run_on_main_thread(put).map_err(|_| NoClipboard)
}

/// The page's own way works there.
#[cfg(not(target_os = "linux"))]
pub fn put<R: Runtime>(_: &AppHandle<R>, _: String) -> Result<(), NoClipboard> {
    Err(NoClipboard)
}
