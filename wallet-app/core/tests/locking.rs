//! A locked wallet: no key, nothing known, one open stream, one number.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use miid_protocol::{Issuer, Timestamp};
use miid_wallet::{ClientError, Connection, DecisionError, WalletUpdate};
use serde_json::json;
use support::requests::{created, id, link, listed, no_sessions, sample, usual, yes};
use support::{Reply, Scripted, T, ok, quick, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A gateway whose stream says what the test says, when the test says it; and how often anything was asked.
struct Live {
    issuer: Issuer,
    say: mpsc::UnboundedSender<Option<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Live {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let issuer =
            Issuer::parse(&format!("http://{}", listener.local_addr().expect("address"))).expect("issuer");
        let (say, said) = mpsc::unbounded_channel::<Option<String>>();
        let said = Arc::new(tokio::sync::Mutex::new(said));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (kept, said) = (kept.clone(), said.clone());
                tokio::spawn(async move {
                    let Some(seen) = support::read(&mut socket).await else { return };
                    kept.lock().expect("lock").push(seen.path.clone());
                    if seen.path != "/v1/wallet/events" {
                        support::answer(&mut socket, usual(&seen).expect("a list")).await;
                        return;
                    }
                    support::stream(&mut socket, "retry: 1\n\n").await;
                    let mut said = said.lock().await;
                    while let Some(Some(text)) = said.recv().await {
                        socket.write_all(text.as_bytes()).await.expect("written");
                    }
                });
            }
        });
        Self { issuer, say, asked }
    }

    fn says(&self, text: String) {
        self.say.send(Some(text)).expect("open");
    }

    fn ends(&self) {
        self.say.send(None).expect("open");
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("lock").len()
    }
}

