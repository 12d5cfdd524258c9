//! A proof is for one request, once, over all instances and restarts.

use futures_util::future::join_all;
use miid_e2e::{World, clock, on_both, on_sqlite};
use miid_protocol::proof::{self, Request};
use miid_protocol::{ErrorCode, Issuer, paths};
use serde_json::json;

on_both!(a_replayed_proof_also_after_a_restart, one_proof_used_16_times_at_once);
on_sqlite!(a_proof_is_for_one_request, a_proof_has_its_time, nobody_burns_another_wallets_jti);

async fn a_replayed_proof_also_after_a_restart(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let path = paths::WALLET_CHALLENGES;
    let proof = alice.proof(&gateway, "GET", path, b"");
    alice.send_with(&gateway, &proof, "GET", path, b"").await.is(200);
    alice.send_with(&gateway, &proof, "GET", path, b"").await.refused(ErrorCode::ReplayedProof);

    // A decision, too, and the stream.
    let login = shop.login(&gateway, alice.did().as_str()).await;
    let statement = alice.approval(&gateway, &login.challenge.request, Some(login.number()));
    let body = json!({"statement": statement}).to_string();
    let approve = paths::approve(login.id());
    let decision = alice.proof(&gateway, "POST", &approve, body.as_bytes());
    alice.send_with(&gateway, &decision, "POST", &approve, body.as_bytes()).await.is(200);
    let stream = alice.proof(&gateway, "GET", paths::WALLET_EVENTS, b"");
    let request = |world: &World, origin: &str| {
        let url = format!("{origin}{}", paths::WALLET_EVENTS);
        world.http().get(url).header("Authorization", format!("DIDProof {stream}"))
    };
    let open = request(&world, &gateway.origin).send().await.unwrap();
    assert_eq!(open.status(), 200);
    drop(open);

    for crash in [true, false] {
        if crash {
            gateway.kill();
        } else {
            gateway.stop().await;
        }
        gateway.restart().await;
        let replayed = ErrorCode::ReplayedProof;
        alice.send_with(&gateway, &proof, "GET", path, b"").await.refused(replayed);
        alice.send_with(&gateway, &decision, "POST", &approve, body.as_bytes()).await.refused(replayed);
        alice.send_with(&gateway, &stream, "GET", paths::WALLET_EVENTS, b"").await.refused(replayed);
    }
    alice.get(&gateway, path).await.is(200);
}

async fn one_proof_used_16_times_at_once(world: World) {
    let gateway = world.gateway(&[]).await;
    let alice = world.wallet();
    for _ in 0..3 {
        let proof = alice.proof(&gateway, "GET", paths::WALLET_SESSIONS, b"");
        let send = || alice.send_with(&gateway, &proof, "GET", paths::WALLET_SESSIONS, b"");
        let answers = join_all((0..16).map(|_| send())).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        for answer in lost {
            answer.refused(ErrorCode::ReplayedProof);
        }
    }
}

