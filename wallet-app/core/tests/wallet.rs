//! A whole wallet against a gateway that a test scripts: what it hears, what it asks for, what it signs.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason};
use miid_protocol::statement::{self, AboutChallenge, Decided, Expect, Offer};
use miid_protocol::{ClientId, Handle, Issuer, Timestamp};
use miid_wallet::history::{Entry, What};
use miid_wallet::memory::{Memory, MemoryError, PassingMemory};
use miid_wallet::profile::Profile;
use miid_wallet::stream::StreamSettings;
use miid_wallet::vault::Services;
use miid_wallet::{Approval, Connection, DecisionError, Wallet, WalletUpdate};
use serde_json::json;
use support::requests::{
    challenges, created, id, listed, no_sessions, outcome, sample, statement_in, usual, yes,
};
use support::{Reply, Scripted, T, ok, problem, quick, until};

#[tokio::test]
async fn a_stream_is_resumed_where_it_ended_with_a_fresh_proof_each_time() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| match seen.header("last-event-id") {
            None => Reply::StreamAndEnd(format!("retry: 1\n\n{}", created(1, 7))),
            Some("7") => Reply::StreamAndEnd(created(2, 8)),
            Some(_) => Reply::Stream(created(3, 9)),
        })
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { challenge_id, .. } if *challenge_id == id(3))).await;
    let streams: Vec<_> = gateway.seen().into_iter().filter(|seen| seen.is("GET", "/events")).collect();
    let positions: Vec<_> = streams.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(positions, [None, Some("7"), Some("8")]);
    let proofs: HashSet<_> =
        streams.iter().map(|seen| seen.proof(&gateway.issuer, T).expect("holds").jti).collect();
    assert_eq!(proofs.len(), 3);
    // The lists were read for the first connection and for no other: a position means that nothing was missed.
    assert_eq!((gateway.count("GET", "/challenges"), gateway.count("GET", "/sessions")), (1, 1));
    assert_eq!(wallet.snapshot().requests.len(), 3);
    assert_eq!(wallet.snapshot().connection, Connection::Connected);
    wallet.stop().await;
}

#[tokio::test]
async fn the_lists_are_read_once_the_stream_is_open_and_after_a_resync() {
    let gateway = Scripted::start(|seen, before| match seen.path.as_str() {
        "/v1/wallet/events" => Reply::Stream("id: 40\nevent: resync\ndata: {}\n\n".to_owned()),
        "/v1/wallet/challenges" if before < 3 => challenges(&[listed(1, "pending")]),
        "/v1/wallet/challenges" => challenges(&[listed(2, "approved")]),
        _ => no_sessions(),
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { challenge_id, .. } if *challenge_id == id(1))).await;
    until(&mut updates, |update| *update == WalletUpdate::Gone { challenge_id: id(1) }).await;
    until(&mut updates, |update| *update == WalletUpdate::Resync).await;
    assert_eq!(gateway.seen()[0].path, "/v1/wallet/events");
    let requests = wallet.snapshot().requests;
    assert_eq!(requests.iter().map(|shown| shown.request.challenge_id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(gateway.count("GET", "/challenges"), 2);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_looked_up_in_the_lists_and_passed() {
    let gateway = Scripted::start(|seen, before| match seen.path.as_str() {
        "/v1/wallet/events" => match seen.header("last-event-id") {
            // A reason that this version does not know.
            None => {
                let data = json!({"challenge_id": id(1), "reason": "moon", "at": Timestamp::from_millis(T)});
                let first = created(1, 1);
                Reply::StreamAndEnd(format!("{first}id: 2\nevent: challenge_denied\ndata: {data}\n\n"))
            }
            Some("2") => Reply::Stream(created(3, 3)),
            Some(other) => panic!("resumed from {other}"),
        },
        "/v1/wallet/challenges" if before < 3 => challenges(&[]),
        "/v1/wallet/challenges" => challenges(&[listed(2, "pending")]),
        _ => no_sessions(),
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| *update == WalletUpdate::Gone { challenge_id: id(1) }).await;
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { challenge_id, .. } if *challenge_id == id(3))).await;
    let requests = wallet.snapshot().requests;
    assert_eq!(
        requests.iter().map(|shown| shown.request.challenge_id).collect::<HashSet<_>>(),
        [id(2), id(3)].into()
    );
    assert_eq!(gateway.count("GET", "/challenges"), 2);
}

#[tokio::test]
async fn a_stream_of_bytes_that_cannot_be_read_is_not_asked_for_again() {
    let gateway = Scripted::start(|seen, before| match seen.path.as_str() {
        "/v1/wallet/events" => match (seen.header("last-event-id"), before) {
            (None, 0) => Reply::StreamAndEnd(created(1, 1)),
            (None, _) => Reply::Stream(created(3, 3)),
            (Some(_), _) => {
                Reply::StreamAndEnd(format!("id: 2\nevent: x\ndata: {}\n\n", "x".repeat(300 * 1024)))
            }
        },
        "/v1/wallet/challenges" => challenges(&[listed(1, "pending")]),
        _ => no_sessions(),
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { challenge_id, .. } if *challenge_id == id(3))).await;
    assert_eq!(wallet.snapshot().requests.len(), 2);
    assert_eq!(gateway.count("GET", "/challenges"), 2);
}

#[tokio::test]
async fn silence_ends_a_stream_and_comments_keep_it() {
    let gateway =
        Scripted::start(|seen, _| usual(seen).unwrap_or_else(|| Reply::Stream(": alive\n\n".to_owned())))
            .await;
    let settings = StreamSettings { silence: Duration::from_millis(40), ..quick() };
    let (_wallet, _, mut updates) = gateway.wallet(settings);
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    let gone = until(&mut updates, |update| matches!(update, WalletUpdate::Disconnected { .. })).await;
    assert!(matches!(gone, WalletUpdate::Disconnected { reason, .. } if reason.contains("silent")));
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
}

#[tokio::test]
async fn a_retired_identity_is_not_tried_again() {
    let gateway = Scripted::start(|_, _| problem(ErrorCode::DidRetired)).await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Stopped { .. })).await;
    assert!(matches!(wallet.snapshot().connection, Connection::Stopped { .. }));
    assert_eq!(gateway.seen().len(), 1);
    // Kept, so that it is not tried at the next start either.
    assert_eq!(memory.retirements(), [(gateway.issuer.clone(), Timestamp::from_millis(T))]);
}

