//! Links: asked about, claimed once, by whom the person says; alone only by their own rule.

use miid_protocol::problem::ErrorCode;
use miid_protocol::{ClientId, Timestamp};
use miid_wallet::desk::view::Stage;
use miid_wallet::desk::{Call, Code};
use miid_wallet::rules::{Kind, NewRule};
use miid_wallet::vault::VaultError;
use serde_json::{Value, json};

use crate::play::{Gateway, Stand, linked_yes, open_from_outside, session, typed};
use crate::support::T;
use crate::support::requests::{id, link, linked, return_to};

/// A linked request that waits to be claimed.
fn claimable(gateway: &Gateway, n: u32) {
    let mut listed: Value = linked(n, "pending", |_| ());
    listed["test_return_to"] = json!(return_to(n, gateway.issuer()));
    gateway.model().claimable.insert(id(n).to_string(), listed);
}

fn text(gateway: &Gateway, n: u32) -> String {
    link(n, gateway.issuer()).to_text()
}

/// With a rule that a yes of some weeks ago made.
async fn with_rule(gateway: &Gateway) -> Stand {
    gateway.model().sessions.push(session(1));
    let mut stand = Stand::at(gateway).await;
    stand.until(|view| view.sessions.len() == 1).await;
    let mut fields = std::collections::BTreeMap::new();
    fields.insert("name".to_owned(), "Alice Kim".to_owned());
    stand.desk.set_profile("Me", fields).await.expect("set");
    let rule = NewRule {
        kind: Kind::OneClick,
        service_name: "Demo Shop".into(),
        scopes: ["profile".to_owned(), "email".to_owned()].into(),
        claims: ["name".to_owned()].into(),
        withheld: Default::default(),
        days: 30,
    };
    let rule = rule.made(Timestamp::from_millis(T)).expect("a rule");
    let (vault, service) = (open_from_outside(&stand), ClientId::parse("demo-shop").expect("an id"));
    let kept = vault.update("Me", |record| {
        Ok::<_, VaultError>(record.services.set_rule(gateway.issuer(), &service, rule))
    });
    kept.expect("written").expect("kept");
    stand.until(|view| view.rules.len() == 1).await;
    stand
}

#[tokio::test]
async fn a_link_asks_before_anything_is_sent_and_goes_back_to_the_browser_after_the_yes() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = Stand::at(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    let view = stand.until(|view| view.links.len() == 1).await;
    assert_eq!(view.links[0].identities, ["Me"]);
    assert_eq!(stand.call().await.call, Call::Link { id: view.links[0].id.clone() });
    assert_eq!(gateway.count("POST", "/claim"), 0);

    let claimed = stand.desk.continue_link(&view.links[0].id, "Me").await.expect("claimed");
    let view = stand.until(|view| view.requests.len() == 1 && view.links.is_empty()).await;
    assert_eq!(view.requests[0].challenge_id, claimed.challenge_id);
    let approved =
        stand.desk.approve(&claimed.wallet, &claimed.challenge_id, linked_yes()).await.expect("approved");
    assert_eq!((approved.status.as_str(), approved.return_to), ("approved", true));
    assert_eq!(stand.opened(), [return_to(1, gateway.issuer())]);
    // And once more, for who lost the page.
    stand.until(|view| view.requests.iter().any(|request| request.return_to)).await;
    stand.desk.open_return(&claimed.wallet, &claimed.challenge_id).await.expect("opened");
    assert_eq!(stand.opened().len(), 2);
}

#[tokio::test]
async fn a_link_of_a_strangers_gateway_goes_nowhere_and_names_it_as_text() {
    let gateway = Gateway::start().await;
    let stranger = Gateway::start().await;
    claimable(&stranger, 1);
    let mut stand = Stand::at(&gateway).await;
    let fault = stand.desk.open_link(&text(&stranger, 1)).expect_err("not ours");
    assert_eq!(fault.code(), Code::NotOurs);
    let notice = stand.notice("not_ours").await;
    assert_eq!(notice.reason.as_deref(), Some(stranger.issuer().authority()));
    assert!(stand.desk.view().links.is_empty());
    assert!(stranger.scripted.seen().is_empty());
}

