//! Somebody's home folder, and the browser that opens what programs ask it to.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wait::eventually;
use crate::world::World;

/// The folders that desktops keep things in, below a world's own.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    /// Addresses that were opened stand here: outside the world, whose files must be free of secrets, while
    /// a return address carries one on purpose.
    opened: tempfile::TempDir,
}

impl Home {
    pub(super) fn make(world: &World, name: &str) -> Self {
        let folder = world.folder().join(format!("home-{name}"));
        let opened = tempfile::Builder::new().prefix("miid-opened-").tempdir().expect("a temporary folder");
        let home = Self { folder, opened };
        for part in ["bin", "run", "config", "data", "cache", "state", "Documents"] {
            let mut folder = std::fs::DirBuilder::new();
            folder.recursive(true).mode(0o700);
            folder.create(home.folder.join(part)).expect("a folder of a home");
        }
        // First in PATH, so whoever opens an address opens it here: a browser of the scenario's choice.
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{}'\n", home.list().display());
        for program in ["xdg-open", "gio", "gnome-open", "kde-open", "wslview"] {
            let file = home.folder.join("bin").join(program);
            std::fs::write(&file, &script).expect("a script");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&file, mode).expect("a script that runs");
        }
        home
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the wallet keeps its vault.
    pub fn wallet(&self) -> PathBuf {
        self.folder.join("wallet")
    }

    fn list(&self) -> PathBuf {
        self.opened.path().join("list")
    }

    /// What was opened in the person's browser so far.
    pub fn opened(&self) -> Vec<String> {
        std::fs::read_to_string(self.list()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The `nth` address (from 0) that was opened, as soon as it was.
    pub async fn opens(&self, nth: usize) -> String {
        let what = format!("the person's browser is asked to open address number {nth}");
        eventually(&what, || std::future::ready(self.opened().get(nth).cloned())).await
    }

    /// Gives a command this home.
    pub(super) fn dress(&self, command: &mut Command) {
        let plain = std::mem::replace(command, Command::new("true"));
        *command = crate::gateway::clean(plain);
        // What the developer's own desktop says is none of this one's business.
        for (name, _) in std::env::vars_os() {
            let foreign =
                ["XDG_", "GTK_", "GDK_", "WAYLAND_", "LC_", "WEBKIT_", "DBUS_", "GNOME_", "QT_", "TAURI_"];
            if name.to_str().is_some_and(|name| foreign.iter().any(|start| name.starts_with(start))) {
                command.env_remove(name);
            }
        }
        command
            .env("PATH", list(&[self.folder.join("bin")], "PATH", "/usr/bin:/bin"))
            .env("HOME", &self.folder)
            .env("XDG_RUNTIME_DIR", self.folder.join("run"))
            .env("XDG_CONFIG_HOME", self.folder.join("config"))
            .env("XDG_DATA_HOME", self.folder.join("data"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("XDG_STATE_HOME", self.folder.join("state"))
            // Its words are compared; a developer may read another language.
            .env("LANG", "C.UTF-8")
            .env_remove("LANGUAGE")
            // What it was asked is told where a scenario fails.
            .env("RUST_LOG", "warn,miid_wallet=debug,miid_wallet_app=debug")
            .env("MIID_WALLET_DIR", self.wallet());
    }

    /// Puts what was installed below `root` before what the machine has.
    pub(super) fn install(&self, command: &mut Command, root: &Path) {
        let programs = [self.folder.join("bin"), root.join("usr/bin")];
        command.env("PATH", list(&programs, "PATH", "/usr/bin:/bin")).env(
            "XDG_DATA_DIRS",
            list(&[root.join("usr/share")], "XDG_DATA_DIRS", "/usr/local/share:/usr/share"),
        );
    }
}

/// A list of folders: these, then those of a variable, or its default.
fn list(first: &[PathBuf], variable: &str, default: &str) -> OsString {
    let rest = std::env::var_os(variable).unwrap_or_else(|| default.into());
    let folders = first.iter().cloned().chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).expect("a folder of ours fits into a list")
}
