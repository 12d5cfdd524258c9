//! Linked sign-in as it should go, and what can happen on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use miid_protocol::Timestamp;
use miid_protocol::service::{Binding, ChallengeStatus, EndReason, ExpireReason, RevokeReason};
use miid_service::{Bindings, Outside};
use serde_json::json;

use crate::gateway::{Exchange, did, later};
use crate::world::World;

#[tokio::test]
async fn a_link_is_followed_from_the_page_to_the_wallet_and_back() {
    let world = World::new().await;
    let mut browser = world.browser();
    let answer = browser.try_start_linked().await.expect(201);
    assert_eq!((&answer.body["binding"], &answer.body["match_code"]), (&json!("linked"), &json!(null)));
    let link = answer.body["wallet_link"].as_str().expect("a link");
    assert!(link.starts_with("miid://challenge/"), "{link}");
    let id = answer.body["challenge_id"].as_str().expect("an id").parse().expect("an id");
    let asked = world.gateway.book().created.last().cloned().expect("asked");
    assert_eq!(asked.login_hint, None);
    assert_eq!(asked.return_url, Some(format!("{}/auth/return", world.service.url)));
    assert!(!asked.known_browser);

    let mut stream = browser.watch_login(id).await;
    let snapshot = stream.next().await.expect("a snapshot");
    assert_eq!((snapshot.name.as_str(), snapshot.data.get("claimed")), ("snapshot", None));
    world.gateway.claim(id);
    let claimed = stream.next().await.expect("claimed");
    assert_eq!((claimed.name.as_str(), &claimed.data["status"]), ("claimed", &json!("pending")));
    assert_eq!(claimed.data["claimed"], true);
    assert!(browser.status(id).await.claimed);
    let again = browser.watch_login(id).await.next().await.expect("a snapshot");
    assert_eq!(again.data["claimed"], true);

    let back = world.gateway.approve_linked(id);
    let approved = stream.next().await.expect("approved");
    assert_eq!((approved.name.as_str(), approved.data.get("did")), ("approved", None));
    // It waits for its browser, for as long as that takes.
    assert_eq!(world.gateway.book().exchanges, 0);
    browser.complete(id).await.refused(409, "not_active_yet");

    let returned = browser.come_back(&back).await.expect(200);
    assert_eq!((&returned.body["status"], &returned.body["did"]), (&json!("active"), &json!(did())));
    assert_eq!(returned.headers["cache-control"], "no-store");
    assert_eq!(stream.next().await.expect("active").name, "active");
    assert_eq!(browser.complete(id).await.expect(200).body["did"], json!(did()));
    assert_eq!(world.gateway.book().exchanges, 1);
}

#[tokio::test]
async fn a_browser_that_comes_back_before_the_event_is_signed_in() {
    let world = World::new().await;
    world.gateway.book().silent = true;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Pending);
    assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
    browser.complete(id).await.expect(200);
}

#[tokio::test]
async fn a_claim_whose_event_was_lost_is_read_from_the_list() {
    let world = World::new().await;
    let mut browser = world.browser();
    let mut stranger = world.browser();
    let (id, other) = (browser.start_linked().await, stranger.start_linked().await);
    let mut stream = browser.watch_login(id).await;
    assert_eq!(stream.next().await.expect("a snapshot").data.get("claimed"), None);
    world.gateway.down(true);
    world.gateway.claim(id);
    world.gateway.change(|book| (book.pruned, book.down) = (book.log.len(), false));
    let claimed = stream.next().await.expect("claimed");
    assert_eq!((claimed.name.as_str(), &claimed.data["status"]), ("claimed", &json!("pending")));
    assert_eq!(claimed.data["claimed"], true);
    assert!(browser.status(id).await.claimed);
    assert!(!stranger.status(other).await.claimed, "nobody took that one");
}

#[tokio::test]
async fn a_claim_is_seen_even_while_nobody_hears_the_gateway() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    world.gateway.change(|book| book.streams_down = true);
    world.gateway.until("the line fell", |book| book.turned_away > 0).await;
    assert!(!browser.status(id).await.claimed);
    let mut stream = browser.watch_login(id).await;
    stream.until("snapshot").await;
    world.gateway.claim(id);
    world.put_forward(1);
    assert!(browser.status(id).await.claimed);
    stream.until("claimed").await;
}

#[tokio::test]
async fn an_approval_is_known_even_while_nobody_hears_the_gateway() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    world.gateway.change(|book| book.streams_down = true);
    world.gateway.until("the line fell", |book| book.turned_away > 0).await;
    world.gateway.approve_linked(id);
    let status = browser.status(id).await;
    assert_eq!((status.status, status.did), (ChallengeStatus::Approved, None));
    world.gateway.take_back(id);
    // It is approved as far as anybody has heard; what the browser then brings is refused by the gateway itself.
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Approved);
}

