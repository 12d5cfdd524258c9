use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn completing_sets_a_sid_and_says_who_is_signed_in() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    browser.complete(id).await.refused(409, "not_active_yet");
    browser.get("/session").await.refused(401, "not_authenticated");
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve(id);
    stream.until("active").await;
    let answer = browser.complete(id).await.expect(200);
    let cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|c| c.to_str().expect("text")).collect();
    let sid = cookies.iter().find(|c| c.starts_with("sid=miid_sid_")).expect("a sid");
    assert!(sid.contains("HttpOnly; SameSite=Lax") && sid.contains("Path=/;"), "{sid}");
    assert!(cookies.iter().any(|c| c.starts_with("known=") && c.contains("Max-Age=34560000")), "{cookies:?}");

    let session = browser.get("/session").await.expect(200);
    assert_eq!(session.headers["cache-control"], "no-store");
    assert_eq!(session.body["sub"], "sub-1");
    assert_eq!(session.body["requested_claims"], json!(["name", "email"]));
    assert_eq!(session.body["approved_claims"], json!(["name"]));
    assert_eq!(session.body["claims"], json!({ "name": "Alice" }));
    assert!(!session.body.to_string().contains("miid_rt_"));
}

#[tokio::test]
async fn a_lost_answer_can_be_repeated_for_a_minute_and_the_first_sid_is_dead() {
    let world = World::new().await;
    let mut browser = world.browser();
    let first = browser.sign_in(&world.gateway, "alice").await;
    let id =
        browser.cookies.keys().find_map(|name| name.strip_prefix("login-")?.parse().ok()).expect("a login");
    let old = browser.cookies["sid"].clone();
    let again = browser.complete(id).await.expect(200);
    assert_eq!(again.body["session_id"], first["session_id"]);
    assert_ne!(browser.cookies["sid"], old);
    browser.get("/session").await.expect(200);
    assert_eq!(world.gateway.book().sessions.len(), 1, "its own session is not a previous one");
    let fresh = browser.cookies.insert("sid".into(), old).expect("a sid");
    browser.get("/session").await.refused(401, "not_authenticated");
    browser.cookies.insert("sid".into(), fresh);
    world.put_forward(61);
    browser.complete(id).await.refused(409, "already_completed");
    browser.get("/session").await.expect(200);
}

#[tokio::test]
async fn a_session_that_this_browser_had_before_is_ended() {
    let world = World::new().await;
    let mut browser = world.browser();
    let first = browser.sign_in(&world.gateway, "alice").await;
    let mut stream = browser.watch("/session/stream").await;
    let second = browser.sign_in(&world.gateway, "alice").await;
    assert_ne!(first["session_id"], second["session_id"]);
    assert_eq!(stream.until("force_logout").await.data["reason"], "superseded");
    let live: Vec<_> = world.gateway.book().sessions.keys().map(ToString::to_string).collect();
    assert_eq!(live, [second["session_id"].as_str().expect("an id")]);
}

#[tokio::test]
async fn a_session_that_nobody_comes_for_ends() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve(id);
    stream.until("active").await;
    world.put_forward(601);
    world.gateway.until("ended", |book| book.sessions.is_empty()).await;
    browser.complete(id).await.refused(410, "challenge_expired");
}
