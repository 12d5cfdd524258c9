//! A gateway that does as it is told.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use miid_protocol::events::{
    ChallengeAt, ChallengeDenied, ChallengeExpired, ChallengeVerified, ServiceEvent, SessionCreated,
    SessionRevoked,
};
use miid_protocol::problem::{ErrorCode, Problem};
use miid_protocol::service::*;
use miid_protocol::{ChallengeId, Did, Issuer, SessionId, SigningKey, Timestamp, paths};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// How the next exchange is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// Done, and the answer is lost.
    Lost,
    /// Not done: 503.
    Busy,
    /// Never answered.
    Hang,
    /// Revoked before anybody has the answer.
    RevokedAtOnce,
}

#[derive(Default)]
pub struct Book {
    pub down: bool,
    /// Requests turned away while down.
    pub turned_away: usize,
    pub created: Vec<CreateChallenge>,
    pub challenges: HashMap<ChallengeId, (Challenge, String)>,
    /// The session that each code gave.
    pub codes: HashMap<String, (ChallengeId, Option<SessionId>)>,
    pub sessions: BTreeMap<SessionId, String>,
    pub revoked: Vec<(SessionId, RevokeReason)>,
    pub exchanges: usize,
    pub introspections: usize,
    pub withdrawn: Vec<ChallengeId>,
    pub script: VecDeque<Exchange>,
    /// Where browsers may come back to; anywhere while this is empty.
    pub return_urls: Vec<String>,
    /// The right response code of each approval.
    pub responses: HashMap<ChallengeId, String>,
    /// What withdrawals brought along.
    pub stopped: Vec<(ChallengeId, String)>,
    /// Who approves from here on; 0 is [`did`].
    pub approver: u8,
    /// What the next challenges are, whatever was asked for.
    pub other_binding: Option<Binding>,
    /// Approvals are written down and not told.
    pub silent: bool,
    /// What each step-up is for.
    pub step_ups: HashMap<ChallengeId, SessionId>,
    /// Step-ups get what only a sign-in may.
    pub lies: bool,
    /// Refuses the next challenge.
    pub refuse: Option<(ErrorCode, u64)>,
    /// Denies the next challenge before it is answered.
    pub deny_at_once: Option<DenyReason>,
    /// And the session of each.
    pub tokens: HashMap<String, SessionId>,
    pub log: Vec<ServiceEvent>,
    /// Events before this are forgotten.
    pub pruned: usize,
    /// Events at these places are sent in words that no reader knows.
    pub garbled: HashSet<usize>,
    /// Streams open and tell nothing.
    pub mute: bool,
    /// Nobody gets a stream; everything else is answered.
    pub streams_down: bool,
    /// Streams that were opened.
    pub streams: usize,
    /// The lists are not answered.
    pub lists_down: bool,
    /// The list of challenges is this much too long.
    pub padding: usize,
    /// How often a list was asked for.
    pub lists: usize,
    /// How often one challenge was asked about.
    pub shown: usize,
    serial: u64,
}

#[derive(Clone)]
pub struct Gateway {
    pub url: String,
    book: Arc<Mutex<Book>>,
    bell: watch::Sender<u64>,
}

pub fn did() -> Did {
    did_of(0)
}

fn did_of(approver: u8) -> Did {
    Did::of(&SigningKey::from_bytes(&[9 + approver; 32]).verifying_key())
}

