//! The head of an HTTP/1 request, read as strictly as it can be written (RFC 9112). Programs behind us may be
//! lenient, each in its own way; what they could disagree about is refused here, before anybody acts on it.

/// Most bytes of a head.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Most header fields.
const MAX_FIELDS: usize = 100;

/// Why bytes are refused. The texts are for whoever wrote the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("a line must end in CR LF, and neither may stand elsewhere")]
    LineEnd,
    #[error("the request line is not METHOD TARGET HTTP/1.1")]
    RequestLine,
    #[error("a header line is folded, or its name holds a space")]
    Folded,
    #[error("a header name or value holds a character that it must not")]
    Character,
    #[error("Host must stand exactly once, and agree with the target")]
    Host,
    #[error("Content-Length must stand once, in digits")]
    Length,
    #[error("Transfer-Encoding must be chunked and nothing else, in HTTP/1.1")]
    Coding,
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    BothLengths,
    #[error("CONNECT is not for this server")]
    Connect,
    #[error("a chunk of the body is not well-formed")]
    Chunk,
    #[error("the head is too long")]
    TooLong,
}

impl Wrong {
    /// As metrics and the access log say it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::LineEnd => "bad_line_end",
            Self::RequestLine => "bad_request_line",
            Self::Folded => "folded_line",
            Self::Character => "bad_character",
            Self::Host => "bad_host",
            Self::Length => "bad_length",
            Self::Coding => "bad_transfer_coding",
            Self::BothLengths => "both_lengths",
            Self::Connect => "connect",
            Self::Chunk => "bad_chunk",
            Self::TooLong => "head_too_long",
        }
    }
}

/// How the body is delimited, and whether the connection may become something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) framing: Framing,
    /// It asks to become a WebSocket.
    pub(crate) upgrade: bool,
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// Reads a whole head, its empty line included.
pub(crate) fn read(head: &[u8]) -> Result<Head, Wrong> {
    check_line_ends(head)?;
    let mut lines = Lines(head);
    let request = lines.next().ok_or(Wrong::RequestLine)?;
    let (method, target, newest) = request_line(request)?;
    let mut fields = Fields::default();
    let mut count = 0;
    for line in lines {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > MAX_FIELDS {
            return Err(Wrong::TooLong);
        }
        fields.read(line)?;
    }
    if fields.hosts > 1 || (newest && fields.hosts == 0) {
        return Err(Wrong::Host);
    }
    check_target(method, target, fields.host)?;
    let framing = match (fields.length, fields.chunked) {
        (Some(_), true) => return Err(Wrong::BothLengths),
        (_, true) if !newest => return Err(Wrong::Coding),
        (_, true) => Framing::Chunked,
        (length, false) => Framing::Length(length.unwrap_or(0)),
    };
    let asks = fields.websocket && fields.upgrades && newest && method == b"GET";
    Ok(Head { framing, upgrade: asks && framing == Framing::Length(0) })
}

/// A CR before every LF, and an LF behind every CR. Nothing ends this early, so many bytes are compared at once.
fn check_line_ends(head: &[u8]) -> Result<(), Wrong> {
    let Some((first, rest)) = head.split_first() else { return Ok(()) };
    let mut wrong = *first == b'\n';
    for (before, byte) in head.iter().zip(rest) {
        wrong |= (*byte == b'\n') != (*before == b'\r');
    }
    if wrong { Err(Wrong::LineEnd) } else { Ok(()) }
}

/// Where a head ends whose first `from` bytes hold no end of one.
pub(crate) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\r', &bytes[from..])
        .map(|at| from + at)
        .find(|at| bytes[*at..].starts_with(b"\r\n\r\n"))
        .map(|at| at + 4)
}

/// Lines without their ends.
struct Lines<'h>(&'h [u8]);

impl<'h> Iterator for Lines<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let end = memchr::memchr(b'\r', self.0)?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 2..];
        Some(line)
    }
}

/// Method, target, and whether it is HTTP/1.1.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), Wrong> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Wrong::RequestLine);
    };
    let newest = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Wrong::RequestLine),
    };
    let visible = target.iter().all(|byte| (0x21..=0x7e).contains(byte) && *byte != b'#');
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() || !visible {
        return Err(Wrong::RequestLine);
    }
    Ok((method, target, newest))
}

