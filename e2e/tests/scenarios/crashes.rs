//! SIGKILL at every step, and a database that goes away: nothing is lost, nothing happens twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use miid_e2e::gateway::Address;
use miid_e2e::postgres::Cluster;
use miid_e2e::{Answer, Renewable as _, Service, Wallet, World, eventually, on_both, on_postgres, service};
use miid_protocol::service::{Challenge, ChallengeStatus, TokenResponse};
use miid_protocol::{ErrorCode, paths};
use reqwest::header::RETRY_AFTER;
use serde_json::json;

on_both!(the_gateway_is_killed_after_each_step, the_gateway_is_killed_under_load);
on_postgres!(postgresql_is_restarted_under_load);

/// Everybody comes from one address here, and nobody is to be asked to slow down.
const UNBOUNDED: [&str; 2] = ["--requests-per-address", "100000"];

async fn the_gateway_is_killed_after_each_step(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    alice.claim_handle(&gateway, "alice").await.is(200);
    let mut wallet = alice.events(&gateway, None).await;
    let mut log = shop.events(&gateway, None, None).await;
    // A first sign-in gives both streams a position to resume from.
    shop.sign_in(&gateway, &alice).await;
    let wallet_position = wallet.expect("session_created").await.id.unwrap();
    let log_position = log.expect("session_created").await.id.unwrap();
    drop((wallet, log));

    gateway.crash().await;
    let (body, verifier) = shop.asking("alice");
    let challenge: Challenge = shop.create(&gateway, &body).await.is(201).ok();

    gateway.crash().await;
    let again: Challenge = shop.create(&gateway, &body).await.is(200).ok();
    assert_eq!(again, challenge, "asked again after a lost answer, it is the same");
    let id = challenge.challenge_id;
    assert_eq!(alice.listed(&gateway, id).await.unwrap().request, challenge.request);
    let number = challenge.match_code.clone().unwrap();
    alice.approve(&gateway, &challenge, &number).await.is(200);
    let code = shop.code(&gateway, id).await;

    gateway.crash().await;
    assert_eq!(alice.listed(&gateway, id).await.unwrap().status, ChallengeStatus::Approved);
    assert_eq!(shop.code(&gateway, id).await, code, "the code is derived, not forgotten");
    alice.cancel(&gateway, &challenge).await.is(200);

    gateway.crash().await;
    assert_eq!(alice.listed(&gateway, id).await.unwrap().status, ChallengeStatus::Pending);
    shop.exchange(&gateway, &code, &verifier).await.refused(ErrorCode::InvalidGrant);
    alice.approve(&gateway, &challenge, &number).await.is(200);

    gateway.crash().await;
    alice.approve(&gateway, &challenge, &number).await.refused(ErrorCode::ChallengeNotPending);
    let code = shop.code(&gateway, id).await;
    let tokens: TokenResponse = shop.exchange(&gateway, &code, &verifier).await.ok();

    gateway.crash().await;
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active, "signed by a key that survived");
    let next: TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();

    gateway.crash().await;
    let same: TokenResponse = shop.refresh(&gateway, tokens.renewal()).await.ok();
    assert_eq!(same.renewal(), next.renewal());
    let statement = alice.revocation(&gateway, "demo-shop", tokens.session_id);
    let (path, revocation) = (paths::revoke(tokens.session_id), json!({"statement": statement}));
    let at = alice.post(&gateway, &path, &revocation).await.is(200).json()["at"].clone();

    gateway.crash().await;
    assert_eq!(alice.post(&gateway, &path, &revocation).await.is(200).json()["at"], at);
    assert!(!shop.introspect(&gateway, &same.access_token).await.active);
    assert!(alice.sessions(&gateway).await.is_empty());

    // Both logs tell it once, in order. (The second sign-in ended the first's session.)
    let mut wallet = alice.events(&gateway, Some(&wallet_position)).await;
    let mut log = shop.events(&gateway, None, Some(&log_position)).await;
    let last = shop.login(&gateway, "alice").await;
    let (mut told, mut logged) = (Vec::new(), Vec::new());
    while told.last().is_none_or(|event: &miid_e2e::Event| !event.data.contains(&last.id().to_string())) {
        told.push(wallet.next().await.unwrap());
    }
    shop.post(&gateway, &paths::with_id(paths::CHALLENGE_WITHDRAW, last.id()), &json!({})).await.is(200);
    while logged.last().is_none_or(|event: &miid_e2e::Event| !event.data.contains(&last.id().to_string())) {
        logged.push(log.next().await.unwrap());
    }
    let mut superseded = ["session_revoked", "session_created"];
    let expected = |superseded: [&'static str; 2]| {
        let mut names =
            vec!["challenge_created", "challenge_approved", "approval_cancelled", "challenge_approved"];
        names.extend(superseded);
        names.extend(["session_revoked", "challenge_created"]);
        names
    };
    let names = service::names(&told);
    let in_this_order = names == expected(superseded);
    superseded.reverse();
    assert!(in_this_order || names == expected(superseded), "{names:?}");
    let names = service::names(&logged);
    assert_eq!(names.len(), 7, "{names:?}");
    assert_eq!(names[..3], ["challenge_verified", "approval_cancelled", "challenge_verified"]);
    assert_eq!(names[5..], ["session_revoked", "challenge_expired"]);
}

