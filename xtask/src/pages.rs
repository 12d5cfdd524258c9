//! The pages, of the login page and of the wallet's window: their packages and their builds, made again only
//! when something they come from changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::{path, process, say};

/// What is in a package's folder but is not a source of its build.
const NOT_SOURCES: [&str; 5] = ["node_modules", "dist", "pictures", "tests", "README.md"];

/// One package of pages.
pub(crate) struct Pages {
    /// What it is, behind "the pages of".
    name: &'static str,
    /// Where it is.
    folder: &'static str,
    /// What else its build reads.
    also: &'static [&'static str],
}

/// What a service shows: who asks.
pub(crate) const LOGIN: Pages = Pages { name: "the demo shop", folder: "frontend", also: &[] };
/// What the desktop wallet shows: who approves. It is compiled into the program, so it is built first.
pub(crate) const WINDOW: Pages =
    Pages { name: "the wallet's window", folder: "wallet-app/ui", also: &["frontend/src"] };
/// All there are.
pub(crate) const ALL: [Pages; 2] = [LOGIN, WINDOW];

impl Pages {
    fn folder(&self) -> PathBuf {
        path::root().join(self.folder)
    }

    /// Runs one of the package's scripts.
    pub(crate) fn script(&self, name: &str) -> Command {
        self.npm(&["run", "--silent", name])
    }

    fn npm(&self, words: &[&str]) -> Command {
        let mut command = process::command("npm");
        command.args(words).current_dir(self.folder());
        command
    }

    /// Installs the packages when the lock file is not the one they were installed from.
    pub(crate) fn install(&self) -> Result<()> {
        let lock = self.folder().join("package-lock.json");
        let wanted =
            std::fs::read(&lock).with_context(|| format!("cannot read {}", process::shown(&lock)))?;
        // A copy of the lock file, inside the folder whose content it describes: it goes when that goes.
        let stamp = self.folder().join("node_modules/.installed-from");
        if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        say::step(&format!("Installing the packages for the pages of {}", self.name));
        process::run(&mut self.npm(&["ci", "--no-audit", "--no-fund"]))?;
        std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", process::shown(&stamp)))
    }

    /// Installs and builds what is not up to date.
    pub(crate) fn build(&self) -> Result<()> {
        self.install()?;
        let built = modified(&self.folder().join("dist/index.html"));
        if built.is_some() && self.newest_source() < built {
            return Ok(());
        }
        say::step(&format!("Building the pages of {}", self.name));
        process::run(&mut self.script("build"))
    }

    /// When the newest source was changed. Folders count too: a file that was removed changes its folder.
    fn newest_source(&self) -> Option<SystemTime> {
        let own = std::fs::read_dir(self.folder()).ok()?.flatten();
        own.filter(|entry| !NOT_SOURCES.iter().any(|name| entry.file_name() == *name))
            .map(|entry| entry.path())
            .chain(self.also.iter().map(|folder| path::root().join(folder)))
            .filter_map(|path| newest(&path))
            .max()
    }
}

fn newest(path: &Path) -> Option<SystemTime> {
    let own = modified(path);
    let inside = std::fs::read_dir(path)
        .ok()
        .and_then(|entries| entries.flatten().filter_map(|entry| newest(&entry.path())).max());
    own.max(inside)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok()
}
