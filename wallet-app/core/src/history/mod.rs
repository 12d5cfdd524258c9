//! What was decided, and what came of it: one JSON object per line, appended, 0600. It holds statements,
//! which prove what was signed, and names of what was shared, never the values: those can be erased elsewhere
//! and must not live on here. It lies in the clear, so nothing is decided by it.
//!
//! It can be [searched](History::search) and [exported](History::export). A line that cannot be read costs that line.
//!
//! Bound: the file is cut to its half when it passes [`MAX_BYTES`]. What was signed stays longest, since others can
//! bring about the rest; of each kind the newest stays. That is some two thousand decisions, years of signing in.

mod export;
mod search;

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use miid_protocol::{ChallengeId, ClientId, Did, Issuer, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError, Lock};

pub use export::VERSION as EXPORT_VERSION;
pub use search::{Found, MAX_PAGE, Page, Search};

const FILE: &str = "history.jsonl";
/// Where the file is cut.
pub const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What a file of lines gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Those that can be read, oldest first.
    pub entries: Vec<Entry>,
    /// How many cannot: torn by a kill, or changed by somebody.
    pub damaged: usize,
}

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
    /// The service has what a step-up was for.
    Confirmed,
    /// A request ran out, or was given up.
    Expired,
    /// A session ended.
    SessionEnded,
    /// A rule of the person's said yes.
    OneClick,
    /// The person ended the identity.
    Retired,
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
    /// What a step-up was for, in the service's words; a sign-in has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<String>,
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
        Ok(self.lines()?.entries)
    }

    /// All lines, and how many of them cannot be read.
    pub fn lines(&self) -> Result<Lines, FileError> {
        let bytes = self.bytes()?;
        let mut lines = Lines::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(entry) => lines.entries.push(entry),
                Err(_) => lines.damaged += 1,
            }
        }
        Ok(lines)
    }

    fn bytes(&self) -> Result<Vec<u8>, FileError> {
        let path = self.path();
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(FileError::new("read", &path, e)),
        }
    }

    /// Keeps a half. Under the lock.
    fn cut(&self) -> Result<(), FileError> {
        files::replace(&self.path(), &half_of(&self.bytes()?))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

/// The lines that stay: those that nobody signed go first, oldest first, and only then those that somebody did.
fn half_of(bytes: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> =
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| (line, is_signed(line))).collect();
    let mut excess = bytes.len().div_ceil(2);
    for goes_now in [false, true] {
        lines.retain(|(line, is_signed)| {
            let goes = excess > 0 && *is_signed == goes_now;
            excess = if goes { excess.saturating_sub(line.len()) } else { excess };
            !goes
        });
    }
    lines.into_iter().flat_map(|(line, _)| line.iter().copied()).collect()
}

fn is_signed(line: &[u8]) -> bool {
    serde_json::from_slice::<Entry>(line).is_ok_and(|entry| entry.statement.is_some())
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
            step_up: None,
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
    fn a_damaged_line_anywhere_costs_that_line_and_is_counted() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let history = History::new(dir.path());
        let path = dir.path().join(FILE);
        let good = |reason| serde_json::to_vec(&entry(reason)).expect("json");
        let damaged: [&[u8]; 5] =
            [b"\xff\xfe\x00", b"{", b"{\"at\":1}", b"null", b"{\"what\":\"something newer\"}"];
        let mut bytes = good("one");
        for line in damaged {
            bytes.push(b'\n');
            bytes.extend_from_slice(line);
        }
        bytes.push(b'\n');
        bytes.extend_from_slice(&good("two"));
        fs::write(&path, bytes).expect("written");
        assert_eq!(history.lines().expect("read").damaged, 5);
        history.append(&entry("three")).expect("appended");
        assert_eq!(reasons(&history), ["one", "two", "three"]);
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

    #[test]
    fn what_others_bring_about_pushes_out_no_decision() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let history = History::new(dir.path());
        let signed = |reason: &str| Entry { statement: Some("signed".into()), ..entry(reason) };
        history.append(&signed("mine 1")).expect("appended");
        let long = "x".repeat(1024 * 1024);
        for i in 0..40 {
            if i == 20 {
                history.append(&signed("mine 2")).expect("appended");
            }
            history.append(&entry(&format!("{i} {long}"))).expect("appended");
        }
        let size = fs::metadata(dir.path().join(FILE)).expect("there").len();
        assert!(size <= MAX_BYTES + 2 * 1024 * 1024, "{size}");
        let kept = reasons(&history);
        let mine: Vec<_> = kept.iter().filter(|reason| reason.starts_with("mine")).collect();
        assert_eq!(mine, ["mine 1", "mine 2"]);
        assert!(kept.last().is_some_and(|last| last.starts_with("39 ")));
        // Nothing but decisions: then the oldest of them.
        let lines: Vec<_> =
            (0..4).map(|n| serde_json::to_vec(&signed(&n.to_string())).expect("json")).collect();
        let half = half_of(&[lines.join(&b'\n'), vec![b'\n']].concat());
        let left: Vec<Entry> = half
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("whole"))
            .collect();
        let left: Vec<_> = left.into_iter().filter_map(|entry| entry.reason).collect();
        assert_eq!(left, ["2", "3"]);
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
