use std::fs;

use miid_protocol::{ClientId, Timestamp};

use super::record::MAX_CHOICES;
use super::*;
use crate::clock::tests::Hand;
use crate::entropy::SystemEntropy;
use crate::keychain::KeychainError;
use crate::keychain::tests::Drawer;

const T: i64 = 1_800_000_000_000;
pub(crate) const CHEAP: Cost = Cost { m_kib: 8 * 1024, t: 1, p: 1 };

pub(crate) fn gateway() -> Issuer {
    Issuer::parse("http://127.0.0.1:14000").expect("issuer")
}

pub(crate) fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.into())
}

pub(crate) fn create(dir: &Path) -> Vault {
    let phrase = passphrase("correct horse");
    Vault::create(dir, &Opener::Passphrase(&phrase), CHEAP, Hand::at(T), Arc::new(SystemEntropy))
        .expect("made")
}

fn open(dir: &Path, text: &str) -> Result<Vault, VaultError> {
    let phrase = passphrase(text);
    Vault::open(dir, &Opener::Passphrase(&phrase), Hand::at(T), Arc::new(SystemEntropy))
}

fn entries(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("listed").map(|e| e.expect("entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_was_kept_comes_back_and_only_with_the_passphrase() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    let alice = vault.add_identity("Alice", &gateway()).expect("added");
    let bob = vault.add_identity("밥", &gateway()).expect("added");
    vault
        .update("Alice", |record| {
            record.profile.set("name", "Alice Kim").expect("set");
            Ok::<_, VaultError>(())
        })
        .expect("updated");
    drop(vault);

    let (sealed_by, outline) = Vault::outline(dir.path(), &*Hand::at(T)).expect("outline");
    assert_eq!((sealed_by, outline), (SealedBy::Passphrase, vec![alice.clone(), bob]));
    let vault = open(dir.path(), "correct horse").expect("opens");
    assert_eq!(*vault.identity("Alice").expect("there").did(), alice.did);
    let name = vault.look("Alice", |record| record.profile.value("name").map(str::to_owned));
    assert_eq!(name.expect("there").as_deref(), Some("Alice Kim"));
    assert!(matches!(open(dir.path(), "wrong horse").err(), Some(VaultError::WrongPassphrase)));
    assert!(matches!(vault.add_identity("Alice", &gateway()), Err(VaultError::NameTaken(_))));
    assert!(matches!(vault.add_identity("a\nb", &gateway()), Err(VaultError::BadName)));
    assert!(matches!(vault.identity("Carol").err(), Some(VaultError::NoSuchIdentity(_))));
}

#[test]
fn neither_key_nor_profile_can_be_read_in_the_file() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    vault.add_identity("Alice", &gateway()).expect("added");
    vault
        .update("Alice", |record| {
            record.profile.set("email", "alice@example.com").map_err(|_| VaultError::Full)
        })
        .expect("updated");
    let seed = jws::encode(&*vault.identity("Alice").expect("there").seed());
    let text = fs::read_to_string(dir.path().join(FILE)).expect("text");
    assert!(!text.contains(&seed) && !text.contains("alice@example.com"));
    let decoded = jws::decode(text.lines().nth(1).expect("second line")).expect("base64url");
    assert!(!String::from_utf8_lossy(&decoded).contains("alice@example.com"));
}

#[cfg(unix)]
#[test]
fn the_file_is_0600_in_a_folder_of_0700() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().expect("temporary folder");
    let dir = parent.path().join("wallet");
    create(&dir);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join(FILE)), mode(&dir.join("lock"))), (0o700, 0o600, 0o600));
}

#[test]
fn a_damaged_vault_is_set_aside_and_never_written_over() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join(FILE);
    create(dir.path()).add_identity("Alice", &gateway()).expect("added");
    let whole = fs::read(&path).expect("read");
    let flipped = {
        let mut bytes = whole.clone();
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        bytes
    };
    for bad in [flipped, whole[..whole.len() - 10].to_vec(), b"".to_vec(), vec![0xff; 100]] {
        fs::write(&path, &bad).expect("written");
        match open(dir.path(), "correct horse").err() {
            Some(VaultError::Damaged { aside, .. }) => assert_eq!(fs::read(aside).expect("kept"), bad),
            other => panic!("expected damage, got {other:?}"),
        }
        assert!(matches!(open(dir.path(), "correct horse").err(), Some(VaultError::NotFound { .. })));
    }
    // A new one can be made, and the damaged ones stay.
    create(dir.path());
    assert_eq!(entries(dir.path()).iter().filter(|name| name.contains("damaged")).count(), 4);
}

