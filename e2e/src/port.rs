//! Ports that stay ours while nobody listens on them, so that a program can come back on its own.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

use crate::clock;

/// Below the range from which the kernel gives ports to outgoing connections: one of those must not sit on the
/// port of a program that is being restarted.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of loopback, ours until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // Locked: other test processes of this machine leave the port alone.
    _lock: File,
}

impl Port {
    /// Takes a free one.
    pub fn take() -> Self {
        let folder = std::env::temp_dir().join("miid-e2e-ports");
        std::fs::create_dir_all(&folder).expect("a folder for the locks of ports");
        for _ in 0..1000 {
            let number = FIRST + u16::from_le_bytes(clock::random()) % COUNT;
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(number.to_string()))
                .expect("a lock of a port");
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT)
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:port`, for `--listen`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }

    /// `http://127.0.0.1:port`
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}
