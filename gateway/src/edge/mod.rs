//! The edge: a second listener that lets API calls through to the operator's own servers, for those who may.
//!
//! 1. Bytes are refused that two programs could read differently, and bounds hold also where nobody asks for the
//!    next piece ([`wire`]); what is left is one request with one path.
//! 2. The request's route says what is asked of it ([`routes`]).
//! 3. The access token is looked up under its hash, or examined: signature, issuer, times, and the session's row
//!    ([`tokens`]). A hit is checked against its time and its session's end ([`crate::leases`]).
//! 4. The request goes over a connection of the worker's own to an upstream that is well, which is told who calls,
//!    signed, and nothing that only looks like it; bodies are passed on a frame at a time, WebSockets byte by byte
//!    ([`upstreams`]).
//! 5. What cannot go on is told why ([`refusal`]); what did is counted and noted ([`metrics`], [`access_log`]).
//!
//! Workers are threads with a runtime each: a connection stays with its worker, and so do the connections to
//! upstreams that its requests use, so nothing is handed from one core to another. The store is asked by the
//! program's main runtime, since its connections live there.

mod access_log;
mod ids;
mod metrics;
mod refusal;
pub mod routes;
mod tokens;
mod upstreams;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use http::header::{CONNECTION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use miid_protocol::{ClientId, SessionId, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::App;
use crate::keys::KeyRing;
use crate::leases::{Lease, Leases};
use access_log::{AccessLog, Line};
use ids::{RequestId, Trace};
use refusal::{BadToken, Refusal};
use routes::route::{self, Missed, Route, Table};
use routes::{config, path};
use tokens::access::Access;
use tokens::asking::Asking;
use tokens::cache::Cache;
use upstreams::forward::Outgoing;
use upstreams::headers::{self, Origin};
use upstreams::response_body::ResponseBody;
use upstreams::tunnel;
use wire::gate::Talk;
use wire::head;

pub use wire::listen::{start, watch_over};

/// Keys that are not known are looked for at most this often.
const LOOK_FOR_KEYS: Duration = Duration::from_secs(5);
/// How long a look may take, and how long a request waits for one, its own or another's.
const READ_KEYS: Duration = Duration::from_secs(2);
const WAIT_FOR_KEYS: Duration = Duration::from_secs(3);

/// The parts of a running edge.
pub struct Edge {
    app: App,
    leases: Arc<Leases>,
    cache: Cache,
    table: RwLock<Arc<Table>>,
    changes: watch::Sender<()>,
    metrics: metrics::EdgeMetrics,
    log: AccessLog,
    /// Where the store is asked.
    main: Handle,
    /// What it is asked of each, apart: neither kind of request keeps the other from its answer.
    about_presence: Asking,
    about_sessions: Asking,
    /// When keys were looked for last; locked while they are.
    keys_looked_for: Arc<tokio::sync::Mutex<Option<Instant>>>,
    config: Option<PathBuf>,
    stopping: CancellationToken,
}

/// What is known of a request when it is answered.
struct Noted {
    /// When it came, by both clocks.
    at: Timestamp,
    begun: Instant,
    route: Option<Arc<Route>>,
    access: Option<Arc<Access>>,
}

impl Edge {
    /// Puts the parts together; called where the store's runtime is.
    pub fn new(
        app: App,
        leases: Arc<Leases>,
        table: Table,
        config: Option<PathBuf>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let log = AccessLog::new(app.settings.log_json);
        let main = Handle::current();
        let share = app.store.share();
        Arc::new(Self {
            app,
            leases,
            cache: Cache::default(),
            table: RwLock::new(Arc::new(table)),
            changes: watch::Sender::new(()),
            metrics: metrics::EdgeMetrics::new(),
            log,
            about_presence: Asking::new(main.clone(), share),
            about_sessions: Asking::new(main.clone(), share),
            main,
            keys_looked_for: Arc::default(),
            config,
            stopping,
        })
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn cache_ms(&self) -> i64 {
        i64::try_from(self.table().cache_time.as_millis()).unwrap_or(i64::MAX)
    }

    /// Reads the configuration again. A file with a mistake changes nothing.
    fn reload(&self) {
        let Some(path) = &self.config else { return };
        match config::read_to_serve(path) {
            Ok(mut table) => {
                let mut current = self.table.write().unwrap_or_else(PoisonError::into_inner);
                table.carry_over(&current);
                let routes = table.len();
                *current = Arc::new(table);
                drop(current);
                let _ = self.changes.send(());
                tracing::info!(routes, "the edge's routes were read again");
            }
            Err(error) => tracing::error!("the edge's routes stay as they were: {error}"),
        }
    }

    /// Forgets tokens whose time is over, now and then, and those of keys that do not count any more, as soon as
    /// the keys are others than `known`.
    fn tidy(&self, known: &mut Weak<KeyRing>, now_and_then: bool) {
        let (now, ring) = (self.app.clock.now(), self.app.control().ring.clone());
        if now_and_then || !std::ptr::eq(known.as_ptr(), Arc::as_ptr(&ring)) {
            *known = Arc::downgrade(&ring);
            self.cache.retain(|access| now < access.cached_until && ring.honours(&access.kid, now));
            ::metrics::gauge!("miid_edge_cached_tokens").set(self.cache.len() as f64);
        }
    }

    /// Has the keys looked for, unless they were just now: a stranger's `kid` must not keep the store busy. Whoever
    /// comes while they are waits, and sees what was found; nobody waits long for a store that says nothing.
    async fn look_for_keys(&self) {
        let _ = tokio::time::timeout(WAIT_FOR_KEYS, self.look_or_wait()).await;
    }

    async fn look_or_wait(&self) {
        let mut last = self.keys_looked_for.clone().lock_owned().await;
        if last.is_some_and(|at| at.elapsed() < LOOK_FOR_KEYS) {
            return;
        }
        self.metrics.key_lookups.increment(1);
        let app = self.app.clone();
        // It goes on where whoever asked for it is gone, and the others wait for its end all the same.
        let looking = self.main.spawn(async move {
            let looked = tokio::time::timeout(READ_KEYS, crate::upkeep::reload_control(&app)).await;
            *last = Some(Instant::now());
            looked
        });
        match looking.await {
            Ok(Ok(Err(error))) => tracing::debug!(%error, "the keys could not be looked at"),
            Ok(Err(_)) => tracing::debug!("the keys could not be looked at in time"),
            _ => {}
        }
    }

    /// The hold on a session, by its row.
    async fn open_lease(&self, id: SessionId, client_id: ClientId) -> Result<Arc<Lease>, Refusal> {
        let leases = self.leases.clone();
        let opened = self.about_sessions.ask(async move { leases.open(id, &client_id).await }).await;
        match opened {
            Ok(Some(lease)) => Ok(lease),
            // A session that was never there, or whose row is long gone.
            Ok(None) => Err(Refusal::Token(BadToken::Revoked)),
            Err(error) => {
                tracing::debug!(%error, "a session could not be looked at");
                Err(Refusal::StoreAway)
            }
        }
    }

    /// Where the requests of a connection come from.
    fn origin(&self, peer: IpAddr) -> Origin {
        Origin::new(peer, self.app.settings.trusted_proxies.contains(&peer))
    }

    /// The answer to a request, whatever it is.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        origin: &Origin,
        talk: Option<Talk>,
    ) -> Response<ResponseBody> {
        let request_id = RequestId::of(request.headers());
        let method = request.method().clone();
        let mut noted = Noted { at: self.app.clock.now(), begun: Instant::now(), route: None, access: None };
        let table = self.table();
        let answering = talk.as_ref().map(Talk::answering);
        let unread = talk.is_some() && !request.body().is_end_stream();
        let interim = talk.clone();
        let answered = self.let_through(request, origin, talk, &request_id, &table, &mut noted).await;
        if let Some(interim) = interim {
            interim.interim().end();
        }
        let (mut response, verdict) = match answered {
            Ok(response) => (response, "ok"),
            Err(refusal) => {
                metrics::refused(refusal.verdict());
                let mut response = refusal.response(noted.route.as_deref());
                if unread || matches!(refusal, Refusal::Ambiguous(_)) {
                    // What is left of the body is not read.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (response.map(|document| ResponseBody::ours(Some(document))), refusal.verdict())
            }
        };
        if let Some(route) = &noted.route {
            route.metrics().answered(response.status());
        }
        response.headers_mut().insert(headers::REQUEST_ID.clone(), request_id.value());
        response.body_mut().answering = answering;
        if table.access_log {
            self.log.add(&Line {
                at: noted.at,
                request_id: &request_id,
                subject: noted.access.as_ref().map_or("-", |access| access.subject()),
                route: noted.route.as_ref().map_or("-", |route| &route.name),
                method: Some(&method),
                status: response.status(),
                verdict,
                took: noted.begun.elapsed(),
            });
        }
        response
    }

    /// The answer to bytes between two messages that are not one request in every reading. What somebody tries this
    /// way is seen as what comes in a request is.
    fn refuse_raw(&self, wrong: head::Wrong) -> Vec<u8> {
        let (refusal, request_id) = (Refusal::Malformed(wrong), RequestId::fresh());
        metrics::refused(refusal.verdict());
        if self.table().access_log {
            self.log.add(&Line {
                at: self.app.clock.now(),
                request_id: &request_id,
                subject: "-",
                route: "-",
                method: None,
                status: refusal.status(),
                verdict: refusal.verdict(),
                took: Duration::ZERO,
            });
        }
        refusal::raw(&refusal, &request_id)
    }

    /// Steps 1 to 5: the upstream's answer, or why there is none.
    #[allow(clippy::too_many_arguments, reason = "what one request comes with")]
    async fn let_through(
        &self,
        mut request: Request<Incoming>,
        origin: &Origin,
        talk: Option<Talk>,
        request_id: &RequestId,
        table: &Table,
        noted: &mut Noted,
    ) -> Result<Response<ResponseBody>, Refusal> {
        // HTTP/1.0 knows of no answer before the answer.
        let interim = talk.clone().filter(|_| request.version() == Version::HTTP_11);
        let asked = tunnel::Asked::by(&request, talk)?;
        if asked.is_some() {
            // Routes know a WebSocket as something that is got, also where it is asked for by CONNECT.
            *request.method_mut() = Method::GET;
        }
        let host = host(&request)?;
        headers::one_length(request.headers_mut()).map_err(Refusal::Malformed)?;
        let target = target(&request)?;
        let route = match table.find(request.method(), target.path()) {
            Ok(route) => route.clone(),
            Err(Missed::Path) => return Err(Refusal::NoRoute),
            Err(Missed::SmallLetters) => return Err(Refusal::Ambiguous("a method is written in capitals")),
            Err(Missed::Method) => {
                noted.route = table.at(target.path()).cloned();
                return Err(Refusal::Method);
            }
        };
        noted.route = Some(route.clone());
        // It would show a page what its scripts must not see (RFC 9110, section 9.3.8).
        if *request.method() == Method::TRACE {
            return Err(Refusal::Method);
        }
        let mut shown = None;
        if route.kind != route::Kind::Public {
            let access = self.authorize(&route, request.headers(), noted.at).await?;
            noted.access = Some(access.clone());
            let identity = access.identity(&route, &self.app.control(), self.app.issuer.as_str(), noted.at);
            // Without a signing key nobody can be told who calls.
            shown = Some((access, identity.ok_or(Refusal::StoreAway)?));
        }
        let trace = Trace::of(request.headers());
        let asked = asked.map(|asked| (hyper::upgrade::on(&mut request), asked));
        let (mut parts, body) = request.into_parts();
        let (access, identity) = shown.unzip();
        headers::to_upstream(
            &mut parts.headers,
            (&parts.method, parts.version),
            &route,
            origin,
            &host,
            access.as_deref().zip(identity),
            request_id,
            trace,
        );
        let access = access.map(|access: Arc<Access>| {
            let left = access.expires_at.millis().saturating_sub(noted.at.millis()).max(0).unsigned_abs();
            (access, noted.begun + Duration::from_millis(left))
        });
        let outgoing = Outgoing {
            route: &route,
            method: parts.method,
            target,
            host,
            headers: parts.headers,
            body,
            access,
            interim,
            stopping: &self.stopping,
        };
        match asked {
            Some((caller, asked)) => outgoing.tunnel(caller, asked).await,
            None => outgoing.send().await,
        }
    }
}

/// What the request is for: `Host`, or `:authority`, and where both stand they agree.
fn host(request: &Request<Incoming>) -> Result<HeaderValue, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (said, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Refusal::Malformed(head::Wrong::Host));
    }
    // Over HTTP/2 no gate has looked at it.
    let is_host = |host: &[u8]| request.version() < Version::HTTP_2 || head::is_host(host);
    match (request.uri().authority(), said) {
        (Some(authority), _)
            if authority.as_str().contains('@') || !is_host(authority.as_str().as_bytes()) =>
        {
            Err(Refusal::Malformed(head::Wrong::Host))
        }
        (Some(authority), Some(host))
            if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(Refusal::Malformed(head::Wrong::Host))
        }
        (_, Some(host)) if !is_host(host.as_bytes()) => Err(Refusal::Malformed(head::Wrong::Host)),
        (_, Some(host)) => Ok(host.clone()),
        (Some(authority), None) => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Malformed(head::Wrong::Host))
        }
        // HTTP/1.0 need not say.
        (None, None) if request.version() < Version::HTTP_11 => Ok(HeaderValue::from_static("")),
        (None, None) => Err(Refusal::Malformed(head::Wrong::Host)),
    }
}

/// Path and query in the one form that is matched and sent on.
fn target(request: &Request<Incoming>) -> Result<PathAndQuery, Refusal> {
    let uri = request.uri();
    let sent = uri.path_and_query().ok_or(Refusal::Path(path::PathError::NoSlash))?;
    let path = path::normalise(sent.path()).map_err(Refusal::Path)?;
    let query = sent.query().unwrap_or_default();
    if query.bytes().any(|b| !(0x21..=0x7e).contains(&b)) {
        return Err(Refusal::Ambiguous("the query holds a character that must be percent-encoded"));
    }
    if let std::borrow::Cow::Borrowed(_) = path {
        return Ok(sent.clone());
    }
    let text = if sent.query().is_some() { format!("{path}?{query}") } else { path.into_owned() };
    text.parse().map_err(|_| Refusal::Path(path::PathError::Character))
}
