//! [`SignIn`]: what someone with their own axum service holds. It owns the store, the line to the
//! gateway and the tasks that work in the background.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use miid_protocol::problem::ErrorCode;
use miid_protocol::{ChallengeId, SessionId, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::PerMinute;
use crate::config::{Config, ConfigError};
use crate::cookies::Cookies;
use crate::gateway::Gateway;
use crate::link::{Link, Looks, OneAtATime, Recent};
use crate::outside::Outside;
use crate::presence::Presence;
use crate::refusal::Refusal;
use crate::return_page::ReturnPage;
use crate::seal::{KeyError, Keys};
use crate::signed_in::{AccessToken, SignedIn};
use crate::store::{OpenError, Store};
use crate::wakes::Wakes;
use crate::{events, housekeeping, presence, return_page, routes, serve};

/// Exchanges under way at once: enough for a crowd, and bounded.
const EXCHANGES: usize = 64;
/// How long a shutdown waits for what is under way. What is cut off is taken up at the next start.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// Why the library did not start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// No HTTP client could be made.
    #[error("the HTTP client could not be made")]
    Client(#[source] reqwest::Error),
}

/// Sign-in with MiID for an axum service. Cheap to clone.
#[derive(Clone)]
pub struct SignIn {
    pub(crate) core: Arc<Core>,
}

/// Everything that a request or a background task needs.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) outside: Outside,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) gateway: Gateway,
    pub(crate) cookies: Cookies,
    pub(crate) starts: PerMinute,
    /// Of `POST /auth/return`, which may come from anybody.
    pub(crate) returns: PerMinute,
    pub(crate) link: Link,
    pub(crate) recent: Recent,
    pub(crate) looks: Looks,
    pub(crate) login_wakes: Wakes<ChallengeId>,
    pub(crate) session_wakes: Wakes<SessionId>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) one_at_a_time: OneAtATime<SessionId>,
    pub(crate) exchanges: Semaphore,
    /// Names this instance among those that share a database.
    pub(crate) instance: String,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Core {
    pub(crate) fn now(&self) -> Timestamp {
        self.outside.now()
    }

    /// Waits, unless the service closes first; says whether to go on.
    pub(crate) async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.closing.cancelled() => false,
        }
    }
}

impl SignIn {
    /// Opens the store and begins to listen to the gateway in the background. A gateway that is away is
    /// no error: it is tried again, and [`SignIn::ready`] says when it is there.
    ///
    /// # Errors
    /// Says what about the settings, the key file or the database cannot be used.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        config.check()?;
        let outside = config.outside.clone();
        let keys = Keys::open(&config.key_file, &outside)?;
        let store = Store::open(&config.database_url, &keys, &config.key_file).await?;
        let gateway =
            Gateway::new(&config.gateway_url, config.client_id.clone(), config.client_secret.clone())
                .map_err(ConnectError::Client)?;
        let core = Arc::new(Core {
            cookies: Cookies { secure: config.public_url.is_https() },
            starts: PerMinute::new(config.start_rate),
            returns: PerMinute::new(config.start_rate),
            link: Link::default(),
            recent: Recent::default(),
            looks: Looks::default(),
            login_wakes: Wakes::default(),
            session_wakes: Wakes::default(),
            presence: Arc::default(),
            one_at_a_time: OneAtATime::default(),
            exchanges: Semaphore::new(EXCHANGES),
            instance: format!("{:032x}", u128::from_le_bytes(outside.random())),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
            outside,
            keys,
            store,
            gateway,
        });
        housekeeping::take_up(&core).await.map_err(OpenError::from)?;
        core.tasks.spawn(events::listen(Arc::clone(&core)));
        core.tasks.spawn(housekeeping::run(Arc::clone(&core)));
        core.tasks.spawn(presence::run(Arc::clone(&core)));
        Ok(Self { core })
    }

    /// The routes of section 6, to be merged into a router of any state.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        routes::router(self)
    }

    /// `GET /auth/return`, to be merged beside [`SignIn::routes`] by a service that offers linked sign-in.
    pub fn return_page<S: Clone + Send + Sync + 'static>(&self, page: ReturnPage) -> Router<S> {
        return_page::router(self, page, None)
    }

    /// An access token of this session, renewed where it has to be.
    ///
    /// # Errors
    /// 401 where the session has ended, 503 where store or gateway are away.
    pub async fn access_token(&self, user: &SignedIn) -> Result<AccessToken, Refusal> {
        self.core.access_token(user.session_id).await.map(AccessToken)
    }

    /// Whether sign-ins can work: the store answers and the gateway takes our credentials.
    ///
    /// # Errors
    /// 503, and which of the two it is.
    pub async fn ready(&self) -> Result<(), Refusal> {
        self.core.store.ping().await?;
        if self.core.link.is_accepted() { Ok(()) } else { Err(ErrorCode::GatewayUnavailable.into()) }
    }

    /// Serves `app` until `signal`; then ends every stream, lets requests in flight end, and stops the
    /// background tasks, all of it in a bounded time.
    ///
    /// # Errors
    /// Where the listener fails for good.
    pub async fn serve(
        &self,
        listener: TcpListener,
        app: Router,
        signal: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        let served = serve::serve(listener, app, &self.core.closing, signal, SHUTDOWN_PATIENCE).await;
        self.shutdown().await;
        served
    }

    /// Ends streams and background tasks, and closes the store; for those who serve by themselves.
    pub async fn shutdown(&self) {
        self.core.closing.cancel();
        self.core.tasks.close();
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.core.tasks.wait()).await.is_err() {
            tracing::warn!("something under way was cut off; the next start takes it up");
        }
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, self.core.store.close()).await;
    }
}
