//! Token signing keys on their schedule: each is published before it signs, and honoured for as long as a token
//! of its own can live.

use miid_gateway::upkeep::{reload_control, rotate_keys};
use miid_protocol::paths;
use serde_json::json;

use crate::instance::{Instance, key, postgres};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const FLAGS: [&str; 4] = ["--key-lifetime", "30d", "--access-ttl", "10m"];

#[tokio::test]
async fn a_key_is_relieved_on_schedule_and_no_live_token_is_broken_sqlite() {
    a_key_is_relieved_on_schedule(Instance::start(None, &FLAGS).await).await;
}

#[tokio::test]
async fn a_key_is_relieved_on_schedule_and_no_live_token_is_broken_postgres() {
    let Some(url) = postgres().await else { return };
    a_key_is_relieved_on_schedule(Instance::start(Some(url), &FLAGS).await).await;
}

/// What a running instance does each second.
async fn tick(gateway: &Instance) {
    rotate_keys(&gateway.app).await;
    reload_control(&gateway.app).await.expect("services and keys");
}

async fn kids(gateway: &Instance) -> Vec<String> {
    let (_, jwks) = gateway.call("", "GET", paths::JWKS, "").await;
    let kids =
        jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str().expect("a kid").into());
    kids.collect()
}

fn kid_of(token: &str) -> String {
    let head = miid_protocol::jws::decode(token.split('.').next().expect("a head")).expect("base64url");
    let head: serde_json::Value = serde_json::from_slice(&head).expect("JSON");
    head["kid"].as_str().expect("a kid").to_owned()
}

async fn counts(gateway: &Instance, token: &str) -> bool {
    let said = gateway.as_service("POST", paths::TOKEN_INTROSPECT, &json!({"token": token})).await;
    said["active"] == true
}

async fn a_key_is_relieved_on_schedule(gateway: Instance) {
    let other = gateway.another(&FLAGS).await;
    let first = kids(&gateway).await;
    assert_eq!(first.len(), 1);
    gateway.wait(30 * DAY - 10 * MINUTE - 1000);
    tick(&gateway).await;
    assert_eq!(kids(&gateway).await, first, "not a second too early");

    // Ten minutes before its time is over the next is published, once, however many instances there are.
    gateway.wait(1000);
    tokio::join!(rotate_keys(&gateway.app), rotate_keys(&other.app));
    tick(&gateway).await;
    tick(&other).await;
    let both = kids(&gateway).await;
    assert_eq!((both.len(), &kids(&other).await), (2, &both));
    let next = both.iter().find(|kid| **kid != first[0]).expect("a new one").clone();
    gateway.wait(10 * MINUTE - 1000);
    tick(&gateway).await;
    let old = gateway.sign_in(&key(1)).await.access_token;
    assert_eq!(kid_of(&old), first[0], "until then the old one signs");

    // Then it takes over, without anybody doing anything; what the old one signed counts to its end.
    gateway.wait(1000);
    let new = gateway.sign_in(&key(2)).await.access_token;
    assert_eq!(kid_of(&new), next);
    assert!(counts(&gateway, &old).await && counts(&other, &old).await && counts(&other, &new).await);
    gateway.wait(10 * MINUTE - 2000);
    tick(&gateway).await;
    assert!(counts(&gateway, &old).await, "a second before its end");
    assert_eq!(kids(&gateway).await.len(), 2);
    gateway.wait(6 * MINUTE);
    assert!(!counts(&gateway, &old).await);
    assert_eq!(kids(&gateway).await, [next.as_str()], "and is forgotten when no token of it can live");

    // And so on.
    gateway.wait(30 * DAY);
    tick(&gateway).await;
    assert_eq!(kids(&gateway).await.len(), 2, "also where nobody was there when it was time");
}
