//! A gateway that does what a test says: a listener on loopback, one request per connection, every request
//! kept. It checks proofs with the protocol's own code, so what it calls good would be good.

#![allow(dead_code, reason = "each test uses its part")]

pub mod requests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use miid_protocol::proof::{self, Proof};
use miid_protocol::{Issuer, Timestamp};
use miid_wallet::clock::Clock;
use miid_wallet::entropy::SystemEntropy;
use miid_wallet::memory::PassingMemory;
use miid_wallet::profile::Profile;
use miid_wallet::stream::StreamSettings;
use miid_wallet::update::Updates;
use miid_wallet::{GatewayClient, Identity, Wallet, WalletUpdate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const T: i64 = 1_800_000_000_000;
pub const MINUTE: i64 = 60_000;

/// A clock that a test sets.
pub struct Hand(pub AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub token: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn proof(&self, issuer: &Issuer, now_ms: i64) -> Result<Proof, proof::ProofError> {
        let request = proof::Request { method: &self.method, path: &self.path, body: self.body.as_bytes() };
        proof::verify(&self.token, request, issuer, now_ms / 1000)
    }

    pub fn is(&self, method: &str, end_of_path: &str) -> bool {
        self.method == method && self.path.ends_with(end_of_path)
    }
}

/// What goes out.
pub enum Reply {
    /// Status, more headers, JSON or other body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// A stream with this text that stays open.
    Stream(String),
    /// A stream with this text that ends.
    StreamAndEnd(String),
    /// A stream with whatever is sent here, as long as that lives.
    Live(tokio::sync::mpsc::UnboundedReceiver<String>),
    /// This, once the test says so (or goes).
    Later(tokio::sync::oneshot::Receiver<()>, Box<Reply>),
    /// The connection drops without an answer.
    Drop,
}

pub fn ok(body: impl Into<String>) -> Reply {
    Reply::Answer(200, vec![("content-type", "application/json".into())], body.into())
}

pub fn problem(code: miid_protocol::problem::ErrorCode) -> Reply {
    problem_with(code, Vec::new())
}

pub fn problem_with(code: miid_protocol::problem::ErrorCode, more: Vec<(&'static str, String)>) -> Reply {
    let body = serde_json::to_string(&miid_protocol::Problem::new(code)).expect("problem");
    let mut headers = vec![("content-type", "application/problem+json".to_owned())];
    headers.extend(more);
    Reply::Answer(code.status(), headers, body)
}

pub struct Scripted {
    pub issuer: Issuer,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// Answers by `script`, which gets the request and how many came before it.
    pub async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("address");
        let issuer = Issuer::parse(&format!("http://{address}")).expect("issuer");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, script) = (seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (kept, script) = (kept.clone(), script.clone());
                tokio::spawn(async move {
                    let Some(request) = read(&mut socket).await else { return };
                    let reply = {
                        let mut kept = kept.lock().expect("lock");
                        let before = kept.len();
                        kept.push(request.clone());
                        script(&request, before)
                    };
                    answer(&mut socket, reply).await;
                });
            }
        });
        Self { issuer, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("lock").clone()
    }

    pub fn count(&self, method: &str, end_of_path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(method, end_of_path)).count()
    }

    pub fn client_at(&self, clock: Arc<Hand>) -> GatewayClient {
        client_at(&self.issuer, clock)
    }

    pub fn client(&self) -> GatewayClient {
        self.client_at(Arc::new(Hand(AtomicI64::new(T))))
    }

    /// A wallet that has been told to follow, with a profile, and what it tells.
    pub fn wallet(&self, settings: StreamSettings) -> (Wallet, Arc<PassingMemory>, Updates) {
        wallet_at(&self.issuer, settings)
    }
}

pub fn client_at(issuer: &Issuer, clock: Arc<Hand>) -> GatewayClient {
    let identity = Arc::new(Identity::generate(&SystemEntropy).expect("random"));
    GatewayClient::with(identity, issuer.clone(), issuer.clone(), clock, Arc::new(SystemEntropy))
        .expect("client")
}

/// A wallet that has been told to follow, with a profile, and what it tells.
pub fn wallet_at(issuer: &Issuer, settings: StreamSettings) -> (Wallet, Arc<PassingMemory>, Updates) {
    wallet_by(issuer, settings, Arc::new(Hand(AtomicI64::new(T))))
}

/// The same by a clock of the caller's.
pub fn wallet_by(
    issuer: &Issuer,
    settings: StreamSettings,
    clock: Arc<Hand>,
) -> (Wallet, Arc<PassingMemory>, Updates) {
    let mut profile = Profile::default();
    profile.set("name", "Alice Kim").expect("set");
    let memory = Arc::new(PassingMemory::new(profile));
    let client = client_at(issuer, clock);
    let wallet = Wallet::new(client, memory.clone(), settings);
    let updates = wallet.subscribe();
    wallet.follow();
    (wallet, memory, updates)
}

/// Somebody else's DID.
pub fn stranger() -> miid_protocol::Did {
    Identity::generate(&SystemEntropy).expect("random").did().clone()
}

/// Waits for a state of this process, with a bound.
pub async fn eventually(holds: impl Fn() -> bool) {
    let reached = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("reached in time");
}

/// Quick reconnects.
pub fn quick() -> StreamSettings {
    StreamSettings {
        backoff_start: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        ..StreamSettings::default()
    }
}

/// Waits for an update, with a bound.
pub async fn until(updates: &mut Updates, wanted: impl Fn(&WalletUpdate) -> bool) -> WalletUpdate {
    let found = async {
        loop {
            let update = updates.next().await.expect("the wallet lives");
            if wanted(&update) {
                return update;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("told in time")
}

pub async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let value =
        |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
    let length: usize = value("content-length").map_or(Ok(0), |text| text.parse()).ok()?;
    while bytes.len() < head_end + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[head_end..].to_vec()).ok()?;
    // A retirement on paper comes without a proof.
    let token = value("authorization").unwrap_or_default();
    let token = token.strip_prefix("DIDProof ").unwrap_or_default().to_owned();
    Some(Seen { method, path, headers, body, token })
}

pub async fn answer(socket: &mut TcpStream, reply: Reply) {
    match reply {
        Reply::Drop => {}
        Reply::Answer(status, headers, body) => {
            let mut head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let _ = socket.write_all(format!("{head}\r\n{body}").as_bytes()).await;
        }
        Reply::Stream(text) => {
            stream(socket, &text).await;
            // Held open until the other side goes.
            let _ = socket.read(&mut [0]).await;
        }
        Reply::StreamAndEnd(text) => stream(socket, &text).await,
        Reply::Later(said, reply) => {
            let _ = said.await;
            Box::pin(answer(socket, *reply)).await;
        }
        Reply::Live(mut texts) => {
            stream(socket, ": alive\n\n").await;
            let mut byte = [0];
            loop {
                tokio::select! {
                    text = texts.recv() => match text {
                        Some(text) => drop(socket.write_all(text.as_bytes()).await),
                        None => return,
                    },
                    _ = socket.read(&mut byte) => return,
                }
            }
        }
    }
}

pub async fn stream(socket: &mut TcpStream, text: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let _ = socket.write_all(format!("{head}{text}").as_bytes()).await;
}
