//! The vault's file: its three lines, its versions, and what is done with one that is damaged.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use miid_protocol::jws;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::Content;
use super::{Outline, VaultError};
use crate::clock::Clock;
use crate::files::{self, FileError, Lock};
use crate::seal::Lid;

/// What this program writes.
pub const VERSION: u64 = 2;
pub(super) const FORMAT: &str = "miid-vault";
pub(super) const FILE: &str = "vault";
/// How often it is looked at again while somebody writes it without the lock.
const LOOKS: u32 = 3;
/// A vault of a thousand full profiles stays far below; more is no vault.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Frozen steps from one version to the next: step `n` reads version `n + 1` and gives version `n + 2`. A step
/// never changes once it was released, and never refers to today's types, which do.
const STEPS: &[fn(Value) -> Option<Value>] = &[one_to_two];

/// Version 2 keeps all that belongs to services in one place. Where one has signed in before was not kept by
/// version 1, and is not guessed: it is learned by the next sign-in.
fn one_to_two(mut content: Value) -> Option<Value> {
    for identity in content.get_mut("identities")?.as_array_mut()? {
        let identity = identity.as_object_mut()?;
        let choices = identity.remove("choices").unwrap_or_else(|| json!({}));
        identity.insert("services".to_owned(), json!({ "choices": choices }));
    }
    Some(content)
}

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
    /// Of all of it, as it was read.
    pub(super) digest: String,
}

/// Reads the file. `lock` is the caller's, where it holds one.
pub(super) fn read(dir: &Path, lock: Option<&Lock>, clock: &dyn Clock) -> Result<VaultFile, VaultError> {
    let mut found = bytes(dir)?;
    files::make_private(&dir.join(FILE))?;
    for _ in 0..LOOKS {
        match take_apart(&found) {
            Ok(file) => return Ok(file),
            Err(Unreadable::Newer(found)) => return Err(VaultError::Newer { found, known: VERSION }),
            Err(Unreadable::Damaged(what)) => {
                match set_aside(dir, lock, what, &jws::digest(&found), clock)? {
                    Found::Aside(error) => return Err(error),
                    Found::Changed(now) => found = now,
                }
            }
        }
    }
    Err(being_written(dir))
}

/// A file that was taken apart turned out to be damaged inside.
pub(super) fn damaged(
    dir: &Path,
    lock: Option<&Lock>,
    what: &'static str,
    file: &VaultFile,
    clock: &dyn Clock,
) -> VaultError {
    match set_aside(dir, lock, what, &file.digest, clock) {
        Ok(Found::Aside(error)) | Err(error) => error,
        Ok(Found::Changed(_)) => being_written(dir),
    }
}

/// What was there when it was looked at again.
enum Found {
    /// The same. It lies aside now, and this says so.
    Aside(VaultError),
    /// Something else, which may be whole.
    Changed(Vec<u8>),
}

/// Sets the damaged file aside: only under the lock, and only if it still is the one that was read. Whoever puts
/// back a good one at this moment is not to lose it.
fn set_aside(
    dir: &Path,
    lock: Option<&Lock>,
    what: &'static str,
    digest: &str,
    clock: &dyn Clock,
) -> Result<Found, VaultError> {
    let _lock = if lock.is_none() { Some(Lock::take(dir)?) } else { None };
    let now = bytes(dir)?;
    if jws::digest(&now) != digest {
        return Ok(Found::Changed(now));
    }
    let aside = files::set_aside(&dir.join(FILE), clock.now())?;
    Ok(Found::Aside(VaultError::Damaged { what, aside }))
}

fn bytes(dir: &Path) -> Result<Vec<u8>, VaultError> {
    let path = dir.join(FILE);
    let mut bytes = Vec::new();
    match fs::File::open(&path) {
        Ok(file) => {
            let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|e| FileError::new("read", &path, e))?;
            Ok(bytes)
        }
        // Whoever had an identity here is not told that there never was one.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(match files::last_aside(&path) {
            Some(aside) => VaultError::WasDamaged { aside },
            None => VaultError::NotFound { dir: dir.to_owned() },
        }),
        Err(e) => Err(FileError::new("open", &path, e).into()),
    }
}

fn being_written(dir: &Path) -> VaultError {
    let source = io::Error::other("somebody else is writing it; try again");
    FileError::new("read", &dir.join(FILE), source).into()
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
    Ok(VaultFile { header, header_line: header_line.to_vec(), sealed, digest: jws::digest(bytes) })
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
