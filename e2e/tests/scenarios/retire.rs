//! An identity ends, and with it everything that it was: at once, at every service, for ever; and whoever holds
//! the statement on paper needs no key for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use miid_e2e::{
    Answer, Gateway, Kind, Login, Renewable as _, Service, Wallet, World, eventually, on_both, on_postgres,
    on_sqlite, service,
};
use miid_protocol::service::{ChallengeStatus, DenyReason, TokenResponse};
use miid_protocol::statement::{self, Decision};
use miid_protocol::wallet::RetireOutcome;
use miid_protocol::{ErrorCode, Issuer, jws, paths};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::quotas::{grown, shape};

on_both!(
    everything_of_an_identity_ends_at_once,
    a_sheet_of_paper_is_enough,
    a_proof_that_came_along_must_hold,
    what_is_no_retirement_retires_nobody,
    retired_twice_and_many_times_at_once_is_retired_once,
    a_name_that_was_used_up_does_not_keep_a_stolen_key_alive,
    a_retired_identity_cannot_be_told_from_an_unknown_one,
    nothing_live_slips_past_a_retirement,
    thousands_of_sessions_end_in_one_retirement,
    the_gateway_is_killed_around_a_retirement,
);
on_sqlite!(
    retirements_without_a_proof_are_bounded_by_address,
    what_a_retirement_keeps_for_ever_is_bounded,
    a_session_beyond_the_bound_ends_the_oldest,
);
on_postgres!(
    streams_end_at_every_instance,
    nothing_live_slips_past_a_retirement_elsewhere,
    what_could_slip_past_a_retirement_waits_for_it,
    one_identity_with_many_calls_at_once_holds_up_nobody_else,
);

/// Sends a statement as a sheet of paper would: nobody proves anything.
async fn from_paper(world: &World, gateway: &Gateway, body: &Value) -> Answer {
    world.send(gateway, Method::POST, paths::WALLET_RETIRE, |request| request.json(body)).await
}

