//! What comes back through somebody else's browser, or with something else in hand.

use miid_protocol::service::{ChallengeStatus, DenyReason, EndReason, ExpireReason};
use serde_json::{Value, json};

use crate::gateway::did;
use crate::world::{Browser, World};

/// A code of the right shape that was never given.
fn made_up() -> Value {
    json!(format!("miid_rc_{}", "A".repeat(43)))
}

fn with(back: &Value, name: &str, value: Value) -> Value {
    let mut back = back.clone();
    back[name] = value;
    back
}

#[tokio::test]
async fn an_approval_that_comes_back_through_another_browser_ends_the_sign_in_for_everybody() {
    let world = World::new().await;
    let (mut attacker, mut victim) = (world.browser(), world.browser());
    // The attacker sends their link to somebody, who approves; the wallet opens that person's own browser.
    let id = attacker.start_linked().await;
    let mut page = attacker.watch_login(id).await;
    world.gateway.claim(id);
    let back = world.gateway.approve_linked(id);
    page.until("approved").await;
    let stopped = victim.come_back(&back).await.expect(200);
    assert_eq!(stopped.body["status"], "expired");
    assert_eq!(stopped.body["reason"], "other_browser");
    assert_eq!(stopped.body.get("did"), None);
    assert!(victim.cookies.is_empty());
    assert_eq!(page.until("expired").await.data["reason"], "other_browser");
    // Nothing is left that either could go on with.
    for browser in [&mut attacker, &mut victim] {
        browser.get("/session").await.refused(401, "not_authenticated");
    }
    attacker.complete(id).await.refused(410, "challenge_expired");
    assert_eq!(attacker.come_back(&back).await.expect(200).body["reason"], "other_browser");
    victim.complete(id).await.refused(404, "challenge_not_found");
    assert_eq!(victim.come_back(&back).await.expect(200).body["reason"], "other_browser", "and again");
    let book = world.gateway.book();
    assert!(book.exchanges == 0 && book.sessions.is_empty());
}

#[tokio::test]
async fn who_began_it_learns_nothing_about_who_approved() {
    let world = World::new().await;
    let mut stranger = world.browser();
    let id = stranger.start_linked().await;
    let mut page = stranger.watch_login(id).await;
    world.gateway.claim(id);
    let back = world.gateway.approve_linked(id);
    let mut told = vec![page.until("approved").await.data];
    told.push(stranger.watch_login(id).await.until("snapshot").await.data);
    told.push(stranger.get(&format!("/auth/status/{id}")).await.expect(200).body);
    told.push(stranger.complete(id).await.body);
    // Neither a name that is right nor one that is not brings anything to light.
    let other = json!("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK");
    let guesses = [json!(did()), other, json!("x"), Value::Null];
    for guess in guesses {
        let answer = stranger.come_back(&with(&with(&back, "response_code", made_up()), "did", guess)).await;
        answer.refused(400, "wrong_response_code");
        told.push(answer.body);
    }
    for said in told {
        assert!(!said.to_string().contains(did().as_str()), "{said}");
    }
}

#[tokio::test]
async fn a_return_in_another_name_is_refused_and_nothing_is_exchanged() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    let other = json!("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK");
    for lie in [other.clone(), json!("x"), json!("")] {
        browser.come_back(&with(&back, "did", lie)).await.refused(400, "wrong_response_code");
    }
    assert_eq!(world.gateway.book().exchanges, 0);
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Approved);
    assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
    browser.come_back(&with(&back, "did", other)).await.refused(400, "wrong_response_code");
    let mut unsaid = back.clone();
    unsaid.as_object_mut().expect("an object").remove("did");
    assert_eq!(browser.come_back(&unsaid).await.expect(200).body["status"], "active");
    assert_eq!(world.gateway.book().exchanges, 1);
}

