//! An identity ends, and with it everything that it was: at once, at every service, for ever; and whoever holds
//! the statement on paper needs no key for it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use miid_e2e::{Answer, Gateway, Renewable as _, Wallet, World, on_both, on_postgres, service};
use miid_protocol::service::{ChallengeStatus, DenyReason};
use miid_protocol::statement::{self, Decision};
use miid_protocol::wallet::RetireOutcome;
use miid_protocol::{ErrorCode, Issuer, paths};
use reqwest::Method;
use serde_json::{Value, json};

use crate::quotas::{grown, shape};

on_both!(
    everything_of_an_identity_ends_at_once,
    a_sheet_of_paper_is_enough,
    a_proof_that_came_along_must_hold,
    what_is_no_retirement_retires_nobody,
    retired_twice_and_many_times_at_once_is_retired_once,
    a_name_that_was_used_up_does_not_keep_a_stolen_key_alive,
    a_retired_identity_cannot_be_told_from_an_unknown_one,
    the_gateway_is_killed_around_a_retirement,
);
on_postgres!(streams_end_at_every_instance,);

/// Sends a statement as a sheet of paper would: nobody proves anything.
pub(crate) async fn from_paper(world: &World, gateway: &Gateway, body: &Value) -> Answer {
    world.send(gateway, Method::POST, paths::WALLET_RETIRE, |request| request.json(body)).await
}

/// Everything that a wallet can ask for is refused with this code.
pub(crate) async fn every_call_is(gateway: &Gateway, wallet: &Wallet, code: ErrorCode) {
    let id = "0198e0a0-0000-7000-8000-000000000001";
    for path in [paths::WALLET_CHALLENGES, paths::WALLET_SESSIONS, paths::WALLET_EVENTS] {
        wallet.get(gateway, path).await.refused(code);
    }
    wallet.claim_handle(gateway, "another-name").await.refused(code);
    wallet.claim_with(gateway, id, "miid_ls_").await.refused(code);
    let body = json!({"statement": wallet.retirement(gateway)});
    for path in [paths::WALLET_APPROVE, paths::WALLET_DENY, paths::WALLET_CANCEL, paths::WALLET_REVOKE] {
        wallet.post(gateway, &paths::with_id(path, id), &body).await.refused(code);
    }
}