/// Everything that a wallet can ask for is refused with this code.
async fn every_call_is(gateway: &Gateway, wallet: &Wallet, code: ErrorCode) {
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
const UNBOUNDED: [&str; 6] = [
    "--requests-per-address",
    "100000",
    "--retirements-per-address",
    "1000",
    "--sessions-per-person",
    "100000",
];

async fn nothing_live_slips_past_a_retirement(world: World) {
    let (gateway, shop) = world.gateway_and_service(&UNBOUNDED).await;
    race(&world, [&gateway, &gateway], &shop).await;
}

async fn nothing_live_slips_past_a_retirement_elsewhere(world: World) {
    let (a, shop) = world.gateway_and_service(&UNBOUNDED).await;
    let b = a.another("gateway-b").await;
    race(&world, [&a, &b], &shop).await;
}

/// Everything that could become or stay live, again and again while a retirement is under way; and so that it is
/// under way for a while, it has much to end.
async fn race(world: &World, [here, there]: [&Gateway; 2], shop: &Service) {
    let many = &here.add_service("many-shop", &["--session-policy", "multiple"]).await;
    let mut won = [0usize; 7];
    for round in 0..6 {
        let alice = &world.wallet();
        let did = alice.did().as_str();
        let session = many.sign_in(here, alice).await;
        multiply_sessions(here, did, 200).await;
        let (to_exchange, to_approve) = (&many.login(here, did).await, &shop.login(here, did).await);
        alice.approve(here, &to_exchange.challenge, to_exchange.number()).await.is(200);
        let code = &many.code(here, to_exchange.id()).await;
        let mut links = Vec::new();
        for _ in 0..6 {
            links.push(shop.linked(here).await);
        }
        let over = &AtomicBool::new(false);
        let retiring = async {
            let paper = json!({"statement": alice.retirement(there)});
            // Now early, now late.
            for _ in 0..round {
                alice.get(here, paths::WALLET_SESSIONS).await;
            }
            let answer = from_paper(world, there, &paper).await;
            over.store(true, Ordering::Relaxed);
            answer
        };
        let (retired, approved, exchanged, refreshed, linked, named, begun, streamed) = tokio::join!(
            retiring,
            until(over, async |_| alice.approve(here, &to_approve.challenge, to_approve.number()).await),
            until(over, async |_| many.exchange(here, code, &to_exchange.verifier).await),
            until(over, async |_| many.refresh(here, session.renewal()).await),
            until(over, async |i| claim_and_approve(here, shop, alice, &links[i % links.len()]).await),
            until(over, async |i| name_oneself(here, alice, (i % 2 == 0).then_some("alice")).await),
            until(over, async |_| begin_and_finish(here, many, alice).await),
            until(over, async |_| stream_to_its_end(world, here, alice).await),
        );
        retired.is(200);
        let all = [approved, exchanged, refreshed, linked, named, begun, streamed];
        for (count, answers) in won.iter_mut().zip(&all) {
            *count += answers.iter().filter(|answer| answer.status == 200).count();
        }
        // Whatever was answered before, nothing is left of it.
        for shop in [shop, many] {
            let live: Value = shop.get(there, paths::SERVICE_SESSIONS).await.json();
            assert_eq!(live["sessions"], json!([]), "round {round}");
            let open: Value = shop.get(there, paths::SERVICE_CHALLENGES).await.json();
            for challenge in open["challenges"].as_array().unwrap() {
                assert_eq!(challenge["status"], "pending", "round {round}: {challenge}");
            }
        }
        for answer in all[1..6].iter().flatten().filter(|answer| answer.text().contains("refresh_token")) {
            let tokens: TokenResponse = answer.ok();
            for shop in [shop, many] {
                assert!(!shop.introspect(there, &tokens.access_token).await.active, "round {round}");
                shop.refresh(there, tokens.renewal()).await.refused(ErrorCode::InvalidGrant);
            }
        }
        let held = format!("SELECT handle FROM handles WHERE did = '{did}' AND frozen_until IS NULL");
        assert_eq!(here.database.names(&held).await, [""; 0], "round {round}");
        // One that is asked for later waits for nobody; what was there before is over.
        for (shop, id) in [(shop, to_approve.id()), (many, to_exchange.id())] {
            let status = shop.challenge(there, id).await.status;
            assert!(status.is_final(), "round {round}: {status:?}");
        }
        let claimed = format!("SELECT state FROM challenges WHERE did = '{did}' AND binding = 'linked'");
        for state in here.database.names(&claimed).await {
            assert!(!["pending", "approved"].contains(&state.as_str()), "round {round}: {state}");
        }
        every_call_is(there, alice, ErrorCode::DidRetired).await;
    }
    println!("before the retirements were answered: {won:?}");
    assert!(won.iter().all(|count| *count > 0), "each was tried in time: {won:?}");
}

/// The same without luck: everything that makes something pending, or a session, is held up where a retirement
/// would hold it up, and so is the retirement; whoever goes on first then, nothing is left.
async fn what_could_slip_past_a_retirement_waits_for_it(world: World) {
    let (a, shop) = world.gateway_and_service(&[]).await;
    let b = a.another("gateway-b").await;
    let many = a.add_service("many-shop", &["--session-policy", "multiple"]).await;
    for round in 0..4 {
        let alice = world.wallet();
        let (did, name) = (alice.did().as_str(), &format!("alice-{round}"));
        let link = shop.linked(&a).await;
        let mut exchanges = Vec::new();
        for shop in [&shop, &many] {
            let login = shop.login(&a, did).await;
            alice.approve(&a, &login.challenge, login.number()).await.is(200);
            exchanges.push((shop, shop.code(&a, login.id()).await, login.verifier));
        }
        let person_key =
            &a.database.names(&format!("SELECT person_key FROM challenges WHERE did = '{did}'")).await[0];
        let locks = [format!("person/{person_key}"), format!("sessions/{did}")];
        let mut holder = sqlx::PgConnection::connect(a.database.url()).await.expect("the server answers");
        for lock in &locks {
            let sql = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
            sqlx::query(sql).bind(lock).execute(&mut holder).await.expect("the lock");
        }
        // A retirement, a claim, a name, a request, and two exchanges.
        let released = async {
            eventually("all of them wait", async || {
                let waiting = "SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database =
                    (SELECT oid FROM pg_database WHERE datname = current_database())";
                (a.database.names(waiting).await.len() == 6).then_some(())
            })
            .await;
            holder.close().await.expect("the locks are let go of");
        };
        let (retired, claimed, named, begun, first, second, ()) = tokio::join!(
            alice.retire(&b),
            alice.claim(&a, &link),
            alice.claim_handle(&a, name),
            async { shop.create(&a, &shop.asking(did).0).await },
            exchanges[0].0.exchange(&a, &exchanges[0].1, &exchanges[0].2),
            exchanges[1].0.exchange(&a, &exchanges[1].1, &exchanges[1].2),
            released,
        );
        retired.is(200);
        begun.is(201);
        for answer in [&claimed, &named] {
            assert!(
                answer.status == 200 || answer.problem().code == ErrorCode::DidRetired,
                "{}",
                answer.text()
            );
        }
        for answer in [&first, &second] {
            assert!(
                answer.status == 200 || answer.problem().code == ErrorCode::InvalidGrant,
                "{}",
                answer.text()
            );
        }
        let status = shop.challenge(&a, link.id()).await.status;
        let expected = if claimed.status == 200 { ChallengeStatus::Denied } else { ChallengeStatus::Pending };
        assert_eq!(status, expected);
        for sql in [
            "SELECT id FROM sessions WHERE revoked_at IS NULL",
            "SELECT id FROM challenges WHERE state = 'approved'",
            "SELECT handle FROM handles WHERE frozen_until IS NULL",
        ] {
            assert_eq!(a.database.names(sql).await, [""; 0], "{sql}");
        }
    }
}

/// Tries until the retirement is answered, and once more.
async fn until(over: &AtomicBool, step: impl AsyncFn(usize) -> Answer) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        let last = over.load(Ordering::Relaxed);
        answers.push(step(answers.len()).await);
        if last {
            return answers;
        }
    }
}

