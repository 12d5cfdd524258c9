//! What was decided, and what came of it: one JSON object per line, appended, 0600. It holds statements,
//! which prove what was signed, and names of what was shared, never the values: those can be erased elsewhere
//! and must not live on here.
//!
//! Bound: the file is cut when it passes [`MAX_BYTES`]; the newest half stays. That is some two thousand
//! decisions, years of signing in.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use miid_protocol::{ChallengeId, ClientId, Did, Issuer, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError, Lock};

const FILE: &str = "history.jsonl";
/// Where the file is cut.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The person said yes.
    Approved,
    /// The person said no.
    Denied,
    /// The person took the yes back.
    Cancelled,
    /// The person ended a session.
    Revoked,
    /// The service made a session of an approval.
    SignedIn,
    /// A request ran out, or was given up.
    Expired,
    /// A session ended.
    SessionEnded,
}

/// One line. Members that do not belong stay absent; unknown ones are ignored when reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub did: Did,
    /// Where.
    pub gateway: Issuer,
    /// What happened.
    pub what: What,
    /// How it ended: `done`, or the gateway's error code.
    pub outcome: String,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_id: Option<ChallengeId>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The service's `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<ClientId>,
    /// The service's name then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Names of what was shared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<String>,
    /// Why, where there is a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// What it was signed about, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// The file.
#[derive(Debug, Clone)]
pub struct History {
    dir: PathBuf,
}

impl History {
    /// In the wallet's folder.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Adds a line and keeps it.
    pub fn append(&self, entry: &Entry) -> Result<(), FileError> {
        files::private_dir(&self.dir)?;
        let _lock = Lock::take(&self.dir)?;
        let path = self.path();
        let mut line = match serde_json::to_vec(entry) {
            Ok(line) => line,
            Err(_) => unreachable!("plain structs serialise"),
        };
        line.push(b'\n');
        let error = |e| FileError::new("write", &path, e);
        let mut file = files::private().read(true).append(true).create(true).open(&path).map_err(error)?;
        let size = file.metadata().map_err(error)?.len();
        if size > 0 && last_byte(&mut file).map_err(error)? != b'\n' {
            // Somebody was killed in the middle of a line: it stays alone, and reading skips it.
            line.insert(0, b'\n');
        }
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(error)?;
        drop(file);
        if size > MAX_BYTES { self.cut() } else { Ok(()) }
    }

    /// All lines that can be read, oldest first; no file is an empty history.
    pub fn read(&self) -> Result<Vec<Entry>, FileError> {
        let lines = self.bytes()?;
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    fn bytes(&self) -> Result<Vec<u8>, FileError> {
        let path = self.path();
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(FileError::new("read", &path, e)),
        }
    }

    /// Keeps the newest half. Under the lock.
    fn cut(&self) -> Result<(), FileError> {
        let bytes = self.bytes()?;
        let newest = bytes.get(bytes.len() / 2..).unwrap_or_default();
        let whole = newest.iter().position(|byte| *byte == b'\n').map_or(newest.len(), |end| end + 1);
        files::replace(&self.path(), newest.get(whole..).unwrap_or_default())
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

fn last_byte(file: &mut fs::File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::identity::Identity;
    use crate::vault::tests::gateway;

    pub(crate) fn entry(reason: &str) -> Entry {
        Entry {
            at: Timestamp::from_millis(1_800_000_000_000),
            did: Identity::generate(&SystemEntropy).expect("random").did().clone(),
            gateway: gateway(),
            what: What::Approved,
            outcome: "done".into(),
            challenge_id: None,
            session_id: None,
            service_id: None,
            service_name: None,
            shared: Vec::new(),
            reason: Some(reason.into()),
            statement: None,
            request: None,
        }
    }

    fn reasons(history: &History) -> Vec<String> {
        history.read().expect("read").into_iter().filter_map(|entry| entry.reason).collect()
    }

    #[test]
    fn a_torn_last_line_costs_that_line_and_no_other() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let history = History::new(dir.path());
        assert_eq!(reasons(&history), [""; 0]);
        history.append(&entry("one")).expect("appended");
        history.append(&entry("two")).expect("appended");
        let path = dir.path().join(FILE);
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..bytes.len() - 20]).expect("torn");
        assert_eq!(reasons(&history), ["one"]);
        history.append(&entry("three")).expect("appended");
        assert_eq!(reasons(&history), ["one", "three"]);
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let history = History::new(dir.path());
        let long = "x".repeat(1024 * 1024);
        for i in 0..12 {
            history.append(&entry(&format!("{i} {long}"))).expect("appended");
        }
        let size = fs::metadata(dir.path().join(FILE)).expect("there").len();
        assert!(size <= MAX_BYTES + 2 * 1024 * 1024, "{size}");
        let kept = reasons(&history);
        assert!(kept.len() >= 4 && kept.last().is_some_and(|last| last.starts_with("11 ")), "{}", kept.len());
    }

    #[cfg(unix)]
    #[test]
    fn it_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary folder");
        History::new(dir.path()).append(&entry("one")).expect("appended");
        let mode = fs::metadata(dir.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