#[tokio::test]
async fn a_page_that_polls_while_nobody_hears_the_gateway_asks_it_once_a_second() {
    let (start, clock) = (later(0).millis(), Arc::new(AtomicI64::new(0)));
    let hand = Arc::clone(&clock);
    let world = World::with(move |config| {
        let now = move || Timestamp::from_millis(start + hand.load(Ordering::SeqCst));
        config.outside = Outside::real().with_clock(now);
    })
    .await;
    let (mut browser, mut other) = (world.browser(), world.browser());
    let (id, another) = (browser.start_linked().await, other.start_linked().await);
    world.gateway.change(|book| book.streams_down = true);
    world.gateway.until("the line fell", |book| book.turned_away > 0).await;
    for _ in 0..5 {
        browser.status(id).await;
    }
    assert_eq!(world.gateway.book().shown, 1);
    // Nobody polls away somebody else's turn.
    other.status(another).await;
    assert_eq!(world.gateway.book().shown, 2);
    clock.store(1_000, Ordering::SeqCst);
    browser.status(id).await;
    assert_eq!(world.gateway.book().shown, 3);
}

#[tokio::test]
async fn a_handle_stays_known_when_the_same_person_comes_by_link() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice").await;
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    browser.come_back(&back).await.expect(200);
    browser.complete(id).await.expect(200);
    browser.start("alice").await;
    assert!(world.gateway.book().created.last().expect("asked").known_browser);
}

#[tokio::test]
async fn an_approval_taken_back_before_the_return_waits_again() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let mut stream = browser.watch_login(id).await;
    let dead = world.gateway.approve_linked(id);
    stream.until("approved").await;
    world.gateway.take_back(id);
    let pending = stream.until("pending").await;
    assert_eq!(pending.data["claimed"], true, "the wallet still has it");
    browser.come_back(&dead).await.refused(400, "wrong_response_code");
    let back = world.gateway.approve_linked(id);
    stream.until("approved").await;
    browser.come_back(&dead).await.refused(400, "wrong_response_code");
    browser.come_back(&back).await.expect(200);
    stream.until("active").await;
}

#[tokio::test]
async fn an_approval_taken_back_while_the_line_was_down_is_noticed() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve_linked(id);
    stream.until("approved").await;
    world.gateway.down(true);
    world.gateway.take_back(id);
    world.gateway.change(|book| (book.pruned, book.down) = (book.log.len(), false));
    stream.until("pending").await;
}

#[tokio::test]
async fn an_approved_login_can_be_given_up_until_its_browser_comes_back() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let mut stream = browser.watch_login(id).await;
    let back = world.gateway.approve_linked(id);
    stream.until("approved").await;
    browser.post(&format!("/auth/cancel/{id}")).await.expect(204);
    assert_eq!(stream.until("expired").await.data["reason"], "withdrawn");
    assert_eq!(world.gateway.book().withdrawn, [id]);
    let late = browser.come_back(&back).await.expect(200);
    assert_eq!((&late.body["status"], &late.body["reason"]), (&json!("expired"), &json!("withdrawn")));
    browser.complete(id).await.refused(410, "challenge_expired");
    assert_eq!(world.gateway.book().exchanges, 0);
}

#[tokio::test]
async fn an_approval_that_no_browser_comes_back_for_runs_out() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve_linked(id);
    stream.until("approved").await;
    // Without a word of the gateway.
    world.put_forward(122);
    assert_eq!(stream.until("expired").await.data["reason"], "code_timeout");
    browser.complete(id).await.refused(410, "challenge_expired");

    let id = browser.start_linked().await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.expire(id, ExpireReason::CodeTimeout);
    assert_eq!(stream.until("expired").await.data["reason"], "code_timeout");
}

#[tokio::test]
async fn the_last_moment_to_approve_leaves_time_to_come_back() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let mut stream = browser.watch_login(id).await;
    let back = world.gateway.approve_linked(id);
    stream.until("approved").await;
    // The challenge is over for whoever has not answered; the code lives two minutes from its approval.
    world.gateway.change(|book| {
        let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
        challenge.code_expires_at = Some(crate::gateway::later(400));
    });
    world.put_forward(302);
    assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
}

#[tokio::test]
async fn an_exchange_whose_answer_was_lost_is_undone_for_a_link_too() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    world.gateway.book().script.push_back(Exchange::Lost);
    let answer = browser.come_back(&back).await.expect(200);
    assert_eq!((&answer.body["status"], &answer.body["reason"]), (&json!("expired"), &json!("withdrawn")));
    let book = world.gateway.book();
    assert!(book.sessions.is_empty(), "nothing is left over");
    assert_eq!(book.revoked.first().map(|(_, reason)| *reason), Some(RevokeReason::CodeReuse));
}

