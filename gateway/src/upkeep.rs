//! What time demands of a running gateway: deadlines, leftovers, heartbeats, keys that take over, and
//! noticing what the command line changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::http::{App, Control};
use crate::keys::{KeyRing, NEXT_KEY_LEAD, ServerKeys};
use crate::store::{Store, StoreError};
use crate::streams;

const EVERY_SECOND: Duration = Duration::from_secs(1);
/// Deadlines announce themselves within this time; until then they count all the same.
const DEADLINES: Duration = Duration::from_millis(250);
/// Leftovers can wait.
const REMAINS: Duration = Duration::from_secs(30);
/// A lost hint costs at most this much.
const HEADS: Duration = Duration::from_secs(2);

/// Everything below, until cancelled.
pub async fn run(app: App, cancelled: CancellationToken) {
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = deadlines(&app) => {}
        () = remains(&app) => {}
        () = seconds(&app) => {}
        () = heads(&app) => {}
    }
}

/// Reads services and keys; makes the first key where there is none.
pub async fn load_control(
    store: &Store,
    keys: &ServerKeys,
    issuer: &miid_protocol::Issuer,
    longest_token: miid_protocol::Lifetime,
) -> Result<Control, StoreError> {
    let fresh = cli::fresh_kid();
    store
        .write("first_signing_key", move |tx| {
            let fresh = fresh.clone();
            Box::pin(async move {
                if tx.signing_keys().await?.iter().all(|key| key.retired_at.is_some()) {
                    tx.add_signing_key(&fresh, tx.now).await?;
                }
                Ok(())
            })
        })
        .await?;
    read_control(store, keys, issuer, longest_token).await
}

async fn read_control(
    store: &Store,
    keys: &ServerKeys,
    issuer: &miid_protocol::Issuer,
    longest_token: miid_protocol::Lifetime,
) -> Result<Control, StoreError> {
    let mut reader = store.read().await?;
    let services = reader.services().await?;
    let ring = KeyRing::new(keys, reader.signing_keys().await?, issuer, longest_token);
    Ok(Control { services, ring: Arc::new(ring) })
}

async fn deadlines(app: &App) {
    let mut ticks = every(DEADLINES);
    loop {
        ticks.tick().await;
        match app.store.sweep_deadlines().await {
            Ok(swept) => {
                metrics::counter!("miid_challenges_total", "outcome" => "expired")
                    .increment(swept.challenges);
                metrics::counter!("miid_sessions_revoked_total", "by" => "time").increment(swept.sessions);
            }
            Err(error) => tracing::debug!(%error, "deadlines were not swept; they count all the same"),
        }
    }
}

async fn remains(app: &App) {
    let mut ticks = every(REMAINS);
    loop {
        ticks.tick().await;
        app.limits.tidy();
        match app.store.sweep_remains(app.settings.retention()).await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "deleted what nobody needs any more"),
            Err(error) => tracing::debug!(%error, "leftovers stay for the next time"),
        }
        if let Err(error) = app.store.sweep_presence().await {
            tracing::debug!(%error, "what services said about open pages stays for the next time");
        }
        let counted = async { app.store.read().await?.count_proofs().await };
        if let Ok(proofs) = counted.await {
            app.proofs.store(proofs, Ordering::Relaxed);
        }
    }
}

async fn seconds(app: &App) {
    let mut ticks = every(EVERY_SECOND);
    let mut version = None;
    let mut second = 0;
    loop {
        ticks.tick().await;
        second += 1;
        app.store.hub().tick(second, app.settings.stream_limits());
        if let Err(error) = look_at_control(app, &mut version).await {
            tracing::debug!(%error, "services and keys stay as they were");
        }
        rotate_keys(app).await;
    }
}

/// Reads services and keys again, for instance because somebody named a key that is not known here.
pub async fn reload_control(app: &App) -> Result<(), StoreError> {
    let longest_token = app.settings.lifetimes.longest_token();
    let read = async { read_control(&app.store, &app.keys, &app.issuer, longest_token).await.map(Some) };
    app.renew_control(read).await
}

async fn look_at_control(app: &App, known: &mut Option<i64>) -> Result<(), StoreError> {
    let version = app.store.read().await?.control_version().await?;
    if *known != Some(version) {
        // Read after its number: what is read is no older than that.
        reload_control(app).await?;
        *known = Some(version);
    }
    Ok(())
}

/// Publishes the next signing key in time for the current one to be relieved. Looked at each second.
pub async fn rotate_keys(app: &App) {
    let now = app.clock.now();
    let control = app.control();
    let due = control.ring.current(now).is_some_and(|key| {
        let relieved_at = key.active_from.plus(app.settings.lifetimes.key_lifetime);
        relieved_at <= now.plus(NEXT_KEY_LEAD)
    });
    if !due || control.ring.has_next(now) {
        return;
    }
    let fresh = cli::fresh_kid();
    let added = app
        .store
        .write("rotate_signing_key", move |tx| {
            let fresh = fresh.clone();
            Box::pin(async move {
                // Another instance may have been first.
                let now = tx.now;
                if tx
                    .signing_keys()
                    .await?
                    .iter()
                    .any(|key| key.retired_at.is_none() && key.active_from > now)
                {
                    return Ok(());
                }
                tx.add_signing_key(&fresh, now.plus(NEXT_KEY_LEAD)).await
            })
        })
        .await;
    match added {
        Ok(()) => tracing::info!("published the next token signing key"),
        Err(error) => tracing::warn!(%error, "could not publish the next token signing key"),
    }
}

async fn heads(app: &App) {
    let mut ticks = every(HEADS);
    let mut known = HashMap::new();
    loop {
        ticks.tick().await;
        streams::poll_heads(&app.store, &mut known).await;
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