#[tokio::test]
async fn an_approval_signs_what_was_shown_and_shares_what_was_ticked() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            if seen.is("POST", "/approve") { outcome("approved") } else { Reply::Stream(created(1, 1)) }
        })
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    assert!(wallet.proposal(id(1)).await.expect("proposal").claims[0].share);
    let error = wallet.approve(id(1), &Approval::default()).await.expect_err("no number");
    assert!(matches!(error, DecisionError::Policy(_)));
    assert_eq!(wallet.approve(id(1), &yes()).await.expect("approved").status, ChallengeStatus::Approved);

    let posts: Vec<_> = gateway.seen().into_iter().filter(|seen| seen.is("POST", "/approve")).collect();
    let [post] = posts.as_slice() else { panic!("one approval, not {}", posts.len()) };
    let did = post.proof(&gateway.issuer, T).expect("holds").did;
    let says = sample(1);
    let body: serde_json::Value = serde_json::from_str(&post.body).expect("json");
    let verified = statement::verify(
        body["statement"].as_str().expect("statement"),
        statement::Context { now_s: T / 1000, gateway: &gateway.issuer, client_id: "demo-shop", did: &did },
        Expect::Approve(
            AboutChallenge { id: &id(1).to_string(), nonce: &says.nonce, request: &says.to_text() },
            Offer {
                binding: Binding::Addressed,
                scopes: &says.scopes,
                claims: &says.claims,
                disclosure: body["disclosure"].as_str(),
            },
        ),
    );
    let Decided::Approve(approved) = verified.expect("holds") else { panic!("no yes") };
    assert_eq!(approved.scopes(), ["profile", "email"]);
    assert_eq!(*approved.claims(), BTreeMap::from([("name".to_owned(), "Alice Kim".to_owned())]));
    assert!(approved.match_code().is("47"));

    let history = memory.history();
    assert_eq!((history[0].what, history[0].outcome.as_str()), (What::Approved, "done"));
    assert_eq!(history[0].shared, ["name"]);
    let kept = serde_json::to_string(&history).expect("json");
    assert!(!kept.contains("Alice Kim"), "the history holds a shared value");
    assert_eq!(
        until(&mut updates, |update| matches!(update, WalletUpdate::Approved { .. })).await,
        WalletUpdate::Approved { challenge_id: id(1) }
    );
}

