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
