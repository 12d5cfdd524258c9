//! A socket that lets through what [`super::head`] finds right. It stands before hyper's parser, which is
//! lenient where RFC 9112 allows it (bare line feeds, both lengths), and follows the framing of every message,
//! so that it knows where the next head begins. Whatever is wrong ends the input there: what came before is
//! served, and then the caller is told.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::head::{self, Framing, MAX_HEAD, Wrong};
use super::rarely::Alarm;
use super::socket::Socket;

/// For a request's head, and so between two requests.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Read at once.
const READ: usize = 16 * 1024;
/// Longest line of a chunk or trailer.
const MAX_LINE: usize = 8 * 1024;
/// Bytes that may follow a request to become a WebSocket before it is one.
const MAX_EARLY: usize = 64 * 1024;
/// A client that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Read and thrown away at most after a refusal, so that the client gets to read it.
const MAX_DRAIN: usize = 256 * 1024;

const UNDECIDED: u8 = 0;
const HTTP: u8 = 1;
const RAW: u8 = 2;

/// What the gate hears from those who answer what it let through.
#[derive(Clone, Default)]
pub(crate) struct Talk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// What becomes of a connection that asked to be something else.
    decision: AtomicU8,
    answered: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// A request is being answered; dropped, it was.
pub(crate) struct Answering(Talk);

impl Talk {
    /// From here on the bytes are no HTTP, or still are.
    pub(crate) fn decide(&self, raw: bool) {
        self.0.decision.store(if raw { RAW } else { HTTP }, Ordering::Release);
        self.wake();
    }

