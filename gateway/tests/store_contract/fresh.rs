//! A store of a test's own, on either database, and what the tests put into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use miid_gateway::clock::{Clock, random, uuid_v7};
use miid_gateway::domain::{Challenge, Session, State};
use miid_gateway::store::{Claim, Created, LogPage, NewChallenge, Options, Position, Quota, Store};
use miid_gateway::streams::StreamKey;
use miid_gateway::verify::HeldProof;
use miid_protocol::proof::{self, Request};
use miid_protocol::service::{Binding, ChallengeStatus};
use miid_protocol::{
    ChallengeId, ClientId, Did, Handle, Issuer, Lifetime, SessionId, SigningKey, Timestamp, jws,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// A store that is gone with its folder or database.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) now_ms: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl Fresh {
    pub(crate) async fn open(url: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = url.unwrap_or_else(|| format!("sqlite://{}", folder.path().join("gateway.db").display()));
        let now_ms = Arc::new(AtomicI64::new(1_767_322_985_000));
        let options = Options { url, serve: false, sqlite_normal: false };
        let store = Store::open(&options, clock(&now_ms)).await.expect("the store opens");
        Self { store, options, now_ms, _folder: folder }
    }

    pub(crate) fn wait(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) async fn open_challenge(&self, new: NewChallenge) -> Created {
        let new = Arc::new(new);
        self.store
            .write("open_challenge", move |tx| {
                let new = new.clone();
                Box::pin(async move { tx.open_challenge(&new).await })
            })
            .await
            .expect("the store works")
    }

    pub(crate) async fn new_challenge(&self, name: &str) -> Challenge {
        match self.open_challenge(self.pending(name)).await {
            Created::New(challenge) => challenge,
            other => panic!("not new: {other:?}"),
        }
    }

    pub(crate) fn pending(&self, name: &str) -> NewChallenge {
        let now = self.store.clock().now();
        let did = did(name);
        NewChallenge {
            challenge: Challenge {
                id: ChallengeId::from_uuid(uuid_v7(now)),
                version: 0,
                client_id: shop(),
                did: Some(did.clone()),
                hint_key: name.to_owned(),
                person_key: format!("person of {name}"),
                known_browser: false,
                step_up: None,
                binding: Binding::Addressed,
                return_url: None,
                nonce: jws::encode(&random::<16>()),
                request: "{}".into(),
                code_challenge: jws::encode(&random::<32>()),
                created_at: now,
                expires_at: now.plus(Lifetime::from_secs(300)),
                changed_at: now,
                approvals: 0,
                state: State::Pending,
            },
            handle: None,
            replaces: None,
            quota: Quota { unknown_browsers: 3, known_browsers: 3, person: 10, session: 3 },
        }
    }

    pub(crate) async fn log(&self, stream: &StreamKey, after: Position) -> LogPage {
        let mut reader = self.store.read().await.expect("a reader");
        reader.log_after(stream, after).await.expect("the log")
    }
}

pub(crate) fn clock(now_ms: &Arc<AtomicI64>) -> Clock {
    let now_ms = now_ms.clone();
    Clock::from_fn(move || Timestamp::from_millis(now_ms.load(Ordering::SeqCst)))
}

pub(crate) fn did(name: &str) -> Did {
    Did::of(&key(name).verifying_key())
}

pub(crate) fn shop() -> ClientId {
    ClientId::parse("demo-shop").expect("id")
}

/// A fresh database on the server that the harness started.
pub(crate) async fn postgres() -> Option<String> {
    let url = std::env::var("MIID_TEST_POSTGRES_URL").ok()?;
    let name = format!("contract_{}", jws::encode(&random::<9>()).replace('-', "a").to_lowercase());
    let mut server = PgConnection::connect(&url).await.expect("MIID_TEST_POSTGRES_URL answers");
    server.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).await.expect("a database");
    let (base, _) = url.rsplit_once('/').expect("a URL with a database");
    Some(format!("{base}/{name}"))
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                super::$name($crate::fresh::Fresh::open(None).await).await;
            }
            #[tokio::test]
            async fn postgres() {
                let Some(url) = $crate::fresh::postgres().await else {
                    assert!(std::env::var_os("CI").is_none(), "CI has PostgreSQL");
                    println!("skipped: MIID_TEST_POSTGRES_URL names no server (cargo xtask test starts one)");
                    return;
                };
                super::$name($crate::fresh::Fresh::open(Some(url)).await).await;
            }
        }
    )* };
}
pub(crate) use on_both;

pub(crate) fn key(name: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_bytes(&seed)
}

pub(crate) fn issuer() -> Issuer {
    Issuer::parse("https://id.example").expect("issuer")
}

/// A proof that nobody has seen.
pub(crate) fn proof(fresh: &Fresh, name: &str) -> HeldProof {
    let (now, request) = (fresh.store.clock().now(), Request { method: "GET", path: "/", body: b"" });
    let token = proof::sign(&key(name), request, &issuer(), &jws::encode(&random::<16>()), now.seconds());
    HeldProof::check(&token, request, &issuer(), now).expect("it holds")
}

/// The position before the service's first event.
pub(crate) async fn first_position(fresh: &Fresh) -> Position {
    let mut reader = fresh.store.read().await.expect("a reader");
    let head = reader.head(&StreamKey::service(&shop())).await.expect("a head");
    Position(head.0 - 1)
}

pub(crate) async fn standing(fresh: &Fresh, id: ChallengeId) -> ChallengeStatus {
    let mut reader = fresh.store.read().await.expect("a reader");
    let challenge = reader.challenge_of_service(id, &shop()).await.expect("read").expect("there");
    challenge.standing(fresh.store.clock().now()).0
}

/// A handle, claimed.
pub(crate) async fn claim(fresh: &Fresh, name: &str, handle: &str) -> Claim {
    let inputs = Arc::new((did(name), Handle::parse(handle).expect("a handle"), format!("person of {name}")));
    fresh
        .store
        .write("claim_handle", move |tx| {
            let inputs = inputs.clone();
            Box::pin(async move { tx.claim_handle(&inputs.0, &inputs.2, &inputs.1).await })
        })
        .await
        .expect("the store works")
}

/// One that is about to be opened; without a refresh it lives for ten seconds.
pub(crate) fn session_of(fresh: &Fresh, name: &str) -> Session {
    let now = fresh.store.clock().now();
    let idle = |s: i64| now.plus(Lifetime::from_secs(s));
    Session {
        id: SessionId::from_uuid(uuid_v7(now)),
        challenge_id: ChallengeId::from_uuid(uuid_v7(now)),
        client_id: shop(),
        did: did(name),
        sub: "sub".into(),
        scopes: vec![],
        grant_id: uuid_v7(now),
        disclosure: None,
        statement: String::new(),
        created_at: now,
        last_used_at: now,
        expires_at: idle(1000),
        idle_until: idle(10),
        generation: 1,
        rotated_at: now,
        revoked: None,
    }
}
