//! Coming back twice, at once, through another instance, or with the service dying on the way.

use std::time::Duration;

use futures_util::future::join_all;
use miid_protocol::service::ChallengeStatus;
use serde_json::json;

use crate::gateway::{Exchange, Gateway};
use crate::world::{Browser, World, postgres, serve};

#[tokio::test]
async fn coming_back_again_says_where_it_stands_and_exchanges_nothing() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start_linked().await;
    let back = world.gateway.approve_linked(id);
    for _ in 0..3 {
        assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
    }
    browser.complete(id).await.expect(200);
    assert_eq!(browser.come_back(&back).await.expect(200).body["status"], "active");
    browser.get("/session").await.expect(200);
    let book = world.gateway.book();
    assert_eq!((book.exchanges, book.revoked.len(), book.sessions.len()), (1, 0, 1));
}

#[tokio::test]
async fn eight_returns_at_once_exchange_once() {
    let world = World::new().await;
    for n in 1..=5 {
        let mut browser = world.browser();
        let id = browser.start_linked().await;
        let back = world.gateway.approve_linked(id);
        let returns = (0..8).map(|_| {
            let request = browser.request(reqwest::Method::POST, "/auth/return").json(&back);
            async {
                request.send().await.expect("an answer").json::<serde_json::Value>().await.expect("JSON")
            }
        });
        for answer in join_all(returns).await {
            assert_eq!(answer["status"], "active", "{answer}");
        }
        assert_eq!(world.gateway.book().exchanges, n);
    }
    assert!(world.gateway.book().revoked.is_empty());
}

#[tokio::test]
async fn a_wrong_and_a_right_code_at_once_end_with_the_right_one() {
    let world = World::new().await;
    for _ in 0..5 {
        let mut browser = world.browser();
        let id = browser.start_linked().await;
        let back = world.gateway.approve_linked(id);
        let mut wrong = back.clone();
        wrong["response_code"] = json!(format!("miid_rc_{}", "A".repeat(43)));
        let returns = [&wrong, &back, &wrong, &back].map(|body| {
            let request = browser.request(reqwest::Method::POST, "/auth/return").json(body);
            async { request.send().await.expect("an answer").status().as_u16() }
        });
        let answers = join_all(returns).await;
        assert_eq!((answers[1], answers[3]), (200, 200), "{answers:?}");
        assert_eq!(browser.status(id).await.status, ChallengeStatus::Active);
    }
    assert!(world.gateway.book().revoked.is_empty());
}

#[tokio::test]
async fn giving_up_and_coming_back_at_once_have_one_winner() {
    let world = World::new().await;
    for _ in 0..8 {
        let mut browser = world.browser();
        let id = browser.start_linked().await;
        let back = world.gateway.approve_linked(id);
        let returns = browser.request(reqwest::Method::POST, "/auth/return").json(&back);
        let cancels = browser.request(reqwest::Method::POST, &format!("/auth/cancel/{id}"));
        let (returned, cancelled) = tokio::join!(returns.send(), cancels.send());
        let returned: serde_json::Value = returned.expect("an answer").json().await.expect("JSON");
        let cancelled = cancelled.expect("an answer").status().as_u16();
        let is_active = browser.status(id).await.status == ChallengeStatus::Active;
        assert_eq!(cancelled, if is_active { 409 } else { 204 }, "{returned}");
        assert_eq!(returned["status"] == "active", is_active, "{returned}");
    }
}

