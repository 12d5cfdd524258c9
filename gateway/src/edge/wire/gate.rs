//! A socket that lets through what [`super::head`] finds right. It stands before hyper's parser, which is
//! lenient where RFC 9112 allows it (bare line feeds, both lengths), and follows the framing of every message,
//! so that it knows where the next head begins. Whatever is wrong ends the input there: what came before is
//! served, and then the caller is told.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::head::{self, Framing, MAX_HEAD, Wrong};
use super::interim::Interim;
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
/// … and for so long.
const LINGER: Duration = Duration::from_secs(2);

/// What the gate hears from those who answer what it let through.
#[derive(Clone, Default)]
pub(crate) struct Talk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// What follows a request to be something else is held back.
    holding: AtomicBool,
    /// The connection is something else now.
    switched: AtomicBool,
    answered: AtomicU64,
    waker: Mutex<Option<Waker>>,
    interim: Interim,
}

/// A request is being answered; dropped, it was.
pub(crate) struct Answering(Talk);

impl Talk {
    /// Whether the request that is being answered may switch: the last one let through asks to, and what follows
    /// it is held back until it is answered.
    pub(crate) fn holds(&self) -> bool {
        self.0.holding.load(Ordering::Acquire)
    }

    /// What follows the request that is being answered is no HTTP. Without this it is, once that is answered.
    pub(crate) fn switch(&self) {
        self.0.switched.store(true, Ordering::Release);
        self.wake();
    }

    /// One that was let through is being answered.
    pub(crate) fn answering(&self) -> Answering {
        Answering(self.clone())
    }

