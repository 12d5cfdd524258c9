//! The history as one JSON document, for whoever wants to keep or check it:
//!
//! ```text
//! {"format": "miid-history", "version": 1, "exported_at": "<RFC 3339>", "entries": [ … ]}
//! ```
//!
//! Entries stand oldest first, each as [`Entry`] serialises. `statement` is the signed decision as it was sent, and
//! `request` the text whose SHA-256 it names, so that anybody can check who decided what (protocol, section 2)
//! without this wallet and without the gateway. Values that were shared are not in it.

use std::path::Path;

use miid_protocol::{Did, Timestamp};
use serde::Serialize;

use super::{Entry, History};
use crate::files::{self, FileError};

/// What this program writes.
pub const VERSION: u64 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u64,
    exported_at: Timestamp,
    entries: &'a [Entry],
}

impl History {
    /// The document, of one identity or of all; how many entries are in it.
    pub fn to_json(&self, did: Option<&Did>, now: Timestamp) -> Result<(Vec<u8>, usize), FileError> {
        let mut entries = self.read()?;
        entries.retain(|entry| did.is_none_or(|did| entry.did == *did));
        let document =
            Document { format: "miid-history", version: VERSION, exported_at: now, entries: &entries };
        match serde_json::to_vec_pretty(&document) {
            Ok(mut bytes) => {
                bytes.push(b'\n');
                Ok((bytes, entries.len()))
            }
            Err(_) => unreachable!("plain structs serialise"),
        }
    }

    /// Writes the document to a file of its own, 0600, and never over another; how many entries are in it.
    pub fn export(&self, path: &Path, did: Option<&Did>, now: Timestamp) -> Result<usize, FileError> {
        let (bytes, count) = self.to_json(did, now)?;
        files::create(path, &bytes)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::entry;

    #[test]
    fn an_export_holds_the_signed_statements_and_is_written_over_nothing() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let history = History::new(dir.path());
        let signed = Entry { statement: Some("a.b.c".into()), request: Some("{}".into()), ..entry("one") };
        history.append(&signed).expect("appended");
        history.append(&entry("two")).expect("appended");
        let path = dir.path().join("history.json");
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(history.export(&path, None, now).expect("exported"), 2);
        let document: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("json");
        assert_eq!((&document["format"], &document["version"]), (&"miid-history".into(), &1.into()));
        assert_eq!(document["entries"][0]["statement"], "a.b.c");
        let read: Vec<Entry> = serde_json::from_value(document["entries"].clone()).expect("entries");
        assert_eq!(read, history.read().expect("read"));
        assert!(matches!(history.export(&path, None, now), Err(FileError::Exists { .. })));
        let (_, count) = history.to_json(Some(&signed.did), now).expect("json");
        assert_eq!(count, 1);
    }

    #[cfg(unix)]
    #[test]
    fn an_export_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("history.json");
        History::new(dir.path()).export(&path, None, Timestamp::from_millis(0)).expect("exported");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
