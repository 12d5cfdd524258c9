//! Sending the person's browser back to the page that it came from.

use std::process::{Command, Stdio};

use crate::return_to::ReturnTo;

/// What opens a web address on this desktop. The address comes last and begins with its scheme (`ReturnTo` sees to
/// it), so it cannot be taken for an option.
const OPENER: &[&str] = if cfg!(target_os = "macos") {
    &["open"]
} else if cfg!(windows) {
    &["rundll32", "url.dll,FileProtocolHandler"]
} else {
    &["xdg-open"]
};

/// Opens it; says whether there was something to open it with.
pub(crate) fn open(address: &ReturnTo) -> bool {
    let Some((program, rest)) = OPENER.split_first() else { return false };
    let started = Command::new(program)
        .args(rest)
        .arg(address.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(mut child) => {
            // It ends when the browser has taken the address, or with the browser: nobody waits for that here.
            std::thread::spawn(move || child.wait());
            true
        }
        Err(error) => {
            tracing::info!(%error, "no browser could be opened");
            false
        }
    }
}
