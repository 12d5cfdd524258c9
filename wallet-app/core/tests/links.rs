//! Links, as a wallet takes them: strictly read, answered alone only where a rule says so, and the browser sent to
//! nowhere but back.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{Binding, ChallengeStatus};
use miid_protocol::{ClientId, Issuer, Timestamp};
use miid_wallet::history::What;
use miid_wallet::memory::{Memory as _, PassingMemory};
use miid_wallet::rules::{Kind, NewRule};
use miid_wallet::wallet::OneClick;
use miid_wallet::{Approval, ClientError, DecisionError, Wallet, WalletUpdate};
use serde_json::{Value, json};
use support::requests::{id, link, linked, outcome, return_to, sample, step_up, usual};
use support::{MINUTE, Reply, Scripted, Seen, T, ok, problem, quick, until};

fn shop() -> ClientId {
    ClientId::parse("demo-shop").expect("id")
}

fn share_name() -> Approval {
    Approval { share: ["name".to_owned()].into(), ..Approval::default() }
}

/// A gateway whose link brings `claimed`, and whose yes sends the browser to `address`.
async fn gateway(claimed: Value, address: impl Fn(&Issuer) -> String + Send + Sync + 'static) -> Scripted {
    let name = Arc::new(Mutex::new(None::<Issuer>));
    let known = name.clone();
    let gateway = Scripted::start(move |seen, _| {
        usual(seen).unwrap_or_else(|| {
            if seen.is("POST", "/claim") {
                ok(claimed.to_string())
            } else if seen.is("POST", "/approve") {
                let issuer = known.lock().expect("lock").clone().expect("named");
                let at = Timestamp::from_millis(T);
                let answer = json!({"challenge_id": id(1), "status": "approved", "at": at, "return_to": address(&issuer)});
                ok(answer.to_string())
            } else if seen.is("POST", "/cancel") {
                outcome("pending")
            } else {
                Reply::Stream(String::new())
            }
        })
    })
    .await;
    *name.lock().expect("lock") = Some(gateway.issuer.clone());
    gateway
}

async fn usual_gateway() -> Scripted {
    gateway(linked(1, "pending", |_| ()), |issuer| return_to(1, issuer)).await
}

async fn connected(gateway: &Scripted) -> (Wallet, Arc<PassingMemory>, miid_wallet::Updates) {
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    (wallet, memory, updates)
}

fn posts(gateway: &Scripted, end: &str) -> Vec<Seen> {
    gateway.seen().into_iter().filter(|seen| seen.is("POST", end)).collect()
}

#[tokio::test]
async fn a_link_is_taken_approved_and_sends_the_browser_back() {
    let gateway = usual_gateway().await;
    let (wallet, memory, _updates) = connected(&gateway).await;
    assert_eq!(wallet.claim(&link(1, &gateway.issuer)).await.expect("claimed"), id(1));
    let claims = posts(&gateway, "/claim");
    assert_eq!(claims[0].path, format!("/v1/wallet/challenges/{}/claim", id(1)));
    assert!(claims[0].body.contains("miid_ls_") && claims[0].proof(&gateway.issuer, T).is_ok());
    // Nothing to go back to before the yes, and no number is asked.
    assert!(matches!(wallet.return_to(id(1)), Err(DecisionError::NoReturn)));
    assert!(!wallet.proposal(id(1)).await.expect("proposal").needs_number);

    let outcome = wallet.approve(id(1), &share_name()).await.expect("approved");
    let address = wallet.return_to(id(1)).expect("an address");
    assert_eq!(outcome.return_to.as_deref(), Some(address.as_str()));
    assert_eq!(address.as_str(), return_to(1, &gateway.issuer));
    assert!(wallet.snapshot().requests[0].return_to);
    let kept = serde_json::to_string(&(memory.history(), wallet.snapshot())).expect("json");
    assert!(!kept.contains("miid_rc_") && !kept.contains("miid_ls_"), "{kept}");
    // A yes that is taken back has no way back either.
    wallet.cancel(id(1)).await.expect("cancelled");
    assert!(matches!(wallet.return_to(id(1)), Err(DecisionError::NoReturn)));
}