    /// Interim answers to the request that is being answered.
    pub(crate) fn interim(&self) -> &Interim {
        &self.0.interim
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    fn listen(&self, waker: &Waker) {
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// What becomes of the connection once `passed` requests are answered, the last of which asks to switch.
    fn decided(&self, passed: u64, waker: &Waker) -> Option<Phase> {
        // First this: who switches says so before it has answered.
        let answered = self.all_answered(passed, waker);
        let phase = match self.0.switched.load(Ordering::Acquire) {
            true => Phase::Raw,
            false if answered => Phase::Head,
            false => return None,
        };
        self.0.holding.store(false, Ordering::Release);
        Some(phase)
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
    /// Whether an empty line stood before the head that is next.
    skipped: bool,
    phase: Phase,
    talk: Talk,
    /// Heads let through.
    passed: u64,
    /// Since when a head is waited for, and nothing else.
    waiting: Option<Instant>,
    late: Alarm,
    refusal: Option<(Vec<u8>, usize)>,
    /// Whether all that was written was whole answers, so that an interim one may stand next.
    between: bool,
    /// Of an interim answer that was begun.
    interim: Bytes,
    stuck: Option<Pin<Box<Sleep>>>,
    /// How much more is thrown away, and how long.
    lingers: Option<(usize, Pin<Box<Sleep>>)>,
    render: Render,
}

/// Makes the answer to what is wrong, and has it known.
type Render = Box<dyn Fn(Wrong) -> Vec<u8> + Send>;

impl Gate {
    /// Around a socket, of which `input` was read already. `render` makes the answer to what is wrong, and is asked
    /// for it once at most.
    pub(crate) fn new(socket: TcpStream, input: BytesMut, talk: Talk, render: Render) -> Self {
        let mut gate = Self {
            socket: Socket::new(socket),
            input,
            ready: 0,
            scanned: 0,
            skipped: false,
            phase: Phase::Head,
            talk,
            passed: 0,
            waiting: None,
            late: Alarm::default(),
            refusal: None,
            between: true,
            interim: Bytes::new(),
            stuck: None,
            lingers: None,
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
                if !self.skipped && rest > 0 && b"\r\n".starts_with(&self.input[self.ready..][..rest.min(2)])
                {
                    // One empty line before a request is to be ignored (RFC 9112, section 2.2).
                    if rest == 1 {
                        return false;
                    }
                    let tail = self.input.split_off(self.ready);
                    self.input.unsplit(BytesMut::from(&tail[2..]));
                    self.skipped = true;
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
                            _ if head.upgrade => {
                                self.talk.0.holding.store(true, Ordering::Release);
                                Phase::Undecided
                            }
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
        self.skipped = false;
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
                Phase::Undecided => match this.talk.decided(this.passed, cx.waker()) {
                    Some(phase) => {
                        this.phase = phase;
                        this.scan();
                        continue;
                    }
                    None if this.input.len() >= MAX_EARLY => return Poll::Pending,
                    None => {}
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

    /// Reads what still comes of a message that nobody reads any more, and throws it away: what is unread when a
    /// socket is closed makes the other side lose what it was told.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (left, time) =
            self.lingers.get_or_insert_with(|| (MAX_DRAIN, Box::pin(tokio::time::sleep(LINGER))));
        let mut thrown = [0; 4096];
        while *left > 0 && time.as_mut().poll(cx).is_pending() {
            let mut thrown = ReadBuf::new(&mut thrown);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut thrown)) {
                Ok(()) if !thrown.filled().is_empty() => *left = left.saturating_sub(thrown.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(())
    }

    fn has_interim(&self) -> bool {
        !self.interim.is_empty() || self.talk.interim().is_there()
    }

    /// Writes interim answers, where they may stand. `flushed` says that nothing of another answer is held back.
    fn poll_interim(&mut self, cx: &mut Context<'_>, flushed: bool) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            self.interim = self.talk.interim().take(self.between, flushed);
        }
        while !self.interim.is_empty() {
            let wrote = Pin::new(&mut self.socket).poll_write(cx, &self.interim);
            match ready!(self.watch(cx, wrote))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        Poll::Ready(Ok(()))
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
        if self.has_interim() {
            ready!(self.poll_interim(cx, false))?;
        }
        self.between = false;
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.has_interim() {
            ready!(self.poll_interim(cx, false))?;
        }
        self.between = false;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper comes here when it holds nothing back.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_interim() {
            ready!(self.poll_interim(cx, true))?;
        }
        self.between = true;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Says what was wrong, where something was; hyper comes here once everything before it is answered.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let Some((answer, written)) = &mut this.refusal {
            if *written == answer.len() {
                this.refusal = None;
                break;
            }
            let wrote = Pin::new(&mut this.socket).poll_write(cx, &answer[*written..]);
            if let Poll::Ready(Ok(n)) = &wrote {
                *written += n;
            }
            let watched = this.watch(cx, wrote);
            ready!(watched)?;
        }
        if this.lingers.is_none() {
            // What waits is written first, which may take as long as writing ever may.
            let ended = Pin::new(&mut this.socket).poll_shutdown(cx);
            ready!(this.watch(cx, ended))?;
            if matches!(this.phase, Phase::Head | Phase::Undecided | Phase::Raw) {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn gate(input: &[u8]) -> (Gate, Talk) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (socket, _) = tokio::join!(TcpStream::connect(address), listener.accept());
        let talk = Talk::default();
        let render = Box::new(|_| Vec::new());
        (Gate::new(socket.expect("a socket"), BytesMut::from(input), talk.clone(), render), talk)
    }

    fn more(gate: &mut Gate, input: &[u8]) {
        gate.input.extend_from_slice(input);
        gate.scan();
    }

    #[tokio::test]
    async fn one_empty_line_before_a_request_is_ignored_however_it_comes() {
        let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for at in 0..text.len() {
            let (mut gate, _) = gate(&text[..at]).await;
            more(&mut gate, &text[at..]);
            assert_eq!(
                (gate.phase, gate.passed),
                (Phase::Head, 2),
                "in two pieces, of which one has {at} bytes"
            );
        }
        let (mut gate, _) = gate(b"").await;
        for byte in b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" {
            more(&mut gate, &[*byte]);
        }
        assert_eq!((gate.phase, gate.passed), (Phase::Refused(Wrong::RequestLine), 0), "two are not");
    }

    #[tokio::test]
    async fn what_follows_a_request_to_switch_is_held_back_until_it_is_answered() {
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{upgrade}GET / HTTP/1.1\r\n");
        for switches in [true, false] {
            let (gate, talk) = gate(text.as_bytes()).await;
            assert_eq!((gate.phase, gate.passed), (Phase::Undecided, 2));
            let decided = || talk.decided(gate.passed, Waker::noop());
            assert!(talk.holds());
            drop(talk.answering());
            assert_eq!(decided(), None, "only the one before it is answered");
            let answering = talk.answering();
            if switches {
                talk.switch();
            }
            drop(answering);
            assert_eq!(decided(), Some(if switches { Phase::Raw } else { Phase::Head }));
            assert!(!talk.holds(), "nobody else switches");
        }
    }
}
