//! A cable between a program and its server, which can be cut and mended.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Whole until it is cut.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Cable {
    /// To whatever listens on `to`.
    pub async fn new(to: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (whole, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, to.clone(), seen.clone()));
            }
        });
        Self { address, whole }
    }

    /// This end of it, as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What is open breaks off, and nothing new comes about.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// As before.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, to: String, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !*whole) => {}
    }
}
