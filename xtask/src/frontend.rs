//! The pages: their packages and their build, made again only when something they come from changed.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::{path, process, say};

/// What is in `frontend/` but is not a source of the build.
const NOT_SOURCES: [&str; 5] = ["node_modules", "dist", "pictures", "tests", "README.md"];

/// A command of npm's that runs in `frontend/`.
pub(crate) fn npm(words: &[&str]) -> std::process::Command {
    let mut command = process::command("npm");
    command.args(words).current_dir(path::root().join("frontend"));
    command
}

/// Installs the packages when the lock file is not the one they were installed from.
pub(crate) fn install() -> Result<()> {
    let frontend = path::root().join("frontend");
    let lock = frontend.join("package-lock.json");
    let wanted = std::fs::read(&lock).with_context(|| format!("cannot read {}", process::shown(&lock)))?;
    // A copy of the lock file, inside the folder whose content it describes: it goes when that goes.
    let stamp = frontend.join("node_modules/.installed-from");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    say::step("Installing the pages' packages");
    process::run(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", process::shown(&stamp)))
}

/// Installs and builds what is not up to date.
pub(crate) fn build() -> Result<()> {
    install()?;
    let frontend = path::root().join("frontend");
    let built = modified(&frontend.join("dist/index.html"));
    if built.is_some() && newest_source(&frontend) < built {
        return Ok(());
    }
    say::step("Building the pages");
    process::run(&mut npm(&["run", "--silent", "build"]))
}

/// When the newest source was changed. Folders count too: a file that was removed changes its folder.
fn newest_source(frontend: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(frontend).ok()?.flatten();
    entries
        .filter(|entry| !NOT_SOURCES.iter().any(|name| entry.file_name() == *name))
        .filter_map(|entry| newest(&entry.path()))
        .max()
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
