//! Files that are private and survive a kill: 0600 in a 0700 folder, written beside and renamed, and one
//! lock so that two programs do not write at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use miid_protocol::Timestamp;

/// A failure of the disk, not of the person.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no room left.
    #[error("the disk is full: {path} could not be written, and what was there before is unharmed")]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not allowed.
    #[error("no permission for {path}")]
    NotAllowed {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something is there already, and is not written over.
    #[error("there is a file at {path} already")]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Others may write into the wallet's folder.
    #[error("other users may write into {path}")]
    NotPrivate {
        /// The folder.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// Verb.
        doing: &'static str,
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotAllowed { path, source }
            }
            _ => Self::Io { doing, path, source },
        }
    }
}

/// Makes a folder for its owner alone. One that exists is taken as it is, unless others may write into it.
pub fn private_dir(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| FileError::new("make", path, e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(|e| FileError::new("look at", path, e))?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(FileError::NotPrivate { path: path.to_owned() });
        }
    }
    Ok(())
}

/// How a private file is opened for writing.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes away what others may do with a file that somebody copied or unpacked here.
pub(crate) fn make_private(path: &Path) -> Result<(), FileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).map_err(|e| FileError::new("look at", path, e))?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                .map_err(|e| FileError::new("protect", path, e))?;
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Replaces a file in one step: whoever is killed in between leaves the old one whole. Only under the [`Lock`].
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = beside(path, "new");
    // A left-over of somebody who was killed; nobody else writes, since we hold the lock.
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(FileError::new("remove", &temporary, e)),
        _ => {}
    }
    let written = private().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if let Err(e) = written {
        // Best effort: what matters is that the old file stands.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::new("write", path, e));
    }
    fs::rename(&temporary, path).map_err(|e| FileError::new("replace", path, e))?;
    sync_folder_of(path)
}

/// Writes a file of the person's own choosing, for its owner alone, and never over another.
pub fn create(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut file =
        private().write(true).create_new(true).open(path).map_err(|e| FileError::new("make", path, e))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|e| {
        // Half a file is worse than none, and it is ours.
        let _ = fs::remove_file(path);
        FileError::new("write", path, e)
    })
}

/// Moves a damaged file out of the way, without touching what is in it; says where it is now.
pub(crate) fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, FileError> {
    // No colons: Windows does not take them.
    let stamp = now.to_string().replace([':', '.'], "-");
    let mut aside = beside(path, &format!("damaged-{stamp}"));
    let mut count = 1;
    while aside.exists() {
        count += 1;
        aside = beside(path, &format!("damaged-{stamp}-{count}"));
    }
    fs::rename(path, &aside).map_err(|e| FileError::new("set aside", path, e))?;
    sync_folder_of(path)?;
    Ok(aside)
}

/// The newest of those that were set aside, where one lies there.
pub(crate) fn last_aside(path: &Path) -> Option<PathBuf> {
    let start = beside(path, "damaged-");
    let start = start.file_name()?.to_str()?;
    let entries = fs::read_dir(path.parent()?).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    // By their stamps: those are as wide as each other.
    entries
        .filter(|entry| entry.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(start)))
        .max()
}

/// The file's name with something behind it.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// A rename is kept only when its folder is.
fn sync_folder_of(path: &Path) -> Result<(), FileError> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(|e| FileError::new("keep", folder, e))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Held while something in the folder is read and rewritten; the system frees it when its holder dies.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// Waits for its turn: others hold it for the time of one write.
    pub(crate) fn take(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join("lock");
        let file = private()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| FileError::new("open", &path, e))?;
        file.lock().map_err(|e| FileError::new("lock", &path, e))?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_between_writing_and_renaming_leaves_the_old_file() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("file");
        replace(&path, b"old").expect("written");
        // Killed just before the rename: this is what lies there then.
        fs::write(beside(&path, "new"), b"half of the n").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"old");
        replace(&path, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let dir = tempfile::tempdir().expect("temporary folder");
        let inner = dir.path().join("a/b");
        private_dir(&inner).expect("made");
        assert_eq!(mode(&inner), 0o700);
        let path = inner.join("file");
        replace(&path, b"x").expect("written");
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        make_private(&path).expect("protected");
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o777)).expect("set");
        assert!(matches!(private_dir(&inner), Err(FileError::NotPrivate { .. })));
    }

    #[test]
    fn the_newest_that_was_set_aside_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("file");
        for other in ["file", "file.new", "other.damaged-9999", "damaged-file"] {
            fs::write(dir.path().join(other), "x").expect("written");
        }
        assert_eq!(last_aside(&path), None);
        for ms in [1_800_000_000_000, 1_900_000_000_000, 1_700_000_000_000] {
            fs::write(&path, ms.to_string()).expect("written");
            set_aside(&path, Timestamp::from_millis(ms)).expect("set aside");
        }
        let newest = last_aside(&path).expect("found");
        assert_eq!(fs::read_to_string(newest).expect("read"), "1900000000000");
    }

    #[test]
    fn two_damaged_files_of_one_moment_are_both_kept() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("file");
        let now = Timestamp::from_millis(1_800_000_000_000);
        for content in ["one", "two"] {
            fs::write(&path, content).expect("written");
            set_aside(&path, now).expect("set aside");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2);
        assert!(!path.exists());
    }
}
