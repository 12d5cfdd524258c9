//! Requests that two programs could read differently: refused with 400 before anybody behind sees them, and the
//! connection is closed. Written byte by byte, since no client would.

use miid_e2e::port::Port;
use miid_e2e::{Edge, Upstream, World, eventually, on_sqlite};

use crate::edge::{everything, gateway, routes};

on_sqlite!(
    every_shape_of_smuggling_is_refused_and_nothing_of_it_arrives,
    what_is_refused_between_messages_is_counted_named_and_logged,
    what_comes_before_a_bad_request_is_served,
    a_body_with_a_bad_chunk_is_refused,
    every_path_with_two_readings_is_refused,
    a_head_that_never_ends_is_bounded,
);

/// A second request, which must not be seen by anybody.
const HIDDEN: &str = "GET /pub/hidden HTTP/1.1\r\nHost: a\r\n\r\n";

async fn every_shape_of_smuggling_is_refused_and_nothing_of_it_arrives(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let start = "POST /pub/x HTTP/1.1\r\nHost: a\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for request in [
        // Both lengths, in either order, and in disguise.
        format!("{start}Content-Length: 6\r\n{chunked}\r\n0\r\n\r\nX"),
        format!("{start}{chunked}Content-Length: 6\r\n\r\n0\r\n\r\nX"),
        format!("{start}Content-Length: 6\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nX"),
        format!("{start}Content-Length: 6\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
        format!("{start}Content-Length: 6\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nX"),
        format!("{start}Content-Length: 6\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\nX"),
        format!("{start}Transfer-Encoding:\u{c}chunked\r\n\r\n0\r\n\r\nX"),
        format!("{start}Content-Length: 6\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
        format!("{start}{chunked}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
        format!("{start}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{start}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST /pub/x HTTP/1.0\r\nHost: a\r\n{chunked}\r\n0\r\n\r\n"),
        // Lengths that are none, or two.
        format!("{start}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!("{start}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
        format!("{start}Content-Length: 2, 2\r\n\r\nab"),
        format!("{start}Content-Length: +2\r\n\r\nab"),
        format!("{start}Content-Length: 0x2\r\n\r\nab"),
        format!("{start}Content-Length: -2\r\n\r\nab"),
        format!("{start}Content-Length: 18446744073709551617\r\n\r\na"),
        format!("{start}Content_Length : 2\r\n\r\nab"),
        // Lines.
        "GET /pub/x HTTP/1.1\nHost: a\n\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_owned(),
        "GET  /pub/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /pub/x  HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost a\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET /pub/x\r\n\r\n".to_owned(),
        "\r\n\r\nGET /pub/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        // Whom it is for.
        "GET /pub/x HTTP/1.1\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET /pub/x HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
        "GET http://b/pub/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://a@b/pub/x HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
        "GET ftp://a/pub/x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(),
    ] {
        let answer = edge.raw(format!("{request}{HIDDEN}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer:?}");
        assert!(answer.to_lowercase().contains("connection: close\r\n"), "{request:?}: {answer:?}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "one answer, and nothing more: {request:?}: {answer:?}"
        );
    }
    assert_eq!(upstream.requests(), 0, "nobody behind saw any of it");
}

async fn what_is_refused_between_messages_is_counted_named_and_logged(world: World) {
    let (upstream, metrics) = (Upstream::start(), Port::take());
    let edge = Edge::new(&world, "edge", &routes(&upstream, ""));
    let (mut gateway, _shop) = gateway(&world, &edge, &["--metrics-listen", &metrics.address()]).await;
    let start = "POST /pub/x?secret=yes HTTP/1.1\r\nHost: a\r\n";
    let mut named = Vec::new();
    for (request, status, reason) in [
        (format!("{start}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "both_lengths"),
        (format!("{start}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n"), 400, "both_lengths"),
        (format!("{start}X-Request-Id: mine\r\nContent-Length: 1, 1\r\n\r\n"), 400, "bad_length"),
        (format!("{start}X: a\n\r\n"), 400, "bad_line_end"),
        (format!("{start}X: {}", "a".repeat(100_000)), 431, "head_too_long"),
    ] {
        // After one that is right, too: that has a name of its own.
        for before in ["", "GET /pub/x HTTP/1.1\r\nHost: a\r\nX-Request-Id: right\r\n\r\n"] {
            let answer = edge.raw(format!("{before}{request}").as_bytes()).await;
            let refusal = &answer[answer.rfind("HTTP/1.1 ").expect("an answer")..];
            assert!(refusal.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            let (_, rest) = refusal.split_once("\r\nx-request-id: ").expect("it has a name");
            let name = rest.split("\r\n").next().expect("a line").to_owned();
            assert_eq!(name.len(), 32, "{answer}");
            named.push((name, status, reason));
        }
    }
    for (name, status, reason) in &named {
        let log = eventually("the log says so", || {
            let log = gateway.program().errors();
            std::future::ready(log.contains(name).then_some(log))
        })
        .await;
        let line = format!("request_id={name} subject=- route=- method=- status={status} verdict={reason} ");
        assert!(log.contains(&line) && !log.contains("secret"), "{line}: {log}");
    }
    let text = eventually("the metrics have counted", || async {
        world.http().get(format!("{}/metrics", metrics.origin())).send().await.ok()?.text().await.ok()
    })
    .await;
    for (_, _, reason) in &named {
        let count = named.iter().filter(|(_, _, other)| other == reason).count();
        let line = format!("miid_edge_refusals_total{{reason=\"{reason}\"}} {count}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }
}

async fn what_comes_before_a_bad_request_is_served(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let good = "GET /pub/good HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad = "POST /pub/bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = edge.raw(format!("{good}{good}{bad}{HIDDEN}").as_bytes()).await;
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "400"], "{answer}");
    assert_eq!(upstream.requests(), 2);
}

async fn a_body_with_a_bad_chunk_is_refused(world: World) {
    let (_upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let start = "POST /pub/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;a\u{1}b\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        "5\r\nhello\r\n0\r\n folded: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    ] {
        let answer = edge.raw(format!("{start}{body}{HIDDEN}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body:?}: {answer:?}");
    }
    // And what is right, with an extension and a trailer, arrives.
    let right = "5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";
    let last = "GET /pub/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = edge.raw(format!("{start}{right}{last}").as_bytes()).await;
    assert!(answer.contains("\"length\":6") && answer.contains("/pub/last"), "{answer}");
}

async fn every_path_with_two_readings_is_refused(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    // Each would reach what needs a token, where somebody behind reads it so.
    for path in [
        "/pub/../api/x",
        "/pub/%2e%2e/api/x",
        "/pub/.%2e/api/x",
        "/pub/..%2fapi/x",
        "/pub%2f..%2fapi/x",
        "/pub/..;/api/x",
        "/pub/..;x=y/api/x",
        "/pub/;/../api/x",
        "/pub\\..\\api\\x",
        "/pub/%5c../api/x",
        "/pub//api/x",
        "//api/x",
        "/pub/./x",
        "/pub/%00",
        "/pub/x%0d%0aX: y",
        "/pub/%252e%252e/api/x",
        "/pub/%zz",
        "/pub/%",
        "/pub/x#/../../api",
        "/pub/\u{e9}",
        "/pub/<x>",
        "/pub/`x",
        "/pub/x?a=\"",
        "/pub/x?a=<>",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = edge.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        assert!(answer.contains("\r\nx-request-id: "), "{path} is refused by somebody else: {answer}");
    }
    assert_eq!(upstream.requests(), 0);
    // Another spelling of the same path is the same path: for the route, and for who is behind it.
    for (path, target) in [("/%70ub/x", "/pub/x"), ("/pub/%7Ea?q=%2F..%2F", "/pub/~a?q=%2F..%2F")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = edge.raw(request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("\"target\":\"{target}\"")),
            "{answer}"
        );
    }
    let answer = edge.raw(b"GET /%61pi/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Absolute form names the same host, and is the same request.
    let answer = edge.raw(b"GET http://a/pub/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("\"target\":\"/pub/x\""), "{answer}");
}

async fn a_head_that_never_ends_is_bounded(world: World) {
    let (upstream, edge, _gateway, _shop) = everything(&world, "").await;
    let long = format!("GET /pub/x HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(100_000));
    let answer = edge.raw(long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET /pub/x HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let answer = edge.raw(many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(upstream.requests(), 0);
}
