//! What retirements may cost: many sessions, many calls at once, and what is kept for ever.

use std::time::Instant;

use futures_util::future::join_all;
use miid_e2e::{Gateway, Kind, Wallet, World, eventually, on_both, on_postgres, on_sqlite, service};
use miid_protocol::{ErrorCode, jws, paths};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::retire::from_paper;

on_both!(thousands_of_sessions_end_in_one_retirement,);
on_sqlite!(
    retirements_without_a_proof_are_bounded_by_address,
    what_a_retirement_keeps_for_ever_is_bounded,
    a_session_beyond_the_bound_ends_the_oldest,
);
on_postgres!(one_identity_with_many_calls_at_once_holds_up_nobody_else,);

/// As many more sessions of somebody who has one, as would come about in years.
pub(crate) async fn multiply_sessions(gateway: &Gateway, did: &str, more: usize) {
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
