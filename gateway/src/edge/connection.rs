//! One connection of a caller: HTTP/1 behind a [`Gate`], or HTTP/2 where its first bytes say so.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, HEAD_TIMEOUT, Talk};
use super::head::MAX_HEAD;
use super::rarely::Rarely;
use super::{Edge, refusal};

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 128;

/// Serves a connection to its end; once `stop` is cancelled no more requests are taken from it.
pub(crate) async fn serve(edge: Arc<Edge>, mut socket: TcpStream, peer: SocketAddr, stop: CancellationToken) {
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
            async move { Ok::<_, Infallible>(edge.answer(request, &origin, None).await) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(MAX_HEAD as u32)
            .max_pending_accept_reset_streams(32)
            .keep_alive_interval(Some(Duration::from_secs(20)));
        let io = TokioIo::new(Prefixed { first, socket });
        let mut connection = pin!(builder.serve_connection(io, service));
        tokio::select! {
            biased;
            _ = &mut connection => return,
            () = Rarely::new(stop.cancelled()) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let talk = Talk::default();
        let gate = Gate::new(socket, first, talk.clone(), refusal::raw);
        let service = service_fn(move |request| {
            let (edge, origin, talk) = (edge.clone(), origin.clone(), talk.clone());
            async move { Ok::<_, Infallible>(edge.answer(request, &origin, Some(talk)).await) }
        });
        let mut builder = http1::Builder::new();
        // The gate knows when a head is late.
        builder.header_read_timeout(None).max_buf_size(MAX_HEAD + 8192);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(gate), service).with_upgrades());
        tokio::select! {
            biased;
            _ = &mut connection => return,
            () = Rarely::new(stop.cancelled()) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
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
