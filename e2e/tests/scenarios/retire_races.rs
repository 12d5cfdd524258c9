//! A retirement beside everything else that an identity may be doing at the same moment: nothing live slips past.

use std::sync::atomic::{AtomicBool, Ordering};

use miid_e2e::{
    Answer, Gateway, Login, Renewable as _, Service, Wallet, World, eventually, on_both, on_postgres,
};
use miid_protocol::service::{ChallengeStatus, TokenResponse};
use miid_protocol::{ErrorCode, paths};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::retire::{UNBOUNDED, every_call_is, from_paper};
use crate::retire_bounds::multiply_sessions;

on_both!(nothing_live_slips_past_a_retirement,);
on_postgres!(nothing_live_slips_past_a_retirement_elsewhere, what_could_slip_past_a_retirement_waits_for_it,);

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
