//! Identities: handles, sheets, and their end.

use std::path::Path;

use miid_wallet::desk::{Code, NewIdentity};

use crate::play::{Gateway, PASSPHRASE, Stand, new, session, typed};

#[tokio::test]
async fn a_handle_is_claimed_and_let_go_of() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    let wallet = stand.wallet();
    let held = stand.desk.set_handle(&wallet, Some("Alice")).await.expect("claimed");
    assert_eq!(held.handle.as_deref(), Some("alice"));
    stand.until(|view| view.identities[0].gateways[0].handle.as_deref() == Some("alice")).await;
    for bad in ["a", "no spaces", "-alice", ""] {
        assert_eq!(stand.desk.set_handle(&wallet, Some(bad)).await.expect_err("bad").code(), Code::BadHandle);
    }
    assert_eq!(stand.desk.set_handle(&wallet, None).await.expect("released").handle, None);
    stand.until(|view| view.identities[0].gateways[0].handle.is_none()).await;
}

#[tokio::test]
async fn a_sheet_needs_the_passphrase_again_and_brings_the_same_identity_back() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    let did = stand.desk.view().identities[0].did.clone();
    for wrong in [None, Some("wrong horse".to_owned())] {
        let fault = stand.desk.recovery_sheet("Me", wrong).await.err().expect("refused");
        assert_eq!(fault.code(), Code::WrongPassphrase);
    }
    let sheet = stand.desk.recovery_sheet("Me", typed()).await.expect("made");
    assert_eq!((sheet.words.len(), sheet.retire.len(), sheet.did.as_str()), (24, 1, did.as_str()));

    let other = Stand::new().await;
    let restored = NewIdentity { words: Some(sheet.words.join(" ")), ..new("Me again", gateway.issuer()) };
    assert_eq!(other.desk.create_identity(restored).await.expect("restored").did, did);
    // Whoever typed the words has the sheet.
    assert!(other.desk.view().identities[0].sheet_kept);
    let twice = NewIdentity { words: Some(sheet.words.join(" ")), ..new("And again", gateway.issuer()) };
    assert_eq!(other.desk.create_identity(twice).await.expect_err("here already").code(), Code::NameTaken);
    let mut wrong = sheet.words.clone();
    wrong.swap(0, 1);
    let wrong = NewIdentity { words: Some(wrong.join(" ")), ..new("Wrong", gateway.issuer()) };
    assert_eq!(other.desk.create_identity(wrong).await.expect_err("no key").code(), Code::WrongWords);
}

#[tokio::test]
async fn that_the_sheet_is_kept_outlives_a_restart_for_that_identity_alone() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    assert!(!stand.create("Work", &gateway).await.sheet_kept);
    let kept = |view: miid_wallet::desk::View| -> Vec<_> {
        view.identities.into_iter().map(|identity| (identity.name, identity.sheet_kept)).collect()
    };
    let (me, work) = (|kept| ("Me".to_owned(), kept), || ("Work".to_owned(), false));
    // Only looking at it is not having it.
    stand.desk.recovery_sheet("Me", typed()).await.expect("made");
    assert_eq!(kept(stand.desk.view()), [me(false), work()]);
    stand.desk.keep_sheet("Me").await.expect("noted");
    assert_eq!(kept(stand.desk.view()), [me(true), work()]);
    assert_eq!(stand.desk.keep_sheet("Nobody").await.expect_err("nobody").code(), Code::BadName);

    stand.desk.clone().close().await;
    let mut again = stand.again().await;
    // At the door nobody is told who has a sheet and who has none.
    assert_eq!(kept(again.desk.view()), [me(true), ("Work".to_owned(), true)]);
    assert_eq!(again.desk.keep_sheet("Work").await.expect_err("locked").code(), Code::Locked);
    again.desk.unlock(typed()).await.expect("opened");
    assert_eq!(kept(again.connected(2).await), [me(true), work()]);
}

#[tokio::test]
async fn a_sheet_that_was_not_saved_is_not_kept() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    let elsewhere = Some("/etc/miid.txt".to_owned());
    stand.desk.save_sheet("Me", typed(), elsewhere).await.expect_err("refused");
    stand.desk.save_sheet("Me", Some("wrong horse".into()), None).await.expect_err("refused");
    assert!(!stand.desk.view().identities[0].sheet_kept);
}

#[cfg(unix)]
#[tokio::test]
async fn a_saved_sheet_is_for_its_owner_alone_and_goes_nowhere_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    let saved = stand.desk.save_sheet("Me", typed(), None).await.expect("saved");
    let path = Path::new(&saved.path);
    assert!(path.starts_with(&stand.documents));
    assert!(stand.desk.view().identities[0].sheet_kept, "a saved sheet is kept");
    assert_eq!(std::fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(path).expect("read");
    let sheet = stand.desk.recovery_sheet("Me", typed()).await.expect("made");
    assert!(sheet.words.iter().all(|word| text.contains(word.as_str())));
    for elsewhere in ["/etc/miid.txt", "../../miid.txt", ".config/autostart/miid.txt", "sheet.desktop"] {
        let fault = stand.desk.save_sheet("Me", typed(), Some(elsewhere.into())).await.expect_err("refused");
        assert_eq!(fault.code(), Code::BadValue, "{elsewhere}");
    }
    // Never in the place of another file.
    let named = || Some("sheet.txt".to_owned());
    stand.desk.save_sheet("Me", typed(), named()).await.expect("saved");
    assert_eq!(stand.desk.save_sheet("Me", typed(), named()).await.expect_err("there").code(), Code::Disk);
}

#[tokio::test]
async fn retiring_needs_the_name_and_the_passphrase_and_is_the_end() {
    let gateway = Gateway::start().await;
    gateway.model().sessions.push(session(1));
    let mut stand = Stand::at(&gateway).await;
    stand.until(|view| view.sessions.len() == 1).await;
    let fault = stand.desk.retire("Me", typed(), "me").await.expect_err("another name");
    assert_eq!(fault.code(), Code::BadValue);
    let fault = stand.desk.retire("Me", Some("wrong horse".into()), "Me").await.expect_err("wrong");
    assert_eq!(fault.code(), Code::WrongPassphrase);
    assert_eq!(gateway.count("POST", "/retire"), 0);
    assert_eq!(stand.desk.retire("Me", typed(), "Me").await.expect("retired").ended, 1);
    stand.until(|view| view.identities[0].retired_at.is_some() && view.sessions.is_empty()).await;
    // Once it is over it goes without its name.
    stand.desk.remove_identity("Me", None, "").await.expect("removed");
    stand.until(|view| view.identities.is_empty()).await;
}

#[tokio::test]
async fn an_identity_that_lives_is_removed_only_by_its_name_and_the_passphrase() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    assert_eq!(stand.desk.remove_identity("Me", None, "").await.expect_err("no name").code(), Code::BadValue);
    assert_eq!(
        stand.desk.remove_identity("Nobody", typed(), "Nobody").await.expect_err("none").code(),
        Code::BadName
    );
    for passphrase in [None, Some("wrong horse".into())] {
        let fault = stand.desk.remove_identity("Me", passphrase, "Me").await.expect_err("not its owner");
        assert_eq!(fault.code(), Code::WrongPassphrase);
    }
    assert_eq!(stand.desk.view().identities.len(), 1);
    stand.desk.remove_identity("Me", typed(), "Me").await.expect("removed");
    let view = stand.until(|view| view.identities.is_empty()).await;
    assert!(view.requests.is_empty() && !PASSPHRASE.is_empty());
}
