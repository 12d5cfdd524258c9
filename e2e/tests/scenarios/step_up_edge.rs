//! What the token of a step-up opens at the edge, and for how long.

use miid_e2e::edge::route;
use miid_e2e::on_sqlite;
use miid_e2e::{Edge, Renewable as _, Upstream, World};
use miid_protocol::service::TokenResponse;
use serde_json::json;

use crate::step_up_gateway::{approved, exchange, payload, step_up, stepped_up};

on_sqlite!(
    a_token_of_a_step_up_runs_out_by_itself,
    the_edge_lets_a_step_up_through_and_a_refresh_not,
    a_step_up_that_was_approved_by_a_clock_ahead_counts_from_its_token_on,
);

async fn a_token_of_a_step_up_runs_out_by_itself(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--step-up-ttl", "2s"]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let given = stepped_up(&shop, &gateway, &alice, tokens.session_id).await;
    assert_eq!(given.expires_in, 2);
    miid_e2e::eventually("the token of the step-up is over", || async {
        (!shop.introspect(&gateway, &given.access_token).await.active).then_some(())
    })
    .await;
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active, "the session's goes on");
}

async fn the_edge_lets_a_step_up_through_and_a_refresh_not(world: World) {
    let upstream = Upstream::start();
    let routes = [
        route("api", "/api", "general", &upstream.url(), ""),
        route("pay", "/pay", "general", &upstream.url(), "step_up = \"5m\""),
    ];
    let edge = Edge::new(&world, "edge", &routes.concat());
    let flags = edge.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (gateway, shop) = world.gateway_and_service(&flags).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    edge.get("/pay", &tokens.access_token).await.is(401);
    let given = stepped_up(&shop, &gateway, &alice, tokens.session_id).await;
    let said = edge.get("/pay", &given.access_token).await.is(200).json();
    let identity = payload(said["headers"]["x-miid-identity"][0].as_str().unwrap());
    assert_eq!((&identity["acr"], identity["auth_time"].as_i64()), (&json!("step_up"), given.auth_time));
    edge.get("/api", &given.access_token).await.is(200);
    let refreshed: TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();
    let refused = edge.get("/pay", &refreshed.access_token).await;
    assert!(refused.is(401).text().contains("insufficient_user_authentication"));
    shop.end_session(&gateway, tokens.session_id).await.is(204);
    miid_e2e::eventually("the edge hears that the session ended", || async {
        (edge.get("/pay", &given.access_token).await.status == 401).then_some(())
    })
    .await;
}

async fn a_step_up_that_was_approved_by_a_clock_ahead_counts_from_its_token_on(world: World) {
    let upstream = Upstream::start();
    let edge =
        Edge::new(&world, "edge", &route("pay", "/pay", "general", &upstream.url(), "step_up = \"5m\""));
    let flags = edge.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (gateway, shop) = world.gateway_and_service(&flags).await;
    let alice = world.wallet();
    let session = shop.sign_in(&gateway, &alice).await.session_id;
    let login = step_up(&shop, &gateway, session).await;
    let approved = approved(&shop, &gateway, &alice, &login).await;
    // As another instance would have noted it, whose clock is half a minute ahead.
    gateway
        .database
        .execute("UPDATE challenges SET changed_at = changed_at + 30000 WHERE state = 'approved'")
        .await;
    let given: TokenResponse = exchange(&shop, &gateway, &approved).await.is(200).ok();
    assert_eq!(payload(&given.access_token)["iat"].as_i64(), given.auth_time);
    edge.get("/pay", &given.access_token).await.is(200);
}
