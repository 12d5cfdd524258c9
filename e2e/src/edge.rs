//! The edge of a gateway, as callers of an API see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::{Method, RequestBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::answer::Answer;
use crate::port::Port;
use crate::wait::within;
use crate::world::World;

/// A port, and the file that says what is behind it.
#[derive(Debug, Clone)]
pub struct Edge {
    world: World,
    port: Arc<Port>,
    config: PathBuf,
}

/// One route; `more` are further lines.
pub fn route(name: &str, prefix: &str, kind: &str, upstream: &str, more: &str) -> String {
    let audience = if kind == "public" { "" } else { "audience = \"demo-shop\"\n" };
    format!(
        "[[edge.route]]\nname = \"{name}\"\nprefix = \"{prefix}\"\nkind = \"{kind}\"\nupstreams = [\"{upstream}\"]\n{audience}{more}\n"
    )
}

impl Edge {
    /// One with these routes, for a gateway that is to be started with [`Self::flags`].
    pub fn new(world: &World, name: &str, routes: &str) -> Self {
        let config = world.folder().join(format!("{name}.toml"));
        let edge = Self { world: world.clone(), port: Arc::new(Port::take()), config };
        edge.write(routes);
        edge
    }

    /// What `serve` is told.
    pub fn flags(&self) -> Vec<String> {
        let config = self.config.to_str().expect("a path of ours is text").to_owned();
        vec!["--edge-listen".into(), self.port.address(), "--config".into(), config]
    }

    /// The file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Says something else in the file, which nobody reads yet.
    pub fn write(&self, routes: &str) {
        std::fs::write(&self.config, routes).expect("a file is written");
    }

    /// `host:port`
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// As an origin.
    pub fn origin(&self) -> String {
        self.port.origin()
    }

    /// Any request.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        build: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self.world.http().request(method, format!("{}{path}", self.origin()));
        let response = within("the edge answers", build(request).send()).await.expect("the edge answers");
        Answer::read(response, self.world.secrets()).await.expect("the answer is whole")
    }

    /// `GET` with a token.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, |request| request.bearer_auth(token)).await
    }

    /// A connection, byte by byte.
    pub async fn connect(&self) -> Raw {
        Raw { socket: TcpStream::connect(self.address()).await.expect("the edge listens"), read: Vec::new() }
    }

    /// Sends bytes, and reads all that comes until the edge closes the connection.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut connection = self.connect().await;
        connection.write(bytes).await;
        connection.rest().await
    }
}

/// A connection, byte by byte.
#[derive(Debug)]
pub struct Raw {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    /// Writes.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("the other side takes it");
    }

    /// No more will be written.
    pub async fn finish(&mut self) {
        self.socket.shutdown().await.expect("a socket is shut down");
    }

    /// Reads up to and including `end`.
    pub async fn until(&mut self, end: &str) -> String {
        within(&format!("{end:?} comes"), async {
            loop {
                if let Some(at) = self.read.windows(end.len()).position(|w| w == end.as_bytes()) {
                    let part: Vec<u8> = self.read.drain(..at + end.len()).collect();
                    return String::from_utf8_lossy(&part).into_owned();
                }
                if self.fill().await == 0 {
                    panic!("{end:?} did not come, only {:?}", String::from_utf8_lossy(&self.read));
                }
            }
        })
        .await
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        within("bytes come", async {
            while self.read.len() < length {
                assert_ne!(self.fill().await, 0, "the connection was closed");
            }
            self.read.drain(..length).collect()
        })
        .await
    }

    /// Reads until the connection is closed, in whichever way.
    pub async fn rest(&mut self) -> String {
        within("the connection is closed", async { while self.fill().await > 0 {} }).await;
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    async fn fill(&mut self) -> usize {
        self.socket.read_buf(&mut self.read).await.unwrap_or(0)
    }
}
