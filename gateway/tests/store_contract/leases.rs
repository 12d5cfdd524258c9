//! What hangs on sessions, on either database: whose leases are given, and what is known when.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use miid_gateway::domain::Session;
use miid_gateway::leases::{CloseReason, Leases};
use miid_gateway::streams::StreamKey;
use miid_protocol::ClientId;
use miid_protocol::service::RevokeReason;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::fresh::{Fresh, on_both, session_of, shop};

on_both!(
    a_lease_is_given_to_its_own_service_only,
    an_end_is_told_and_stays_known,
    a_session_that_a_wrong_clock_ended_lives_again_when_it_is_set_right,
    what_part_of_a_log_is_missing_for_is_closed_and_opened_anew,
    only_a_comparison_of_heads_makes_what_is_known_current,
    a_service_whose_log_cannot_be_opened_keeps_nobody_else_waiting,
    a_log_that_cannot_be_heard_is_not_current_though_heads_can_be_read,
    an_end_that_is_found_in_the_row_is_counted_as_late_as_it_was,
);

async fn open_session(fresh: &Fresh) -> Session {
    let session = Arc::new(session_of(fresh, "alice"));
    let opened = session.clone();
    let opening = fresh.store.write("open_session", move |tx| {
        let session = opened.clone();
        Box::pin(async move {
            tx.open_session(&session);
            Ok(())
        })
    });
    opening.await.expect("opened");
    Arc::into_inner(session).expect("nobody else's")
}

fn other_shop() -> ClientId {
    ClientId::parse("other-shop").expect("id")
}

/// Waits until something holds; ten seconds at most.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A connection of its own to the store's database, whichever it is.
enum Beside {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Beside {
    async fn of(fresh: &Fresh) -> Self {
        let url = &fresh.options.url;
        if url.starts_with("sqlite") {
            Self::Sqlite(SqliteConnection::connect(url).await.expect("connects"))
        } else {
            Self::Postgres(PgConnection::connect(url).await.expect("connects"))
        }
    }

