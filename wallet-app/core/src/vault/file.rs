//! The vault's file: its three lines, its versions, and what is done with one that is damaged.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use miid_protocol::jws;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::Content;
use super::{Outline, VaultError};
use crate::clock::Clock;
use crate::files::{self, FileError};
use crate::seal::Lid;

/// What this program writes.
pub const VERSION: u64 = 1;
pub(super) const FORMAT: &str = "miid-vault";
pub(super) const FILE: &str = "vault";
/// A vault of a thousand full profiles stays far below; more is no vault.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Frozen steps from one version to the next: step `n` reads version `n + 1` and gives version `n + 2`. A step
/// never changes once it was released, and never refers to today's types, which do.
const STEPS: &[fn(Value) -> Option<Value>] = &[];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) version: u64,
    pub(super) lid: Lid,
    pub(super) identities: Vec<Outline>,
}

/// The file, taken apart but not opened.
pub(super) struct VaultFile {
    pub(super) header: Header,
    pub(super) header_line: Vec<u8>,
    pub(super) sealed: Vec<u8>,
}

pub(super) fn read(dir: &Path, clock: &dyn Clock) -> Result<VaultFile, VaultError> {
    let path = dir.join(FILE);
    let mut bytes = Vec::new();
    match fs::File::open(&path) {
        Ok(file) => {
            let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|e| FileError::new("read", &path, e))?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(VaultError::NotFound { dir: dir.to_owned() });
        }
        Err(e) => return Err(FileError::new("open", &path, e).into()),
    }
    files::make_private(&path)?;
    match take_apart(&bytes) {
        Ok(file) => Ok(file),
        Err(Unreadable::Newer(found)) => Err(VaultError::Newer { found, known: VERSION }),
        Err(Unreadable::Damaged(what)) => Err(damaged(&path, what, clock)),
    }
}

/// Sets the file aside and says so.
pub(super) fn damaged(path: &Path, what: &'static str, clock: &dyn Clock) -> VaultError {
    match files::set_aside(path, clock.now()) {
        Ok(aside) => VaultError::Damaged { what, aside },
        Err(error) => error.into(),
    }
}

enum Unreadable {
    Newer(u64),
    Damaged(&'static str),
}

fn take_apart(bytes: &[u8]) -> Result<VaultFile, Unreadable> {
    /// What every version will say.
    #[derive(Deserialize)]
    struct AnyHeader {
        format: String,
        version: u64,
    }
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let header_line = lines.next().unwrap_or_default();
    let any: AnyHeader = serde_json::from_slice(header_line)
        .map_err(|_| Unreadable::Damaged("its first line is no header"))?;
    if any.format != FORMAT || any.version == 0 {
        return Err(Unreadable::Damaged("its first line is no header"));
    }
    if any.version > VERSION {
        return Err(Unreadable::Newer(any.version));
    }
    let (Some(body), Some(sum), Some(b""), None) = (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(Unreadable::Damaged("its end is missing"));
    };
    let summed = bytes.get(..header_line.len() + body.len() + 2).unwrap_or_default();
    if jws::digest(summed).as_bytes() != sum {
        return Err(Unreadable::Damaged("its checksum does not fit"));
    }
    let header = serde_json::from_slice(header_line);
    let header = header.map_err(|_| Unreadable::Damaged("its header is not what it should be"))?;
    let sealed = std::str::from_utf8(body).ok().and_then(jws::decode);
    let sealed = sealed.ok_or(Unreadable::Damaged("its content is not base64url"))?;
    Ok(VaultFile { header, header_line: header_line.to_vec(), sealed })
}

/// Reads the content, through the steps from its version to ours.
pub(super) fn migrate(plain: &[u8], version: u64) -> Option<Content> {
    if version == VERSION {
        // Straight into the types that wipe themselves.
        return serde_json::from_slice(plain).ok();
    }
    let done = usize::try_from(version).ok()?.checked_sub(1)?;
    let mut value: Value = serde_json::from_slice(plain).ok()?;
    for step in STEPS.get(done..)? {
        value = step(value)?;
    }
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_below_ours_has_its_step() {
        assert_eq!(u64::try_from(STEPS.len()), Ok(VERSION - 1));
    }
}
