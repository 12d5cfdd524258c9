//! Token signing keys, as the edge sees them: one relieves the other on schedule and nobody notices, one that is
//! retired counts nowhere at once, and one that nobody knows is looked for once in a while.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use miid_e2e::port::Port;
use miid_e2e::wait::within;
use miid_e2e::{Edge, Forger, Gateway, Renewable as _, Upstream, World, eventually, on_postgres, on_sqlite};
use miid_protocol::service::TokenResponse;
use miid_protocol::{jws, paths};
use serde_json::{Value, json};

use crate::edge::{gateway, refused, routes};

on_postgres!(keys_overlap_on_schedule_and_a_retired_one_counts_at_no_edge_at_once,);
on_sqlite!(
    keys_that_nobody_knows_are_looked_for_once_in_a_while,
    tokens_of_a_key_that_is_being_looked_for_wait_for_it,
);

fn kid_of(token: &str) -> String {
    let head = jws::decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&head).unwrap()["kid"].as_str().unwrap().to_owned()
}

async fn published(world: &World, gateway: &Gateway) -> Vec<String> {
    let keys = world.get(gateway, paths::JWKS).await.json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn keys_overlap_on_schedule_and_a_retired_one_counts_at_no_edge_at_once(world: World) {
    let upstream = Upstream::start();
    let (here, there) = (
        Edge::new(&world, "edge-a", &routes(&upstream, "")),
        Edge::new(&world, "edge-b", &routes(&upstream, "")),
    );
    // A key signs for so short that the next one is published at once, to sign in ten minutes.
    let (mut a, shop) = gateway(&world, &here, &["--key-lifetime", "10m"]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&a, &alice).await;
    let old = kid_of(&tokens.access_token);
    let next = eventually("the next key is published by itself", || async {
        published(&world, &a).await.into_iter().find(|kid| *kid != old)
    })
    .await;

    // Ten minutes later.
    a.stop().await;
    a.database.execute("UPDATE signing_keys SET active_from = active_from - 600000").await;
    a.restart().await;
    let flags = there.flags();
    let b = a.another_with("gateway-b", &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let renewed: TokenResponse = shop.refresh(&a, tokens.renewal()).await.ok();
    assert_eq!(kid_of(&renewed.access_token), next, "the next one signs by itself");
    for edge in [&here, &there] {
        edge.get("/api/x", &tokens.access_token).await.is(200);
        let said = edge.get("/api/x", &renewed.access_token).await.is(200).json();
        let identity = said["headers"]["x-miid-identity"][0].as_str().unwrap().to_owned();
        assert_eq!(kid_of(&identity), next);
    }
    assert!(published(&world, &b).await.contains(&old), "what the old one signed is still live");

    // Retired, it counts nowhere: not for what it signed, and not for what was cached.
    a.run(&["keys", "retire", &old, "--now"]).await.ok();
    let retired = Instant::now();
    for edge in [&here, &there] {
        eventually("what the old key signed is refused", || async {
            (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
        })
        .await;
        refused(&edge.get("/api/x", &tokens.access_token).await, 401, "invalid_token", "unknown_key");
    }
    println!("from the retirement of a key to its refusal at both edges: {:?}", retired.elapsed());
    assert!(retired.elapsed() < Duration::from_secs(3), "{:?}", retired.elapsed());
    for edge in [&here, &there] {
        edge.get("/api/x", &renewed.access_token).await.is(200);
    }

    // The one that signs is retired, too: another signs at once, and an edge that has not heard of it looks.
    a.run(&["keys", "retire", &next, "--now"]).await.ok();
    let mut last = renewed;
    let fresh = within("another key signs", async {
        loop {
            let tokens: TokenResponse = shop.refresh(&a, last.renewal()).await.ok();
            if kid_of(&tokens.access_token) != next {
                return tokens;
            }
            last = tokens;
        }
    })
    .await;
    for edge in [&there, &here] {
        eventually("an edge looks for it", || async {
            (edge.get("/api/x", &fresh.access_token).await.status == 200).then_some(())
        })
        .await;
        eventually("and the one before counts nowhere", || async {
            (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
        })
        .await;
    }
}

async fn keys_that_nobody_knows_are_looked_for_once_in_a_while(world: World) {
    let (upstream, metrics) = (Upstream::start(), Port::take());
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    let (gateway, shop) = gateway(&world, &edge, &["--metrics-listen", &metrics.address()]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let [_, payload, signature] = tokens.access_token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let begun = Instant::now();
    for _ in 0..20 {
        let asked = (0..10).map(|_| async {
            let kid = miid_e2e::clock::name();
            let head = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}).to_string();
            let token = format!("{}.{payload}.{signature}", jws::encode(head.as_bytes()));
            refused(&edge.get("/api/x", &token).await, 401, "invalid_token", "unknown_key");
        });
        join_all(asked).await;
    }
    let at_most = 1 + begun.elapsed().as_secs() / 5;
    let looked = looked_for_keys(&world, &metrics).await;
    assert!((1..=at_most).contains(&looked), "{looked} times for 200 keys, in {:?}", begun.elapsed());
    edge.get("/api/x", &tokens.access_token).await.is(200);
}

async fn tokens_of_a_key_that_is_being_looked_for_wait_for_it(world: World) {
    let (upstream, metrics) = (Upstream::start(), Port::take());
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    let (gateway, shop) = gateway(&world, &edge, &["--metrics-listen", &metrics.address()]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    // Its session is known, so that nothing but the key is new.
    edge.get("/api/x", &tokens.access_token).await.is(200);
    let said = gateway.run(&["keys", "rotate"]).await.ok();
    let kid = said.split([' ', ';']).nth(1).expect("Published KID; …");
    let forger = Forger::with_key(&gateway.data_dir, &tokens.access_token, kid);
    // Most of them come while one has it looked for.
    let answers =
        join_all((0..64).map(|_| async { edge.get("/api/x", &forger.another()).await.status })).await;
    assert_eq!(answers, [200; 64]);
    assert!(looked_for_keys(&world, &metrics).await <= 1);
}

/// How often, as the metrics say it.
async fn looked_for_keys(world: &World, metrics: &Port) -> u64 {
    let text =
        world.http().get(format!("{}/metrics", metrics.origin())).send().await.unwrap().text().await.unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix("miid_edge_key_lookups_total ")).expect("counted");
    line.parse().unwrap()
}
