//! Several instances on one PostgreSQL. After a commit one task tells the others which streams have
//! something new, many at a time and outside any transaction (inside, each NOTIFY would cost five to
//! seven times the commit rate). A lost hint costs a little latency: the heads are polled slowly.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Hub, StreamKey};
use crate::clock;
use crate::store::{Position, Store};

const CHANNEL: &str = "miid_wake";
/// PostgreSQL takes payloads below 8,000 bytes.
const MAX_PAYLOAD: usize = 7000;
/// The wait before a lost listener is opened again.
const RECONNECT: Duration = Duration::from_millis(500);

/// Tells and is told, until cancelled.
pub async fn listen(pool: PgPool, hub: Hub, cancelled: CancellationToken) {
    let (outward, inward) = mpsc::unbounded_channel();
    hub.tell_others(outward);
    let own = miid_protocol::jws::encode(&clock::random::<9>());
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = tell(&pool, inward, &own) => {}
        () = be_told(&pool, &hub, &own) => {}
    }
}

async fn tell(pool: &PgPool, mut streams: mpsc::UnboundedReceiver<StreamKey>, own: &str) {
    let mut waiting = Vec::new();
    while streams.recv_many(&mut waiting, 1024).await > 0 {
        let distinct: BTreeSet<StreamKey> = waiting.drain(..).collect();
        let mut payload = own.to_owned();
        for key in &distinct {
            if payload.len() + key.as_str().len() + 1 > MAX_PAYLOAD {
                notify(pool, &payload).await;
                payload.truncate(own.len());
            }
            payload.push(' ');
            payload.push_str(key.as_str());
        }
        notify(pool, &payload).await;
    }
}

async fn notify(pool: &PgPool, payload: &str) {
    let sent = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(pool).await;
    if let Err(error) = sent {
        tracing::debug!(%error, "the other instances were not told; they will find out by themselves");
    }
}

async fn be_told(pool: &PgPool, hub: &Hub, own: &str) {
    loop {
        if let Err(error) = be_told_once(pool, hub, own).await {
            tracing::warn!(%error, "lost the line to the other instances; opening it again");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn be_told_once(pool: &PgPool, hub: &Hub, own: &str) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was said before we listened is in the log.
    hub.wake_all();
    loop {
        // `None`: the connection was lost, and with it whatever was said meanwhile.
        let Some(notification) = listener.try_recv().await? else {
            hub.wake_all();
            continue;
        };
        let mut words = notification.payload().split(' ');
        if words.next() == Some(own) {
            continue;
        }
        for key in words {
            hub.wake(&StreamKey::from_text(key));
        }
    }
}

/// Compares the heads of the open streams with those of the last time, and wakes who missed one.
pub async fn poll_heads(store: &Store, known: &mut std::collections::HashMap<StreamKey, Position>) {
    let keys = store.hub().open_keys();
    known.retain(|key, _| keys.binary_search(key).is_ok() || keys.contains(key));
    for chunk in keys.chunks(1000) {
        let heads = async { store.read().await?.heads(chunk).await };
        let Ok(heads) = heads.await else { return };
        for (key, head) in heads {
            if known.insert(key.clone(), head) != Some(head) {
                store.hub().wake(&key);
            }
        }
    }
}
