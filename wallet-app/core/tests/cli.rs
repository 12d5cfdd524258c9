//! The program itself: what it says, where, and with which exit code.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PASSPHRASE: &str = "correct horse battery";

/// Runs `miid-wallet` in a folder, away from the tester's own wallet, keychain and language.
fn wallet(dir: &Path, passphrase: Option<&str>, words: &[&str]) -> Output {
    dressed(dir, passphrase, words).output().expect("runs")
}

fn dressed(dir: &Path, passphrase: Option<&str>, words: &[&str]) -> Command {
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
    command
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
    fs::write(&vault, text.replace("\"version\":2", "\"version\":9")).expect("written");
    told(Some(PASSPHRASE), &["profile"], 6, "version 9");
    fs::write(&vault, "garbage").expect("written");
    told(Some(PASSPHRASE), &["profile"], 6, "set aside");
    // Also the next time: it does not say that there never was one. Whoever goes on has another, and that is all.
    told(Some(PASSPHRASE), &["profile"], 6, "set aside");
    told(Some(PASSPHRASE), &["did"], 6, "vault.damaged-");
    good(dir, &["init", "--name", "Alice"]);
    good(dir, &["profile"]);
}

/// Runs `miid-wallet` with something on standard input.
fn told(dir: &Path, words: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut command = dressed(dir, Some(PASSPHRASE), words);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    // It may have refused before it read anything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("ends")
}

fn json(dir: &Path, words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&good(dir, words)).expect("json")
}

#[test]
fn a_sheet_brings_the_identity_back_in_another_folder_and_its_words_never_stand_in_an_argument() {
    let (one, two) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    good(one.path(), &["init", "--name", "Alice", "--gateway", "https://id.example.com"]);
    let sheet = good(one.path(), &["sheet"]);
    let typed: Vec<_> =
        sheet.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).collect();
    let restored = told(
        two.path(),
        &["restore", "--name", "Me again", "--gateway", "https://id.example.com"],
        &typed.join("\n"),
    );
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(good(two.path(), &["did"]), good(one.path(), &["did"]));
    // The keys of both are sealed: neither folder holds a word of it in the clear.
    let words = json(one.path(), &["sheet", "--json"])["words"].as_array().expect("words").clone();
    assert_eq!(words.len(), 24);
    let again = told(two.path(), &["restore", "--name", "Twice"], &typed.join(" "));
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("already, as Me again"));
    for (input, why) in
        [("abandon", "24 words, and 1"), (&typed.join(" ").replacen("1. ", "1. x", 1), "word 1 is not one")]
    {
        let refused = told(two.path(), &["restore", "--name", "Bob"], input);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && !said.contains(words[0].as_str().expect("word")), "{said}");
    }
}

#[test]
fn a_sheet_asks_for_the_passphrase_and_is_written_for_its_owner_over_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    good(dir, &["init", "--name", "Alice"]);
    let (code, _) = bad(dir, Some("wrong horse battery"), &["sheet"]);
    assert_eq!(code, Some(3));
    let file = dir.join("sheet.txt");
    let file_arg = file.to_str().expect("text");
    let said = good(dir, &["sheet", "--output", file_arg]);
    assert!(said.contains("Print it") && !said.contains("eyJ"), "{said}");
    let text = fs::read_to_string(&file).expect("written");
    assert!(text.contains("MiID recovery sheet") && text.contains("eyJ"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    }
    let (code, said) = bad(dir, Some(PASSPHRASE), &["sheet", "--output", file_arg]);
    assert!(code == Some(2) && said.contains("already"), "{said}");
}

#[test]
fn an_identity_is_retired_from_paper_without_any_wallet_and_from_a_wallet_only_by_its_name() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    // A port that nothing answers at: how far it gets is told by how it fails.
    good(dir, &["init", "--name", "Alice", "--gateway", "http://127.0.0.1:1"]);
    let sheet = good(dir, &["sheet"]);
    let nowhere = tempfile::tempdir().expect("temporary folder");
    let sent = told(nowhere.path(), &["retire", "--statement-file", "-"], &sheet);
    assert_eq!(sent.status.code(), Some(4), "{}", String::from_utf8_lossy(&sent.stderr));
    assert!(!nowhere.path().join("wallet").exists());
    let none = told(nowhere.path(), &["retire", "--statement-file", "-"], "nothing of the kind a.b.c");
    assert_eq!(none.status.code(), Some(2));
    let other = told(
        nowhere.path(),
        &["--gateway", "https://id.example.com", "retire", "--statement-file", "-"],
        &sheet,
    );
    assert_eq!(other.status.code(), Some(2));
    let without = told(nowhere.path(), &["retire", "--words"], "");
    assert_eq!(without.status.code(), Some(2));

    for input in ["", "y\n", "alice\n"] {
        let refused = told(dir, &["retire"], input);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("nothing was ended"), "{said}");
    }
    assert_eq!(told(dir, &["retire"], "Alice\n").status.code(), Some(4));
    assert_eq!(bad(dir, Some(PASSPHRASE), &["retire", "--confirm", "Bob"]).0, Some(2));
}

