//! A step-up through the library, where things go wrong.

use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{RevokeReason, Risk};

use crate::gateway::Exchange;
use crate::world::{Browser, World};

/// Somebody who is signed in.
async fn signed_in(world: &World) -> Browser {
    let mut browser = world.browser();
    browser.sign_in(&world.gateway, "alice").await;
    browser
}

/// The session as it was, and not stepped up.
async fn goes_on(world: &World, browser: &mut Browser) {
    let session = browser.get("/session").await.expect(200).body;
    assert!(session.get("stepped_up_until").is_none(), "{session}");
    assert_eq!(browser.get("/own/token").await.expect(200).body, "");
    let book = world.gateway.book();
    assert_eq!(book.sessions.len(), 1);
    assert!(book.revoked.is_empty(), "{:?}", book.revoked);
}

/// Begins one, approves it, and comes back; what the page is then told.
async fn come_back(world: &World, browser: &mut Browser) -> (miid_protocol::ChallengeId, serde_json::Value) {
    let id = browser.step_up().await;
    let back = world.gateway.approve_linked(id);
    (id, browser.come_back(&back).await.expect(200).body)
}

#[tokio::test]
async fn a_step_up_gives_its_session_a_token_for_a_while() {
    let world = World::new().await;
    let mut browser = signed_in(&world).await;
    let cookies = browser.cookies.clone();
    let (id, status) = come_back(&world, &mut browser).await;
    assert_eq!(status["status"], "active");
    goes_on(&world, &mut browser).await; // until it is completed
    let session = browser.complete(id).await.expect(200).body;
    assert!(session["stepped_up_until"].is_string(), "{session}");
    let token = browser.get("/own/token").await.expect(200).body;
    assert!(token.as_str().is_some_and(|token| token.starts_with("e30.")), "{token}");
    for (name, value) in &cookies {
        assert_eq!(browser.cookies.get(name), Some(value), "{name} stays as it was");
    }
    // Its time is over, while the session's is not.
    world.put_forward(300);
    goes_on(&world, &mut browser).await;
    browser.complete(id).await.expect(200);
    goes_on(&world, &mut browser).await;
}

#[tokio::test]
async fn a_step_up_says_whose_it_is_and_what_for() {
    let world = World::new().await;
    let mut browser = signed_in(&world).await;
    let first = browser.step_up().await;
    browser.step_up().await;
    let book = world.gateway.book();
    let [_, one, two] = &book.created[..] else { panic!("a sign-in and two step-ups: {:?}", book.created) };
    assert_eq!((one.risk, one.replaces.clone()), (Risk::StepUp, None));
    assert_eq!(one.step_up_session, book.sessions.keys().next().copied());
    assert_eq!(one.binding_message.as_deref(), Some("Send 250 to Bob"));
    assert_eq!(one.ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(two.replaces, Some(first.to_string()));
}

#[tokio::test]
async fn a_step_up_whose_answer_was_lost_is_not_sent_again() {
    for lost in [Exchange::Lost, Exchange::Busy, Exchange::Hang] {
        let world = World::new().await;
        let mut browser = signed_in(&world).await;
        world.gateway.book().script.push_back(lost);
        let (id, status) = come_back(&world, &mut browser).await;
        assert_eq!(
            (&status["status"], &status["reason"]),
            (&"expired".into(), &"withdrawn".into()),
            "{lost:?}"
        );
        browser.complete(id).await.refused(410, "challenge_expired");
        assert_eq!(world.gateway.book().exchanges, 2, "the sign-in's and one more");
        goes_on(&world, &mut browser).await;
        // It is asked for again.
        let (id, _) = come_back(&world, &mut browser).await;
        browser.complete(id).await.expect(200);
    }
}

#[tokio::test]
async fn what_a_sign_in_gives_is_no_step_up() {
    let world = World::new().await;
    let mut browser = signed_in(&world).await;
    let before = browser.get("/session").await.body;
    world.gateway.change(|book| book.lies = true);
    let (id, status) = come_back(&world, &mut browser).await;
    assert_eq!(status["reason"], "withdrawn");
    browser.complete(id).await.refused(410, "challenge_expired");
    assert_eq!(browser.get("/session").await.body, before);
    assert_eq!(browser.get("/own/token").await.body, "");
}

#[tokio::test]
async fn asking_finds_out_that_the_session_has_ended() {
    let world = World::new().await;
    let mut browser = signed_in(&world).await;
    world.gateway.change(|book| book.mute = true);
    let id = *world.gateway.book().sessions.keys().next().expect("a session");
    world.gateway.revoke(id, RevokeReason::User);
    let answer = browser.post("/own/step-up").await;
    answer.refused(401, "not_authenticated");
    assert_eq!(answer.body["reason"], "user");
    browser.get("/session").await.refused(401, "not_authenticated");
    browser.get("/own/token").await.refused(401, "not_authenticated");
}

#[tokio::test]
async fn signing_out_ends_what_was_asked_for_even_if_the_gateway_is_away() {
    let world = World::new().await;
    let mut browser = signed_in(&world).await;
    let waiting = browser.step_up().await;
    world.gateway.down(true);
    browser.post("/auth/logout").await.expect(204);
    let seen = browser.status(waiting).await;
    assert_eq!(seen.reason.map(|reason| reason.as_str()), Some("session_ended"));
    browser.complete(waiting).await.refused(401, "not_authenticated");
}

#[tokio::test]
async fn the_gateways_no_is_passed_on() {
    let world = World::new().await;
    let mut browser = signed_in(&world).await;
    world.gateway.book().refuse = Some((ErrorCode::TooManyChallenges, 7));
    let answer = browser.post("/own/step-up").await;
    answer.refused(429, "too_many_challenges");
    assert_eq!(answer.headers["retry-after"], "7");
    world.gateway.book().refuse = Some((ErrorCode::InvalidRequest, 0));
    browser.post("/own/step-up").await.refused(503, "gateway_unavailable");
    goes_on(&world, &mut browser).await;
}
