//! Calls that only work while the page is connected: arrows 10 to 16. The edge, or the API server behind it, asks
//! whether the person has a live session with an open socket (13, 14); where they have not, nothing happens (15b).

use std::sync::atomic::{AtomicI64, Ordering};

use miid_e2e::edge::route;
use miid_e2e::{
    Browser, Edge, Gateway, Renewable as _, Service, Shop, Upstream, World, eventually, on_both, on_sqlite,
};
use miid_protocol::service::{ActiveReason, Activity, TokenResponse};
use miid_protocol::{ErrorCode, SessionId, jws, paths};
use reqwest::Method;
use serde_json::{Value, json};

use crate::edge::{gateway, refused, routes};
use crate::sign_in::sign_in;

on_both!(
    arrows_10_to_16_a_critical_call_works_only_while_a_socket_is_open,
    arrow_12b_a_critical_call_whose_token_does_not_count_is_refused_however_connected_the_person_is,
    arrow_15b_somebody_elses_socket_does_not_count,
    arrows_13_and_14_a_page_that_is_connected_is_known_to_the_gateway,
    a_service_instance_that_dies_has_nobody_connected,
);
on_sqlite!(presence_is_each_services_own,);

const HOLDER: &str = "instance-0123456789abcdef";

/// Says so, after everything that was said before.
async fn report(shop: &Service, at: &Gateway, mut body: Value) -> bool {
    static SEQ: AtomicI64 = AtomicI64::new(1);
    body["seq"] = SEQ.fetch_add(1, Ordering::SeqCst).into();
    let answer = shop.send(at, Method::PUT, paths::SERVICE_PRESENCE, |request| request.json(&body)).await;
    answer.is(200).json()["known"].as_bool().expect("known")
}

async fn ask(shop: &Service, at: &Gateway, body: Value) -> Activity {
    shop.post(at, paths::SESSIONS_ACTIVE, &body).await.ok()
}

async fn arrows_10_to_16_a_critical_call_works_only_while_a_socket_is_open(world: World) {
    let upstream = Upstream::start();
    let critical = route("transfer", "/transfer", "critical", &upstream.url(), "methods = [\"POST\"]");
    let edge = Edge::new(&world, "edge", &routes(&upstream, &critical));
    let (gateway, shop) = gateway(&world, &edge, &[]).await;
    let alice = world.wallet();
    let tokens: TokenResponse = shop.sign_in(&gateway, &alice).await;
    let transfer = || {
        let token = tokens.access_token.clone();
        edge.send(Method::POST, "/transfer", move |request| request.bearer_auth(token).body("all of it"))
    };
    // 12b, 15b: no token, and a token without a socket.
    refused(&edge.send(Method::POST, "/transfer", |request| request).await, 401, "invalid_token", "missing");
    refused(&transfer().await, 403, "active_session_required", "");
    assert_eq!(upstream.requests(), 0);

    // 12a, 15a.
    let sid = tokens.session_id;
    assert!(
        !report(&shop, &gateway, json!({"holder": HOLDER, "opened": [sid]})).await,
        "nothing is known of it yet"
    );
    refused(&transfer().await, 403, "active_session_required", "");
    assert!(report(&shop, &gateway, json!({"holder": HOLDER, "reset": true, "opened": [sid]})).await);
    let said = transfer().await.is(200).json();
    assert_eq!(said["headers"]["x-miid-subject"][0], tokens.sub);
    let activity = ask(&shop, &gateway, json!({"token": tokens.access_token})).await;
    assert!(activity.active && activity.since.is_some() && activity.session_id == Some(sid), "{activity:?}");
    assert_eq!(ask(&shop, &gateway, json!({"sub": tokens.sub})).await, activity);

    // The socket closes: the very next call is refused, while general ones go on.
    assert!(report(&shop, &gateway, json!({"holder": HOLDER, "closed": [sid]})).await);
    refused(&transfer().await, 403, "active_session_required", "");
    edge.get("/api/x", &tokens.access_token).await.is(200);
    let activity = ask(&shop, &gateway, json!({"sub": tokens.sub})).await;
    assert_eq!((activity.active, activity.reason), (false, ActiveReason::NotConnected));

    // Open at two instances, closed at one of them: still open.
    for holder in [HOLDER, "another-0123456789abcdef"] {
        assert!(report(&shop, &gateway, json!({"holder": holder, "reset": true, "opened": [sid]})).await);
    }
    assert!(report(&shop, &gateway, json!({"holder": HOLDER, "reset": true})).await);
    transfer().await.is(200);

    // The session ends: its socket does not keep it alive.
    alice.revoke(&gateway, "demo-shop", sid).await.is(200);
    let activity = ask(&shop, &gateway, json!({"token": tokens.access_token})).await;
    assert_eq!((activity.active, activity.reason), (false, ActiveReason::NoSession));
    assert_eq!(ask(&shop, &gateway, json!({"sub": tokens.sub})).await.reason, ActiveReason::NoSession);
    eventually("the edge refuses", || async { (transfer().await.status == 401).then_some(()) }).await;
    // And the socket of a session that ended is not one of the next.
    let next = shop.sign_in(&gateway, &alice).await;
    let answer =
        edge.send(Method::POST, "/transfer", |request| request.bearer_auth(&next.access_token)).await;
    refused(&answer, 403, "active_session_required", "");
}

