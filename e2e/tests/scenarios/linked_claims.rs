//! Who claims a link: whoever holds its secret, once, in time, and at one instance or another.

use futures_util::future::join_all;
use miid_e2e::{Answer, Login, Service, Wallet, World, on_both, on_postgres, service};
use miid_protocol::service::{ChallengeStatus, DenyReason, TokenResponse};
use miid_protocol::{ErrorCode, paths};
use reqwest::header::RETRY_AFTER;
use serde_json::json;

on_both!(
    a_wrong_secret_looks_like_an_unknown_request,
    two_wallets_that_claim_at_once_have_one_winner,
    a_second_wallet_learns_that_it_is_taken_and_no_more,
    a_claim_comes_too_late,
    a_claim_and_a_withdrawal_at_once_have_one_winner,
    a_link_counts_for_nobody_until_it_is_claimed,
);
on_postgres!(wallets_claim_at_once_over_both,);

async fn a_wrong_secret_looks_like_an_unknown_request(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let (login, other) = (shop.linked(&gateway).await, shop.linked(&gateway).await);
    let addressed = shop.login(&gateway, mallory.did().as_str()).await;
    let right = login.link().secret;
    let unknown = miid_protocol::ChallengeId::parse("0198e0a0-0000-7000-8000-000000000001").unwrap();
    let strange = mallory.claim_with(&gateway, unknown, right.expose()).await;
    strange.refused(ErrorCode::ChallengeNotFound);
    let before = gateway.database.row_counts().await;
    let tries = [
        (login.id().to_string(), other.link().secret.expose().to_owned()),
        (login.id().to_string(), right.expose().replace("_ls_", "_rc_")),
        (login.id().to_string(), right.expose().to_uppercase()),
        (login.id().to_string(), format!("{}=", right.expose())),
        (login.id().to_string(), String::new()),
        (addressed.id().to_string(), right.expose().to_owned()),
        ("nothing".to_owned(), right.expose().to_owned()),
        (unknown.to_string(), "miid_ls_".to_owned()),
    ];
    for (id, secret) in &tries {
        let answer = mallory.claim_with(&gateway, id, secret).await;
        assert_eq!((answer.status, answer.text()), (strange.status, strange.text()), "{id}");
        let names = |answer: &Answer| {
            answer.headers.keys().filter(|name| *name != "date").map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&answer), names(&strange));
    }
    // Each used its proof up and did nothing else.
    let mut after = gateway.database.row_counts().await;
    *after.get_mut("proofs").unwrap() -= i64::try_from(tries.len()).unwrap();
    assert_eq!(before, after);
    mallory
        .post(&gateway, &paths::with_id(paths::WALLET_CLAIM, login.id()), &json!({}))
        .await
        .refused(ErrorCode::InvalidRequest);
    // Whoever knows no more than its id can do nothing else with it either.
    mallory.try_approve_linked(&gateway, &login.challenge).await.refused(ErrorCode::ChallengeNotFound);
    let denied = mallory.deny(&gateway, &login.challenge, DenyReason::NotMe).await;
    denied.refused(ErrorCode::ChallengeNotFound);
    alice.claim(&gateway, &login).await.is(200);
}

async fn two_wallets_that_claim_at_once_have_one_winner(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for _ in 0..4 {
        let login = shop.linked(&gateway).await;
        let wallets: Vec<Wallet> = (0..8).map(|_| world.wallet()).collect();
        let claims = wallets.iter().map(|wallet| wallet.claim(&gateway, &login));
        one_claimed(&gateway, &shop, &login, &wallets, &join_all(claims).await).await;
    }
}

/// Of many that claimed at once one has it, and can go on.
async fn one_claimed(
    gateway: &miid_e2e::Gateway,
    shop: &Service,
    login: &Login,
    wallets: &[Wallet],
    answers: &[Answer],
) {
    let won: Vec<usize> = (0..answers.len()).filter(|i| answers[*i].status == 200).collect();
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for (i, wallet) in wallets.iter().enumerate().filter(|(i, _)| *i != won[0]) {
        answers[i].refused(ErrorCode::AlreadyClaimed);
        assert!(wallet.challenges(gateway).await.is_empty());
    }
    let returned = wallets[won[0]].approve_linked(gateway, &login.challenge).await;
    let code = shop.code(gateway, login.id()).await;
    let tokens: TokenResponse =
        shop.exchange_returned(gateway, &code, &login.verifier, returned.response_code.expose()).await.ok();
    assert_eq!(tokens.did, *wallets[won[0]].did());
    let mut log = shop.events(gateway, Some(login.id()), None).await;
    let told = [log.next().await.unwrap(), log.next().await.unwrap()];
    assert_eq!(service::names(&told), ["challenge_claimed", "challenge_verified"], "claimed once, told once");
}

async fn a_second_wallet_learns_that_it_is_taken_and_no_more(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let login = shop.linked(&gateway).await;
    alice.claim(&gateway, &login).await.is(200);
    let unchanged = shop.challenge(&gateway, login.id()).await;
    mallory.claim(&gateway, &login).await.refused(ErrorCode::AlreadyClaimed);
    let without_the_secret = mallory.claim_with(&gateway, login.id(), "miid_ls_").await;
    without_the_secret.refused(ErrorCode::ChallengeNotFound);
    mallory.try_approve_linked(&gateway, &login.challenge).await.refused(ErrorCode::ChallengeNotFound);
    assert_eq!(shop.challenge(&gateway, login.id()).await, unchanged);
    assert!(mallory.challenges(&gateway).await.is_empty());
    // Nor does it learn how it went on.
    alice.deny(&gateway, &login.challenge, DenyReason::Declined).await.is(200);
    mallory.claim(&gateway, &login).await.refused(ErrorCode::AlreadyClaimed);
    alice.claim(&gateway, &login).await.refused(ErrorCode::ChallengeNotPending);
}

