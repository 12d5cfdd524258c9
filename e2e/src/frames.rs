//! HTTP/2 frame by frame: a caller that says what no library would, and takes only what it wants to.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::edge::Edge;
use crate::wait::within;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What an answer with this status begins with (RFC 7541, appendix A).
pub const OK: u8 = 0x88;
/// The same of 400.
pub const BAD_REQUEST: u8 = 0x8c;

/// A connection.
#[derive(Debug)]
pub struct Frames {
    socket: TcpStream,
}

/// One frame.
#[derive(Debug)]
pub struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frames {
    /// To an edge. Of each answer's body so many bytes are taken.
    pub async fn connect(edge: &Edge, window: u32) -> Self {
        let socket = TcpStream::connect(edge.address()).await.expect("the edge listens");
        let mut frames = Self { socket };
        frames.socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it is taken");
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        frames.write(SETTINGS, 0, 0, &settings).await;
        frames
    }

    /// A request's head, as it stands here.
    pub async fn request(&mut self, stream: u32, fields: &[(&str, &[u8])], end: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal that goes into no table, and is not Huffman's.
            block.push(0);
            for part in [name.as_bytes(), value] {
                length(&mut block, part.len());
                block.extend(part);
            }
        }
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.write(HEADERS, flags, stream, &block).await;
    }

    /// `GET`, of a path and with a token.
    pub async fn get(&mut self, stream: u32, path: &str, token: &str) {
        let token = format!("Bearer {token}");
        let fields: [(&str, &[u8]); 5] = [
            (":method", b"GET"),
            (":scheme", b"http"),
            (":authority", b"a"),
            (":path", path.as_bytes()),
            ("authorization", token.as_bytes()),
        ];
        self.request(stream, &fields, true).await;
    }

    /// A piece of a request's body.
    pub async fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.write(DATA, if end { END_STREAM } else { 0 }, stream, bytes).await;
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.socket.write_all(&frame).await.expect("it is taken");
    }

    /// The next frame that says something; what wants an answer only to know that we live gets one. Nothing once
    /// the connection is closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; length as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            match (head[3], head[4]) {
                (SETTINGS, flags) if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await,
                (PING, flags) if flags & ACK == 0 => self.write(PING, ACK, 0, &payload).await,
                (kind @ (DATA | HEADERS | RESET), flags) => {
                    return Some(Frame { kind, flags, stream, payload });
                }
                _ => {}
            }
        }
    }

    /// How the answer on a stream begins, and its body; `None` where it was reset.
    pub async fn answer(&mut self, stream: u32) -> Option<(u8, Vec<u8>)> {
        within("an answer comes", async {
            let (mut status, mut body) = (0, Vec::new());
            loop {
                let frame = self.next().await.expect("the connection stays");
                if frame.stream != stream {
                    continue;
                }
                match frame.kind {
                    HEADERS if status == 0 => status = frame.payload[0],
                    DATA => body.extend(frame.payload),
                    RESET => return None,
                    _ => {}
                }
                if frame.flags & END_STREAM != 0 {
                    return Some((status, body));
                }
            }
        })
        .await
    }

    /// Goes on answering what wants an answer, and takes nothing, until the edge closes the connection.
    pub async fn stay(mut self) {
        while self.next().await.is_some() {}
    }
}

/// A length of HPACK's (RFC 7541, section 5.1), in seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(length as u8) };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}