#[tokio::test]
async fn what_is_no_link_is_refused() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    for bad in ["", "https://example.com", "miid://challenge/1", &format!("{} ", text(&gateway, 1))] {
        assert_eq!(stand.desk.open_link(bad).expect_err("no link").code(), Code::BadLink);
    }
}

#[tokio::test]
async fn two_links_at_once_are_two_questions_and_one_call_and_a_link_twice_is_one() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    for n in [1, 2, 2, 1] {
        stand.desk.open_link(&text(&gateway, n)).expect("taken in");
    }
    let view = stand.until(|view| view.links.len() == 2).await;
    assert_ne!(view.links[0].id, view.links[1].id);
    let call = stand.call().await;
    assert!(matches!(call.call, Call::Link { .. }));
    assert_eq!(stand.desk.view().links.len(), 2);
}

#[tokio::test]
async fn a_link_that_is_continued_twice_is_claimed_once() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = Stand::at(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    let view = stand.until(|view| view.links.len() == 1).await;
    let id = &view.links[0].id;
    let (first, second) =
        tokio::join!(stand.desk.continue_link(id, "Me"), stand.desk.continue_link(id, "Me"));
    assert!(first.is_ok());
    assert_eq!(second.expect_err("taken").code(), Code::UnknownRequest);
    assert_eq!(gateway.count("POST", "/claim"), 1);
    assert_eq!(stand.desk.drop_link(id).expect_err("taken").code(), Code::UnknownRequest);
}

#[tokio::test]
async fn a_link_that_the_person_continues_calls_nobody_who_is_there() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = Stand::at(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    let link = stand.until(|view| view.links.len() == 1).await.links[0].id.clone();
    assert_eq!(stand.call().await.call, Call::Link { id: link.clone() });
    let claimed = stand.desk.continue_link(&link, "Me").await.expect("claimed");
    stand.until(|view| view.requests.len() == 1).await;
    // The next call there is, is another link's; a call for the request would be the one before it, or counted.
    stand.desk.open_link(&text(&gateway, 2)).expect("taken in");
    let next = stand.call().await;
    assert!(matches!(next.call, Call::Link { .. }), "{next:?} after {claimed:?}");
    assert_eq!(next.count, 1);
}

#[tokio::test]
async fn a_link_that_was_claimed_and_is_opened_again_shows_its_request() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = Stand::at(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    let link = stand.until(|view| view.links.len() == 1).await.links[0].id.clone();
    let _ = stand.call().await;
    let claimed = stand.desk.continue_link(&link, "Me").await.expect("claimed");
    stand.until(|view| view.requests.len() == 1).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("known");
    let call = stand.call().await;
    assert!(matches!(call.call, Call::Request { challenge_id, .. } if challenge_id == claimed.challenge_id));
    assert!(stand.desk.view().links.is_empty());
}

#[tokio::test]
async fn a_link_that_somebody_else_took_is_over_and_one_that_could_not_be_asked_stays() {
    let gateway = Gateway::start().await;
    let stand = Stand::at(&gateway).await;
    for (code, told, stays) in [
        (ErrorCode::AlreadyClaimed, Code::AlreadyClaimed, 0),
        (ErrorCode::ChallengeNotFound, Code::TooLate, 0),
        (ErrorCode::RateLimited, Code::RateLimited, 1),
    ] {
        gateway.model().refuse = Some(code);
        stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
        let view = stand.desk.view();
        let fault = stand.desk.continue_link(&view.links[0].id, "Me").await.expect_err("refused");
        assert_eq!(fault.code(), told);
        assert_eq!(stand.desk.view().links.len(), stays, "{code:?}");
    }
}

#[tokio::test]
async fn a_link_that_comes_while_locked_waits_and_says_nothing_until_then() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = Stand::at(&gateway).await;
    stand.desk.lock();
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    assert_eq!(stand.call().await.call, Call::Door);
    let view = stand.desk.view();
    assert_eq!((view.stage, view.links.len(), view.links_waiting), (Stage::Locked, 0, 1));
    assert_eq!(view.unseen, 0);
    let said = serde_json::to_string(&view).expect("json");
    assert!(!said.replace(&view.default_gateway, "").contains(gateway.issuer().authority()), "{said}");
    assert_eq!(gateway.count("POST", "/claim"), 0);
    stand.desk.unlock(typed()).await.expect("opened");
    let view = stand.until(|view| view.links.len() == 1).await;
    assert_eq!((gateway.count("POST", "/claim"), view.links_waiting), (0, 0));
}