#[tokio::test]
async fn a_link_of_another_gateway_sends_nothing_anywhere() {
    let gateway = usual_gateway().await;
    let other = usual_gateway().await;
    let (wallet, ..) = connected(&gateway).await;
    let error = wallet.claim(&link(1, &other.issuer)).await.expect_err("refused");
    assert!(
        matches!(&error, DecisionError::Client(ClientError::OtherGateway(named)) if *named == other.issuer)
    );
    assert_eq!(error.code(), "not_ours");
    assert_eq!((posts(&gateway, "/claim").len(), other.seen().len()), (0, 0));
}

#[tokio::test]
async fn what_a_link_brings_is_read_as_strictly_as_anything_and_the_person_is_told_why() {
    let bad: [(Value, &str); 6] = [
        (linked(1, "pending", |says| says.service.name = "\u{202e}pohS".into()), "hidden characters"),
        (linked(1, "pending", |says| says.challenge_id = id(2)), "another request"),
        (linked(1, "pending", |says| says.claims = vec!["Name".into()]), "no proper name"),
        // An addressed request is not taken by a link: its number would not be asked for.
        (linked(1, "pending", |says| says.binding = Binding::Addressed), "not one that a link"),
        (
            json!({"challenge_id": id(1), "status": "pending", "request": "{}", "expires_at": Timestamp::from_millis(T)}),
            "cannot be read",
        ),
        (linked(2, "pending", |_| ()), "could not be understood"),
    ];
    for (claimed, why) in bad {
        let gateway = gateway(claimed, |issuer| return_to(1, issuer)).await;
        let (wallet, ..) = connected(&gateway).await;
        let error = wallet.claim(&link(1, &gateway.issuer)).await.expect_err(why);
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(wallet.snapshot().requests, []);
    }
    let late = linked(1, "pending", |says| says.expires_at = Timestamp::from_millis(T));
    let gateway = gateway(late, |issuer| return_to(1, issuer)).await;
    let (wallet, ..) = connected(&gateway).await;
    assert!(matches!(wallet.claim(&link(1, &gateway.issuer)).await, Err(DecisionError::Over)));
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_sent_again_and_a_refusal_is_not() {
    let gateway = Scripted::start(|seen, before| {
        usual(seen).unwrap_or_else(|| match seen.path.as_str() {
            "/v1/wallet/events" => Reply::Stream(String::new()),
            _ if before < 4 => Reply::Drop,
            _ => ok(linked(1, "pending", |_| ()).to_string()),
        })
    })
    .await;
    let (wallet, ..) = connected(&gateway).await;
    wallet.claim(&link(1, &gateway.issuer)).await.expect("claimed");
    assert_eq!(posts(&gateway, "/claim").len(), 2);

    for code in [ErrorCode::AlreadyClaimed, ErrorCode::ChallengeNotFound, ErrorCode::ChallengeExpired] {
        let gateway = Scripted::start(move |seen, _| {
            usual(seen).unwrap_or_else(|| {
                if seen.is("POST", "/claim") { problem(code) } else { Reply::Stream(String::new()) }
            })
        })
        .await;
        let (wallet, ..) = connected(&gateway).await;
        let error = wallet.claim(&link(1, &gateway.issuer)).await.expect_err("refused");
        assert_eq!(error.code(), code.as_str());
        assert_eq!((posts(&gateway, "/claim").len(), wallet.snapshot().requests.len()), (1, 0));
    }
}

#[tokio::test]
async fn an_address_that_is_none_of_this_sign_in_is_not_opened() {
    let bad: [fn(&Issuer) -> String; 5] = [
        |_| "file:///etc/passwd".into(),
        // It would go on as somebody else.
        |issuer| format!("{}&did={}", return_to(1, issuer), support::stranger()),
        |issuer| return_to(2, issuer),
        |issuer| return_to(1, issuer).replace("https://shop", "http://shop"),
        |_| return_to(1, &Issuer::parse("https://id.example.com").expect("issuer")),
    ];
    for address in bad {
        let gateway = gateway(linked(1, "pending", |_| ()), address).await;
        let (wallet, ..) = connected(&gateway).await;
        wallet.claim(&link(1, &gateway.issuer)).await.expect("claimed");
        let outcome = wallet.approve(id(1), &share_name()).await.expect("approved");
        assert_eq!((outcome.status, outcome.return_to), (ChallengeStatus::Approved, None));
        assert!(matches!(wallet.return_to(id(1)), Err(DecisionError::NoReturn)));
    }
}

#[tokio::test]
async fn a_wallet_that_comes_back_finds_the_way_back_in_the_list() {
    let gateway = Scripted::start(|seen, _| {
        let host = seen.header("host").expect("host");
        let issuer = Issuer::parse(&format!("http://{host}")).expect("issuer");
        match seen.path.as_str() {
            "/v1/wallet/challenges" => {
                let mut listed = linked(1, "approved", |_| ());
                listed["return_to"] = json!(return_to(1, &issuer));
                ok(json!({"challenges": [listed]}).to_string())
            }
            _ => usual(seen).unwrap_or_else(|| Reply::Stream(String::new())),
        }
    })
    .await;
    let (wallet, ..) = connected(&gateway).await;
    assert_eq!(wallet.return_to(id(1)).expect("there").as_str(), return_to(1, &gateway.issuer));
}

fn rule(kind: Kind) -> NewRule {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (scopes, claims) = (names(&["profile", "email"]), names(&["name"]));
    NewRule { kind, service_name: "Demo Shop".into(), scopes, claims, withheld: names(&[]), days: 30 }
}

fn has_signed_in(gateway: &Scripted, memory: &PassingMemory) {
    let (issuer, at) = (gateway.issuer.clone(), Timestamp::from_millis(T));
    memory.change_services(&mut |services| services.signed_in(&issuer, &shop(), at)).expect("kept");
}

#[tokio::test]
async fn a_one_click_rule_claims_and_approves_counts_it_and_says_so() {
    let gateway = usual_gateway().await;
    let (wallet, memory, mut updates) = connected(&gateway).await;
    assert!(!wallet.may_act_alone().await.expect("read"));
    wallet.add_rule(&shop(), rule(Kind::OneClick)).await.expect("made");
    // A rule for a service that one has not signed in at is none.
    assert!(!wallet.may_act_alone().await.expect("read"));
    has_signed_in(&gateway, &memory);
    assert!(wallet.may_act_alone().await.expect("read"));

    let done = wallet.one_click(&link(1, &gateway.issuer)).await.expect("done");
    let OneClick::Approved(outcome) = done else { panic!("{done:?}") };
    assert_eq!(outcome.status, ChallengeStatus::Approved);
    assert_eq!(wallet.return_to(id(1)).expect("there").as_str(), return_to(1, &gateway.issuer));
    let told = until(&mut updates, |update| matches!(update, WalletUpdate::OneClick { .. })).await;
    assert_eq!(told, WalletUpdate::OneClick { challenge_id: id(1), service: "Demo Shop".into() });
    let history = memory.history();
    assert_eq!((history[0].what, history[0].outcome.as_str()), (What::OneClick, "done"));
    assert_eq!(history[0].shared, ["name"]);
    assert!(history[0].statement.is_some());
    let rules = wallet.rules().await.expect("read");
    assert_eq!((rules[0].1.used, rules[0].1.last_used_at), (1, Some(Timestamp::from_millis(T))));
    assert!(wallet.remove_rule(&shop()).await.expect("removed"));
    assert!(!wallet.remove_rule(&shop()).await.expect("asked"));
    assert!(!wallet.may_act_alone().await.expect("read"));
}

#[tokio::test]
async fn whatever_a_one_click_rule_does_not_cover_waits_for_the_person() {
    type Change = fn(&mut miid_protocol::request::SignInRequest);
    let cases: [(Change, Kind, bool); 6] = [
        (|_| (), Kind::OneClick, false),
        (|_| (), Kind::Prefill, true),
        (step_up, Kind::OneClick, true),
        (|says| says.scopes.push("orders".into()), Kind::OneClick, true),
        (|says| says.claims.push("email".into()), Kind::OneClick, true),
        (|says| says.service.id = ClientId::parse("demo-shop2").expect("id"), Kind::OneClick, true),
    ];
    for (change, kind, before) in cases {
        let gateway = gateway(linked(1, "pending", change), |issuer| return_to(1, issuer)).await;
        let (wallet, memory, _updates) = connected(&gateway).await;
        wallet.add_rule(&shop(), rule(kind)).await.expect("made");
        if before {
            has_signed_in(&gateway, &memory);
        }
        assert_eq!(wallet.one_click(&link(1, &gateway.issuer)).await.expect("done"), OneClick::Ask(id(1)));
        assert_eq!((posts(&gateway, "/approve").len(), memory.history().len()), (0, 0));
        assert_eq!(wallet.snapshot().requests.len(), 1);
        assert!(wallet.rules().await.expect("read").iter().all(|(_, rule)| rule.used == 0));
    }
}

#[tokio::test]
async fn an_addressed_request_is_not_answered_by_a_rule_however_it_comes() {
    // In the stream, where a one-click rule stands ready for its service: it is filled in, and asks.
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            let mut says = sample(1);
            says.claims = vec!["name".into()];
            let data = json!({"challenge_id": id(1), "request": says.to_text()});
            Reply::Stream(format!("id: 1\nevent: challenge_created\ndata: {data}\n\n"))
        })
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    has_signed_in(&gateway, &memory);
    wallet.add_rule(&shop(), rule(Kind::OneClick)).await.expect("made");
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    let proposal = wallet.proposal(id(1)).await.expect("proposal");
    assert!(proposal.needs_number && proposal.known_service && proposal.claims[0].share);
    assert_eq!(posts(&gateway, "/approve").len(), 0);
    let error = wallet.approve(id(1), &share_name()).await.expect_err("no number");
    assert!(matches!(error, DecisionError::Policy(_)));
}