async fn a_claim_comes_too_late(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--challenge-ttl", "2s"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let mut log = shop.events(&gateway, None, None).await;
    let withdrawn = shop.linked(&gateway).await;
    shop.withdraw(&gateway, withdrawn.id(), None).await.is(200);
    alice.claim(&gateway, &withdrawn).await.refused(ErrorCode::ChallengeExpired);
    let (in_time, late) = (shop.linked(&gateway).await, shop.linked(&gateway).await);
    bob.claim(&gateway, &in_time).await.is(200);
    for _ in 0..3 {
        log.expect("challenge_expired").await;
    }
    alice.claim(&gateway, &late).await.refused(ErrorCode::ChallengeExpired);
    alice.claim_with(&gateway, late.id(), "miid_ls_").await.refused(ErrorCode::ChallengeNotFound);
    bob.claim(&gateway, &in_time).await.refused(ErrorCode::ChallengeExpired);
    alice.claim(&gateway, &in_time).await.refused(ErrorCode::AlreadyClaimed);
    // One of the same browser's that was begun anew.
    let first = shop.linked(&gateway).await;
    let (mut body, _) = shop.asking_for_a_link();
    body.replaces = Some(first.id().to_string());
    shop.create(&gateway, &body).await.is(201);
    alice.claim(&gateway, &first).await.refused(ErrorCode::ChallengeExpired);
}

async fn a_claim_and_a_withdrawal_at_once_have_one_winner(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    for i in 0..12 {
        let (alice, login) = (world.wallet(), shop.linked(&gateway).await);
        let claiming = async { alice.claim(&gateway, &login).await };
        let withdrawing = async { shop.withdraw(&gateway, login.id(), None).await };
        let (claimed, withdrawn) = if i % 2 == 0 {
            tokio::join!(claiming, withdrawing)
        } else {
            let (withdrawn, claimed) = tokio::join!(withdrawing, claiming);
            (claimed, withdrawn)
        };
        // A withdrawal ends what was claimed, too; a claim does not bring back what was withdrawn.
        withdrawn.is(200);
        if claimed.status != 200 {
            claimed.refused(ErrorCode::ChallengeExpired);
        }
        assert_eq!(shop.challenge(&gateway, login.id()).await.status, ChallengeStatus::Expired);
        assert!(alice.challenges(&gateway).await.is_empty());
        alice.claim(&gateway, &login).await.refused(ErrorCode::ChallengeExpired);
        let mut log = shop.events(&gateway, Some(login.id()), None).await;
        let mut told = vec![log.next().await.unwrap()];
        if claimed.status == 200 {
            told.push(log.next().await.unwrap());
        }
        let expected: &[&str] = if claimed.status == 200 {
            &["challenge_claimed", "challenge_expired"]
        } else {
            &["challenge_expired"]
        };
        assert_eq!(service::names(&told), expected);
    }
}

async fn a_link_counts_for_nobody_until_it_is_claimed(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let hint = alice.did().as_str();
    // Links count for nobody, however many there are.
    let mut links = Vec::new();
    for _ in 0..12 {
        links.push(shop.linked(&gateway).await);
    }
    // Strangers use up all that may wait for her, at one shop and at others.
    let mut shops = vec![shop.clone()];
    for i in 0..3 {
        shops.push(gateway.add_service(&format!("shop-{i}"), &[]).await);
    }
    let mut waiting = 0;
    for shop in &shops {
        for _ in 0..4 {
            let (body, _) = shop.asking(hint);
            let answer = shop.create(&gateway, &body).await;
            waiting += usize::from(answer.status == 201);
        }
    }
    assert_eq!(waiting, 10);
    let (body, _) = shops[3].asking(hint);
    shops[3].create(&gateway, &body).await.refused(ErrorCode::TooManyChallenges);

    // She is not shut out of the linked way by that; but she herself does not claim without end.
    let last = links.split_off(10);
    for login in &links {
        alice.claim(&gateway, login).await.is(200);
    }
    for login in &last {
        let before = shop.challenge(&gateway, login.id()).await;
        let full = alice.claim(&gateway, login).await;
        full.refused(ErrorCode::TooManyChallenges);
        let seconds: u64 = full.header(RETRY_AFTER).unwrap().parse().unwrap();
        assert!((1..=301).contains(&seconds), "{seconds}");
        assert_eq!(shop.challenge(&gateway, login.id()).await, before, "nothing changed");
    }
    alice.claim(&gateway, &links[0]).await.is(200);
    assert_eq!(alice.challenges(&gateway).await.len(), 20);
    world.wallet().claim(&gateway, &last[1]).await.is(200);
    // One answered makes room for another.
    alice.deny(&gateway, &links[0].challenge, DenyReason::Declined).await.is(200);
    alice.claim(&gateway, &last[0]).await.is(200);

    // What she claimed counts for her from then on.
    let bob = world.wallet();
    for _ in 0..10 {
        let login = shop.linked(&gateway).await;
        bob.claim(&gateway, &login).await.is(200);
    }
    let (body, _) = shop.asking(bob.did().as_str());
    shop.create(&gateway, &body).await.refused(ErrorCode::TooManyChallenges);
}

async fn wallets_claim_at_once_over_both(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another("gateway-b").await;
    for _ in 0..4 {
        let login = shop.linked(&a).await;
        let wallets: Vec<Wallet> = (0..8).map(|_| world.wallet()).collect();
        let claims = wallets.iter().enumerate().map(|(i, wallet)| {
            let at = if i % 2 == 0 { &a } else { &b };
            wallet.claim(at, &login)
        });
        one_claimed(&b, &shop, &login, &wallets, &join_all(claims).await).await;
    }
}
