//! Who is connected, on either database: reports that are late, doubled, many, or somebody else's.

use std::sync::Arc;

use futures_util::StreamExt as _;
use miid_gateway::domain::Session;
use miid_gateway::store::{Reported, Reporting};
use miid_protocol::SessionId;

use crate::fresh::{Fresh, on_both, session_of, shop};

on_both!(
    a_report_that_comes_late_changes_nothing,
    a_report_that_comes_after_its_instance_was_forgotten_changes_nothing,
    of_reports_at_the_same_moment_the_last_one_said_stands,
    instances_of_a_service_that_report_are_bounded,
);

const HOLDER: &str = "instance-0123456789abcdef";

async fn open_session(fresh: &Fresh) -> SessionId {
    let session = Arc::new(Session {
        idle_until: fresh.store.clock().now().plus(miid_protocol::Lifetime::from_secs(900)),
        ..session_of(fresh, "alice")
    });
    let opened = session.clone();
    let opening = fresh.store.write("open_session", move |tx| {
        let session = opened.clone();
        Box::pin(async move {
            tx.open_session(&session);
            Ok(())
        })
    });
    opening.await.expect("opened");
    session.id
}

fn said(seq: i64, reset: bool, opened: &[SessionId], closed: &[SessionId]) -> Reported {
    let (opened, closed) = (opened.to_vec(), closed.to_vec());
    Reported { client_id: shop(), holder: HOLDER.into(), seq, reset, opened, closed }
}

async fn report(fresh: &Fresh, report: Reported) -> Reporting {
    let told = fresh.store.write("presence", move |tx| {
        let report = report.clone();
        Box::pin(async move { tx.report_presence(&report).await })
    });
    told.await.expect("the store works")
}

async fn is_connected(fresh: &Fresh, id: SessionId) -> bool {
    let mut reader = fresh.store.read().await.expect("a reader");
    let now = fresh.store.clock().now();
    reader.presence_of_session(&shop(), id, now).await.expect("read").is_some()
}

async fn a_report_that_comes_late_changes_nothing(fresh: Fresh) {
    let id = open_session(&fresh).await;
    assert_eq!(report(&fresh, said(1, true, &[], &[])).await, Reporting::Taken);
    // The page was opened (2) and closed (3), and the first of both reports took the longer way.
    assert_eq!(report(&fresh, said(3, false, &[], &[id])).await, Reporting::Taken);
    assert_eq!(report(&fresh, said(2, false, &[id], &[])).await, Reporting::Unknown);
    assert!(!is_connected(&fresh, id).await);
    // The same for one that begins anew, and for one that is sent twice.
    assert_eq!(report(&fresh, said(2, true, &[id], &[])).await, Reporting::Unknown);
    assert_eq!(report(&fresh, said(3, true, &[id], &[])).await, Reporting::Unknown);
    assert!(!is_connected(&fresh, id).await);
    assert_eq!(report(&fresh, said(4, false, &[id], &[])).await, Reporting::Taken);
    assert!(is_connected(&fresh, id).await);
    // Nor does a late one keep alive what is not heard of any more.
    fresh.wait(14_999);
    assert!(is_connected(&fresh, id).await);
    assert_eq!(report(&fresh, said(4, false, &[], &[])).await, Reporting::Unknown);
    fresh.wait(1);
    assert!(!is_connected(&fresh, id).await);
}

async fn a_report_that_comes_after_its_instance_was_forgotten_changes_nothing(fresh: Fresh) {
    let id = open_session(&fresh).await;
    // It said goodbye (2); what it had said before (1) is still on its way.
    assert_eq!(report(&fresh, said(2, true, &[], &[])).await, Reporting::Taken);
    for _ in 0..2 {
        fresh.wait(60_000);
        fresh.store.sweep_presence().await.expect("swept");
        assert_eq!(report(&fresh, said(1, true, &[id], &[])).await, Reporting::Unknown);
        assert!(!is_connected(&fresh, id).await);
    }
    // One that was only away for as long begins anew.
    assert_eq!(report(&fresh, said(3, false, &[id], &[])).await, Reporting::Unknown);
    assert_eq!(report(&fresh, said(4, true, &[id], &[])).await, Reporting::Taken);
    assert!(is_connected(&fresh, id).await);
}

async fn of_reports_at_the_same_moment_the_last_one_said_stands(fresh: Fresh) {
    let id = open_session(&fresh).await;
    assert_eq!(report(&fresh, said(0, true, &[], &[])).await, Reporting::Taken);
    for round in 0..8 {
        let (first, last) = (round * 10 + 1, round * 10 + 9);
        let reports = (first..=last).map(|seq| {
            // Opened and closed in turn; closed at last.
            let open = seq != last && seq % 2 == 0;
            let ids = [id];
            report(&fresh, said(seq, false, if open { &ids } else { &[] }, if open { &[] } else { &ids }))
        });
        let outcomes = futures_util::future::join_all(reports.rev()).await;
        assert!(outcomes.contains(&Reporting::Taken));
        assert!(!is_connected(&fresh, id).await, "round {round}: {outcomes:?}");
    }
}

async fn instances_of_a_service_that_report_are_bounded(fresh: Fresh) {
    let one = |n: usize, seq| Reported { holder: format!("{HOLDER}-{n}"), ..said(seq, true, &[], &[]) };
    // As many at once as there are connections: more would be told to come back where the machine is slow.
    let reports = futures_util::stream::iter((0..260).map(|n| report(&fresh, one(n, 1))));
    let outcomes: Vec<_> = reports.buffered(16).collect().await;
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(Reporting::Taken), count(Reporting::TooMany)), (256, 4));
    // Those that are there go on, and those that went made room.
    let known = outcomes.iter().position(|outcome| *outcome == Reporting::Taken).expect("one");
    assert_eq!(report(&fresh, one(known, 2)).await, Reporting::Taken);
    fresh.wait(15_000);
    assert_eq!(report(&fresh, one(1000, 1)).await, Reporting::Taken);
    // And nothing piles up.
    fresh.wait(700_000);
    for _ in 0..3 {
        fresh.store.sweep_presence().await.expect("swept");
    }
    assert_eq!(report(&fresh, one(known, 1)).await, Reporting::Taken, "it is forgotten altogether");
}
