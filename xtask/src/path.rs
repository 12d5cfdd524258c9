//! Where things are, in this checkout and on this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it at run time too; that one is right even where the target folder is shared by checkouts.
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .filter(|dir| Path::new(dir).ends_with("xtask"))
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The first program of these names in `PATH`.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .find_map(|name| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| runs(file)))
}

/// The folder with PostgreSQL's server programs: from `MIID_PG_BIN_DIR`, else the newest that Debian's
/// layout has, else where `initdb` in `PATH` really is.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("MIID_PG_BIN_DIR") {
        return Some(PathBuf::from(dir)).filter(|dir| runs(&dir.join("initdb")));
    }
    let debian = std::fs::read_dir("/usr/lib/postgresql").ok().and_then(|versions| {
        versions
            .flatten()
            .filter_map(|entry| {
                Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, bin)| runs(&bin.join("initdb")) && runs(&bin.join("postgres")))
            .max_by_key(|(version, _)| *version)
            .map(|(_, bin)| bin)
    });
    debian.or_else(|| Some(program(&["initdb"])?.canonicalize().ok()?.parent()?.to_path_buf()))
}

/// `PATH` with one more folder in front.
pub(crate) fn with_program_dir(dir: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_path_buf()).chain(std::env::split_paths(&path));
    // Fails only for a folder with ':' in its name, which PATH cannot hold anyway.
    std::env::join_paths(dirs).unwrap_or(path)
}

fn runs(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
