//! What the app is started with, by a person, by the desktop at login, or by a browser with a link.

use std::path::{Path, PathBuf};

use clap::Parser;
use miid_protocol::{Issuer, jws};

/// The MiID wallet on the desktop.
#[derive(Debug, Clone, Parser)]
#[command(name = "miid-wallet-app", version, about)]
pub struct Arguments {
    /// The wallet's folder.
    #[arg(long, env = "MIID_WALLET_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where a new identity is enrolled, unless the person names another.
    #[arg(long, env = "MIID_GATEWAY", value_name = "URL", value_parser = gateway)]
    pub gateway: Option<Issuer>,
    /// Begin in the tray, without a window.
    #[arg(long)]
    pub hidden: bool,
    /// Ask the running wallet of this folder to quit.
    #[arg(long)]
    pub quit: bool,
    /// Register miid:// links with this desktop, for this program as it lies here; a package does that by itself.
    #[arg(long)]
    pub register_links: bool,
    /// A miid:// link to open.
    #[arg(value_name = "LINK")]
    pub link: Option<String>,
}

fn gateway(text: &str) -> Result<Issuer, String> {
    Issuer::parse(text).map_err(|error| error.to_string())
}

impl Arguments {
    /// Those of a second start, handed over by it. What cannot be understood is nothing: the window opens.
    pub fn of_second_start(words: &[String]) -> Option<Self> {
        Self::try_parse_from(words).ok()
    }

    /// The wallet's folder, in full: two ways to write it are one wallet.
    pub fn folder(&self) -> Option<PathBuf> {
        let dir = self
            .dir
            .clone()
            .filter(|dir| !dir.as_os_str().is_empty())
            .or_else(miid_wallet::desk::default_dir)?;
        Some(in_full(&std::path::absolute(&dir).unwrap_or(dir)))
    }

    /// What the desktop starts at login: this folder again, in the tray.
    pub fn at_login(&self) -> Vec<String> {
        let mut words = vec!["--hidden".to_owned()];
        if let (Some(_), Some(folder)) = (&self.dir, self.folder()) {
            words.extend(["--dir".to_owned(), in_a_desktop_entry(&folder.display().to_string())]);
        }
        words
    }
}

/// As one word of an `Exec` line (Desktop Entry Specification), where the list that is written to leaves words as
/// they are. A control character could begin a line of its own; there is none in a folder that anybody made on
/// purpose.
fn in_a_desktop_entry(word: &str) -> String {
    if !cfg!(target_os = "linux") {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars().filter(|c| !c.is_control()) {
        match c {
            // Escaped for the quotes, and the escape once more for the file.
            '"' | '`' | '$' => quoted.extend(["\\\\", c.encode_utf8(&mut [0; 4])]),
            '\\' => quoted.push_str("\\\\\\\\"),
            '%' => quoted.push_str("%%"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Without links in it, also where the last part is yet to be made.
fn in_full(dir: &Path) -> PathBuf {
    match (std::fs::canonicalize(dir), dir.parent(), dir.file_name()) {
        (Ok(found), _, _) => found,
        (Err(_), Some(parent), Some(name)) => in_full(parent).join(name),
        _ => dir.to_owned(),
    }
}

/// What the session bus calls the instance of a folder: one instance for each folder, not for each person.
pub fn bus_name(folder: &Path) -> String {
    let digest = jws::digest(folder.to_string_lossy().as_bytes());
    let word: String = digest.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("dev.miid.wallet.w{word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Arguments {
        let words: Vec<_> = ["miid-wallet-app"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        Arguments::of_second_start(&words).expect("understood")
    }

    #[test]
    fn a_browser_hands_a_link_over_and_the_desktop_starts_it_hidden() {
        assert_eq!(read(&["miid://challenge/1"]).link.as_deref(), Some("miid://challenge/1"));
        assert_eq!(read(&["--", "miid://challenge/1"]).link.as_deref(), Some("miid://challenge/1"));
        assert_eq!(read(&["--"]).link, None);
        assert!(read(&["--hidden"]).hidden && read(&["--quit"]).quit);
        assert_eq!(read(&["--hidden"]).at_login(), ["--hidden"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_is_one_word_of_what_the_desktop_starts() {
        assert_eq!(in_a_desktop_entry("/home/a b/100%"), "\"/home/a b/100%%\"");
        assert_eq!(in_a_desktop_entry("/a$b\"c\nExec=evil"), "\"/a\\\\$b\\\\\"cExec=evil\"");
    }

    #[test]
    fn what_a_desktop_hands_over_behind_the_dashes_is_never_an_option() {
        let desktop_file = include_str!("../../packaging/miid-wallet-app.desktop");
        assert!(desktop_file.lines().any(|line| line == "Exec=miid-wallet-app -- %u"));
        for word in ["--quit", "--dir=/elsewhere", "--register-links", "-h"] {
            let arguments = read(&["--", word]);
            assert_eq!(arguments.link.as_deref(), Some(word));
            assert!(!arguments.quit && !arguments.register_links && arguments.dir.is_none(), "{word}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_no_command() {
        let strange = ["miid-wallet-app", "--no-such-thing"].map(str::to_owned);
        assert!(Arguments::of_second_start(&strange).is_none());
    }

    #[cfg(unix)]
    #[test]
    fn two_folders_are_two_instances_and_one_that_is_spelt_in_two_ways_is_one() {
        let home = tempfile::tempdir().expect("temporary folder");
        let (real, other) = (home.path().join("real"), home.path().join("other"));
        std::fs::create_dir(&real).expect("a folder");
        std::os::unix::fs::symlink(&real, &other).expect("a link");
        let of =
            |dir: PathBuf| bus_name(&Arguments { dir: Some(dir), ..read(&[]) }.folder().expect("a folder"));
        assert_ne!(of(real.join("a")), of(real.join("b")));
        // Before there is a folder, and after.
        let before = of(other.join("wallet"));
        assert_eq!(before, of(real.join(".").join("wallet")));
        std::fs::create_dir(real.join("wallet")).expect("a folder");
        assert_eq!(before, of(other.join("wallet")));
    }
}