async fn a_proof_is_for_one_request(world: World) {
    let gateway = world.gateway(&[]).await;
    let alice = world.wallet();
    let (list, sessions) = (paths::WALLET_CHALLENGES, paths::WALLET_SESSIONS);
    let handle = br#"{"handle":"alice"}"#;
    let elsewhere = Issuer::parse("http://127.0.0.1:1").unwrap();
    let request = Request { method: "GET", path: list, body: b"" };
    let other_gateway = proof::sign(&alice.key, request, &elsewhere, &clock::name(), clock::now_s());
    let good = alice.proof(&gateway, "GET", list, b"");
    let mut forged = good.clone();
    forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
    let no_bearer = format!("{good}.{good}");
    let cases: [(&str, String, &str, &str, &[u8]); 9] = [
        ("another path", alice.proof(&gateway, "GET", sessions, b""), "GET", list, b""),
        ("another method", alice.proof(&gateway, "POST", list, b""), "GET", list, b""),
        ("another gateway", other_gateway, "GET", list, b""),
        ("another signature", forged, "GET", list, b""),
        ("five parts", no_bearer, "GET", list, b""),
        ("nothing", String::new(), "GET", list, b""),
        (
            "no digest of the body",
            alice.proof(&gateway, "PUT", paths::WALLET_HANDLE, b""),
            "PUT",
            paths::WALLET_HANDLE,
            handle,
        ),
        (
            "another body",
            alice.proof(&gateway, "PUT", paths::WALLET_HANDLE, b"{}"),
            "PUT",
            paths::WALLET_HANDLE,
            handle,
        ),
        ("a digest and no body", alice.proof(&gateway, "GET", list, b"{}"), "GET", list, b""),
    ];
    for (name, proof, method, path, body) in cases {
        let answer = alice.send_with(&gateway, &proof, method, path, body).await;
        assert_eq!(answer.problem().code, ErrorCode::InvalidProof, "{name}");
    }
    // The good one was not used up by its forgery, and a query has no meaning.
    alice.send_with(&gateway, &good, "GET", &format!("{list}?did=somebody"), b"").await.is(200);
    // Other schemes, two of them, and none.
    for value in ["Bearer x", "Basic eDp5", "DIDProof", "DIDProof ", ""] {
        let get = |request: reqwest::RequestBuilder| request.header("Authorization", value);
        let answer = world.send(&gateway, reqwest::Method::GET, list, get).await;
        answer.refused(ErrorCode::InvalidProof);
    }
    let (one, two) = (alice.proof(&gateway, "GET", list, b""), alice.proof(&gateway, "GET", list, b""));
    let twice = |request: reqwest::RequestBuilder| {
        request
            .header("Authorization", format!("DIDProof {one}"))
            .header("Authorization", format!("DIDProof {two}"))
    };
    world.send(&gateway, reqwest::Method::GET, list, twice).await.refused(ErrorCode::InvalidProof);
    world.get(&gateway, list).await.refused(ErrorCode::InvalidProof);
}

async fn a_proof_has_its_time(world: World) {
    let gateway = world.gateway(&[]).await;
    let alice = world.wallet();
    let path = paths::WALLET_CHALLENGES;
    for offset in [-3600, -70, 70, 3600, i64::from(i32::MAX)] {
        let proof = alice.proof_at(&gateway, "GET", path, b"", clock::now_s() + offset);
        let answer = alice.send_with(&gateway, &proof, "GET", path, b"").await;
        answer.refused(ErrorCode::StaleProof);
        assert!(answer.header(reqwest::header::DATE).is_some(), "a wallet corrects its clock by it");
    }
    for offset in [-50, 50] {
        let proof = alice.proof_at(&gateway, "GET", path, b"", clock::now_s() + offset);
        alice.send_with(&gateway, &proof, "GET", path, b"").await.is(200);
        alice.send_with(&gateway, &proof, "GET", path, b"").await.refused(ErrorCode::ReplayedProof);
    }
}

async fn nobody_burns_another_wallets_jti(world: World) {
    let gateway = world.gateway(&[]).await;
    let (alice, mallory) = (world.wallet(), world.wallet());
    let request = Request { method: "GET", path: paths::WALLET_SESSIONS, body: b"" };
    let jti = clock::name();
    let proof =
        |wallet: &miid_e2e::Wallet| proof::sign(&wallet.key, request, &gateway.issuer, &jti, clock::now_s());
    let (hers, theirs) = (proof(&alice), proof(&mallory));
    mallory.send_with(&gateway, &theirs, "GET", request.path, b"").await.is(200);
    // Her payload under a signature that does not hold.
    let (signed, _) = hers.rsplit_once('.').unwrap();
    let (_, signature) = theirs.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{signature}");
    mallory.send_with(&gateway, &forged, "GET", request.path, b"").await.refused(ErrorCode::InvalidProof);
    alice.send_with(&gateway, &hers, "GET", request.path, b"").await.is(200);
}