#[tokio::test]
async fn while_locked_what_waits_is_counted_and_nothing_else_is_known_or_asked() {
    let gateway = Live::start().await;
    let (wallet, memory, mut updates) = support::wallet_at(&gateway.issuer, quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    gateway.says(created(1, 1));
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    let before = gateway.asked();
    wallet.lock();
    wallet.lock();
    assert!(wallet.is_locked());
    let snapshot = wallet.snapshot();
    assert_eq!((snapshot.requests.len(), snapshot.sessions.len()), (0, 0));
    // What waited when it was locked waits still.
    assert_eq!(snapshot.unseen, 1);
    assert_eq!(snapshot.connection, Connection::Connected);

    gateway.says(created(2, 2));
    until(&mut updates, |update| *update == WalletUpdate::Unseen { count: 2 }).await;
    gateway.says(created(2, 2));
    // What cannot be shown counts for nothing, and what would make an open wallet ask for lists is passed over.
    gateway.says(format!(
        "id: 3\nevent: challenge_created\ndata: {}\n\n",
        json!({"challenge_id": id(9), "request": "{}"})
    ));
    gateway.says("id: 4\nevent: resync\ndata: {}\n\n".to_owned());
    gateway.says(created(3, 6));
    until(&mut updates, |update| *update == WalletUpdate::Unseen { count: 3 }).await;
    assert_eq!((wallet.snapshot().unseen, wallet.snapshot().requests.len()), (3, 0));
    assert_eq!((gateway.asked(), memory.history().len()), (before, 0));

    gateway.ends();
    support::eventually(|| wallet.snapshot().connection == Connection::Idle).await;
    wallet.stop().await;
    // No second connection was tried.
    assert_eq!(gateway.asked(), before);
}

#[tokio::test]
async fn while_locked_a_request_counts_for_as_long_as_it_waits() {
    let gateway = Live::start().await;
    let clock = Arc::new(support::Hand(AtomicI64::new(T)));
    let (wallet, _, mut updates) = support::wallet_by(&gateway.issuer, quick(), clock.clone());
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    gateway.says(created(1, 1));
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    wallet.lock();
    let mut position = 1;
    let mut say = |name: &str, data: serde_json::Value| {
        position += 1;
        gateway.says(format!("id: {position}\nevent: {name}\ndata: {data}\n\n"));
    };
    let at = Timestamp::from_millis(T);
    let over = |n: u32| json!({"challenge_id": id(n), "reason": "withdrawn", "at": at});
    let with_session = |n: u32| json!({"challenge_id": id(n), "session_id": id(77), "sub": "s", "at": at});
    for n in 2..=5 {
        say("challenge_created", json!({"challenge_id": id(n), "request": sample(n).to_text()}));
        let count = usize::try_from(n).expect("a few");
        until(&mut updates, |update| *update == WalletUpdate::Unseen { count }).await;
    }
    for (name, data, count) in [
        ("challenge_denied", json!({"challenge_id": id(1), "reason": "declined", "at": at}), 4),
        ("challenge_expired", over(2), 3),
        ("session_created", with_session(3), 2),
        ("challenge_exchanged", with_session(4), 1),
        ("challenge_approved", json!({"challenge_id": id(5), "at": at}), 0),
    ] {
        say(name, data);
        until(&mut updates, |update| *update == WalletUpdate::UnseenOver { count }).await;
        assert_eq!(wallet.snapshot().unseen, count, "{name}");
    }
    // What is over stays so, even where its beginning is told twice; a yes that is taken back waits again.
    say("challenge_created", json!({"challenge_id": id(2), "request": sample(2).to_text()}));
    say("approval_cancelled", json!({"challenge_id": id(5), "at": at}));
    until(&mut updates, |update| *update == WalletUpdate::Unseen { count: 1 }).await;
    // And by the clock alone, with nobody who says so.
    clock.0.fetch_add(5 * support::MINUTE - 1, Ordering::SeqCst);
    assert_eq!(wallet.snapshot().unseen, 1);
    clock.0.fetch_add(1, Ordering::SeqCst);
    assert_eq!(wallet.snapshot().unseen, 0);
}

#[tokio::test]
async fn a_locked_wallet_signs_and_proves_nothing() {
    let gateway =
        Scripted::start(|seen, _| usual(seen).unwrap_or_else(|| Reply::Stream(created(1, 1)))).await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::ChallengeCreated { .. })).await;
    let before = gateway.seen().len();
    wallet.lock();
    let locked = |error: DecisionError| {
        assert!(matches!(error, DecisionError::Client(ClientError::Locked)), "{error:?}");
        assert_eq!(error.code(), "locked");
    };
    locked(wallet.claim(&link(2, &gateway.issuer)).await.expect_err("locked"));
    locked(wallet.sessions().await.expect_err("locked"));
    locked(wallet.refresh().await.expect_err("locked"));
    locked(wallet.retire().await.expect_err("locked"));
    locked(wallet.set_handle(None).await.expect_err("locked"));
    assert!(matches!(wallet.approve(id(1), &yes()).await, Err(DecisionError::UnknownRequest)));
    assert_eq!(gateway.seen().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_on_its_way_when_it_was_locked_tells_nothing_any_more() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (reached, mut at_list) = mpsc::unbounded_channel();
    let held = Mutex::new(held);
    let gateway = Scripted::start(move |seen, before| match seen.path.as_str() {
        "/v1/wallet/events" => Reply::Stream(String::new()),
        "/v1/wallet/challenges" if before > 2 => {
            reached.send(()).expect("open");
            tokio::task::block_in_place(|| held.lock().expect("lock").recv()).expect("let go");
            ok(json!({"challenges": [listed(1, "pending")]}).to_string())
        }
        "/v1/wallet/challenges" => ok(r#"{"challenges":[]}"#),
        _ => no_sessions(),
    })
    .await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Connected { .. })).await;
    let refreshing = tokio::spawn({
        let wallet = wallet.clone();
        async move { wallet.refresh().await }
    });
    at_list.recv().await.expect("asked");
    wallet.lock();
    hold.send(()).expect("waiting");
    let _ = refreshing.await.expect("ran");
    assert_eq!(wallet.snapshot().requests, []);
}

#[tokio::test]
async fn a_wallet_that_is_locked_while_it_is_away_does_not_come_back() {
    let gateway =
        Scripted::start(|seen, _| usual(seen).unwrap_or_else(|| Reply::StreamAndEnd(String::new()))).await;
    let (wallet, _, mut updates) = gateway.wallet(quick());
    until(&mut updates, |update| matches!(update, WalletUpdate::Disconnected { .. })).await;
    wallet.lock();
    support::eventually(|| wallet.snapshot().connection == Connection::Idle).await;
    let streams = gateway.count("GET", "/events");
    // The follower has ended by itself, so there is nothing left that could ask.
    wallet.stop().await;
    assert!(gateway.count("GET", "/events") <= streams + 1);
}
