//! What a service says about open pages, in whichever order it arrives: nobody counts as connected because of words
//! that are older than the last ones.

use miid_e2e::{Gateway, Service, World, on_both, on_sqlite};
use miid_protocol::service::{ActiveReason, Activity};
use miid_protocol::{ErrorCode, SessionId, paths};
use reqwest::Method;
use serde_json::{Value, json};

on_both!(a_report_that_arrives_behind_a_later_one_connects_nobody,);
on_sqlite!(a_report_says_which_one_it_is,);

const HOLDER: &str = "instance-0123456789abcdef";

async fn report(shop: &Service, at: &Gateway, body: Value) -> bool {
    let answer = shop.send(at, Method::PUT, paths::SERVICE_PRESENCE, |request| request.json(&body)).await;
    answer.is(200).json()["known"].as_bool().expect("known")
}

async fn is_connected(shop: &Service, at: &Gateway, sid: SessionId, sub: &str) -> bool {
    let activity: Activity = shop.post(at, paths::SESSIONS_ACTIVE, &json!({"sub": sub})).await.ok();
    let reason = if activity.active { ActiveReason::Connected } else { ActiveReason::NotConnected };
    assert_eq!((activity.reason, activity.session_id), (reason, activity.active.then_some(sid)));
    activity.active
}

async fn a_report_that_arrives_behind_a_later_one_connects_nobody(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let (sid, sub) = (tokens.session_id, tokens.sub.as_str());
    let known = |body: Value| report(&shop, &gateway, body);
    assert!(known(json!({"holder": HOLDER, "seq": 1, "reset": true})).await);
    // A (2: the page opened) was given up on by its sender; the page closed, and B (3) said so. Then A arrives.
    assert!(known(json!({"holder": HOLDER, "seq": 3, "closed": [sid]})).await);
    assert!(!known(json!({"holder": HOLDER, "seq": 2, "opened": [sid]})).await);
    assert!(!is_connected(&shop, &gateway, sid, sub).await);
    // Neither does one that would begin anew, nor the same one twice.
    assert!(!known(json!({"holder": HOLDER, "seq": 2, "reset": true, "opened": [sid]})).await);
    assert!(known(json!({"holder": HOLDER, "seq": 4, "opened": [sid]})).await);
    assert!(is_connected(&shop, &gateway, sid, sub).await);
    assert!(known(json!({"holder": HOLDER, "seq": 5, "closed": [sid]})).await);
    assert!(!known(json!({"holder": HOLDER, "seq": 4, "opened": [sid]})).await);
    assert!(!is_connected(&shop, &gateway, sid, sub).await);
    // Whoever was told that it is not known says everything again, and that counts.
    assert!(known(json!({"holder": HOLDER, "seq": 6, "reset": true, "opened": [sid]})).await);
    assert!(is_connected(&shop, &gateway, sid, sub).await);
}

async fn a_report_says_which_one_it_is(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for body in [
        json!({"holder": HOLDER, "reset": true}),
        json!({"holder": HOLDER, "reset": true, "seq": "1"}),
        json!({"holder": HOLDER, "reset": true, "seq": 1.5}),
    ] {
        let answer =
            shop.send(&gateway, Method::PUT, paths::SERVICE_PRESENCE, |request| request.json(&body)).await;
        answer.refused(ErrorCode::InvalidRequest);
    }
}
