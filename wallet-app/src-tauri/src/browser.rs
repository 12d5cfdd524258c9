//! The person's own browser.

use miid_wallet::desk::Browser;

/// What the desktop opens addresses with.
#[derive(Debug, Clone, Copy)]
pub struct DesktopBrowser;

impl Browser for DesktopBrowser {
    fn open(&self, address: &str) -> bool {
        // The address holds a code that is good for one browser and one minute; it goes into no log.
        let opened = tauri_plugin_opener::open_url(address, None::<&str>);
        if opened.is_err() {
            tracing::warn!("the browser could not be opened");
        }
        opened.is_ok()
    }
}
