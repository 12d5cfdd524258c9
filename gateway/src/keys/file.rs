//! The key file: made on first start, mode 0600, written so that a kill leaves either none or a
//! whole one, and so that two programs which start together agree on one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use miid_protocol::jws;
use zeroize::Zeroizing;

use super::ServerKeys;
use crate::clock;

const HEAD: &str = "miid-gateway-keys-1 ";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file or its folder cannot be read or written.
    #[error("cannot use the key file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not a key file of this version.
    #[error("{path} is not a key file of this program; nothing was changed")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Others than its owner may read it.
    #[error("{path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Reads the key file, or makes it where there is none.
pub fn load_or_create(path: &Path) -> Result<ServerKeys, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), source };
    match read(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".keys-{}", jws::encode(&clock::random::<9>())));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let text = Zeroizing::new(format!("{HEAD}{}\n", jws::encode(&clock::random::<32>())));
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link fails where somebody else was first, and then theirs counts.
        match std::fs::hard_link(&temporary, path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => File::open(folder)?.sync_all(),
        }
    })();
    let _ = std::fs::remove_file(&temporary);
    written.map_err(io_error)?;
    read(path)
}

fn read(path: &Path) -> Result<ServerKeys, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), source };
    let malformed = || KeyFileError::Malformed { path: path.to_owned() };
    let mut file = File::open(path).map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    Read::by_ref(&mut file).take(4096).read_to_string(&mut text).map_err(|_| malformed())?;
    let encoded = text.strip_prefix(HEAD).and_then(|rest| rest.strip_suffix('\n')).ok_or_else(malformed)?;
    let bytes = Zeroizing::new(jws::decode(encoded).ok_or_else(malformed)?);
    let master: [u8; 32] = bytes.as_slice().try_into().map_err(|_| malformed())?;
    Ok(ServerKeys::new(Zeroizing::new(master)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_kept_private_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("gateway.keys");
        let first = load_or_create(&path).expect("made").fingerprint();
        assert_eq!(load_or_create(&path).expect("read").fingerprint(), first);
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Open { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        std::fs::write(&path, "damaged").expect("write");
        assert!(matches!(load_or_create(&path), Err(KeyFileError::Malformed { .. })));
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), "damaged");
    }
}