#[tokio::test]
async fn one_that_was_not_theirs_answers_like_one_that_waits() {
    let world = World::new().await;
    let mut seen = Vec::new();
    for denied in [false, true] {
        let mut browser = world.browser();
        let id = browser.start_linked().await;
        let mut page = browser.watch_login(id).await;
        page.until("snapshot").await;
        world.gateway.claim(id);
        page.until("claimed").await;
        if denied {
            world.gateway.deny(id, DenyReason::NotMe);
            // Behind it in the same stream, so that it was heard.
            let mut other = world.browser();
            let later = other.start_linked().await;
            let mut told = other.watch_login(later).await;
            told.until("snapshot").await;
            world.gateway.deny(later, DenyReason::Declined);
            told.until("denied").await;
        }
        let body = json!({ "challenge_id": id, "response_code": made_up(), "iss": world.gateway.url });
        let mut answers = Vec::new();
        let early = browser.come_back(&body).await;
        answers.push((early.status, early.body["code"].clone()));
        world.gateway.down(true);
        let away = browser.come_back(&body).await;
        answers.push((away.status, away.body["code"].clone()));
        world.gateway.down(false);
        let complete = browser.complete(id).await;
        answers.push((complete.status, complete.body["code"].clone()));
        for path in ["cancel", "cancel"] {
            let given_up = browser.post(&format!("/auth/{path}/{id}")).await;
            answers.push((given_up.status, given_up.body["code"].clone()));
        }
        let over = browser.get(&format!("/auth/status/{id}")).await.expect(200);
        answers.push((over.status, json!([over.body["status"], over.body["reason"], over.body["claimed"]])));
        let late = browser.come_back(&body).await;
        answers.push((late.status, json!([late.body["status"], late.body["reason"]])));
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0][0], (http::StatusCode::BAD_REQUEST, json!("wrong_response_code")));
}

#[tokio::test]
async fn a_planted_cookie_is_no_login_cookie() {
    let world = World::new().await;
    let (mut owner, mut stranger) = (world.browser(), world.browser());
    let id = owner.start_linked().await;
    let own = stranger.start_linked().await;
    let cookie = stranger.cookies[&format!("login-{own}")].clone();
    stranger.cookies.insert(format!("login-{id}"), cookie);
    let back = world.gateway.approve_linked(id);
    assert_eq!(stranger.come_back(&back).await.expect(200).body["reason"], "other_browser");
}

#[tokio::test]
async fn a_wrong_code_changes_nothing_and_the_right_one_still_works() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let mut page = browser.watch_login(id).await;
    // Before anything was approved there is no right one.
    let early = json!({ "challenge_id": id, "response_code": made_up(), "iss": world.gateway.url });
    browser.come_back(&early).await.refused(400, "wrong_response_code");
    assert_eq!(world.gateway.book().exchanges, 0);
    let back = world.gateway.approve_linked(id);
    page.until("approved").await;
    for wrong in [made_up(), json!("miid_rc_x"), json!("x"), json!("")] {
        browser.come_back(&with(&back, "response_code", wrong)).await.refused(400, "wrong_response_code");
        let status = browser.status(id).await;
        assert_eq!(status.status, ChallengeStatus::Approved);
        assert!(status.did.is_none());
    }
    assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
    assert_eq!(page.until("active").await.id.as_deref(), Some("final"));
    assert!(world.gateway.book().revoked.is_empty());
}

#[tokio::test]
async fn a_stranger_with_a_wrong_code_finds_nothing_and_stops_nothing() {
    let world = World::new().await;
    let (mut owner, mut stranger) = (world.browser(), world.browser());
    let id = owner.start_linked().await;
    let back = world.gateway.approve_linked(id);
    for wrong in [made_up(), json!("x")] {
        let body = with(&back, "response_code", wrong);
        stranger.come_back(&body).await.refused(404, "challenge_not_found");
    }
    let unknown = json!("0198e0a0-0000-7000-8000-000000000001");
    stranger
        .come_back(&with(&back, "challenge_id", unknown.clone()))
        .await
        .refused(404, "challenge_not_found");
    owner.come_back(&with(&back, "challenge_id", unknown)).await.refused(404, "challenge_not_found");
    assert!(world.gateway.book().stopped.is_empty());
    assert_eq!(owner.come_back(&back).await.expect(200).body["status"], "active");
    // And once it is active the right one stops nothing either.
    stranger.come_back(&back).await.refused(404, "challenge_not_found");
    owner.complete(id).await.expect(200);
    assert_eq!(world.gateway.book().sessions.len(), 1);
}

