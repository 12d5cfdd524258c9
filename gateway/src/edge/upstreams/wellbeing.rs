//! How upstreams are doing, and which one is next. Two things tell: requests that fail (passive; five in a row
//! and it is left alone for a while) and questions asked on purpose (active; where the operator named a path).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::edge::Edge;
use crate::edge::routes::route::{Health, Protocol, Route, Table, Upstream};

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
}

/// What an upstream said when it was asked on purpose; where it is not asked, nothing.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    sick: AtomicBool,
}

impl Verdict {
    fn is_sick(&self) -> bool {
        self.sick.load(Ordering::Relaxed)
    }
}

impl Default for Wellbeing {
    fn default() -> Self {
        Self { failures: AtomicU32::new(0), begun: Instant::now(), left_alone_until: AtomicU64::new(0) }
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
                .filter(|i| !tried.contains(i) && !self.upstreams[*i].verdict.is_sick())
        };
        let chosen =
            usable().find(|i| !self.upstreams[*i].well.is_left_alone()).or_else(|| usable().next())?;
        Some((chosen, &self.upstreams[chosen]))
    }
}

/// Asks the upstreams that want to be asked, until it is dropped. One task for each of them and each way to ask, as
/// long as it stands in the table; all routes that want the same share what comes of it.
pub(crate) async fn watch(edge: Arc<Edge>) {
    let mut watched: Vec<(Arc<Verdict>, tokio::task::AbortHandle)> = Vec::new();
    let mut changed = edge.changes();
    loop {
        let wanted = wanted(&edge.table());
        watched.retain(|(verdict, task)| {
            let stays = wanted.iter().any(|(upstream, _)| Arc::ptr_eq(&upstream.verdict, verdict));
            if !stays {
                task.abort();
            }
            stays
        });
        for (upstream, health) in wanted {
            if !watched.iter().any(|(known, _)| Arc::ptr_eq(known, &upstream.verdict)) {
                let verdict = upstream.verdict.clone();
                watched.push((verdict, tokio::spawn(ask_on(upstream, health)).abort_handle()));
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

/// Who is to be asked and how. A verdict stands in a table once for each address and way to ask.
fn wanted(table: &Table) -> Vec<(Upstream, Health)> {
    let asking = table.routes.iter().filter_map(|route| Some((route, route.health.as_ref()?)));
    asking
        .flat_map(|(route, health)| route.upstreams.iter().map(|upstream| (upstream.clone(), health.clone())))
        .collect()
}

async fn ask_on(upstream: Upstream, health: Health) {
    let mut ticks = tokio::time::interval(health.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let within = health.every.clamp(Duration::from_millis(100), Duration::from_secs(5));
        let well = matches!(tokio::time::timeout(within, ask(&upstream, &health)).await, Ok(Ok(true)));
        if upstream.verdict.sick.swap(!well, Ordering::Relaxed) == well {
            tracing::warn!(upstream = %upstream.address, well, "an upstream's health changed");
        }
    }
}

async fn ask(upstream: &Upstream, health: &Health) -> anyhow::Result<bool> {
    let io = TokioIo::new(TcpStream::connect(&*upstream.address).await?);
    let none = Empty::<Bytes>::new();
    let status = match health.protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            let request = Request::get(&health.path).header("host", &*upstream.address).body(none)?;
            tokio::select! {
                answer = sender.send_request(request) => answer?.status(),
                ended = connection => { ended?; return Ok(false) }
            }
        }
        Protocol::H2c => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            let request = Request::get(format!("http://{}{}", upstream.address, health.path)).body(none)?;
            tokio::select! {
                answer = sender.send_request(request) => answer?.status(),
                ended = connection => { ended?; return Ok(false) }
            }
        }
    };
    Ok(status.is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_five_times_in_a_row_is_left_alone_unless_there_is_nobody_else() {
        let text = "[[edge.route]]\nname=\"r\"\nprefix=\"/\"\nkind=\"public\"\nupstreams=[\"http://a:1\",\"http://b:1\"]";
        let table = crate::edge::routes::config::parse(text, std::path::Path::new("x")).expect("a route");
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
        route.upstreams[0].verdict.sick.store(true, Ordering::Relaxed);
        assert_eq!(chosen(), [1, 1, 1, 1]);
        assert!(route.choose(&[1]).is_none());
    }
    #[test]
    fn routes_that_ask_one_upstream_alike_share_what_it_says_also_after_a_reload() {
        let route = |name: &str, more: &str| {
            format!(
                "[[edge.route]]\nname=\"{name}\"\nprefix=\"/{name}\"\nkind=\"public\"\nupstreams=[\"http://a:1\"]\n{more}\n"
            )
        };
        let asking = "health_path=\"/healthz\"";
        let table = |routes: &[String]| {
            crate::edge::routes::config::parse(&routes.concat(), std::path::Path::new("x")).expect("routes")
        };
        let verdict = |table: &Table, name: &str| {
            let route = table.routes.iter().find(|route| *route.name == *name).expect("a route");
            route.upstreams[0].verdict.clone()
        };
        let before = table(&[
            route("one", asking),
            route("two", asking),
            route("three", ""),
            route("four", "health_path=\"/other\""),
        ]);
        assert!(Arc::ptr_eq(&verdict(&before, "one"), &verdict(&before, "two")));
        for other in ["three", "four"] {
            assert!(
                !Arc::ptr_eq(&verdict(&before, "one"), &verdict(&before, other)),
                "{other} does not ask that"
            );
        }
        let wells: Vec<_> = before.routes.iter().map(|route| &route.upstreams[0].well).collect();
        assert!(
            wells.iter().all(|well| Arc::ptr_eq(well, wells[0])),
            "requests tell of the upstream, not of a route"
        );
        assert_eq!(wanted(&before).len(), 3);

        let mut after = table(&[route("five", asking), route("two", asking)]);
        after.carry_over(&before);
        assert!(Arc::ptr_eq(&verdict(&after, "five"), &verdict(&before, "one")));
        assert!(Arc::ptr_eq(&verdict(&after, "five"), &verdict(&after, "two")));
        // Not asked for a while, and asked again: what it said long ago is over.
        let mut between = table(&[route("one", "")]);
        between.carry_over(&after);
        let mut again = table(&[route("one", asking)]);
        again.carry_over(&between);
        assert!(!Arc::ptr_eq(&verdict(&again, "one"), &verdict(&after, "five")));
    }
}
