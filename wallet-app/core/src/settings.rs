//! What a person chose about the wallet itself: nothing secret, so it lies beside the vault in the clear and
//! can be read while that is locked.
//!
//! `settings.json`: one JSON object with a `version`. It is replaced in one step, a damaged one is set aside and
//! said, and one that a later program wrote is left alone.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use miid_protocol::Issuer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Clock;
use crate::files::{self, FileError, Lock};

/// What this program writes.
pub const VERSION: u64 = 1;
/// Longest idle time before the wallet locks itself, in minutes: a day.
pub const MAX_LOCK_AFTER_MIN: u32 = 24 * 60;
/// The gateway of `cargo xtask demo`, and of whoever runs one on this computer.
pub const DEFAULT_GATEWAY: &str = "http://127.0.0.1:14000";

const FILE: &str = "settings.json";
const MAX_BYTES: u64 = 64 * 1024;

/// Frozen steps from one version to the next, as in the vault: step `n` reads version `n + 1`.
const STEPS: &[fn(Value) -> Option<Value>] = &[];

/// The language of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// What the desktop speaks.
    #[default]
    System,
    /// English.
    En,
    /// Korean.
    Ko,
}

/// A language that texts are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// English.
    English,
    /// Korean.
    Korean,
}

impl Spoken {
    /// By the environment, as every program decides it: `LC_ALL`, `LC_MESSAGES`, `LANG`.
    pub fn from_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let language = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        if language.is_some_and(|language| language.starts_with("ko")) { Self::Korean } else { Self::English }
    }
}

impl Language {
    /// What it comes to on this desktop.
    pub fn spoken(self) -> Spoken {
        match self {
            Self::System => Spoken::from_environment(),
            Self::En => Spoken::English,
            Self::Ko => Spoken::Korean,
        }
    }
}

/// The window's colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// What the desktop shows.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// The size of texts, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct TextSize(u16);

impl TextSize {
    /// Those there are.
    pub const ALL: [u16; 4] = [100, 115, 130, 150];
}

impl Default for TextSize {
    fn default() -> Self {
        Self(100)
    }
}

impl From<TextSize> for u16 {
    fn from(size: TextSize) -> Self {
        size.0
    }
}

impl TryFrom<u16> for TextSize {
    type Error = SettingsError;

    fn try_from(percent: u16) -> Result<Self, SettingsError> {
        if Self::ALL.contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(SettingsError::BadValue("text_size"))
        }
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The window's language.
    pub language: Language,
    /// Its colours.
    pub theme: Theme,
    /// The size of its texts.
    pub text_size: TextSize,
    /// Idle minutes until it locks; 0 is never.
    pub lock_after_min: u32,
    /// Whether a request raises a notification of the desktop.
    pub notifications: bool,
    /// Whether it starts with the desktop.
    pub start_at_login: bool,
    /// Where a new identity is enrolled when nothing else is said.
    pub gateway: Issuer,
}

impl Default for Settings {
    fn default() -> Self {
        let Ok(gateway) = Issuer::parse(DEFAULT_GATEWAY) else { unreachable!("a constant that parses") };
        Self {
            language: Language::default(),
            theme: Theme::default(),
            text_size: TextSize::default(),
            lock_after_min: 15,
            notifications: true,
            start_at_login: false,
            gateway,
        }
    }
}

/// Some of it, to be changed. A member that is none of ours is refused, so that a slip is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each as in Settings")]
pub struct SettingsChange {
    pub language: Option<Language>,
    pub theme: Option<Theme>,
    pub text_size: Option<TextSize>,
    pub lock_after_min: Option<u32>,
    pub notifications: Option<bool>,
    pub start_at_login: Option<bool>,
    pub gateway: Option<Issuer>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings; the usual ones where there was no file, or none that could be read.
    pub settings: Settings,
    /// Where a damaged file lies now.
    pub set_aside: Option<PathBuf>,
}