#[tokio::test]
async fn a_code_of_one_sign_in_is_wrong_for_another() {
    let world = World::new().await;
    let (mut alice, mut bob) = (world.browser(), world.browser());
    let (first, second) = (alice.start_linked().await, bob.start_linked().await);
    let of_first = world.gateway.approve_linked(first);
    let of_second = world.gateway.approve_linked(second);
    let crossed = with(&of_first, "challenge_id", json!(second));
    bob.come_back(&crossed).await.refused(400, "wrong_response_code");
    alice.come_back(&crossed).await.refused(404, "challenge_not_found");
    assert_eq!(alice.come_back(&of_first).await.expect(200).body["status"], "active");
    assert_eq!(bob.come_back(&of_second).await.expect(200).body["status"], "active");
}

#[tokio::test]
async fn what_another_gateway_says_is_not_shown_to_ours() {
    let world = World::new().await;
    let (mut owner, mut stranger) = (world.browser(), world.browser());
    let id = owner.start_linked().await;
    let back = world.gateway.approve_linked(id);
    let url = &world.gateway.url;
    for other in ["https://gateway.example".to_owned(), format!("{url}/"), url.to_uppercase(), String::new()]
    {
        let body = with(&back, "iss", json!(other));
        for browser in [&mut owner, &mut stranger] {
            browser.come_back(&body).await.refused(400, "invalid_request");
        }
    }
    assert_eq!(world.gateway.book().exchanges, 0);
    assert!(world.gateway.book().stopped.is_empty());
    assert_eq!(owner.come_back(&back).await.expect(200).body["status"], "active");
}

#[tokio::test]
async fn an_addressed_sign_in_has_no_way_back() {
    let world = World::new().await;
    let (mut owner, mut stranger) = (world.browser(), world.browser());
    let id = owner.start("alice").await;
    let back = json!({ "challenge_id": id, "response_code": made_up(), "iss": world.gateway.url });
    owner.come_back(&back).await.refused(400, "wrong_response_code");
    stranger.come_back(&back).await.refused(404, "challenge_not_found");
    assert!(world.gateway.book().stopped.is_empty());
    assert_eq!(owner.status(id).await.status, ChallengeStatus::Pending);
}

#[tokio::test]
async fn only_our_own_page_brings_somebody_back() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    let cookie = format!("login-{id}={}", browser.cookies[&format!("login-{id}")]);
    let url = format!("{}/auth/return", world.service.url);
    let client = reqwest::Client::new();
    let mut other = Browser::new(&world.service.url);
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let request = client.post(&url).header("cookie", &cookie).header(name, value).json(&back);
        other.send(request).await.refused(403, "cross_site_request");
    }
    let form =
        browser.request(reqwest::Method::POST, "/auth/return").form(&[("challenge_id", id.to_string())]);
    browser.send(form).await.refused(400, "invalid_request");
    for missing in ["challenge_id", "response_code", "iss"] {
        let mut body = back.clone();
        body.as_object_mut().expect("an object").remove(missing);
        browser.come_back(&body).await.refused(400, "invalid_request");
    }
    assert_eq!(world.gateway.book().exchanges, 0);
    assert_eq!(browser.status(id).await.status, ChallengeStatus::Approved);
}

#[tokio::test]
async fn a_stop_that_the_gateway_did_not_hear_is_tried_again() {
    let world = World::new().await;
    let (mut attacker, mut victim) = (world.browser(), world.browser());
    let id = attacker.start_linked().await;
    let back = world.gateway.approve_linked(id);
    world.gateway.down(true);
    victim.come_back(&back).await.refused(503, "gateway_unavailable");
    world.gateway.down(false);
    assert_eq!(victim.come_back(&back).await.expect(200).body["reason"], "other_browser");
    let over = attacker.status(id).await;
    assert_eq!(over.reason, Some(EndReason::Expired(ExpireReason::OtherBrowser)));
}

#[tokio::test]
async fn one_address_may_come_back_so_often_a_minute() {
    let world =
        World::with(|config| config.start_rate = std::num::NonZeroU32::new(3).expect("not zero")).await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = json!({ "challenge_id": id, "response_code": made_up(), "iss": world.gateway.url });
    for _ in 0..3 {
        browser.come_back(&back).await.refused(400, "wrong_response_code");
    }
    browser.come_back(&back).await.refused(429, "rate_limited");
    // Starting is counted apart.
    browser.start_linked().await;
}