async fn arrow_12b_a_critical_call_whose_token_does_not_count_is_refused_however_connected_the_person_is(
    world: World,
) {
    let upstream = Upstream::start();
    let critical = route("transfer", "/transfer", "critical", &upstream.url(), "");
    let edge = Edge::new(&world, "edge", &routes(&upstream, &critical));
    let (gateway, shop) = gateway(&world, &edge, &["--access-ttl", "5s"]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let elsewhere = other.sign_in(&gateway, &alice).await;
    let open = json!({"holder": HOLDER, "reset": true, "opened": [tokens.session_id, elsewhere.session_id]});
    assert!(report(&shop, &gateway, open).await);
    edge.get("/transfer", &tokens.access_token).await.is(200);
    let served = upstream.requests();

    let [head, payload, _] = tokens.access_token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let forged = format!("{head}.{payload}.{}", jws::encode(&[7; 64]));
    for (token, reason) in
        [("nonsense", "malformed"), (&forged, "bad_signature"), (&elsewhere.access_token, "wrong_audience")]
    {
        refused(&edge.get("/transfer", token).await, 401, "invalid_token", reason);
    }
    assert_eq!(upstream.requests(), served, "nobody behind saw any of it");
    eventually("its time is over, and its socket does not keep it alive", || async {
        (edge.get("/transfer", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    refused(&edge.get("/transfer", &tokens.access_token).await, 401, "invalid_token", "expired");
    let fresh: TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();
    edge.get("/transfer", &fresh.access_token).await.is(200);
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    eventually("its session is over", || async {
        (edge.get("/transfer", &fresh.access_token).await.status == 401).then_some(())
    })
    .await;
    refused(&edge.get("/transfer", &fresh.access_token).await, 401, "invalid_token", "revoked");
}

async fn arrow_15b_somebody_elses_socket_does_not_count(world: World) {
    let upstream = Upstream::start();
    let critical = route("transfer", "/transfer", "critical", &upstream.url(), "");
    let edge = Edge::new(&world, "edge", &routes(&upstream, &critical));
    let gateway = world.gateway(&edge.flags().iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Several sessions of one person are allowed here.
    let shop = gateway.add_service("demo-shop", &["--session-policy", "multiple"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let (first, second) = (shop.sign_in(&gateway, &alice).await, shop.sign_in(&gateway, &alice).await);
    let bobs = shop.sign_in(&gateway, &bob).await;
    let open = json!({"holder": HOLDER, "reset": true, "opened": [bobs.session_id, second.session_id]});
    assert!(report(&shop, &gateway, open).await);
    // Neither another person's, nor another session's of the same person.
    refused(&edge.get("/transfer", &first.access_token).await, 403, "active_session_required", "");
    assert_eq!(upstream.requests(), 0);
    for tokens in [&second, &bobs] {
        edge.get("/transfer", &tokens.access_token).await.is(200);
    }
    let activity = ask(&shop, &gateway, json!({"token": first.access_token})).await;
    assert_eq!((activity.active, activity.reason), (false, ActiveReason::NotConnected));
    // Who asks for the person is told of any of their sessions.
    assert!(ask(&shop, &gateway, json!({"sub": first.sub})).await.active);
}

async fn arrows_13_and_14_a_page_that_is_connected_is_known_to_the_gateway(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    sign_in(&gateway, &browser, &alice).await;
    let session = browser.session().await;
    let sub = session.sub.clone();
    assert_eq!(ask(shop.service(), &gateway, json!({"sub": sub})).await.reason, ActiveReason::NotConnected);
    let (page, second) = (browser.session_stream().await, browser.session_stream().await);
    connected(&shop, &gateway, &sub, true, Some(session.session_id)).await;
    drop(page);
    drop(second);
    connected(&shop, &gateway, &sub, false, None).await;
    // A page that is opened again, and a session that is ended under it.
    let _page = browser.session_stream().await;
    connected(&shop, &gateway, &sub, true, Some(session.session_id)).await;
    alice.revoke(&gateway, "demo-shop", session.session_id).await.is(200);
    assert_eq!(ask(shop.service(), &gateway, json!({"sub": sub})).await.reason, ActiveReason::NoSession);
}

pub(crate) async fn connected(
    shop: &Shop,
    gateway: &Gateway,
    sub: &str,
    active: bool,
    session: Option<SessionId>,
) {
    eventually(&format!("active is {active}"), || async {
        let activity = ask(shop.service(), gateway, json!({"sub": sub})).await;
        (activity.active == active && activity.session_id == session).then_some(())
    })
    .await;
}

async fn a_service_instance_that_dies_has_nobody_connected(world: World) {
    let (gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser): (_, Browser) = (world.wallet(), world.browser(&shop));
    sign_in(&gateway, &browser, &alice).await;
    let session = browser.session().await;
    let _page = browser.session_stream().await;
    connected(&shop, &gateway, &session.sub, true, Some(session.session_id)).await;
    // One that ends in order says so; one that is killed is not heard of any more, and that is bounded.
    shop.kill();
    connected(&shop, &gateway, &session.sub, false, None).await;
    shop.restart().await;
    let _page = browser.session_stream().await;
    connected(&shop, &gateway, &session.sub, true, Some(session.session_id)).await;
    let status = shop.program().stop().await;
    assert!(status.success(), "{status}");
    let activity = ask(shop.service(), &gateway, json!({"sub": session.sub})).await;
    assert_eq!(activity.reason, ActiveReason::NotConnected, "it said so before it ended");
}

async fn presence_is_each_services_own(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let sid = tokens.session_id;
    // Another service can neither say that somebody is connected here, nor ask, nor end what we said.
    assert!(
        report(
            &other,
            &gateway,
            json!({"holder": "theirs-0123456789abcdef", "reset": true, "opened": [sid]})
        )
        .await
    );
    assert!(!ask(&shop, &gateway, json!({"sub": tokens.sub})).await.active);
    assert!(report(&shop, &gateway, json!({"holder": HOLDER, "reset": true, "opened": [sid]})).await);
    assert!(!report(&other, &gateway, json!({"holder": HOLDER, "reset": true})).await);
    assert!(ask(&shop, &gateway, json!({"sub": tokens.sub})).await.active);
    let by_session = json!({"session_id": sid});
    assert!(ask(&shop, &gateway, by_session.clone()).await.active);
    for body in [json!({"sub": tokens.sub}), json!({"token": tokens.access_token}), by_session] {
        assert_eq!(ask(&other, &gateway, body).await.reason, ActiveReason::NoSession);
    }
    // A refresh token asks for its session, too; nonsense for none.
    assert!(ask(&shop, &gateway, json!({"token": tokens.renewal()})).await.active);
    assert_eq!(ask(&shop, &gateway, json!({"token": "nonsense"})).await.reason, ActiveReason::NoSession);

    for body in [json!({}), json!({"sub": "a", "token": "b"}), json!({"sub": "a", "session_id": sid})] {
        shop.post(&gateway, paths::SESSIONS_ACTIVE, &body).await.refused(ErrorCode::InvalidRequest);
    }
    let many: Vec<SessionId> = (0..501).map(|_| SessionId::from_uuid(uuid::Uuid::now_v7())).collect();
    for body in [
        json!({"holder": "short", "seq": 1}),
        json!({"holder": "with a space 0123456789", "seq": 1}),
        json!({"holder": HOLDER, "seq": 1, "opened": ["x"]}),
        json!({"holder": HOLDER, "seq": 1, "opened": many}),
    ] {
        let answer =
            shop.send(&gateway, Method::PUT, paths::SERVICE_PRESENCE, |request| request.json(&body)).await;
        answer.refused(ErrorCode::InvalidRequest);
    }
    world
        .send(&gateway, Method::POST, paths::SESSIONS_ACTIVE, |request| request.json(&json!({"sub": "a"})))
        .await
        .refused(ErrorCode::InvalidClient);
    world
        .send(&gateway, Method::PUT, paths::SERVICE_PRESENCE, |request| {
            request.json(&json!({"holder": HOLDER, "seq": 1}))
        })
        .await
        .refused(ErrorCode::InvalidClient);
}