#[tokio::test]
async fn a_sign_in_makes_a_service_known_and_so_does_a_session_that_lives() {
    let session = json!({"session_id": "0198e0a0-0000-7000-8000-00000000beef",
        "service": {"id": "demo-shop", "name": "Demo Shop"}, "scopes": [], "claims": [],
        "created_at": Timestamp::from_millis(T), "last_used_at": Timestamp::from_millis(T),
        "expires_at": Timestamp::from_millis(T + MINUTE)});
    let gateway = Scripted::start(move |seen, _| match seen.path.as_str() {
        "/v1/wallet/sessions" => ok(json!({"sessions": [session]}).to_string()),
        _ => usual(seen).unwrap_or_else(|| Reply::Stream(String::new())),
    })
    .await;
    let (_wallet, memory, _updates) = connected(&gateway).await;
    assert!(memory.services().expect("read").has_signed_in(&gateway.issuer, &shop()));
    let elsewhere = Issuer::parse("https://id.example.com").expect("issuer");
    assert!(!memory.services().expect("read").has_signed_in(&elsewhere, &shop()));
}

#[tokio::test]
async fn a_muted_service_is_listed_until_its_time_is_over_or_it_is_heard_again() {
    let gateway = usual_gateway().await;
    let (wallet, ..) = connected(&gateway).await;
    wallet.mute(&shop(), "Demo Shop", 10).await.expect("muted");
    let mutes = wallet.mutes().await.expect("read");
    assert_eq!((mutes[0].0.clone(), mutes[0].1.until), (shop(), Timestamp::from_millis(T + 10 * MINUTE)));
    assert_eq!(wallet.mute(&shop(), "Demo Shop", 0).await.expect_err("refused").code(), "bad_rule");
    assert!(wallet.unmute(&shop()).await.expect("heard"));
    assert_eq!(wallet.mutes().await.expect("read"), []);
}

#[tokio::test]
async fn a_step_up_of_another_identitys_session_is_not_this_ones_to_answer() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| match seen.is("POST", "/claim") {
            true => problem(ErrorCode::DidMismatch),
            false => Reply::Stream(String::new()),
        })
    })
    .await;
    let (wallet, memory, _updates) = connected(&gateway).await;
    let error = wallet.claim(&link(1, &gateway.issuer)).await.expect_err("not ours");
    assert!(matches!(error, DecisionError::OtherIdentity), "{error:?}");
    assert_eq!((error.code(), wallet.snapshot().requests.len()), ("did_mismatch", 0));
    assert_eq!(memory.history().len(), 0);
    // Asked once: what is somebody else's stays so.
    assert_eq!(posts(&gateway, "/claim").len(), 1);
}
