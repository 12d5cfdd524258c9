//! A browser without a screen: cookies, `Origin`, and section 6.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use miid_protocol::browser::{LoginStatus, ReturnRequest, SessionInfo, StartRequest, StartResponse};
use miid_protocol::link::Returned;
use miid_protocol::{ChallengeId, paths};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::answer::Answer;
use crate::sse::Stream;
use crate::world::World;

/// A browser; its clones are its tabs, and share their cookies.
#[derive(Debug, Clone)]
pub struct Browser {
    world: World,
    /// What its address bar says.
    origin: String,
    /// Where its connections go: a load balancer would choose among the instances of one origin.
    instance: String,
    cookies: Arc<Mutex<BTreeMap<String, Cookie>>>,
}

#[derive(Debug, Clone)]
struct Cookie {
    value: String,
    path: String,
}

impl Browser {
    pub(crate) fn new(world: &World, origin: &str) -> Self {
        let (origin, instance) = (origin.to_owned(), origin.to_owned());
        Self { world: world.clone(), origin, instance, cookies: Arc::default() }
    }

    /// Another tab, whose connections go to this instance.
    #[must_use]
    pub fn through(&self, instance: String) -> Self {
        Self { instance, ..self.clone() }
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).map(|cookie| cookie.value.clone())
    }

    /// The names of its cookies.
    pub fn cookie_names(&self) -> Vec<String> {
        self.jar().keys().cloned().collect()
    }

    /// Puts a cookie there, as another site of the same host could.
    pub fn plant_cookie(&self, name: &str, value: &str, path: &str) {
        let cookie = Cookie { value: value.to_owned(), path: path.to_owned() };
        self.jar().insert(name.to_owned(), cookie);
    }

    /// Drops one.
    pub fn forget_cookie(&self, name: &str) {
        self.jar().remove(name);
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Cookie>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request with cookies and `Host`, and nothing else that a browser adds.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.instance);
        let host = self.origin.strip_prefix("http://").unwrap_or(&self.origin);
        let mut request = self.world.http().request(method, url).header("Host", host);
        let bare = path.split('?').next().unwrap_or_default();
        let cookies: Vec<String> = self
            .jar()
            .iter()
            .filter(|(_, cookie)| path_matches(&cookie.path, bare))
            .map(|(name, cookie)| format!("{name}={}", cookie.value))
            .collect();
        if !cookies.is_empty() {
            request = request.header("Cookie", cookies.join("; "));
        }
        request
    }

    /// Sends, and keeps the cookies of the answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the shop answers");
        let answer = Answer::read(response, self.world.secrets()).await.expect("the answer is whole");
        self.keep_cookies(&answer);
        answer
    }

    fn keep_cookies(&self, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().expect("cookies are text");
            let mut parts = line.split(';').map(str::trim);
            let (name, value) =
                parts.next().and_then(|pair| pair.split_once('=')).expect("a name and a value");
            let mut path = "/".to_owned();
            let mut gone = value.is_empty();
            for attribute in parts {
                let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
                match key.to_ascii_lowercase().as_str() {
                    "path" => value.clone_into(&mut path),
                    "max-age" => gone |= value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                    _ => {}
                }
            }
            if gone {
                self.jar().remove(name);
            } else {
                self.world.secrets().add_all_in(value);
                self.jar().insert(name.to_owned(), Cookie { value: value.to_owned(), path });
            }
        }
    }

    /// `GET` by a script of the page.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).header("Sec-Fetch-Site", "same-origin")).await
    }

    /// `POST` by a script of the page.
    pub async fn post(&self, path: &str, body: Option<serde_json::Value>) -> Answer {
        let mut request = self.request(Method::POST, path).header("Origin", &self.origin);
        request = request.header("Sec-Fetch-Site", "same-origin");
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(request).await
    }

    /// `POST /auth/start`, whatever the answer.
    pub async fn try_start(&self, hint: &str) -> Answer {
        self.post(paths::AUTH_START, Some(json!(StartRequest { login_hint: Some(hint.to_owned()) }))).await
    }

    /// `POST /auth/start`
    pub async fn start(&self, hint: &str) -> StartResponse {
        self.try_start(hint).await.is(201).ok()
    }

    /// `POST /auth/start` without saying who, whatever the answer.
    pub async fn try_start_linked(&self) -> Answer {
        self.post(paths::AUTH_START, Some(json!(StartRequest::default()))).await
    }

    /// `POST /auth/start` for whoever opens the link.
    pub async fn start_linked(&self) -> StartResponse {
        self.try_start_linked().await.is(201).ok()
    }

    /// `POST /auth/return`: the script of the page that a wallet opened here.
    pub async fn come_back(&self, with: &Returned) -> Answer {
        let body = ReturnRequest {
            challenge_id: with.challenge_id,
            response_code: with.response_code.expose().to_owned(),
            iss: with.issuer.to_string(),
            did: with.did.as_ref().map(ToString::to_string),
        };
        self.post(paths::AUTH_RETURN, Some(json!(body))).await
    }

    /// `GET /auth/status/:id`
    pub async fn status(&self, id: ChallengeId) -> LoginStatus {
        self.get(&paths::with_id(paths::AUTH_STATUS, id)).await.ok()
    }

    /// `GET /auth/stream/:id`
    pub async fn stream(&self, id: ChallengeId) -> Stream {
        self.world.open(self.stream_request(id, None)).await
    }

    /// The request behind [`Self::stream`].
    pub fn stream_request(&self, id: ChallengeId, after: Option<&str>) -> RequestBuilder {
        let request = self.request(Method::GET, &paths::with_id(paths::AUTH_STREAM, id));
        match after {
            Some(after) => request.header("Last-Event-ID", after),
            None => request,
        }
    }

    /// `POST /auth/complete/:id`
    pub async fn complete(&self, id: ChallengeId) -> Answer {
        self.post(&paths::with_id(paths::AUTH_COMPLETE, id), None).await
    }

    /// `GET /session`, of somebody who is signed in.
    pub async fn session(&self) -> SessionInfo {
        self.get(paths::SESSION).await.ok()
    }

    /// Whether somebody is signed in.
    pub async fn is_signed_in(&self) -> bool {
        self.get(paths::SESSION).await.status == 200
    }

    /// `GET /session/stream`
    pub async fn session_stream(&self) -> Stream {
        self.world.open(self.request(Method::GET, paths::SESSION_STREAM)).await
    }

    /// `POST /auth/logout`
    pub async fn logout(&self) -> Answer {
        self.post(paths::AUTH_LOGOUT, None).await
    }
}

/// RFC 6265, section 5.1.4.
fn path_matches(cookie: &str, request: &str) -> bool {
    request == cookie
        || request.strip_prefix(cookie).is_some_and(|rest| cookie.ends_with('/') || rest.starts_with('/'))
}
