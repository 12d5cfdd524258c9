//! The desktop's own keychain, with its login keyring open, as after somebody has signed in to it.

use super::Desktop;
use crate::program::Program;
use crate::wait::eventually;

impl Desktop {
    /// Starts it. It lives as long as what is returned.
    pub async fn start_keyring(&self) -> Program {
        // The password comes by standard input and ends with it.
        let script = "printf secret | exec gnome-keyring-daemon --unlock --foreground --components=secrets";
        let mut command = self.command("sh");
        command.args(["-c", script]);
        let daemon = Program::start(command, &self.world.logs(), &format!("{}-keyring", self.name));
        eventually("the keychain answers", || async {
            self.bus.has("org.freedesktop.secrets").await.then_some(())
        })
        .await;
        daemon
    }
}
