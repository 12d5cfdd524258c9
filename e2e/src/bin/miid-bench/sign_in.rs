//! Complete sign-ins, so many at once: the service asks, the wallet is told, approves, the service is
//! told, exchanges. Wallet and service learn of everything from their streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use miid_protocol::events::{ChallengeCreated, ChallengeVerified};
use miid_protocol::request::SignInRequest;
use miid_protocol::statement::{self, Decision};
use miid_protocol::{Did, SigningKey, jws, paths};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Result;
use super::http::{Client, Who};
use super::numbers::{quantile, sorted, spread};
use super::server::Server;

/// Persons per worker: each of its sign-ins is another person's than the one before.
const PERSONS: usize = 8;

pub const HEADING: &str =
    "store           at once   sign-ins/s             p50 ms              p99 ms              server CPU µs";

/// What one round gave.
pub struct Round {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
}

/// A line of the table.
pub fn line(store: &str, at_once: usize, rounds: &mut [Round]) -> String {
    let all = |f: fn(&Round) -> f64| rounds.iter().map(f).collect::<Vec<_>>();
    format!(
        "{store:<15} {at_once:>7}   {:<22} {:<19} {:<19} {}",
        spread(all(|r| r.per_second), 0),
        spread(all(|r| r.p50_ms), 2),
        spread(all(|r| r.p99_ms), 2),
        spread(all(|r| r.cpu_us), 0),
    )
}

/// Codes that the service's stream brought, for the workers that wait for them.
type Codes = Arc<Mutex<HashMap<String, oneshot::Sender<String>>>>;

/// Runs `at_once` workers for so many seconds, after a warm-up.
pub async fn round(server: &Server, at_once: usize, seconds: u64) -> Result<Round> {
    let codes: Codes = Arc::default();
    let mut service = Client::connect(&server.address).await?;
    service.open_stream(Who::Service(&server.basic), paths::SERVICE_EVENTS).await?;
    let inbox = codes.clone();
    let reader = tokio::spawn(async move {
        while let Ok((name, data)) = service.event().await {
            if name != "challenge_verified" {
                continue;
            }
            let Ok(event) = serde_json::from_str::<ChallengeVerified>(&data) else { continue };
            let waiting = inbox.lock().ok().and_then(|mut map| map.remove(&event.challenge_id.to_string()));
            if let (Some(waiting), Some(code)) = (waiting, event.authorization_code) {
                let _ = waiting.send(code);
            }
        }
    });

    let mut workers = Vec::new();
    for _ in 0..at_once {
        workers.push(Worker::new(server, codes.clone()).await?);
    }
    let warm = Instant::now() + Duration::from_millis(500);
    let end = warm + Duration::from_secs(seconds);
    let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(worker.run(warm, end))).collect();
    tokio::time::sleep_until(warm.into()).await;
    let cpu = server.cpu_s()?;
    tokio::time::sleep_until(end.into()).await;
    let cpu = server.cpu_s()? - cpu;
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    reader.abort();
    let times = sorted(times);
    let n = times.len() as f64;
    Ok(Round {
        per_second: n / seconds as f64,
        p50_ms: quantile(&times, 0.5) * 1e3,
        p99_ms: quantile(&times, 0.99) * 1e3,
        cpu_us: cpu / n * 1e6,
    })
}

struct Worker {
    basic: String,
    issuer: miid_protocol::Issuer,
    service: Client,
    wallet: Client,
    persons: Vec<(SigningKey, Client)>,
    codes: Codes,
}

impl Worker {
    async fn new(server: &Server, codes: Codes) -> Result<Self> {
        let mut persons = Vec::new();
        for _ in 0..PERSONS {
            let seed = miid_e2e::clock::random::<32>();
            let key = SigningKey::from_bytes(&seed);
            let mut stream = Client::connect(&server.address).await?;
            stream.open_stream(Who::Wallet(&key, &server.issuer), paths::WALLET_EVENTS).await?;
            persons.push((key, stream));
        }
        Ok(Self {
            basic: server.basic.clone(),
            issuer: server.issuer.clone(),
            service: Client::connect(&server.address).await?,
            wallet: Client::connect(&server.address).await?,
            persons,
            codes,
        })
    }

    async fn run(mut self, warm: Instant, end: Instant) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for i in 0.. {
            let begun = Instant::now();
            if begun >= end {
                break;
            }
            self.sign_in(i % PERSONS).await?;
            let now = Instant::now();
            if begun >= warm && now <= end {
                times.push((now - begun).as_secs_f64());
            }
        }
        Ok(times)
    }

    async fn sign_in(&mut self, person: usize) -> Result<()> {
        let (key, stream) = &mut self.persons[person];
        let did = Did::of(&key.verifying_key());
        let random = miid_e2e::clock::random::<32>();
        let verifier = jws::encode(&random);
        let asked = json!({
            "login_hint": did, "scopes": ["profile"], "claims": ["name"],
            "code_challenge": jws::digest(verifier.as_bytes()), "code_challenge_method": "S256",
            "binding_message": "Sign in to Bench", "user_agent": "Firefox on Linux", "ip": "192.0.2.7",
        });
        let body = asked.to_string();
        let answer =
            self.service.call(Who::Service(&self.basic), "POST", paths::CHALLENGE, body.as_bytes()).await?;
        let challenge: Value = serde_json::from_slice(&answer)?;
        let id = challenge["challenge_id"].as_str().ok_or("no id")?.to_owned();
        let number = challenge["match_code"].as_str().ok_or("no number")?;
        let (tell, told) = oneshot::channel();
        self.codes.lock().map_err(|_| "poisoned")?.insert(id.clone(), tell);

        let text = loop {
            let (name, data) = stream.event().await?;
            if name == "challenge_created" {
                let event: ChallengeCreated = serde_json::from_str(&data)?;
                if event.challenge_id.to_string() == id {
                    break event.request;
                }
            }
        };
        let request = SignInRequest::parse(&text)?;
        let claims = [("name".to_owned(), "Alice".to_owned())].into();
        let disclosure = statement::Disclosure::to_text([7; 16], claims);
        let decision = Decision::Approve {
            request_text: &text,
            request: &request,
            match_code: Some(number),
            scopes: &request.scopes,
            disclosure: Some(&disclosure),
        };
        let statement = statement::sign(
            key,
            decision,
            &self.issuer,
            &jws::encode(&random[..16]),
            miid_e2e::clock::now_s(),
        );
        let body = json!({ "statement": statement, "disclosure": disclosure }).to_string();
        let path = paths::approve(request.challenge_id);
        self.wallet.call(Who::Wallet(key, &self.issuer), "POST", &path, body.as_bytes()).await?;

        let code = told.await?;
        let body = json!({ "grant_type": "authorization_code", "code": code, "code_verifier": verifier });
        let answer = self
            .service
            .call(Who::Service(&self.basic), "POST", paths::TOKEN_EXCHANGE, body.to_string().as_bytes())
            .await?;
        let tokens: Value = serde_json::from_slice(&answer)?;
        if tokens["claims"]["name"] != "Alice" {
            return Err("the exchange gave something else".into());
        }
        Ok(())
    }
}
