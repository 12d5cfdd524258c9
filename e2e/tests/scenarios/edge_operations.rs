//! What an operator does to an edge, and what may happen to it: reload, upstreams that come and go, a store that is
//! away, a session that ends at another instance.

use std::time::{Duration, Instant};

use miid_e2e::edge::route;
use miid_e2e::port::Port;
use miid_e2e::postgres::Cluster;
use miid_e2e::{Edge, Forger, Renewable as _, Upstream, World, eventually, on_postgres, on_sqlite};
use nix::sys::signal::Signal;
use reqwest::Method;

use crate::edge::{everything, gateway, refused, routes};

on_sqlite!(
    a_reload_changes_routes_and_drops_no_connection,
    a_file_with_a_mistake_changes_nothing_and_says_so,
    an_edge_without_routes_does_not_start,
    an_upstream_that_fails_is_left_alone_and_one_that_is_sick_is_not_asked,
    an_upstream_of_http2_is_asked_how_it_is_in_its_own_tongue,
    what_was_sent_is_not_sent_again_unless_that_does_no_harm,
    a_connection_that_was_closed_meanwhile_is_nobodys_fault_where_the_request_may_be_sent_again,
    a_stop_lets_requests_end,
    metrics_say_what_the_edge_does,
);
on_postgres!(
    a_session_that_ends_at_one_instance_is_refused_at_every_edge_within_a_quarter_of_a_second,
    while_the_store_is_away_cached_tokens_are_served_or_refused_as_the_route_says,
    an_edge_that_cannot_hear_of_an_end_refuses_once_the_caches_time_is_over,
);

async fn a_reload_changes_routes_and_drops_no_connection(world: World) {
    let (upstream, edge, mut gateway, shop) = everything(&world, "").await;
    let second = Upstream::start();
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    // Under way: a stream, and a connection between two requests.
    let mut stream = edge.connect().await;
    stream.write(b"GET /pub/sse HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stream.until("data: 1\n\n").await;
    let mut kept = edge.connect().await;
    kept.write(b"GET /pub/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    kept.until("\"HTTP/1.1\"}").await;

    edge.write(&[routes(&upstream, ""), route("new", "/new", "general", &second.url(), "")].concat());
    gateway.program().signal(Signal::SIGHUP);
    eventually("the new route is there", || async {
        (edge.get("/new", &tokens.access_token).await.status == 200).then_some(())
    })
    .await;
    edge.write(&route("new", "/pub", "public", &second.url(), ""));
    gateway.program().signal(Signal::SIGHUP);
    eventually("the old route is gone", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 404).then_some(())
    })
    .await;
    let before = second.requests();
    kept.write(b"GET /pub/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    kept.until("\"HTTP/1.1\"}").await;
    assert_eq!(second.requests(), before + 1, "the connection was kept, its route is the new one");
    let n = stream.until("\n\n").await;
    assert!(n.contains("data: "), "the stream that was open goes on");
}

async fn a_file_with_a_mistake_changes_nothing_and_says_so(world: World) {
    let (upstream, edge, mut gateway, _shop) = everything(&world, "").await;
    let good = routes(&upstream, "");
    let check = || {
        let path = edge.config().to_str().unwrap().to_owned();
        async move {
            let mut command = std::process::Command::new(miid_e2e::program::bin("miid-gateway"));
            command.args(["config", "check", "--config", &path]);
            miid_e2e::program::capture(command).await
        }
    };
    assert!(check().await.ok().contains("2 routes"));
    for (bad, said) in [
        ("[[edge.route]]\nname = 7", "invalid type"),
        ("[edge]\nno_such_setting = true", "no_such_setting"),
        (&good.replace("prefix = \"/api\"", "prefix = \"/a/../b\""), "segment of dots"),
        (&good.replace("kind = \"general\"", "kind = \"generous\""), "generous"),
        (&good.replace("audience = \"demo-shop\"", ""), "audience is missing"),
        (&good.replace("http://", "https://"), "no upstream"),
    ] {
        edge.write(bad);
        assert!(check().await.complaint().contains(said), "{bad}");
        let known = gateway.program().errors().matches("stay as they were").count();
        gateway.program().signal(Signal::SIGHUP);
        let log = eventually("it says so", || {
            let log = gateway.program().errors();
            std::future::ready((log.matches("stay as they were").count() > known).then_some(log))
        })
        .await;
        assert!(log.contains(said), "{said}: {log}");
        edge.send(Method::GET, "/pub/x", |request| request).await.is(200);
    }
}