/// Asks until there is an answer, as programs do; a 503 is one that says "later", and nothing else may be.
async fn answered<Fut>(what: &str, odd: &dyn Fn(), step: impl Fn() -> Fut) -> Answer
where
    Fut: Future<Output = Option<Answer>>,
{
    eventually(what, async || {
        let answer = step().await?;
        if answer.status >= 500 {
            odd();
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.header(RETRY_AFTER).is_some());
            return None;
        }
        // Nobody is asked to slow down here.
        assert_ne!(answer.status, 429, "{}", answer.text());
        Some(answer)
    })
    .await
}

/// One person who signs in against all odds.
async fn sign_in_somehow(at: &Address, shop: &Service, wallet: &Wallet, odd: &dyn Fn()) -> TokenResponse {
    // Losing the answer to an exchange costs the sign-in; the person starts again.
    loop {
        let (body, verifier) = shop.asking(wallet.did().as_str());
        let body = json!(body);
        let created = answered("a challenge", odd, || shop.try_post(at, paths::CHALLENGE, &body)).await;
        let challenge: Challenge = created.ok();

        let path = paths::approve(challenge.challenge_id);
        let approved = answered("an approval", odd, || async {
            let number = challenge.match_code.as_deref();
            let body = json!({"statement": wallet.approval(at, &challenge.request, number)}).to_string();
            let proof = wallet.proof(at, "POST", &path, body.as_bytes());
            wallet.try_send_with(at, &proof, "POST", &path, body.as_bytes()).await
        })
        .await;
        if approved.status != 200 {
            // Its own decision, whose answer was lost.
            approved.refused(ErrorCode::ChallengeNotPending);
        }

        let by_id = paths::with_id(paths::CHALLENGE_BY_ID, challenge.challenge_id);
        let now: Challenge = answered("the code", odd, || shop.try_get(at, &by_id)).await.ok();
        assert_eq!(now.status, ChallengeStatus::Approved);
        let code = now.authorization_code.expect("an approved challenge shows its code");
        let body = json!({"grant_type": "authorization_code", "code": code, "code_verifier": verifier});
        let answer = answered("the tokens", odd, || shop.try_post(at, paths::TOKEN_EXCHANGE, &body)).await;
        if answer.status == 200 {
            return answer.ok();
        }
        answer.refused(ErrorCode::InvalidGrant);
    }
}

/// What must hold for everybody after a storm: one live session each, and tokens that say so.
async fn all_is_well(at: &Address, shop: &Service, people: &[(Wallet, TokenResponse)]) {
    for (wallet, tokens) in people {
        let sessions = wallet.sessions(at).await;
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert_eq!(sessions[0].session_id, tokens.session_id);
        assert!(shop.introspect(at, &tokens.access_token).await.active);
        assert!(wallet.challenges(at).await.is_empty());
    }
}

