//! No pile of rows, however often people sign in: what is over is carried off, and what stays for ever is what
//! was decided.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use miid_protocol::Lifetime;

use crate::instance::{Instance, key, postgres};

const PEOPLE: u8 = 20;

/// One bound per address would be what is measured.
const FLAGS: [&str; 4] = ["--requests-per-address", "1000000", "--new-dids-per-address", "1000000"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sign_ins_leave_one_session_each_and_no_pile_sqlite() {
    sign_ins_leave_no_pile(Instance::start(None, &FLAGS).await, 500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_sign_ins_leave_one_session_each_and_no_pile_postgres() {
    let Some(url) = postgres().await else { return };
    // Fewer, since each waits for transactions of its own.
    sign_ins_leave_no_pile(Instance::start(Some(url), &FLAGS).await, 100).await;
}

async fn sign_ins_leave_no_pile(gateway: Instance, each: i64) {
    let total = i64::from(PEOPLE) * each;
    // Everybody was here before, so that what there is once per person is there.
    for person in 0..PEOPLE {
        gateway.sign_in(&key(person)).await;
    }
    let before = gateway.row_counts().await;
    let begun = Instant::now();
    let signing_in = (0..PEOPLE).map(|person| {
        let gateway = &gateway;
        async move {
            let mut last = None;
            for _ in 0..each {
                let tokens = gateway.sign_in(&key(person)).await;
                assert_ne!(last.replace(tokens.session_id), Some(tokens.session_id));
                // Each some time after the one before.
                gateway.wait(1);
            }
            last.expect("a session")
        }
    });
    let last = join_all(signing_in).await;
    println!("{total} sign-ins: {:?}", begun.elapsed());

    // One session of each person lives, the last, and every other ended in the transaction that began the next.
    let mut live = gateway.texts("SELECT id FROM sessions WHERE revoked_at IS NULL").await;
    let mut wanted: Vec<String> = last.iter().map(ToString::to_string).collect();
    live.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(live, wanted);
    let ended = gateway.texts("SELECT id FROM sessions WHERE reason = 'superseded'").await;
    assert_eq!(ended.len() as i64, total);
    let late = "SELECT old.id FROM sessions old WHERE old.revoked_at IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM sessions new WHERE new.did = old.did AND new.created_at = old.revoked_at)";
    assert_eq!(gateway.texts(late).await, [""; 0], "at the moment at which another began");

    let grown = gateway.row_counts().await;
    println!("before: {before:?}\nafter:  {grown:?}");
    // What a sign-in writes is bounded, and what it writes for ever is what was decided.
    for (table, rows) in &grown {
        let more = rows - before[table];
        assert!(more <= 12 * total, "{table} has {more} rows more");
    }

    // A day later events are gone; in a month the last sessions run out, and a month after that the rest is gone:
    // what is left is what was there before.
    gateway.wait(Lifetime::from_secs(86_400 + 60).millis());
    let rows = swept(&gateway).await;
    assert_eq!(rows["events"], 0, "{rows:?}");
    assert_eq!(rows["proofs"], 0, "{rows:?}");
    for _ in 0..2 {
        gateway.wait(Lifetime::from_secs(32 * 86_400).millis());
        swept(&gateway).await;
    }
    let rows = gateway.row_counts().await;
    println!("later:  {rows:?}");
    for (table, rows) in &rows {
        match table.as_str() {
            // For ever, by intent: who decided what, a constant number of lines each.
            "audit" => assert!(*rows <= grown[table] + i64::from(PEOPLE), "{rows}"),
            _ => assert!(*rows <= before[table], "{table}: {rows}"),
        }
    }
    assert_eq!((rows["sessions"], rows["challenges"]), (0, 0), "{rows:?}");
    // And they sign in as ever.
    gateway.sign_in(&key(0)).await;
}

/// Sweeps until nothing goes any more: each carries off a portion.
async fn swept(gateway: &Instance) -> BTreeMap<String, i64> {
    let retention = gateway.app.settings.retention();
    gateway.app.store.sweep_deadlines().await.expect("swept");
    for _ in 0..100 {
        if gateway.app.store.sweep_remains(retention).await.expect("swept") == 0 {
            return gateway.row_counts().await;
        }
    }
    panic!("there is always more to delete");
}