/// Origin form, or absolute form with the authority that `Host` says.
fn check_target(method: &[u8], target: &[u8], host: Option<&[u8]>) -> Result<(), Wrong> {
    if method == b"CONNECT" {
        return Err(Wrong::Connect);
    }
    if !is_taken_behind(target) {
        return Err(Wrong::RequestLine);
    }
    if target[0] == b'/' || (target == b"*" && method == b"OPTIONS") {
        return Ok(());
    }
    let is =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(rest) = [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find_map(|scheme| is(scheme).then(|| &target[scheme.len()..]))
    else {
        return Err(Wrong::RequestLine);
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    match host {
        Some(host) if host.contains(&b'%') || (host.contains(&b'[') != host.contains(&b']')) => {
            Err(Wrong::Host)
        }
        Some(host) if host.eq_ignore_ascii_case(&rest[..end]) => Ok(()),
        _ => Err(Wrong::Host),
    }
}

/// Whether the parser behind us takes a target with these characters, none of which is right: what it refuses by
/// itself nobody would hear of.
fn is_taken_behind(target: &[u8]) -> bool {
    // Nearly always, and so many bytes are compared at once.
    if !target.iter().fold(false, |any, byte| any | matches!(byte, b'<' | b'>' | b'`' | b'"')) {
        return true;
    }
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    !path.iter().any(|byte| matches!(byte, b'<' | b'>' | b'`'))
        && !query.iter().any(|byte| matches!(byte, b'<' | b'>' | b'"'))
}

#[derive(Default)]
struct Fields<'h> {
    hosts: u32,
    host: Option<&'h [u8]>,
    length: Option<u64>,
    chunked: bool,
    websocket: bool,
    upgrades: bool,
}

impl<'h> Fields<'h> {
    fn read(&mut self, line: &'h [u8]) -> Result<(), Wrong> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Wrong::Folded);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Wrong::Character)?;
        let name = &line[..colon];
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            let spaced = name.iter().any(|byte| matches!(byte, b' ' | b'\t'));
            return Err(if spaced { Wrong::Folded } else { Wrong::Character });
        }
        let value = &line[colon + 1..];
        // As above: all of it, many bytes at once.
        let control = |byte: u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
        if value.iter().fold(false, |found, byte| found | control(*byte)) {
            return Err(Wrong::Character);
        }
        // After the look at its characters: a form feed is no space of HTTP's.
        let value = value.trim_ascii();
        // By length first: nearly no header is one of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                self.host = Some(value);
                if !is_host(value) {
                    return Err(Wrong::Host);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Wrong::Length);
                }
                self.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Wrong::Coding);
                }
                self.chunked = true;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.websocket |= has_word(value, b"websocket");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.upgrades |= has_word(value, b"upgrade");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a host, with a port or without, is one to everybody.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let known = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+,;=%".contains(b);
    !value.is_empty() && value.iter().all(known)
}

/// What `Content-Length` says.
pub(crate) fn length(value: &[u8]) -> Result<u64, Wrong> {
    if !(1..=18).contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
        return Err(Wrong::Length);
    }
    Ok(value.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Whether a word stands in a list.
pub(crate) fn has_word(value: &[u8], wanted: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(wanted))
}

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Looked up, since every byte of every name is.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

/// The length that a chunk's first line says; its extensions are for nobody (RFC 9112, section 7.1.1).
pub(crate) fn chunk_size(line: &[u8]) -> Result<u64, Wrong> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let plain = match line.get(digits) {
        None => true,
        // An extension: visible characters only, so that no line can end in it.
        Some(b';') => line[digits..].iter().all(|byte| (0x20..=0x7e).contains(byte) || *byte == b'\t'),
        Some(_) => false,
    };
    if !(1..=15).contains(&digits) || !plain {
        return Err(Wrong::Chunk);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Wrong::Chunk)?;
    u64::from_str_radix(text, 16).map_err(|_| Wrong::Chunk)
}

