//! A route: which requests, who may, and where they go.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use miid_protocol::ClientId;
use serde::Deserialize;

use super::path::{Match, PathRule};
use crate::edge::metrics::RouteMetrics;
use crate::edge::upstreams::wellbeing::{Verdict, Wellbeing};

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
    /// How it has been doing: one for all routes that lead there, kept over reloads.
    pub(crate) well: Arc<Wellbeing>,
    /// What it says when it is asked as this route wants: one for all routes that ask it alike.
    pub(crate) verdict: Arc<Verdict>,
}

/// How upstreams are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Health {
    pub(crate) protocol: Protocol,
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
    /// Whether the upstream is told in `Forwarded`, too, where a request came from.
    pub(crate) forwarded: bool,
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
    /// The method is written in small letters: a server behind may take it for the one that is not.
    SmallLetters,
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
        let mut known = Known::default();
        for route in &mut routes {
            known.share(route);
        }
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
        let mut known = Known::default();
        for route in &before.routes {
            known.add(route);
        }
        for route in self.routes.iter_mut().filter_map(Arc::get_mut) {
            known.share(route);
        }
    }

    /// A route of this path, for whichever method.
    pub(crate) fn at(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.path.matches(path) == Match::Yes)
    }

    /// The route of a request, by its normalised path. Where only capitals keep it from one that says more, nothing
    /// is there: a server behind that does not look at them must not be reached by the way of a weaker route.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<&Arc<Route>, Missed> {
        if method.as_str().bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(Missed::SmallLetters);
        }
        let mut missed = Missed::Path;
        for route in &self.routes {
            match (route.path.matches(path), route.takes(method)) {
                (Match::No, _) => {}
                (Match::Yes, true) => return Ok(route),
                (Match::Yes, false) => missed = Missed::Method,
                (Match::ButForCapitals, true) => return Err(Missed::Path),
                (Match::ButForCapitals, false) => {}
            }
        }
        Err(missed)
    }
}

/// How upstreams have been doing, by address and by what they are asked.
#[derive(Default)]
struct Known {
    well: HashMap<Arc<str>, Arc<Wellbeing>>,
    verdicts: HashMap<(Arc<str>, Health), Arc<Verdict>>,
}

impl Known {
    fn add(&mut self, route: &Route) {
        for upstream in &route.upstreams {
            self.well.insert(upstream.address.clone(), upstream.well.clone());
            if let Some(health) = &route.health {
                self.verdicts.insert((upstream.address.clone(), health.clone()), upstream.verdict.clone());
            }
        }
    }

    /// Has a route's upstreams be what is known under their names; what is not known is from now on.
    fn share(&mut self, route: &mut Route) {
        for upstream in &mut route.upstreams {
            let well = self.well.entry(upstream.address.clone()).or_insert_with(|| upstream.well.clone());
            upstream.well = well.clone();
            if let Some(health) = &route.health {
                let asked = (upstream.address.clone(), health.clone());
                let verdict = self.verdicts.entry(asked).or_insert_with(|| upstream.verdict.clone());
                upstream.verdict = verdict.clone();
            }
        }
    }
}