impl Gateway {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let gateway = Self { url, book: Arc::default(), bell: watch::Sender::new(0) };
        let app = Router::new()
            .route(paths::CHALLENGE, post(create))
            .route(paths::CHALLENGE_BY_ID, get(show))
            .route(paths::CHALLENGE_WITHDRAW, post(withdraw))
            .route(paths::SERVICE_CHALLENGES, get(challenges))
            .route(paths::SERVICE_SESSIONS, get(sessions))
            .route(paths::SERVICE_EVENTS, get(events))
            .route(paths::TOKEN_EXCHANGE, post(exchange))
            .route(paths::TOKEN_INTROSPECT, post(introspect))
            .route(paths::SESSION_BY_ID, delete(end_session))
            .layer(from_fn_with_state(gateway.clone(), maybe_down))
            .with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        gateway
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("not poisoned")
    }

    /// Changes something and lets every stream look.
    pub fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let result = change(&mut self.book());
        self.bell.send_modify(|n| *n += 1);
        result
    }

    pub fn down(&self, down: bool) {
        self.change(|book| book.down = down);
    }

    /// A wallet takes the link.
    pub fn claim(&self, id: ChallengeId) {
        self.change(|book| {
            let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
            challenge.claimed = true;
            book.log.push(ServiceEvent::ChallengeClaimed(ChallengeAt { challenge_id: id, at: later(0) }));
        });
    }

    /// Approves a linked challenge; what the browser then comes back with.
    pub fn approve_linked(&self, id: ChallengeId) -> serde_json::Value {
        self.approve(id);
        let book = self.book();
        let (response, did) = (&book.responses[&id], did_of(book.approver));
        serde_json::json!({ "challenge_id": id, "response_code": response, "iss": self.url, "did": did })
    }

    pub fn approve(&self, id: ChallengeId) -> String {
        self.change(|book| {
            let code = secret(book, "miid_ac_");
            let response = secret(book, "miid_rc_");
            let did = did_of(book.approver);
            book.responses.insert(id, response);
            let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
            let binding = challenge.binding;
            challenge.status = ChallengeStatus::Approved;
            challenge.authorization_code = Some(code.clone());
            challenge.code_expires_at = Some(later(120));
            challenge.did = Some(did.clone());
            let event = ServiceEvent::ChallengeVerified(ChallengeVerified {
                challenge_id: id,
                authorization_code: Some(code.clone()),
                code_expires_at: later(120),
                binding,
                did,
                at: later(0),
            });
            if !book.silent {
                book.log.push(event);
            }
            book.codes.insert(code.clone(), (id, None));
            code
        })
    }

    pub fn take_back(&self, id: ChallengeId) {
        self.change(|book| {
            let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
            challenge.status = ChallengeStatus::Pending;
            challenge.authorization_code = None;
            book.log.push(ServiceEvent::ApprovalCancelled(ChallengeAt { challenge_id: id, at: later(0) }));
        });
    }

    pub fn deny(&self, id: ChallengeId, reason: DenyReason) {
        self.change(|book| book.deny(id, reason));
    }

    pub fn expire(&self, id: ChallengeId, reason: ExpireReason) {
        self.change(|book| {
            let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
            challenge.status = ChallengeStatus::Expired;
            challenge.reason = Some(EndReason::Expired(reason));
            let event = ChallengeExpired { challenge_id: id, reason, at: later(0) };
            book.log.push(ServiceEvent::ChallengeExpired(event));
        });
    }

    /// Revokes, and says so in words that no reader knows.
    pub fn revoke_unreadably(&self, id: SessionId) {
        self.change(|book| {
            book.garbled.insert(book.log.len());
            book.revoke(id, RevokeReason::User);
        });
    }

    /// Every stream ends, and the next one opens.
    pub async fn cut(&self) {
        let (streams, turned_away) = {
            let book = self.book();
            (book.streams, book.turned_away)
        };
        self.down(true);
        self.until("the line fell", |book| book.turned_away > turned_away).await;
        self.down(false);
        self.until("another stream", |book| book.streams > streams).await;
    }

    pub fn revoke(&self, id: SessionId, reason: RevokeReason) {
        self.change(|book| book.revoke(id, reason));
    }

    /// Waits until something holds; ten seconds at most.
    pub async fn until(&self, what: &str, holds: impl Fn(&Book) -> bool) {
        let mut bell = self.bell.subscribe();
        let wait = async {
            while !holds(&self.book()) {
                bell.changed().await.expect("the gateway lives");
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), wait)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

impl Book {
    fn deny(&mut self, id: ChallengeId, reason: DenyReason) {
        let (challenge, _) = self.challenges.get_mut(&id).expect("a challenge");
        challenge.status = ChallengeStatus::Denied;
        challenge.reason = Some(EndReason::Denied(reason));
        self.log.push(ServiceEvent::ChallengeDenied(ChallengeDenied {
            challenge_id: id,
            reason,
            at: later(0),
        }));
    }

    fn revoke(&mut self, id: SessionId, reason: RevokeReason) {
        if let Some(sub) = self.sessions.remove(&id) {
            self.revoked.push((id, reason));
            self.log.push(ServiceEvent::SessionRevoked(SessionRevoked {
                session_id: id,
                sub,
                reason,
                at: later(0),
            }));
        }
    }

    fn next_id(&mut self) -> String {
        self.serial += 1;
        format!("{:08x}-{:04x}-7000-8000-{:012x}", now_ms() >> 16, now_ms() & 0xffff, self.serial)
    }
}

#[allow(clippy::disallowed_methods)]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

pub fn later(seconds: i64) -> Timestamp {
    Timestamp::from_millis(now_ms() + seconds * 1000)
}

fn secret(book: &mut Book, prefix: &str) -> String {
    book.serial += 1;
    let digest = Sha256::digest(format!("{prefix}{}", book.serial));
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(digest))
}