#[tokio::test]
async fn a_link_waits_for_the_first_identity_too() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = Stand::new().await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    assert_eq!(stand.call().await.call, Call::Door);
    stand.create("Me", &gateway).await;
    stand.until(|view| view.links.len() == 1).await;
}

#[tokio::test]
async fn a_rule_answers_a_link_alone_and_the_use_is_said_and_counted() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = with_rule(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    let notice = stand.notice("one_click").await;
    assert_eq!((notice.service.as_deref(), notice.identity.as_deref()), (Some("Demo Shop"), Some("Me")));
    stand.until(|view| view.rules.iter().any(|rule| rule.used == 1)).await;
    crate::support::eventually(|| !stand.opened().is_empty()).await;
    assert_eq!(stand.opened(), [return_to(1, gateway.issuer())]);
    assert!(stand.desk.view().links.is_empty());
    assert_eq!((gateway.count("POST", "/claim"), gateway.count("POST", "/approve")), (1, 1));
}

#[tokio::test]
async fn a_rule_does_nothing_while_it_is_locked() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = with_rule(&gateway).await;
    stand.desk.lock();
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    stand.until(|view| view.links_waiting == 1).await;
    // Whoever opens it is the person, and from then on the rule is theirs again.
    assert_eq!((gateway.count("POST", "/claim"), stand.opened().len()), (0, 0));
    stand.desk.unlock(typed()).await.expect("opened");
    stand.notice("one_click").await;
    assert_eq!(gateway.count("POST", "/approve"), 1);
}

#[tokio::test]
async fn a_lock_that_comes_while_a_rule_acts_keeps_the_browser_shut() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let stand = with_rule(&gateway).await;
    let (say, said) = tokio::sync::oneshot::channel();
    gateway.model().hold = Some(said);
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    crate::support::eventually(|| gateway.count("POST", "/approve") == 1).await;
    stand.desk.lock();
    say.send(()).expect("waiting");
    stand.desk.unlock(typed()).await.expect("opened");
    // The next thing that the wallet says comes after all that; the browser was not opened.
    stand.desk.open_link(&text(&gateway, 2)).expect("taken in");
    crate::support::eventually(|| gateway.count("POST", "/claim") == 2).await;
    assert!(stand.opened().is_empty());
}

#[tokio::test]
async fn a_rule_acts_for_nobody_where_two_identities_could_be_meant() {
    let gateway = Gateway::start().await;
    claimable(&gateway, 1);
    let mut stand = with_rule(&gateway).await;
    stand.create("Work", &gateway).await;
    stand.connected(2).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    let view = stand.until(|view| view.links.len() == 1).await;
    assert_eq!(view.links[0].identities, ["Me", "Work"]);
    assert_eq!(gateway.count("POST", "/claim"), 0);
    // Said once who, the rule needs no second question.
    stand.desk.continue_link(&view.links[0].id, "Me").await.expect("claimed");
    assert_eq!(gateway.count("POST", "/approve"), 1);
    assert_eq!(stand.opened().len(), 1);
}

#[tokio::test]
async fn a_rule_lets_nothing_through_that_it_does_not_name() {
    let gateway = Gateway::start().await;
    let listed = linked(1, "pending", |says| says.claims.push("email".into()));
    gateway.model().claimable.insert(id(1).to_string(), listed);
    let mut stand = with_rule(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    // It was claimed, to see what it asks; and then it asks the person like any other.
    let view = stand.until(|view| view.requests.len() == 1).await;
    assert_eq!(view.requests[0].claims, ["name", "email"]);
    assert!(matches!(stand.call().await.call, Call::Request { .. }));
    assert_eq!((gateway.count("POST", "/approve"), stand.opened().len()), (0, 0));
}

#[tokio::test]
async fn a_link_that_grew_old_is_forgotten() {
    let gateway = Gateway::start().await;
    let mut stand = Stand::at(&gateway).await;
    stand.desk.open_link(&text(&gateway, 1)).expect("taken in");
    stand.until(|view| view.links.len() == 1).await;
    stand.pass(10 * crate::support::MINUTE);
    stand.until(|view| view.links.is_empty()).await;
}
