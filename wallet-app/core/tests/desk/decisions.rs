//! Yes, no, and taken back; sessions; and what a lock does to a decision that is under way.

use std::collections::BTreeMap;

use miid_protocol::service::DenyReason;
use miid_wallet::desk::view::{RuleKind, Stage, Standing};
use miid_wallet::desk::{Code, HistoryQuery, RuleWish, Yes};
use miid_wallet::history::{History, What};
use serde_json::json;

use crate::play::{Gateway, Stand, event, session, typed, yes};
use crate::support::requests::{created, id, listed};
use crate::support::{MINUTE, T};

async fn asked() -> (Gateway, Stand) {
    let gateway = Gateway::start().await;
    gateway.model().listed.push(listed(1, "pending"));
    let mut stand = Stand::at(&gateway).await;
    stand.until(|view| view.requests.len() == 1).await;
    (gateway, stand)
}

#[tokio::test]
async fn a_request_is_shown_whole_and_approved_with_its_number() {
    let (gateway, mut stand) = asked().await;
    let (wallet, challenge) = (stand.wallet(), id(1).to_string());
    let request = stand.desk.view().requests[0].clone();
    assert_eq!((request.service.name.as_str(), request.standing), ("Demo Shop", Standing::Pending));
    assert_eq!((request.identity.as_str(), request.expires_in_ms), ("Me", 5 * 60_000));
    let proposal = stand.desk.proposal(&wallet, &challenge).await.expect("a proposal");
    assert_eq!(
        proposal.claims.iter().map(|claim| claim.name.as_str()).collect::<Vec<_>>(),
        ["name", "email"]
    );
    assert!(!proposal.known_service);

    let without = Yes { match_code: None, ..yes() };
    let fault = stand.desk.approve(&wallet, &challenge, without).await.expect_err("no number");
    assert_eq!(fault.code(), Code::NumberMissing);
    assert_eq!(gateway.count("POST", "/approve"), 0);

    let approved = stand.desk.approve(&wallet, &challenge, yes()).await.expect("approved");
    assert_eq!((approved.status.as_str(), approved.return_to), ("approved", false));
    stand.until(|view| view.requests[0].standing == Standing::Approved).await;
    stand.desk.cancel(&wallet, &challenge).await.expect("taken back");
    stand.until(|view| view.requests[0].standing == Standing::Pending).await;
}

#[tokio::test]
async fn a_value_for_this_once_stays_out_of_the_profile_unless_the_person_says_so() {
    let (_gateway, stand) = asked().await;
    let (wallet, challenge) = (stand.wallet(), id(1).to_string());
    let profile = BTreeMap::from([("name".to_owned(), "Alice Kim".to_owned())]);
    stand.desk.set_profile("Me", profile).await.expect("set");
    let share = BTreeMap::from([
        ("name".to_owned(), "A. Kim".to_owned()),
        ("email".to_owned(), "alice@example.com".to_owned()),
    ]);
    let yes = Yes { share, remember: vec!["email".into()], ..yes() };
    stand.desk.approve(&wallet, &challenge, yes).await.expect("approved");
    let fields = stand.desk.profile("Me").await.expect("read").fields;
    let fields: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
    assert_eq!(fields, [("name", "Alice Kim"), ("email", "alice@example.com")]);
}

#[tokio::test]
async fn a_rule_can_be_made_along_with_a_yes() {
    let (_gateway, mut stand) = asked().await;
    let rule = Some(RuleWish { kind: RuleKind::Prefill, days: 30 });
    stand.desk.approve(&stand.wallet(), &id(1).to_string(), Yes { rule, ..yes() }).await.expect("approved");
    let view = stand.until(|view| view.rules.len() == 1).await;
    assert_eq!((view.rules[0].service_name.as_str(), view.rules[0].kind), ("Demo Shop", RuleKind::Prefill));
    assert_eq!(
        (&view.rules[0].scopes, &view.rules[0].claims),
        (&vec!["profile".into()], &vec!["name".into()])
    );
    stand.desk.remove_rule(&stand.wallet(), "demo-shop").await.expect("gone");
    stand.until(|view| view.rules.is_empty()).await;
}