/// As many more sessions of somebody who has one, as would come about in years.
async fn multiply_sessions(gateway: &Gateway, did: &str, more: usize) {
    let columns = "challenge_id, client_id, did, sub, scopes, grant_id, created_at, last_used_at, expires_at,
        idle_until, generation, rotated_at";
    let (numbers, id) = match gateway.database.kind() {
        Kind::Sqlite => (
            format!(
                "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {more})
                  SELECT i FROM n)"
            ),
            "substr(id, 1, 24) || printf('%012x', i)",
        ),
        Kind::Postgres => (
            format!("(SELECT generate_series(1, {more}) AS i)"),
            "substr(id, 1, 24) || lpad(to_hex(i), 12, '0')",
        ),
    };
    let sql = format!(
        "INSERT INTO sessions (id, {columns})
         SELECT {id}, {columns} FROM sessions, {numbers} AS numbers WHERE did = '{did}'"
    );
    gateway.database.execute(&sql).await;
}

/// Claims a handle, or lets go of the one held.
async fn name_oneself(at: &Gateway, wallet: &Wallet, handle: Option<&str>) -> Answer {
    let body = json!({"handle": handle}).to_string().into_bytes();
    let proof = wallet.proof(at, "PUT", paths::WALLET_HANDLE, &body);
    wallet.send_with(at, &proof, "PUT", paths::WALLET_HANDLE, &body).await
}

/// Opens a stream, if it may, and waits for its end, which must come.
async fn stream_to_its_end(world: &World, at: &Gateway, wallet: &Wallet) -> Answer {
    let response = wallet.events_request(at, None).send().await.expect("an answer");
    if response.status() != 200 {
        return Answer::read(response, world.secrets()).await.expect("a whole answer");
    }
    miid_e2e::Stream::open(response, world.secrets()).await.rest().await;
    answer(200)
}

/// Takes a link, approves and exchanges, as far as it gets.
async fn claim_and_approve(at: &Gateway, shop: &Service, wallet: &Wallet, link: &Login) -> Answer {
    let claimed = wallet.claim(at, link).await;
    if claimed.status != 200 {
        return claimed;
    }
    let approved = wallet.try_approve_linked(at, &link.challenge).await;
    let Some(address) = (approved.status == 200).then(|| approved.json()["return_to"].clone()) else {
        return approved;
    };
    let returned = miid_e2e::wallet::returned(address.as_str().unwrap());
    let Some(code) = shop.challenge(at, link.id()).await.authorization_code else { return answer(410) };
    shop.exchange_returned(at, &code, &link.verifier, returned.response_code.expose()).await
}

