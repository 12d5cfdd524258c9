//! The end of an identity: from the wallet, from paper, and as news.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};

use miid_protocol::problem::ErrorCode;
use miid_protocol::statement::{self, Context, Expect};
use miid_protocol::{Did, Timestamp};
use miid_wallet::client::retire_with;
use miid_wallet::history::What;
use miid_wallet::recovery::RetireStatement;
use miid_wallet::{ClientError, Connection, WalletUpdate};
use serde_json::json;
use support::requests::{created, id, statement_in, usual, yes};
use support::{Reply, Scripted, Seen, T, ok, problem, quick, until};

fn retired(did: &Did) -> Reply {
    ok(json!({"did": did, "at": Timestamp::from_millis(T + 5)}).to_string())
}

/// The signer of the statement that came.
fn signer(seen: &Seen) -> Did {
    RetireStatement::parse(&statement_in(seen)).expect("a retirement").did
}

#[tokio::test]
async fn an_identity_is_retired_by_one_statement_however_often_it_takes_and_nothing_follows_it() {
    let dropped = Arc::new(Mutex::new(false));
    let gateway = Scripted::start(move |seen, _| {
        usual(seen).unwrap_or_else(|| match seen.path.as_str() {
            "/v1/wallet/retire" if !std::mem::replace(&mut *dropped.lock().expect("lock"), true) => {
                Reply::Drop
            }
            "/v1/wallet/retire" => retired(&signer(seen)),
            _ => Reply::Stream(String::new()),
        })
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    let done = wallet.retire().await.expect("retired");
    assert_eq!((done.at, done.ended), (Timestamp::from_millis(T + 5), 0));
    until(&mut updates, |update| matches!(update, WalletUpdate::Stopped { .. })).await;
    assert!(matches!(wallet.snapshot().connection, Connection::Stopped { .. }));

    let posts: Vec<_> = gateway.seen().into_iter().filter(|seen| seen.is("POST", "/retire")).collect();
    assert_eq!(posts.len(), 2);
    assert_eq!(statement_in(&posts[0]), statement_in(&posts[1]));
    let did = posts[0].proof(&gateway.issuer, T).expect("holds").did;
    let context = Context { now_s: T / 1000, gateway: &gateway.issuer, client_id: "", did: &did };
    statement::verify(&statement_in(&posts[0]), context, Expect::Retire).expect("holds");
    let history = memory.history();
    assert_eq!((history[0].what, history[0].outcome.as_str()), (What::Retired, "done"));
    assert_eq!(history[0].statement.as_deref(), Some(statement_in(&posts[0]).as_str()));
    assert_eq!(memory.retirements().len(), 1);
}

#[tokio::test]
async fn a_retirement_that_the_gateway_refuses_stops_nothing() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            if seen.is("POST", "/retire") {
                problem(ErrorCode::InvalidStatement)
            } else {
                Reply::Stream(String::new())
            }
        })
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    assert_eq!(wallet.retire().await.expect_err("refused").code(), "invalid_statement");
    assert_eq!(wallet.snapshot().connection, Connection::Connected);
    assert_eq!((memory.retirements().len(), memory.history()[0].outcome.as_str()), (0, "invalid_statement"));
}

#[tokio::test]
async fn a_decision_that_meets_a_retired_identity_ends_the_following_and_is_kept() {
    let gateway = Scripted::start(|seen, _| {
        usual(seen).unwrap_or_else(|| {
            if seen.is("POST", "/approve") {
                problem(ErrorCode::DidRetired)
            } else {
                Reply::Stream(created(1, 1))
            }
        })
    })
    .await;
    let (wallet, memory, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    assert_eq!(wallet.approve(id(1), &yes()).await.expect_err("over").code(), "did_retired");
    until(&mut updates, |update| matches!(update, WalletUpdate::Stopped { .. })).await;
    assert_eq!(memory.retirements(), [(gateway.issuer.clone(), Timestamp::from_millis(T))]);
}

#[tokio::test]
async fn a_statement_on_paper_needs_no_key_and_carries_no_proof() {
    let gateway = Scripted::start(|seen, _| retired(&signer(seen))).await;
    let client = gateway.client();
    let paper = RetireStatement::parse(&client.sign_retirement().expect("signed")).expect("reads");
    assert_eq!((&paper.did, &paper.gateway), (client.did(), &gateway.issuer));
    drop(client);
    for _ in 0..2 {
        let outcome = retire_with(&paper, None).await.expect("retired");
        assert_eq!((outcome.did, outcome.at), (paper.did.clone(), Timestamp::from_millis(T + 5)));
    }
    for seen in gateway.seen() {
        assert_eq!((seen.path.as_str(), seen.header("authorization")), ("/v1/wallet/retire", None));
        assert_eq!(statement_in(&seen), paper.statement);
    }
}

#[tokio::test]
async fn an_answer_about_another_identity_is_no_retirement() {
    let stranger = Scripted::start(|_, _| Reply::Drop).await.client().did().clone();
    let gateway = Scripted::start(move |_, _| retired(&stranger)).await;
    let client = gateway.client();
    let paper = RetireStatement::parse(&client.sign_retirement().expect("signed")).expect("reads");
    assert!(matches!(retire_with(&paper, None).await, Err(ClientError::NotUnderstood)));
}