async fn an_edge_without_routes_does_not_start(world: World) {
    let gateway = world.gateway(&[]).await;
    let port = Port::take();
    let complaint = gateway.run(&["serve", "--edge-listen", &port.address()]).await.complaint();
    assert!(complaint.contains("--edge-listen needs a configuration file"), "{complaint}");
    let edge = Edge::new(&world, "empty", "[edge]\n");
    let flags = edge.flags();
    let words: Vec<&str> =
        ["serve", "--listen", "127.0.0.1:0"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let complaint = gateway.run(&words).await.complaint();
    assert!(
        complaint.contains("has no [[edge.route]]") || complaint.contains("already serves"),
        "{complaint}"
    );
}

async fn an_upstream_that_fails_is_left_alone_and_one_that_is_sick_is_not_asked(world: World) {
    let (first, second) = (Upstream::start(), Upstream::start());
    let gone = Upstream::start().url();
    let both = |name: &str, prefix: &str, other: &str, more: &str| {
        route(name, prefix, "public", &first.url(), more)
            .replace(&format!("[\"{}\"]", first.url()), &format!("[\"{}\", \"{other}\"]", first.url()))
    };
    let edge = Edge::new(
        &world,
        "edge",
        &[
            both("half", "/half", &gone, ""),
            both("asked", "/asked", &second.url(), "health_path = \"/healthz\"\nhealth_every = \"100ms\""),
        ]
        .concat(),
    );
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    let get = |path: &'static str| edge.send(Method::GET, path, |request| request);
    // Connections that are refused are tried at the other one: nobody notices.
    for _ in 0..50 {
        get("/half/x").await.is(200);
    }
    let served = || async {
        let before = (first.requests(), second.requests());
        for _ in 0..10 {
            get("/asked/x").await.is(200);
        }
        (first.requests() - before.0, second.requests() - before.1)
    };
    second.be_sick(true);
    eventually("only the one that is well is asked", || async {
        // Health questions are counted, too; of ten requests the sick one gets none.
        let (_, sick) = served().await;
        (sick < 5).then_some(())
    })
    .await;
    first.be_sick(true);
    eventually("nobody is well", || async { (get("/asked/x").await.status == 503).then_some(()) }).await;
    refused(&get("/asked/x").await, 503, "upstream_unavailable", "");
    second.be_sick(false);
    eventually("one is well again", || async { (get("/asked/x").await.status == 200).then_some(()) }).await;
}

async fn an_upstream_of_http2_is_asked_how_it_is_in_its_own_tongue(world: World) {
    let upstream = Upstream::start_http2();
    let asked = "protocol = \"h2c\"\nhealth_path = \"/healthz\"\nhealth_every = \"100ms\"";
    let edge = Edge::new(&world, "edge", &route("x", "/", "public", &upstream.url(), asked));
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    let status = || async { edge.send(Method::GET, "/x", |request| request).await.status };
    let asked_more = || async {
        let before = upstream.requests();
        eventually("it is asked", || async { (upstream.requests() > before + 2).then_some(()) }).await;
    };
    asked_more().await;
    assert_eq!(status().await, 200, "it said that it is well");
    upstream.be_sick(true);
    eventually("it is left alone", || async { (status().await == 503).then_some(()) }).await;
    upstream.be_sick(false);
    eventually("it is well again", || async { (status().await == 200).then_some(()) }).await;
}

async fn what_was_sent_is_not_sent_again_unless_that_does_no_harm(world: World) {
    // It takes a request and says nothing.
    let silent = Upstream::answering(b"");
    let twice = format!("[\"{0}\", \"{0}\", \"{0}\"]", silent.url());
    let table = route("x", "/", "public", &silent.url(), "retries = 5")
        .replace(&format!("[\"{}\"]", silent.url()), &twice);
    let edge = Edge::new(&world, "edge", &table);
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    for (method, sent) in [(Method::POST, 1), (Method::PATCH, 2), (Method::GET, 3), (Method::PUT, 4)] {
        let answer = edge
            .send(method.clone(), "/x", |request| request.body(if method == Method::GET { "" } else { "x" }))
            .await;
        refused(&answer, 502, "upstream_failed", "");
        assert_eq!(silent.requests(), sent, "{method}: it was sent, and nobody knows what came of it");
    }
}

async fn a_connection_that_was_closed_meanwhile_is_nobodys_fault_where_the_request_may_be_sent_again(
    world: World,
) {
    let once = Upstream::hanging_up();
    let edge = Edge::new(&world, "edge", &route("x", "/", "public", &once.url(), ""));
    let (_gateway, _shop) = gateway(&world, &edge, &[]).await;
    // All over one connection, and so at one worker, whose connection to the upstream is the last request's.
    let mut caller = edge.connect().await;
    let mut ask = async |method: &str, body: &str| {
        let length = body.len();
        let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        caller.write(request.as_bytes()).await;
        let head = caller.until("\r\n\r\n").await.to_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length").split('\r').next().unwrap();
        caller.exactly(length.parse().unwrap()).await;
        head[9..12].to_owned()
    };
    // Each is sent over a connection on which nobody listens any more, and once again over a new one.
    for method in ["GET", "GET", "PUT", "DELETE"] {
        assert_eq!(ask(method, "").await, "200", "{method}");
    }
    assert_eq!(once.requests(), 7, "the first over a new connection, each other one twice");
    // Nobody knows what came of a POST, nor of a body that is gone.
    assert_eq!(ask("POST", "").await, "502");
    assert_eq!(ask("PUT", "x").await, "200", "the next has a new connection");
    assert_eq!(ask("PUT", "x").await, "502");
    assert_eq!((once.requests(), once.connections()), (10, 5));
}

async fn a_stop_lets_requests_end(world: World) {
    let (upstream, edge, mut gateway, _shop) = everything(&world, "").await;
    let mut slow = edge.connect().await;
    slow.write(b"POST /pub/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        .await;
    slow.until("100 Continue\r\n\r\n").await;
    slow.write(b"01234").await;
    let mut stream = edge.connect().await;
    stream.write(b"GET /pub/sse HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stream.until("data: 1\n\n").await;
    eventually("both are under way", || async { (upstream.open() == 2).then_some(()) }).await;
    gateway.program().signal(Signal::SIGTERM);
    eventually("nobody else is let in", || async {
        tokio::net::TcpStream::connect(edge.address()).await.is_err().then_some(())
    })
    .await;
    stream.rest().await;
    slow.write(b"56789").await;
    assert!(slow.rest().await.contains("\"length\":10"));
    assert!(gateway.program().ended().await.success());
}

async fn metrics_say_what_the_edge_does(world: World) {
    let upstream = Upstream::start();
    let (edge, metrics) = (Edge::new(&world, "edge", &routes(&upstream, "")), Port::take());
    let (gateway, shop) = gateway(&world, &edge, &["--metrics-listen", &metrics.address()]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    for _ in 0..3 {
        edge.get("/api/x", &tokens.access_token).await.is(200);
    }
    edge.get("/api/x", "nonsense").await.is(401);
    alice.revoke(&gateway, "demo-shop", tokens.session_id).await.is(200);
    eventually("it is refused", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    let text = eventually("the metrics have counted", || async {
        let text =
            world.http().get(format!("{}/metrics", metrics.origin())).send().await.ok()?.text().await.ok()?;
        text.contains("miid_edge_refusals_total{reason=\"revoked\"}").then_some(text)
    })
    .await;
    let value = |name: &str| -> f64 {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.trim().parse().expect("a number")
    };
    assert!(value("miid_edge_tokens_total{cache=\"hit\"}") >= 3.0);
    assert_eq!(value("miid_edge_tokens_total{cache=\"miss\"}"), 2.0);
    assert_eq!(value("miid_edge_refusals_total{reason=\"malformed\"}"), 1.0);
    assert_eq!(value("miid_edge_requests_total{route=\"api\",status=\"2xx\"}"), 3.0);
    assert!(value("miid_edge_upstream_seconds_count{route=\"api\"}") >= 3.0);
    assert_eq!(value("miid_edge_revoke_seconds_count"), 1.0);
}

async fn a_session_that_ends_at_one_instance_is_refused_at_every_edge_within_a_quarter_of_a_second(
    world: World,
) {
    let upstream = Upstream::start();
    let (here, there) = (
        Edge::new(&world, "edge-a", &routes(&upstream, "")),
        Edge::new(&world, "edge-b", &routes(&upstream, "")),
    );
    let (a, shop) = gateway(&world, &here, &[]).await;
    let flags = there.flags();
    let b = a.another_with("gateway-b", &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let alice = world.wallet();
    let mut took = Vec::new();
    for round in 0..12 {
        let tokens = shop.sign_in(&a, &alice).await;
        for edge in [&here, &there] {
            edge.get("/api/x", &tokens.access_token).await.is(200);
        }
        // At the one instance, seen at the other's edge.
        let at = if round % 2 == 0 { &b } else { &a };
        match round % 3 {
            0 => alice.revoke(at, "demo-shop", tokens.session_id).await.is(200).status,
            1 => shop.end_session(at, tokens.session_id).await.status,
            _ => shop.revoke(at, tokens.renewal()).await.status,
        };
        let ended = Instant::now();
        for edge in [&here, &there] {
            loop {
                let answer = edge.get("/api/x", &tokens.access_token).await;
                if answer.status == 401 {
                    refused(&answer, 401, "invalid_token", "revoked");
                    break;
                }
                assert!(ended.elapsed() < Duration::from_secs(5), "it is never refused");
            }
        }
        took.push(ended.elapsed());
    }
    took.sort();
    println!("from the answer to a revoke to its refusal at both edges: {took:?}");
    assert!(took.iter().all(|took| *took < Duration::from_millis(250)), "{took:?}");
}

async fn while_the_store_is_away_cached_tokens_are_served_or_refused_as_the_route_says(world: World) {
    let cluster = Cluster::start().await;
    let upstream = Upstream::start();
    let more = [
        route("strict", "/strict", "general", &upstream.url(), "store_away = \"refuse\""),
        route("critical", "/critical", "critical", &upstream.url(), "ask_active = false"),
        route("asking", "/asking", "critical", &upstream.url(), ""),
    ];
    let edge = Edge::new(
        &world,
        "edge",
        &format!(
            "[edge]\ncache_time = \"20s\"\n{}",
            routes(&upstream, &more.concat()).replace("[edge]\n", "")
        ),
    );
    let flags = edge.flags();
    let database = world.database_on(&cluster).await;
    let gateway = world.gateway_on(database, &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let shop = gateway.add_service("demo-shop", &[]).await;
    let tokens = shop.sign_in(&gateway, &world.wallet()).await;
    let never_seen = Forger::new(&gateway.data_dir, &tokens.access_token).another();
    for path in ["/api/x", "/strict/x", "/critical/x"] {
        edge.get(path, &tokens.access_token).await.is(200);
    }
    cluster.stop().await;
    // Cached, where the route says so; not where it does not, once it is clear that nobody hears anything.
    edge.get("/api/x", &tokens.access_token).await.is(200);
    for path in ["/strict/x", "/critical/x"] {
        eventually("a route that fails closed does", || async {
            (edge.get(path, &tokens.access_token).await.status == 503).then_some(())
        })
        .await;
        let answer = edge.get(path, &tokens.access_token).await;
        refused(&answer, 503, "store_unavailable", "");
        assert!(answer.header(reqwest::header::RETRY_AFTER).is_some());
    }
    refused(&edge.get("/asking/x", &tokens.access_token).await, 503, "store_unavailable", "");
    edge.get("/api/x", &tokens.access_token).await.is(200);
    // One that was never seen is believed by nobody, however well it is signed.
    refused(&edge.get("/api/x", &never_seen).await, 503, "store_unavailable", "");
    // And after the time in the cache nothing is.
    eventually("the cache's time is over", || async {
        (edge.get("/api/x", &tokens.access_token).await.status == 503).then_some(())
    })
    .await;
    cluster.resume().await;
    for path in ["/api/x", "/strict/x", "/critical/x"] {
        eventually("the store is back", || async {
            (edge.get(path, &tokens.access_token).await.status == 200).then_some(())
        })
        .await;
    }
    edge.get("/api/x", &never_seen).await.is(200);
}

async fn an_edge_that_cannot_hear_of_an_end_refuses_once_the_caches_time_is_over(world: World) {
    const CACHED: Duration = Duration::from_secs(8);
    let upstream = Upstream::start();
    let strict = route("strict", "/strict", "general", &upstream.url(), "store_away = \"refuse\"");
    let table = routes(&upstream, &strict).replace("[edge]\n", "[edge]\ncache_time = \"8s\"\n");
    let (here, there) = (Edge::new(&world, "edge-a", &table), Edge::new(&world, "edge-b", &table));
    let (a, shop) = gateway(&world, &here, &[]).await;
    let (database, cable) = a.database.over_a_cable().await;
    let flags = there.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _b = a.another_on("gateway-b", database, &flags).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&a, &alice).await;
    for edge in [&here, &there] {
        edge.get("/strict/x", &tokens.access_token).await.is(200);
    }
    let cached = Instant::now();
    cable.cut();
    alice.revoke(&a, "demo-shop", tokens.session_id).await.is(200);
    eventually("the edge that hears refuses", || async {
        (here.get("/api/x", &tokens.access_token).await.status == 401).then_some(())
    })
    .await;
    // The other one does not know, and says so where the route wants that.
    there.get("/api/x", &tokens.access_token).await.is(200);
    assert!(cached.elapsed() < CACHED, "the machine is too slow for this to say anything");
    eventually("who must not be believed unasked is not", || async {
        (there.get("/strict/x", &tokens.access_token).await.status == 503).then_some(())
    })
    .await;
    refused(&there.get("/strict/x", &tokens.access_token).await, 503, "store_unavailable", "");
    eventually("nor is anybody after the time in the cache", || async {
        (there.get("/api/x", &tokens.access_token).await.status == 503).then_some(())
    })
    .await;
    println!(
        "an edge without its store believed a token of a session that had ended for {:?}",
        cached.elapsed()
    );
    assert!(cached.elapsed() < CACHED + Duration::from_secs(3), "{:?}", cached.elapsed());
    cable.mend();
    for path in ["/api/x", "/strict/x"] {
        let answer = eventually("it hears again, and knows why", || async {
            let answer = there.get(path, &tokens.access_token).await;
            (answer.status == 401).then_some(answer)
        })
        .await;
        refused(&answer, 401, "invalid_token", "revoked");
    }
}
