//! What the scenarios of the edge share: a gateway with an edge before one upstream, and refusals.

use miid_e2e::edge::route;
use miid_e2e::{Edge, Gateway, Service, Upstream, World};
use serde_json::{Value, json};

/// `/pub`, `/api`, and whatever else a scenario wants.
pub fn routes(upstream: &Upstream, more: &str) -> String {
    let url = upstream.url();
    let usual = "first_byte_timeout = \"1s\"\nidle_timeout = \"2s\"\nmax_body = 100000000";
    [
        "[edge]\n".to_owned(),
        route("pub", "/pub", "public", &url, usual),
        route("api", "/api", "general", &url, &format!("scopes = [\"profile\"]\n{usual}")),
        more.to_owned(),
    ]
    .concat()
}

/// A gateway with an edge, and a service whose tokens count there.
pub async fn gateway(world: &World, edge: &Edge, flags: &[&str]) -> (Gateway, Service) {
    let own = edge.flags();
    let all: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    world.gateway_and_service(&all).await
}

/// All of it.
pub async fn everything(world: &World, more: &str) -> (Upstream, Edge, Gateway, Service) {
    let upstream = Upstream::start();
    let edge = Edge::new(world, "edge", &routes(&upstream, more));
    let (gateway, shop) = gateway(world, &edge, &[]).await;
    (upstream, edge, gateway, shop)
}

/// A problem document of the edge: status, `code`, and `reason` where it has one.
#[track_caller]
pub fn refused(answer: &miid_e2e::Answer, status: u16, code: &str, reason: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header(reqwest::header::CONTENT_TYPE), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&answer.body).expect("a problem document");
    assert_eq!(problem["status"], status);
    assert_eq!(
        (&problem["code"], problem["reason"].as_str().unwrap_or("")),
        (&json!(code), reason),
        "{problem}"
    );
    assert_eq!(problem["type"], format!("urn:miid:problem:{code}"));
}