    /// One that was let through is being answered.
    pub(crate) fn answering(&self) -> Answering {
        Answering(self.clone())
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    fn listen(&self, waker: &Waker) {
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    fn take_decision(&self, waker: &Waker) -> u8 {
        self.listen(waker);
        let decision = self.0.decision.load(Ordering::Acquire);
        if decision == HTTP {
            self.0.decision.store(UNDECIDED, Ordering::Release);
        }
        decision
    }

    fn all_answered(&self, passed: u64, waker: &Waker) -> bool {
        self.listen(waker);
        self.is_answered(passed)
    }

    fn is_answered(&self, passed: u64) -> bool {
        self.0.answered.load(Ordering::Acquire) >= passed
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answered.fetch_add(1, Ordering::Release);
        self.0.wake();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Length(u64),
    ChunkSize,
    /// Data and the line end behind it.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Undecided,
    Raw,
    Refused(Wrong),
}

/// The socket.
pub(crate) struct Gate {
    socket: Socket,
    input: BytesMut,
    /// So many bytes of the input are right.
    ready: usize,
    /// So many behind those hold no line end.
    scanned: usize,
    phase: Phase,
    talk: Talk,
    /// Heads let through.
    passed: u64,
    /// Since when a head is waited for, and nothing else.
    waiting: Option<Instant>,
    late: Alarm,
    refusal: Option<(Vec<u8>, usize)>,
    stuck: Option<Pin<Box<Sleep>>>,
    render: fn(Wrong) -> Vec<u8>,
}

impl Gate {
    /// Around a socket, of which `input` was read already. `render` makes the answer to what is wrong.
    pub(crate) fn new(socket: TcpStream, input: BytesMut, talk: Talk, render: fn(Wrong) -> Vec<u8>) -> Self {
        let mut gate = Self {
            socket: Socket::new(socket),
            input,
            ready: 0,
            scanned: 0,
            phase: Phase::Head,
            talk,
            passed: 0,
            waiting: None,
            late: Alarm::default(),
            refusal: None,
            stuck: None,
            render,
        };
        gate.scan();
        gate
    }

    /// Looks at what was read, as far as it goes.
    fn scan(&mut self) {
        while self.step() {}
    }

    /// One more part of a message; false where more input is needed, or none.
    fn step(&mut self) -> bool {
        let rest = self.input.len() - self.ready;
        match self.phase {
            Phase::Head => {
                if self.scanned == 0 && self.input[self.ready..].starts_with(b"\r\n") && rest >= 2 {
                    // One empty line before a request is to be ignored (RFC 9112, section 2.2).
                    let tail = self.input.split_off(self.ready);
                    self.input.unsplit(BytesMut::from(&tail[2..]));
                    self.scanned = 1;
                    return self.input.len() > self.ready;
                }
                let seen = self.scanned;
                let Some(end) = self.find_head_end() else {
                    if rest > MAX_HEAD {
                        self.refuse(Wrong::TooLong);
                    } else if self.has_bare_line_feed(seen) {
                        self.refuse(Wrong::LineEnd);
                    }
                    return false;
                };
                match head::read(&self.input[self.ready..end]) {
                    Err(wrong) => self.refuse(wrong),
                    Ok(_) if end - self.ready > MAX_HEAD => self.refuse(Wrong::TooLong),
                    Ok(head) => {
                        let next = match head.framing {
                            _ if head.upgrade => Phase::Undecided,
                            Framing::Length(0) => Phase::Head,
                            Framing::Length(length) => Phase::Length(length),
                            Framing::Chunked => Phase::ChunkSize,
                        };
                        self.passed += 1;
                        self.waiting = None;
                        self.pass_to(end, next);
                    }
                }
            }
            Phase::Length(left) => return self.data(left, Phase::Length, Phase::Head),
            Phase::Chunk(left) => return self.data(left, Phase::Chunk, Phase::ChunkEnd),
            Phase::ChunkEnd => {
                if rest < 2 {
                    return false;
                }
                if &self.input[self.ready..self.ready + 2] == b"\r\n" {
                    self.pass_to(self.ready + 2, Phase::ChunkSize);
                } else {
                    self.refuse(Wrong::Chunk);
                }
            }
            Phase::ChunkSize | Phase::Trailers => {
                let Some(length) = self.input[self.ready..].iter().position(|byte| *byte == b'\n') else {
                    if rest > MAX_LINE {
                        self.refuse(Wrong::Chunk);
                    }
                    return false;
                };
                let end = self.ready + length + 1;
                let line = self.input[self.ready..end].strip_suffix(b"\r\n");
                let next = match (self.phase, line) {
                    (_, None) => Err(Wrong::LineEnd),
                    (Phase::Trailers, Some(b"")) => Ok(Phase::Head),
                    (Phase::Trailers, Some(line)) => head::trailer(line).map(|()| Phase::Trailers),
                    (_, Some(line)) => head::chunk_size(line)
                        .map(|size| if size == 0 { Phase::Trailers } else { Phase::Chunk(size) }),
                };
                match next {
                    Ok(next) => self.pass_to(end, next),
                    Err(wrong) => self.refuse(wrong),
                }
            }
            Phase::Raw => self.ready = self.input.len(),
            Phase::Undecided | Phase::Refused(_) => {}
        }
        self.input.len() > self.ready && !matches!(self.phase, Phase::Undecided | Phase::Refused(_))
    }

    fn data(&mut self, left: u64, more: fn(u64) -> Phase, done: Phase) -> bool {
        let rest = self.input.len() - self.ready;
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest);
        let left = left - taken as u64;
        self.pass_to(self.ready + taken, if left == 0 { done } else { more(left) });
        left == 0 && self.input.len() > self.ready
    }

    fn pass_to(&mut self, end: usize, next: Phase) {
        self.ready = end;
        self.scanned = 0;
        self.phase = next;
    }

    fn find_head_end(&mut self) -> Option<usize> {
        let from = self.ready + self.scanned.saturating_sub(3);
        let found = head::end(&self.input, from);
        if found.is_none() {
            self.scanned = self.input.len() - self.ready;
        }
        found
    }

    /// A head whose lines end in LF alone never ends in our eyes: it is found out early. What was `seen` has none.
    fn has_bare_line_feed(&self, seen: usize) -> bool {
        let unread = &self.input[self.ready..];
        (seen..unread.len()).any(|i| unread[i] == b'\n' && (i == 0 || unread[i - 1] != b'\r'))
    }

    fn refuse(&mut self, wrong: Wrong) {
        let begun = !matches!(self.phase, Phase::Head);
        self.phase = Phase::Refused(wrong);
        // In the middle of a body whoever reads it gets an error and answers; between messages nobody would.
        if !begun {
            self.refusal = Some(((self.render)(wrong), 0));
        }
    }

    /// Whether a head is late. Nobody waits for one while a request is answered.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase != Phase::Head {
            return Poll::Pending;
        }
        let since = match self.waiting {
            Some(since) => since,
            None if self.talk.is_answered(self.passed) => *self.waiting.insert(Instant::now()),
            None => return Poll::Pending,
        };
        ready!(self.late.poll(since + HEAD_TIMEOUT, cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.input)
    }
}

impl AsyncRead for Gate {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready > 0 {
                let taken = this.ready.min(out.remaining());
                out.put_slice(&this.input[..taken]);
                this.input.advance(taken);
                this.ready -= taken;
                return Poll::Ready(Ok(()));
            }
            match this.phase {
                // What came before is answered first: hyper takes the end of input for the client's going away.
                Phase::Refused(_) if this.refusal.is_some() => {
                    return match this.talk.all_answered(this.passed, cx.waker()) {
                        true => Poll::Ready(Ok(())),
                        false => Poll::Pending,
                    };
                }
                Phase::Refused(wrong) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, wrong)));
                }
                // Large bodies go straight through.
                Phase::Raw if this.input.is_empty() => return Pin::new(&mut this.socket).poll_read(cx, out),
                Phase::Length(left) | Phase::Chunk(left) if this.input.is_empty() => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.remaining());
                    let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
                    ready!(Pin::new(&mut this.socket).poll_read(cx, &mut part))?;
                    let read = part.filled().len();
                    out.advance(read);
                    if read == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    let left = left - read as u64;
                    this.phase = match (this.phase, left) {
                        (Phase::Length(_), 0) => Phase::Head,
                        (Phase::Length(_), left) => Phase::Length(left),
                        (_, 0) => Phase::ChunkEnd,
                        (_, left) => Phase::Chunk(left),
                    };
                    return Poll::Ready(Ok(()));
                }
                Phase::Undecided => match this.talk.take_decision(cx.waker()) {
                    RAW => {
                        this.phase = Phase::Raw;
                        this.scan();
                        continue;
                    }
                    HTTP => {
                        this.phase = Phase::Head;
                        this.scan();
                        continue;
                    }
                    _ if this.input.len() >= MAX_EARLY => return Poll::Pending,
                    _ => {}
                },
                _ => {}
            }
            match this.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => this.scan(),
                Poll::Ready(ended) => return Poll::Ready(ended.map(drop)),
                Poll::Pending => return this.poll_late(cx),
            }
        }
    }
}

impl Gate {
    /// Whether what was written got stuck for too long.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        match self.poll_stuck(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }
}

impl AsyncWrite for Gate {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Says what was wrong, where something was; hyper comes here once everything before it is answered.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let Some((answer, written)) = &mut this.refusal {
            if *written == answer.len() {
                this.refusal = None;
                // What is unread when a socket is closed makes the other side lose what it has not read.
                let mut thrown = [0; 4096];
                for _ in 0..MAX_DRAIN / thrown.len() {
                    if !this.socket.drain(&mut thrown) {
                        break;
                    }
                }
                break;
            }
            let wrote = Pin::new(&mut this.socket).poll_write(cx, &answer[*written..]);
            if let Poll::Ready(Ok(n)) = &wrote {
                *written += n;
            }
            let watched = this.watch(cx, wrote);
            ready!(watched)?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
