//! A second start hands over to the wallet that runs. Where that one ends in the very moment (it was quit, or it
//! crashed and the system is still clearing it away) nobody takes the words, and the second start becomes the
//! wallet: it starts again from the beginning, a few times at most.

use std::io;

/// How often it started again already, from one start to the next.
const ATTEMPTS: &str = "MIID_WALLET_APP_STARTS";
/// Most starts in a row. One that runs but does not answer is not waited for: the bus gives up on it by itself.
const MAX_ATTEMPTS: u32 = 5;

/// Whether the wallet that was to take over vanished instead.
pub fn may_start_again(error: &tauri::Error) -> bool {
    matches!(error, tauri::Error::PluginInitialization(plugin, why)
        if plugin == "single-instance" && has_vanished(why))
        && attempts() < MAX_ATTEMPTS
}

/// What the session bus says of somebody who had a name and is gone: disconnected before the call, or during it.
fn has_vanished(why: &str) -> bool {
    const GONE: [&str; 3] = ["disconnected from message bus", "ServiceUnknown", "NameHasNoOwner"];
    GONE.iter().any(|word| why.contains(word))
}

fn attempts() -> u32 {
    std::env::var(ATTEMPTS).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Starts this program again in its own place, with the same words. Comes back only where that cannot be done.
#[cfg(unix)]
pub fn start_again() -> io::Error {
    use std::os::unix::process::CommandExt as _;
    tracing::info!("the wallet that ran has just ended; starting in its place");
    let mut words = std::env::args_os();
    let (Ok(program), _) = (std::env::current_exe(), words.next()) else {
        return io::Error::other("this program does not know where it is");
    };
    std::process::Command::new(program).args(words).env(ATTEMPTS, (attempts() + 1).to_string()).exec()
}

/// Elsewhere no bus is asked.
#[cfg(not(unix))]
pub fn start_again() -> io::Error {
    io::Error::other("the wallet that ran has just ended; start it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_somebody_who_is_gone_is_replaced() {
        let failed = |plugin: &str, why: &str| {
            may_start_again(&tauri::Error::PluginInitialization(plugin.to_owned(), why.to_owned()))
        };
        let reply = "failed to forward arguments to the running instance: org.freedesktop.DBus.Error.";
        let gone = "NoReply: Message recipient disconnected from message bus without replying";
        assert!(failed("single-instance", &format!("{reply}{gone}")));
        assert!(failed("single-instance", &format!("{reply}ServiceUnknown: The name is not activatable")));
        assert!(!failed("notification", &format!("{reply}{gone}")));
        // It runs, and does not answer.
        assert!(!failed("single-instance", &format!("{reply}NoReply: Did not receive a reply in time")));
        assert!(!failed("single-instance", &format!("{reply}AccessDenied: not allowed")));
    }
}
