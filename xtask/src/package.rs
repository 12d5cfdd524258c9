//! `cargo xtask package`: the wallet as a Debian package, and as an AppImage where its tools can be had.
//!
//! The package is laid out as a tree below `target/package` and put together by `dpkg-deb`: the tray app, the
//! command line, the desktop file that makes the app the one for `miid://` links, icons and copyright. What
//! it depends on is read from the programs by `dpkg-shlibdeps`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::setup::Purpose;
use crate::{pages, path, process, say, setup, test};

/// The package's name, which its files below `/usr/share` carry, too.
const NAME: &str = "miid-wallet";
/// What it installs into `/usr/bin`.
const PROGRAMS: [&str; 2] = ["miid-wallet-app", "miid-wallet"];
/// What no program is linked with but which it opens: the tray, `xdg-open` and `xdg-mime`.
const OPENED: [&str; 2] = ["libayatana-appindicator3-1", "xdg-utils"];
/// The bundler of the framework's own authors, for AppImages.
const BUNDLER: &str = "@tauri-apps/cli@2.12.5";

/// What `package` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Package the debug build: no optimization, and nothing is compiled that the tests have not.
    #[arg(long)]
    debug: bool,
}

/// Makes the packages.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(&[Purpose::Build, Purpose::Window, Purpose::Pages, Purpose::Package])?;
    let package = if options.debug { debug_package()? } else { release_package()? };
    println!("{}", process::shown(&package));
    if !options.debug {
        app_image();
    }
    Ok(())
}

/// Makes the package of the debug build and tries it out, in `cargo xtask test`.
pub(crate) fn try_out() -> Result<()> {
    let package = debug_package()?;
    process::run(test::scenarios("package", 1).env("MIID_DEB", package))
}

fn debug_package() -> Result<PathBuf> {
    test::build_programs()?;
    debian_package(&path::target().join("debug"), "debug")
}

fn release_package() -> Result<PathBuf> {
    pages::WINDOW.build()?;
    say::step("Building the release programs");
    process::run(process::command("cargo").args(["build", "--release"]).args(RELEASED))?;
    debian_package(&path::target().join("release"), "release")
}

/// Selected together, so that both are built with the same features.
const RELEASED: [&str; 4] = ["-p", "miid-wallet-app", "-p", "miid-wallet"];