#[tokio::test]
async fn what_came_from_another_computer_makes_no_rule_that_approves_alone() {
    let (gateway, stand) = asked().await;
    let rule = Some(RuleWish { kind: RuleKind::OneClick, days: 30 });
    let refused = stand.desk.approve(&stand.wallet(), &id(1).to_string(), Yes { rule, ..yes() }).await;
    assert_eq!(refused.expect_err("no such rule").code(), Code::BadValue);
    assert_eq!((gateway.count("POST", "/approve"), stand.desk.view().rules.len()), (0, 0));
}

#[tokio::test]
async fn a_rule_that_cannot_be_kept_takes_no_yes_back() {
    let (_gateway, mut stand) = asked().await;
    let rule = Some(RuleWish { kind: RuleKind::Prefill, days: 100_000 });
    let approved = stand.desk.approve(&stand.wallet(), &id(1).to_string(), Yes { rule, ..yes() }).await;
    assert_eq!(approved.expect("approved").status, "approved");
    stand.notice("not_kept").await;
    assert!(stand.desk.view().rules.is_empty());
}

#[tokio::test]
async fn a_lock_that_comes_while_a_yes_is_on_its_way_is_a_lock() {
    let (gateway, mut stand) = asked().await;
    let (say, said) = tokio::sync::oneshot::channel();
    gateway.model().hold = Some(said);
    let (desk, wallet) = (stand.desk.clone(), stand.wallet());
    let approving = tokio::spawn(async move { desk.approve(&wallet, &id(1).to_string(), yes()).await });
    crate::support::eventually(|| gateway.count("POST", "/approve") == 1).await;
    stand.desk.lock();
    stand.stage(Stage::Locked).await;
    say.send(()).expect("waiting");
    // It was said before it was locked: it stands. And the locked wallet shows nothing of it.
    let approved = approving.await.expect("joined").expect("approved");
    assert_eq!(approved.status, "approved");
    let view = stand.desk.view();
    assert_eq!((view.stage, view.requests.len(), stand.opened().len()), (Stage::Locked, 0, 0));
}

#[tokio::test]
async fn two_decisions_at_once_are_one() {
    let (gateway, stand) = asked().await;
    let (wallet, challenge) = (stand.wallet(), id(1).to_string());
    let (yes, no) = tokio::join!(
        stand.desk.approve(&wallet, &challenge, yes()),
        stand.desk.deny(&wallet, &challenge, None, DenyReason::Declined, None),
    );
    assert!(yes.is_ok());
    assert_eq!(no.expect_err("the other is on its way").code(), Code::Unanswered);
    assert_eq!(gateway.count("POST", "/deny"), 0);
}

#[tokio::test]
async fn a_decision_is_about_the_text_that_was_shown() {
    let (gateway, stand) = asked().await;
    let (wallet, challenge) = (stand.wallet(), id(1).to_string());
    let shown = stand.desk.view().requests[0].digest.clone();
    let other = miid_protocol::jws::digest(b"another text");
    let another = Yes { digest: Some(other.clone()), ..yes() };
    let fault = stand.desk.approve(&wallet, &challenge, another).await.expect_err("not what was shown");
    assert_eq!(fault.code(), Code::UnknownRequest);
    let denied = stand.desk.deny(&wallet, &challenge, Some(&other), DenyReason::NotMe, Some(60)).await;
    assert_eq!(denied.expect_err("not what was shown").code(), Code::UnknownRequest);
    assert_eq!((gateway.count("POST", "/approve"), gateway.count("POST", "/deny")), (0, 0));
    assert!(stand.desk.view().mutes.is_empty());
    let this = Yes { digest: Some(shown), ..yes() };
    stand.desk.approve(&wallet, &challenge, this).await.expect("approved");
}

#[tokio::test]
async fn what_became_of_a_request_is_said() {
    let (gateway, mut stand) = asked().await;
    let over = json!({"challenge_id": id(1), "reason": "other_browser", "at": miid_protocol::Timestamp::from_millis(T)});
    gateway.say(&event(5, "challenge_expired", &over));
    let notice = stand.notice("other_browser").await;
    assert_eq!(notice.service.as_deref(), Some("Demo Shop"));
    stand.until(|view| view.requests.is_empty()).await;
    let fault = stand.desk.approve(&stand.wallet(), &id(1).to_string(), yes()).await.expect_err("over");
    assert_eq!(fault.code(), Code::UnknownRequest);
}