#[tokio::test]
async fn an_approval_whose_answer_was_lost_is_found_in_the_list() {
    let gateway = Scripted::start(|seen, before| match seen.path.as_str() {
        "/v1/wallet/events" => Reply::Stream(created(1, 1)),
        "/v1/wallet/challenges" if before < 4 => challenges(&[]),
        "/v1/wallet/challenges" => challenges(&[listed(1, "approved")]),
        "/v1/wallet/sessions" => no_sessions(),
        _ => Reply::Drop,
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    assert_eq!(wallet.approve(id(1), &yes()).await.expect("approved").status, ChallengeStatus::Approved);
    assert_eq!(gateway.count("POST", "/approve"), 1);
    assert_eq!(memory.history()[0].outcome, "done");
}

#[tokio::test]
async fn an_approval_that_did_not_arrive_is_sent_again_with_the_same_statement_and_another_proof() {
    let tries = Arc::new(Mutex::new(0));
    let gateway = Scripted::start(move |seen, before| match seen.path.as_str() {
        "/v1/wallet/events" => Reply::Stream(created(1, 1)),
        "/v1/wallet/challenges" if before < 4 => challenges(&[]),
        "/v1/wallet/challenges" => challenges(&[listed(1, "pending")]),
        "/v1/wallet/sessions" => no_sessions(),
        _ => {
            let mut tries = tries.lock().expect("lock");
            *tries += 1;
            if *tries < 3 { Reply::Drop } else { outcome("approved") }
        }
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    assert_eq!(wallet.approve(id(1), &yes()).await.expect("approved").status, ChallengeStatus::Approved);
    let posts: Vec<_> = gateway.seen().into_iter().filter(|seen| seen.is("POST", "/approve")).collect();
    let statements: HashSet<_> = posts.iter().map(statement_in).collect();
    let proofs: HashSet<_> =
        posts.iter().map(|seen| seen.proof(&gateway.issuer, T).expect("holds").jti).collect();
    assert_eq!((posts.len(), statements.len(), proofs.len()), (3, 1, 3));
}

#[tokio::test]
async fn a_wrong_number_ends_the_request_and_a_refusal_is_not_repeated() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            if seen.is("POST", "/approve") {
                problem(ErrorCode::WrongMatchCode)
            } else {
                Reply::Stream(created(1, 1))
            }
        })
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    let error = wallet.approve(id(1), &yes()).await.expect_err("wrong");
    assert_eq!(error.code(), "wrong_match_code");
    assert_eq!(gateway.count("POST", "/approve"), 1);
    let denied = WalletUpdate::Denied { challenge_id: id(1), reason: DenyReason::WrongMatchCode };
    until(&mut updates, |update| *update == denied).await;
    assert_eq!(memory.history()[0].outcome, "wrong_match_code");
    assert!(matches!(wallet.approve(id(1), &yes()).await, Err(DecisionError::UnknownRequest)));
}

#[tokio::test]
async fn an_approval_is_cancelled_and_a_session_revoked_with_statements_of_their_own() {
    let session = "0198e0a0-0000-7000-8000-00000000beef";
    let sessions = json!({"sessions": [{
        "session_id": session, "service": {"id": "demo-shop", "name": "Demo Shop"}, "scopes": [], "claims": [],
        "created_at": Timestamp::from_millis(T), "last_used_at": Timestamp::from_millis(T),
        "expires_at": Timestamp::from_millis(T),
    }]});
    let dropped = Arc::new(Mutex::new(false));
    let gateway =
        Scripted::start(move |seen, _| match (seen.method.as_str(), seen.path.as_str()) {
            ("GET", "/v1/wallet/events") => {
                let at = json!({"challenge_id": id(1), "at": Timestamp::from_millis(T)});
                Reply::Stream(format!("{}id: 2\nevent: challenge_approved\ndata: {at}\n\n", created(1, 1)))
            }
            ("GET", "/v1/wallet/challenges") => challenges(&[]),
            ("GET", "/v1/wallet/sessions") => ok(sessions.to_string()),
            ("POST", path) if path.ends_with("/cancel") => outcome("pending"),
            // The answer to the first revocation is lost; the same statement again repeats it.
            _ if !std::mem::replace(&mut *dropped.lock().expect("lock"), true) => Reply::Drop,
            _ => ok(json!({"session_id": session, "status": "revoked", "at": Timestamp::from_millis(T)})
                .to_string()),
        })
        .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Approved { .. })).await;
    assert_eq!(wallet.cancel(id(1)).await.expect("cancelled").status, ChallengeStatus::Pending);
    until(&mut updates, |update| matches!(update, WalletUpdate::Cancelled { .. })).await;
    let session = miid_protocol::SessionId::parse(session).expect("id");
    wallet.revoke(session).await.expect("revoked");
    assert_eq!(wallet.snapshot().sessions, []);
    let posts: Vec<_> = gateway.seen().into_iter().filter(|seen| seen.is("POST", "/revoke")).collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(statement_in(&posts[0]), statement_in(&posts[1]));
    let did = posts[0].proof(&gateway.issuer, T).expect("holds").did;
    let context =
        statement::Context { now_s: T / 1000, gateway: &gateway.issuer, client_id: "demo-shop", did: &did };
    let verified = statement::verify(&statement_in(&posts[0]), context, Expect::Revoke(&session.to_string()));
    assert!(matches!(verified.expect("holds"), Decided::Revoke(_)));
    assert_eq!(
        memory.history().iter().map(|entry| entry.what).collect::<Vec<_>>(),
        [What::Cancelled, What::Revoked]
    );
}

