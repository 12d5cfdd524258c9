//! A store that is there and says nothing: a server that is held, and connections that carry nothing any more. Nobody
//! waits for it without end, what must not be believed unasked is refused, and all of it works again once it answers.

use std::time::{Duration, Instant};

use miid_e2e::edge::route;
use miid_e2e::postgres::Cluster;
use miid_e2e::{Edge, Gateway, Service, Upstream, World, eventually, on_postgres};
use miid_protocol::paths;
use reqwest::Method;
use serde_json::json;

use crate::edge::{gateway, refused, routes};

on_postgres!(
    while_the_store_says_nothing_requests_are_refused_in_time_and_work_again_after_it,
    an_edge_whose_connections_carry_nothing_any_more_takes_others_and_hears_of_an_end,
);

/// No request may wait longer for a store: its turn, the answer, and what a busy machine adds.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Nor may it take longer until everything works again.
const SOON: Duration = Duration::from_secs(10);

fn table(upstream: &Upstream) -> String {
    let more = [
        route("strict", "/strict", "general", &upstream.url(), "store_away = \"refuse\""),
        route("asking", "/asking", "critical", &upstream.url(), ""),
    ];
    routes(upstream, &more.concat())
}

/// Says that a page of the session is open, and goes on being open.
async fn connect(shop: &Service, at: &Gateway, session: miid_protocol::SessionId, seq: i64) {
    let body = json!({"holder": "instance-0123456789abcdef", "seq": seq, "reset": true, "opened": [session]});
    let answer = shop.send(at, Method::PUT, paths::SERVICE_PRESENCE, |request| request.json(&body)).await;
    assert_eq!(answer.is(200).json()["known"], true);
}

async fn while_the_store_says_nothing_requests_are_refused_in_time_and_work_again_after_it(world: World) {
    let cluster = Cluster::start().await;
    let upstream = Upstream::start();
    let edge = Edge::new(&world, "edge", &table(&upstream));
    let flags = edge.flags();
    let database = world.database_on(&cluster).await;
    let gateway = world.gateway_on(database, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let shop = gateway.add_service("demo-shop", &[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let (tokens, unseen) =
        (shop.sign_in(&gateway, &alice).await, shop.sign_in(&gateway, &world.wallet()).await);
    // Of a service whose log nobody follows yet.
    let elsewhere = other.sign_in(&gateway, &alice).await;
    connect(&shop, &gateway, tokens.session_id, 1).await;
    for path in ["/api/x", "/strict/x", "/asking/x"] {
        edge.get(path, &tokens.access_token).await.is(200);
    }

    let held = cluster.hold();
    let begun = Instant::now();
    let refused_in_time = async |path: &str, token: &str| {
        let asked = Instant::now();
        refused(&edge.get(path, token).await, 503, "store_unavailable", "");
        assert!(asked.elapsed() < AT_ONCE, "{path} took {:?}", asked.elapsed());
    };
    // More at once than the store has connections, and again and again: none is left hanging in the end.
    for _ in 0..2 {
        let asking = (0..24).map(|_| refused_in_time("/asking/x", &tokens.access_token));
        futures_util::future::join_all(asking).await;
    }
    refused_in_time("/api/x", &unseen.access_token).await;
    refused_in_time("/api/x", &elsewhere.access_token).await;
    eventually("a route that fails closed does", || async {
        (edge.get("/strict/x", &tokens.access_token).await.status == 503).then_some(())
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(4), "the store was away for longer than anybody waits");
    // What is cached is served where the route says so.
    edge.get("/api/x", &tokens.access_token).await.is(200);

    drop(held);
    let back = Instant::now();
    for (path, token) in [("/strict/x", &tokens), ("/api/x", &unseen)] {
        eventually("it works again", || async {
            (edge.get(path, &token.access_token).await.status == 200).then_some(())
        })
        .await;
    }
    connect(&shop, &gateway, tokens.session_id, 2).await;
    edge.get("/asking/x", &tokens.access_token).await.is(200);
    refused(&edge.get("/api/x", &elsewhere.access_token).await, 401, "invalid_token", "wrong_audience");
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    eventually("ends are heard of again", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
}

async fn an_edge_whose_connections_carry_nothing_any_more_takes_others_and_hears_of_an_end(world: World) {
    let upstream = Upstream::start();
    let (here, there) =
        (Edge::new(&world, "edge-a", &table(&upstream)), Edge::new(&world, "edge-b", &table(&upstream)));
    let (a, shop) = gateway(&world, &here, &[]).await;
    let (database, cable) = a.database.over_a_cable().await;
    let flags = there.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _b = a.another_on("gateway-b", database, &flags).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let (tokens, bobs) = (shop.sign_in(&a, &alice).await, shop.sign_in(&a, &bob).await);
    for path in ["/api/x", "/strict/x"] {
        there.get(path, &tokens.access_token).await.is(200);
        there.get(path, &bobs.access_token).await.is(200);
    }
    // Its connections to the store, and that over which it is woken: none of them ends.
    cable.silence_what_is_open();
    let ended = Instant::now();
    alice.revoke(&a, "demo-shop", tokens.session_id).await.is(200);
    for path in ["/strict/x", "/api/x"] {
        let answer = eventually("it hears of the end", || async {
            let answer = there.get(path, &tokens.access_token).await;
            (answer.status == 401).then_some(answer)
        })
        .await;
        refused(&answer, 401, "invalid_token", "revoked");
    }
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    for path in ["/strict/x", "/api/x"] {
        eventually("nobody else is refused for long", || async {
            (there.get(path, &bobs.access_token).await.status == 200).then_some(())
        })
        .await;
    }
    connect(&shop, &a, bobs.session_id, 1).await;
    eventually("and the store is asked over connections that work", || async {
        (there.get("/asking/x", &bobs.access_token).await.status == 200).then_some(())
    })
    .await;
    assert!(ended.elapsed() < SOON * 2, "{:?}", ended.elapsed());
}
