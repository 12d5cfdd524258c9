//! Starting and stopping: open what is needed, accept connections, and at the end let requests in
//! flight finish within a bound.

use std::future::{Future, poll_fn};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use miid_protocol::Issuer;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Settings;
use crate::edge::{self, Edge};
use crate::http::{self, AppState, Peer};
use crate::leases::Leases;
use crate::store::Store;
use crate::streams::EventStream;
use crate::{cli, keys, streams, takeover, upkeep};

/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How often the metrics' samples are put into their buckets.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// hyper's smallest; our requests are small, and there are many connections.
const CONNECTION_BUFFER: usize = 8 * 1024;

/// Serves until `stop` is there, then ends streams, lets requests finish, and returns.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    init_logs(settings.log_json);
    // Before anything is said: whoever asks to have the file read again must not end the program.
    let hangups = signal(SignalKind::hangup())?;
    let edge = match settings.edge_listen {
        Some(address) => Some((bind(address).await?, routes(&settings)?)),
        None => None,
    };
    let listener = bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let issuer = match settings.issuer.clone() {
        Some(issuer) => issuer,
        None => Issuer::parse(&format!("http://{address}"))
            .map_err(|e| anyhow::anyhow!("{e}: give this gateway a name with --issuer"))?,
    };
    let key_path = cli::prepared(&settings.place)?;
    let keys = Arc::new(keys::load_or_create(&key_path)?);
    let mut options = settings.place.options(true);
    options.sqlite_normal = settings.sqlite_normal;
    let store = Store::open(&options, Clock::system()).await?;
    store.bind_keys(keys.fingerprint()).await?;
    let control = upkeep::load_control(&store, &keys, &issuer, settings.lifetimes.longest_token()).await?;
    let metrics = match settings.metrics_listen {
        Some(address) => Some((bind(address).await?, http::install_metrics()?)),
        None => None,
    };

    let app = AppState::new(store, keys, issuer, settings, control);
    let stopping = CancellationToken::new();
    let background = TaskTracker::new();
    background.spawn(upkeep::run(app.clone(), stopping.clone()));
    if let Some(pool) = app.store.postgres() {
        background.spawn(streams::listen(pool.clone(), app.store.hub().clone(), stopping.clone()));
    }
    say(&format!("listening on http://{address}"))?;
    if let Some((listener, handle)) = metrics {
        say(&format!("metrics on http://{}", listener.local_addr()?))?;
        background.spawn(tidy_metrics(handle.clone(), stopping.clone()));
        background.spawn(accept(
            listener,
            http::metrics_router(handle),
            64,
            stopping.clone(),
            Duration::ZERO,
        ));
    }
    tracing::info!(%address, issuer = %app.issuer, "serving");

    let serving = CancellationToken::new();
    let mut edge_ends = None;
    if let Some((listener, table)) = edge {
        say(&format!("edge on http://{}", listener.local_addr()?))?;
        let leases = Leases::new(app.store.clone());
        let config = app.settings.config_file.clone();
        let edge = Edge::new(app.clone(), leases, table, config, serving.clone());
        background.spawn(edge::watch_over(edge.clone(), hangups, stopping.clone()));
        let (bound, grace) = (app.settings.bounds.edge_connections, app.settings.grace());
        edge_ends = Some(tokio::spawn(edge::start(edge, listener, bound, serving.clone(), grace)));
    } else {
        background.spawn(nothing_to_read_again(hangups, stopping.clone()));
    }
    let connections = tokio::spawn(accept(
        listener,
        http::router(app.clone()),
        app.settings.bounds.max_connections,
        serving.clone(),
        app.settings.grace(),
    ));
    stop.await;
    tracing::info!("stopping");
    app.draining.store(true, Ordering::Relaxed);
    serving.cancel();
    if let Some(edge) = edge_ends {
        // Its leases are told of ends through the hub: that closes when nothing hangs on them any more.
        edge.await??;
    }
    app.store.hub().close();
    let _ = connections.await;
    stopping.cancel();
    background.close();
    background.wait().await;
    app.store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// SIGHUP where there is no edge.
async fn nothing_to_read_again(mut hangups: Signal, stop: CancellationToken) {
    while stop.run_until_cancelled(hangups.recv()).await.flatten().is_some() {
        tracing::info!("SIGHUP: only the edge's routes are read again, and there is no edge (--edge-listen)");
    }
}

/// The edge's routes, without which its listener would be of no use.
fn routes(settings: &Settings) -> anyhow::Result<crate::edge::routes::route::Table> {
    let file = settings.config_file.as_deref();
    let file = file.context("--edge-listen needs a configuration file with routes (--config)")?;
    Ok(crate::edge::routes::config::read_to_serve(file)?)
}

/// SIGTERM or Ctrl-C.
pub async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// One connection, one task, at most `bound` of them.
async fn accept(
    listener: TcpListener,
    router: Router,
    bound: usize,
    stop: CancellationToken,
    grace: Duration,
) {
    let slots = Arc::new(Semaphore::new(bound));
    let open = TaskTracker::new();
    let now = CancellationToken::new();
    loop {
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let Ok(slot) = slot else { break };
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Out of files, most likely: somebody else's end makes room.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (router, stop, now) = (router.clone(), stop.clone(), now.clone());
        open.spawn(async move {
            tokio::select! {
                () = connection(stream, peer, router, stop) => {}
                () = now.cancelled() => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(grace, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "closing connections that did not end in time");
        now.cancel();
        open.wait().await;
    }
}

/// Samples are kept until they are put into their buckets, also when nobody reads the metrics.
async fn tidy_metrics(handle: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(METRICS_UPKEEP)).await.is_some() {
        handle.run_upkeep();
    }
}

async fn connection(socket: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let _ = socket.set_nodelay(true);
    let slot = takeover::Slot::default();
    let requests = slot.clone();
    let service = tower::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        use tower::ServiceExt as _;
        let extensions = request.extensions_mut();
        extensions.insert(Peer(peer.ip()));
        extensions.insert(requests.clone());
        router.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(CONNECTION_BUFFER);
    let socket = TokioIo::new(takeover::Watched::new(socket, slot.clone()));
    let mut connection = builder.serve_connection(socket, TowerToHyperService::new(service));
    let stopped = stop.cancelled();
    tokio::pin!(stopped);
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Ended::Connection(ended)),
            Poll::Pending => slot.take().map_or(Poll::Pending, |stream| Poll::Ready(Ended::Head(stream))),
        }
    })
    .await;
    let ended = match ended {
        Ended::Connection(ended) => ended.map_err(anyhow::Error::from),
        Ended::Head(stream) => {
            let socket = connection.into_parts().io.into_inner().into_inner();
            takeover::serve(socket, stream).await.map_err(anyhow::Error::from)
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What a connection came to: its end, or the head of an event stream's response.
enum Ended {
    Connection(hyper::Result<()>),
    Head(EventStream),
}

/// One line on standard output, for whoever started the program and waits for it.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}

fn init_logs(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIID_GATEWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colour is for eyes, not for files.
        .with_ansi(std::io::stderr().is_terminal());
    // A second call, in tests, changes nothing.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
}