/// Lays the tree out and puts it together. Gives the package's file.
fn debian_package(programs: &Path, profile: &str) -> Result<PathBuf> {
    let folder = path::target().join("package").join(profile);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot empty {}", process::shown(&folder)));
        }
        _ => {}
    }
    let tree = Tree { root: folder.join("root") };
    let sources = path::root().join("wallet-app");
    for name in PROGRAMS {
        let program = tree.put(&programs.join(name), &format!("usr/bin/{name}"), 0o755)?;
        // What is left for a debugger would be most of the package.
        process::run(process::command("strip").args(["--strip-debug", "--strip-unneeded"]).arg(program))?;
    }
    let desktop_file = "miid-wallet-app.desktop";
    tree.put(
        &sources.join("packaging").join(desktop_file),
        &format!("usr/share/applications/{desktop_file}"),
        0o644,
    )?;
    tree.put(&sources.join("packaging/copyright"), &format!("usr/share/doc/{NAME}/copyright"), 0o644)?;
    for (size, file) in icons(&sources.join("src-tauri/icons"))? {
        tree.put(&file, &format!("usr/share/icons/hicolor/{size}/apps/{NAME}.png"), 0o644)?;
    }

    let architecture = process::capture(process::command("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let version = env!("CARGO_PKG_VERSION");
    let depends = depends(&folder, &tree)?;
    tree.write("DEBIAN/md5sums", &tree.sums()?)?;
    tree.write("DEBIAN/control", &control(version, architecture, tree.kib()?, &depends))?;
    let package = folder.join(format!("{NAME}_{version}_{architecture}.deb"));
    say::step(&format!("Putting {} together", process::shown(&package)));
    process::capture(
        process::command("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree.root).arg(&package),
    )?;
    Ok(package)
}

fn control(version: &str, architecture: &str, kib: u64, depends: &str) -> String {
    format!(
        "Package: {NAME}\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The MiID authors <nobody@miid.invalid>\n\
         Installed-Size: {kib}\n\
         Depends: {depends}\n\
         Recommends: gnome-keyring | kwalletmanager, fonts-noto-cjk\n\
         Section: utils\n\
         Priority: optional\n\
         Description: approve sign-ins on your own computer\n \
         A wallet in the menu bar that signs you in to services without a password:\n \
         the service's page shows a number, you type it here and see what is asked,\n \
         and the key never leaves this computer. It ends sessions, too.\n \
         .\n \
         miid-wallet-app is the window and the icon in the tray, miid-wallet the same\n \
         on the command line.\n"
    )
}

/// Read from the programs, and what they open by name.
fn depends(folder: &Path, tree: &Tree) -> Result<String> {
    // dpkg-shlibdeps wants to stand in a source package.
    let source = folder.join("source");
    std::fs::create_dir_all(source.join("debian")).context("cannot make a folder for dpkg-shlibdeps")?;
    let stanza = format!("Source: {NAME}\n\nPackage: {NAME}\nArchitecture: any\n");
    std::fs::write(source.join("debian/control"), stanza).context("cannot write for dpkg-shlibdeps")?;
    let programs = PROGRAMS.map(|name| tree.root.join("usr/bin").join(name));
    let found =
        process::capture(process::command("dpkg-shlibdeps").arg("-O").args(programs).current_dir(&source))?;
    let Some(libraries) = found.trim().strip_prefix("shlibs:Depends=") else {
        bail!("dpkg-shlibdeps said what this command does not understand: {}", found.trim());
    };
    Ok([&[libraries], &OPENED[..]].concat().join(", "))
}

/// The icons by their size, as the file names have it: `128x128.png`.
fn icons(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", process::shown(folder)))?;
    let sized = |file: PathBuf| {
        let size = file.file_stem()?.to_str()?.to_owned();
        let (width, height) = size.split_once('x')?;
        let is_size = width == height && width.parse::<u32>().is_ok();
        (is_size && file.extension()? == "png").then_some((size, file))
    };
    let mut icons: Vec<_> = entries.flatten().filter_map(|entry| sized(entry.path())).collect();
    icons.sort();
    if icons.is_empty() {
        bail!("there is no icon in {}; a desktop would show a blank", process::shown(folder));
    }
    Ok(icons)
}

/// The tree that becomes the package.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn put(&self, from: &Path, to: &str, mode: u32) -> Result<PathBuf> {
        let to = self.place(to)?;
        std::fs::copy(from, &to)
            .and_then(|_| std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode)))
            .with_context(|| format!("cannot copy {} to {}", process::shown(from), process::shown(&to)))?;
        Ok(to)
    }

    fn write(&self, to: &str, text: &str) -> Result<()> {
        let to = self.place(to)?;
        std::fs::write(&to, text).with_context(|| format!("cannot write {}", process::shown(&to)))
    }

    /// Makes the folders above it, which everybody may read whatever the umask is.
    fn place(&self, to: &str) -> Result<PathBuf> {
        let file = self.root.join(to);
        let folders: Vec<_> = Path::new(to).ancestors().skip(1).collect();
        for folder in folders.into_iter().rev() {
            let folder = self.root.join(folder);
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot make {}", process::shown(&folder)))?;
        }
        Ok(file)
    }

    /// Every file below `usr`, from the tree's root.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let (mut files, mut folders) = (Vec::new(), vec![self.root.join("usr")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)?.flatten() {
                match entry.file_type()?.is_dir() {
                    true => folders.push(entry.path()),
                    false => files.push(entry.path().strip_prefix(&self.root)?.to_path_buf()),
                }
            }
        }
        files.sort();
        Ok(files)
    }

    fn sums(&self) -> Result<String> {
        process::capture(process::command("md5sum").args(self.files()?).current_dir(&self.root))
    }

    fn kib(&self) -> Result<u64> {
        let sizes: Result<Vec<_>, _> =
            self.files()?.iter().map(|file| std::fs::metadata(self.root.join(file))).collect();
        Ok(sizes?.iter().map(|meta| meta.len().div_ceil(1024)).sum())
    }
}

/// Its tools come from GitHub at the moment they are used, which not every machine reaches: no failure.
fn app_image() {
    say::step("Making an AppImage, for which the bundler downloads its tools");
    let mut bundler = process::command("npx");
    bundler
        .args(["--yes", BUNDLER, "bundle", "--ci", "--bundles", "appimage"])
        .current_dir(path::root().join("wallet-app/src-tauri"));
    match process::run(&mut bundler) {
        Ok(()) => {
            println!("{}", process::shown(&path::target().join("release/bundle/appimage")));
        }
        Err(error) => say::loud(&format!(
            "no AppImage: {error:#}\n   its tools come from github.com; the .deb above is whole without them"
        )),
    }
}
