//! Metrics, on a listener of their own. Labels are route templates, never paths: what stands in a
//! path may be an id, and what stands in a query anything.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the histograms, in seconds.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Upper bounds where microseconds matter.
const MOMENTS: &[f64] = &[
    0.00001, 0.00002, 0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1.0,
];

/// Counts requests by route, method and status.
pub(super) async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = known_method(request.method());
    let response = next.run(request).await;
    let labels = [
        ("route", route.unwrap_or_else(|| "unmatched".to_owned())),
        ("method", method.to_owned()),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::counter!("miid_requests_total", &labels).increment(1);
    response
}

/// A method as a label: what a client makes up must not make a series of its own.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// Makes everything measured from now on count. Once per process.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full("miid_event_to_write_seconds".to_owned()), MOMENTS)?
        .set_buckets_for_metric(
            Matcher::Full("miid_store_batch_size".to_owned()),
            &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0],
        )?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    metrics::describe_counter!("miid_requests_total", "Requests by route, method and status");
    metrics::describe_counter!("miid_challenges_total", "Challenges by outcome");
    metrics::describe_counter!("miid_sessions_revoked_total", "Sessions ended, by whom");
    metrics::describe_counter!("miid_store_retries_total", "Transactions begun again");
    metrics::describe_gauge!("miid_open_streams", "Open event streams");
    metrics::describe_histogram!("miid_event_to_write_seconds", "From an event's commit to its writing");
    metrics::describe_histogram!("miid_store_seconds", "Time of a transaction, waiting included");
    metrics::describe_histogram!("miid_store_batch_size", "Operations that shared a commit");
    Ok(handle)
}

/// `GET /metrics`, in Prometheus' text format.
pub fn router(handle: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(move || std::future::ready(handle.render())))
}
