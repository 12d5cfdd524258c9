//! Sockets of HTTP/1. What is small is not written at once but when the worker's other requests had their turn:
//! then one after another, without anything between. Where the other side is on the same machine it is woken once
//! for many of them, and being woken is the dearest part of a small message.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What is larger is written at once, and by itself.
const SMALL: usize = 2048;
/// So much may wait; more of it does where the other side takes nothing.
const MOST: usize = 16 * 1024;

/// A socket.
pub(crate) struct Socket {
    read: OwnedReadHalf,
    write: Arc<Mutex<Out>>,
}

struct Out {
    half: OwnedWriteHalf,
    waiting: BytesMut,
    /// It stands in the worker's list.
    listed: bool,
    /// The other side did not take all of it; a task of its own waits until it does.
    stuck: bool,
    /// That task, to be told that it need not wait any longer.
    waits: Option<Waker>,
    /// Who wants to write more.
    writer: Option<Waker>,
    failed: Option<io::ErrorKind>,
}

#[derive(Default)]
struct Worker {
    /// Whose turn to be written to comes, and who is woken for that.
    list: Vec<Arc<Mutex<Out>>>,
    flusher: Option<Waker>,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Writes what waits, as long as the worker lives. Being a task like the others, its turn comes after theirs.
pub(crate) async fn write_on() {
    let mut list = Vec::new();
    poll_fn(|cx| {
        WORKER.with_borrow_mut(|worker| {
            std::mem::swap(&mut worker.list, &mut list);
            worker.flusher = Some(cx.waker().clone());
        });
        for write in list.drain(..) {
            let stuck = lock(&write).write_waiting();
            if stuck {
                tokio::spawn(write_stuck(write));
            }
        }
        Poll::Pending
    })
    .await
}

/// Writes to one that does not take it.
async fn write_stuck(write: Arc<Mutex<Out>>) {
    poll_fn(|cx| {
        let mut out = lock(&write);
        while !out.waiting.is_empty() {
            let Out { half, waiting, .. } = &mut *out;
            match Pin::new(half).poll_write(cx, waiting) {
                Poll::Ready(Ok(0)) => out.fail(io::ErrorKind::WriteZero),
                Poll::Ready(Ok(written)) => out.waiting.advance(written),
                Poll::Ready(Err(error)) => out.fail(error.kind()),
                Poll::Pending => {
                    out.waits = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        out.stuck = false;
        out.wake_writer();
        Poll::Ready(())
    })
    .await
}

impl Out {
    /// Writes as much as the other side takes now; true where that is not all.
    fn write_waiting(&mut self) -> bool {
        self.listed = false;
        if self.stuck || self.waiting.is_empty() {
            return false;
        }
        match self.half.try_write(&self.waiting) {
            Ok(written) => self.waiting.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.fail(error.kind()),
        }
        self.stuck = !self.waiting.is_empty();
        if !self.stuck {
            self.wake_writer();
        }
        self.stuck
    }

    /// Nothing of it will be taken any more.
    fn fail(&mut self, why: io::ErrorKind) {
        self.failed = Some(why);
        self.waiting.clear();
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Nothing waits any more.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() && !self.stuck {
            let Self { half, waiting, .. } = self;
            match Pin::new(half).poll_write(cx, waiting) {
                Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero),
                Poll::Ready(Ok(written)) => self.waiting.advance(written),
                Poll::Ready(Err(error)) => self.fail(error.kind()),
                Poll::Pending => break,
            }
        }
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if self.waiting.is_empty() && !self.stuck {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Socket {
    pub(crate) fn new(socket: TcpStream) -> Self {
        let (read, half) = socket.into_split();
        let waiting = BytesMut::with_capacity(SMALL);
        let out = Out { half, waiting, listed: false, stuck: false, waits: None, writer: None, failed: None };
        Self { read, write: Arc::new(Mutex::new(out)) }
    }

    fn write_soon(&self, out: &mut Out, bufs: &[IoSlice<'_>]) {
        for buf in bufs {
            out.waiting.extend_from_slice(buf);
        }
        if out.listed || out.stuck {
            return;
        }
        let listed = WORKER.with_borrow_mut(|worker| {
            let Some(flusher) = &worker.flusher else { return false };
            if worker.list.is_empty() {
                flusher.wake_by_ref();
            }
            worker.list.push(self.write.clone());
            true
        });
        out.listed = listed;
        // Not on a worker.
        if !listed && out.write_waiting() {
            tokio::spawn(write_stuck(self.write.clone()));
        }
    }
}

impl Drop for Socket {
    /// What can still be written is; a reader that takes nothing holds nothing once nobody waits for it.
    fn drop(&mut self) {
        let mut out = lock(&self.write);
        out.write_waiting();
        out.fail(io::ErrorKind::BrokenPipe);
        if let Some(waits) = out.waits.take() {
            waits.wake();
        }
    }
}

fn lock(out: &Mutex<Out>) -> MutexGuard<'_, Out> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, out)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut out = lock(&self.write);
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if out.failed.is_none() && length <= SMALL && out.waiting.len() + length <= MOST {
            self.write_soon(&mut out, bufs);
            return Poll::Ready(Ok(length));
        }
        ready!(out.poll_empty(cx))?;
        let written = Pin::new(&mut out.half).poll_write_vectored(cx, bufs);
        if written.is_pending() {
            out.writer = Some(cx.waker().clone());
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What waits is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let failed = lock(&self.write).failed;
        Poll::Ready(failed.map_or(Ok(()), |kind| Err(kind.into())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = lock(&self.write);
        ready!(out.poll_empty(cx))?;
        Pin::new(&mut out.half).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::new(ours.expect("connected")), theirs.expect("accepted").0)
    }

    /// More than any socket holds, in pieces of all sizes; nobody reads before the writer has to wait.
    async fn carries(sizes: &[usize], yields: bool) {
        let (mut socket, mut other) = pair().await;
        let mut sizes = sizes.iter().cycle();
        let mut all = Vec::new();
        while all.len() < 24 << 20 {
            let piece = vec![all.len() as u8; *sizes.next().expect("a circle")];
            all.extend_from_slice(&piece);
        }
        let mut read = Vec::new();
        let writing = async {
            let mut rest = all.as_slice();
            while !rest.is_empty() {
                let length = (*sizes.next().expect("a circle")).min(rest.len());
                socket.write_all(&rest[..length]).await.expect("written");
                rest = &rest[length..];
                if yields {
                    tokio::task::yield_now().await;
                }
            }
            socket.shutdown().await.expect("ended");
        };
        let reading = other.read_to_end(&mut read);
        let (_, taken) = tokio::join!(biased; writing, reading);
        taken.expect("read");
        assert!(read == all, "{} of {}", read.len(), all.len());
    }

    #[tokio::test]
    async fn what_is_written_arrives_whole_and_in_order_however_slowly_it_is_taken() {
        for on_worker in [false, true] {
            if on_worker {
                tokio::spawn(write_on());
                tokio::task::yield_now().await;
            }
            for yields in [false, true] {
                carries(&[1, 700, SMALL, SMALL + 1, 100_000, 3], yields).await;
                carries(&[SMALL], yields).await;
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_holds_no_socket_that_was_dropped() {
        tokio::spawn(write_on());
        tokio::task::yield_now().await;
        for turns in [0, 3] {
            let (mut socket, mut other) = pair().await;
            // Until a task of its own waits for the reader.
            while !lock(&socket.write).stuck {
                socket.write_all(&[7; SMALL]).await.expect("written");
                tokio::task::yield_now().await;
            }
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let write = Arc::downgrade(&socket.write);
            drop(socket);
            tokio::time::timeout(std::time::Duration::from_secs(20), async {
                while write.strong_count() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .expect("nobody holds it");
            let mut read = Vec::new();
            other.read_to_end(&mut read).await.expect("it ends");
        }
    }

    #[tokio::test]
    async fn what_is_small_arrives_also_where_the_socket_is_dropped_at_once() {
        tokio::spawn(write_on());
        tokio::task::yield_now().await;
        let (mut socket, mut other) = pair().await;
        socket.write_all(b"last words").await.expect("written");
        drop(socket);
        let mut read = Vec::new();
        other.read_to_end(&mut read).await.expect("it ends");
        assert_eq!(read, b"last words");
    }

    #[tokio::test]
    async fn writing_to_somebody_who_is_gone_fails() {
        tokio::spawn(write_on());
        tokio::task::yield_now().await;
        let (mut socket, other) = pair().await;
        drop(other);
        while socket.write_all(b"piece").await.is_ok() && socket.flush().await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
