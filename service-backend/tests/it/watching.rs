use miid_protocol::service::{ChallengeStatus, DenyReason, EndReason, ExpireReason};

use crate::world::World;

#[tokio::test]
async fn a_browser_follows_its_login_from_pending_to_active() {
    let world = World::new().await;
    let mut browser = world.browser();
    let answer = browser.try_start("@Alice").await.expect(201);
    assert_eq!(answer.body["match_code"], "47");
    assert_eq!(answer.body["status"], "pending");
    let id = answer.body["challenge_id"].as_str().expect("an id").parse().expect("an id");
    assert_eq!(answer.body["stream_url"], format!("/auth/stream/{id}"));
    let cookie = answer.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with(&format!("login-{id}=miid_ln_")), "{cookie}");
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && cookie.contains("Path=/auth"), "{cookie}");

    let mut stream = browser.watch_login(id).await;
    let snapshot = stream.next().await.expect("a snapshot");
    assert_eq!((snapshot.name.as_str(), snapshot.id), ("snapshot", None));
    assert_eq!(snapshot.data["status"], "pending");
    world.gateway.approve(id);
    assert_eq!(stream.next().await.expect("approved").name, "approved");
    let active = stream.next().await.expect("active");
    assert_eq!((active.name.as_str(), active.id.as_deref()), ("active", Some("final")));
    assert!(stream.next().await.is_none());

    // Whoever comes late is told the end at once, and whoever comes back knows it already.
    let mut late = browser.watch_login(id).await;
    let snapshot = late.next().await.expect("a snapshot");
    assert_eq!((snapshot.name.as_str(), snapshot.id.as_deref()), ("snapshot", Some("final")));
    assert!(late.next().await.is_none());
    let again =
        browser.request(reqwest::Method::GET, &format!("/auth/stream/{id}")).header("last-event-id", "final");
    browser.send(again).await.expect(204);
    assert_eq!(world.gateway.book().exchanges, 1);
}

#[tokio::test]
async fn polling_works_where_streams_do_not() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Pending);
    world.gateway.approve(id);
    while browser.status(id).await.status != ChallengeStatus::Active {
        tokio::task::yield_now().await;
    }
    browser.complete(id).await.expect(200);
}

#[tokio::test]
async fn a_denial_is_told_but_not_me_looks_like_waiting() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.deny(id, DenyReason::Declined);
    let denied = stream.until("denied").await;
    assert_eq!(denied.data["reason"], "declined");
    assert_eq!(denied.id.as_deref(), Some("final"));

    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    stream.until("snapshot").await;
    world.gateway.deny(id, DenyReason::NotMe);
    // A later event on the same line has been applied, so the denial has been, too.
    let mut bob = world.browser();
    let other = bob.start("bob").await;
    let mut others = bob.watch_login(other).await;
    world.gateway.expire(other, ExpireReason::Timeout);
    others.until("expired").await;
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Pending);
    browser.complete(id).await.refused(409, "not_active_yet");
    world.put_forward(302);
    let expired = stream.until("expired").await;
    assert_eq!(expired.data["reason"], "timeout");
    browser.complete(id).await.refused(410, "challenge_expired");
}

#[tokio::test]
async fn time_runs_out_without_a_word_from_the_gateway() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    stream.until("snapshot").await;
    world.put_forward(302);
    assert_eq!(stream.until("expired").await.data["reason"], "timeout");
}

#[tokio::test]
async fn another_browser_can_neither_watch_nor_complete_nor_cancel() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stranger = world.browser();
    let own = stranger.start("alice").await;
    let cookie = stranger.cookies[&format!("login-{own}")].clone();
    for forged in [None, Some(cookie), Some("miid_ln_nonsense".to_owned())] {
        if let Some(value) = forged {
            stranger.cookies.insert(format!("login-{id}"), value);
        }
        for path in ["status", "stream"] {
            stranger.get(&format!("/auth/{path}/{id}")).await.refused(404, "challenge_not_found");
        }
        for path in ["complete", "cancel"] {
            stranger.post(&format!("/auth/{path}/{id}")).await.refused(404, "challenge_not_found");
        }
    }
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Pending);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_row_is_not_missed() {
    let world = World::new().await;
    let mut browser = world.browser();
    world.gateway.book().deny_at_once = Some(DenyReason::Declined);
    let id = browser.start("alice").await;
    let status = browser.status(id).await;
    assert_eq!(status.reason, Some(EndReason::Denied(DenyReason::Declined)));
}

#[tokio::test]
async fn giving_up_withdraws_at_the_gateway_sooner_or_later() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    browser.post(&format!("/auth/cancel/{id}")).await.expect(204);
    assert_eq!(stream.until("expired").await.data["reason"], "withdrawn");
    browser.post(&format!("/auth/cancel/{id}")).await.expect(204);
    assert_eq!(world.gateway.book().withdrawn, [id]);

    let id = browser.start("alice").await;
    world.gateway.down(true);
    browser.post(&format!("/auth/cancel/{id}")).await.expect(204);
    world.gateway.down(false);
    world.put_forward(5);
    world.gateway.until("withdrawn later", |book| book.withdrawn.contains(&id)).await;
}

#[tokio::test]
async fn an_approval_while_the_service_was_away_is_found_after_its_restart() {
    let mut world = World::new().await;
    let (mut browser, mut other) = (world.browser(), world.browser());
    let (approved, denied) = (browser.start("alice").await, other.start("bob").await);
    world.stop().await;
    world.gateway.approve(approved);
    world.gateway.deny(denied, DenyReason::Declined);
    world.restart().await;
    browser.url.clone_from(&world.service.url);
    let mut stream = browser.watch_login(approved).await;
    let mut last = stream.next().await.expect("a snapshot");
    while last.data["status"] != "active" {
        last = stream.next().await.unwrap_or_else(|| panic!("nothing after {last:?}"));
    }
    other.url.clone_from(&world.service.url);
    assert_eq!(other.status(denied).await.status, ChallengeStatus::Denied);
}

#[tokio::test]
async fn an_approval_while_the_line_was_down_is_heard_after_it() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.down(true);
    world.gateway.approve(id);
    // The log is gone beyond the position: a resync, after which the lists tell.
    world.gateway.change(|book| {
        let event = book.log[0].clone();
        book.log.extend(std::iter::repeat_n(event, 3));
        book.pruned = book.log.len();
        book.down = false;
    });
    stream.until("active").await;
}

#[tokio::test]
async fn every_stream_ends_when_the_service_closes() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice").await;
    let mut session = browser.watch("/session/stream").await;
    let id = browser.start("alice").await;
    let mut login = browser.watch_login(id).await;
    login.until("snapshot").await;
    world.stop().await;
    assert!(login.next().await.is_none());
    assert!(session.next().await.is_none());
}
