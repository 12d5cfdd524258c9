//! Step-ups that are over: with their session however that ends, by a second use, or since they were taken back.

use futures_util::future::join;
use miid_e2e::on_both;
use miid_e2e::{Renewable as _, World};
use miid_protocol::ErrorCode;
use miid_protocol::service::{ChallengeStatus, EndReason, ExpireReason, TokenResponse};

use crate::step_up_gateway::{Approved, approved, exchange, step_up, stepped_up};

on_both!(
    a_step_up_ends_with_its_session_however_that_ends,
    a_step_up_does_not_outlive_the_time_of_its_session,
    a_second_use_of_a_step_ups_code_ends_the_session,
    an_approval_and_the_end_of_the_session_at_once_have_one_winner,
    an_exchange_and_the_end_of_the_session_at_once_leave_nothing_alive,
    a_step_up_that_was_taken_back_is_worth_nothing,
);

pub(crate) const ENDED: EndReason = EndReason::Expired(ExpireReason::SessionEnded);

async fn a_step_up_ends_with_its_session_however_that_ends(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for way in ["by the person", "by the service", "by another sign-in", "by retirement"] {
        let alice = world.wallet();
        let tokens = shop.sign_in(&gateway, &alice).await;
        let session = tokens.session_id;
        let unclaimed = step_up(&shop, &gateway, session).await;
        let pending = step_up(&shop, &gateway, session).await;
        alice.claim(&gateway, &pending).await.is(200);
        let waiting = step_up(&shop, &gateway, session).await;
        let approved = approved(&shop, &gateway, &alice, &waiting).await;
        let mut log = shop.events(&gateway, Some(waiting.id()), None).await;
        let mut wallet = alice.events(&gateway, None).await;
        match way {
            "by the person" => alice.revoke(&gateway, "demo-shop", session).await.is(200).status,
            "by the service" => shop.end_session(&gateway, session).await.is(204).status,
            "by another sign-in" => u16::from(shop.sign_in(&gateway, &alice).await.scope.is_empty()),
            _ => alice.retire(&gateway).await.is(200).status,
        };
        // The wallet hears of both that it had; the service of its own.
        for _ in 0..2 {
            let told = wallet.expect("challenge_expired").await.json();
            assert_eq!(told["reason"], "session_ended", "{way}");
        }
        assert_eq!(log.expect("challenge_expired").await.json()["reason"], "session_ended", "{way}");
        for login in [&unclaimed, &pending, &waiting] {
            let now = shop.challenge(&gateway, login.id()).await;
            assert_eq!((now.status, now.reason), (ChallengeStatus::Expired, Some(ENDED)), "{way}");
            assert_eq!(now.authorization_code, None);
        }
        exchange(&shop, &gateway, &approved).await.refused(ErrorCode::InvalidGrant);
        if way == "by retirement" {
            alice.claim(&gateway, &unclaimed).await.refused(ErrorCode::DidRetired);
            continue;
        }
        alice.claim(&gateway, &unclaimed).await.refused(ErrorCode::ChallengeExpired);
        alice.try_approve_linked(&gateway, &pending.challenge).await.refused(ErrorCode::ChallengeExpired);
        alice.cancel(&gateway, &waiting.challenge).await.refused(ErrorCode::ChallengeExpired);
        assert!(alice.challenges(&gateway).await.is_empty(), "{way}");
        let live = u8::from(way == "by another sign-in");
        assert_eq!(alice.sessions(&gateway).await.len(), usize::from(live), "{way}");
    }
}

async fn a_step_up_does_not_outlive_the_time_of_its_session(world: World) {
    let flags = ["--session-ttl", "4s", "--step-up-ttl", "5m"];
    let (gateway, shop) = world.gateway_and_service(&flags).await;
    let alice = world.wallet();
    let mut wallet = alice.events(&gateway, None).await;
    let tokens = shop.sign_in(&gateway, &alice).await;
    let given = stepped_up(&shop, &gateway, &alice, tokens.session_id).await;
    assert!(given.expires_in <= 4, "nothing outlives the session: {}", given.expires_in);
    let login = step_up(&shop, &gateway, tokens.session_id).await;
    assert!(Some(login.challenge.expires_at) <= tokens.session_expires_at);
    let approved = approved(&shop, &gateway, &alice, &login).await;
    assert_eq!(wallet.expect("challenge_expired").await.json()["reason"], "session_ended");
    exchange(&shop, &gateway, &approved).await.refused(ErrorCode::InvalidGrant);
    let now = shop.challenge(&gateway, login.id()).await;
    assert_eq!((now.status, now.reason), (ChallengeStatus::Expired, Some(ENDED)));
    assert!(!shop.introspect(&gateway, &given.access_token).await.active);
}

