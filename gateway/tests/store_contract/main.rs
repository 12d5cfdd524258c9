//! What the store promises, on both databases. PostgreSQL runs where `MIID_TEST_POSTGRES_URL` names a
//! server; `cargo xtask test` starts one.

mod fresh;
mod leases;
mod links;
mod presence;
mod retirement;
mod services;
mod step_ups;

use std::collections::BTreeSet;
use std::sync::Arc;

use fresh::{Fresh, claim, clock, did, first_position, on_both, session_of, shop, standing};
use miid_gateway::clock::{Clock, uuid_v7};
use miid_gateway::domain::Challenge;
use miid_gateway::store::{
    Claim, Created, LogPage, OpenError, Options, Position, Retention, Store, StoreError,
};
use miid_gateway::streams::StreamKey;
use miid_protocol::service::{ChallengeStatus, ExpireReason, RevokeReason};
use miid_protocol::{ChallengeId, ClientId, Lifetime};
use sqlx::{Connection as _, Executor as _, PgConnection};

on_both!(
    a_step_from_a_version_that_is_gone_changes_nothing,
    of_many_steps_from_one_version_one_is_saved,
    the_same_code_challenge_gives_the_same_challenge_until_it_is_over,
    quotas_count_browsers_that_are_known_and_those_that_are_not_apart,
    a_challenge_is_replaced_only_by_its_own_service,
    events_are_numbered_without_a_gap_under_concurrency,
    a_position_that_is_no_more_or_not_yet_in_the_log_gets_a_resync,
    handles_are_unique_by_look_and_frozen_when_released,
    an_operation_that_fails_takes_nobody_with_it,
    what_is_past_its_deadline_is_swept_with_its_event,
    a_session_that_was_refreshed_this_moment_is_not_swept,
    a_newer_database_is_refused_and_left_alone,
    other_keys_are_refused,
);

async fn of_many_steps_from_one_version_one_is_saved(fresh: Fresh) {
    let challenge = Arc::new(fresh.new_challenge("alice").await);
    let racing = (0..16).map(|i| {
        let (store, challenge) = (fresh.store.clone(), challenge.clone());
        tokio::spawn(async move {
            store
                .write("race", move |tx| {
                    let challenge = challenge.clone();
                    Box::pin(async move {
                        // Each looks first, and so sees that somebody else was faster.
                        let found = tx.challenge_of_service(challenge.id, &shop()).await?.expect("there");
                        let step = match i % 2 {
                            0 => found.withdraw(ExpireReason::Withdrawn, tx.now).expect("not denied"),
                            _ => found.replace(tx.now),
                        };
                        let won = step.is_some();
                        if let Some(step) = step {
                            tx.advance(step, None);
                        }
                        Ok(won)
                    })
                })
                .await
                .expect("the store works")
        })
    });
    let mut winners = 0;
    for racer in racing {
        winners += usize::from(racer.await.expect("no panic"));
    }
    assert_eq!(winners, 1);
    let LogPage::Events(events) = fresh.log(&StreamKey::service(&shop()), first_position(&fresh).await).await
    else {
        panic!("the log begins there")
    };
    assert_eq!(events.len(), 1, "one change, one event");
}

async fn a_step_from_a_version_that_is_gone_changes_nothing(fresh: Fresh) {
    let seen = Arc::new(fresh.new_challenge("alice").await);
    let step = |challenge: Arc<Challenge>| {
        fresh.store.write("stale", move |tx| {
            let challenge = challenge.clone();
            Box::pin(async move {
                tx.advance(challenge.replace(tx.now).expect("open when it was seen"), None);
                Ok(())
            })
        })
    };
    step(seen.clone()).await.expect("the first");
    assert!(matches!(step(seen.clone()).await, Err(StoreError::Lost)), "the second saw what is gone");
    let LogPage::Events(events) = fresh.log(&StreamKey::service(&shop()), first_position(&fresh).await).await
    else {
        panic!("the log begins there")
    };
    assert_eq!(events.len(), 1, "no event without its change");
}

async fn the_same_code_challenge_gives_the_same_challenge_until_it_is_over(fresh: Fresh) {
    let new = fresh.pending("alice");
    let Created::New(first) = fresh.open_challenge(new.clone()).await else { panic!("new") };
    let mut again = fresh.pending("bob");
    again.challenge.code_challenge = new.challenge.code_challenge.clone();
    match fresh.open_challenge(again.clone()).await {
        Created::Same(same) => assert_eq!(same.id, first.id),
        other => panic!("not the same: {other:?}"),
    }
    fresh.wait(300_000);
    again.challenge.id = ChallengeId::from_uuid(uuid_v7(fresh.store.clock().now()));
    assert!(matches!(fresh.open_challenge(again).await, Created::New(_)), "its lifetime is over");
}