fn refuse(code: ErrorCode) -> Response {
    let status = StatusCode::from_u16(code.status()).expect("a status");
    (status, Json(Problem::new(code))).into_response()
}

async fn maybe_down(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    if gateway.book().down {
        gateway.change(|book| book.turned_away += 1);
        return (StatusCode::BAD_GATEWAY, "nobody here").into_response();
    }
    let answer = next.run(request).await;
    gateway.bell.send_modify(|n| *n += 1);
    answer
}

async fn create(State(gateway): State<Gateway>, Json(asked): Json<CreateChallenge>) -> Response {
    let (answer, denied) = created(&gateway, asked);
    if denied {
        gateway.bell.send_modify(|n| *n += 1);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    answer
}

fn created(gateway: &Gateway, asked: CreateChallenge) -> (Response, bool) {
    let mut book = gateway.book();
    if let Some((code, retry_after)) = book.refuse.take() {
        return ((([("retry-after", retry_after.to_string())]), refuse(code)).into_response(), false);
    }
    let challenge_id = ChallengeId::parse(&book.next_id()).expect("an id");
    if asked.login_hint.is_some() == asked.return_url.is_some() {
        return (refuse(ErrorCode::InvalidRequest), false);
    }
    if let Some(session) = asked.step_up_session {
        assert_eq!(asked.risk, Risk::StepUp);
        assert!(asked.claims.is_empty() && asked.scopes.is_empty() && asked.binding_message.is_some());
        if !book.sessions.contains_key(&session) {
            return (refuse(ErrorCode::SessionNotFound), false);
        }
        book.step_ups.insert(challenge_id, session);
    }
    let is_linked = asked.login_hint.is_none();
    if is_linked
        && !book.return_urls.is_empty()
        && !book.return_urls.contains(&asked.return_url.clone().expect("one"))
    {
        return (refuse(ErrorCode::InvalidRequest), false);
    }
    let link = secret(&mut book, "miid_ls_");
    let issuer = &gateway.url;
    let challenge = Challenge {
        challenge_id,
        nonce: "nonce".into(),
        request: "{}".into(),
        status: ChallengeStatus::Pending,
        reason: None,
        binding: book.other_binding.unwrap_or(if is_linked { Binding::Linked } else { Binding::Addressed }),
        expires_at: later(300),
        match_code: (!is_linked).then(|| "47".into()),
        wallet_link: is_linked.then(|| format!("miid://challenge/{challenge_id}?iss={issuer}&s={link}")),
        claimed: false,
        authorization_code: None,
        code_expires_at: None,
        did: None,
    };
    book.challenges.insert(challenge_id, (challenge.clone(), asked.code_challenge.clone()));
    if let Some(old) = asked.replaces.as_deref().and_then(|id| ChallengeId::parse(id).ok()) {
        let event = ChallengeExpired { challenge_id: old, reason: ExpireReason::Replaced, at: later(0) };
        book.log.push(ServiceEvent::ChallengeExpired(event));
    }
    book.created.push(asked);
    let deny = book.deny_at_once.take();
    if let Some(reason) = deny {
        book.deny(challenge_id, reason);
    }
    ((StatusCode::CREATED, Json(challenge)).into_response(), deny.is_some())
}

async fn show(State(gateway): State<Gateway>, Path(id): Path<ChallengeId>) -> Response {
    let mut book = gateway.book();
    book.shown += 1;
    match book.challenges.get(&id) {
        Some((challenge, _)) => Json(challenge).into_response(),
        None => refuse(ErrorCode::ChallengeNotFound),
    }
}

async fn withdraw(
    State(gateway): State<Gateway>,
    Path(id): Path<ChallengeId>,
    Json(asked): Json<Withdraw>,
) -> Response {
    let mut book = gateway.book();
    let right = book.responses.get(&id).cloned();
    let mut reason = ExpireReason::Withdrawn;
    if let Some(response) = asked.response_code {
        if right.as_ref() != Some(&response) {
            return refuse(ErrorCode::WrongResponseCode);
        }
        book.stopped.push((id, response));
        reason = ExpireReason::OtherBrowser;
    } else {
        book.withdrawn.push(id);
    }
    let Some((challenge, _)) = book.challenges.get_mut(&id) else {
        return refuse(ErrorCode::ChallengeNotFound);
    };
    match challenge.status {
        ChallengeStatus::Pending | ChallengeStatus::Approved => {
            challenge.status = ChallengeStatus::Expired;
            challenge.reason = Some(EndReason::Expired(reason));
            challenge.authorization_code = None;
            let challenge = challenge.clone();
            let event = ChallengeExpired { challenge_id: id, reason, at: later(0) };
            book.log.push(ServiceEvent::ChallengeExpired(event));
            Json(challenge).into_response()
        }
        ChallengeStatus::Expired => Json(challenge.clone()).into_response(),
        _ => refuse(ErrorCode::ChallengeNotPending),
    }
}

async fn challenges(State(gateway): State<Gateway>) -> Response {
    let mut book = gateway.book();
    book.lists += 1;
    if book.lists_down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    if book.padding > 0 {
        return " ".repeat(book.padding).into_response();
    }
    let live = book.challenges.values().map(|(challenge, _)| challenge).filter(|c| !c.status.is_final());
    Json(ChallengeList { challenges: live.cloned().collect() }).into_response()
}

async fn sessions(State(gateway): State<Gateway>, uri: http::Uri) -> Response {
    let after = uri.query().and_then(|query| SessionId::parse(query.strip_prefix("after=")?).ok());
    let mut book = gateway.book();
    book.lists += 1;
    if book.lists_down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let mut live = book.sessions.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
    let one = live.next().map(|(id, sub)| ServiceSession {
        session_id: *id,
        sub: sub.clone(),
        scopes: vec![],
        created_at: later(0),
        last_used_at: later(0),
        expires_at: later(1000),
    });
    let next = one.as_ref().map(|session| session.session_id).filter(|_| live.next().is_some());
    // Pages of one.
    Json(ServiceSessionList { sessions: one.into_iter().collect(), next }).into_response()
}

async fn events(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    if gateway.book().streams_down {
        gateway.change(|book| book.turned_away += 1);
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let head = gateway.book().log.len();
    let asked = headers
        .get("last-event-id")
        .map(|id| id.to_str().expect("text").parse::<usize>().expect("a position"));
    let pruned = gateway.book().pruned;
    gateway.change(|book| book.streams += 1);
    let mut resync = asked.is_some_and(|asked| asked < pruned || asked > head);
    let mut position = if resync { head } else { asked.unwrap_or(head) };
    let mut bell = gateway.bell.subscribe();
    let stream = async_stream::stream! {
        yield Ok::<_, std::convert::Infallible>(Event::default().retry(std::time::Duration::from_secs(1)));
        loop {
            if std::mem::take(&mut resync) {
                yield Ok(Event::default().event("resync").data("{}").id(position.to_string()));
            }
            let (new, down, mute, garbled) = {
                let book = gateway.book();
                (book.log[position..].to_vec(), book.down, book.mute, book.garbled.clone())
            };
            if down || gateway.book().streams_down {
                return;
            }
            for event in new.into_iter().filter(|_| !mute) {
                let data = if garbled.contains(&position) { "{\"reason\":\"moon\"}".into() } else { event.data() };
                position += 1;
                yield Ok(Event::default().event(event.name()).data(data).id(position.to_string()));
            }
            if bell.changed().await.is_err() {
                return;
            }
        }
    };
    Sse::new(stream).into_response()
}

async fn exchange(State(gateway): State<Gateway>, Json(asked): Json<TokenRequest>) -> Response {
    let script = {
        let mut book = gateway.book();
        book.exchanges += 1;
        book.script.pop_front()
    };
    match script {
        Some(Exchange::Busy) => return refuse(ErrorCode::Busy),
        Some(Exchange::Hang) => {
            gateway.bell.send_modify(|n| *n += 1);
            std::future::pending::<()>().await;
        }
        _ => {}
    }
    let answer = exchanged(&gateway, asked, script);
    gateway.bell.send_modify(|n| *n += 1);
    match script {
        Some(Exchange::Lost) => StatusCode::BAD_GATEWAY.into_response(),
        Some(Exchange::RevokedAtOnce) => {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            answer
        }
        _ => answer,
    }
}

fn exchanged(gateway: &Gateway, asked: TokenRequest, script: Option<Exchange>) -> Response {
    let mut book = gateway.book();
    if asked.grant_type == "refresh_token" {
        return refuse(ErrorCode::InvalidGrant);
    }
    let code = asked.code.expect("a code");
    let Some((id, spent)) = book.codes.get(&code).copied() else { return refuse(ErrorCode::InvalidGrant) };
    let (challenge, code_challenge) = book.challenges.get(&id).cloned().expect("a challenge");
    let verifier = asked.code_verifier.expect("a verifier");
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)), code_challenge, "PKCE");
    // Service, verifier, response code, reuse (section 4).
    if challenge.binding == Binding::Linked && asked.response_code != book.responses.get(&id).cloned() {
        return refuse(ErrorCode::WrongResponseCode);
    }
    if let Some(session) = spent {
        book.revoke(session, RevokeReason::CodeReuse);
        return refuse(ErrorCode::InvalidGrant);
    }
    if challenge.authorization_code.as_deref() != Some(&code) {
        return refuse(ErrorCode::InvalidGrant);
    }
    let step_up = book.step_ups.get(&id).copied();
    if let Some(session_id) = step_up.filter(|_| !book.lies) {
        book.codes.insert(code, (id, Some(session_id)));
        let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
        challenge.status = ChallengeStatus::Active;
        let plain = tokens(&gateway.url, &mut book, session_id);
        let (acr, auth_time) = (Some(ACR_STEP_UP.to_owned()), Some(later(0).seconds()));
        let answer = TokenResponse { refresh_token: None, expires_in: 300, acr, auth_time, ..plain };
        return Json(answer).into_response();
    }
    let session_id = SessionId::parse(&book.next_id()).expect("an id");
    book.codes.insert(code, (id, Some(session_id)));
    book.sessions.insert(session_id, "sub-1".into());
    let (challenge, _) = book.challenges.get_mut(&id).expect("a challenge");
    challenge.status = ChallengeStatus::Active;
    challenge.authorization_code = None;
    let created = SessionCreated { challenge_id: id, session_id, sub: "sub-1".into(), at: later(0) };
    book.log.push(ServiceEvent::SessionCreated(created));
    let answer = tokens(&gateway.url, &mut book, session_id);
    if script == Some(Exchange::RevokedAtOnce) {
        book.revoke(session_id, RevokeReason::User);
    }
    Json(answer).into_response()
}

