//! What is counted. Handles are made once: looking one up by its labels costs more than a cached token does.

use metrics::{Counter, Histogram};

use super::routes::route::Route;

/// Of the whole edge.
pub(crate) struct EdgeMetrics {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) key_lookups: Counter,
}

impl EdgeMetrics {
    pub(crate) fn new() -> Self {
        metrics::describe_counter!(
            "miid_edge_tokens_total",
            "Access tokens looked at, found in the cache or not"
        );
        metrics::describe_counter!(
            "miid_edge_requests_total",
            "Requests at the edge by route and class of status"
        );
        metrics::describe_counter!(
            "miid_edge_refusals_total",
            "Requests that the edge let not through, by reason"
        );
        metrics::describe_histogram!(
            "miid_edge_upstream_seconds",
            "From a request's sending to its answer's head"
        );
        metrics::describe_histogram!(
            "miid_edge_revoke_seconds",
            "From a session's end to its refusal at this edge"
        );
        metrics::describe_counter!(
            "miid_edge_key_lookups_total",
            "Times that keys were read again because a token named one that is not known"
        );
        metrics::describe_gauge!("miid_edge_cached_tokens", "Access tokens in the cache");
        metrics::describe_gauge!("miid_leases", "Sessions that something hangs on here");
        let looked = |found: &'static str| metrics::counter!("miid_edge_tokens_total", "cache" => found);
        Self {
            hits: looked("hit"),
            misses: looked("miss"),
            key_lookups: metrics::counter!("miid_edge_key_lookups_total"),
        }
    }
}

/// Of one route.
pub(crate) struct RouteMetrics {
    pub(crate) upstream: Histogram,
    classes: [Counter; 6],
}

impl std::fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RouteMetrics")
    }
}

impl Route {
    pub(crate) fn metrics(&self) -> &RouteMetrics {
        self.metrics.get_or_init(|| RouteMetrics {
            upstream: metrics::histogram!("miid_edge_upstream_seconds", "route" => self.name.to_string()),
            classes: ["0", "1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| {
                metrics::counter!("miid_edge_requests_total", "route" => self.name.to_string(), "status" => class)
            }),
        })
    }
}

impl RouteMetrics {
    /// One more answer.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        if let Some(counter) = self.classes.get(usize::from(status.as_u16() / 100)) {
            counter.increment(1);
        }
    }
}

/// One more request that was let not through.
pub(crate) fn refused(reason: &'static str) {
    metrics::counter!("miid_edge_refusals_total", "reason" => reason).increment(1);
}