#[test]
fn somebody_who_changes_the_header_and_mends_the_checksum_does_not_get_in() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join(FILE);
    create(dir.path()).add_identity("Alice", &gateway()).expect("added");
    let text = fs::read_to_string(&path).expect("text").replace("\"Alice\"", "\"Mallory\"");
    let body = text.rsplitn(3, '\n').nth(2).expect("three lines").to_owned() + "\n";
    fs::write(&path, format!("{body}{}\n", jws::digest(body.as_bytes()))).expect("written");
    assert!(matches!(open(dir.path(), "correct horse").err(), Some(VaultError::WrongPassphrase)));
}

#[test]
fn a_newer_vault_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join(FILE);
    create(dir.path());
    let text = fs::read_to_string(&path).expect("text").replace("\"version\":1", "\"version\":2");
    fs::write(&path, &text).expect("written");
    let error = open(dir.path(), "correct horse").err();
    assert!(matches!(error, Some(VaultError::Newer { found: 2, known: 1 })));
    assert_eq!(fs::read_to_string(&path).expect("text"), text);
}

#[test]
fn a_vault_is_not_made_over_another_and_needs_a_passphrase() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let make = |text: &str| {
        let phrase = passphrase(text);
        let opener = Opener::Passphrase(&phrase);
        Vault::create(dir.path(), &opener, CHEAP, Hand::at(T), Arc::new(SystemEntropy)).map(|_| ())
    };
    assert!(matches!(make("short"), Err(VaultError::PassphraseTooShort)));
    assert!(make("long enough").is_ok());
    assert!(matches!(make("long enough"), Err(VaultError::Exists { .. })));
}

#[test]
fn the_keychains_key_opens_it_and_a_passphrase_does_not() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let drawer = Drawer::default();
    let entropy = || Arc::new(SystemEntropy);
    let vault = Vault::create(dir.path(), &Opener::Keychain(&drawer), CHEAP, Hand::at(T), entropy());
    vault.expect("made").add_identity("Alice", &gateway()).expect("added");
    assert!(Vault::open(dir.path(), &Opener::Keychain(&drawer), Hand::at(T), entropy()).is_ok());
    assert!(matches!(open(dir.path(), "correct horse").err(), Some(VaultError::OtherLid(_))));
    for key in drawer.keys.lock().expect("lock").values_mut() {
        *key = [7; 32];
    }
    let other = Vault::open(dir.path(), &Opener::Keychain(&drawer), Hand::at(T), entropy());
    assert!(matches!(other.err(), Some(VaultError::WrongKey)));
    drawer.keys.lock().expect("lock").clear();
    let missing = Vault::open(dir.path(), &Opener::Keychain(&drawer), Hand::at(T), entropy());
    assert!(matches!(missing.err(), Some(VaultError::Keychain(KeychainError::Missing))));
}

#[test]
fn two_programs_change_one_vault_and_neither_change_is_lost() {
    let dir = tempfile::tempdir().expect("temporary folder");
    create(dir.path()).add_identity("Alice", &gateway()).expect("added");
    std::thread::scope(|scope| {
        for who in 0..4 {
            let dir = dir.path();
            scope.spawn(move || {
                let vault = open(dir, "correct horse").expect("opens");
                for i in 0..8 {
                    vault
                        .update("Alice", |record| {
                            record.profile.set(&format!("f_{who}_{i}"), "x").map_err(|_| VaultError::Full)
                        })
                        .expect("updated");
                }
            });
        }
    });
    let vault = open(dir.path(), "correct horse").expect("opens");
    assert_eq!(vault.look("Alice", |record| record.profile.iter().count()).expect("there"), 32);
}

#[test]
fn choices_are_remembered_per_service_and_bounded() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    vault.add_identity("Alice", &gateway()).expect("added");
    let service = |i: usize| ClientId::parse(&format!("shop-{i}")).expect("client id");
    let kept = vault.update("Alice", |record| {
        for i in 0..=MAX_CHOICES {
            let at = Timestamp::from_millis(T + i64::try_from(i).expect("small"));
            record.remember(&gateway(), &service(i), Choice { shared: ["name".to_owned()].into(), at });
        }
        let there = |i| record.choice(&gateway(), &service(i)).is_some();
        Ok::<_, VaultError>((there(0), there(1), there(MAX_CHOICES)))
    });
    assert_eq!(kept.expect("updated"), (false, true, true));
}