async fn a_second_use_of_a_step_ups_code_ends_the_session(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let login = step_up(&shop, &gateway, tokens.session_id).await;
    let right = approved(&shop, &gateway, &alice, &login).await;
    let given: TokenResponse = exchange(&shop, &gateway, &right).await.is(200).ok();
    let mut wallet = alice.events(&gateway, None).await;
    // Where something of it is wrong it is no second use.
    let (code, verifier, response_code) = (&right.code, &right.verifier, &right.response_code);
    let wrong = miid_e2e::service::pkce().0;
    let others = shop.sign_in(&gateway, &world.wallet()).await.session_id;
    for answer in [
        shop.exchange_returned(&gateway, code, &wrong, response_code).await,
        shop.exchange_returned(&gateway, code, verifier, &response_code.replace("miid_rc_", "miid_rc_x"))
            .await,
        shop.exchange(&gateway, code, verifier).await,
    ] {
        answer.is(400);
        assert_eq!(answer.problem().error.as_deref(), Some("invalid_grant"));
    }
    assert!(shop.introspect(&gateway, &given.access_token).await.active);
    exchange(&shop, &gateway, &right).await.refused(ErrorCode::InvalidGrant);
    assert_eq!(wallet.expect("session_revoked").await.json()["reason"], "code_reuse");
    for token in [&given.access_token, &tokens.access_token] {
        assert!(!shop.introspect(&gateway, token).await.active);
    }
    shop.refresh(&gateway, tokens.renewal()).await.refused(ErrorCode::InvalidGrant);
    assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Revoked);
    step_up(&shop, &gateway, others).await;
}

async fn an_approval_and_the_end_of_the_session_at_once_have_one_winner(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for round in 0..12 {
        let alice = world.wallet();
        let session = shop.sign_in(&gateway, &alice).await.session_id;
        let login = step_up(&shop, &gateway, session).await;
        let claimed = round % 2 == 0;
        if claimed {
            alice.claim(&gateway, &login).await.is(200);
        }
        let answering = async {
            if claimed {
                alice.try_approve_linked(&gateway, &login.challenge).await
            } else {
                alice.claim(&gateway, &login).await
            }
        };
        let (answer, ended) = join(answering, shop.end_session(&gateway, session)).await;
        ended.is(204);
        if answer.status != 200 {
            answer.refused(ErrorCode::ChallengeExpired);
        }
        let now = shop.challenge(&gateway, login.id()).await;
        assert_eq!((now.status, now.reason), (ChallengeStatus::Expired, Some(ENDED)), "round {round}");
        assert!(alice.challenges(&gateway).await.is_empty());
    }
}

async fn an_exchange_and_the_end_of_the_session_at_once_leave_nothing_alive(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for round in 0..12 {
        let alice = world.wallet();
        let session = shop.sign_in(&gateway, &alice).await.session_id;
        let login = step_up(&shop, &gateway, session).await;
        let approved = approved(&shop, &gateway, &alice, &login).await;
        let ending = async {
            match round % 3 {
                0 => shop.end_session(&gateway, session).await.is(204).status,
                1 => alice.revoke(&gateway, "demo-shop", session).await.is(200).status,
                _ => alice.retire(&gateway).await.is(200).status,
            }
        };
        let (answer, _) = join(exchange(&shop, &gateway, &approved), ending).await;
        let now = shop.challenge(&gateway, login.id()).await;
        if answer.status == 200 {
            let given: TokenResponse = answer.ok();
            assert!(!shop.introspect(&gateway, &given.access_token).await.active, "round {round}");
            assert_eq!(now.status, ChallengeStatus::Revoked);
        } else {
            answer.refused(ErrorCode::InvalidGrant);
            assert_eq!((now.status, now.reason), (ChallengeStatus::Expired, Some(ENDED)), "round {round}");
        }
    }
}

async fn a_step_up_that_was_taken_back_is_worth_nothing(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let login = step_up(&shop, &gateway, tokens.session_id).await;
    let first = approved(&shop, &gateway, &alice, &login).await;
    alice.cancel(&gateway, &login.challenge).await.is(200);
    exchange(&shop, &gateway, &first).await.refused(ErrorCode::InvalidGrant);
    let returned = alice.approve_linked(&gateway, &login.challenge).await;
    let second = Approved {
        code: shop.code(&gateway, login.id()).await,
        verifier: login.verifier.clone(),
        response_code: returned.response_code.expose().to_owned(),
    };
    exchange(&shop, &gateway, &first).await.refused(ErrorCode::InvalidGrant);
    exchange(&shop, &gateway, &second).await.is(200);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active, "nothing of it was a second use");
    // In another browser it ends, and the session goes on.
    let login = step_up(&shop, &gateway, tokens.session_id).await;
    let approved = approved(&shop, &gateway, &alice, &login).await;
    shop.withdraw(&gateway, login.id(), Some(&approved.response_code)).await.is(200);
    exchange(&shop, &gateway, &approved).await.refused(ErrorCode::InvalidGrant);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
}
