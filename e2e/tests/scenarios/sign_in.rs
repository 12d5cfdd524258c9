//! A person signs in to the shop, or does not.

use miid_e2e::{Browser, Gateway, Stream, Wallet, World, eventually, on_both};
use miid_protocol::browser::{LoginStatus, StartResponse};
use miid_protocol::events::ChallengeCreated;
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::{ErrorCode, paths};

on_both!(
    happy_path,
    poll_instead_of_sse,
    deny,
    not_me_looks_like_waiting,
    wrong_number_on_the_page,
    expires_while_waiting,
    the_page_gives_its_login_up,
);

/// Approves what this browser has started, and completes it.
pub(crate) async fn sign_in(gateway: &Gateway, browser: &Browser, wallet: &Wallet) -> StartResponse {
    let started = browser.start(wallet.did().as_str()).await;
    approve(gateway, wallet, &started, &[]).await;
    is_active(browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    started
}

/// Approves in the wallet what its list shows, with the number of the page.
pub(crate) async fn approve(
    gateway: &Gateway,
    wallet: &Wallet,
    started: &StartResponse,
    claims: &[(&str, &str)],
) {
    let listed = wallet.listed(gateway, started.challenge_id).await.expect("the wallet's list shows it");
    let number = started.match_code.as_deref().expect("the page has a number");
    wallet.approve_sharing(gateway, &listed.request, number, claims).await.is(200);
}

/// Waits until the page may complete.
pub(crate) async fn is_active(browser: &Browser, started: &StartResponse) {
    reaches(browser, started, ChallengeStatus::Active).await;
}

/// Waits until the page is told of this status.
pub(crate) async fn reaches(
    browser: &Browser,
    started: &StartResponse,
    status: ChallengeStatus,
) -> LoginStatus {
    eventually(&format!("the page is told of {}", status.as_str()), || async {
        let now = browser.status(started.challenge_id).await;
        (now.status == status).then_some(now)
    })
    .await
}

/// How a login ended: its final event, or a snapshot where the end was faster than the stream.
pub(crate) async fn ends(page: &mut Stream) -> LoginStatus {
    loop {
        let event = page.next().await.expect("a final event comes before the end of the stream");
        if event.id.as_deref() == Some("final") {
            let status: LoginStatus = event.parse();
            assert!(status.status.is_final(), "{event:?}");
            assert!(event.name == "snapshot" || event.name == status.status.as_str(), "{event:?}");
            assert_eq!(page.next().await, None, "the response ends after a final event");
            return status;
        }
    }
}

async fn happy_path(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    alice.claim_handle(&gateway, "@Alice").await.is(200);
    let mut wallet = alice.events(&gateway, None).await;
    browser.get("/session").await.refused(ErrorCode::NotAuthenticated);

    let started = browser.start("alice").await;
    assert_eq!((started.binding, started.status), (Binding::Addressed, ChallengeStatus::Pending));
    let number = started.match_code.clone().expect("an addressed login has a number");
    assert!(number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()), "{number}");
    let mut page = browser.stream(started.challenge_id).await;
    assert_eq!(page.retry_ms(), Some(1000));
    let snapshot: LoginStatus = page.expect("snapshot").await.parse();
    assert_eq!((snapshot.status, snapshot.expires_at), (ChallengeStatus::Pending, started.expires_at));

    let event = wallet.expect("challenge_created").await;
    assert!(!event.data.contains("match_code"), "the number is never sent to a wallet: {}", event.data);
    let asked: ChallengeCreated = event.parse();
    assert_eq!(asked.challenge_id, started.challenge_id);
    alice.approve_sharing(&gateway, &asked.request, &number, &[("name", "Alice Kim")]).await.is(200);
    wallet.expect("challenge_approved").await;

    assert_eq!(ends(&mut page).await.status, ChallengeStatus::Active);
    wallet.expect("session_created").await;

    let completed = browser.complete(started.challenge_id).await;
    completed.is(200);
    let cookies: Vec<_> =
        completed.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    for name in ["sid", "known"] {
        let cookie = cookies.iter().find(|line| line.starts_with(&format!("{name}="))).expect(name);
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    }

    let session = browser.session().await;
    assert_eq!(session.did, *alice.did());
    assert_eq!(session.requested_claims, ["name", "email"]);
    assert_eq!(session.approved_claims, ["name"]);
    assert_eq!(session.claims.get("name").map(String::as_str), Some("Alice Kim"));
    assert_eq!(session.claims.len(), 1);
    let listed = alice.sessions(&gateway).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].session_id, session.session_id);
    assert_eq!(listed[0].service.name, "Demo Shop");
    assert_eq!(listed[0].claims, ["name"]);
}