/// Why settings cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A later program wrote them.
    #[error(
        "the settings have version {found}, and this program knows versions up to {known}; they were left as they are"
    )]
    Newer {
        /// Their version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Not a value for this one. Nothing was changed.
    #[error("that is no value for {0}; nothing was changed")]
    BadValue(&'static str),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Settings {
    /// Reads them. A damaged file is set aside, and the usual settings hold.
    pub fn load(dir: &Path, clock: &dyn Clock) -> Result<Loaded, SettingsError> {
        let path = dir.join(FILE);
        let Some(bytes) = read(&path)? else {
            return Ok(Loaded { settings: Self::default(), set_aside: None });
        };
        if let Some(settings) = understand(&bytes)? {
            return Ok(Loaded { settings, set_aside: None });
        }
        // Only under the lock, and only if nobody has put a good one there meanwhile.
        let _lock = Lock::take(dir)?;
        let again = read(&path)?.map(|bytes| understand(&bytes)).transpose()?.flatten();
        if let Some(settings) = again {
            return Ok(Loaded { settings, set_aside: None });
        }
        let aside = files::set_aside(&path, clock.now())?;
        Ok(Loaded { settings: Self::default(), set_aside: Some(aside) })
    }

    /// Changes some of them; whatever another program changed at the same moment stays changed.
    pub fn change(dir: &Path, clock: &dyn Clock, change: &SettingsChange) -> Result<Self, SettingsError> {
        if change.lock_after_min.is_some_and(|minutes| minutes > MAX_LOCK_AFTER_MIN) {
            return Err(SettingsError::BadValue("lock_after_min"));
        }
        files::private_dir(dir)?;
        // Before the lock is taken: this sets a damaged file aside.
        Self::load(dir, clock)?;
        let _lock = Lock::take(dir)?;
        let path = dir.join(FILE);
        let found = read(&path)?.map(|bytes| understand(&bytes)).transpose()?.flatten();
        let mut settings = found.unwrap_or_default();
        settings.apply(change);
        files::replace(&path, &to_bytes(&settings))?;
        Ok(settings)
    }

    fn apply(&mut self, change: &SettingsChange) {
        fn set<T: Clone>(place: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                place.clone_from(value);
            }
        }
        set(&mut self.language, &change.language);
        set(&mut self.theme, &change.theme);
        set(&mut self.text_size, &change.text_size);
        set(&mut self.lock_after_min, &change.lock_after_min);
        set(&mut self.notifications, &change.notifications);
        set(&mut self.start_at_login, &change.start_at_login);
        set(&mut self.gateway, &change.gateway);
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(file) => {
            let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|e| FileError::new("read", path, e))?;
            Ok(Some(bytes))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("open", path, e)),
    }
}

