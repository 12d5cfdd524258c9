//! Event streams: whose they are, where they resume, and that they end.

use std::time::{Duration, Instant};

use miid_e2e::{Event, Stream, World, eventually, on_both, service};
use miid_protocol::service::DenyReason;
use miid_protocol::{ErrorCode, paths};
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE};

on_both!(
    a_wallets_stream_is_for_the_proofs_did_only,
    a_stream_resumes_after_the_last_event,
    a_position_that_is_not_in_the_log_gets_one_resync,
    a_position_older_than_what_is_kept_gets_a_resync,
    a_services_stream_resumes_and_filters,
    a_graceful_shutdown_ends_streams_in_a_bounded_time,
);

async fn take(stream: &mut Stream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(stream.next().await.expect("the stream goes on"));
    }
    events
}

async fn a_wallets_stream_is_for_the_proofs_did_only(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    world.get(&gateway, paths::WALLET_EVENTS).await.refused(ErrorCode::InvalidProof);
    let basic = shop.get(&gateway, paths::WALLET_EVENTS).await;
    basic.refused(ErrorCode::InvalidProof);

    let response = alice.events_request(&gateway, None).send().await.unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    assert!(response.headers()[CACHE_CONTROL].to_str().unwrap().contains("no-"), "nobody stores a stream");
    let mut hers = Stream::open(response, world.secrets()).await;
    assert_eq!(hers.retry_ms(), Some(1000));
    let mut his = bob.events(&gateway, None).await;
    // Whoever names another DID is still told of their own.
    let url = format!("{}{}?did={}", gateway.origin, paths::WALLET_EVENTS, bob.did());
    let proof = alice.proof(&gateway, "GET", paths::WALLET_EVENTS, b"");
    let response = world.http().get(url).header("Authorization", format!("DIDProof {proof}")).send().await;
    let mut curious = Stream::open(response.unwrap(), world.secrets()).await;

    let for_bob = shop.login(&gateway, bob.did().as_str()).await;
    let for_alice = shop.login(&gateway, alice.did().as_str()).await;
    let his_event = his.next().await.unwrap().json();
    assert_eq!(his_event["challenge_id"], for_bob.id().to_string());
    for stream in [&mut hers, &mut curious] {
        let event = stream.next().await.unwrap();
        assert_eq!(event.name, "challenge_created");
        assert_eq!(event.json()["challenge_id"], for_alice.id().to_string());
        assert_eq!(event.json()["request"], for_alice.challenge.request);
    }
}