async fn the_gateway_is_killed_under_load(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&UNBOUNDED).await;
    let at = Address::clone(&gateway);
    let done = AtomicUsize::new(0);
    let people: Vec<Wallet> = (0..8).map(|_| world.wallet()).collect();
    let load = join_all(people.into_iter().map(|wallet| {
        let (at, shop, done) = (&at, &shop, &done);
        async move {
            let mut tokens = sign_in_somehow(at, shop, &wallet, &|| {}).await;
            for _ in 0..3 {
                done.fetch_add(1, Ordering::Relaxed);
                tokens = sign_in_somehow(at, shop, &wallet, &|| {}).await;
            }
            done.fetch_add(1, Ordering::Relaxed);
            (wallet, tokens)
        }
    }));
    let storm = async {
        for kills in 1..=3 {
            eventually("some have signed in", async || {
                (done.load(Ordering::Relaxed) >= kills * 6).then_some(())
            })
            .await;
            gateway.crash().await;
        }
    };
    let (people, ()) = tokio::join!(load, storm);
    all_is_well(&at, &shop, &people).await;
}

async fn postgresql_is_restarted_under_load(world: World) {
    let cluster = Cluster::start().await;
    let database = world.database_on(&cluster).await;
    let gateway = world.gateway_on(database, &UNBOUNDED).await;
    let shop = gateway.add_service("demo-shop", &[]).await;
    let (witness, at) = (world.wallet(), Address::clone(&gateway));
    let mut stream = witness.events(&gateway, None).await;
    shop.sign_in(&gateway, &witness).await;
    stream.expect("session_created").await;

    let (over, done, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let people: Vec<Wallet> = (0..6).map(|_| world.wallet()).collect();
    let load = join_all(people.into_iter().map(|wallet| {
        let (at, shop, over, done, refused) = (&at, &shop, &over, &done, &refused);
        async move {
            loop {
                let count = || {
                    refused.fetch_add(1, Ordering::Relaxed);
                };
                let tokens = sign_in_somehow(at, shop, &wallet, &count).await;
                done.fetch_add(1, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    return (wallet, tokens);
                }
            }
        }
    }));
    let storm = async {
        let settled = async |wanted: usize| {
            eventually("people sign in", async || (done.load(Ordering::Relaxed) >= wanted).then_some(()))
                .await;
        };
        settled(6).await;
        cluster.stop().await;
        // Alive, but not ready; and everyone is told when to come back.
        eventually("the gateway says that it is not ready", async || {
            (world.get(&at, paths::READYZ).await.status == 503).then_some(())
        })
        .await;
        world.get(&at, paths::HEALTHZ).await.is(200);
        witness.get(&at, paths::WALLET_SESSIONS).await.refused(ErrorCode::StoreUnavailable);
        shop.get(&at, paths::SERVICE_SESSIONS).await.refused(ErrorCode::StoreUnavailable);
        let before = refused.load(Ordering::Relaxed);
        eventually("the load is told, too", async || {
            (refused.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
        cluster.resume().await;
        eventually("the gateway is ready again", async || {
            (world.get(&at, paths::READYZ).await.status == 200).then_some(())
        })
        .await;
        let reached = done.load(Ordering::Relaxed);
        settled(reached + 6).await;
        over.store(true, Ordering::Relaxed);
    };
    let (people, ()) = tokio::join!(load, storm);
    assert!(refused.load(Ordering::Relaxed) > 0);
    all_is_well(&at, &shop, &people).await;

    // The stream that was open before is told again, or was ended so that the wallet comes back.
    let login = shop.login(&gateway, witness.did().as_str()).await;
    let told = loop {
        match stream.next().await {
            Some(event) if event.data.contains(&login.id().to_string()) => break true,
            Some(_) => {}
            None => break false,
        }
    };
    if !told {
        let mut resumed = witness.events(&gateway, stream.last_id()).await;
        resumed.expect("challenge_created").await;
    }
}
