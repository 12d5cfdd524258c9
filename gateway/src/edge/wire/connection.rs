//! One connection of a caller: HTTP/1 behind a [`Gate`], or HTTP/2 where its first bytes say so.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::caller::{Caller, Pace, Seat};
use super::gate::{Gate, HEAD_TIMEOUT, Talk};
use super::head::MAX_HEAD;
use super::rarely::Rarely;
use crate::edge::Edge;

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 128;
/// Bytes of one request over HTTP/2 that nobody took yet, and of one answer.
const STREAM_WINDOW: u32 = 128 * 1024;
const MAX_SEND: usize = 64 * 1024;
/// The same of all requests of one connection.
const WINDOW: u32 = 512 * 1024;
/// A connection of HTTP/2 is asked to end once it was without a request for so long …
const IDLE: Duration = Duration::from_secs(60);
/// … and ends after so long more, whatever its reader left untaken.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// What a reader over HTTP/2 takes at least; over HTTP/1 the [`Gate`] sees to it.
const PACE: Pace = Pace { stall: Duration::from_secs(60), most: 16 * 1024 };

/// Serves a connection to its end; once `stop` is cancelled no more requests are taken from it.
pub(crate) async fn serve(
    edge: Arc<Edge>,
    mut socket: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
    seat: Arc<Seat>,
) {
    let _ = socket.set_nodelay(true);
    let mut first = BytesMut::with_capacity(4096);
    let asked = tokio::time::timeout(HEAD_TIMEOUT, is_http2(&mut socket, &mut first));
    let http2 = match stop.run_until_cancelled(asked).await {
        Some(Ok(Ok(http2))) => http2,
        _ => return,
    };
    let origin = edge.origin(peer.ip().to_canonical());
    if http2 {
        let service = service_fn(move |request| {
            let (edge, origin) = (edge.clone(), origin.clone());
            async move {
                let answer = edge.answer(request, &origin, None).await;
                if let Some(caller) = Caller::current() {
                    caller.handed_on();
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let streams = Streams { seat, open: Arc::default() };
        let mut builder = http2::Builder::new(streams.clone());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(MAX_SEND)
            .max_header_list_size(MAX_HEAD as u32)
            .max_pending_accept_reset_streams(32)
            .enable_connect_protocol()
            .keep_alive_interval(Some(Duration::from_secs(20)));
        let io = TokioIo::new(Prefixed { first, socket });
        let mut connection = pin!(builder.serve_connection(io, service));
        let idle = tokio::select! {
            biased;
            _ = &mut connection => return,
            () = Rarely::new(stop.cancelled()) => false,
            () = Rarely::new(streams.idle(IDLE)) => true,
        };
        connection.as_mut().graceful_shutdown();
        if idle {
            let _ = tokio::time::timeout(LAST_WORDS, connection).await;
        } else {
            let _ = connection.await;
        }
    } else {
        let talk = Talk::default();
        let refusing = edge.clone();
        let gate = Gate::new(socket, first, talk.clone(), Box::new(move |wrong| refusing.refuse_raw(wrong)));
        let service = service_fn(move |request| {
            let (edge, origin, talk) = (edge.clone(), origin.clone(), talk.clone());
            async move { Ok::<_, Infallible>(edge.answer(request, &origin, Some(talk)).await) }
        });
        let mut builder = http1::Builder::new();
        // The gate knows when a head is late.
        builder.header_read_timeout(None).max_buf_size(MAX_HEAD + 8192);
        let served = async move {
            let mut connection = pin!(builder.serve_connection(TokioIo::new(gate), service).with_upgrades());
            tokio::select! {
                biased;
                _ = &mut connection => return,
                () = Rarely::new(stop.cancelled()) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        };
        let _ = Caller::new(Some(seat), None).serve(served).await;
    }
}

/// Where the streams of a connection of HTTP/2 are answered, each in a task of its own, and how many are.
#[derive(Clone)]
struct Streams {
    seat: Arc<Seat>,
    open: Arc<(AtomicUsize, AtomicBool)>,
}

/// One of them.
struct Open(Arc<(AtomicUsize, AtomicBool)>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.open.0.fetch_add(1, Ordering::Relaxed);
        self.open.1.store(true, Ordering::Relaxed);
        let open = Open(self.open.clone());
        let caller = Caller::new(Some(self.seat.clone()), Some(PACE));
        tokio::spawn(async move {
            let _open = open;
            let _ = caller.serve(stream).await;
        });
    }
}

impl Streams {
    /// Ends when there was none for so long.
    async fn idle(&self, time: Duration) {
        loop {
            tokio::time::sleep(time).await;
            let (open, used) = &*self.open;
            if !used.swap(false, Ordering::Relaxed) && open.load(Ordering::Relaxed) == 0 {
                return;
            }
            // Those that are open now count until they are looked at again.
            used.fetch_or(open.load(Ordering::Relaxed) > 0, Ordering::Relaxed);
        }
    }
}

/// Reads until it is clear which it is.
async fn is_http2(socket: &mut TcpStream, first: &mut BytesMut) -> io::Result<bool> {
    loop {
        if socket.read_buf(first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let known = first.len().min(PREFACE.len());
        if first[..known] != PREFACE[..known] {
            return Ok(false);
        }
        if known == PREFACE.len() {
            return Ok(true);
        }
    }
}

/// A socket of which some was read already.
struct Prefixed {
    first: BytesMut,
    socket: TcpStream,
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, out);
        }
        let length = self.first.len().min(out.remaining());
        out.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;
    use tokio_util::task::TaskTracker;

    const SHORT: Duration = Duration::from_millis(20);

    fn streams() -> Streams {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
        Streams { seat: Seat::new(permit, TaskTracker::new().token()), open: Arc::default() }
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_idle_and_one_with_an_open_request_is_not() {
        let streams = streams();
        tokio::time::timeout(Duration::from_secs(20), streams.idle(SHORT)).await.expect("it is idle");

        let over = CancellationToken::new();
        streams.execute(over.clone().cancelled_owned());
        // Looked at several times while the request is open.
        let open = tokio::time::timeout(SHORT * 10, streams.idle(SHORT)).await;
        assert!(open.is_err(), "it has an open request");
        over.cancel();
        tokio::time::timeout(Duration::from_secs(20), streams.idle(SHORT)).await.expect("it is idle again");
    }
}