async fn quotas_count_browsers_that_are_known_and_those_that_are_not_apart(fresh: Fresh) {
    for _ in 0..3 {
        fresh.new_challenge("alice").await;
    }
    assert!(matches!(fresh.open_challenge(fresh.pending("alice")).await, Created::TooMany(_)));
    let known = || {
        let mut new = fresh.pending("alice");
        new.challenge.known_browser = true;
        new
    };
    for _ in 0..3 {
        assert!(matches!(fresh.open_challenge(known()).await, Created::New(_)), "the owner still gets in");
    }
    assert!(matches!(fresh.open_challenge(known()).await, Created::TooMany(_)));
    fresh.new_challenge("bob").await;

    // Strangers at other services use up what a person may have in all; what is left for a browser that
    // has signed in as this person before, they cannot.
    let at = |shop: &str, known: bool| {
        let mut new = fresh.pending("carol");
        new.challenge.client_id = ClientId::parse(shop).expect("id");
        new.challenge.known_browser = known;
        new
    };
    for i in 0..10 {
        let new = at(&format!("shop-{}", i / 3), false);
        assert!(matches!(fresh.open_challenge(new).await, Created::New(_)));
    }
    assert!(matches!(fresh.open_challenge(at("shop-9", false)).await, Created::TooMany(_)));
    assert!(matches!(fresh.open_challenge(at("shop-9", true)).await, Created::New(_)), "the owner gets in");

    fresh.wait(300_000);
    fresh.new_challenge("alice").await;
}

async fn a_challenge_is_replaced_only_by_its_own_service(fresh: Fresh) {
    let first = fresh.new_challenge("alice").await;
    let mut foreign = fresh.pending("alice");
    foreign.challenge.client_id = ClientId::parse("other-shop").expect("id");
    foreign.replaces = Some(first.id);
    assert!(matches!(fresh.open_challenge(foreign).await, Created::New(_)));
    assert_eq!(standing(&fresh, first.id).await, ChallengeStatus::Pending);
    let mut own = fresh.pending("alice");
    own.replaces = Some(first.id);
    assert!(matches!(fresh.open_challenge(own).await, Created::New(_)));
    assert_eq!(standing(&fresh, first.id).await, ChallengeStatus::Expired);
}

async fn events_are_numbered_without_a_gap_under_concurrency(fresh: Fresh) {
    let names: Vec<String> = (0..24).map(|i| format!("person{i}")).collect();
    let opening = names.iter().map(|name| fresh.new_challenge(name));
    let challenges = futures_util::future::join_all(opening).await;
    let ending = challenges.into_iter().map(|challenge| {
        let challenge = Arc::new(challenge);
        fresh.store.write("withdraw", move |tx| {
            let challenge = challenge.clone();
            Box::pin(async move {
                let step = challenge.withdraw(ExpireReason::Withdrawn, tx.now).expect("open").expect("open");
                tx.advance(step, None);
                Ok(true)
            })
        })
    });
    for won in futures_util::future::join_all(ending).await {
        assert!(won.expect("the store works"));
    }
    let stream = StreamKey::service(&shop());
    let head = fresh.store.read().await.expect("a reader").head(&stream).await.expect("a head");
    let LogPage::Events(events) = fresh.log(&stream, Position(head.0 - 24)).await else {
        panic!("in the log")
    };
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (head.0 - 23..=head.0).collect::<Vec<_>>());
    let about: BTreeSet<_> = events.iter().map(|event| event.about.clone()).collect();
    assert_eq!(about.len(), 24);
}

