//! What the desktop starts when its person logs in.

use std::path::PathBuf;

use super::{Desktop, Home};
use crate::program::Program;

/// By its whole path: what programs open addresses with stands before it.
const LAUNCHER: &str = "/usr/bin/gio";

impl Home {
    /// The person's own list of what starts at login (Desktop Application Autostart Specification).
    pub fn at_login(&self) -> Vec<PathBuf> {
        let entries =
            std::fs::read_dir(self.folder().join("config/autostart")).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|file| file.extension().is_some_and(|end| end == "desktop"))
            .collect()
    }
}

impl Desktop {
    /// Starts what is on that list, as desktops do. It lives as long as what is returned.
    pub fn log_in(&self) -> Vec<Program> {
        let start = |entry: PathBuf| {
            let mut command = self.command(LAUNCHER);
            command.arg("launch").arg(entry);
            Program::start(command, &self.world.logs(), &format!("{}-at-login", self.name))
        };
        self.home.at_login().into_iter().map(start).collect()
    }
}
