//! A gateway, a service, browsers; and a clock that can be put forward.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use http::StatusCode;
use miid_protocol::browser::{LoginStatus, StartResponse};
use miid_protocol::{ChallengeId, Timestamp};
use miid_service::{Config, Outside, Refusal, SignIn, SignedIn, StepUp, demo};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{Gateway, later};

pub const CLIENT_SECRET: &str = "miid_cs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub struct World {
    pub gateway: Gateway,
    pub service: Service,
    pub folder: TempDir,
    pub clock: Arc<AtomicI64>,
}

pub struct Service {
    pub url: String,
    pub sign_in: SignIn,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let gateway = Gateway::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(AtomicI64::new(0));
        let service = serve(&gateway, &folder, &clock, change).await;
        let world = Self { gateway, service, folder, clock };
        world.listening().await;
        world
    }

    pub fn browser(&self) -> Browser {
        Browser::new(&self.service.url)
    }

    pub fn put_forward(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Waits until the service hears the gateway.
    pub async fn listening(&self) {
        let ready = async {
            while self.service.sign_in.ready().await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ready).await.expect("ready");
    }

    /// Stops the service; [`World::restart`] starts it again on the same files.
    pub async fn stop(&self) {
        self.service.sign_in.shutdown().await;
    }

    pub async fn restart(&mut self) {
        self.service = serve(&self.gateway, &self.folder, &self.clock, |_| {}).await;
        self.listening().await;
    }
}

pub fn config(gateway: &Gateway, folder: &TempDir, clock: &Arc<AtomicI64>, public_url: &str) -> Config {
    let mut config = Config::new(&gateway.url, "demo-shop", CLIENT_SECRET, public_url).expect("a config");
    config.database_url = format!("sqlite://{}", folder.path().join("service.db").display());
    config.key_file = folder.path().join("service.key");
    let clock = Arc::clone(clock);
    config.outside = Outside::real()
        .with_clock(move || Timestamp::from_millis(later(0).millis() + clock.load(Ordering::SeqCst)));
    config
}

pub async fn serve(
    gateway: &Gateway,
    folder: &TempDir,
    clock: &Arc<AtomicI64>,
    change: impl FnOnce(&mut Config),
) -> Service {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut config = config(gateway, folder, clock, &url);
    change(&mut config);
    let pages = folder.path().join("pages");
    std::fs::create_dir_all(pages.join("assets")).expect("a folder");
    std::fs::write(pages.join("index.html"), "<!doctype html><html><head><title>shop</title></head></html>")
        .expect("a page");
    std::fs::write(pages.join("assets/app.js"), "1").expect("a page");
    let sign_in = SignIn::connect(config).await.expect("connects");
    let app = demo::app(&sign_in, &pages, None).expect("an app").merge(own_routes(&sign_in));
    let serving = sign_in.clone();
    tokio::spawn(async move { serving.serve(listener, app, std::future::pending()).await });
    Service { url, sign_in }
}

/// What a service of one's own does with a step-up.
fn own_routes(sign_in: &SignIn) -> Router {
    async fn begin(State(miid): State<SignIn>, user: SignedIn) -> Result<StepUp, Refusal> {
        miid.step_up(&user, "Send 250 to Bob").await
    }
    async fn token(State(miid): State<SignIn>, user: SignedIn) -> Result<String, Refusal> {
        let token = miid.step_up_token(&user).await?;
        Ok(token.map(|token| token.expose().to_owned()).unwrap_or_default())
    }
    Router::new()
        .route("/own/step-up", post(begin))
        .route("/own/token", get(token))
        .with_state(sign_in.clone())
}

/// A fresh database on the PostgreSQL server of the tests, if there is one.
pub async fn postgres() -> Option<String> {
    use std::io::Write as _;

    use sqlx::Connection as _;
    let Ok(server) = std::env::var("MIID_TEST_POSTGRES_URL") else {
        // Past the capture of the test runner: what was not tested must be seen.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a test of two instances (MIID_TEST_POSTGRES_URL is not set)"
        );
        return None;
    };
    let name = format!("it_{:032x}", u128::from_le_bytes(Outside::real().random()));
    let mut admin = sqlx::PgConnection::connect(&server).await.expect("MIID_TEST_POSTGRES_URL answers");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut admin).await.expect("creates");
    let (base, query) = server.split_once('?').map_or((server.as_str(), ""), |(base, query)| (base, query));
    let authority = base.find("://").expect("a URL") + 3;
    let end = base[authority..].find('/').map_or(base.len(), |slash| authority + slash);
    Some(format!("{}/{name}?{query}", &base[..end]))
}

