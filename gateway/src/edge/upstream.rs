//! How upstreams are doing, and which one is next. Two things tell: requests that fail (passive; five in a row
//! and it is left alone for a while) and questions asked on purpose (active; where the operator named a path).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Edge;
use super::route::{Health, Route, Upstream};

/// Failures in a row before an upstream is left alone …
const FAILURES: u32 = 5;
/// … for so long.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// How an upstream has been doing.
#[derive(Debug)]
pub(crate) struct Wellbeing {
    failures: AtomicU32,
    begun: Instant,
    /// In milliseconds since `begun`.
    left_alone_until: AtomicU64,
    sick: AtomicBool,
}

impl Default for Wellbeing {
    fn default() -> Self {
        Self {
            failures: AtomicU32::new(0),
            begun: Instant::now(),
            left_alone_until: AtomicU64::new(0),
            sick: AtomicBool::new(false),
        }
    }
}

impl Wellbeing {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// It answered.
    pub(crate) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.left_alone_until.store(0, Ordering::Relaxed);
        }
    }

    /// It did not.
    pub(crate) fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            let until = self.now().saturating_add(LEFT_ALONE.as_millis() as u64);
            self.left_alone_until.store(until, Ordering::Relaxed);
        }
    }

    fn is_left_alone(&self) -> bool {
        let until = self.left_alone_until.load(Ordering::Relaxed);
        until != 0 && self.now() < until
    }

    fn is_sick(&self) -> bool {
        self.sick.load(Ordering::Relaxed)
    }
}

impl Route {
    /// The upstream whose turn it is, past those that were tried. One that is left alone is better than none;
    /// one that said itself that it is not well is not.
    pub(crate) fn choose(&self, tried: &[usize]) -> Option<(usize, &Upstream)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.upstreams.len();
        let usable = || {
            (0..count)
                .map(move |i| turn.wrapping_add(i) % count)
                .filter(|i| !tried.contains(i) && !self.upstreams[*i].well.is_sick())
        };
        let chosen =
            usable().find(|i| !self.upstreams[*i].well.is_left_alone()).or_else(|| usable().next())?;
        Some((chosen, &self.upstreams[chosen]))
    }
}

/// Asks the upstreams that want to be asked, until it is dropped. One task for each of them, as long as it stands
/// in the table.
pub(crate) async fn watch(edge: Arc<Edge>) {
    let mut watched: Vec<(String, tokio::task::AbortHandle)> = Vec::new();
    let mut changed = edge.changes();
    loop {
        let table = edge.table();
        let wanted: Vec<(String, Upstream, Health)> = table
            .routes
            .iter()
            .filter_map(|route| Some((route, route.health.clone()?)))
            .flat_map(|(route, health)| {
                route.upstreams.iter().map(move |upstream| {
                    let key = format!("{} {} {:?}", upstream.address, health.path, health.every);
                    (key, upstream.clone(), health.clone())
                })
            })
            .collect();
        watched.retain(|(key, task)| {
            let stays = wanted.iter().any(|(wanted, ..)| wanted == key);
            if !stays {
                task.abort();
            }
            stays
        });
        // Who is not asked any more is not sick for ever.
        for upstream in table.routes.iter().filter(|r| r.health.is_none()).flat_map(|r| &r.upstreams) {
            upstream.well.sick.store(false, Ordering::Relaxed);
        }
        for (key, upstream, health) in wanted {
            if !watched.iter().any(|(known, _)| *known == key) {
                watched.push((key, tokio::spawn(ask_on(upstream, health)).abort_handle()));
            }
        }
        if changed.changed().await.is_err() {
            break;
        }
    }
    for (_, task) in watched {
        task.abort();
    }
}

async fn ask_on(upstream: Upstream, health: Health) {
    let mut ticks = tokio::time::interval(health.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let within = health.every.clamp(Duration::from_millis(100), Duration::from_secs(5));
        let well = matches!(tokio::time::timeout(within, ask(&upstream, &health.path)).await, Ok(Ok(true)));
        if upstream.well.sick.swap(!well, Ordering::Relaxed) == well {
            tracing::warn!(upstream = %upstream.address, well, "an upstream's health changed");
        }
    }
}

async fn ask(upstream: &Upstream, path: &str) -> anyhow::Result<bool> {
    let socket = TcpStream::connect(&*upstream.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::get(path).header("host", &*upstream.address).body(Empty::<Bytes>::new())?;
    tokio::select! {
        answer = sender.send_request(request) => Ok((StatusCode::OK..StatusCode::MULTIPLE_CHOICES).contains(&answer?.status())),
        ended = connection => { ended?; Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_five_times_in_a_row_is_left_alone_unless_there_is_nobody_else() {
        let text = "[[edge.route]]\nname=\"r\"\nprefix=\"/\"\nkind=\"public\"\nupstreams=[\"http://a:1\",\"http://b:1\"]";
        let table = super::super::config::parse(text, std::path::Path::new("x")).expect("a route");
        let route = &table.routes[0];
        let chosen = || (0..4).filter_map(|_| route.choose(&[]).map(|(i, _)| i)).collect::<Vec<_>>();
        assert_eq!(chosen(), [0, 1, 0, 1]);
        for _ in 0..FAILURES {
            route.upstreams[0].well.failed();
        }
        assert_eq!(chosen(), [1, 1, 1, 1]);
        assert_eq!(route.choose(&[1]).map(|(i, _)| i), Some(0), "better than none");
        route.upstreams[0].well.answered();
        assert!(chosen().contains(&0));
        route.upstreams[0].well.sick.store(true, Ordering::Relaxed);
        assert_eq!(chosen(), [1, 1, 1, 1]);
        assert!(route.choose(&[1]).is_none());
    }
}
