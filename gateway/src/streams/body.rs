//! The body of an SSE response. Written by hand and not as an async block because ten thousand of
//! them are idle at once: nothing is held but a place in the hub and a position, and the future that
//! reads the log exists only while it reads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame};
use miid_protocol::events::{RESYNC, RETRY_MS};
use miid_protocol::service::ChallengeStatus;
use miid_protocol::{ChallengeId, ClientId, Did};

use super::hub::{Guard, Hint};
use super::{LogEvent, StreamKey};
use crate::keys::ServerKeys;
use crate::store::{LogPage, Position, Store, StoreError};

/// Whose stream it is, and what of the log belongs into it.
#[derive(Debug, Clone)]
pub enum Filter {
    /// A wallet's: everything.
    Wallet(Did),
    /// A service's: everything, with codes filled in.
    Service(ClientId),
    /// A service's, of one challenge.
    Challenge(ClientId, ChallengeId),
}

/// Where it begins.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// Behind this position; nothing to catch up with.
    At(Position),
    /// Behind this position, which a reader brought along: the log is read first.
    After(Position),
    /// The reader brought a position that is none: it is told to read the lists, from the head on.
    Lost(Position),
}

/// The events of one stream, as `text/event-stream`.
pub struct EventStream {
    guard: Guard,
    position: i64,
    rest: Box<Rest>,
    reading: Option<Reading>,
    /// What is due before anything else; empty but at the beginning.
    ready: VecDeque<Bytes>,
    ended: bool,
}

/// A look into the log, under way.
type Reading = Pin<Box<dyn Future<Output = Result<Chunk, StoreError>> + Send>>;

struct Rest {
    store: Store,
    keys: Arc<ServerKeys>,
    key: StreamKey,
    filter: Filter,
}

/// What reading the log gave: text to write, and the position behind it.
struct Chunk {
    text: String,
    position: i64,
    more: bool,
    ended: bool,
}

impl EventStream {
    /// A stream that begins at `start`.
    pub fn new(
        guard: Guard,
        store: Store,
        keys: Arc<ServerKeys>,
        key: StreamKey,
        filter: Filter,
        start: Start,
    ) -> Self {
        let mut head = format!("retry: {RETRY_MS}\n\n");
        let position = match start {
            Start::At(position) => position.0,
            Start::After(position) => {
                guard.slot.read_log();
                position.0
            }
            Start::Lost(head_position) => {
                push_event(&mut head, head_position.0, RESYNC, "{}");
                head_position.0
            }
        };
        Self {
            guard,
            position,
            rest: Box::new(Rest { store, keys, key, filter }),
            reading: None,
            ready: VecDeque::from([Bytes::from(head)]),
            ended: false,
        }
    }

    /// The events of one challenge, from its beginning or from where the reader was.
    pub async fn of_challenge(
        guard: Guard,
        store: Store,
        keys: Arc<ServerKeys>,
        client_id: ClientId,
        id: ChallengeId,
        head: Position,
        start: Start,
    ) -> Result<Self, StoreError> {
        let key = StreamKey::service(&client_id);
        let (after, begin) = match start {
            Start::Lost(_) => (head, start),
            Start::After(position) => (position, Start::At(head)),
            // Without a position of its own the reader wants all of it.
            Start::At(_) => (Position(0), Start::At(head)),
        };
        let filter = Filter::Challenge(client_id.clone(), id);
        let mut stream = Self::new(guard, store, keys, key, filter, begin);
        let mut reader = stream.rest.store.read().await?;
        let events = reader.log_about(&client_id, id, after).await?;
        let mut text = String::new();
        // What came after the head will be told through the hub.
        for event in events.iter().filter(|event| event.seq <= head.0) {
            let live = match event.approval {
                Some(approval) => {
                    stream.rest.is_code_live(&mut reader, &client_id, &id.to_string(), approval).await?
                }
                None => false,
            };
            stream.rest.render(&mut text, event, live);
        }
        if !text.is_empty() {
            stream.ready.push_back(Bytes::from(text));
        }
        Ok(stream)
    }

    /// A hint that fits on to what was seen is written as it is; anything else means reading the log.
    fn accept(&mut self, event: &LogEvent, committed: Instant) -> Option<Bytes> {
        if event.seq <= self.position {
            return None;
        }
        if event.seq != self.position + 1 {
            self.read_log();
            return None;
        }
        self.position = event.seq;
        if event.is_end() {
            self.ended = true;
            return None;
        }
        let mut text = String::new();
        if self.rest.wants(event) {
            // Nothing can have happened to the code yet that this stream would not say next.
            let code = event.approval.is_some();
            self.rest.render(&mut text, event, code);
            metrics::histogram!("miid_event_to_write_seconds").record(committed.elapsed().as_secs_f64());
        }
        (!text.is_empty()).then(|| Bytes::from(text))
    }