    async fn run(&mut self, sqlite: &'static str, postgres: &'static str) {
        match self {
            Self::Sqlite(conn) => conn.execute(sqlite).await.map(drop),
            Self::Postgres(conn) => conn.execute(postgres).await.map(drop),
        }
        .expect("the statement runs");
    }
}

async fn a_lease_is_given_to_its_own_service_only(fresh: Fresh) {
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    // A token that names another service than the session's: whoever has the signing key can make one.
    assert!(leases.open(session.id, &other_shop()).await.expect("read").is_none());
    assert!(leases.is_empty(), "nobody would tell of that one's end");
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!((lease.check(), &lease.client_id), (Ok(()), &shop()));
    assert!(leases.open(session.id, &other_shop()).await.expect("read").is_none(), "known or not");
    assert_eq!(leases.len(), 1);
}

async fn an_end_is_told_and_stays_known(fresh: Fresh) {
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    let revoked = Arc::new(session);
    let ending = revoked.clone();
    let ended = fresh.store.write("revoke", move |tx| {
        let session = ending.clone();
        Box::pin(async move { tx.revoke_session(&session, RevokeReason::User, None).await })
    });
    ended.await.expect("the store works");
    let reason = tokio::time::timeout(Duration::from_secs(10), lease.closed()).await.expect("told");
    assert_eq!(reason, CloseReason::Ended(RevokeReason::User));
    // Whoever comes with its token again is told so from memory.
    let known = leases.find(revoked.id).expect("known");
    assert_eq!(known.check(), Err(CloseReason::Ended(RevokeReason::User)));
}

async fn a_session_that_a_wrong_clock_ended_lives_again_when_it_is_set_right(fresh: Fresh) {
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    fresh.wait(3_600_000);
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!(lease.check(), Err(CloseReason::Expired));
    fresh.wait(-3_600_000);
    assert!(leases.find(session.id).is_none(), "the row is asked again");
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!(lease.check(), Ok(()));
}

async fn what_part_of_a_log_is_missing_for_is_closed_and_opened_anew(fresh: Fresh) {
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    // The database is an older one all of a sudden: what was read of the log is ahead of it.
    let back = "UPDATE streams SET head = head - 5, pruned_to = pruned_to - 5";
    Beside::of(&fresh).await.run(back, back).await;
    fresh.store.hub().wake(&StreamKey::service(&shop()));
    let reason = tokio::time::timeout(Duration::from_secs(10), lease.closed()).await.expect("closed");
    assert_eq!(reason, CloseReason::Unknown);
    assert!(leases.find(session.id).is_none(), "it is not refused for ever");
    let again = leases.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!((again.check(), leases.len()), (Ok(()), 1));
}

async fn only_a_comparison_of_heads_makes_what_is_known_current(fresh: Fresh) {
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!(lease.check(), Ok(()));
    assert!(!leases.is_current(&shop()), "a row was read, but nobody has looked whether a wake-up was lost");
    let stop = CancellationToken::new();
    let running = tokio::spawn(leases.clone().run(stop.clone()));
    until("heads are compared", || leases.is_current(&shop())).await;
    stop.cancel();
    running.await.expect("it ends");
    // The clock on the wall stands still here, or is set back: time passes all the same.
    fresh.wait(-3_600_000);
    until("it was too long ago", || !leases.is_current(&shop())).await;
}

async fn a_service_whose_log_cannot_be_opened_keeps_nobody_else_waiting(fresh: Fresh) {
    let session = open_session(&fresh).await;
    let leases = Leases::new(fresh.store.clone());
    leases.open(session.id, &shop()).await.expect("read").expect("there");
    let mut holder = Beside::of(&fresh).await;
    holder.run("BEGIN IMMEDIATE", "BEGIN; LOCK TABLE streams IN EXCLUSIVE MODE").await;
    let waiting = leases.clone();
    let slow = tokio::spawn(async move { waiting.open(session.id, &other_shop()).await });
    until("its log is about to be opened", || fresh.store.hub().open_keys().len() == 2).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(leases.clone().run(stop.clone()));
    until("heads are compared", || leases.is_current(&shop())).await;
    let other = async { leases.open(session.id, &shop()).await.expect("read").is_some() };
    assert!(tokio::time::timeout(Duration::from_secs(2), other).await.expect("at once"));
    assert!(!slow.is_finished(), "all of that went on beside it");
    holder.run("ROLLBACK", "ROLLBACK").await;
    assert!(slow.await.expect("it ends").expect("the store works").is_none());
    stop.cancel();
    running.await.expect("it ends");
}

async fn a_log_that_cannot_be_heard_is_not_current_though_heads_can_be_read(fresh: Fresh) {
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
    leases.open(session.id, &other_shop()).await.expect("its log is followed, too");
    let stop = CancellationToken::new();
    let running = tokio::spawn(leases.clone().run(stop.clone()));
    let both = || leases.is_current(&shop()) && leases.is_current(&other_shop());
    until("both are heard", both).await;
    // The log cannot be read any more, and something stands in it that nobody here has heard.
    let mut beside = Beside::of(&fresh).await;
    let away = "ALTER TABLE events RENAME TO events_away";
    beside.run(away, away).await;
    let more = "UPDATE streams SET head = head + 1 WHERE stream = 's/demo-shop'";
    beside.run(more, more).await;
    until("what is known is not current", || !leases.is_current(&shop())).await;
    assert!(leases.is_current(&other_shop()), "nothing is missing of that one");
    assert!(lease.check().is_ok() && leases.find(session.id).is_none(), "it is not believed unasked");
    let back = "ALTER TABLE events_away RENAME TO events";
    beside.run(back, back).await;
    until("it is heard again", both).await;
    assert_eq!(lease.check(), Err(CloseReason::Unknown), "what stood there is gone for good");
    stop.cancel();
    running.await.expect("it ends");
}

async fn an_end_that_is_found_in_the_row_is_counted_as_late_as_it_was(fresh: Fresh) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (_recording, counted) = (metrics::set_default_local_recorder(&recorder), recorder.handle());
    let count = || {
        let text = counted.render();
        let find =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        (find("miid_edge_revoke_seconds_count"), find("miid_edge_revoke_seconds_sum"))
    };
    let (session, leases) = (open_session(&fresh).await, Leases::new(fresh.store.clone()));
    let mut beside = Beside::of(&fresh).await;
    // Nobody tells of it: what is written of the end is the row alone.
    let end = "UPDATE sessions SET revoked_at = last_used_at + 1000, reason = 'user'";
    let lives = "UPDATE sessions SET revoked_at = NULL, reason = NULL";

    leases.open(session.id, &shop()).await.expect("read").expect("there");
    beside.run(end, end).await;
    fresh.wait(3000);
    for _ in 0..2 {
        let lease = leases.open(session.id, &shop()).await.expect("read").expect("there");
        assert_eq!(lease.check(), Err(CloseReason::Ended(RevokeReason::User)));
        assert_eq!(count(), (Some(1.0), Some(2.0)), "once");
    }

    // To whoever never let it through it is no news.
    let elsewhere = Leases::new(fresh.store.clone());
    let lease = elsewhere.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!(lease.check(), Err(CloseReason::Ended(RevokeReason::User)));
    assert_eq!(count().0, Some(1.0));

    // Behind a gap in the log.
    beside.run(lives, lives).await;
    let behind = Leases::new(fresh.store.clone());
    let lease = behind.open(session.id, &shop()).await.expect("read").expect("there");
    beside.run(end, end).await;
    let back = "UPDATE streams SET head = head - 5, pruned_to = pruned_to - 5";
    beside.run(back, back).await;
    fresh.store.hub().wake(&StreamKey::service(&shop()));
    let reason = tokio::time::timeout(Duration::from_secs(10), lease.closed()).await.expect("closed");
    assert_eq!(reason, CloseReason::Unknown);
    let again = behind.open(session.id, &shop()).await.expect("read").expect("there");
    assert_eq!(again.check(), Err(CloseReason::Ended(RevokeReason::User)));
    assert_eq!(count(), (Some(2.0), Some(4.0)));
}
