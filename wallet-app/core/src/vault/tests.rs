use std::fs;

use miid_protocol::{ClientId, Issuer, Timestamp};

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
    let sheet = vault.recovery_sheet("Alice").expect("sheet");
    let seed = jws::encode(&*sheet.words.seed());
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
        assert!(matches!(open(dir.path(), "correct horse").err(), Some(VaultError::WasDamaged { .. })));
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
    let text = fs::read_to_string(&path).expect("text").replace("\"version\":2", "\"version\":3");
    fs::write(&path, &text).expect("written");
    let error = open(dir.path(), "correct horse").err();
    assert!(matches!(error, Some(VaultError::Newer { found: 3, known: 2 })));
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
            record.services.remember(
                &gateway(),
                &service(i),
                Choice { shared: ["name".to_owned()].into(), at },
            );
        }
        let there = |i| record.services.choice(&gateway(), &service(i)).is_some();
        Ok::<_, VaultError>((there(0), there(1), there(MAX_CHOICES)))
    });
    assert_eq!(kept.expect("updated"), (false, true, true));
}

/// Made by the program that wrote version 1, and never since.
const VERSION_1: &str = include_str!("../../tests/fixtures/vault-v1/vault");

#[test]
fn a_vault_of_version_1_opens_with_its_passphrase_and_nothing_of_it_is_lost() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join(FILE);
    fs::write(&path, VERSION_1).expect("written");
    assert!(matches!(open(dir.path(), "wrong horse").err(), Some(VaultError::WrongPassphrase)));
    let vault = open(dir.path(), "correct horse").expect("opens");
    // Opened and looked at, it is still the file that it was.
    let elsewhere = Issuer::parse("https://id.example.com").expect("issuer");
    let shop = ClientId::parse("demo-shop").expect("id");
    let check = |vault: &Vault| {
        let names: Vec<_> = vault.identities().expect("read").into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["Alice", "밥"]);
        let did = vault.identity("Alice").expect("there").did().to_string();
        assert_eq!(did, "did:key:z6Mkv4sv6Rd323GunXCMubcJrDJXMsD4Cb8yNCEBLXm3ZWQB");
        let look = vault.look("Alice", |record| {
            let fields: Vec<_> =
                record.profile.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(fields, ["name=Alice Kim", "email=alice@example.com", "shoe_size=38"]);
            let issuers: Vec<_> = record.gateways.iter().map(|one| one.issuer.clone()).collect();
            assert_eq!(issuers, [gateway(), elsewhere.clone()]);
            assert_eq!(record.gateways[0].handle.as_ref().map(|handle| handle.as_str()), Some("alice"));
            assert_eq!((record.gateways[0].retired_at, record.retired_at()), (None, None));
            let choice = record.services.choice(&gateway(), &shop).expect("remembered");
            assert_eq!((choice.shared.len(), choice.at), (1, Timestamp::from_millis(T)));
            // What it did not keep is not made up: a rule has to wait for the next sign-in.
            assert!(!record.services.has_signed_in(&gateway(), &shop));
            assert_eq!(record.services.rules_at(&gateway()), []);
        });
        look.expect("there");
    };
    check(&vault);
    assert_eq!(fs::read_to_string(&path).expect("text"), VERSION_1);
    vault.update("밥", |record| record.enrol(&gateway())).expect("changed");
    assert!(fs::read_to_string(&path).expect("text").contains("\"version\":2"));
    check(&vault);
    check(&open(dir.path(), "correct horse").expect("opens"));
}

#[test]
fn a_locked_vault_has_no_key_and_gives_nothing() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    vault.add_identity("Alice", &gateway()).expect("added");
    vault.verify(&passphrase("correct horse")).expect("the passphrase");
    assert!(matches!(vault.verify(&passphrase("wrong horse")), Err(VaultError::WrongPassphrase)));
    let before = fs::read(dir.path().join(FILE)).expect("read");
    vault.lock();
    assert!(vault.is_locked() && vault.key().is_none());
    assert!(matches!(vault.identities(), Err(VaultError::Locked)));
    assert!(matches!(vault.identity("Alice").err(), Some(VaultError::Locked)));
    assert!(matches!(vault.recovery_sheet("Alice").err(), Some(VaultError::Locked)));
    assert!(matches!(vault.look("Alice", |_| ()), Err(VaultError::Locked)));
    assert!(matches!(vault.add_identity("Bob", &gateway()), Err(VaultError::Locked)));
    assert!(matches!(vault.enrol("Alice", &gateway()), Err(VaultError::Locked)));
    assert!(matches!(vault.remove_identity("Alice"), Err(VaultError::Locked)));
    assert!(matches!(vault.verify(&passphrase("correct horse")), Err(VaultError::Locked)));
    assert_eq!(fs::read(dir.path().join(FILE)).expect("read"), before);
    assert!(open(dir.path(), "correct horse").is_ok());
}