async fn a_stream_resumes_after_the_last_event(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut stream = alice.events(&gateway, None).await;
    shop.sign_in(&gateway, &alice).await;
    let all = take(&mut stream, 3).await;
    assert_eq!(service::names(&all), ["challenge_created", "challenge_approved", "session_created"]);
    drop(stream);

    let login = shop.login(&gateway, alice.did().as_str()).await;
    alice.deny(&gateway, &login.challenge, DenyReason::Declined).await.is(200);
    for (i, event) in all.iter().enumerate() {
        let mut resumed = alice.events(&gateway, event.id.as_deref()).await;
        let rest = take(&mut resumed, all.len() - i - 1 + 2).await;
        assert_eq!(rest[..all.len() - i - 1], all[i + 1..], "everything after it, in order");
        assert_eq!(service::names(&rest[all.len() - i - 1..]), ["challenge_created", "challenge_denied"]);
    }
    // Without a position it begins now.
    let mut fresh = alice.events(&gateway, None).await;
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let first = fresh.next().await.unwrap();
    assert_eq!(first.json()["challenge_id"], login.id().to_string());
    // Ids are positions: they grow, one by one.
    let ids: Vec<i64> = all.iter().map(|event| event.id.as_ref().unwrap().parse().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

async fn a_position_that_is_not_in_the_log_gets_one_resync(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let mut stream = alice.events(&gateway, None).await;
    shop.sign_in(&gateway, &alice).await;
    let head = take(&mut stream, 3).await[2].id.clone().unwrap();
    let ahead = (head.parse::<i64>().unwrap() + 1000).to_string();
    let mut logins = 0;
    for wrong in [ahead.as_str(), "x", "-1", "1.5", "0x10", "99999999999999999999999", " ", "%00", "1"] {
        let mut resumed = alice.events(&gateway, Some(wrong)).await;
        let resync = resumed.next().await.unwrap();
        assert_eq!((resync.name.as_str(), resync.data.as_str()), ("resync", "{}"), "{wrong}");
        let at = resync.id.clone().expect("a resync carries the head's id");
        // From there it goes on as any stream does.
        if logins < 3 {
            let login = shop.login(&gateway, alice.did().as_str()).await;
            logins += 1;
            let next = resumed.next().await.unwrap();
            assert_eq!(next.name, "challenge_created");
            assert_eq!(next.json()["challenge_id"], login.id().to_string());
            let mut again = alice.events(&gateway, Some(&at)).await;
            assert_eq!(again.next().await.unwrap(), next);
        }
    }
    // The same for a service, whose list shows what it missed.
    let mut resumed = shop.events(&gateway, None, Some("99999999999999999")).await;
    assert_eq!(resumed.next().await.unwrap().name, "resync");
    let open = shop.get(&gateway, paths::SERVICE_CHALLENGES).await.json();
    assert_eq!(open["challenges"].as_array().unwrap().len(), logins);
    let live = shop.get(&gateway, paths::SERVICE_SESSIONS).await.json();
    assert_eq!(live["sessions"].as_array().unwrap().len(), 1);
}

async fn a_position_older_than_what_is_kept_gets_a_resync(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&["--events-per-stream", "4"]).await;
    let alice = world.wallet();
    let mut stream = alice.events(&gateway, None).await;
    shop.sign_in(&gateway, &alice).await;
    let first = take(&mut stream, 3).await.remove(0).id.unwrap();
    // The stream that is open misses nothing; what is behind it is forgotten by the sweep.
    shop.sign_in(&gateway, &alice).await;
    let rest = take(&mut stream, 4).await;
    // The sweep comes every half minute, and at a start.
    gateway.crash().await;
    let resync = eventually("old events are forgotten", || async {
        let mut late = alice.events(&gateway, Some(&first)).await;
        let event = late.next().await.unwrap();
        (event.name == "resync").then_some(event)
    })
    .await;
    assert_eq!(resync.id, rest[3].id, "the head");
    // Half of what may be kept is; from there on it resumes.
    let mut resumed = alice.events(&gateway, rest[1].id.as_deref()).await;
    assert_eq!(take(&mut resumed, 2).await, rest[2..]);
}

async fn a_services_stream_resumes_and_filters(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    let mut log = shop.events(&gateway, None, None).await;
    let one = shop.login(&gateway, alice.did().as_str()).await;
    let two = shop.login(&gateway, bob.did().as_str()).await;
    bob.approve(&gateway, &two.challenge, two.number()).await.is(200);
    alice.approve(&gateway, &one.challenge, one.number()).await.is(200);
    shop.finish(&gateway, &one).await;
    shop.finish(&gateway, &two).await;
    let all = take(&mut log, 4).await;
    assert_eq!(
        service::names(&all),
        ["challenge_verified", "challenge_verified", "session_created", "session_created"]
    );

    // A challenge's stream is a filter over the same log, from its beginning, with the same positions.
    for login in [&one, &two] {
        let id = login.id().to_string();
        let expected: Vec<_> =
            all.iter().filter(|event| event.json()["challenge_id"] == id.as_str()).collect();
        let mut filtered = shop.events(&gateway, Some(login.id()), None).await;
        for wanted in &expected {
            let event = filtered.next().await.unwrap();
            assert_eq!((&event.id, &event.name), (&wanted.id, &wanted.name));
        }
        let mut resumed = shop.events(&gateway, Some(login.id()), expected[0].id.as_deref()).await;
        assert_eq!(resumed.next().await.unwrap().id, expected[1].id);
    }
    let mut resumed = shop.events(&gateway, None, all[1].id.as_deref()).await;
    assert_eq!(take(&mut resumed, 2).await, all[2..]);
    let nowhere = format!("{}?challenge_id=nothing", paths::SERVICE_EVENTS);
    assert!(matches!(shop.get(&gateway, &nowhere).await.problem().status, 400 | 404));
}

async fn a_graceful_shutdown_ends_streams_in_a_bounded_time(world: World) {
    let (mut gateway, mut shop) = world.gateway_and_shop(&[]).await;
    let (alice, browser) = (world.wallet(), world.browser(&shop));
    crate::sign_in::sign_in(&gateway, &browser, &alice).await;
    let service = shop.service().clone();
    let mut streams = vec![alice.events(&gateway, None).await, service.events(&gateway, None, None).await];
    for _ in 0..20 {
        streams.push(world.wallet().events(&gateway, None).await);
    }
    let start = Instant::now();
    gateway.stop().await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "the gateway took {took:?} to stop");
    for mut stream in streams {
        stream.rest().await;
    }

    // The shop's pages stay, and its streams end with it.
    let session = browser.session_stream().await;
    let started = Instant::now();
    let status = shop.program().stop().await;
    assert!(status.success(), "{status}");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "the shop took {took:?} to stop");
    let mut session = session;
    session.rest().await;

    // Up again, everything is where it was.
    gateway.restart().await;
    shop.restart().await;
    eventually("the session is there", || async { browser.is_signed_in().await.then_some(()) }).await;
    assert_eq!(alice.sessions(&gateway).await.len(), 1);
}
