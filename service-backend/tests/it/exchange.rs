use std::time::Duration;

use miid_protocol::service::{ChallengeStatus, EndReason, ExpireReason, RevokeReason};

use crate::gateway::{Exchange, Gateway};
use crate::world::{Browser, World, postgres, serve};

#[tokio::test]
async fn an_exchange_that_was_not_done_is_done_again() {
    let world = World::new().await;
    let mut browser = world.browser();
    world.gateway.book().script.extend([Exchange::Busy, Exchange::Busy, Exchange::Busy]);
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve(id);
    assert_eq!(stream.until("approved").await.data["did"], crate::gateway::did().as_str());
    stream.until("active").await;
    assert_eq!(world.gateway.book().exchanges, 4);
    assert!(world.gateway.book().revoked.is_empty());
}

#[tokio::test]
async fn an_exchange_whose_answer_was_lost_is_undone_and_the_browser_starts_again() {
    let world = World::new().await;
    let mut browser = world.browser();
    world.gateway.book().script.push_back(Exchange::Lost);
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve(id);
    assert_eq!(stream.until("expired").await.data["reason"], "withdrawn");
    let book = world.gateway.book();
    assert_eq!(book.exchanges, 2);
    assert!(book.sessions.is_empty(), "nothing is left over");
    assert_eq!(book.revoked.first().map(|(_, reason)| *reason), Some(RevokeReason::CodeReuse));
}

#[tokio::test]
async fn an_approval_taken_back_in_time_waits_again_and_the_second_counts() {
    let world = World::new().await;
    let mut browser = world.browser();
    world.gateway.book().script.push_back(Exchange::Busy);
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.approve(id);
    stream.until("approved").await;
    world.gateway.take_back(id);
    stream.until("pending").await;
    world.gateway.approve(id);
    stream.until("active").await;
    browser.complete(id).await.expect(200);
}

#[tokio::test]
async fn an_approval_heard_twice_is_exchanged_once() {
    let world = World::new().await;
    let mut browser = world.browser();
    let id = browser.start("alice").await;
    let mut stream = browser.watch_login(id).await;
    world.gateway.change(|book| book.down = true);
    world.gateway.approve(id);
    world.gateway.change(|book| {
        let event = book.log.last().cloned().expect("an event");
        book.log.extend([event.clone(), event]);
        book.down = false;
    });
    stream.until("active").await;
    let other = browser.start("bob").await;
    let mut stream = browser.watch_login(other).await;
    world.gateway.approve(other);
    stream.until("active").await;
    assert_eq!(world.gateway.book().exchanges, 2);
    assert!(world.gateway.book().revoked.is_empty());
}

#[tokio::test]
async fn two_instances_told_of_one_approval_exchange_once() {
    let Some(database_url) = postgres().await else { return };
    let world = World::with(|config| config.database_url.clone_from(&database_url)).await;
    let second =
        serve(&world.gateway, &world.folder, &world.clock, |config| config.database_url = database_url).await;
    while second.sign_in.ready().await.is_err() {
        tokio::task::yield_now().await;
    }
    let (mut here, mut there) = (world.browser(), Browser::new(&second.url));
    for n in 1..=10 {
        let id = here.start("alice").await;
        there.cookies.clone_from(&here.cookies);
        let mut streams = [here.watch_login(id).await, there.watch_login(id).await];
        world.gateway.approve(id);
        for stream in &mut streams {
            stream.until("active").await;
        }
        assert_eq!(world.gateway.book().exchanges, n);
        let session = there.complete(id).await.expect(200).body;
        here.cookies.clone_from(&there.cookies);
        let mut streams = [here.watch("/session/stream").await, there.watch("/session/stream").await];
        let session_id = session["session_id"].as_str().expect("an id").parse().expect("an id");
        world.gateway.revoke(session_id, RevokeReason::User);
        for stream in &mut streams {
            stream.until("force_logout").await;
        }
    }
    assert!(world.gateway.book().revoked.iter().all(|(_, reason)| *reason == RevokeReason::User));
}

/// The first life of the service ends in the middle of an exchange; the second takes it up.
fn killed_in_an_exchange(done: bool) -> (ChallengeStatus, Option<EndReason>, usize, usize) {
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
        let id = loop {
            let answer = browser.try_start("alice").await;
            if answer.status == 201 {
                break answer.body["challenge_id"].as_str().expect("an id").parse().expect("an id");
            }
        };
        gateway.approve(id);
        gateway.until("an exchange", |book| book.exchanges == 1).await;
        (id, browser.cookies)
    });
    first_life.shutdown_timeout(Duration::from_secs(5));
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
        (status.status, status.reason, book.exchanges, book.sessions.len())
    })
}

#[test]
fn killed_before_its_exchange_was_done_a_service_does_it_after_the_restart() {
    assert_eq!(killed_in_an_exchange(false), (ChallengeStatus::Active, None, 2, 1));
}

#[test]
fn killed_after_its_exchange_was_done_a_service_undoes_it_after_the_restart() {
    let withdrawn = Some(EndReason::Expired(ExpireReason::Withdrawn));
    assert_eq!(killed_in_an_exchange(true), (ChallengeStatus::Expired, withdrawn, 2, 0));
}
