//! Requests at 64 connections, one at a time on each, and the server behind that answers them. Both do as little
//! as they can: they share a core, and must not be what is measured.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Result;
use super::numbers::{quantile, sorted};

/// Connections at once.
pub const CONNECTIONS: usize = 64;

/// Answers every request with the same few bytes, until it is dropped; says where it is.
pub async fn upstream() -> Result<String> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{\"orders\":[1,2,3],\"next\":0}";
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::task::spawn_local(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            tokio::task::spawn_local(async move {
                let mut input = Vec::with_capacity(16 * 1024);
                while let Ok(1..) = socket.read_buf(&mut input).await {
                    // No request here has a body.
                    while let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
                        input.drain(..end + 4);
                        if socket.write_all(ANSWER).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

/// What one round gave.
pub struct Round {
    /// Requests per second.
    pub per_second: f64,
    /// Milliseconds.
    pub p99_ms: f64,
    /// Requests in the time that was measured.
    pub requests: f64,
}

/// Sends `request(i)` for i = 0, 1, … until the time is over or there are no more; every answer must be a 200.
/// `measured` is called at the beginning and at the end of what counts.
pub async fn round(
    address: &str,
    requests: Rc<dyn Fn(usize) -> Option<Vec<u8>>>,
    seconds: u64,
    mut measured: impl FnMut(),
) -> Result<Round> {
    let next = Rc::new(Cell::new(0));
    let warm = Instant::now() + Duration::from_millis(700);
    let end = warm + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (next, requests) = (next.clone(), requests.clone());
        tasks.push(tokio::task::spawn_local(async move {
            let (mut times, mut input) = (Vec::with_capacity(100_000), Vec::with_capacity(16 * 1024));
            loop {
                let begun = Instant::now();
                if begun >= end {
                    break;
                }
                let i = next.get();
                next.set(i + 1);
                let Some(request) = requests(i) else { break };
                socket.write_all(&request).await?;
                answer(&mut socket, &mut input).await?;
                if begun >= warm {
                    times.push(begun.elapsed().as_secs_f64());
                }
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
        }));
    }
    tokio::time::sleep_until(warm.into()).await;
    measured();
    let begun = Instant::now();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = begun.elapsed().as_secs_f64();
    measured();
    let times = sorted(times);
    Ok(Round {
        per_second: times.len() as f64 / took,
        p99_ms: quantile(&times, 0.99) * 1e3,
        requests: times.len() as f64,
    })
}

/// Reads one answer with a length.
async fn answer(socket: &mut TcpStream, input: &mut Vec<u8>) -> Result<()> {
    input.clear();
    loop {
        if socket.read_buf(input).await? == 0 {
            return Err("a connection was closed".into());
        }
        let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = &input[..end + 4];
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(input).into_owned().into());
        }
        let name = b"content-length: ";
        let at = head
            .windows(name.len())
            .position(|w| w.eq_ignore_ascii_case(name))
            .ok_or("an answer without a length")?;
        let digits = head[at + name.len()..].iter().take_while(|b| b.is_ascii_digit());
        let length = digits.fold(0usize, |length, digit| length * 10 + usize::from(digit - b'0'));
        if input.len() >= end + 4 + length {
            return Ok(());
        }
    }
}
