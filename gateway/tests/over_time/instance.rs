//! A gateway of a test's own, in this process, on either database.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use http::{Request, StatusCode};
use miid_gateway::cli::Command;
use miid_gateway::clock::{Clock, random};
use miid_gateway::http::{App, AppState, Peer, router};
use miid_gateway::keys::ServerKeys;
use miid_gateway::store::{BindingRule, Options, Service, SessionPolicy, StepUpRule, Store};
use miid_gateway::{config, upkeep};
use miid_protocol::proof;
use miid_protocol::request::SignInRequest;
use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::service::TokenResponse;
use miid_protocol::statement::{self, Decision};
use miid_protocol::{ClientId, Did, Issuer, SigningKey, Timestamp, jws, paths};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};
use tower::ServiceExt as _;
use zeroize::Zeroizing;

/// It is gone with its folder or database.
pub(crate) struct Instance {
    pub(crate) app: App,
    router: Router,
    url: String,
    now_ms: Arc<AtomicI64>,
    _folder: Arc<tempfile::TempDir>,
}

impl Instance {
    pub(crate) async fn start(url: Option<String>, flags: &[&str]) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let url = url.unwrap_or_else(|| format!("sqlite://{}", folder.path().join("gateway.db").display()));
        Self::open(url, flags, Arc::new(AtomicI64::new(1_767_322_985_000)), folder).await
    }

    /// Another one of the same gateway.
    pub(crate) async fn another(&self, flags: &[&str]) -> Self {
        Self::open(self.url.clone(), flags, self.now_ms.clone(), self._folder.clone()).await
    }

    async fn open(
        url: String,
        flags: &[&str],
        now_ms: Arc<AtomicI64>,
        folder: Arc<tempfile::TempDir>,
    ) -> Self {
        let words = ["miid-gateway", "serve"].iter().chain(flags).map(Into::into);
        let cli = config::parse(words).expect("the flags are right");
        let Command::Serve(settings) = cli.command else { panic!("serve") };
        let moved = now_ms.clone();
        let clock = Clock::from_fn(move || Timestamp::from_millis(moved.load(Ordering::SeqCst)));
        let options = Options { url: url.clone(), serve: false, sqlite_normal: true };
        let store = Store::open(&options, clock).await.expect("the store opens");
        let keys = Arc::new(ServerKeys::new(Zeroizing::new([7; 32])));
        let issuer = Issuer::parse("https://id.example").expect("an issuer");
        add_service(&store).await;
        let control = upkeep::load_control(&store, &keys, &issuer, settings.lifetimes.access_ttl)
            .await
            .expect("services and keys");
        let app = AppState::new(store, keys, issuer, *settings, control);
        Self { router: router(app.clone()), app, url, now_ms, _folder: folder }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    pub(crate) fn wait(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// A request, and its answer as JSON.
    pub(crate) async fn call(
        &self,
        authorization: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", authorization)
            .header("content-type", "application/json")
            .extension(Peer(IpAddr::from([127, 0, 0, 1])))
            .body(Body::from(body.to_owned()))
            .expect("a request");
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let (head, body) = answer.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.expect("the answer is whole");
        (head.status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A request of the service.
    pub(crate) async fn as_service(&self, method: &str, path: &str, body: &Value) -> Value {
        let login = format!("{}:{}", shop(), secret().expose());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.call(&basic, method, path, &body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    /// A request of a wallet.
    async fn as_wallet(&self, key: &SigningKey, path: &str, body: &Value) {
        let (body, jti) = (body.to_string(), jws::encode(&random::<16>()));
        let request = proof::Request { method: "POST", path, body: body.as_bytes() };
        let proof = proof::sign(key, request, &self.app.issuer, &jti, self.now().seconds());
        let (status, answer) = self.call(&format!("{} {proof}", proof::SCHEME), "POST", path, &body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
    }

    /// A whole sign-in: request, approval, code, tokens.
    pub(crate) async fn sign_in(&self, key: &SigningKey) -> TokenResponse {
        let verifier = jws::encode(&random::<32>());
        let did = Did::of(&key.verifying_key());
        let asked = json!({
            "login_hint": did, "scopes": ["profile"], "binding_message": "Sign in", "ip": "192.0.2.1",
            "code_challenge": jws::digest(verifier.as_bytes()), "code_challenge_method": "S256",
        });
        let challenge = self.as_service("POST", paths::CHALLENGE, &asked).await;
        let text = challenge["request"].as_str().expect("a request text");
        let request = SignInRequest::parse(text).expect("it parses");
        let decision = Decision::Approve {
            request_text: text,
            request: &request,
            match_code: challenge["match_code"].as_str(),
            scopes: &request.scopes,
            disclosure: None,
        };
        let jti = jws::encode(&random::<16>());
        let statement = statement::sign(key, decision, &self.app.issuer, &jti, self.now().seconds());
        let approved = json!({ "statement": statement });
        self.as_wallet(key, &paths::approve(request.challenge_id), &approved).await;
        let path = paths::with_id(paths::CHALLENGE_BY_ID, request.challenge_id);
        let code = self.as_service("GET", &path, &Value::Null).await["authorization_code"].take();
        let body = json!({"grant_type": "authorization_code", "code": code, "code_verifier": verifier});
        let tokens = self.as_service("POST", paths::TOKEN_EXCHANGE, &body).await;
        serde_json::from_value(tokens).expect("tokens")
    }

    /// How many rows each table has.
    pub(crate) async fn row_counts(&self) -> BTreeMap<String, i64> {
        let tables = if self.url.starts_with("sqlite") {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        } else {
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"
        };
        let mut counts = BTreeMap::new();
        for table in self.texts(tables).await {
            let count = self.texts(&format!("SELECT CAST(count(*) AS TEXT) FROM \"{table}\"")).await;
            counts.insert(table, count[0].parse().expect("a number"));
        }
        counts
    }

    /// The first column of a query.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(&self.url).await.expect("the file opens");
            let rows = connection.fetch_all(sql).await.expect("the query runs");
            rows.iter().map(|row| row.get(0)).collect()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.expect("the server answers");
            let rows = connection.fetch_all(sql).await.expect("the query runs");
            rows.iter().map(|row| row.get(0)).collect()
        }
    }
}

async fn add_service(store: &Store) {
    let service = Service {
        client_id: shop(),
        name: "Demo Shop".into(),
        secret: secret().hash(),
        old_secret: None,
        return_urls: vec![],
        scopes: vec!["profile".into()],
        session_policy: SessionPolicy::Single,
        binding: BindingRule::Any,
        step_up: StepUpRule::Linked,
        created_at: store.clock().now(),
    };
    let added = store.write("add_service", move |tx| {
        let service = service.clone();
        Box::pin(async move { tx.add_service(&service).await })
    });
    added.await.expect("the store works");
}

pub(crate) fn shop() -> ClientId {
    ClientId::parse("demo-shop").expect("an id")
}

fn secret() -> Secret<ClientSecret> {
    Secret::from_bytes([9; 32])
}

/// Somebody's key.
pub(crate) fn key(person: u8) -> SigningKey {
    SigningKey::from_bytes(&[person; 32])
}

/// A fresh database on the server that the harness started.
pub(crate) async fn postgres() -> Option<String> {
    let Ok(url) = std::env::var("MIID_TEST_POSTGRES_URL") else {
        assert!(std::env::var_os("CI").is_none(), "CI has PostgreSQL");
        println!("skipped: MIID_TEST_POSTGRES_URL names no server (cargo xtask test starts one)");
        return None;
    };
    let name = format!("over_time_{}", jws::encode(&random::<9>()).replace('-', "a").to_lowercase());
    let mut server = PgConnection::connect(&url).await.expect("MIID_TEST_POSTGRES_URL answers");
    server.execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\""))).await.expect("a database");
    let (base, _) = url.rsplit_once('/').expect("a URL with a database");
    Some(format!("{base}/{name}"))
}