async fn poll_instead_of_sse(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    assert_eq!(browser.status(started.challenge_id).await.status, ChallengeStatus::Pending);
    browser.complete(started.challenge_id).await.refused(ErrorCode::NotActiveYet);

    approve(&gateway, &alice, &started, &[]).await;
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    assert_eq!(browser.session().await.did, *alice.did());
}

async fn deny(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    let mut page = browser.stream(started.challenge_id).await;
    let challenge = shop.service().challenge(&gateway, started.challenge_id).await;
    alice.deny(&gateway, &challenge, DenyReason::Declined).await.is(200);

    assert_eq!(ends(&mut page).await.reason, Some(EndReason::Denied(DenyReason::Declined)));
    // An EventSource would come back; it is told not to.
    let again = browser.send(browser.stream_request(started.challenge_id, Some("final"))).await;
    again.is(204);
    assert!(browser.complete(started.challenge_id).await.status >= 400);
    assert!(!browser.is_signed_in().await);
    assert!(alice.challenges(&gateway).await.is_empty());
}

async fn not_me_looks_like_waiting(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&["--challenge-ttl", "8s"]).await;
    let (alice, stranger) = (world.wallet(), world.browser(&shop));
    let first = stranger.start(alice.did().as_str()).await;
    let challenge = shop.service().challenge(&gateway, first.challenge_id).await;
    alice.deny(&gateway, &challenge, DenyReason::NotMe).await.is(200);

    // What follows in the service's log has reached this page, so the first denial has, too.
    let (bob, bobs) = (world.wallet(), world.browser(&shop));
    let second = bobs.start(bob.did().as_str()).await;
    let challenge = shop.service().challenge(&gateway, second.challenge_id).await;
    bob.deny(&gateway, &challenge, DenyReason::Declined).await.is(200);
    reaches(&bobs, &second, ChallengeStatus::Denied).await;

    assert_eq!(stranger.status(first.challenge_id).await.status, ChallengeStatus::Pending);
    let mut page = stranger.stream(first.challenge_id).await;
    let snapshot: LoginStatus = page.expect("snapshot").await.parse();
    assert_eq!((snapshot.status, snapshot.reason), (ChallengeStatus::Pending, None));
    // Until it would have expired anyway.
    let over = reaches(&stranger, &first, ChallengeStatus::Expired).await;
    assert_eq!(over.reason, Some(EndReason::Expired(ExpireReason::Timeout)));
}

async fn wrong_number_on_the_page(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let started = browser.start(alice.did().as_str()).await;
    let mut page = browser.stream(started.challenge_id).await;
    let challenge = shop.service().challenge(&gateway, started.challenge_id).await;
    let wrong = if started.match_code.as_deref() == Some("47") { "74" } else { "47" };
    alice.approve(&gateway, &challenge, wrong).await.refused(ErrorCode::WrongMatchCode);
    assert_eq!(ends(&mut page).await.reason, Some(EndReason::Denied(DenyReason::WrongMatchCode)));
    assert!(!browser.is_signed_in().await);
}

async fn expires_while_waiting(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&["--challenge-ttl", "2s"]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut wallet = alice.events(&gateway, None).await;
    let started = browser.start(alice.did().as_str()).await;
    let mut page = browser.stream(started.challenge_id).await;
    let asked: ChallengeCreated = wallet.expect("challenge_created").await.parse();

    assert_eq!(ends(&mut page).await.reason, Some(EndReason::Expired(ExpireReason::Timeout)));
    let told = wallet.expect("challenge_expired").await.json();
    assert_eq!(told["reason"], "timeout");
    let number = started.match_code.as_deref().unwrap();
    let late = alice.approve_sharing(&gateway, &asked.request, number, &[]).await;
    late.refused(ErrorCode::ChallengeExpired);
    assert!(alice.challenges(&gateway).await.is_empty());
    assert!(browser.complete(started.challenge_id).await.status >= 400);
}

async fn the_page_gives_its_login_up(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    let mut wallet = alice.events(&gateway, None).await;
    let started = browser.start(alice.did().as_str()).await;
    let cancel = paths::with_id(paths::AUTH_CANCEL, started.challenge_id);
    world.browser(&shop).post(&cancel, None).await.refused(ErrorCode::ChallengeNotFound);
    for _ in 0..2 {
        browser.post(&cancel, None).await.is(204);
    }
    assert_eq!(wallet.expect("challenge_expired").await.json()["reason"], "withdrawn");
    let over = browser.status(started.challenge_id).await;
    assert_eq!(over.reason, Some(EndReason::Expired(ExpireReason::Withdrawn)));
    assert!(alice.challenges(&gateway).await.is_empty());
}