#[test]
fn the_words_of_a_sheet_bring_back_the_same_identity() {
    let (one, two) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let vault = create(one.path());
    let alice = vault.add_identity("Alice", &gateway()).expect("added");
    let elsewhere = Issuer::parse("https://id.example.com").expect("issuer");
    vault.enrol("Alice", &elsewhere).expect("enrolled");
    let sheet = vault.recovery_sheet("Alice").expect("sheet");
    assert_eq!((&sheet.did, &sheet.gateways), (&alice.did, &vec![gateway(), elsewhere]));
    let gateways: Vec<_> = sheet.retire.iter().map(|one| one.gateway.clone()).collect();
    assert_eq!(gateways, sheet.gateways);
    for one in &sheet.retire {
        let read = crate::recovery::RetireStatement::parse(&one.statement).expect("a retirement");
        assert_eq!((read.did, &read.gateway), (alice.did.clone(), &one.gateway));
    }
    let other = create(two.path());
    let back = other.restore_identity("Me again", &sheet.words, &gateway()).expect("restored");
    assert_eq!(back, Outline { name: "Me again".into(), did: alice.did });
    let twice = other.restore_identity("Twice", &sheet.words, &gateway());
    assert!(matches!(twice, Err(VaultError::SameKey(name)) if name == "Me again"));
}

#[test]
fn an_identity_is_removed_and_takes_its_key_along() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    vault.add_identity("Alice", &gateway()).expect("added");
    let bob = vault.add_identity("Bob", &gateway()).expect("added");
    vault.remove_identity("Alice").expect("removed");
    assert!(matches!(vault.remove_identity("Alice"), Err(VaultError::NoSuchIdentity(_))));
    assert_eq!(open(dir.path(), "correct horse").expect("opens").identities().expect("read"), [bob]);
}

#[test]
fn leaving_a_gateway_forgets_its_services_and_the_last_one_stays() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    vault.add_identity("Alice", &gateway()).expect("added");
    // One name begins with the other.
    let longer = Issuer::parse("http://127.0.0.1:14000".replace("14000", "14001").as_str()).expect("issuer");
    let shop = ClientId::parse("demo-shop").expect("id");
    vault.enrol("Alice", &longer).expect("enrolled");
    vault.enrol("Alice", &longer).expect("enrolled, and again nothing happens");
    let now = Timestamp::from_millis(T);
    vault
        .update("Alice", |record| {
            for issuer in [gateway(), longer.clone()] {
                record.services.signed_in(&issuer, &shop, now);
                let mute =
                    crate::rules::Mute { service_name: "Demo".into(), until: Timestamp::from_millis(T + 1) };
                record.services.mute(&issuer, &shop, mute, now).expect("muted");
            }
            Ok::<_, VaultError>(())
        })
        .expect("updated");
    vault.unenrol("Alice", &longer).expect("left");
    assert!(matches!(vault.unenrol("Alice", &longer), Err(VaultError::NotEnrolled(_))));
    assert!(matches!(vault.unenrol("Alice", &gateway()), Err(VaultError::LastGateway)));
    let kept = vault.look("Alice", |record| {
        let services = &record.services;
        assert_eq!(record.gateways.len(), 1);
        assert!(!services.has_signed_in(&longer, &shop) && services.mutes_at(&longer, now).is_empty());
        (services.has_signed_in(&gateway(), &shop), services.mutes_at(&gateway(), now).len())
    });
    assert_eq!(kept.expect("there"), (true, 1));
    let many = vault.update("Alice", |record| {
        for port in 1..=40 {
            record.enrol(&Issuer::parse(&format!("http://127.0.0.1:{port}")).expect("issuer"))?;
        }
        Ok::<_, VaultError>(())
    });
    assert!(matches!(many, Err(VaultError::TooManyGateways)));
}

#[test]
fn an_identity_is_over_when_its_last_gateway_says_so_and_not_before() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = Arc::new(create(dir.path()));
    vault.add_identity("Alice", &gateway()).expect("added");
    let elsewhere = Issuer::parse("https://id.example.com").expect("issuer");
    vault.enrol("Alice", &elsewhere).expect("enrolled");
    let memory = crate::memory::VaultMemory::new(vault.clone(), "Alice");
    let retired = |issuer: &Issuer, ms| {
        crate::memory::Memory::retired(&memory, issuer, Timestamp::from_millis(ms)).expect("kept");
        vault.look("Alice", Record::retired_at).expect("there").map(Timestamp::millis)
    };
    assert_eq!(retired(&gateway(), T), None);
    assert_eq!(retired(&elsewhere, T + 5), Some(T + 5));
    // Said again it stays as it was.
    assert_eq!(retired(&elsewhere, T + 9), Some(T + 5));
}