/// A line of the trailer section: like a header's, and never one that frames or routes.
pub(crate) fn trailer(line: &[u8]) -> Result<(), Wrong> {
    let mut fields = Fields::default();
    fields.read(line)?;
    let framing = fields.hosts > 0 || fields.length.is_some() || fields.chunked;
    if framing { Err(Wrong::Chunk) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Head, Wrong> {
        read(text.as_bytes())
    }

    #[test]
    fn every_shape_that_two_programs_may_read_differently_is_refused() {
        let host = "Host: a\r\n";
        for (head, why) in [
            (format!("GET / HTTP/1.1\n{host}\r\n"), Wrong::LineEnd),
            (format!("GET / HTTP/1.1\r\n{host}X: a\nY: b\r\n\r\n"), Wrong::LineEnd),
            (format!("GET / HTTP/1.1\r\n{host}X: a\rY: b\r\n\r\n"), Wrong::LineEnd),
            (format!("GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"), Wrong::Folded),
            (format!("GET / HTTP/1.1\r\n X: a\r\n{host}\r\n"), Wrong::Folded),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length : 5\r\n\r\n"), Wrong::Folded),
            (format!("GET / HTTP/1.1\r\n{host}Content Length: 5\r\n\r\n"), Wrong::Folded),
            (format!("GET / HTTP/1.1\r\n{host}nothing\r\n\r\n"), Wrong::Character),
            (format!("GET / HTTP/1.1\r\n{host}: a\r\n\r\n"), Wrong::Character),
            (format!("GET / HTTP/1.1\r\n{host}X\u{b}: a\r\n\r\n"), Wrong::Character),
            (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), Wrong::Character),
            (format!("GET / HTTP/1.1\r\n{host}X: a\u{c}\r\n\r\n"), Wrong::Character),
            (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\u{c}chunked\r\n\r\n"), Wrong::Character),
            (format!("GET  / HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET\t/ HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET / HTTP/1.2\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET / http/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET /\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("G(T / HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET /\u{e9} HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET a HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET * HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), Wrong::Host),
            (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), Wrong::Host),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), Wrong::Host),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned(), Wrong::Host),
            (format!("GET http://b/ HTTP/1.1\r\n{host}\r\n"), Wrong::Host),
            (format!("GET http://a@b/ HTTP/1.1\r\n{host}\r\n"), Wrong::Host),
            (format!("CONNECT a:1 HTTP/1.1\r\n{host}\r\n"), Wrong::Connect),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
                Wrong::Length,
            ),
            (format!("GET /a<b HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET /a`b HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            (format!("GET /a?\"b HTTP/1.1\r\n{host}\r\n"), Wrong::RequestLine),
            ("GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\n\r\n".to_owned(), Wrong::Host),
            ("GET http://a%b/ HTTP/1.1\r\nHost: a%b\r\n\r\n".to_owned(), Wrong::Host),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\n"), Wrong::Length),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\n"), Wrong::Length),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"), Wrong::Length),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\n"), Wrong::Length),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n"), Wrong::Length),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"), Wrong::Length),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Wrong::BothLengths,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
                Wrong::BothLengths,
            ),
            (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"), Wrong::Coding),
            (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"), Wrong::Coding),
            (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: identity\r\n\r\n"), Wrong::Coding),
            (
                format!(
                    "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"
                ),
                Wrong::Coding,
            ),
            (format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n"), Wrong::Coding),
        ] {
            assert_eq!(said(&head), Err(why), "{head:?}");
        }
    }

    #[test]
    fn what_is_right_is_read_right() {
        let head = said("GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("right");
        assert_eq!(head, Head { framing: Framing::Length(0), upgrade: false });
        let head = said("POST http://A/x HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n").expect("right");
        assert_eq!(head.framing, Framing::Length(17));
        let head = said("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").expect("right");
        assert_eq!(head.framing, Framing::Chunked);
        let upgrade =
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n";
        assert!(said(upgrade).expect("right").upgrade);
        assert!(!said(&upgrade.replace("WebSocket", "h2c")).expect("right").upgrade);
        assert!(said("GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn chunks_are_read_strictly() {
        assert_eq!(chunk_size(b"1F"), Ok(31));
        assert_eq!(chunk_size(b"0;a=b"), Ok(0));
        for line in ["", " 5", "5 ", "0x5", "+5", "-5", "5\t", "g", "fffffffffffffffff", "5;\u{1}"] {
            assert_eq!(chunk_size(line.as_bytes()), Err(Wrong::Chunk), "{line:?}");
        }
        assert!(trailer(b"X-Sum: 1").is_ok());
        assert!(trailer(b"Content-Length: 1").is_err() && trailer(b" X: 1").is_err());
    }
}
