//! Which route a request falls under, and how routes share an upstream: a caller who spells a request otherwise never
//! comes by a weaker route, and what an upstream says of itself counts for all routes that ask it.

use miid_e2e::edge::route;
use miid_e2e::{Edge, Upstream, World, eventually, on_sqlite};
use nix::sys::signal::Signal;
use reqwest::Method;

use crate::edge::{everything, gateway, refused};

on_sqlite!(
    no_spelling_of_a_request_comes_by_a_weaker_route,
    nobody_behind_turns_a_method_into_another,
    routes_that_ask_one_upstream_share_its_answer_also_after_a_reload,
    a_reload_without_routes_changes_nothing_and_says_so,
    a_token_is_passed_on_where_the_route_says_so_and_else_by_public_ones_alone,
);

async fn no_spelling_of_a_request_comes_by_a_weaker_route(world: World) {
    let upstream = Upstream::start();
    let url = upstream.url();
    let transfer = route("transfer", "/accounts/{id}/transfer", "general", &url, "methods = [\"POST\"]");
    let table = [
        route("secret", "/secret", "critical", &url, "methods = [\"GET\"]"),
        transfer.replace("prefix = ", "pattern = "),
        route("weak", "/", "public", &url, ""),
    ];
    let edge = Edge::new(&world, "edge", &table.concat());
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    let status = |method: &'static str, path: &'static str| {
        let edge = &edge;
        async move {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = edge.raw(head.as_bytes()).await;
            answer.split(' ').nth(1).expect("a status").parse::<u16>().expect("a number")
        }
    };
    for (method, path, wanted) in [
        ("GET", "/secret", 401),
        ("GET", "/secret/", 401),
        ("GET", "/secret/y?x=1", 401),
        ("GET", "/%73ecret", 401),
        ("HEAD", "/secret", 401),
        ("get", "/secret", 400),
        ("Get", "/secret", 400),
        ("GET", "/secret;x=1", 400),
        ("GET", "/secret;x=1/y", 400),
        ("GET", "/secret%3Bx=1/y", 400),
        ("GET", "/;/secret", 400),
        ("GET", "//secret", 400),
        ("GET", "/x/../secret", 400),
        ("GET", "/Secret", 404),
        ("GET", "/SECRET/y", 404),
        ("POST", "/accounts/7/transfer", 401),
        ("POST", "/accounts/7/transfer/", 401),
        ("POST", "/accounts/7/transfer;x", 400),
        ("POST", "/accounts/7;x/transfer", 400),
        ("POST", "/accounts/7/transfer%2f", 400),
        ("POST", "/accounts/7/Transfer", 404),
        ("post", "/accounts/7/transfer", 400),
    ] {
        assert_eq!(status(method, path).await, wanted, "{method} {path}");
    }
    assert_eq!(upstream.requests(), 0, "none of them came through");
    assert_eq!(status("GET", "/secretary").await, 200, "the weak route is there all the same");
}

async fn nobody_behind_turns_a_method_into_another(world: World) {
    let (_upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let answer = edge
        .send(Method::POST, "/pub/x", |request| {
            request
                .header("X-HTTP-Method-Override", "DELETE")
                .header("X-HTTP-Method", "DELETE")
                .header("X-Method-Override", "DELETE")
                .header("X-Methodical", "yes")
        })
        .await;
    let said = answer.is(200).json();
    let headers = said["headers"].as_object().expect("headers");
    assert!(headers.keys().all(|name| !name.contains("override") && name != "x-http-method"), "{headers:?}");
    assert_eq!((&said["method"], &headers["x-methodical"][0]), (&"POST".into(), &"yes".into()));
}

async fn routes_that_ask_one_upstream_share_its_answer_also_after_a_reload(world: World) {
    let upstream = Upstream::start();
    let asking = |name: &str| {
        let more = "health_path = \"/healthz\"\nhealth_every = \"100ms\"";
        route(name, &format!("/{name}"), "public", &upstream.url(), more)
    };
    let silent = route("silent", "/silent", "public", &upstream.url(), "");
    let edge = Edge::new(&world, "edge", &[asking("one"), asking("two"), silent.clone()].concat());
    let (mut gateway, _shop) = gateway(&world, &edge, &[]).await;
    let get = |path: &'static str| edge.send(Method::GET, path, |request| request);
    let all = async |paths: &[&'static str], status: u16| {
        for path in paths {
            eventually(&format!("{path} is {status}"), || async {
                (get(path).await.status == status).then_some(())
            })
            .await;
        }
    };
    all(&["/one/x", "/two/x"], 200).await;
    upstream.be_sick(true);
    all(&["/one/x", "/two/x"], 503).await;
    refused(&get("/two/x").await, 503, "upstream_unavailable", "");
    get("/silent/x").await.is(200);

    // Known to be sick: a route that is new hears it at once, and who gets well is well for all of them.
    edge.write(&[asking("two"), silent, asking("three")].concat());
    gateway.program().signal(Signal::SIGHUP);
    all(&["/one/x"], 404).await;
    refused(&get("/three/x").await, 503, "upstream_unavailable", "");
    upstream.be_sick(false);
    all(&["/two/x", "/three/x"], 200).await;
    upstream.be_sick(true);
    all(&["/three/x", "/two/x"], 503).await;
}

async fn a_reload_without_routes_changes_nothing_and_says_so(world: World) {
    let (_upstream, edge, mut gateway, _shop) = everything(&world, "").await;
    edge.write("[edge]\naccess_log = false\n");
    gateway.program().signal(Signal::SIGHUP);
    let log = eventually("it says so", || {
        let log = gateway.program().errors();
        std::future::ready(log.contains("stay as they were").then_some(log))
    })
    .await;
    assert!(log.contains("has no [[edge.route]]"), "{log}");
    edge.send(Method::GET, "/pub/x", |request| request).await.is(200);
}

async fn a_token_is_passed_on_where_the_route_says_so_and_else_by_public_ones_alone(world: World) {
    let upstream = Upstream::start();
    let with = |name: &str, kind: &str, more: &str| {
        route(name, &format!("/{name}"), kind, &upstream.url(), &format!("{more}\n"))
    };
    let (on, off) = ("pass_authorization = true", "pass_authorization = false");
    let table = [
        with("public", "public", ""),
        with("public-off", "public", off),
        with("general", "general", ""),
        with("general-on", "general", on),
    ];
    let edge = Edge::new(&world, "edge", &table.concat());
    let (gateway, shop) = gateway(&world, &edge, &[]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    for (name, passed) in [("public", true), ("public-off", false), ("general", false), ("general-on", true)]
    {
        let seen = edge.get(&format!("/{name}"), &tokens.access_token).await.is(200).json();
        let token = seen["headers"]["authorization"][0].as_str();
        assert_eq!(token.is_some(), passed, "{name}: {token:?}");
    }
}
