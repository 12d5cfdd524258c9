//! The Debian package, as `cargo xtask package` makes it: `MIID_DEB` names its file.
//!
//! It is installed by dpkg itself, below a folder of its own instead of `/`: with a copy of this machine's
//! database of packages, so that what it depends on has to be here and what it brings must belong to nobody
//! else, and without a right or a trace outside that folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scenario fails where it stands")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use miid_e2e::desktop::Desktop;
use miid_e2e::program::{self, Ran};
use miid_e2e::{World, on_sqlite};

on_sqlite!(
    installed_it_starts_opens_links_and_removed_it_leaves_nothing,
    what_it_needs_and_is_not_there_is_named,
);

async fn installed_it_starts_opens_links_and_removed_it_leaves_nothing(world: World) {
    let system = System::like_this_one(&world);
    let before = system.files();
    system.dpkg(&["--install", package().to_str().unwrap()]).await.ok();

    let brought: Vec<String> = system.files().difference(&before).cloned().collect();
    for file in [
        "usr/bin/miid-wallet-app",
        "usr/bin/miid-wallet",
        "usr/share/applications/miid-wallet-app.desktop",
        "usr/share/doc/miid-wallet/copyright",
        "usr/share/icons/hicolor/128x128/apps/miid-wallet.png",
    ] {
        assert!(brought.iter().any(|brought| brought == file), "{file} is in the package: {brought:#?}");
    }
    let stray: Vec<_> = brought.iter().filter(|file| !file.starts_with("usr/")).collect();
    assert!(stray.is_empty(), "all of it is below /usr: {stray:?}");

    // A desktop whose programs are the installed ones.
    let desktop = Desktop::start(&world, "alice").await;
    let desktop = desktop.with_system(&system.root);
    let handler = desktop.run("xdg-mime", &["query", "default", "x-scheme-handler/miid"]).await.ok();
    assert_eq!(handler.trim(), "miid-wallet-app.desktop", "links of wallets open with it");
    let version = desktop.run(system.program("miid-wallet"), &["--version"]).await.ok();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");

    let wallet = desktop.start_installed(system.program("miid-wallet-app")).await;
    wallet.stage("first_run").await;
    desktop.bus.tray().await;
    wallet.keep("package-first-run").await;
    wallet.stop().await;

    system.dpkg(&["--purge", "miid-wallet"]).await.ok();
    let left: Vec<String> = system.files().difference(&before).cloned().collect();
    assert!(left.is_empty(), "nothing of it is left: {left:#?}");
}

async fn what_it_needs_and_is_not_there_is_named(world: World) {
    let system = System::like_this_one(&world);
    // The same machine without the web view.
    let status = system.root.join("var/lib/dpkg/status");
    let known = std::fs::read_to_string(&status).unwrap();
    let without = |stanza: &&str| !stanza.starts_with("Package: libwebkit2gtk-4.1-0\n");
    std::fs::write(&status, known.split_inclusive("\n\n").filter(without).collect::<String>()).unwrap();
    let complaint = system.dpkg(&["--install", package().to_str().unwrap()]).await.complaint();
    assert!(complaint.contains("depends on libwebkit2gtk-4.1-0"), "{complaint}");
}

fn package() -> PathBuf {
    let file = std::env::var_os("MIID_DEB").map(PathBuf::from);
    file.expect("MIID_DEB names a package: cargo xtask test --only package")
}

/// A folder that dpkg takes for the machine's root.
struct System {
    root: PathBuf,
}

impl System {
    fn like_this_one(world: &World) -> Self {
        let root = world.folder().join("system");
        let database = root.join("var/lib/dpkg");
        for folder in ["info", "updates", "triggers"] {
            std::fs::create_dir_all(database.join(folder)).unwrap();
        }
        let real = Path::new("/var/lib/dpkg");
        std::fs::copy(real.join("status"), database.join("status")).expect("a machine with dpkg");
        for entry in std::fs::read_dir(real.join("info")).unwrap().flatten() {
            let file = entry.path();
            // Which files belong to whom.
            if file.extension().is_some_and(|end| end == "list") {
                std::fs::copy(&file, database.join("info").join(entry.file_name())).unwrap();
            }
        }
        Self { root }
    }

    /// Nobody needs to be root for a root of their own.
    async fn dpkg(&self, words: &[&str]) -> Ran {
        let mut command = Command::new("dpkg");
        command.arg("--root").arg(&self.root).arg("--log").arg(self.root.join("dpkg.log"));
        command.args(["--force-not-root", "--no-pager"]).args(words);
        command.env("LC_ALL", "C.UTF-8");
        program::capture(command).await
    }

    fn program(&self, name: &str) -> PathBuf {
        self.root.join("usr/bin").join(name)
    }

    /// Every file and folder but dpkg's own notes.
    fn files(&self) -> BTreeSet<String> {
        let (mut files, mut folders) = (BTreeSet::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                let name = entry.path().strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned();
                if name.starts_with("var/lib/dpkg/") || name == "dpkg.log" {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.insert(name);
                }
            }
        }
        files
    }
}