#[tokio::test]
async fn what_nobody_answered_leaves_no_text_and_unknown_sessions_leave_nothing_in_the_history() {
    let (gateway, mut stand) = asked().await;
    let at = miid_protocol::Timestamp::from_millis(T);
    let ended = json!({"session_id": id(77), "sub": "s", "reason": "user", "at": at});
    gateway.say(&event(5, "session_revoked", &ended));
    let over = json!({"challenge_id": id(1), "reason": "timeout", "at": at});
    gateway.say(&event(6, "challenge_expired", &over));
    stand.until(|view| view.requests.is_empty()).await;
    stand.desk.clone().close().await;
    let entries = History::new(&stand.dir).read().expect("read");
    let [entry] = entries.as_slice() else { panic!("one line, not {}", entries.len()) };
    assert_eq!((entry.what, entry.challenge_id), (What::Expired, Some(id(1))));
    assert!(entry.request.is_none() && entry.statement.is_none());
}

#[tokio::test]
async fn a_wallet_or_a_request_that_the_page_makes_up_is_none() {
    let (_gateway, stand) = asked().await;
    let challenge = id(1).to_string();
    assert_eq!(stand.desk.cancel("w", &challenge).await.expect_err("none").code(), Code::BadName);
    for made_up in ["", "../vault", &id(7).to_string()] {
        let fault = stand.desk.cancel(&stand.wallet(), made_up).await.expect_err("none");
        assert_eq!(fault.code(), Code::UnknownRequest);
    }
    let reason = DenyReason::WrongMatchCode;
    let fault = stand
        .desk
        .deny(&stand.wallet(), &challenge, None, reason, None)
        .await
        .expect_err("no person says so");
    assert_eq!(fault.code(), Code::BadValue);
}

#[tokio::test]
async fn one_session_ends_or_all_do() {
    let gateway = Gateway::start().await;
    for n in 1..=3 {
        gateway.model().sessions.push(session(n));
    }
    let mut stand = Stand::at(&gateway).await;
    let view = stand.until(|view| view.sessions.len() == 3).await;
    stand.desk.end_session(&stand.wallet(), &view.sessions[0].session_id).await.expect("ended");
    stand.until(|view| view.sessions.len() == 2).await;
    assert_eq!(stand.desk.end_all_sessions().await.expect("ended").ended, 2);
    stand.until(|view| view.sessions.is_empty()).await;
    assert_eq!(
        stand.desk.end_session(&stand.wallet(), "x").await.expect_err("none").code(),
        Code::UnknownSession
    );
}

#[tokio::test]
async fn the_history_is_searched_page_by_page_and_exported() {
    let (_gateway, stand) = asked().await;
    stand
        .desk
        .deny(&stand.wallet(), &id(1).to_string(), None, DenyReason::NotMe, None)
        .await
        .expect("denied");
    let query = |query: &str, identity: Option<&str>| HistoryQuery {
        query: query.into(),
        identity: identity.map(str::to_owned),
        before: None,
        limit: 10,
    };
    let page = stand.desk.history(query("demo", Some("Me"))).await.expect("found");
    let [entry] = page.entries.as_slice() else { panic!("one entry, not {}", page.entries.len()) };
    assert_eq!((entry.what.as_str(), entry.identity.as_str()), ("denied", "Me"));
    assert!(entry.statement.is_some() && !page.more);
    assert!(stand.desk.history(query("nothing like it", None)).await.expect("found").entries.is_empty());
    let exported = stand.desk.export_history(None).await.expect("written");
    assert_eq!(exported.entries, 1);
    assert!(std::path::Path::new(&exported.path).starts_with(&stand.documents));
    assert_eq!(History::new(&stand.dir).read().expect("read")[0].what, What::Denied);
    stand.desk.lock();
    assert_eq!(stand.desk.history(query("", None)).await.expect_err("locked").code(), Code::Locked);
}

#[tokio::test]
async fn a_request_that_runs_out_leaves_the_list_by_itself() {
    let (_gateway, mut stand) = asked().await;
    stand.pass(5 * MINUTE);
    stand.desk.unlock(typed()).await.expect("open already");
    stand.desk.refresh().await.expect("read");
    stand.until(|view| view.requests.is_empty()).await;
}

#[tokio::test]
async fn what_comes_while_it_is_open_is_there_before_it_calls() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    gateway.say(&created(1, 1));
    let call = stand.call().await;
    assert_eq!(stand.desk.view().requests.len(), 1);
    assert_eq!(call.count, 1);
}
