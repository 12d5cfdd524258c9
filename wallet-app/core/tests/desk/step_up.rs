//! Confirming something in a session that is there: shown as what it is, answered by the person alone, and over
//! with its session.

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::DenyReason;
use miid_wallet::desk::view::{Risk, RuleKind, Standing};
use miid_wallet::desk::{Call, Code, HistoryQuery, RuleWish, Yes};
use serde_json::json;

use crate::play::{Gateway, Stand, event, new};
use crate::support::requests::{
    id, link, linked, return_to, sample, session_id, session_of_step_up, step_up,
};
use crate::support::{MINUTE, T};

/// An addressed one that waits, in a session that the wallet knows.
async fn asked() -> (Gateway, Stand) {
    let gateway = Gateway::start().await;
    gateway.model().sessions.push(session_of_step_up());
    let mut stand = Stand::at(&gateway).await;
    gateway.say(&created(1, 1));
    stand.until(|view| view.requests.len() == 1).await;
    (gateway, stand)
}

fn created(n: u32, position: u32) -> String {
    let mut says = sample(n);
    step_up(&mut says);
    event(position, "challenge_created", &json!({"challenge_id": id(n), "request": says.to_text()}))
}

fn over(position: u32, name: &str, reason: &str) -> String {
    event(position, name, &json!({"challenge_id": id(1), "reason": reason, "at": at()}))
}

fn exchanged(position: u32) -> String {
    let done = json!({"challenge_id": id(1), "session_id": session_id(), "at": at()});
    event(position, "challenge_exchanged", &done)
}

fn at() -> miid_protocol::Timestamp {
    miid_protocol::Timestamp::from_millis(T)
}

fn yes() -> Yes {
    let scopes = vec!["profile".into(), "email".into()];
    Yes { scopes, share: [].into(), ..crate::play::yes() }
}

async fn kept(stand: &Stand) -> Vec<(String, Option<String>, Option<String>)> {
    let query = HistoryQuery { query: String::new(), identity: None, before: None, limit: 10 };
    let entries = stand.desk.history(query).await.expect("read").entries;
    entries.into_iter().map(|entry| (entry.what, entry.step_up, entry.reason)).collect()
}

fn what_for() -> Option<String> {
    Some("Transfer 250 to Bob".into())
}

#[tokio::test]
async fn it_says_what_for_and_since_when_its_session_is_there() {
    let (_gateway, mut stand) = asked().await;
    let request = stand.desk.view().requests[0].clone();
    assert_eq!((request.risk, request.binding_message), (Risk::StepUp, what_for()));
    let since = miid_protocol::Timestamp::from_millis(T - 10 * MINUTE).to_string();
    assert_eq!((request.session_since, request.claims.len()), (Some(since), 0));
    let call = stand.call().await.call;
    assert!(matches!(call, Call::Request { step_up: true, .. }), "{call:?}");
}

#[tokio::test]
async fn a_session_that_is_not_in_the_list_is_looked_for_and_else_said_to_be_unknown() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    // Begun a moment ago, on another computer: its own news is not here yet.
    gateway.model().sessions.push(session_of_step_up());
    gateway.say(&created(1, 1));
    stand.until(|view| view.requests.iter().any(|request| request.session_since.is_some())).await;
    gateway.model().sessions.clear();
    let before = gateway.count("GET", "/sessions");
    stand.desk.refresh().await.expect("read");
    gateway.say(&created(2, 2));
    let view = stand
        .until(|view| view.requests.iter().any(|request| request.challenge_id == id(2).to_string()))
        .await;
    crate::support::eventually(|| gateway.count("GET", "/sessions") >= before + 2).await;
    assert!(view.requests.iter().all(|request| request.session_since.is_none()));
}

#[tokio::test]
async fn approved_it_is_confirmed_and_the_next_sign_in_is_proposed_as_before() {
    let (gateway, mut stand) = asked().await;
    let (wallet, challenge) = (stand.wallet(), id(1).to_string());
    let wish = Some(RuleWish { kind: RuleKind::Prefill, days: 30 });
    let fault = stand.desk.approve(&wallet, &challenge, Yes { rule: wish, ..yes() }).await;
    assert_eq!(fault.expect_err("no rule comes of it").code(), Code::BadValue);
    assert_eq!(gateway.count("POST", "/approve"), 0);

    stand.desk.approve(&wallet, &challenge, yes()).await.expect("approved");
    stand.until(|view| view.requests[0].standing == Standing::Approved).await;
    gateway.say(&exchanged(2));
    assert_eq!(stand.notice("confirmed").await.service.as_deref(), Some("Demo Shop"));
    let view = stand.until(|view| view.requests.is_empty()).await;
    assert_eq!(view.sessions.len(), 1);
    let (confirmed, approved) =
        (("confirmed".to_owned(), what_for(), None), ("approved".into(), what_for(), None));
    assert_eq!(kept(&stand).await, [confirmed, approved]);

    // What was shared by this yes, nothing, is not what the person chooses for signing in.
    let name = [("name".to_owned(), "Alice Kim".to_owned())].into();
    stand.desk.set_profile("Me", name).await.expect("set");
    gateway.say(&crate::support::requests::created(2, 3));
    stand.until(|view| view.requests.len() == 1).await;
    let proposal = stand.desk.proposal(&wallet, &id(2).to_string()).await.expect("a proposal");
    assert!(proposal.claims[0].ticked, "{proposal:?}");
}