/// A browser: cookies, and an `Origin` on what it posts.
pub struct Browser {
    client: reqwest::Client,
    pub url: String,
    pub cookies: BTreeMap<String, String>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }
}

impl Browser {
    pub fn new(url: &str) -> Self {
        Self { client: reqwest::Client::new(), url: url.to_owned(), cookies: BTreeMap::new() }
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method.clone(), format!("{}{path}", self.url));
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) };
        if method == reqwest::Method::GET { request } else { request.header("origin", &self.url) }
    }

    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        for cookie in response.headers().get_all("set-cookie") {
            let text = cookie.to_str().expect("text");
            let (name, rest) = text.split_once('=').expect("a name");
            let value = rest.split(';').next().expect("a value");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.expect("a body");
        Answer { status, headers, body: serde_json::from_str(&body).unwrap_or(Value::String(body)) }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(self.request(reqwest::Method::GET, path)).await
    }

    pub async fn post(&mut self, path: &str) -> Answer {
        self.send(self.request(reqwest::Method::POST, path)).await
    }

    pub async fn try_start(&mut self, hint: &str) -> Answer {
        let request = self.request(reqwest::Method::POST, "/auth/start").json(&json!({ "login_hint": hint }));
        self.send(request).await
    }

    pub async fn start(&mut self, hint: &str) -> ChallengeId {
        let answer = self.try_start(hint).await.expect(201);
        serde_json::from_value::<StartResponse>(answer.body).expect("a start").challenge_id
    }

    pub async fn try_start_linked(&mut self) -> Answer {
        let request = self.request(reqwest::Method::POST, "/auth/start").json(&json!({}));
        self.send(request).await
    }

    pub async fn start_linked(&mut self) -> ChallengeId {
        let answer = self.try_start_linked().await.expect(201);
        serde_json::from_value::<StartResponse>(answer.body).expect("a start").challenge_id
    }

    /// The service's own route that asks for a step-up.
    pub async fn step_up(&mut self) -> ChallengeId {
        let answer = self.post("/own/step-up").await.expect(201);
        serde_json::from_value::<StartResponse>(answer.body).expect("a start").challenge_id
    }

    /// `POST /auth/return`
    pub async fn come_back(&mut self, with: &Value) -> Answer {
        let request = self.request(reqwest::Method::POST, "/auth/return").json(with);
        self.send(request).await
    }

    pub async fn status(&mut self, id: ChallengeId) -> LoginStatus {
        let answer = self.get(&format!("/auth/status/{id}")).await.expect(200);
        serde_json::from_value(answer.body).expect("a status")
    }

    pub async fn complete(&mut self, id: ChallengeId) -> Answer {
        self.post(&format!("/auth/complete/{id}")).await
    }

    pub async fn watch(&self, path: &str) -> Stream {
        let response = self.request(reqwest::Method::GET, path).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { response, text: String::new() }
    }

    pub async fn watch_login(&self, id: ChallengeId) -> Stream {
        self.watch(&format!("/auth/stream/{id}")).await
    }

    /// All of it, with the wallet's part done by the gateway.
    pub async fn sign_in(&mut self, gateway: &Gateway, hint: &str) -> Value {
        let id = self.start(hint).await;
        let mut stream = self.watch_login(id).await;
        gateway.approve(id);
        stream.until("active").await;
        self.complete(id).await.expect(200).body
    }
}

/// An event stream.
pub struct Stream {
    response: reqwest::Response,
    text: String,
}

#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

impl Stream {
    /// The next event; `None` where the response ends. Ten seconds at most.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(Duration::from_secs(10), self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    block.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
                };
                if let Some(name) = field("event") {
                    let data = serde_json::from_str(&field("data").expect("data")).expect("JSON");
                    return Some(Event { name, id: field("id"), data });
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The event with this name, whatever comes before it.
    pub async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended without {name}"));
            if event.name == name {
                return event;
            }
        }
    }
}