#[test]
fn what_is_kept_about_services_is_bounded() {
    let mut services = Services::default();
    let service = |i: usize| ClientId::parse(&format!("shop-{i}")).expect("client id");
    let at = |i: usize| Timestamp::from_millis(T + i64::try_from(i).expect("small"));
    for i in 0..=MAX_KNOWN {
        services.signed_in(&gateway(), &service(i), at(i));
    }
    let known = |i| services.has_signed_in(&gateway(), &service(i));
    assert_eq!((known(0), known(1), known(MAX_KNOWN)), (false, true, true));
    let rule = crate::rules::NewRule {
        kind: crate::rules::Kind::OneClick,
        service_name: "Shop".into(),
        scopes: Default::default(),
        claims: Default::default(),
        withheld: Default::default(),
        days: 1,
    };
    let rule = rule.made(at(0)).expect("a rule");
    for i in 0..MAX_RULES {
        services.set_rule(&gateway(), &service(i), rule.clone()).expect("kept");
    }
    let full = Err(crate::rules::RuleError::TooMany);
    assert_eq!(services.set_rule(&gateway(), &service(MAX_RULES), rule.clone()), full);
    assert_eq!(services.set_rule(&gateway(), &service(0), rule), Ok(()));
    let mute = |until| crate::rules::Mute { service_name: "Shop".into(), until };
    for i in 0..MAX_MUTES {
        services.mute(&gateway(), &service(i), mute(at(10)), at(0)).expect("kept");
    }
    assert_eq!(services.mute(&gateway(), &service(MAX_MUTES), mute(at(20)), at(0)), full);
    // Those whose time is over make room.
    assert_eq!(services.mute(&gateway(), &service(MAX_MUTES), mute(at(20)), at(10)), Ok(()));
    assert_eq!(services.mutes_at(&gateway(), at(10)).len(), 1);
}

#[test]
fn rules_cannot_be_read_in_the_file() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let vault = create(dir.path());
    vault.add_identity("Alice", &gateway()).expect("added");
    let shop = ClientId::parse("demo-shop").expect("id");
    vault
        .update("Alice", |record| {
            record.services.signed_in(&gateway(), &shop, Timestamp::from_millis(T));
            Ok::<_, VaultError>(())
        })
        .expect("updated");
    for name in entries(dir.path()) {
        let bytes = fs::read(dir.path().join(name)).expect("read");
        assert!(!String::from_utf8_lossy(&bytes).contains("demo-shop"));
    }
}

#[test]
fn a_good_vault_that_is_put_back_while_a_damaged_one_is_read_stays() {
    let dir = tempfile::tempdir().expect("temporary folder");
    drop(create(dir.path()));
    let path = dir.path().join(FILE);
    let good = fs::read(&path).expect("read");
    fs::write(&path, &good[..good.len() / 2]).expect("damaged");
    let lock = Lock::take(dir.path()).expect("locked");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| Vault::outline(dir.path(), &*Hand::at(T)));
        // It has seen the damage and waits for the lock, or has not begun: both must end well.
        std::thread::yield_now();
        files::replace(&path, &good).expect("put back");
        drop(lock);
        assert!(reader.join().expect("joined").is_ok());
    });
    assert_eq!(fs::read(&path).expect("there"), good);
    assert!(!entries(dir.path()).iter().any(|name| name.contains("damaged")));
}

#[test]
fn only_the_bytes_that_were_found_damaged_are_set_aside() {
    let dir = tempfile::tempdir().expect("temporary folder");
    drop(create(dir.path()));
    let good = fs::read(dir.path().join(FILE)).expect("read");
    let file = file::read(dir.path(), None, &*Hand::at(T)).expect("whole");
    // Another was put in its place meanwhile.
    let vault = open(dir.path(), "correct horse").expect("opens");
    vault.add_identity("Alice", &gateway()).expect("added");
    let now = fs::read(dir.path().join(FILE)).expect("read");
    assert_ne!(good, now);
    let error = file::damaged(dir.path(), None, "a test", &file, &*Hand::at(T));
    assert!(matches!(error, VaultError::File(_)), "{error:?}");
    assert_eq!(fs::read(dir.path().join(FILE)).expect("there"), now);
    let file = file::read(dir.path(), None, &*Hand::at(T)).expect("whole");
    let lock = Lock::take(dir.path()).expect("locked");
    let error = file::damaged(dir.path(), Some(&lock), "a test", &file, &*Hand::at(T));
    assert!(matches!(error, VaultError::Damaged { .. }), "{error:?}");
}
