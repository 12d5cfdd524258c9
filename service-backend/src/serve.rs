//! A listener, an app, a signal: HTTP/1.1 with bounds that `axum::serve` has no words for.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Connections at once: below what a process may open, with room for the database and the gateway.
const CONNECTIONS: usize = 12_000;
/// Time for a request's head, and so for an idle connection between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what was sent may stay unacknowledged. A browser whose machine went to sleep or lost its network says
/// nothing; its stream would count as open until TCP gives up by itself, a quarter of an hour later. Streams send
/// something every 15 s, so it is noticed within 45.
const UNHEARD: Duration = Duration::from_secs(30);
/// Longest head; beyond it hyper answers 431.
const HEAD_BYTES: usize = 32 << 10;

/// Serves until `signal`; then cancels `closing`, which ends the streams, and waits `patience` for the
/// rest.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    closing: &CancellationToken,
    signal: impl Future<Output = ()> + Send,
    patience: Duration,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    tokio::pin!(signal);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = &mut signal => break,
            () = closing.cancelled() => break,
        };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(connection(stream, permit, app.clone(), closing.clone()));
            }
            Err(error) => {
                // Mostly: out of file descriptors. Those who have one need a moment to be done.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(patience, connections.wait()).await.is_err() {
        tracing::warn!("requests that took too long were cut off");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    app: Router,
    closing: CancellationToken,
) {
    let _permit = permit;
    let Ok(peer) = stream.peer_addr() else { return };
    let _ = stream.set_nodelay(true);
    notice_who_is_gone(&stream);
    let app = app.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return, // an error here is a browser that went away
        () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// See [`UNHEARD`]. Where the system knows no such thing it takes its own time.
fn notice_who_is_gone(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNHEARD)) {
        tracing::debug!(%error, "browsers that are gone are noticed late");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, UNHEARD);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_does_not_wait_long_for_a_browser_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let browser = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connects");
        let (stream, _) = listener.accept().await.expect("accepted");
        let kept = stream.into_std().expect("a socket");
        let watched = kept.try_clone().expect("the same socket");
        let stream = TcpStream::from_std(kept).expect("a stream");
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("a permit");
        let closing = CancellationToken::new();
        let serving = tokio::spawn(connection(stream, permit, Router::new(), closing.clone()));
        // Once it answers, everything about the socket is as it stays.
        let mut answer = [0; 12];
        {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut browser = browser;
            browser.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("written");
            browser.read_exact(&mut answer).await.expect("an answer");
        }
        assert_eq!(&answer, b"HTTP/1.1 404");
        let unheard = socket2::SockRef::from(&watched).tcp_user_timeout().expect("an option");
        assert_eq!(unheard, Some(UNHEARD));
        closing.cancel();
        serving.await.expect("it ends");
    }
}