    fn read_log(&mut self) {
        let (store, keys) = (self.rest.store.clone(), self.rest.keys.clone());
        let rest = Rest { store, keys, key: self.rest.key.clone(), filter: self.rest.filter.clone() };
        let position = self.position;
        self.reading = Some(Box::pin(async move { rest.read(position).await }));
    }
}

impl Rest {
    fn wants(&self, event: &LogEvent) -> bool {
        match &self.filter {
            Filter::Wallet(_) | Filter::Service(_) => true,
            Filter::Challenge(_, id) => event.about.as_deref() == Some(&id.to_string()),
        }
    }

    fn render(&self, text: &mut String, event: &LogEvent, with_code: bool) {
        match (event.approval, event.about.as_deref().map(ChallengeId::parse)) {
            (Some(approval), Some(Ok(id))) if with_code => {
                let code = self.keys.code(id, approval);
                let data = event.data.replacen(
                    "\"authorization_code\":null",
                    &format!("\"authorization_code\":\"{}\"", code.expose()),
                    1,
                );
                push_event(text, event.seq, &event.name, &data);
            }
            _ => push_event(text, event.seq, &event.name, &event.data),
        }
    }

    /// Reads what follows `position`. In a replay a code is null once it is spent or dead.
    async fn read(self, position: i64) -> Result<Chunk, StoreError> {
        let mut reader = self.store.read().await?;
        let (events, next) = match (&self.filter, reader.log_after(&self.key, Position(position)).await?) {
            (filter, LogPage::Resync(head)) => {
                let mut text = String::new();
                push_event(&mut text, head.0, RESYNC, "{}");
                // What was jumped over may have been the end. Asked after the head was read: an end that this
                // does not see yet stands behind it.
                let ended = match filter {
                    Filter::Wallet(did) => reader.is_retired(did).await?,
                    Filter::Service(_) | Filter::Challenge(..) => false,
                };
                return Ok(Chunk { text, position: head.0, more: false, ended });
            }
            (_, LogPage::Events(events)) => {
                let next = events.last().map_or(position, |event| event.seq);
                (events, next)
            }
        };
        let ended = events.iter().any(|event| event.is_end());
        let mut text = String::new();
        let before_the_end = events.iter().take_while(|event| !event.is_end());
        for event in before_the_end.filter(|event| self.wants(event)) {
            let live = match (&self.filter, &event.about, event.approval) {
                (
                    Filter::Service(client_id) | Filter::Challenge(client_id, _),
                    Some(about),
                    Some(approval),
                ) => self.is_code_live(&mut reader, client_id, about, approval).await?,
                _ => false,
            };
            self.render(&mut text, event, live);
        }
        Ok(Chunk { text, position: next, more: !events.is_empty(), ended })
    }

    async fn is_code_live(
        &self,
        reader: &mut crate::store::Reader,
        client_id: &ClientId,
        about: &str,
        approval: i64,
    ) -> Result<bool, StoreError> {
        let Ok(id) = ChallengeId::parse(about) else { return Ok(false) };
        let found = reader.challenge_of_service(id, client_id).await?;
        let now = self.store.clock().now();
        Ok(found.is_some_and(|challenge| {
            challenge.approvals == approval && challenge.standing(now).0 == ChallengeStatus::Approved
        }))
    }
}

/// `id`, `event`, `data`; our data never holds a line break, since JSON escapes it.
fn push_event(text: &mut String, id: i64, name: &str, data: &str) {
    let _ = write!(text, "id: {id}\nevent: {name}\ndata: {data}\n\n");
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                if this.ready.is_empty() {
                    this.ready = VecDeque::new();
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            if let Some(reading) = &mut this.reading {
                let Poll::Ready(result) = reading.as_mut().poll(cx) else { return Poll::Pending };
                this.reading = None;
                match result {
                    Ok(chunk) => {
                        this.position = chunk.position;
                        this.ended = chunk.ended;
                        if chunk.more {
                            this.guard.slot.read_log();
                        }
                        if !chunk.text.is_empty() {
                            this.ready.push_back(Bytes::from(chunk.text));
                        }
                    }
                    // The reader comes back with its position, and finds the store or another instance.
                    Err(error) => {
                        tracing::warn!(%error, "a stream could not read its log and was ended");
                        this.ended = true;
                    }
                }
                continue;
            }
            match this.guard.slot.take(cx.waker()) {
                Hint::Event(event, committed) => {
                    if let Some(bytes) = this.accept(&event, committed) {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Hint::ReadLog => this.read_log(),
                Hint::Beat => return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n"))))),
                Hint::Closed => return Poll::Ready(None),
                Hint::Nothing => return Poll::Pending,
            }
        }
    }
}