async fn everything_of_an_identity_ends_at_once(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let many = gateway.add_service("many-shop", &["--session-policy", "multiple"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    alice.claim_handle(&gateway, "alice").await.is(200);
    let untouched = shop.sign_in(&gateway, &bob).await;
    let mut signed_in = vec![(&shop, shop.sign_in(&gateway, &alice).await)];
    for _ in 0..3 {
        signed_in.push((&many, many.sign_in(&gateway, &alice).await));
    }
    let pending = shop.login(&gateway, "alice").await;
    let link = shop.linked(&gateway).await;
    alice.claim(&gateway, &link).await.is(200);
    let approved = many.login(&gateway, "alice").await;
    alice.approve(&gateway, &approved.challenge, approved.number()).await.is(200);
    let code = many.code(&gateway, approved.id()).await;
    let unclaimed = shop.linked(&gateway).await;
    let (mut log, mut many_log) =
        (shop.events(&gateway, None, None).await, many.events(&gateway, None, None).await);
    let mut devices = [alice.events(&gateway, None).await, alice.events(&gateway, None).await];
    let bobs = bob.events(&gateway, None).await;

    let retired: RetireOutcome = alice.retire(&gateway).await.is(200).ok();
    assert_eq!(retired.did, *alice.did());
    for device in &mut devices {
        let told = device.rest().await;
        let mut names = service::names(&told);
        names.sort_unstable();
        let (denied, expired) = (["challenge_denied"; 2], ["challenge_expired"]);
        assert_eq!(names, [&denied[..], &expired, &["session_revoked"; 4]].concat(), "and the stream ended");
    }
    for (shop, tokens) in &signed_in {
        assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
        shop.refresh(&gateway, tokens.renewal()).await.refused(ErrorCode::InvalidGrant);
        shop.userinfo(&gateway, &tokens.access_token).await.refused(ErrorCode::InvalidToken);
    }
    for _ in 0..3 {
        let ended = log.next().await.unwrap();
        let reason = if ended.name == "session_revoked" { "retired" } else { "not_me" };
        assert_eq!(ended.json()["reason"], reason, "{ended:?}");
    }
    for _ in 0..4 {
        let ended = many_log.next().await.unwrap();
        let reason = if ended.name == "session_revoked" { "retired" } else { "withdrawn" };
        assert_eq!(ended.json()["reason"], reason, "{ended:?}");
    }
    many.exchange(&gateway, &code, &approved.verifier).await.refused(ErrorCode::InvalidGrant);
    for login in [&pending, &link] {
        let now = shop.challenge(&gateway, login.id()).await;
        assert_eq!((now.status, now.reason.unwrap().as_str()), (ChallengeStatus::Denied, "not_me"));
    }
    assert_eq!(many.challenge(&gateway, approved.id()).await.reason.unwrap().as_str(), "withdrawn");

    // From now on it is refused, whatever it asks for, links included; after everything about the proof.
    every_call_is(&gateway, &alice, ErrorCode::DidRetired).await;
    alice.claim(&gateway, &unclaimed).await.refused(ErrorCode::DidRetired);
    let proof = alice.proof(&gateway, "GET", paths::WALLET_SESSIONS, b"");
    let send = || alice.send_with(&gateway, &proof, "GET", paths::WALLET_SESSIONS, b"");
    send().await.refused(ErrorCode::DidRetired);
    send().await.refused(ErrorCode::ReplayedProof);
    let stale = alice.proof_at(&gateway, "GET", paths::WALLET_SESSIONS, b"", miid_e2e::clock::now_s() - 600);
    let answer = alice.send_with(&gateway, &stale, "GET", paths::WALLET_SESSIONS, b"").await;
    answer.refused(ErrorCode::StaleProof);
    // The handle is frozen, for others and for her; the link is still anybody's; and nobody else noticed.
    bob.claim_handle(&gateway, "alice").await.refused(ErrorCode::HandleTaken);
    bob.claim(&gateway, &unclaimed).await.is(200);
    assert!(shop.introspect(&gateway, &untouched.access_token).await.active);
    drop(bobs);
    // The decision stands in the log for ever.
    let kept = gateway.database.names("SELECT statement FROM audit WHERE action = 'retired'").await;
    assert_eq!(kept.len(), 1);
    let verified = statement::Signed::open(&kept[0]).expect("anyone can check it");
    assert_eq!(verified.did(), alice.did());
}

async fn a_sheet_of_paper_is_enough(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    // Made long ago, before the gateway had ever seen the identity.
    let long_ago = miid_e2e::clock::now_s() - 5 * 365 * 86_400;
    let paper = statement::sign(&alice.key, Decision::Retire, &gateway.issuer, "on-paper", long_ago);
    let tokens = shop.sign_in(&gateway, &alice).await;
    let mut stream = alice.events(&gateway, None).await;
    let retired: RetireOutcome =
        from_paper(&world, &gateway, &json!({"statement": paper})).await.is(200).ok();
    assert_eq!(retired.did, *alice.did());
    assert_eq!(service::names(&stream.rest().await), ["session_revoked"]);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    every_call_is(&gateway, &alice, ErrorCode::DidRetired).await;
    // Another sheet, the same sheet, and the wallet itself: over is over.
    let again: RetireOutcome = from_paper(&world, &gateway, &json!({"statement": paper})).await.ok();
    assert_eq!(again, retired);
    let other = json!({"statement": alice.retirement(&gateway)});
    assert_eq!(from_paper(&world, &gateway, &other).await.ok::<RetireOutcome>(), retired);
    assert_eq!(alice.retire(&gateway).await.ok::<RetireOutcome>(), retired);

    // One that nobody here has heard of is over before it begins.
    let stranger = world.wallet();
    let paper = json!({"statement": stranger.retirement(&gateway)});
    from_paper(&world, &gateway, &paper).await.is(200);
    every_call_is(&gateway, &stranger, ErrorCode::DidRetired).await;
}

async fn a_proof_that_came_along_must_hold(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let tokens = shop.sign_in(&gateway, &alice).await;
    let body = json!({"statement": alice.retirement(&gateway)});
    mallory.post(&gateway, paths::WALLET_RETIRE, &body).await.refused(ErrorCode::DidMismatch);
    let bytes = body.to_string().into_bytes();
    let path = paths::WALLET_RETIRE;
    let stale = alice.proof_at(&gateway, "POST", path, &bytes, miid_e2e::clock::now_s() - 600);
    let cases = [
        (stale, ErrorCode::StaleProof),
        (alice.proof(&gateway, "POST", path, b"another body"), ErrorCode::InvalidProof),
        (alice.proof(&gateway, "POST", paths::WALLET_HANDLE, &bytes), ErrorCode::InvalidProof),
        ("x.y.z".to_owned(), ErrorCode::InvalidProof),
        (String::new(), ErrorCode::InvalidProof),
    ];
    for (proof, code) in &cases {
        alice.send_with(&gateway, proof, "POST", path, &bytes).await.refused(*code);
    }
    for other in ["Bearer x", "Basic eDp5", "DIDProof"] {
        let answer = world
            .send(&gateway, Method::POST, path, |request| request.header("Authorization", other).json(&body))
            .await;
        answer.refused(ErrorCode::InvalidProof);
    }
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active, "nothing of it had an effect");
    let proof = alice.proof(&gateway, "POST", path, &bytes);
    alice.send_with(&gateway, &proof, "POST", path, &bytes).await.is(200);
    alice.send_with(&gateway, &proof, "POST", path, &bytes).await.refused(ErrorCode::ReplayedProof);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    // Of a retired one nothing but its own retirement is taken.
    let others = json!({"statement": mallory.retirement(&gateway)});
    alice.post(&gateway, path, &others).await.refused(ErrorCode::DidRetired);
    mallory.get(&gateway, paths::WALLET_SESSIONS).await.is(200);
}

async fn what_is_no_retirement_retires_nobody(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let elsewhere = Issuer::parse("https://other.example").unwrap();
    let now_s = miid_e2e::clock::now_s();
    let sign =
        |issuer: &Issuer, now_s| statement::sign(&alice.key, Decision::Retire, issuer, "a-name", now_s);
    let good = sign(&gateway.issuer, now_s);
    let mut parts: Vec<&str> = good.split('.').collect();
    let forged = sign(&gateway.issuer, now_s - 1);
    parts[2] = forged.rsplit('.').next().unwrap();
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let approval = alice.approval(&gateway, &login.challenge.request, Some(login.number()));
    let cases = [
        json!({"statement": sign(&elsewhere, now_s)}),
        json!({"statement": sign(&gateway.issuer, now_s + 600)}),
        json!({"statement": parts.join(".")}),
        json!({"statement": alice.revocation(&gateway, "demo-shop", tokens.session_id)}),
        json!({"statement": approval}),
        json!({"statement": alice.proof(&gateway, "POST", paths::WALLET_RETIRE, b"")}),
        json!({"statement": ""}),
        json!({"statement": "x".repeat(20_000)}),
    ];
    for body in &cases {
        from_paper(&world, &gateway, body).await.refused(ErrorCode::InvalidProof);
        alice.post(&gateway, paths::WALLET_RETIRE, body).await.refused(ErrorCode::InvalidStatement);
    }
    for body in [json!({}), json!({"statement": 7}), json!([])] {
        from_paper(&world, &gateway, &body).await.refused(ErrorCode::InvalidProof);
        alice.post(&gateway, paths::WALLET_RETIRE, &body).await.refused(ErrorCode::InvalidRequest);
    }
    let nothing = world.send(&gateway, Method::POST, paths::WALLET_RETIRE, |request| request).await;
    nothing.refused(ErrorCode::InvalidProof);
    // And a retirement is nothing else.
    let body = json!({"statement": good});
    let revoke = paths::revoke(tokens.session_id);
    alice.post(&gateway, &revoke, &body).await.refused(ErrorCode::InvalidStatement);
    alice.post(&gateway, &paths::approve(login.id()), &body).await.refused(ErrorCode::InvalidStatement);
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    // What was refused did not use up its name.
    from_paper(&world, &gateway, &body).await.is(200);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
}

async fn retired_twice_and_many_times_at_once_is_retired_once(world: World) {
    let (gateway, shop) = world.gateway_and_service(&["--retirements-per-address", "1000"]).await;
    for _ in 0..4 {
        let alice = world.wallet();
        let mut log = shop.events(&gateway, None, None).await;
        shop.sign_in(&gateway, &alice).await;
        let paper = json!({"statement": alice.retirement(&gateway)});
        let answers = join_all((0..16).map(|i| {
            let (world, gateway, alice, paper) = (&world, &gateway, &alice, &paper);
            async move {
                match i % 2 {
                    0 => from_paper(world, gateway, paper).await,
                    _ => alice.retire(gateway).await,
                }
            }
        }))
        .await;
        let first: RetireOutcome = answers[0].is(200).ok();
        for answer in &answers {
            assert_eq!(answer.is(200).ok::<RetireOutcome>(), first);
        }
        log.expect("session_revoked").await;
        let bob = world.wallet();
        shop.sign_in(&gateway, &bob).await;
        assert_eq!(log.next().await.unwrap().name, "challenge_verified", "it ended once");
    }
    let kept = gateway.database.names("SELECT did FROM audit WHERE action = 'retired'").await;
    assert_eq!(kept.len(), 4);
}

async fn a_name_that_was_used_up_does_not_keep_a_stolen_key_alive(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    // Who has the key and has seen the sheet signs something else under the name that stands on it.
    let client_id = miid_protocol::ClientId::parse("demo-shop").unwrap();
    let revocation = Decision::Revoke { client_id: &client_id, session_id: tokens.session_id };
    let now_s = miid_e2e::clock::now_s();
    let burnt = statement::sign(&alice.key, revocation, &gateway.issuer, "on-paper", now_s);
    alice.post(&gateway, &paths::revoke(tokens.session_id), &json!({"statement": burnt})).await.is(200);
    let tokens = shop.sign_in(&gateway, &alice).await;
    let paper = statement::sign(&alice.key, Decision::Retire, &gateway.issuer, "on-paper", now_s);
    from_paper(&world, &gateway, &json!({"statement": paper})).await.is(200);
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    let kept = gateway.database.names("SELECT statement FROM audit WHERE action = 'retired'").await;
    assert_eq!(kept, [paper]);
}

async fn a_retired_identity_cannot_be_told_from_an_unknown_one(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, nobody) = (world.wallet(), world.wallet());
    alice.claim_handle(&gateway, "alice").await.is(200);
    alice.retire(&gateway).await.is(200);
    // What is made for the first request of a service alone is made by neither of the two.
    shop.login(&gateway, world.wallet().did().as_str()).await;
    // The stream of a wallet that has had one is there already, retired or not.
    drop(nobody.events(&gateway, None).await);
    let pairs =
        [("alice".to_owned(), "nadie".to_owned()), (alice.did().to_string(), nobody.did().to_string())];
    for (retired, unknown) in &pairs {
        let mut seen = Vec::new();
        for hint in [retired, unknown] {
            let mut attempts = Vec::new();
            for _ in 0..4 {
                let before = gateway.database.row_counts().await;
                let answer = shop.create(&gateway, &shop.asking(hint).0).await;
                let after = gateway.database.row_counts().await;
                attempts.push((shape(&answer), grown(&before, &after)));
            }
            seen.push(attempts);
        }
        assert_eq!(seen[0], seen[1], "{retired}");
    }
    assert_eq!(nobody.challenges(&gateway).await.len(), 3, "they wait for whom they name");
    alice.get(&gateway, paths::WALLET_CHALLENGES).await.refused(ErrorCode::DidRetired);
}