#[tokio::test]
async fn whatever_ends_it_nothing_is_confirmed_and_the_wallet_says_why() {
    for (name, reason) in [
        ("challenge_expired", "session_ended"),
        ("challenge_expired", "other_browser"),
        ("challenge_expired", "code_timeout"),
        ("challenge_denied", "wrong_match_code"),
    ] {
        let (gateway, mut stand) = asked().await;
        gateway.say(&over(2, name, reason));
        let notice = stand.notice("not_confirmed").await;
        assert_eq!((notice.service.as_deref(), notice.reason.as_deref()), (Some("Demo Shop"), Some(reason)));
        stand.until(|view| view.requests.is_empty()).await;
        if name == "challenge_expired" {
            assert_eq!(kept(&stand).await, [("expired".into(), what_for(), Some(reason.into()))]);
        }
    }
}

#[tokio::test]
async fn a_yes_that_comes_after_its_session_ended_says_that_and_not_that_it_was_late() {
    for (lives, reason) in [(false, "session_ended"), (true, "timeout")] {
        let (gateway, mut stand) = asked().await;
        {
            let mut model = gateway.model();
            model.refuse_yes = Some(ErrorCode::ChallengeExpired);
            model.sessions.retain(|_| lives);
        }
        let fault = stand.desk.approve(&stand.wallet(), &id(1).to_string(), yes()).await.expect_err("over");
        assert_eq!(fault.code(), Code::TooLate);
        assert_eq!(stand.notice("not_confirmed").await.reason.as_deref(), Some(reason));
        // The gateway's own word comes later, and is no second one.
        gateway.say(&over(2, "challenge_expired", "session_ended"));
        gateway.say(&created(2, 3));
        stand
            .until(|view| view.requests.iter().any(|request| request.challenge_id == id(2).to_string()))
            .await;
        while let Ok(notice) = stand.notices.try_recv() {
            assert_ne!(notice.kind, "not_confirmed");
        }
    }
}

#[tokio::test]
async fn a_no_is_kept_with_what_it_was_about() {
    let (gateway, mut stand) = asked().await;
    let (wallet, challenge) = (stand.wallet(), id(1).to_string());
    stand.desk.deny(&wallet, &challenge, None, DenyReason::Declined, None).await.expect("denied");
    assert_eq!(stand.notice("not_confirmed").await.reason.as_deref(), Some("declined"));
    assert_eq!(kept(&stand).await, [("denied".into(), what_for(), Some("declined".into()))]);
    assert_eq!((gateway.count("POST", "/deny"), stand.desk.view().sessions.len()), (1, 1));
}

#[tokio::test]
async fn a_link_that_asks_another_identity_stays_for_the_right_one() {
    let gateway = Gateway::start().await;
    let mut listed = linked(1, "pending", step_up);
    listed["test_return_to"] = json!(return_to(1, gateway.issuer()));
    gateway.model().claimable.insert(id(1).to_string(), listed);
    gateway.model().sessions.push(session_of_step_up());
    let mut stand = Stand::at(&gateway).await;
    let another = new("Work", gateway.issuer());
    stand.desk.create_identity(another).await.expect("made");
    stand.connected(2).await;
    stand.desk.open_link(&link(1, gateway.issuer()).to_text()).expect("taken in");
    let view = stand.until(|view| view.links.len() == 1).await;
    let link = view.links[0].id.clone();
    gateway.model().refuse = Some(ErrorCode::DidMismatch);
    let fault = stand.desk.continue_link(&link, "Work").await.expect_err("not theirs");
    assert_eq!(fault.code(), Code::OtherIdentity);
    // It can still be continued as somebody else.
    gateway.model().refuse = None;
    let claimed = stand.desk.continue_link(&link, "Me").await.expect("claimed");
    let view = stand.until(|view| view.requests.len() == 1).await;
    assert!(view.requests[0].session_since.is_some());
    let linked = Yes { match_code: None, ..yes() };
    let approved =
        stand.desk.approve(&claimed.wallet, &claimed.challenge_id, linked).await.expect("approved");
    assert!(approved.return_to);
    assert_eq!(stand.opened(), [return_to(1, gateway.issuer())]);
}
