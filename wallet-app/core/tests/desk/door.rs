//! Made, opened, locked; and files that are not what they should be.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use miid_protocol::Timestamp;
use miid_wallet::desk::view::{Lid, Stage};
use miid_wallet::desk::{Call, Code, NewIdentity};
use miid_wallet::settings::SettingsChange;
use serde_json::json;

use crate::play::{Drawer, Gateway, Runs, Stand, event, new, open_from_outside, session, typed};
use crate::support::requests::{created, id, listed};
use crate::support::{MINUTE, T};

#[tokio::test]
async fn the_first_run_makes_a_vault_and_an_identity_and_hears_its_gateway() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::new().await;
    assert_eq!(stand.desk.view().stage, Stage::FirstRun);
    let me = stand.create(" Me ", &gateway).await;
    assert_eq!(me.name, "Me");
    assert!(me.did.starts_with("did:key:z6Mk"));
    let view = stand.connected(1).await;
    assert_eq!((view.stage, view.sealed_by), (Stage::Open, Some(Lid::Passphrase)));
    assert_eq!(view.identities[0].gateways[0].issuer, gateway.issuer().as_str());
}

#[tokio::test]
async fn nothing_is_made_where_something_is_wrong_with_what_was_typed() {
    let gateway = Gateway::start().await;
    let stand = Stand::new().await;
    let good = || new("Me", gateway.issuer());
    for (wrong, code) in [
        (NewIdentity { name: "  ".into(), ..good() }, Code::BadName),
        (NewIdentity { name: "did:me".into(), ..good() }, Code::BadName),
        (NewIdentity { gateway: "http://example.com".into(), ..good() }, Code::BadGateway),
        (NewIdentity { passphrase: Some("short".into()), ..good() }, Code::PassphraseTooShort),
        (NewIdentity { passphrase: None, ..good() }, Code::PassphraseTooShort),
        (NewIdentity { passphrase: None, keychain: true, ..good() }, Code::KeychainUnavailable),
        (NewIdentity { words: Some("abandon ability".into()), ..good() }, Code::WrongWords),
    ] {
        let fault = stand.desk.create_identity(wrong).await.expect_err("wrong");
        assert_eq!(fault.code(), code);
        assert!(!stand.dir.join("vault").exists(), "{code:?} left a vault behind");
    }
    assert_eq!(stand.desk.view().stage, Stage::FirstRun);
}

#[tokio::test]
async fn a_first_identity_that_fails_halfway_leaves_no_vault_and_no_key_and_can_be_tried_again() {
    let gateway = Gateway::start().await;
    let mut failed = 0;
    // Wherever it fails: for the key, the identity, or the seal around both.
    for times in 0.. {
        let home = Arc::new(tempfile::tempdir().expect("temporary folder"));
        let runs = Arc::new(Runs(AtomicI64::new(times)));
        let dir = home.path().join("wallet");
        let keychain = Arc::new(Drawer::there());
        let stand = Stand::open_by(&dir, keychain.clone(), Some(home), runs.clone()).await;
        let by_keychain = || NewIdentity { passphrase: None, keychain: true, ..new("Me", gateway.issuer()) };
        if stand.desk.create_identity(by_keychain()).await.is_ok() {
            break;
        }
        failed += 1;
        assert_eq!(keychain.0.as_ref().expect("there").lock().expect("lock").len(), 0, "{times}");
        assert!(!dir.join("vault").exists(), "{times}");
        assert_eq!(stand.desk.view().stage, Stage::FirstRun, "{times}");
        runs.0.store(i64::MAX, Ordering::SeqCst);
        stand.desk.create_identity(by_keychain()).await.expect("made");
        assert_eq!(stand.desk.view().stage, Stage::Open);
    }
    assert!(failed >= 3, "{failed}");
}

#[tokio::test]
async fn a_first_identity_that_cannot_be_written_leaves_nothing_and_can_be_tried_again() {
    let gateway = Gateway::start().await;
    let stand = Stand::with(Drawer::there()).await;
    // Where the new file is to be written lies something else.
    let in_the_way = stand.dir.join("vault.new/x");
    fs::create_dir_all(&in_the_way).expect("made");
    let by_keychain = || NewIdentity { passphrase: None, keychain: true, ..new("Me", gateway.issuer()) };
    let fault = stand.desk.create_identity(by_keychain()).await.expect_err("no file");
    assert_eq!(fault.code(), Code::Disk);
    assert_eq!(stand.keychain.0.as_ref().expect("there").lock().expect("lock").len(), 0);
    fs::remove_dir_all(stand.dir.join("vault.new")).expect("removed");
    stand.desk.create_identity(by_keychain()).await.expect("made");
}

