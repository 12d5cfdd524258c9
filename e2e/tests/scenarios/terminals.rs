//! The real wallet without a window.

use miid_e2e::{Terminal, World, eventually, on_both, on_sqlite};
use miid_protocol::service::ChallengeStatus;

use crate::sign_in::{is_active, reaches};

on_both!(a_person_signs_in_with_the_real_wallet);
on_sqlite!(
    a_wallet_that_was_away_while_three_challenges_came_asks_about_each,
    the_wallet_reconnects_to_a_gateway_that_was_killed,
    the_wallet_revokes_from_its_command_line,
);

async fn a_person_signs_in_with_the_real_wallet(world: World) {
    let (gateway, shop) = world.gateway_and_shop(&[]).await;
    let mut alice = Terminal::init(&world, &gateway, "Alice").await;
    alice.run(&["profile", "set", "name=Alice Kim", "email=alice@example.com"]).await.ok();
    alice.run(&["handle", "alice"]).await.ok();
    alice.listen().await;
    let browser = world.browser(&shop);

    let started = browser.start("@alice").await;
    let asked = alice.is_asked(started.challenge_id).await;
    assert!(!asked.to_string().contains("match_code"), "{asked}");
    alice.approve(started.challenge_id, started.match_code.as_deref().unwrap(), &["name"]);
    is_active(&browser, &started).await;
    browser.complete(started.challenge_id).await.is(200);
    let session = browser.session().await;
    assert_eq!(session.did, alice.did().await);
    assert_eq!(session.approved_claims, ["name"]);
    assert_eq!(session.claims["name"], "Alice Kim");

    let started = browser.start("@alice").await;
    alice.is_asked(started.challenge_id).await;
    alice.deny(started.challenge_id);
    reaches(&browser, &started, ChallengeStatus::Denied).await;
    let history = alice.run(&["history"]).await.ok();
    assert!(history.contains("Demo Shop"), "{history}");
}

async fn a_wallet_that_was_away_while_three_challenges_came_asks_about_each(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let mut alice = Terminal::init(&world, &gateway, "Alice").await;
    let did = alice.did().await;
    alice.listen().await;
    alice.kill();
    let mut logins = Vec::new();
    for _ in 0..3 {
        logins.push(shop.login(&gateway, did.as_str()).await);
    }
    alice.listen().await;
    for login in &logins {
        alice.is_asked(login.id()).await;
    }
    alice.approve(logins[1].id(), logins[1].number(), &[]);
    eventually("the approval arrives", || async {
        let now = shop.challenge(&gateway, logins[1].id()).await;
        (now.status == ChallengeStatus::Approved).then_some(())
    })
    .await;
    for other in [&logins[0], &logins[2]] {
        assert_eq!(shop.challenge(&gateway, other.id()).await.status, ChallengeStatus::Pending);
    }
}

async fn the_wallet_reconnects_to_a_gateway_that_was_killed(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let mut alice = Terminal::init(&world, &gateway, "Alice").await;
    let did = alice.did().await;
    alice.listen().await;
    gateway.kill();
    gateway.restart().await;
    let login = shop.login(&gateway, did.as_str()).await;
    alice.is_asked(login.id()).await;
    alice.approve(login.id(), login.number(), &[]);
    eventually("the approval arrives", || async {
        let now = shop.challenge(&gateway, login.id()).await;
        (now.status == ChallengeStatus::Approved).then_some(())
    })
    .await;
}

async fn the_wallet_revokes_from_its_command_line(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let mut alice = Terminal::init(&world, &gateway, "Alice").await;
    let did = alice.did().await;
    alice.listen().await;
    let login = shop.login(&gateway, did.as_str()).await;
    alice.is_asked(login.id()).await;
    alice.approve(login.id(), login.number(), &[]);
    eventually("the approval arrives", || async {
        let now = shop.challenge(&gateway, login.id()).await;
        (now.status == ChallengeStatus::Approved).then_some(())
    })
    .await;
    let tokens = shop.finish(&gateway, &login).await;
    alice.kill();
    let session = tokens.session_id.to_string();
    let listed = alice.run(&["sessions"]).await.ok();
    assert!(listed.contains(&session) && listed.contains("Demo Shop"), "{listed}");
    alice.run(&["revoke", &session]).await.ok();
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
}
