//! Everything that grows has a bound, and whoever meets it is told when to come back.

use miid_e2e::{Shop, World, on_sqlite};
use miid_protocol::{ErrorCode, paths};

on_sqlite!(
    sign_ins_started_from_one_address,
    wallet_requests_from_one_address_before_any_signature_is_checked,
    wrong_logins_of_services_from_one_address,
    new_dids_from_one_address,
    proofs_are_never_forgotten_to_make_room,
    streams_of_one_wallet,
    challenges_of_one_person_over_all_services,
);

async fn sign_ins_started_from_one_address(world: World) {
    let (gateway, service) = world.gateway_and_service(&[]).await;
    let shop = Shop::start(&world, &gateway, &service, &["--start-rate", "3"]).await;
    let mut refused = 0;
    for _ in 0..6 {
        let answer = world.browser(&shop).try_start(world.wallet().did().as_str()).await;
        if answer.status != 201 {
            answer.refused(ErrorCode::RateLimited);
            refused += 1;
        }
    }
    assert!(refused >= 2, "{refused}");
}

async fn wallet_requests_from_one_address_before_any_signature_is_checked(world: World) {
    let gateway = world.gateway(&["--requests-per-address", "5"]).await;
    let alice = world.wallet();
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(alice.send_with(&gateway, "no.proof.atall", "GET", paths::WALLET_SESSIONS, b"").await);
    }
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty());
    for answer in &answers {
        let code = if answer.status == 429 { ErrorCode::RateLimited } else { ErrorCode::InvalidProof };
        answer.refused(code);
    }
    // It is the wallets' bound: a service goes on.
    let shop = gateway.add_service("demo-shop", &[]).await;
    shop.login(&gateway, alice.did().as_str()).await;
}

async fn wrong_logins_of_services_from_one_address(world: World) {
    let gateway = world.gateway(&["--wrong-logins-per-address", "3"]).await;
    let shop = gateway.add_service("demo-shop", &[]).await;
    shop.get(&gateway, paths::SERVICE_CHALLENGES).await.is(200);
    let mut guesser = shop.clone();
    guesser.secret = format!("miid_cs_{}", "A".repeat(43));
    let mut refused = 0;
    for _ in 0..8 {
        let answer = guesser.get(&gateway, paths::SERVICE_CHALLENGES).await;
        let code = if answer.status == 429 { ErrorCode::RateLimited } else { ErrorCode::InvalidClient };
        refused += usize::from(answer.status == 429);
        answer.refused(code);
    }
    assert!(refused >= 4, "{refused}");
    // Wallets at the same address are not shut out by it.
    world.wallet().get(&gateway, paths::WALLET_SESSIONS).await.is(200);
}

async fn new_dids_from_one_address(world: World) {
    let gateway = world.gateway(&["--new-dids-per-address", "3"]).await;
    let known = world.wallet();
    known.get(&gateway, paths::WALLET_SESSIONS).await.is(200);
    let mut refused = 0;
    for _ in 0..8 {
        let answer = world.wallet().get(&gateway, paths::WALLET_SESSIONS).await;
        if answer.status != 200 {
            answer.refused(ErrorCode::RateLimited);
            refused += 1;
        }
    }
    assert!(refused >= 4, "{refused}");
    known.get(&gateway, paths::WALLET_SESSIONS).await.is(200);
}

async fn proofs_are_never_forgotten_to_make_room(world: World) {
    let gateway = world.gateway(&["--max-proofs", "5"]).await;
    let alice = world.wallet();
    let first = alice.proof(&gateway, "GET", paths::WALLET_SESSIONS, b"");
    alice.send_with(&gateway, &first, "GET", paths::WALLET_SESSIONS, b"").await.is(200);
    let mut busy = false;
    for _ in 0..10 {
        let answer = alice.get(&gateway, paths::WALLET_SESSIONS).await;
        if answer.status != 200 {
            answer.refused(ErrorCode::Busy);
            busy = true;
        }
    }
    assert!(busy);
    let replayed = alice.send_with(&gateway, &first, "GET", paths::WALLET_SESSIONS, b"").await;
    assert!(matches!(replayed.problem().code, ErrorCode::Busy | ErrorCode::ReplayedProof));
}

async fn streams_of_one_wallet(world: World) {
    let gateway = world.gateway(&["--streams-per-key", "2"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let streams = [alice.events(&gateway, None).await, alice.events(&gateway, None).await];
    alice.get(&gateway, paths::WALLET_EVENTS).await.refused(ErrorCode::RateLimited);
    let his = bob.events(&gateway, None).await;
    // Who leaves makes room.
    drop(streams);
    miid_e2e::eventually("there is room again", || async {
        let response = alice.events_request(&gateway, None).send().await.ok()?;
        (response.status() == 200).then_some(())
    })
    .await;
    drop(his);
}

async fn challenges_of_one_person_over_all_services(world: World) {
    let gateway = world.gateway(&["--pending-per-person", "4"]).await;
    let alice = world.wallet();
    let mut shops = Vec::new();
    for i in 0..5 {
        shops.push(gateway.add_service(&format!("shop-{i}"), &[]).await);
    }
    for shop in &shops[..4] {
        shop.login(&gateway, alice.did().as_str()).await;
    }
    let (body, _) = shops[4].asking(alice.did().as_str());
    shops[4].create(&gateway, &body).await.refused(ErrorCode::TooManyChallenges);
    // One that is answered makes room.
    let waiting = &alice.challenges(&gateway).await[0];
    let shop = shops.iter().find(|shop| waiting.request.contains(&shop.client_id)).unwrap();
    let path = paths::with_id(paths::CHALLENGE_WITHDRAW, waiting.challenge_id);
    shop.post(&gateway, &path, &serde_json::json!({})).await.is(200);
    shops[4].create(&gateway, &body).await.is(201);
}