#[tokio::test]
async fn a_double_click_makes_one_identity() {
    let gateway = Gateway::start().await;
    let stand = Stand::new().await;
    let (first, second) = tokio::join!(
        stand.desk.create_identity(new("Me", gateway.issuer())),
        stand.desk.create_identity(new("Me", gateway.issuer())),
    );
    let failed = first.as_ref().err().or(second.as_ref().err()).expect("one of them fails");
    assert_eq!(failed.code(), Code::NameTaken);
    assert!(first.is_ok() != second.is_ok());
    assert_eq!(stand.desk.view().identities.len(), 1);
}

#[tokio::test]
async fn a_wrong_passphrase_opens_nothing_and_the_right_one_does() {
    let gateway = Gateway::start().await;
    let first = Stand::at(&gateway).await;
    let mut stand = first.again().await;
    let view = stand.desk.view();
    assert_eq!((view.stage, view.sealed_by), (Stage::Locked, Some(Lid::Passphrase)));
    for wrong in [Some("wrong horse".to_owned()), None] {
        let fault = stand.desk.unlock(wrong.clone()).await.expect_err("wrong");
        let expected = if wrong.is_some() { Code::WrongPassphrase } else { Code::Internal };
        assert_eq!(fault.code(), expected);
        assert_eq!(stand.desk.view().stage, Stage::Locked);
    }
    stand.desk.unlock(typed()).await.expect("opened");
    stand.connected(1).await;
    stand.desk.unlock(Some("anything".into())).await.expect("it is open already");
}

#[tokio::test]
async fn a_keychain_opens_its_vault_by_itself() {
    let gateway = Gateway::start().await;
    let mut first = Stand::with(Drawer::there()).await;
    first.until(|view| view.keychain).await;
    let by_keychain = NewIdentity { passphrase: None, keychain: true, ..new("Me", gateway.issuer()) };
    first.desk.create_identity(by_keychain).await.expect("made");
    let mut stand = first.again().await;
    let view = stand.connected(1).await;
    assert_eq!((view.stage, view.sealed_by), (Stage::Open, Some(Lid::Keychain)));
    // Locked by hand it stays locked, until it is opened by hand.
    stand.desk.lock();
    stand.stage(Stage::Locked).await;
    stand.desk.unlock(None).await.expect("opened");
    stand.connected(1).await;
}

#[tokio::test]
async fn a_keychain_that_lost_the_key_leaves_the_wallet_locked_and_says_why() {
    let gateway = Gateway::start().await;
    let first = Stand::with(Drawer::there()).await;
    let by_keychain = NewIdentity { passphrase: None, keychain: true, ..new("Me", gateway.issuer()) };
    first.desk.create_identity(by_keychain).await.expect("made");
    let stand = Stand::open(&first.dir, Drawer::default().into(), None).await;
    assert_eq!(stand.desk.view().stage, Stage::Locked);
    let fault = stand.desk.unlock(None).await.expect_err("no keychain");
    assert_eq!(fault.code(), Code::KeychainUnavailable);
}

#[tokio::test]
async fn a_locked_wallet_shows_names_and_a_number_and_nothing_else() {
    let gateway = Gateway::start().await;
    gateway.model().listed.push(listed(1, "pending"));
    gateway.model().sessions.push(session(1));
    let mut stand = Stand::at(&gateway).await;
    stand.until(|view| view.requests.len() == 1 && view.sessions.len() == 1).await;
    let did = stand.desk.view().identities[0].did.clone();
    stand.desk.lock();
    // What waits when it is locked is not forgotten, and how much that is may be said.
    let view = stand.stage(Stage::Locked).await;
    assert_eq!(view.unseen, 1);
    gateway.say(&created(2, 5));
    let view = stand.until(|view| view.unseen == 2).await;
    let text = serde_json::to_string(&view).expect("json");
    assert!(text.contains("\"Me\"") && text.contains(&did));
    for secret in
        ["Demo Shop", "demo-shop", gateway.issuer().authority(), &id(1).to_string(), &id(2).to_string()]
    {
        assert!(!text.replace(&view.default_gateway, "").contains(secret), "{secret}");
    }
    // What came is there on unlock.
    gateway.model().listed.push(listed(2, "pending"));
    stand.desk.unlock(typed()).await.expect("opened");
    let view = stand.until(|view| view.requests.len() == 2).await;
    assert_eq!(view.unseen, 0);
}