#[tokio::test]
async fn a_gateway_that_is_away_when_the_browser_comes_back_changes_nothing() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    world.gateway.down(true);
    let answer = browser.come_back(&back).await;
    answer.refused(503, "gateway_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    world.gateway.down(false);
    assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
}

#[tokio::test]
async fn a_denied_link_is_told_and_not_me_looks_like_waiting() {
    let world = World::new().await;
    let mut browser = world.browser();
    for (reason, status) in [
        (miid_protocol::service::DenyReason::Declined, "denied"),
        (miid_protocol::service::DenyReason::NotMe, "expired"),
    ] {
        let id = browser.start_linked().await;
        let mut stream = browser.watch_login(id).await;
        world.gateway.claim(id);
        stream.until("claimed").await;
        world.gateway.deny(id, reason);
        if status == "expired" {
            assert_eq!(browser.status(id).await.status, ChallengeStatus::Pending);
            assert!(browser.status(id).await.claimed);
            world.put_forward(302);
        }
        stream.until(status).await;
    }
}

#[tokio::test]
async fn a_return_address_that_is_not_registered_is_said_to_whoever_can_register_it() {
    let world = World::new().await;
    world.gateway.book().return_urls.push("https://shop.example/auth/return".into());
    let mut browser = world.browser();
    let answer = browser.try_start_linked().await;
    answer.refused(503, "gateway_unavailable");
    let detail = answer.body["detail"].as_str().expect("a detail");
    assert!(detail.contains("return address"), "{detail}");
    // The other way still works.
    browser.start("alice").await;
    let own = format!("{}/auth/return", world.service.url);
    world.gateway.book().return_urls.push(own);
    browser.start_linked().await;
}

#[tokio::test]
async fn a_service_offers_what_it_is_told_to() {
    for bindings in [Bindings::Linked, Bindings::Addressed] {
        let world = World::with(|config| config.bindings = bindings).await;
        let mut browser = world.browser();
        let (linked, addressed) = (browser.try_start_linked().await, browser.try_start("alice").await);
        let (offered, refused) = match bindings {
            Bindings::Linked => (linked, addressed),
            _ => (addressed, linked),
        };
        offered.expect(201);
        refused.refused(400, "invalid_request");
        assert_eq!(world.gateway.book().created.len(), 1, "the gateway was not asked");
        let page = browser.get("/").await.expect(200).body.to_string();
        assert!(page.contains(&format!("miid-binding\\\" content=\\\"{}", bindings.as_str())), "{page}");
    }
}

#[tokio::test]
async fn another_kind_of_challenge_than_was_asked_for_is_refused() {
    let world = World::new().await;
    world.gateway.book().other_binding = Some(Binding::Addressed);
    let mut browser = world.browser();
    browser.try_start_linked().await.refused(503, "gateway_unavailable");
    assert!(browser.cookies.is_empty());
}

#[tokio::test]
async fn the_page_is_told_whether_to_ask_and_nobody_keeps_it() {
    let world = World::new().await;
    let mut browser = world.browser();
    for (site, ask) in [
        (Some("none"), "go"),
        (Some("same-origin"), "go"),
        (Some("cross-site"), "ask"),
        (Some("same-site"), "ask"),
        (None, "ask"),
    ] {
        let request = browser.request(reqwest::Method::GET, "/auth/return");
        let request = match site {
            Some(site) => request.header("sec-fetch-site", site),
            None => request,
        };
        let page = browser.send(request).await.expect(200);
        let html = page.body.to_string();
        assert!(html.contains(&format!("miid-return\\\" content=\\\"{ask}\\\"")), "{site:?}: {html}");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cross-origin-opener-policy"], "same-origin");
        let csp = page.headers["content-security-policy"].to_str().expect("text");
        assert!(
            csp.starts_with("default-src 'none'; script-src 'self';") && !csp.contains("unsafe"),
            "{csp}"
        );
        assert!(!page.headers.contains_key("set-cookie"));
    }
    let put = browser.request(reqwest::Method::PUT, "/auth/return");
    browser.send(put).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn an_old_login_of_this_browser_is_replaced_by_a_linked_one() {
    let world = World::new().await;
    let mut browser = world.browser();
    let first = browser.start("alice").await;
    let second = browser.start_linked().await;
    let third = browser.start_linked().await;
    let replaces: Vec<_> = world.gateway.book().created.iter().map(|asked| asked.replaces.clone()).collect();
    assert_eq!(replaces, [None, Some(first.to_string()), Some(second.to_string())]);
    let over = browser.status(second).await;
    assert_ne!(second, third);
    assert!(matches!(over.reason, None | Some(EndReason::Expired(ExpireReason::Replaced))));
}
