//! An event stream, read as a browser reads it (HTML Living Standard, "Server-sent events").

use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::secrets::Secrets;
use crate::wait;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `event:`
    pub name: String,
    /// `data:`
    pub data: String,
    /// The last `id:` when it was sent.
    pub id: Option<String>,
}

impl Event {
    /// Its data, parsed.
    #[track_caller]
    pub fn parse<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_str(&self.data) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }

    /// Its data as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        self.parse()
    }
}

type Body = Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// A stream that is open.
pub struct Stream {
    body: Body,
    buffer: Vec<u8>,
    last_id: Option<String>,
    retry_ms: Option<u64>,
    secrets: Secrets,
}

impl Stream {
    /// Takes over a response that must be an event stream, and reads up to its `retry:` line, so that whoever
    /// holds a stream knows that the server has taken the position.
    pub async fn open(response: reqwest::Response, secrets: &Secrets) -> Self {
        let mut stream = Self::take(response, secrets);
        wait::within("a stream begins", stream.read_retry()).await;
        stream
    }

    fn take(response: reqwest::Response, secrets: &Secrets) -> Self {
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        assert!(content_type.is_some_and(|value| value.starts_with("text/event-stream")), "{content_type:?}");
        Self {
            body: Box::pin(response.bytes_stream()),
            buffer: Vec::new(),
            last_id: None,
            retry_ms: None,
            secrets: secrets.clone(),
        }
    }

    /// The next event; `None` when the stream has ended, in whichever way.
    pub async fn next(&mut self) -> Option<Event> {
        wait::within("the next event or the end of a stream", self.read_event()).await
    }

    /// Reads on to an event of this name.
    #[track_caller]
    pub fn expect(&mut self, name: &str) -> impl Future<Output = Event> {
        let what = format!("an event {name}");
        async move {
            wait::within(&what, async {
                loop {
                    match self.read_event().await {
                        Some(event) if event.name == name => return event,
                        Some(_) => {}
                        None => panic!("the stream ended before {what}"),
                    }
                }
            })
            .await
        }
    }

    /// The events up to the end of the stream, which must come.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The position to resume from: the id of the last event.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// What `retry:` said.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    async fn read_retry(&mut self) {
        while self.retry_ms.is_none() {
            if let Some(end) = block_end(&self.buffer) {
                let block: Vec<u8> = self.buffer[..end.0].to_vec();
                if String::from_utf8_lossy(&block).lines().any(|line| line.starts_with("retry:")) {
                    // An event may stand in the same block; it stays for the reader.
                    let text = String::from_utf8_lossy(&block).into_owned();
                    self.retry_ms = text
                        .lines()
                        .find_map(|line| line.strip_prefix("retry:"))
                        .and_then(|value| value.trim().parse().ok());
                    return;
                }
                self.buffer.drain(..end.1);
                continue;
            }
            if !self.fill().await {
                return;
            }
        }
    }

    async fn read_event(&mut self) -> Option<Event> {
        loop {
            while let Some((end, next)) = block_end(&self.buffer) {
                let block = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..next);
                if let Some(event) = self.event(&block) {
                    self.secrets.add_all_in(&event.data);
                    return Some(event);
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn event(&mut self, block: &str) -> Option<Event> {
        let (mut name, mut data) = ("message".to_owned(), Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut name),
                "data" => data.push(value.to_owned()),
                "id" => self.last_id = Some(value.to_owned()),
                "retry" => self.retry_ms = value.parse().ok(),
                _ => {}
            }
        }
        (!data.is_empty()).then(|| Event { name, data: data.join("\n"), id: self.last_id.clone() })
    }

    async fn fill(&mut self) -> bool {
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                true
            }
            // A connection that was cut and one that was closed are the same end for a reader.
            Some(Err(_)) | None => false,
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("last_id", &self.last_id).finish_non_exhaustive()
    }
}

/// Where the first block ends, and where the next begins.
fn block_end(buffer: &[u8]) -> Option<(usize, usize)> {
    let lf = buffer.windows(2).position(|pair| pair == b"\n\n").map(|at| (at, at + 2));
    let crlf = buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| (at, at + 4));
    match (lf, crlf) {
        (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
        (a, b) => a.or(b),
    }
}