async fn a_position_that_is_no_more_or_not_yet_in_the_log_gets_a_resync(fresh: Fresh) {
    fresh.new_challenge("alice").await;
    let stream = StreamKey::wallet(&did("alice"));
    let head = fresh.store.read().await.expect("a reader").head(&stream).await.expect("a head");
    let is_resync = |page: LogPage| matches!(page, LogPage::Resync(at) if at == head);
    assert!(matches!(fresh.log(&stream, head).await, LogPage::Events(events) if events.is_empty()));
    assert!(matches!(fresh.log(&stream, Position(head.0 - 1)).await, LogPage::Events(e) if e.len() == 1));
    assert!(is_resync(fresh.log(&stream, Position(head.0 - 2)).await), "before the first");
    assert!(is_resync(fresh.log(&stream, Position(head.0 + 1)).await), "ahead");
    fresh.wait(86_400_001);
    // A wallet comes back after more than a day, while its old events are swept.
    let opened = stream.clone();
    let opening = fresh.store.write("open_stream", move |tx| {
        let stream = opened.clone();
        Box::pin(async move { tx.open_stream(&stream).await })
    });
    assert_eq!(opening.await.expect("the store works"), head);
    fresh.store.sweep_remains(retention(100_000)).await.expect("swept");
    assert!(is_resync(fresh.log(&stream, Position(head.0 - 1)).await), "pruned by age");
    assert!(matches!(fresh.log(&stream, head).await, LogPage::Events(events) if events.is_empty()));
}

fn retention(events_per_stream: i64) -> Retention {
    Retention {
        events: Lifetime::from_secs(86_400),
        events_per_stream,
        ended: Lifetime::from_secs(31 * 86_400),
    }
}

async fn handles_are_unique_by_look_and_frozen_when_released(fresh: Fresh) {
    assert_eq!(claim(&fresh, "alice", "alice").await, Claim::Held);
    assert_eq!(claim(&fresh, "alice", "alice").await, Claim::Held, "again");
    assert_eq!(claim(&fresh, "mallory", "alice").await, Claim::Taken);
    assert_eq!(claim(&fresh, "mallory", "a1ice").await, Claim::Taken, "looks the same");
    assert_eq!(claim(&fresh, "mallory", "adm1n").await, Claim::Taken, "reserved");
    assert_eq!(claim(&fresh, "alice", "alice-kim").await, Claim::Held, "another one; the first is let go");
    assert_eq!(claim(&fresh, "mallory", "alice").await, Claim::Taken, "frozen");
    assert_eq!(claim(&fresh, "alice", "alice").await, Claim::Held, "not for its last holder");
    assert_eq!(claim(&fresh, "alice", "kim").await, Claim::Held);
    fresh.wait(90 * 86_400_000);
    assert_eq!(claim(&fresh, "mallory", "alice").await, Claim::Held, "thawed");
    let racing = (0..12).map(|i| {
        let name = format!("racer{i}");
        let fresh = &fresh;
        async move { claim(fresh, &name, "wanted").await }
    });
    let held = futures_util::future::join_all(racing).await.into_iter().filter(|c| *c == Claim::Held);
    assert_eq!(held.count(), 1);
}

async fn an_operation_that_fails_takes_nobody_with_it(fresh: Fresh) {
    let failing = (0..8).map(|_| {
        fresh.store.write("fails", |tx| {
            Box::pin(async move {
                // A write that must not stay, and then a failure.
                tx.add_signing_key("left-behind", tx.now).await?;
                Err::<(), _>(StoreError::Damaged("on purpose"))
            })
        })
    });
    let names: Vec<String> = (0..8).map(|i| format!("person{i}")).collect();
    let working = names.iter().map(|name| fresh.new_challenge(name));
    let (failed, opened) =
        tokio::join!(futures_util::future::join_all(failing), futures_util::future::join_all(working));
    assert!(failed.iter().all(Result::is_err));
    for challenge in opened {
        assert_eq!(standing(&fresh, challenge.id).await, ChallengeStatus::Pending);
    }
    assert!(fresh.store.read().await.expect("a reader").signing_keys().await.expect("read").is_empty());
}

async fn what_is_past_its_deadline_is_swept_with_its_event(fresh: Fresh) {
    let names: Vec<String> = (0..7).map(|i| format!("person{i}")).collect();
    for name in &names {
        fresh.new_challenge(name).await;
    }
    assert_eq!(fresh.store.sweep_deadlines().await.expect("swept").challenges, 0);
    fresh.wait(300_000);
    assert_eq!(fresh.store.sweep_deadlines().await.expect("swept").challenges, 7);
    assert_eq!(fresh.store.sweep_deadlines().await.expect("swept").challenges, 0, "once");
    let stream = StreamKey::service(&shop());
    let head = fresh.store.read().await.expect("a reader").head(&stream).await.expect("a head");
    let LogPage::Events(events) = fresh.log(&stream, Position(head.0 - 7)).await else {
        panic!("in the log")
    };
    assert!(events.iter().all(|event| event.name == "challenge_expired"));
    // A stream that grows beyond its bound is cut, and its readers are told.
    fresh.store.sweep_remains(retention(4)).await.expect("swept");
    assert!(matches!(fresh.log(&stream, Position(head.0 - 7)).await, LogPage::Resync(at) if at == head));
    fresh.wait(32 * 86_400_000);
    assert!(fresh.store.sweep_remains(retention(4)).await.expect("swept") >= 7);
}