fn tokens(issuer: &str, book: &mut Book, session_id: SessionId) -> TokenResponse {
    let (did, sub) = (did_of(book.approver), format!("sub-{}", 1 + book.approver));
    let payload = serde_json::json!({ "iss": Issuer::parse(issuer).expect("an issuer"), "jti": book.serial });
    let access_token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload.to_string()));
    let refresh_token = secret(book, "miid_rt_");
    book.tokens.extend([(access_token.clone(), session_id), (refresh_token.clone(), session_id)]);
    TokenResponse {
        access_token,
        token_type: "Bearer".into(),
        expires_in: 600,
        refresh_token: Some(refresh_token),
        session_id,
        session_expires_at: Some(later(30 * 86_400)),
        scope: "profile".into(),
        sub,
        did,
        claims: [("name".to_owned(), "Alice".to_owned())].into(),
        claims_verified: false,
        statement: "s".into(),
        acr: None,
        auth_time: None,
    }
}

async fn introspect(State(gateway): State<Gateway>, Json(asked): Json<TokenSubject>) -> Json<Introspection> {
    let mut book = gateway.book();
    book.introspections += 1;
    let active = book.tokens.get(&asked.token).is_some_and(|id| book.sessions.contains_key(id));
    Json(Introspection { active, ..Introspection::default() })
}

async fn end_session(State(gateway): State<Gateway>, Path(id): Path<SessionId>) -> Response {
    let mut book = gateway.book();
    if !book.sessions.contains_key(&id) {
        return refuse(ErrorCode::SessionNotFound);
    }
    book.revoke(id, RevokeReason::Service);
    StatusCode::NO_CONTENT.into_response()
}