/// `None` for what is damaged.
fn understand(bytes: &[u8]) -> Result<Option<Settings>, SettingsError> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return Ok(None) };
    let Some(version) = value.get("version").and_then(Value::as_u64) else { return Ok(None) };
    if version > VERSION {
        return Err(SettingsError::Newer { found: version, known: VERSION });
    }
    let Some(done) = usize::try_from(version).ok().and_then(|version| version.checked_sub(1)) else {
        return Ok(None);
    };
    for step in STEPS.get(done..).unwrap_or_default() {
        match step(value) {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    let settings: Option<Settings> = serde_json::from_value(value).ok();
    Ok(settings.filter(|settings| settings.lock_after_min <= MAX_LOCK_AFTER_MIN))
}

fn to_bytes(settings: &Settings) -> Vec<u8> {
    #[derive(Serialize)]
    struct File<'a> {
        version: u64,
        #[serde(flatten)]
        settings: &'a Settings,
    }
    match serde_json::to_vec_pretty(&File { version: VERSION, settings }) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            bytes
        }
        Err(_) => unreachable!("plain structs serialise"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::tests::Hand;

    const T: i64 = 1_800_000_000_000;

    fn load(dir: &Path) -> Loaded {
        Settings::load(dir, &*Hand::at(T)).expect("loaded")
    }

    fn change(dir: &Path, json: &str) -> Result<Settings, SettingsError> {
        Settings::change(dir, &*Hand::at(T), &serde_json::from_str(json).expect("a change"))
    }

    #[test]
    fn what_was_chosen_comes_back_and_the_rest_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        assert_eq!(load(dir.path()), Loaded { settings: Settings::default(), set_aside: None });
        change(dir.path(), r#"{"language":"ko","text_size":130}"#).expect("changed");
        change(dir.path(), r#"{"lock_after_min":0,"gateway":"https://id.example.com"}"#).expect("changed");
        let settings = load(dir.path()).settings;
        assert_eq!((settings.language, settings.text_size), (Language::Ko, TextSize(130)));
        assert_eq!((settings.lock_after_min, settings.gateway.as_str()), (0, "https://id.example.com"));
        assert_eq!((settings.theme, settings.notifications), (Theme::System, true));
    }

    #[test]
    fn values_out_of_bounds_and_members_of_no_version_are_refused() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let refused = change(dir.path(), r#"{"lock_after_min":1441}"#);
        assert!(matches!(refused, Err(SettingsError::BadValue("lock_after_min"))));
        for bad in [
            r#"{"text_size":200}"#,
            r#"{"theme":"pink"}"#,
            r#"{"gateway":"http://id.example.com"}"#,
            r#"{"lock_after_min":-1}"#,
            r#"{"lok_after_min":1}"#,
        ] {
            assert!(serde_json::from_str::<SettingsChange>(bad).is_err(), "{bad}");
        }
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_said_once() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join(FILE);
        for bad in [
            "",
            "{",
            "[]",
            r#"{"language":"ko"}"#,
            r#"{"version":0}"#,
            r#"{"version":1,"theme":"pink"}"#,
            r#"{"version":1,"lock_after_min":99999}"#,
            "\u{0}\u{0}",
        ] {
            fs::write(&path, bad).expect("written");
            let loaded = load(dir.path());
            assert_eq!(loaded.settings, Settings::default(), "{bad}");
            assert_eq!(fs::read_to_string(loaded.set_aside.expect("set aside")).expect("kept"), bad);
            assert_eq!(load(dir.path()).set_aside, None);
        }
        fs::write(&path, "{").expect("written");
        change(dir.path(), r#"{"theme":"dark"}"#).expect("changed");
        assert_eq!(load(dir.path()).settings.theme, Theme::Dark);
    }

    #[test]
    fn newer_settings_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join(FILE);
        let text = r#"{"version":2,"theme":{"sky":"blue"}}"#;
        fs::write(&path, text).expect("written");
        let read = Settings::load(dir.path(), &*Hand::at(T));
        assert!(matches!(read, Err(SettingsError::Newer { found: 2, known: 1 })));
        assert!(matches!(change(dir.path(), r#"{"theme":"dark"}"#), Err(SettingsError::Newer { .. })));
        assert_eq!(fs::read_to_string(&path).expect("kept"), text);
    }

    #[test]
    fn two_programs_that_change_different_settings_both_get_theirs() {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::thread::scope(|scope| {
            for json in [r#"{"theme":"dark"}"#, r#"{"language":"ko"}"#, r#"{"text_size":150}"#] {
                let dir = dir.path();
                scope.spawn(move || (0..8).for_each(|_| drop(change(dir, json).expect("changed"))));
            }
        });
        let settings = load(dir.path()).settings;
        assert_eq!(
            (settings.theme, settings.language, settings.text_size),
            (Theme::Dark, Language::Ko, TextSize(150))
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temporary folder");
        change(dir.path(), "{}").expect("written");
        let mode = fs::metadata(dir.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn every_version_below_ours_has_its_step() {
        assert_eq!(u64::try_from(STEPS.len()), Ok(VERSION - 1));
    }
}