#[tokio::test]
async fn commands_of_a_locked_wallet_are_refused() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    let wallet = stand.wallet();
    stand.desk.lock();
    let desk = &stand.desk;
    let challenge = id(1).to_string();
    let faults = [
        desk.proposal(&wallet, &challenge).await.err(),
        desk.approve(&wallet, &challenge, crate::play::yes()).await.err(),
        desk.cancel(&wallet, &challenge).await.err(),
        desk.open_return(&wallet, &challenge).await.err(),
        desk.end_session(&wallet, &challenge).await.err(),
        desk.end_all_sessions().await.err(),
        desk.set_handle(&wallet, Some("alice")).await.err(),
        desk.profile("Me").await.err(),
        desk.recovery_sheet("Me", typed()).await.err(),
        desk.save_sheet("Me", typed(), None).await.err(),
        desk.retire("Me", typed(), "Me").await.err(),
        desk.remove_identity("Me", typed(), "Me").await.err(),
        desk.unmute(&wallet, "demo-shop").await.err(),
        desk.remove_rule(&wallet, "demo-shop").await.err(),
        desk.export_history(None).await.err(),
        desk.refresh().await.err(),
        desk.create_identity(new("Other", gateway.issuer())).await.err(),
        desk.continue_link("link-1", "Me").await.err(),
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        assert_eq!(fault.map(|fault| fault.code()), Some(Code::Locked), "command {n}");
    }
}

#[tokio::test]
async fn locking_wins_over_an_unlocking_that_is_under_way() {
    let gateway = Gateway::start().await;
    let first = Stand::at(&gateway).await;
    let stand = first.again().await;
    // The passphrase is being checked when the other comes.
    let (unlocked, ()) = tokio::join!(stand.desk.unlock(typed()), async { stand.desk.lock() });
    assert_eq!(unlocked.expect_err("locked").code(), Code::Locked);
    assert_eq!(stand.desk.view().stage, Stage::Locked);
    stand.desk.unlock(typed()).await.expect("opened");
}

#[tokio::test]
async fn it_locks_when_nobody_was_there_for_a_while_and_not_before() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    let after_ten = SettingsChange { lock_after_min: Some(10), ..SettingsChange::default() };
    stand.desk.set_settings(after_ten).await.expect("set");
    stand.pass(9 * MINUTE);
    stand.desk.touch();
    stand.pass(9 * MINUTE);
    // A turn of the watch has gone by: a vault written from outside is noticed in the same one.
    write_from_outside(&stand, "Second");
    stand.until(|view| view.identities.len() == 2).await;
    assert_eq!(stand.desk.view().stage, Stage::Open);
    stand.pass(MINUTE);
    stand.stage(Stage::Locked).await;
}

#[tokio::test]
async fn nobody_who_comes_after_a_sleep_finds_it_open() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    let after_ten = SettingsChange { lock_after_min: Some(10), ..SettingsChange::default() };
    stand.desk.set_settings(after_ten).await.expect("set");
    // The computer slept, and its watch is not heard first: none of these is done for whoever is there now.
    let late: [fn(&Stand); 2] = [
        |stand| stand.desk.touch(),
        |stand| {
            let link = crate::support::requests::link(
                9,
                &miid_protocol::Issuer::parse("https://id.example").expect("issuer"),
            );
            let _ = stand.desk.open_link(&link.to_text());
        },
    ];
    for come in late {
        stand.pass(11 * MINUTE);
        come(&stand);
        assert_eq!(stand.desk.view().stage, Stage::Locked);
        stand.desk.unlock(typed()).await.expect("opened");
        assert_eq!(stand.desk.view().stage, Stage::Open);
    }
    stand.pass(11 * MINUTE);
    assert_eq!(
        stand.desk.recovery_sheet("Me", typed()).await.err().map(|fault| fault.code()),
        Some(Code::Locked)
    );
}

