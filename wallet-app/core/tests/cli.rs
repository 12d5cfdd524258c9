//! The program itself: what it says, where, and with which exit code.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PASSPHRASE: &str = "correct horse battery";

/// Runs `miid-wallet` in a folder, away from the tester's own wallet, keychain and language.
fn wallet(dir: &Path, passphrase: Option<&str>, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miid-wallet"));
    command.arg("--dir").arg(dir.join("wallet")).args(words).stdin(Stdio::null());
    for name in ["MIID_WALLET_DIR", "MIID_WALLET_PASSPHRASE", "MIID_WALLET_LOG", "DBUS_SESSION_BUS_ADDRESS"] {
        command.env_remove(name);
    }
    // No bus can be found by its usual place, either.
    command.env("XDG_RUNTIME_DIR", dir).env("LC_ALL", "C.UTF-8");
    if let Some(passphrase) = passphrase {
        command.env("MIID_WALLET_PASSPHRASE", passphrase);
    }
    command.output().expect("runs")
}

fn good(dir: &Path, words: &[&str]) -> String {
    let output = wallet(dir, Some(PASSPHRASE), words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Exit code and standard error; nothing may stand on standard output then.
fn bad(dir: &Path, passphrase: Option<&str>, words: &[&str]) -> (Option<i32>, String) {
    let output = wallet(dir, passphrase, words);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{words:?}");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn a_wallet_is_made_and_read_again() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    assert!(good(dir, &["init", "--name", "Alice"]).contains("Made the identity Alice."));
    let did = good(dir, &["did"]);
    assert!(miid_protocol::Did::parse(did.trim()).is_ok(), "{did}");
    good(dir, &["profile", "set", "name=Alice Kim", "shoe_size=38"]);
    good(dir, &["profile", "unset", "shoe_size"]);
    assert_eq!(good(dir, &["profile"]), "name: Alice Kim\n");
    assert_eq!(good(dir, &["profile", "show", "--json"]), "{\"name\":\"Alice Kim\"}\n");
    assert_eq!(good(dir, &["history", "--json"]), "[]\n");

    good(dir, &["init", "--name", "밥", "--gateway", "https://gw.example"]);
    assert!(good(dir, &["did", "--all"]).contains("밥"));
    good(dir, &["init", "--name", "밥", "--gateway", "http://127.0.0.1:1"]);
    let (code, said) = bad(dir, Some(PASSPHRASE), &["--identity", "밥", "sessions"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("https://gw.example, http://127.0.0.1:1"), "{said}");
}

#[test]
fn every_failure_has_its_exit_code_and_a_hint() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    let told = |passphrase: Option<&str>, words: &[&str], code: i32, part: &str| {
        let (got, said) = bad(dir, passphrase, words);
        assert_eq!(got, Some(code), "{words:?}: {said}");
        assert!(said.contains(part) && said.lines().count() >= 2, "{words:?}: {said}");
    };
    told(None, &["did"], 7, "there is no wallet");
    told(Some("short"), &["init"], 2, "at least 8 characters");
    told(None, &["init"], 2, "MIID_WALLET_PASSPHRASE");
    told(None, &["init", "--keychain"], 1, "no keychain");
    // A port that nothing answers at: it is reserved, and no proxy is asked for loopback.
    good(dir, &["init", "--name", "Alice", "--gateway", "http://127.0.0.1:1"]);
    told(Some(PASSPHRASE), &["init", "--name", "Alice"], 1, "already");
    told(Some("wrong horse battery"), &["profile"], 3, "the passphrase is wrong");
    told(Some(PASSPHRASE), &["sessions"], 4, "cannot be reached");
    told(Some(PASSPHRASE), &["--identity", "Bob", "sessions"], 7, "no identity called Bob");
    told(Some(PASSPHRASE), &["handle", "claim", "x"], 2, "3 to 32");
    told(Some(PASSPHRASE), &["profile", "set", "name"], 2, "name=value");
    told(None, &["revoke", "everything"], 2, "UUIDv7");
    told(None, &["--gateway", "http://gw.example", "sessions"], 2, "loopback");

    let vault = dir.join("wallet/vault");
    let text = fs::read_to_string(&vault).expect("text");
    fs::write(&vault, text.replace("\"version\":1", "\"version\":9")).expect("written");
    told(Some(PASSPHRASE), &["profile"], 6, "version 9");
    fs::write(&vault, "garbage").expect("written");
    told(Some(PASSPHRASE), &["profile"], 6, "set aside");
    told(Some(PASSPHRASE), &["profile"], 7, "there is no wallet");
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let help = good(dir.path(), &["--help"]);
    assert!(help.contains("3 wrong passphrase"), "{help}");
}

#[cfg(unix)]
#[test]
fn a_passphrase_file_that_others_can_read_is_pointed_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("temporary folder");
    let file = dir.path().join("passphrase");
    fs::write(&file, PASSPHRASE).expect("written");
    let file_arg = file.to_str().expect("text");
    good(dir.path(), &["init", "--name", "Alice"]);
    for (mode, is_said) in [(0o600, false), (0o444, true), (0o640, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("chmod");
        let output = wallet(dir.path(), None, &["--passphrase-file", file_arg, "profile"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("others can read the passphrase file"), is_said, "{mode:o}: {said}");
    }
}
