//! Waiting until a server of ours says that it is ready.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{self, Server};

/// How long a server may take from its start to its first "ready"; migrations on a slow disk included.
const BOUND: Duration = Duration::from_secs(30);

/// Waits for 200 from `GET /readyz` on `port` of loopback; an error when the server ends before that.
pub(crate) fn wait(server: &mut Server, name: &str, port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < BOUND {
        server.check()?;
        if is_ready(port).unwrap_or(false) {
            return Ok(());
        }
        process::pause()?;
    }
    bail!("{name} did not become ready within {} s; {}", BOUND.as_secs(), server.last_words())
}

/// An error that says how to choose another when `port` of loopback is taken.
pub(crate) fn port_is_free(port: u16, whose: &str, flag: &str) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {port}, which the {whose} wants, is taken by another program\n  \
             stop that one (another demo?), or choose another port: cargo xtask demo {flag} {}",
            if port < 65_000 { port + 100 } else { port - 100 }
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on port {port}")),
    }
}

fn is_ready(port: u16) -> std::io::Result<bool> {
    let limit = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head.ends_with(b" 200"))
}
