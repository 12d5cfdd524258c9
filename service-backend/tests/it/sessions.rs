use std::time::{Duration, Instant};

use miid_protocol::SessionId;
use miid_protocol::service::RevokeReason;
use serde_json::Value;

use crate::world::{CLIENT_SECRET, World};

fn id_of(session: &Value) -> SessionId {
    session["session_id"].as_str().expect("an id").parse().expect("an id")
}

#[tokio::test]
async fn a_revocation_reaches_every_open_page_at_once() {
    let world = World::new().await;
    let mut browser = world.browser();
    let session = browser.sign_in(&world.gateway, "alice").await;
    let mut streams = [browser.watch("/session/stream").await, browser.watch("/session/stream").await];
    let began = Instant::now();
    world.gateway.revoke(id_of(&session), RevokeReason::User);
    for stream in &mut streams {
        assert_eq!(stream.until("force_logout").await.data["reason"], "user");
        assert!(stream.next().await.is_none());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let answer = browser.get("/session").await;
    answer.refused(401, "not_authenticated");
    assert_eq!(answer.body["reason"], "user");
    assert!(answer.body["at"].is_string());
    browser.get("/session/stream").await.refused(401, "not_authenticated");
}

#[tokio::test]
async fn a_session_revoked_before_its_row_was_written_is_not_alive() {
    let world = World::new().await;
    let mut browser = world.browser();
    world.gateway.book().script.push_back(crate::gateway::Exchange::RevokedAtOnce);
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve(id);
    stream.until("active").await;
    browser.complete(id).await.refused(410, "challenge_expired");
}

#[tokio::test]
async fn signing_out_always_succeeds_and_ends_the_gateways_session_too() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.post("/auth/logout").await.expect(204);
    browser.sign_in(&world.gateway, "alice").await;
    let sid = browser.cookies["sid"].clone();
    let mut stream = browser.watch("/session/stream").await;
    browser.post("/auth/logout").await.expect(204);
    assert!(!browser.cookies.contains_key("sid"));
    assert_eq!(stream.until("force_logout").await.data["reason"], "service");
    assert!(world.gateway.book().sessions.is_empty());
    for spent in [sid.as_str(), "miid_sid_foreign", "", "ü"] {
        browser.cookies.insert("sid".into(), spent.to_owned());
        browser.post("/auth/logout").await.expect(204);
    }
}

#[tokio::test]
async fn signing_out_while_the_gateway_is_away_is_told_to_it_later() {
    let mut world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice").await;
    let sid = browser.cookies["sid"].clone();
    world.gateway.down(true);
    browser.post("/auth/logout").await.expect(204);
    browser.cookies.insert("sid".into(), sid);
    browser.get("/session").await.refused(401, "not_authenticated");
    world.stop().await;
    world.gateway.down(false);
    world.put_forward(60);
    world.restart().await;
    world.gateway.until("told", |book| book.sessions.is_empty()).await;
}

