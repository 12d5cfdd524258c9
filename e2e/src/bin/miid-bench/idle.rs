//! What an idle wallet costs, and how fast one of many is told.

use std::time::{Duration, Instant};

use miid_protocol::{Did, SigningKey, jws, paths};
use serde_json::json;

use super::Result;
use super::http::{Client, Who};
use super::numbers::{quantile, sorted};
use super::server::Server;

/// Events measured among the idle streams.
const EVENTS: usize = 400;
/// Connections opened at the same time.
const OPENING: usize = 50;

pub const HEADING: &str = "streams   resident KiB each   asked → told p50/p99 µs   answered → told p50/p99 µs   commit → written p50/p99 µs";

/// Opens so many streams and sends events to single ones of them.
pub async fn round(server: &Server, streams: usize) -> Result<String> {
    // The first few make what is shared: caches, threads, the database's pages.
    let mut open = open_some(server, 100).await?;
    let before = server.resident()?;
    while open.len() < streams + 100 {
        let more = OPENING.min(streams + 100 - open.len());
        open.extend(open_some(server, more).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (server.resident()? - before) as f64 / streams as f64 / 1024.0;

    let mut service = Client::connect(&server.address).await?;
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    for i in 0..EVENTS {
        let at = i * 7919 % open.len();
        let (key, stream) = &mut open[at];
        let did = Did::of(&key.verifying_key());
        let verifier = miid_e2e::clock::random::<32>();
        let body = json!({
            "login_hint": did, "code_challenge": jws::digest(jws::encode(&verifier).as_bytes()),
            "code_challenge_method": "S256",
        })
        .to_string();
        let begun = Instant::now();
        let answer = async {
            service.call(Who::Service(&server.basic), "POST", paths::CHALLENGE, body.as_bytes()).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Instant::now())
        };
        let told = async {
            loop {
                if stream.event().await?.0 == "challenge_created" {
                    return Ok(Instant::now());
                }
            }
        };
        let (answer, told) = tokio::try_join!(answer, told)?;
        asked.push((told - begun).as_secs_f64() * 1e6);
        let later = told
            .checked_duration_since(answer)
            .map_or_else(|| -answer.duration_since(told).as_secs_f64(), |later| later.as_secs_f64());
        answered.push(later * 1e6);
    }
    let (asked, answered) = (sorted(asked), sorted(answered));
    let (p50, p99) = written(server).await?;
    Ok(format!(
        "{streams:>7}   {each:>17.1}   {:>9.0} / {:<11.0}   {:>12.0} / {:<11.0}   {p50:>12} / {p99}",
        quantile(&asked, 0.5),
        quantile(&asked, 0.99),
        quantile(&answered, 0.5),
        quantile(&answered, 0.99),
    ))
}

async fn open_some(server: &Server, n: usize) -> Result<Vec<(SigningKey, Client)>> {
    let opening = (0..n).map(|_| async {
        let seed = miid_e2e::clock::random::<32>();
        let key = SigningKey::from_bytes(&seed);
        let mut stream = Client::connect(&server.address).await?;
        stream.open_stream(Who::Wallet(&key, &server.issuer), paths::WALLET_EVENTS).await?;
        Ok((key, stream))
    });
    futures_util::future::try_join_all(opening).await
}

/// What the gateway itself measured: the upper bounds of the buckets that hold the median and the 99th
/// percentile.
async fn written(server: &Server) -> Result<(String, String)> {
    let mut client = Client::connect(&server.metrics).await?;
    let text = client.call(Who::Service("none"), "GET", "/metrics", b"").await?;
    let text = String::from_utf8(text)?;
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("miid_event_to_write_seconds_bucket{le=\""))
        .filter_map(|rest| {
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
        })
        .collect();
    let total = buckets.last().ok_or("no histogram")?.1;
    let at = |q: f64| {
        let bound = buckets.iter().find(|(_, count)| *count >= q * total).map_or(f64::INFINITY, |b| b.0);
        format!("≤{:.0}", bound * 1e6)
    };
    Ok((at(0.5), at(0.99)))
}