#[tokio::test]
async fn links_and_requests_do_not_hold_the_lock_off() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    let after_ten = SettingsChange { lock_after_min: Some(10), ..SettingsChange::default() };
    stand.desk.set_settings(after_ten).await.expect("set");
    for n in 1..=3 {
        stand.pass(3 * MINUTE);
        let _ = stand.desk.open_link(&crate::support::requests::link(n, gateway.issuer()).to_text());
        let _ = stand.desk.proposal(&stand.wallet(), &id(n).to_string()).await;
        assert_eq!(stand.desk.view().stage, Stage::Open);
    }
    stand.pass(MINUTE);
    stand.stage(Stage::Locked).await;
}

#[tokio::test]
async fn with_zero_minutes_it_never_locks_by_itself() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    let never = SettingsChange { lock_after_min: Some(0), ..SettingsChange::default() };
    stand.desk.set_settings(never).await.expect("set");
    stand.pass(1_000_000 * MINUTE);
    write_from_outside(&stand, "Second");
    let view = stand.until(|view| view.identities.len() == 2).await;
    assert_eq!(view.stage, Stage::Open);
}

#[tokio::test]
async fn a_damaged_vault_is_set_aside_and_said_and_a_new_one_can_be_made() {
    let gateway = Gateway::start().await;
    let first = Stand::at(&gateway).await;
    let path = first.dir.join("vault");
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    first.desk.clone().close().await;
    fs::write(&path, &bytes).expect("damaged");
    let mut stand = first.again().await;
    let view = stand.desk.view();
    assert_eq!(view.stage, Stage::Damaged);
    let fault = view.fault.expect("said");
    assert_eq!(fault.code, Code::VaultDamaged);
    assert!(fault.message.contains("vault.damaged-"), "{}", fault.message);
    assert!(!path.exists());
    let aside = fs::read_dir(&stand.dir).expect("read").filter_map(Result::ok);
    let aside = aside.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("damaged-"));
    let aside = aside.expect("set aside");
    assert_eq!(fs::read(&aside).expect("read"), bytes);
    assert_eq!(fault.path, Some(aside.display().to_string()));
    // That the file is gone now is not a first run: what happened stays on the screen.
    stand.desk.set_tray(false);
    let view = stand.until(|view| !view.tray).await;
    assert_eq!(view.stage, Stage::Damaged);
    // Nor is it after a restart: nobody is told that they never had an identity.
    stand.desk.clone().close().await;
    let mut stand = first.again().await;
    let view = stand.desk.view();
    assert_eq!(view.stage, Stage::Damaged);
    let fault = view.fault.expect("said");
    assert_eq!((fault.code, fault.path), (Code::VaultDamaged, Some(aside.display().to_string())));
    // Whoever goes on has a vault, and that is the end of it.
    stand.create("Me again", &gateway).await;
    assert_eq!(stand.connected(1).await.stage, Stage::Open);
    stand.desk.clone().close().await;
    assert_eq!(first.again().await.desk.view().stage, Stage::Locked);
    assert_eq!(fs::read(&aside).expect("read"), bytes);
}

#[tokio::test]
async fn a_newer_vault_is_left_alone() {
    let gateway = Gateway::start().await;
    let stand = Stand::new().await;
    fs::create_dir_all(&stand.dir).expect("a folder");
    let text = "{\"format\":\"miid-vault\",\"version\":99}\nx\ny\n";
    fs::write(stand.dir.join("vault"), text).expect("written");
    let stand = stand.again().await;
    let view = stand.desk.view();
    assert_eq!((view.stage, view.fault.map(|fault| fault.code)), (Stage::Newer, Some(Code::VaultNewer)));
    let fault = stand.desk.create_identity(new("Me", gateway.issuer())).await.expect_err("there is one");
    assert_eq!(fault.code(), Code::VaultExists);
    assert_eq!(stand.desk.unlock(typed()).await.expect_err("newer").code(), Code::VaultNewer);
    assert_eq!(fs::read_to_string(stand.dir.join("vault")).expect("read"), text);
}

#[tokio::test]
async fn what_the_command_line_does_to_the_folder_is_noticed() {
    let gateway = Gateway::start().await;
    let other = Gateway::start().await;
    let mut stand = Stand::new().await;
    // A vault made elsewhere, while the window shows its first run.
    let elsewhere = Stand::open(&stand.dir, Drawer::default().into(), None).await;
    elsewhere.create("Me", &gateway).await;
    stand.stage(Stage::Locked).await;
    stand.desk.unlock(typed()).await.expect("opened");
    stand.connected(1).await;
    elsewhere.create("Work", &other).await;
    let view = stand.connected(2).await;
    let names: Vec<_> = view.identities.iter().map(|identity| identity.name.as_str()).collect();
    assert_eq!(names, ["Me", "Work"]);
    elsewhere.desk.remove_identity("Me", typed(), "Me").await.expect("removed");
    stand.until(|view| view.identities.len() == 1).await;
}

