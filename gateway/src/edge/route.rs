//! A route: which requests, who may, and where they go.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use miid_protocol::ClientId;
use serde::Deserialize;

use super::metrics::RouteMetrics;
use super::path::PathRule;
use super::upstream::Wellbeing;

/// How much is asked of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Nothing.
    Public,
    /// An access token.
    General,
    /// An access token, and a page or socket of that session that is open now.
    Critical,
}

/// What is done with a cached token while the store cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreAway {
    /// It is believed until its time in the cache is over.
    ServeCached,
    /// Nobody is let in.
    Refuse,
}

/// What the upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 without TLS, known in advance.
    H2c,
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    /// Without a byte of either body.
    pub(crate) idle: Duration,
    pub(crate) total: Option<Duration>,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// `host:port`
    pub(crate) address: Arc<str>,
    /// How it has been doing; kept over reloads.
    pub(crate) well: Arc<Wellbeing>,
}

/// How upstreams are asked whether they are well.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub(crate) path: String,
    pub(crate) every: Duration,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) path: PathRule,
    /// None means all.
    pub(crate) methods: Vec<Method>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) protocol: Protocol,
    pub(crate) kind: Kind,
    /// Whose tokens count.
    pub(crate) audience: Option<ClientId>,
    pub(crate) scopes: Vec<String>,
    /// How old a step-up may be, where one is asked for.
    pub(crate) step_up: Option<Duration>,
    /// Whether the edge asks for an open socket itself; else the upstream does.
    pub(crate) ask_active: bool,
    pub(crate) store_away: StoreAway,
    pub(crate) pass_authorization: bool,
    pub(crate) max_body: u64,
    pub(crate) retries: u32,
    pub(crate) timeouts: Timeouts,
    pub(crate) health: Option<Health>,
    /// Whose turn it is.
    pub(crate) turn: AtomicUsize,
    pub(crate) metrics: OnceLock<RouteMetrics>,
}

impl Route {
    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Whether some request would fit both, as far as methods go.
    pub(crate) fn shares_a_method(&self, other: &Self) -> bool {
        self.methods.is_empty()
            || other.methods.is_empty()
            || self.methods.iter().any(|method| other.methods.contains(method))
    }
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Nothing is there.
    Path,
    /// Something is, for other methods.
    Method,
}

/// All routes of one moment, those that say more first.
#[derive(Debug)]
pub struct Table {
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) cache_time: Duration,
    pub(crate) access_log: bool,
}

impl Table {
    pub(crate) fn new(mut routes: Vec<Route>, cache_time: Duration, access_log: bool) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.rank()));
        Self { routes: routes.into_iter().map(Arc::new).collect(), cache_time, access_log }
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Has the upstreams that were there before go on as they were.
    pub(crate) fn carry_over(&mut self, before: &Self) {
        let known: HashMap<&str, &Arc<Wellbeing>> = before
            .routes
            .iter()
            .flat_map(|route| &route.upstreams)
            .map(|upstream| (&*upstream.address, &upstream.well))
            .collect();
        for route in self.routes.iter_mut().filter_map(Arc::get_mut) {
            for upstream in &mut route.upstreams {
                if let Some(well) = known.get(&*upstream.address) {
                    upstream.well = (*well).clone();
                }
            }
        }
    }

    /// A route of this path, for whichever method.
    pub(crate) fn at(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.path.matches(path))
    }

    /// The route of a request, by its normalised path.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<&Arc<Route>, Missed> {
        let mut missed = Missed::Path;
        for route in self.routes.iter().filter(|route| route.path.matches(path)) {
            if route.takes(method) {
                return Ok(route);
            }
            missed = Missed::Method;
        }
        Err(missed)
    }
}