async fn a_session_that_was_refreshed_this_moment_is_not_swept(fresh: Fresh) {
    let session = Arc::new(session_of(&fresh, "alice"));
    let opened = session.clone();
    let opening = fresh.store.write("open_session", move |tx| {
        let session = opened.clone();
        Box::pin(async move {
            tx.open_session(&session);
            Ok(())
        })
    });
    opening.await.expect("opened");
    fresh.wait(11_000);
    // The sweep has read it as lapsed; a refresh by another instance comes in between.
    let seen = session.clone();
    let between = fresh.store.write("refresh_then_sweep", move |tx| {
        let session = seen.clone();
        Box::pin(async move {
            assert!(tx.rotate(&session, tx.now.plus(Lifetime::from_secs(10))).await?);
            tx.revoke_session(&session, RevokeReason::Expired, None).await
        })
    });
    between.await.expect("the store works");
    let live = fresh.store.read().await.expect("a reader").session(session.id).await.expect("read");
    assert!(live.expect("there").is_live(fresh.store.clock().now()));
    assert_eq!(fresh.store.sweep_deadlines().await.expect("swept").sessions, 0);
    fresh.wait(10_000);
    assert_eq!(fresh.store.sweep_deadlines().await.expect("swept").sessions, 1);
}

async fn a_newer_database_is_refused_and_left_alone(fresh: Fresh) {
    let statement = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (9999, 'from the future', true, '\\x00', 0)";
    if fresh.options.url.starts_with("sqlite") {
        let mut conn = sqlx::SqliteConnection::connect(&fresh.options.url).await.expect("connects");
        conn.execute(statement).await.expect("inserted");
    } else {
        let mut conn = PgConnection::connect(&fresh.options.url).await.expect("connects");
        conn.execute(statement).await.expect("inserted");
    }
    let again = Store::open(&fresh.options, clock(&fresh.now_ms)).await;
    assert!(matches!(again, Err(OpenError::Newer(9999))));
}

async fn other_keys_are_refused(fresh: Fresh) {
    fresh.store.bind_keys("ours".into()).await.expect("first");
    fresh.store.bind_keys("ours".into()).await.expect("again");
    assert!(matches!(fresh.store.bind_keys("others".into()).await, Err(OpenError::OtherKeys)));
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("gateway.db").display());
    let options = Options { url, serve: true, sqlite_normal: false };
    let first = Store::open(&options, Clock::system()).await.expect("opens");
    assert!(matches!(Store::open(&options, Clock::system()).await, Err(OpenError::InUse { .. })));
    let beside = Options { serve: false, ..options.clone() };
    Store::open(&beside, Clock::system()).await.expect("the command line works beside it");
    drop(first);
}

#[tokio::test]
async fn a_closed_store_stands_in_its_one_file() {
    let fresh = Fresh::open(None).await;
    fresh.new_challenge("alice").await;
    fresh.store.close().await;
    let path = fresh.options.url.strip_prefix("sqlite://").expect("a file");
    let copy = format!("{path}.copy");
    std::fs::copy(path, &copy).expect("a backup of the one file");
    let mut conn = sqlx::SqliteConnection::connect(&format!("sqlite://{copy}")).await.expect("opens");
    let (count,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM challenges").fetch_one(&mut conn).await.expect("counts");
    assert_eq!(count, 1);
    let after = fresh.store.write("late", |_| Box::pin(async { Ok(()) })).await;
    assert!(matches!(after, Err(StoreError::Busy)), "nothing is taken any more");
}

#[test]
fn both_dialects_have_the_same_migrations() {
    let names = |dialect: &str| -> BTreeSet<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/gateway/");
        let files = std::fs::read_dir(format!("{folder}{dialect}")).expect("a folder");
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
    // And they say the same, but for how SQLite lays out a table.
    for name in names("sqlite") {
        let text = |dialect: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/gateway/");
            std::fs::read_to_string(format!("{folder}{dialect}/{name}")).expect("a migration")
        };
        assert_eq!(text("sqlite").replace(" WITHOUT ROWID", ""), text("postgres"), "{name}");
    }
}