/// Asks, approves and exchanges, as far as it gets.
async fn begin_and_finish(at: &Gateway, shop: &Service, wallet: &Wallet) -> Answer {
    let login = shop.login(at, wallet.did().as_str()).await;
    let approved = wallet.approve(at, &login.challenge, login.number()).await;
    if approved.status != 200 {
        return approved;
    }
    let Some(code) = shop.challenge(at, login.id()).await.authorization_code else { return answer(410) };
    shop.exchange(at, &code, &login.verifier).await
}

/// For what came to an end without an answer of its own.
fn answer(status: u16) -> Answer {
    Answer { status, headers: reqwest::header::HeaderMap::new(), body: bytes::Bytes::new() }
}

async fn thousands_of_sessions_end_in_one_retirement(world: World) {
    const MANY: usize = 3000;
    let gateway = world.gateway(&[]).await;
    let shop = gateway.add_service("demo-shop", &["--session-policy", "multiple"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let first = shop.sign_in(&gateway, &alice).await;
    multiply_sessions(&gateway, alice.did().as_str(), MANY - 1).await;
    let mut log = shop.events(&gateway, None, None).await;
    let mut stream = alice.events(&gateway, None).await;
    let begun = Instant::now();
    alice.retire(&gateway).await.is(200);
    println!("{MANY} sessions ended in {:?}", begun.elapsed());
    for _ in 0..MANY {
        assert_eq!(log.expect("session_revoked").await.json()["reason"], "retired");
    }
    assert_eq!(stream.rest().await.len(), MANY);
    assert!(!shop.introspect(&gateway, &first.access_token).await.active);
    let live: Value = shop.get(&gateway, paths::SERVICE_SESSIONS).await.json();
    assert_eq!(live["sessions"], json!([]));
    shop.sign_in(&gateway, &bob).await;
    assert_eq!(log.next().await.unwrap().name, "challenge_verified", "each once");
}

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

async fn retirements_without_a_proof_are_bounded_by_address(world: World) {
    // By new identities, before any signature is checked.
    let gateway = world.gateway(&["--new-dids-per-address", "3"]).await;
    let mut refused = Vec::new();
    for _ in 0..6 {
        let wallet = world.wallet();
        let mut statement = wallet.retirement(&gateway);
        statement.replace_range(statement.len() - 8.., "AAAAAAAA");
        refused.push(from_paper(&world, &gateway, &json!({"statement": statement})).await.problem().code);
    }
    assert_eq!(refused[..3], [ErrorCode::InvalidProof; 3]);
    assert_eq!(refused[3..], [ErrorCode::RateLimited; 3]);
    // By requests, whatever is in them.
    let gateway = world.gateway_on(world.database("other").await, &["--requests-per-address", "2"]).await;
    let nothing = json!({});
    let answers = join_all((0..12).map(|_| from_paper(&world, &gateway, &nothing))).await;
    let limited = answers.iter().filter(|answer| answer.status == 429).count();
    assert!((4..=8).contains(&limited), "{limited}");
}

async fn what_a_retirement_keeps_for_ever_is_bounded(world: World) {
    let gateway = world.gateway(&["--retirements-per-address", "3"]).await;
    let wallets: Vec<Wallet> = (0..5).map(|_| world.wallet()).collect();
    // In its length: members that no version knows are ignored, but not kept.
    let padded = |wallet: &Wallet, more: usize| {
        let good = wallet.retirement(&gateway);
        let payload = jws::decode(good.split('.').nth(1).unwrap()).unwrap();
        let mut payload: Value = serde_json::from_slice(&payload).unwrap();
        payload["more"] = json!("x".repeat(more));
        let header: Value =
            serde_json::from_slice(&jws::decode(good.split('.').next().unwrap()).unwrap()).unwrap();
        let typ = header["typ"].as_str().unwrap();
        json!({"statement": jws::sign(&wallet.key, typ, payload.to_string().as_bytes())})
    };
    for more in [1000, 6000] {
        let body = padded(&wallets[0], more);
        from_paper(&world, &gateway, &body).await.refused(ErrorCode::InvalidProof);
        wallets[0].post(&gateway, paths::WALLET_RETIRE, &body).await.refused(ErrorCode::InvalidStatement);
    }
    assert_eq!(gateway.database.names("SELECT did FROM retired").await, [""; 0]);
    // In its number, with a proof or without; what retires nobody does not count.
    from_paper(&world, &gateway, &padded(&wallets[0], 8)).await.is(200);
    for wallet in &wallets[1..3] {
        from_paper(&world, &gateway, &json!({"statement": ""})).await.refused(ErrorCode::InvalidProof);
        wallet.retire(&gateway).await.is(200);
    }
    wallets[3].retire(&gateway).await.refused(ErrorCode::RateLimited);
    let paper = json!({"statement": wallets[4].retirement(&gateway)});
    from_paper(&world, &gateway, &paper).await.refused(ErrorCode::RateLimited);
    assert_eq!(gateway.database.names("SELECT did FROM retired").await.len(), 3);
    assert!(wallets[3].challenges(&gateway).await.is_empty(), "it goes on, and can be retired later");
}

async fn a_session_beyond_the_bound_ends_the_oldest(world: World) {
    let gateway = world.gateway(&["--sessions-per-person", "3"]).await;
    let shop = gateway.add_service("demo-shop", &["--session-policy", "multiple"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let bobs = shop.sign_in(&gateway, &bob).await;
    let mut signed_in = Vec::new();
    for _ in 0..3 {
        signed_in.push(shop.sign_in(&gateway, &alice).await);
    }
    let mut log = shop.events(&gateway, None, None).await;
    signed_in.push(shop.sign_in(&gateway, &alice).await);
    let told = [log.next().await.unwrap(), log.next().await.unwrap(), log.next().await.unwrap()];
    assert_eq!(service::names(&told), ["challenge_verified", "session_revoked", "session_created"]);
    let ended = told[1].json();
    assert_eq!(
        (&ended["reason"], &ended["session_id"]),
        (&json!("superseded"), &json!(signed_in[0].session_id))
    );
    for (i, tokens) in signed_in.iter().enumerate() {
        assert_eq!(shop.introspect(&gateway, &tokens.access_token).await.active, i > 0, "the session {i}");
    }
    assert!(shop.introspect(&gateway, &bobs.access_token).await.active, "another person's count for them");
}

/// Each call that waits for the lock of a person would hold a connection of the gateway's meanwhile.
async fn one_identity_with_many_calls_at_once_holds_up_nobody_else(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (mallory, alice) = (world.wallet(), world.wallet());
    shop.login(&gateway, mallory.did().as_str()).await;
    let did = mallory.did().as_str();
    let person_key =
        gateway.database.names(&format!("SELECT person_key FROM challenges WHERE did = '{did}'")).await;
    let mut holder = sqlx::PgConnection::connect(gateway.database.url()).await.expect("the server answers");
    let sql = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
    let lock = format!("person/{}", person_key[0]);
    sqlx::query(sql).bind(&lock).execute(&mut holder).await.expect("the lock");
    let link = shop.linked(&gateway).await;
    let flood = join_all((0..60).map(|i| {
        let (gateway, mallory, link) = (&gateway, &mallory, &link);
        async move {
            match i % 2 {
                0 => mallory.claim(gateway, link).await,
                _ => mallory.claim_handle(gateway, "mallory").await,
            }
        }
    }));
    let others = async {
        let waiting =
            "SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("some of them wait", async || {
            (!gateway.database.names(waiting).await.is_empty()).then_some(())
        })
        .await;
        for _ in 0..4 {
            shop.sign_in(&gateway, &alice).await;
            assert!(gateway.database.names(waiting).await.len() <= 2, "the others wait elsewhere");
        }
        holder.close().await.expect("the lock is let go of");
    };
    let (answers, ()) = tokio::join!(flood, others);
    let busy = answers.iter().filter(|answer| answer.status == 503).count();
    assert!(busy >= 60 - 16, "too many wait already: {busy}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.problem().code == ErrorCode::Busy));
    mallory.claim(&gateway, &link).await.is(200);
    mallory.retire(&gateway).await.is(200);
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
