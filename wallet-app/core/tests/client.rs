//! The gateway client against a gateway that a test scripts.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use miid_protocol::Timestamp;
use miid_protocol::problem::ErrorCode;
use miid_wallet::ClientError;
use miid_wallet::clock::ClockError;
use support::{Hand, MINUTE, Reply, Scripted, T, ok, problem, problem_with};

const NO_CHALLENGES: &str = r#"{"challenges":[]}"#;

/// `Date` as an HTTP server writes it.
fn http_date(ms: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(ms / 1000).expect("time");
    let text = at.format(&time::format_description::well_known::Rfc2822).expect("formats");
    text.replace("+0000", "GMT")
}

#[tokio::test]
async fn every_request_carries_a_proof_of_its_own_for_itself() {
    let gateway = Scripted::start(|seen, _| {
        if seen.is("PUT", "/handle") { ok(r#"{"handle":"alice"}"#) } else { ok(NO_CHALLENGES) }
    })
    .await;
    let client = gateway.client();
    for _ in 0..3 {
        client.challenges().await.expect("list");
    }
    let handle = miid_protocol::Handle::parse("alice").expect("handle");
    assert_eq!(client.set_handle(Some(&handle)).await.expect("claimed"), Some(handle));
    let proofs: Vec<_> =
        gateway.seen().iter().map(|seen| seen.proof(&gateway.issuer, T).expect("holds")).collect();
    let names: HashSet<_> = proofs.iter().map(|proof| proof.jti.clone()).collect();
    assert_eq!((proofs.len(), names.len()), (4, 4));
    assert!(proofs.iter().all(|proof| proof.did == *client.did()));
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_once_by_the_date_of_the_answer() {
    let gateway_time = Arc::new(AtomicI64::new(T + 5 * MINUTE));
    let time = gateway_time.clone();
    let issuer = Arc::new(std::sync::Mutex::new(None));
    let known = issuer.clone();
    let gateway = Scripted::start(move |seen, _| {
        let now = time.load(Ordering::SeqCst);
        let issuer = known.lock().expect("lock").clone().expect("issuer");
        match seen.proof(&issuer, now) {
            Ok(_) => ok(NO_CHALLENGES),
            Err(_) => problem_with(ErrorCode::StaleProof, vec![("date", http_date(now))]),
        }
    })
    .await;
    *issuer.lock().expect("lock") = Some(gateway.issuer.clone());
    let client = gateway.client();
    client.challenges().await.expect("after one correction");
    assert_eq!(gateway.seen().len(), 2);
    client.challenges().await.expect("without another");
    assert_eq!(gateway.seen().len(), 3);
    assert_eq!(client.now(), Timestamp::from_millis(T + 5 * MINUTE));
    gateway_time.store(T + 9 * MINUTE, Ordering::SeqCst);
    let again = client.challenges().await.expect_err("once is all");
    assert!(matches!(again, ClientError::Clock(ClockError::AlreadyCorrected(240))), "{again:?}");
    assert_eq!(gateway.seen().len(), 4);
}

#[tokio::test]
async fn nobody_moves_the_clock_by_more_than_ten_minutes() {
    let gateway = Scripted::start(|_, _| {
        problem_with(ErrorCode::StaleProof, vec![("date", http_date(T + 11 * MINUTE))])
    })
    .await;
    let client = gateway.client_at(Arc::new(Hand(AtomicI64::new(T))));
    let error = client.challenges().await.expect_err("refused");
    assert!(matches!(error, ClientError::Clock(ClockError::TooFar(660))), "{error:?}");
    assert_eq!((gateway.seen().len(), client.now()), (1, Timestamp::from_millis(T)));
}

#[tokio::test]
async fn a_gateway_that_always_calls_the_time_wrong_is_asked_twice_and_no_more() {
    let gateway =
        Scripted::start(|_, _| problem_with(ErrorCode::StaleProof, vec![("date", http_date(T))])).await;
    let error = gateway.client().challenges().await.expect_err("refused");
    assert_eq!(error.code(), Some(ErrorCode::StaleProof));
    assert_eq!(gateway.seen().len(), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Scripted::start(|_, _| ok(NO_CHALLENGES)).await;
    let target = format!("{}/v1/wallet/challenges", elsewhere.issuer);
    let gateway =
        Scripted::start(move |_, _| Reply::Answer(307, vec![("location", target.clone())], String::new()))
            .await;
    let error = gateway.client().challenges().await.expect_err("refused");
    assert!(matches!(error, ClientError::Unexpected { status: 307, .. }), "{error:?}");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn refusals_keep_their_code_and_their_wish() {
    let gateway =
        Scripted::start(|_, _| problem_with(ErrorCode::RateLimited, vec![("retry-after", "7".into())])).await;
    let error = gateway.client().challenges().await.expect_err("refused");
    assert_eq!(
        (error.code(), error.retry_after()),
        (Some(ErrorCode::RateLimited), Some(Duration::from_secs(7)))
    );
    assert!(error.is_passing() && !error.may_have_been_done());
}

#[tokio::test]
async fn what_is_no_gateway_is_told_from_one_that_refuses() {
    let page = || Reply::Answer(404, vec![("content-type", "text/html".into())], "<h1>no</h1>".into());
    let gateway =
        Scripted::start(move |seen, _| if seen.is("GET", "/challenges") { page() } else { ok("[]") }).await;
    let client = gateway.client();
    assert!(matches!(client.challenges().await, Err(ClientError::Unexpected { status: 404, .. })));
    assert!(matches!(client.sessions().await, Err(ClientError::NotUnderstood)));
    assert!(matches!(client.events(None).await.err(), Some(ClientError::Unexpected { status: 200, .. })));

    let issuer = gateway.issuer.clone();
    drop(gateway);
    // Nobody listens at a port that was given back, or nobody of ours.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let free = listener.local_addr().expect("address");
    drop(listener);
    let nowhere = miid_protocol::Issuer::parse(&format!("http://{free}")).expect("issuer");
    let identity = miid_wallet::Identity::generate(&miid_wallet::entropy::SystemEntropy).expect("random");
    let client = miid_wallet::GatewayClient::with(
        Arc::new(identity),
        issuer,
        nowhere,
        Arc::new(Hand(AtomicI64::new(T))),
        Arc::new(miid_wallet::entropy::SystemEntropy),
    )
    .expect("client");
    assert!(matches!(client.challenges().await, Err(ClientError::Unreachable { .. })));
}

#[tokio::test]
async fn a_list_is_asked_for_again_when_its_answer_was_lost_and_the_gateways_words_are_plain_text() {
    let gateway = Scripted::start(|_, before| match before {
        0 => Reply::Drop,
        1 => ok(NO_CHALLENGES),
        _ => {
            let mut said = miid_protocol::Problem::new(ErrorCode::Busy);
            said.detail = Some("\u{1b}[2Jgone".into());
            let body = serde_json::to_string(&said).expect("problem");
            Reply::Answer(503, vec![("content-type", "application/problem+json".into())], body)
        }
    })
    .await;
    let client = gateway.client();
    assert_eq!(client.challenges().await.expect("list").len(), 0);
    let issuer = &gateway.issuer;
    let proofs: HashSet<_> =
        gateway.seen().iter().map(|seen| seen.proof(issuer, T).expect("holds").jti).collect();
    assert_eq!(proofs.len(), 2);
    assert_eq!(client.challenges().await.expect_err("busy").to_string(), "\u{fffd}[2Jgone");
    assert!(matches!(problem(ErrorCode::Busy), Reply::Answer(503, ..)));
}