#[tokio::test]
async fn a_return_that_lands_on_another_instance_than_the_stream_is_heard_by_both() {
    let Some(database_url) = postgres().await else { return };
    let world = World::with(|config| config.database_url.clone_from(&database_url)).await;
    let second =
        serve(&world.gateway, &world.folder, &world.clock, |config| config.database_url = database_url).await;
    while second.sign_in.ready().await.is_err() {
        tokio::task::yield_now().await;
    }
    let (mut here, mut there) = (world.browser(), Browser::new(&second.url));
    for n in 1..=5 {
        let id = here.start_linked().await;
        there.cookies.clone_from(&here.cookies);
        let mut streams = [here.watch_login(id).await, there.watch_login(id).await];
        world.gateway.claim(id);
        for stream in &mut streams {
            stream.until("claimed").await;
        }
        let back = world.gateway.approve_linked(id);
        // At once through both, perhaps before either has heard of the approval.
        let returns = [&here, &there].map(|browser| {
            let request = browser.request(reqwest::Method::POST, "/auth/return").json(&back);
            async {
                request.send().await.expect("an answer").json::<serde_json::Value>().await.expect("JSON")
            }
        });
        for answer in join_all(returns).await {
            assert_eq!(answer["status"], "active", "{answer}");
        }
        for stream in &mut streams {
            stream.until("active").await;
        }
        assert_eq!(world.gateway.book().exchanges, n);
        there.complete(id).await.expect(200);
        here.cookies.clone_from(&there.cookies);
    }
    // One that is stopped at one instance is stopped at the other.
    let id = here.start_linked().await;
    let mut stream = here.watch_login(id).await;
    let back = world.gateway.approve_linked(id);
    Browser::new(&second.url).come_back(&back).await.expect(200);
    assert_eq!(stream.until("expired").await.data["reason"], "other_browser");
}

/// The first life of the service ends in the middle of a linked exchange; the second takes it up with what it
/// sealed, since the browser's tab may be gone.
fn killed_in_a_linked_exchange(done: bool) -> (ChallengeStatus, usize, usize) {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let outside = runtime();
    let gateway = outside.block_on(Gateway::start());
    let folder = tempfile::tempdir().expect("a folder");
    let clock = std::sync::Arc::default();

    let first_life = runtime();
    let (id, cookies) = first_life.block_on(async {
        let service = serve(&gateway, &folder, &clock, |_| {}).await;
        gateway.book().script.push_back(Exchange::Hang);
        let mut browser = Browser::new(&service.url);
        let id = browser.start_linked().await;
        let back = gateway.approve_linked(id);
        let request = browser.request(reqwest::Method::POST, "/auth/return").json(&back);
        tokio::spawn(request.send());
        gateway.until("an exchange", |book| book.exchanges == 1).await;
        (id, browser.cookies)
    });
    first_life.shutdown_timeout(Duration::from_secs(5));
    let database = std::fs::read(folder.path().join("service.db")).expect("a database");
    let log = std::fs::read(folder.path().join("service.db-wal")).unwrap_or_default();
    let response = gateway.book().responses[&id].clone();
    for bytes in [database, log] {
        let part = &response.as_bytes()["miid_rc_".len()..];
        assert!(
            !bytes.windows(part.len()).any(|window| window == part),
            "the response code lies in the clear"
        );
    }
    if done {
        gateway.change(|book| {
            let session = "0198e0a0-0000-7000-8000-0000000000ff".parse().expect("an id");
            book.sessions.insert(session, "sub-1".into());
            for (_, spent) in book.codes.values_mut() {
                *spent = Some(session);
            }
            book.challenges.get_mut(&id).expect("a challenge").0.status = ChallengeStatus::Active;
        });
    }
    outside.block_on(async {
        let service = serve(&gateway, &folder, &clock, |_| {}).await;
        let mut browser = Browser::new(&service.url);
        browser.cookies = cookies;
        let mut stream = browser.watch_login(id).await;
        while stream.next().await.is_some() {}
        let status = browser.status(id).await;
        let book = gateway.book();
        (status.status, book.exchanges, book.sessions.len())
    })
}

#[test]
fn killed_before_a_linked_exchange_was_done_a_service_does_it_after_the_restart() {
    assert_eq!(killed_in_a_linked_exchange(false), (ChallengeStatus::Active, 2, 1));
}

#[test]
fn killed_after_a_linked_exchange_was_done_a_service_undoes_it_after_the_restart() {
    assert_eq!(killed_in_a_linked_exchange(true), (ChallengeStatus::Expired, 2, 0));
}