#[tokio::test]
async fn two_decisions_about_one_request_do_not_cross() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            if seen.is("POST", "/deny") { outcome("denied") } else { Reply::Stream(created(1, 1)) }
        })
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    let (first, second) =
        tokio::join!(wallet.deny(id(1), DenyReason::NotMe), wallet.deny(id(1), DenyReason::Declined));
    assert_eq!(first.expect("denied").status, ChallengeStatus::Denied);
    assert!(matches!(second, Err(DecisionError::InProgress)));
    assert_eq!(gateway.count("POST", "/deny"), 1);
}

/// A memory whose writes wait until they are let through.
struct Slow {
    memory: PassingMemory,
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    go: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Memory for Slow {
    fn profile(&self) -> Result<Profile, MemoryError> {
        self.memory.profile()
    }
    fn services(&self) -> Result<Services, MemoryError> {
        self.memory.services()
    }
    fn change_services(&self, change: &mut dyn FnMut(&mut Services)) -> Result<(), MemoryError> {
        self.begun.send(()).expect("waited for");
        self.go.lock().expect("lock").recv().expect("let through");
        self.memory.change_services(change)
    }
    fn hold(&self, _: &Issuer, _: Option<Handle>) -> Result<(), MemoryError> {
        Ok(())
    }
    fn retired(&self, issuer: &Issuer, at: Timestamp) -> Result<(), MemoryError> {
        self.memory.retired(issuer, at)
    }
    fn record(&self, entry: &Entry) -> Result<(), MemoryError> {
        self.memory.record(entry)
    }
}

#[tokio::test]
async fn what_was_heard_is_written_down_before_a_wallet_has_stopped() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            let made = json!({"challenge_id": id(1), "session_id": "0198e0a0-0000-7000-8000-00000000beef",
                "sub": "s", "at": Timestamp::from_millis(T)});
            Reply::Stream(format!("{}id: 2\nevent: session_created\ndata: {made}\n\n", created(1, 1)))
        })
    })
    .await;
    let (begun, mut writing) = tokio::sync::mpsc::unbounded_channel();
    let (go, wait) = std::sync::mpsc::channel();
    let memory = Arc::new(Slow { memory: PassingMemory::default(), begun, go: Mutex::new(wait) });
    let wallet = Wallet::new(gateway.client(), memory.clone(), quick());
    let mut updates = wallet.subscribe();
    wallet.follow();
    // Whoever watches hears of it, and ends the wallet while it is still being written down.
    until(&mut updates, |update| matches!(update, WalletUpdate::Active { .. })).await;
    writing.recv().await.expect("writing");
    let stopping = tokio::spawn(wallet.stop());
    go.send(()).expect("waits");
    stopping.await.expect("stopped");
    let shop = ClientId::parse("demo-shop").expect("id");
    assert!(memory.services().expect("read").has_signed_in(&gateway.issuer, &shop));
    let what: Vec<_> = memory.memory.history().iter().map(|entry| entry.what).collect();
    assert_eq!(what, [What::SignedIn]);
}