#[tokio::test]
async fn settings_are_kept_and_damaged_ones_are_set_aside_and_said_once() {
    let gateway = Gateway::start().await;
    let first = Stand::at(&gateway).await;
    let dark: SettingsChange = serde_json::from_str(r#"{"theme":"dark","language":"ko"}"#).expect("a change");
    first.desk.set_settings(dark).await.expect("set");
    let stand = first.again().await;
    assert_eq!(stand.desk.view().settings.theme, "dark");
    assert!(stand.desk.first_notice().is_none());
    let wrong = SettingsChange { lock_after_min: Some(1_000_000), ..SettingsChange::default() };
    assert_eq!(stand.desk.set_settings(wrong).await.expect_err("too long").code(), Code::BadValue);
    fs::write(stand.dir.join("settings.json"), "{").expect("damaged");
    let stand = first.again().await;
    assert_eq!(stand.desk.view().settings.theme, "system");
    assert_eq!(stand.desk.first_notice().expect("said").kind, "settings_set_aside");
    assert!(stand.desk.first_notice().is_none());
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_said_and_left_as_they_are() {
    let gateway = Gateway::start().await;
    let first = Stand::at(&gateway).await;
    let path = first.dir.join("settings.json");
    let text = r#"{"version":99,"theme":{"sky":"blue"}}"#;
    fs::write(&path, text).expect("written");
    let stand = first.again().await;
    assert_eq!(stand.desk.view().settings.theme, "system");
    assert_eq!(stand.desk.first_notice().expect("said").kind, "settings_unread");
    assert!(stand.desk.first_notice().is_none());
    let dark = || serde_json::from_str::<SettingsChange>(r#"{"theme":"dark"}"#).expect("a change");
    assert_eq!(stand.desk.set_settings(dark()).await.expect_err("newer").code(), Code::VaultNewer);
    assert_eq!(fs::read_to_string(&path).expect("kept"), text);
    // The same where it is the disk: a folder opens, and gives no text.
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("in its place");
    let stand = first.again().await;
    assert_eq!(stand.desk.first_notice().expect("said").kind, "settings_unread");
    assert_eq!(stand.desk.set_settings(dark()).await.expect_err("no file").code(), Code::Disk);
    assert!(path.is_dir());
}

#[tokio::test]
async fn what_comes_while_it_is_locked_calls_without_saying_what() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    stand.desk.lock();
    gateway.say(&created(1, 1));
    assert_eq!(stand.call().await.call, Call::Unseen);
    assert_eq!(stand.desk.view().unseen, 1);
    // And once a minute at most: nobody can say while it is locked that this one is muted.
    gateway.say(&created(2, 2));
    stand.until(|view| view.unseen == 2).await;
    stand.pass(MINUTE);
    gateway.say(&created(3, 3));
    let call = stand.call().await;
    assert_eq!((call.call, call.count), (Call::Unseen, 1));
}

#[tokio::test]
async fn what_has_run_out_while_it_was_locked_waits_no_more() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    gateway.say(&created(1, 1));
    stand.until(|view| view.requests.len() == 1).await;
    stand.desk.lock();
    stand.until(|view| view.unseen == 1).await;
    gateway.say(&created(2, 2));
    stand.until(|view| view.unseen == 2).await;
    // A call that is still to be made would have it drawn once more.
    while stand.call().await.call != Call::Unseen {}
    let denied = json!({"challenge_id": id(2), "reason": "declined", "at": Timestamp::from_millis(T)});
    gateway.say(&event(3, "challenge_denied", &denied));
    stand.until(|view| view.unseen == 1).await;
    stand.pass(5 * MINUTE);
    stand.until(|view| view.unseen == 0).await;
}

fn write_from_outside(stand: &Stand, name: &str) {
    let gateway = miid_protocol::Issuer::parse("http://127.0.0.1:9").expect("an address");
    open_from_outside(stand).add_identity(name, &gateway).expect("added");
}
