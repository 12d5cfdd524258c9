//! The listener and its workers, and what goes on beside them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::Seat;
use super::connection;
use super::rarely::Rarely;
use super::socket;
use crate::edge::Edge;
use crate::edge::upstreams::pool;
use crate::edge::upstreams::wellbeing;

/// How often a worker closes connections that idle.
const TIDY_POOL: Duration = Duration::from_secs(10);
/// How often it is looked whether the keys are still the same …
const LOOK_AT_KEYS: Duration = Duration::from_millis(250);
/// … and after how many looks tokens that are over are forgotten.
const TIDY_CACHE: u32 = 40;

/// What connections take at most that are closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A connection on its way to a worker.
type Accepted = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Accepts connections and hands them to workers, at most `bound` at once, until stopped; then waits `grace` for
/// what is under way.
pub async fn start(
    edge: Arc<Edge>,
    listener: TcpListener,
    bound: usize,
    stop: CancellationToken,
    grace: Duration,
) -> anyhow::Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut to, mut ended) = (Vec::new(), Vec::new());
    for i in 0..workers {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (done, is_done) = oneshot::channel();
        let (edge, stop) = (edge.clone(), stop.clone());
        std::thread::Builder::new()
            .name(format!("edge-{i}"))
            .spawn(move || {
                work(edge, receiver, stop, grace);
                let _ = done.send(());
            })
            .context("cannot start a worker of the edge")?;
        to.push(sender);
        ended.push(is_done);
    }
    accept(listener, &to, bound, &stop).await;
    drop(to);
    for is_done in ended {
        let _ = is_done.await;
    }
    Ok(())
}

async fn accept(
    listener: TcpListener,
    to: &[mpsc::UnboundedSender<Accepted>],
    bound: usize,
    stop: &CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(bound));
    for turn in 0usize.. {
        let Some(Ok(slot)) = stop.run_until_cancelled(slots.clone().acquire_owned()).await else { return };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { return };
        let handed = accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer)));
        match handed {
            Ok((socket, peer)) => {
                let _ = to[turn % to.len()].send((socket, peer, slot));
            }
            // Out of files, most likely: somebody else's end makes room.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection at the edge");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One worker's life.
fn work(
    edge: Arc<Edge>,
    mut accepted: mpsc::UnboundedReceiver<Accepted>,
    stop: CancellationToken,
    grace: Duration,
) {
    // Looking for new events after every few tasks is for programs whose tasks are long.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(31).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a worker of the edge could not start"),
    };
    runtime.block_on(async move {
        tokio::spawn(socket::write_on());
        let open = TaskTracker::new();
        let now = CancellationToken::new();
        let mut tidy = tokio::time::interval(TIDY_POOL);
        loop {
            tokio::select! {
                next = accepted.recv() => {
                    let Some((socket, peer, slot)) = next else { break };
                    let Ok(socket) = TcpStream::from_std(socket) else { continue };
                    let (edge, stop, now) = (edge.clone(), stop.clone(), now.clone());
                    let seat = Seat::new(slot, open.token());
                    tokio::spawn(async move {
                        tokio::select! {
                            biased;
                            () = connection::serve(edge, socket, peer, stop, seat) => {}
                            () = Rarely::new(now.cancelled()) => {}
                        }
                    });
                }
                _ = tidy.tick() => pool::tidy(),
            }
        }
        open.close();
        if tokio::time::timeout(grace, open.wait()).await.is_err() {
            tracing::warn!(
                connections = open.len(),
                "closing connections at the edge that did not end in time"
            );
            now.cancel();
            // What is left ends with the runtime.
            let _ = tokio::time::timeout(LAST_WORDS, open.wait()).await;
        }
    });
}

/// Everything that goes on beside the listener, until stopped: leases, log, health, reload.
pub async fn watch_over(edge: Arc<Edge>, hangups: Signal, stop: CancellationToken) {
    let tidying = async {
        let mut ticks = tokio::time::interval(LOOK_AT_KEYS);
        let mut known = std::sync::Weak::new();
        for turn in 0u32.. {
            ticks.tick().await;
            edge.tidy(&mut known, turn % TIDY_CACHE == 0);
        }
    };
    let beside = async {
        tokio::join!(edge.leases.clone().run(stop.clone()), edge.log.run(stop.clone()));
    };
    tokio::select! {
        () = beside => {}
        () = tidying => {}
        () = reload(&edge, hangups) => {}
        () = wellbeing::watch(edge.clone()) => {}
    }
}

/// SIGHUP: the configuration is read again.
async fn reload(edge: &Edge, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        edge.reload();
    }
}
