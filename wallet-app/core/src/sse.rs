//! Server-sent events, as the HTML standard reads them (section 9.2.6). Bytes in, messages out; no I/O.
//!
//! Our own, though a crate for it is in the workspace: `reqwest-eventsource` loses a `retry:` that stands in a
//! block without data, which is where the gateway sends it (protocol, section 1), hides the comments by which
//! silence is told from life, and lets a line grow without bound.

use std::collections::VecDeque;
use std::time::Duration;

/// Most bytes of one event. A request text travelled in a body of 64 KiB; escaping can double it.
pub(crate) const MAX_EVENT: usize = 256 * 1024;

/// One event with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// What stands behind `event:`.
    pub(crate) event: String,
    /// What stands behind `data:`, lines joined.
    pub(crate) data: String,
    /// Position to resume from; `None` where the stream never said one.
    pub(crate) id: Option<String>,
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    #[error("an event is larger than 256 KiB")]
    TooLarge,
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// Takes a stream apart.
#[derive(Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    event: String,
    data: String,
    id: Option<String>,
    retry: Option<Duration>,
    ready: VecDeque<Message>,
}

impl Reader {
    /// More bytes came.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        for &byte in bytes {
            let second_of_crlf = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if second_of_crlf => {}
                b'\n' | b'\r' => self.end_line()?,
                _ => {
                    if self.line.len() + self.data.len() >= MAX_EVENT {
                        return Err(SseError::TooLarge);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    /// How long to wait before a reconnect, where the server has said it.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self) -> Result<(), SseError> {
        let line = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&line).map_err(|_| SseError::NotUtf8)?;
        let first = !std::mem::replace(&mut self.started, true);
        let line = if first { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        if line.is_empty() {
            self.end_message();
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // A comment, or nothing that we know.
            _ => {}
        }
        Ok(())
    }

    fn end_message(&mut self) {
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_some() {
            let event = if event.is_empty() { "message".to_owned() } else { event };
            self.ready.push_back(Message { event, data, id: self.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, chunk: usize) -> (Vec<Message>, Option<Duration>) {
        let mut reader = Reader::default();
        let mut messages = Vec::new();
        for bytes in text.as_bytes().chunks(chunk) {
            reader.push(bytes).expect("readable");
            while let Some(message) = reader.next() {
                messages.push(message);
            }
        }
        (messages, reader.retry())
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let text = "retry: 1000\n\n: alive\n\nid: 7\nevent: a\ndata: 가나\ndata: {}\n\ndata:x\r\n\r\nid\rdata\r\revent: lost\n\n";
        let message = |event: &str, data: &str, id: &str| Message {
            event: event.to_owned(),
            data: data.to_owned(),
            id: Some(id.to_owned()),
        };
        let expected =
            vec![message("a", "가나\n{}", "7"), message("message", "x", "7"), message("message", "", "")];
        for chunk in [1, 2, 3, 7, 1000] {
            assert_eq!(read(text, chunk), (expected.clone(), Some(Duration::from_secs(1))), "{chunk}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut reader = Reader::default();
        let line = [b'x'; 1024];
        let refused = (0..2000).find_map(|_| reader.push(&line).err());
        assert_eq!(refused, Some(SseError::TooLarge));
        let mut reader = Reader::default();
        let refused =
            (0..2000).find_map(|_| reader.push(&[b"data: ".as_slice(), &line, b"\n"].concat()).err());
        assert_eq!(refused, Some(SseError::TooLarge));
        assert_eq!(Reader::default().push(b"\xff\n"), Err(SseError::NotUtf8));
    }
}
