//! What comes after or without the usual: a request's trailers, which end at the edge, and bodies of requests that
//! nobody expects to have one.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use miid_e2e::edge::route;
use miid_e2e::wait::within;
use miid_e2e::{Edge, Upstream, World, on_sqlite};
use serde_json::{Value, json};

use crate::edge::everything;

on_sqlite!(trailers_of_a_request_reach_nobody, a_body_arrives_whatever_the_method_and_the_length,);

/// What the upstream was sent of a request over HTTP/1, whose answer ends the connection.
async fn said(edge: &Edge, request: &str) -> Value {
    let answer = edge.raw(request.as_bytes()).await;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The same over HTTP/2, with a body in one piece and these trailers.
async fn said_over_http2(edge: &Edge, method: Method, path: &str, trailers: Option<HeaderMap>) -> Value {
    let socket = tokio::net::TcpStream::connect(edge.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let pieces = [Some(Frame::data(Bytes::from_static(b"hello"))), trailers.map(Frame::trailers)];
    let body = StreamBody::new(stream::iter(pieces.into_iter().flatten().map(Ok::<_, std::io::Error>)));
    let request = Request::builder().method(method).uri(format!("{}{path}", edge.origin()));
    let request = request.header("trailer", "x-miid-subject").body(body).unwrap();
    let answer = within("the edge answers", sender.send_request(request)).await.unwrap();
    let body = within("all of it", answer.into_body().collect()).await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}

async fn trailers_of_a_request_reach_nobody(world: World) {
    let second = Upstream::start_http2();
    let more = route("h2", "/h2", "public", &second.url(), "protocol = \"h2c\"");
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more).await;
    let mut trailers = HeaderMap::new();
    for (name, value) in [("x-miid-subject", "admin"), ("x-forwarded-for", "6.6.6.6"), ("x-sum", "7")] {
        trailers.insert(name, HeaderValue::from_static(value));
    }
    for path in ["/pub/x", "/h2/x"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-MiID-Subject, X-Forwarded-For\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nX-MiID-Subject: admin\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 7\r\n\r\n"
        );
        for said in [
            said(&edge, &request).await,
            said_over_http2(&edge, Method::POST, path, Some(trailers.clone())).await,
        ] {
            assert_eq!(said["trailers"], json!({}), "{path}: {said}");
            assert!(said["headers"]["trailer"].is_null(), "{path}: {said}");
            assert_eq!(said["length"], 5, "{path}: {said}");
            assert!(!said.to_string().contains("admin") && !said.to_string().contains("6.6.6.6"), "{said}");
        }
    }
    // The connection goes on behind them.
    let mut connection = edge.connect().await;
    for _ in 0..3 {
        connection
            .write(b"POST /pub/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
            .await;
        assert!(connection.until("\"HTTP/1.1\"}").await.starts_with("HTTP/1.1 200 "));
    }
}

async fn a_body_arrives_whatever_the_method_and_the_length(world: World) {
    let second = Upstream::start_http2();
    let more = route("h2", "/h2", "public", &second.url(), "protocol = \"h2c\"");
    let (_upstream, edge, _gateway, _shop) = everything(&world, &more).await;
    for path in ["/pub/x", "/h2/x"] {
        for method in [Method::GET, Method::DELETE, Method::OPTIONS, Method::POST] {
            let start = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
            let chunked = format!("{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
            let counted = format!("{start}Content-Length: 5\r\n\r\nhello");
            for said in [
                said(&edge, &chunked).await,
                said(&edge, &counted).await,
                said_over_http2(&edge, method.clone(), path, None).await,
            ] {
                assert_eq!(
                    (&said["method"], &said["length"]),
                    (&json!(method.as_str()), &json!(5)),
                    "{said}"
                );
            }
        }
        // And who sends none is taken to send none.
        let said = said(&edge, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(said["headers"]["transfer-encoding"].is_null() && said["length"] == 0, "{said}");
    }
}