#[tokio::test]
async fn without_its_stream_a_service_asks_and_then_trusts_nobody() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice").await;
    world.gateway.down(true);
    world.gateway.until("the line fell", |book| book.turned_away > 0).await;
    browser.get("/session").await.expect(200);
    world.put_forward(300);
    browser.get("/session").await.expect(200); // asked, no answer, but heard of five minutes ago
    world.put_forward(301);
    let answer = browser.get("/session").await;
    answer.refused(503, "gateway_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    world.put_forward(10);
    world.gateway.down(false);
    let back = async {
        while browser.get("/session").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("trusted again");
}

#[tokio::test]
async fn a_session_revoked_while_the_service_was_away_is_not_trusted_after_its_restart() {
    let mut world = World::new().await;
    let (mut alice, mut bob) = (world.browser(), world.browser());
    let session = alice.sign_in(&world.gateway, "alice").await;
    bob.sign_in(&world.gateway, "bob").await;
    world.stop().await;
    world.gateway.revoke(id_of(&session), RevokeReason::User);
    world.put_forward(120);
    world.restart().await;
    alice.url.clone_from(&world.service.url);
    bob.url.clone_from(&world.service.url);
    alice.get("/session").await.refused(401, "not_authenticated");
    bob.get("/session").await.expect(200);
}

/// A statement from outside the service, on the database that it has open.
async fn sql(world: &World, statement: &'static str) {
    use sqlx::Connection as _;
    let url = format!("sqlite://{}", world.folder.path().join("service.db").display());
    let mut db = sqlx::SqliteConnection::connect(&url).await.expect("opens");
    sqlx::query(statement).execute(&mut db).await.expect(statement);
    db.close().await.expect("closes");
}

#[tokio::test]
async fn a_service_that_cannot_store_an_end_does_not_believe_it_heard_everything() {
    let world = World::new().await;
    let mut alice = world.browser();
    let session = alice.sign_in(&world.gateway, "alice").await;
    sql(
        &world,
        "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    )
    .await;
    let streams = world.gateway.book().streams;
    world.gateway.revoke(id_of(&session), RevokeReason::User);
    // It leaves the stream and comes back to the same event, again and again.
    world.gateway.until("it comes back", |book| book.streams > streams + 1).await;
    world.put_forward(61);
    let asked = world.gateway.book().introspections;
    alice.get("/session").await.refused(503, "store_unavailable");
    assert!(world.gateway.book().introspections > asked);
    world.put_forward(600);
    alice.get("/session").await.refused(503, "store_unavailable");

    sql(&world, "DROP TRIGGER full").await;
    alice.get("/session").await.refused(401, "not_authenticated");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_looked_up_in_the_lists_and_passed() {
    let world = World::new().await;
    let (mut alice, mut bob) = (world.browser(), world.browser());
    let session = alice.sign_in(&world.gateway, "alice").await;
    let bobs = bob.sign_in(&world.gateway, "bob").await;
    let (mut page, mut bobs_page) =
        (alice.watch("/session/stream").await, bob.watch("/session/stream").await);
    let streams = world.gateway.book().streams;
    world.gateway.revoke_unreadably(id_of(&session));
    page.until("force_logout").await;
    alice.get("/session").await.refused(401, "not_authenticated");
    bob.get("/session").await.expect(200);
    // The stream goes on behind it.
    world.gateway.revoke(id_of(&bobs), RevokeReason::Admin);
    assert_eq!(bobs_page.until("force_logout").await.data["reason"], "admin");
    assert_eq!(world.gateway.book().streams, streams);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_or_looked_up_leaves_nobody_trusted_for_long() {
    let world = World::new().await;
    let (mut alice, mut bob) = (world.browser(), world.browser());
    let session = alice.sign_in(&world.gateway, "alice").await;
    bob.sign_in(&world.gateway, "bob").await;
    let (streams, lists) = {
        let mut book = world.gateway.book();
        book.lists_down = true;
        (book.streams, book.lists)
    };
    world.gateway.revoke_unreadably(id_of(&session));
    world.gateway.until("it tries again", |book| book.lists > lists + 1 && book.streams > streams).await;
    world.put_forward(61);
    bob.get("/session").await.expect(200);
    alice.get("/session").await.refused(401, "not_authenticated");
    assert!(world.gateway.book().introspections >= 2);
}

#[tokio::test]
async fn after_a_long_outage_a_stream_that_opens_is_not_yet_a_reason_to_trust() {
    let world = World::new().await;
    let mut alice = world.browser();
    let session = alice.sign_in(&world.gateway, "alice").await;
    world.gateway.down(true);
    world.gateway.until("the line fell", |book| book.turned_away > 0).await;
    world.gateway.revoke(id_of(&session), RevokeReason::User);
    world.put_forward(3 * 3600);
    let lists = {
        let mut book = world.gateway.book();
        (book.mute, book.lists_down) = (true, true); // all that it missed is on its way, and takes long
        book.lists
    };
    world.gateway.down(false);
    world.gateway.until("it catches up before it trusts", |book| book.lists > lists).await;
    alice.get("/session").await.refused(401, "not_authenticated");
    assert!(world.gateway.book().introspections > 0);
}

#[tokio::test]
async fn streams_that_open_and_tell_nothing_do_not_prolong_trust() {
    let world = World::new().await;
    let mut alice = world.browser();
    let session = alice.sign_in(&world.gateway, "alice").await;
    world.gateway.book().mute = true;
    world.gateway.revoke(id_of(&session), RevokeReason::User);
    world.gateway.cut().await;
    world.put_forward(40);
    world.gateway.book().lists_down = true;
    world.gateway.cut().await;
    alice.get("/session").await.expect(200); // heard of 40 seconds ago
    world.put_forward(40);
    alice.get("/session").await.refused(401, "not_authenticated");
    assert!(world.gateway.book().introspections > 0);
}

#[tokio::test]
async fn a_list_of_challenges_too_long_to_read_keeps_nobody_from_catching_up() {
    let world = World::new().await;
    let (mut alice, mut bob, mut carol) = (world.browser(), world.browser(), world.browser());
    let session = alice.sign_in(&world.gateway, "alice").await;
    let bobs = bob.start("bob").await;
    let carols = carol.start("carol").await;
    let mut page = alice.watch("/session/stream").await;
    let (mut bobs_page, mut carols_page) = (bob.watch_login(bobs).await, carol.watch_login(carols).await);
    world.gateway.down(true);
    world.gateway.until("the line fell", |book| book.turned_away > 0).await;
    world.gateway.revoke(id_of(&session), RevokeReason::User);
    world.gateway.approve(bobs);
    world.gateway.deny(carols, miid_protocol::service::DenyReason::Declined);
    {
        let mut book = world.gateway.book();
        book.pruned = book.log.len(); // only the lists say what happened
        book.padding = 65 << 20;
    }
    world.gateway.down(false);
    page.until("force_logout").await;
    bobs_page.until("active").await;
    carols_page.until("denied").await;
}

#[tokio::test]
async fn nothing_on_disk_holds_a_secret_in_the_clear() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice-the-first").await;
    let id = browser.start("alice-the-first").await;
    let code = world.gateway.approve(id);
    browser.watch_login(id).await.until("active").await;
    let mut secrets: Vec<String> = browser.cookies.values().cloned().collect();
    secrets.extend(world.gateway.book().tokens.keys().cloned());
    secrets.extend([code, CLIENT_SECRET.to_owned(), "alice-the-first".to_owned()]);
    assert!(secrets.len() >= 8);
    for file in std::fs::read_dir(world.folder.path()).expect("a folder") {
        let path = file.expect("a file").path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            // Without its prefix, too.
            let body = secret
                .rsplit("miid_")
                .next()
                .and_then(|s| s.split_once('_'))
                .map_or(secret.as_str(), |(_, s)| s);
            assert!(!text.contains(body), "{} holds {secret}", path.display());
        }
    }
}