#[test]
fn a_link_of_a_gateway_that_nobody_is_enrolled_with_is_refused_and_nothing_is_sent() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    good(dir, &["init", "--name", "Alice", "--gateway", "http://127.0.0.1:1"]);
    let secret = miid_protocol::secret::Secret::<miid_protocol::secret::LinkSecret>::from_bytes([7; 32]);
    let link = |issuer: &str| {
        format!("miid://challenge/0198e0a0-0000-7000-8000-000000000001?iss={issuer}&s={}", secret.expose())
    };
    let (code, said) = bad(dir, Some(PASSPHRASE), &["open", &link("https://evil.example")]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("https://evil.example") && said.contains("nothing was sent"), "{said}");
    assert!(!said.contains("miid_ls_"), "{said}");
    for bad_link in ["https://shop.example", "miid://settings", &link("http://evil.example"), "-"] {
        let (code, said) = bad(dir, Some(PASSPHRASE), &["open", bad_link]);
        assert!(code == Some(2) && said.contains("not a link"), "{bad_link}: {said}");
    }
    // Asked first, and anything but a yes sends nothing: this gateway would not answer.
    for answer in ["", "\n", "n\n", "1\n"] {
        let left = told(dir, &["open", "-"], &format!("{}\n{answer}", link("http://127.0.0.1:1")));
        assert_eq!(left.status.code(), Some(1), "{}", String::from_utf8_lossy(&left.stderr));
        assert!(String::from_utf8_lossy(&left.stdout).contains("Nothing was sent."));
    }
    let sent = told(dir, &["open", "-"], &format!("{}\ny\n", link("http://127.0.0.1:1")));
    assert_eq!(sent.status.code(), Some(4), "{}", String::from_utf8_lossy(&sent.stderr));
}

#[test]
fn gateways_are_joined_and_left() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    good(dir, &["init", "--name", "Alice", "--gateway", "http://127.0.0.1:1"]);
    good(dir, &["enrol", "https://id.example.com"]);
    let (_, said) = bad(dir, Some(PASSPHRASE), &["sessions"]);
    assert!(said.contains("http://127.0.0.1:1, https://id.example.com"), "{said}");
    good(dir, &["enrol", "--leave", "http://127.0.0.1:1"]);
    for refused in ["http://127.0.0.1:1", "https://id.example.com"] {
        assert_eq!(bad(dir, Some(PASSPHRASE), &["enrol", "--leave", refused]).0, Some(2));
    }
}

#[test]
fn rules_and_mutes_are_kept_and_bounded() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    good(dir, &["init", "--name", "Alice"]);
    assert!(good(dir, &["rules"]).contains("No rules"));
    let add =
        ["rules", "add", "demo-shop", "--kind", "one-click", "--scopes", "profile,email", "--claims", "name"];
    assert!(good(dir, &add).contains("once you have signed in there"));
    let rule = json(dir, &["rules", "list", "--json"])[0].clone();
    assert_eq!((&rule["service_id"], &rule["rule"]["kind"]), (&"demo-shop".into(), &"one_click".into()));
    assert_eq!(rule["rule"]["scopes"], serde_json::json!(["email", "profile"]));
    assert!(good(dir, &["rules"]).contains("approves its links without asking: email, profile, name"));
    let forever = ["rules", "add", "demo-shop", "--kind", "prefill", "--days", "366"];
    assert_eq!(bad(dir, Some(PASSPHRASE), &forever).0, Some(2));
    good(dir, &["rules", "remove", "demo-shop"]);
    assert_eq!(bad(dir, Some(PASSPHRASE), &["rules", "remove", "demo-shop"]).0, Some(2));

    good(dir, &["mute", "demo-shop", "--minutes", "5"]);
    assert_eq!(json(dir, &["mute", "--json"])[0]["service_id"], "demo-shop");
    good(dir, &["unmute", "demo-shop"]);
    assert_eq!(bad(dir, Some(PASSPHRASE), &["unmute", "demo-shop"]).0, Some(2));
    assert_eq!(bad(dir, Some(PASSPHRASE), &["mute", "demo-shop", "--minutes", "0"]).0, Some(2));
    let vault = fs::read_to_string(dir.join("wallet/vault")).expect("text");
    assert!(!vault.contains("demo-shop"));
}

#[test]
fn settings_are_changed_one_by_one_and_say_which_gateway_is_usual() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    good(dir, &["settings", "set", "theme=dark", "lock_after_min=5", "gateway=https://id.example.com"]);
    let settings = json(dir, &["settings", "show", "--json"]);
    assert_eq!((&settings["theme"], &settings["lock_after_min"]), (&"dark".into(), &5.into()));
    for refused in ["theme=pink", "lock_after_min=9999", "text_size=101", "colour=red", "theme"] {
        assert_eq!(bad(dir, None, &["settings", "set", refused]).0, Some(2), "{refused}");
    }
    assert!(good(dir, &["init", "--name", "Alice"]).contains("https://id.example.com"));
    fs::write(dir.join("wallet/settings.json"), "{").expect("written");
    let output = wallet(dir, None, &["settings"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("set aside"));
}

#[test]
fn the_history_is_exported_into_a_new_file() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let dir = dir.path();
    good(dir, &["init", "--name", "Alice"]);
    let document = json(dir, &["history", "--export", "-"]);
    assert_eq!(
        (&document["format"], document["entries"].as_array().map(Vec::len)),
        (&"miid-history".into(), Some(0))
    );
    let file = dir.join("history.json");
    let file_arg = file.to_str().expect("text");
    good(dir, &["history", "--export", file_arg]);
    assert_eq!(bad(dir, None, &["history", "--export", file_arg]).0, Some(2));
    assert_eq!(good(dir, &["history", "--search", "nobody", "--json"]), "[]\n");
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
