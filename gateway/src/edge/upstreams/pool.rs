//! Connections to upstreams. Each worker keeps its own: a connection is driven by the request that uses it, in
//! the same task, so that forwarding wakes nobody else; idle ones wait here with nobody looking after them, and
//! are found closed when they are used.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::request_body::RequestBody;
use crate::edge::routes::route::Upstream;
use crate::edge::wire::rarely::{Alarm, Driver};
use crate::edge::wire::socket::Socket;

/// Idle connections of one worker to one upstream.
const MAX_IDLE: usize = 128;
/// An idle connection is not used again after this.
const IDLE: Duration = Duration::from_secs(30);
/// How long a connection that was not done with its last message may take to be.
const SETTLE: Duration = Duration::from_secs(5);

/// A connection of HTTP/1 and what speaks over it.
pub(crate) struct Link {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    connection: Pin<Box<http1::Connection<TokioIo<Socket>, RequestBody>>>,
    driver: Driver,
    /// For whatever is waited for over it.
    pub(crate) alarm: Alarm,
    address: Arc<str>,
    /// Whether a request went over it before: only then may it be found closed by surprise.
    pub(crate) used: bool,
}

struct Idle {
    link: Link,
    since: Instant,
}

#[derive(Default)]
struct Pool {
    idle: HashMap<Arc<str>, Vec<Idle>>,
    shared: HashMap<Arc<str>, Shared>,
}

/// A connection that many requests use at once; locked while it is made, so that one is.
type Shared = Arc<tokio::sync::Mutex<Option<Http2>>>;

/// A connection of HTTP/2.
#[derive(Clone)]
pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    /// Whether the other side has said that it takes extended `CONNECT` (RFC 8441).
    connects: watch::Receiver<bool>,
    /// Whether it takes no more requests, which the sender itself learns a little later.
    gone: Arc<AtomicBool>,
}

impl Http2 {
    /// Nobody is given it any more; what is under way goes on.
    pub(crate) fn give_up(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    fn is_usable(&self) -> bool {
        !self.gone.load(Ordering::Relaxed) && !self.sender.is_closed()
    }

    /// Ends when it can be asked to connect; false where the connection ended before.
    pub(crate) async fn connects(&mut self) -> bool {
        self.connects.wait_for(|connects| *connects).await.is_ok()
    }
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("not within the time for it")]
    Timeout,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
}

impl Link {
    /// An idle connection. Whether it is still open is seen when it is used.
    pub(crate) fn idle(upstream: &Upstream, now: Instant) -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            let idle = pool.idle.get_mut(&upstream.address)?;
            while let Some(Idle { mut link, since }) = idle.pop() {
                if now.duration_since(since) < IDLE && !link.sender.is_closed() {
                    link.used = true;
                    return Some(link);
                }
            }
            None
        })
    }

    /// A new connection.
    pub(crate) async fn open(upstream: &Upstream, within: Duration) -> Result<Self, ConnectError> {
        let socket = connect(upstream, within).await?;
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(Socket::new(socket))).await?;
        Ok(Self {
            sender,
            connection: Box::pin(connection),
            driver: Driver::default(),
            alarm: Alarm::default(),
            address: upstream.address.clone(),
            used: false,
        })
    }

    /// A new connection that may become something else, driven by a task of its own.
    pub(crate) async fn open_to_upgrade(
        upstream: &Upstream,
        within: Duration,
    ) -> Result<http1::SendRequest<RequestBody>, ConnectError> {
        let socket = connect(upstream, within).await?;
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// Polls what comes over a connection, and drives that for it; by itself where the connection is over.
    pub(crate) fn poll<T>(
        link: &mut Option<Self>,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Some(Self { driver, connection, .. }) = link {
            let drive = |cx: &mut Context<'_>| connection.as_mut().poll(cx).map(drop);
            if let Some(polled) = driver.poll(cx, drive, &mut wanted) {
                return polled;
            }
            *link = None;
        }
        wanted(cx)
    }

    /// Gives it what it can do now; false where it came to its end.
    fn is_open(&mut self) -> bool {
        let polled = self.connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        polled.is_pending() && !self.sender.is_closed()
    }

    /// After a message whose both bodies are over: back to the others.
    pub(crate) fn give_back(mut self) {
        // Nearly always.
        if self.sender.is_ready() {
            return self.put();
        }
        if !self.is_open() {
            return;
        }
        if self.sender.is_ready() {
            return self.put();
        }
        tokio::spawn(async move {
            let Self { sender, connection, .. } = &mut self;
            let settled = async {
                tokio::select! {
                    biased;
                    ready = sender.ready() => ready.is_ok(),
                    _ = connection => false,
                }
            };
            if tokio::time::timeout(SETTLE, settled).await == Ok(true) {
                self.put();
            }
        });
    }

    fn put(self) {
        self.driver.rest();
        POOL.with_borrow_mut(|pool| {
            let idle = pool.idle.entry(self.address.clone()).or_default();
            if idle.len() >= MAX_IDLE {
                idle.remove(0);
            }
            idle.push(Idle { link: self, since: Instant::now() });
        });
    }
}

/// Closes what has been idle for too long; called now and then by each worker.
pub(crate) fn tidy() {
    POOL.with_borrow_mut(|pool| {
        pool.idle.retain(|_, idle| {
            idle.retain_mut(|idle| idle.since.elapsed() < IDLE && idle.link.is_open());
            !idle.is_empty()
        });
        // Nobody is making it, and it is closed.
        pool.shared.retain(|_, place| {
            place.try_lock().is_err()
                || place.try_lock().is_ok_and(|place| place.as_ref().is_some_and(Http2::is_usable))
        });
    });
}

/// The worker's one connection of HTTP/2 to an upstream, and whether it was there already; new where there is none
/// or it was closed.
pub(crate) async fn shared(upstream: &Upstream, within: Duration) -> Result<(Http2, bool), ConnectError> {
    let place = POOL.with_borrow_mut(|pool| pool.shared.entry(upstream.address.clone()).or_default().clone());
    let mut place = place.lock().await;
    if let Some(shared) = place.as_ref().filter(|shared| shared.is_usable()) {
        return Ok((shared.clone(), true));
    }
    let socket = connect(upstream, within).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .handshake(TokioIo::new(socket))
        .await?;
    let (said, connects) = watch::channel(false);
    tokio::spawn(drive(connection, said));
    let shared = Http2 { sender, connects, gone: Arc::default() };
    *place = Some(shared.clone());
    Ok((shared, false))
}

/// Drives a connection, and tells when the other side has said that it takes extended `CONNECT`. It says so with
/// the first bytes that it sends, if it does, and nothing wakes us then: so it is looked for, less and less often.
async fn drive(
    mut connection: http2::Connection<TokioIo<TcpStream>, RequestBody, TokioExecutor>,
    connects: watch::Sender<bool>,
) {
    let mut again = Duration::from_millis(5);
    while !connection.is_extended_connect_protocol_enabled() {
        if tokio::time::timeout(again, &mut connection).await.is_ok() {
            return;
        }
        again = (again * 2).min(Duration::from_secs(10));
    }
    connects.send_replace(true);
    let _ = connection.await;
}

async fn connect(upstream: &Upstream, within: Duration) -> Result<TcpStream, ConnectError> {
    let connecting = TcpStream::connect(&*upstream.address);
    let socket = tokio::time::timeout(within, connecting).await.map_err(|_| ConnectError::Timeout)??;
    socket.set_nodelay(true)?;
    Ok(socket)
}
