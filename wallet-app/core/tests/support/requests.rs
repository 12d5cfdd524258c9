//! Requests, events and answers as a gateway sends them.

use miid_protocol::request::{ServiceName, SignInRequest};
use miid_protocol::service::{Binding, Risk};
use miid_protocol::{ChallengeId, ClientId, SessionId, Timestamp};
use miid_wallet::Approval;
use serde_json::json;

use super::{MINUTE, Reply, Seen, T, ok};

pub fn id(n: u32) -> ChallengeId {
    ChallengeId::parse(&format!("0198e0a0-0000-7000-8000-{n:012}")).expect("id")
}

pub fn sample(n: u32) -> SignInRequest {
    SignInRequest {
        challenge_id: id(n),
        nonce: "bm9uY2U".into(),
        service: ServiceName { id: ClientId::parse("demo-shop").expect("id"), name: "Demo Shop".into() },
        binding: Binding::Addressed,
        binding_message: "Sign in to Demo Shop".into(),
        scopes: vec!["profile".into(), "email".into()],
        claims: vec!["name".into(), "email".into()],
        risk: Risk::Normal,
        step_up_session: None,
        user_agent: None,
        ip: None,
        code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into(),
        created_at: Timestamp::from_millis(T),
        expires_at: Timestamp::from_millis(T + 5 * MINUTE),
    }
}

pub fn created(n: u32, position: u32) -> String {
    let data = json!({"challenge_id": id(n), "request": sample(n).to_text()});
    format!("id: {position}\nevent: challenge_created\ndata: {data}\n\n")
}

/// The service took it back.
pub fn over(n: u32, position: u32) -> String {
    let data = json!({"challenge_id": id(n), "reason": "withdrawn", "at": Timestamp::from_millis(T)});
    format!("id: {position}\nevent: challenge_expired\ndata: {data}\n\n")
}

pub fn listed(n: u32, status: &str) -> serde_json::Value {
    let says = sample(n);
    json!({"challenge_id": id(n), "status": status, "request": says.to_text(), "expires_at": says.expires_at})
}

pub fn challenges(list: &[serde_json::Value]) -> Reply {
    ok(json!({"challenges": list}).to_string())
}

pub fn no_sessions() -> Reply {
    ok(r#"{"sessions":[]}"#)
}

/// Answers what every wallet asks; `None` leaves the rest to the test.
pub fn usual(seen: &Seen) -> Option<Reply> {
    match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/v1/wallet/sessions") => Some(no_sessions()),
        ("GET", "/v1/wallet/challenges") => Some(challenges(&[])),
        _ => None,
    }
}

pub fn yes() -> Approval {
    Approval { match_code: Some("47".into()), share: ["name".to_owned()].into(), ..Approval::default() }
}

pub fn outcome(status: &str) -> Reply {
    ok(json!({"challenge_id": id(1), "status": status, "at": Timestamp::from_millis(T)}).to_string())
}

pub fn statement_in(seen: &Seen) -> String {
    let body: serde_json::Value = serde_json::from_str(&seen.body).expect("json");
    body["statement"].as_str().expect("statement").to_owned()
}

/// A linked request, after its change, as the gateway lists it.
pub fn linked(n: u32, status: &str, change: impl FnOnce(&mut SignInRequest)) -> serde_json::Value {
    let mut says = SignInRequest { binding: Binding::Linked, claims: vec!["name".into()], ..sample(n) };
    change(&mut says);
    json!({"challenge_id": id(n), "status": status, "request": says.to_text(), "expires_at": says.expires_at})
}

/// The session that [`step_up`] is about.
pub fn session_id() -> SessionId {
    SessionId::parse("0198e0a0-0000-7000-8000-00000000beef").expect("id")
}

/// Turns a request into one to confirm something in [`session_id`].
pub fn step_up(says: &mut SignInRequest) {
    says.risk = Risk::StepUp;
    says.step_up_session = Some(session_id());
    says.claims.clear();
    says.binding_message = "Transfer 250 to Bob".into();
}

/// That session, as the gateway lists it.
pub fn session_of_step_up() -> serde_json::Value {
    json!({"session_id": session_id(), "service": {"id": "demo-shop", "name": "Demo Shop"}, "scopes": ["profile"],
        "claims": ["name"], "created_at": Timestamp::from_millis(T - 10 * MINUTE),
        "last_used_at": Timestamp::from_millis(T), "expires_at": Timestamp::from_millis(T + 60 * MINUTE)})
}

/// A link to request `n`.
pub fn link(n: u32, issuer: &miid_protocol::Issuer) -> miid_protocol::link::WalletLink {
    let secret = miid_protocol::secret::Secret::from_bytes([7; 32]);
    miid_protocol::link::WalletLink { challenge_id: id(n), issuer: issuer.clone(), secret }
}

/// Where the browser goes back to after request `n`.
pub fn return_to(n: u32, issuer: &miid_protocol::Issuer) -> String {
    let response_code = miid_protocol::secret::Secret::from_bytes([9; 32]);
    miid_protocol::link::Returned { challenge_id: id(n), response_code, issuer: issuer.clone(), did: None }
        .to_address("https://shop.example/auth/return")
}
