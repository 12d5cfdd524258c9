//! A wallet that is killed in the middle of a change, again and again, loses nothing that it said was kept; and
//! two that change one vault at the same moment both get what they wrote. Real processes, real files.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use miid_protocol::Issuer;
use miid_wallet::Vault;
use miid_wallet::clock::SystemClock;
use miid_wallet::entropy::SystemEntropy;
use miid_wallet::seal::{Cost, Passphrase};
use miid_wallet::vault::{Opener, VaultError};

const CHEAP: Cost = Cost { m_kib: 8 * 1024, t: 1, p: 1 };
const DIR: &str = "MIID_TEST_KILLS_DIR";
const FIELD: &str = "MIID_TEST_KILLS_FIELD";

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse".into())
}

fn open(dir: &Path) -> Vault {
    let phrase = passphrase();
    Vault::open(dir, &Opener::Passphrase(&phrase), Arc::new(SystemClock), Arc::new(SystemEntropy))
        .expect("opens")
}

fn make(dir: &Path) {
    let phrase = passphrase();
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let vault = Vault::create(dir, &Opener::Passphrase(&phrase), CHEAP, clock, entropy).expect("made");
    vault.add_identity("Alice", &Issuer::parse("https://id.example.com").expect("issuer")).expect("added");
}

fn counted(vault: &Vault, field: &str) -> u64 {
    let look = vault.look("Alice", |record| record.profile.value(field).map(str::to_owned));
    look.expect("there")
        .map_or(0, |value| value.split(' ').next().expect("a number").parse().expect("a number"))
}

/// Not a test of its own: what the others start, by running this program for this one name.
#[test]
fn a_child_that_counts_in_the_vault() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let field = std::env::var(FIELD).expect("a field");
    let vault = open(Path::new(&dir));
    // Large enough that a write takes a while.
    let ballast = "x".repeat(1000);
    for _ in 0..10_000 {
        let kept = vault.update("Alice", |record| {
            let next = record
                .profile
                .value(&field)
                .and_then(|value| value.split(' ').next()?.parse().ok())
                .unwrap_or(0)
                + 1;
            record.profile.set(&field, &format!("{next} {ballast}")).map_err(|_| VaultError::Full)?;
            Ok::<u64, VaultError>(next)
        });
        println!("kept {}", kept.expect("kept"));
    }
}

struct Counting {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Counting {
    fn start(dir: &Path, field: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_child_that_counts_in_the_vault", "--nocapture"])
            .env(DIR, dir)
            .env(FIELD, field)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// The next number that it says was kept; `None` when it has said its last.
    fn kept(&mut self) -> Option<u64> {
        self.lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("kept ")?.parse().ok())
    }

    /// Kills it, wherever it is; the last number that it had said by then.
    fn kill(mut self, mut last: u64) -> u64 {
        self.child.kill().expect("killed");
        while let Some(number) = self.kept() {
            last = number;
        }
        self.child.wait().expect("ended");
        last
    }
}

#[test]
fn a_wallet_killed_in_the_middle_of_its_changes_loses_nothing_it_said_was_kept() {
    let dir = tempfile::tempdir().expect("temporary folder");
    make(dir.path());
    let mut before = 0;
    for round in 0..25 {
        let mut counting = Counting::start(dir.path(), "count");
        let mut said = before;
        // By now it is in the midst of the next write, a little further on each round.
        for _ in 0..=round % 5 {
            said = counting.kept().expect("it counts");
            assert!(said > before);
        }
        let said = counting.kill(said);
        let found = counted(&open(dir.path()), "count");
        assert!(found == said || found == said + 1, "it said {said}, and {found} was found");
        before = found;
    }
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("listed")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(left.iter().all(|name| ["vault", "vault.new", "lock"].contains(&name.as_str())), "{left:?}");
}

#[test]
fn two_processes_that_change_one_vault_lose_none_of_their_changes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    make(dir.path());
    let mut all: Vec<_> = ["one", "two"].map(|field| Counting::start(dir.path(), field)).into();
    let mut said = vec![0; all.len()];
    for _ in 0..20 {
        for (counting, said) in all.iter_mut().zip(&mut said) {
            let next = counting.kept().expect("it counts");
            assert_eq!(next, *said + 1, "a change of its own was lost");
            *said = next;
        }
    }
    let said: Vec<_> = all.into_iter().zip(said).map(|(counting, said)| counting.kill(said)).collect();
    let vault = open(dir.path());
    for (field, said) in ["one", "two"].into_iter().zip(said) {
        let found = counted(&vault, field);
        assert!(found == said || found == said + 1, "{field}: it said {said}, and {found} was found");
    }
}
