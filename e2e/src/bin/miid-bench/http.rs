//! A client that costs little: one connection, keep-alive, one request at a time. The generator must not
//! be what is measured.

use miid_protocol::{Issuer, SigningKey, jws, proof};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Result;

/// Who asks.
pub enum Who<'a> {
    /// A service, by its `Authorization` header.
    Service(&'a str),
    /// A wallet, by a fresh proof.
    Wallet(&'a SigningKey, &'a Issuer),
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the whole answer; an error unless it is a success.
    pub async fn call(&mut self, who: Who<'_>, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        self.send(who, method, path, body).await?;
        let (head_len, status) = self.read_head().await?;
        let head = String::from_utf8_lossy(&self.buffer[..head_len]).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(Ok(0), |value| value.trim().parse())?;
        while self.buffer.len() < head_len + length {
            self.fill().await?;
        }
        let answer = self.buffer[head_len..head_len + length].to_vec();
        self.buffer.drain(..head_len + length);
        if !(200..300).contains(&status) {
            return Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer)).into());
        }
        Ok(answer)
    }

    /// Opens an event stream; what follows the head stays to be read by [`Self::line`].
    pub async fn open_stream(&mut self, who: Who<'_>, path: &str) -> Result<()> {
        self.send(who, "GET", path, b"").await?;
        let (head_len, status) = self.read_head().await?;
        if status != 200 {
            return Err(format!("GET {path}: {status}").into());
        }
        self.buffer.drain(..head_len);
        Ok(())
    }

    /// The next `data:` of an event stream, and the name of its event.
    pub async fn event(&mut self) -> Result<(String, String)> {
        let mut name = String::new();
        loop {
            let line = self.line().await?;
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Ok((name, data.to_owned()));
            }
        }
    }

    /// The next line, past the chunk sizes of the transfer coding: those are the lines of hexadecimal
    /// digits, which no line of an event stream is.
    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.fill().await?;
        }
    }

    async fn send(&mut self, who: Who<'_>, method: &str, path: &str, body: &[u8]) -> Result<()> {
        let authorization = match who {
            Who::Service(basic) => basic.to_owned(),
            Who::Wallet(key, issuer) => {
                let path = path.split('?').next().unwrap_or_default();
                let jti = miid_e2e::clock::random::<16>();
                let request = proof::Request { method, path, body };
                let now_s = miid_e2e::clock::now_s();
                format!("DIDProof {}", proof::sign(key, request, issuer, &jws::encode(&jti), now_s))
            }
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: {authorization}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        Ok(())
    }

    async fn read_head(&mut self) -> Result<(usize, u16)> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let status = std::str::from_utf8(&self.buffer[9..12])?.parse()?;
                return Ok((end + 4, status));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err("the gateway closed a connection".into());
        }
        Ok(())
    }
}