/// What many who race each other need, from one address.
pub(crate) const UNBOUNDED: [&str; 6] = [
    "--requests-per-address",
    "100000",
    "--retirements-per-address",
    "1000",
    "--sessions-per-person",
    "100000",
];

async fn the_gateway_is_killed_around_a_retirement(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    alice.claim_handle(&gateway, "alice").await.is(200);
    let tokens = shop.sign_in(&gateway, &alice).await;
    let paper = json!({"statement": alice.retirement(&gateway)});
    gateway.crash().await;
    let retired: RetireOutcome = from_paper(&world, &gateway, &paper).await.is(200).ok();
    gateway.crash().await;
    every_call_is(&gateway, &alice, ErrorCode::DidRetired).await;
    assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
    assert_eq!(from_paper(&world, &gateway, &paper).await.ok::<RetireOutcome>(), retired);
    // Killed while it is on its way: it happened as a whole or not at all, and can be sent again.
    for _ in 0..4 {
        let alice = world.wallet();
        let tokens = shop.sign_in(&gateway, &alice).await;
        let login = shop.login(&gateway, alice.did().as_str()).await;
        let paper = json!({"statement": alice.retirement(&gateway)});
        let url = format!("{}{}", gateway.origin, paths::WALLET_RETIRE);
        let sending = tokio::spawn(world.http().post(url).json(&paper).send());
        tokio::task::yield_now().await;
        gateway.crash().await;
        let _ = sending.await;
        let status = shop.challenge(&gateway, login.id()).await.status;
        let active = shop.introspect(&gateway, &tokens.access_token).await.active;
        assert_eq!(active, status == ChallengeStatus::Pending, "all of it or nothing: {status:?}");
        from_paper(&world, &gateway, &paper).await.is(200);
        assert!(!shop.introspect(&gateway, &tokens.access_token).await.active);
        let late = alice.deny(&gateway, &login.challenge, DenyReason::Declined).await;
        late.refused(ErrorCode::DidRetired);
    }
}

async fn streams_end_at_every_instance(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another_elsewhere("gateway-b").await;
    let mut took = Vec::new();
    for _ in 0..4 {
        let (alice, bob) = (world.wallet(), world.wallet());
        shop.sign_in(&a, &alice).await;
        let mut streams = [alice.events(&a, None).await, alice.events(&b, None).await];
        let mut bobs = bob.events(&b, None).await;
        let begun = Instant::now();
        alice.retire(&a).await.is(200);
        for stream in &mut streams {
            assert_eq!(service::names(&stream.rest().await), ["session_revoked"]);
        }
        took.push(begun.elapsed());
        alice.get(&b, paths::WALLET_EVENTS).await.refused(ErrorCode::DidRetired);
        shop.login(&b, bob.did().as_str()).await;
        bobs.expect("challenge_created").await;
    }
    println!("from a retirement to the end of the streams at the other gateway: {took:?}");
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
}
