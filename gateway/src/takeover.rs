//! Event streams without an HTTP library's buffers. A connection of hyper's holds two buffers of 8 KiB as
//! long as its response lasts, which for an event stream is an hour, ten thousand times. So hyper reads the
//! request and writes the response's head, and once that is flushed the socket is taken from it: what
//! follows is chunks (RFC 9112, section 7.1) of one event each, and nothing is ever read but the end.
//!
//! A reader that does not take what is written within [`WRITE_TIMEOUT`] is let go: it comes back with its
//! position.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::streams::EventStream;

/// How long a reader may take for one event.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a handler leaves a stream for the connection to take over. Put into each request by the server.
#[derive(Clone, Default)]
pub struct Slot(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stream: Mutex<Option<EventStream>>,
    /// The head was handed to the socket's buffer, and the body was asked for.
    asked: AtomicBool,
    /// And then everything was flushed.
    flushed: AtomicBool,
}

impl Slot {
    /// Leaves a stream; the body that takes its place in the response never says anything.
    pub fn leave(&self, stream: EventStream) -> Silence {
        *self.0.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Silence(self.clone())
    }

    /// The stream, once the response's head is on its way.
    pub fn take(&self) -> Option<EventStream> {
        if !self.0.flushed.load(Ordering::Acquire) {
            return None;
        }
        self.0.stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body that never ends and never says anything: hyper only writes the head before it.
pub struct Silence(Slot);

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.0.asked.store(true, Ordering::Release);
        Poll::Pending
    }
}

/// A socket that notices when what hyper wrote is flushed.
pub struct Watched {
    socket: TcpStream,
    slot: Slot,
}

impl Watched {
    /// Around a socket.
    pub fn new(socket: TcpStream, slot: Slot) -> Self {
        Self { socket, slot }
    }

    /// The socket back.
    pub fn into_inner(self) -> TcpStream {
        self.socket
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
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

    /// hyper flushes the socket only when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if flushed.is_ready() && self.slot.0.asked.load(Ordering::Acquire) {
            self.slot.0.flushed.store(true, Ordering::Release);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Writes a stream's events until it ends or its reader is gone.
pub async fn serve(mut socket: TcpStream, mut stream: EventStream) -> io::Result<()> {
    loop {
        let frame = tokio::select! {
            frame = poll_fn(|cx| Pin::new(&mut stream).poll_frame(cx)) => frame,
            gone = reader_gone(&socket) => return gone,
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(data) = frame.into_data() else { continue };
        let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
        chunk.extend_from_slice(&data);
        chunk.extend_from_slice(b"\r\n");
        tokio::time::timeout(WRITE_TIMEOUT, socket.write_all(&chunk)).await??;
    }
    tokio::time::timeout(WRITE_TIMEOUT, socket.write_all(b"0\r\n\r\n")).await??;
    socket.shutdown().await
}

/// Ends when the reader closes its side. What it sends meanwhile means nothing: the response says that the
/// connection closes after it.
async fn reader_gone(socket: &TcpStream) -> io::Result<()> {
    let mut ignored = [0; 256];
    loop {
        socket.readable().await?;
        match socket.try_read(&mut ignored) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
