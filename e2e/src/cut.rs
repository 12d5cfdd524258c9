//! A cable between a program and its server, which can be cut and mended, and over which connections can fall silent.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Whole until it is cut.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    /// Connections that began before the last one of these carry nothing any more.
    silences: watch::Sender<u64>,
}

impl Cable {
    /// To whatever listens on `to`.
    pub async fn new(to: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (whole, seen) = watch::channel(true);
        let (silences, heard) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, to.clone(), seen.clone(), heard.clone()));
            }
        });
        Self { address, whole, silences }
    }

    /// This end of it, as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What is open breaks off, and nothing new comes about.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// What is open stays open, and carries nothing any more, as behind a router that has forgotten it; what is
    /// opened from now on is whole.
    pub fn silence_what_is_open(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }

    /// As before.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(
    mut near: TcpStream,
    to: String,
    mut whole: watch::Receiver<bool>,
    mut silences: watch::Receiver<u64>,
) {
    silences.mark_unchanged();
    if !*whole.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    let silence = async {
        if silences.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let silent = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => false,
        () = silence => true,
        _ = whole.wait_for(|whole| !*whole) => false,
    };
    if silent {
        // Neither end is told, until it is cut.
        let _ = whole.wait_for(|whole| !*whole).await;
    }
}
