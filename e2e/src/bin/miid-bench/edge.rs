//! What a request costs at the edge, beside the same upstream directly and behind haproxy. The proxy has core 0,
//! load and upstream share core 1. CPU per request is what compares: rates depend on the generator, too.

use std::rc::Rc;

use miid_e2e::Forger;
use miid_protocol::service::TokenResponse;
use miid_protocol::{Did, SigningKey, jws, paths, statement};
use serde_json::{Value, json};

use super::Result;
use super::haproxy::Haproxy;
use super::http::{Client, Who};
use super::load::{self, CONNECTIONS, Round};
use super::numbers::spread;
use super::server::{Server, Store, cpu_s};

/// Tokens that are used once each: made before, since signing them costs more than checking.
const TOKENS: usize = 60_000;

type Requests = Rc<dyn Fn(usize) -> Option<Vec<u8>>>;

/// Measures those whose names hold `only`, one after another, so many times.
pub async fn run(rounds: usize, seconds: u64, only: &str) -> Result<()> {
    tokio::task::LocalSet::new().run_until(compare(rounds, seconds, only)).await
}

async fn compare(rounds: usize, seconds: u64, only: &str) -> Result<()> {
    println!(
        "\nRequests through the edge, {CONNECTIONS} connections; proxy on core 0, load and upstream on core 1"
    );
    println!(
        "                                  requests/s                  p99 ms               proxy CPU µs each"
    );
    let upstream = load::upstream().await?;
    let get = |token: &str| {
        let request =
            format!("GET /api/orders HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n");
        request.into_bytes()
    };
    let same = |token: &str| -> Requests {
        let request = get(token);
        Rc::new(move |_| Some(request.clone()))
    };
    let mut lines: Vec<(&str, Vec<(Round, f64)>)> = [
        "upstream directly",
        "haproxy",
        "edge, cached token",
        "edge, cached, access log",
        "haproxy, RS256",
        "edge, uncached tokens",
    ]
    .map(|name| (name, Vec::new()))
    .into();
    for _ in 0..rounds {
        let plain = Haproxy::start(&upstream, "", |_| Ok(()))?;
        let (checking, rs256) = Haproxy::with_rs256(&upstream)?;
        let quiet = edge(&upstream, false).await?;
        let logging = edge(&upstream, true).await?;
        let (token, logged) = (sign_in(&quiet).await?, sign_in(&logging).await?);
        let forger = Forger::new(quiet.data_dir(), &token);
        let many: Vec<Vec<u8>> = (0..TOKENS).map(|_| get(&forger.another())).collect();
        let each: Requests = Rc::new(move |i| many.get(i).cloned());
        let subjects: [(&str, Option<u32>, Requests); 6] = [
            (&upstream, None, same(&token)),
            (&plain.address, Some(plain.id()), same(&token)),
            (&quiet.edge, Some(quiet.id()), same(&token)),
            (&logging.edge, Some(logging.id()), same(&logged)),
            (&checking.address, Some(checking.id()), same(&rs256)),
            (&quiet.edge, Some(quiet.id()), each),
        ];
        let subjects = lines.iter_mut().zip(subjects).filter(|((name, _), _)| name.contains(only));
        for ((_, results), (address, pid, requests)) in subjects {
            let mut cpu = Vec::new();
            let round = load::round(address, requests, seconds, || {
                cpu.push(pid.map_or(Ok(0.0), cpu_s).unwrap_or(f64::NAN));
            })
            .await?;
            let used = (cpu[1] - cpu[0]) / round.requests * 1e6;
            results.push((round, used));
        }
    }
    for (name, results) in lines.iter().filter(|(_, results)| !results.is_empty()) {
        let all = |f: fn(&(Round, f64)) -> f64, digits| spread(results.iter().map(f).collect(), digits);
        println!(
            "{name:<30} {:<28} {:<22} {}",
            all(|(round, _)| round.per_second, 0),
            all(|(round, _)| round.p99_ms, 2),
            all(|(_, cpu)| *cpu, 1),
        );
    }
    Ok(())
}

async fn edge(upstream: &str, access_log: bool) -> Result<Server> {
    let routes = |client_id: &str| {
        format!(
            "[edge]\naccess_log = {access_log}\n[[edge.route]]\nname = \"api\"\nprefix = \"/api\"\nkind = \"general\"\naudience = \"{client_id}\"\nscopes = [\"profile\"]\nupstreams = [\"http://{upstream}\"]\n"
        )
    };
    Server::start_with(&Store::Sqlite { normal: false }, Some(&routes)).await
}

/// One sign-in, for its access token.
async fn sign_in(server: &Server) -> Result<String> {
    let key = SigningKey::from_bytes(&miid_e2e::clock::random());
    let (did, verifier) = (Did::of(&key.verifying_key()), jws::encode(&miid_e2e::clock::random::<32>()));
    let mut service = Client::connect(&server.address).await?;
    let mut call = async |who: Who<'_>, method: &str, path: &str, body: Value| -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Ok(serde_json::from_slice(&service.call(who, method, path, body.as_bytes()).await?)?)
    };
    let basic = || Who::Service(&server.basic);
    let asked = json!({
        "login_hint": did, "scopes": ["profile"], "code_challenge": jws::digest(verifier.as_bytes()),
        "code_challenge_method": "S256",
    });
    let challenge = call(basic(), "POST", paths::CHALLENGE, asked).await?;
    let id = challenge["challenge_id"].as_str().ok_or("no id")?.to_owned();
    let text = challenge["request"].as_str().ok_or("no request")?;
    let request = miid_protocol::request::SignInRequest::parse(text)?;
    let decision = statement::Decision::Approve {
        request_text: text,
        request: &request,
        match_code: challenge["match_code"].as_str(),
        scopes: &request.scopes,
        disclosure: None,
    };
    let now_s = miid_e2e::clock::now_s();
    let signed = statement::sign(&key, decision, &server.issuer, &miid_e2e::clock::name(), now_s);
    let wallet = Who::Wallet(&key, &server.issuer);
    call(wallet, "POST", &paths::approve(request.challenge_id), json!({ "statement": signed })).await?;
    let shown = call(basic(), "GET", &paths::with_id(paths::CHALLENGE_BY_ID, id), Value::Null).await?;
    let exchange = json!({
        "grant_type": "authorization_code", "code": shown["authorization_code"], "code_verifier": verifier,
    });
    let tokens = call(basic(), "POST", paths::TOKEN_EXCHANGE, exchange).await?;
    Ok(serde_json::from_value::<TokenResponse>(tokens)?.access_token)
}
