//! What one scenario has to itself, and how a scenario is run.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use miid_protocol::paths;

use crate::database::{Database, Kind};
use crate::gateway::Gateway;
use crate::port::Port;
use crate::postgres::{self, Cluster};
use crate::secrets::Secrets;
use crate::{Browser, Service, Shop, Wallet};

/// No scenario may take longer, hang or not.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder, databases, and what its secrets are. Clones are the same world.
#[derive(Debug, Clone)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    folder: tempfile::TempDir,
    secrets: Secrets,
    http: reqwest::Client,
    databases: Mutex<Vec<Database>>,
}

impl World {
    fn new(kind: Kind) -> Self {
        let folder = tempfile::Builder::new().prefix("miid-e2e-").tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("logs")).expect("a folder for logs");
        let http = http_client();
        let databases = Mutex::default();
        Self(Arc::new(Inner { kind, folder, secrets: Secrets::default(), http, databases }))
    }

    /// Which store it is on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// Where its programs write.
    pub fn logs(&self) -> PathBuf {
        self.folder().join("logs")
    }

    /// What nobody may find in the clear.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// For requests that no actor makes.
    pub fn http(&self) -> &reqwest::Client {
        &self.0.http
    }

    /// A new and empty database of the world's kind.
    pub async fn database(&self, name: &str) -> Database {
        let database = match self.0.kind {
            Kind::Sqlite => Database::sqlite(self.folder().join(format!("{name}.db"))),
            Kind::Postgres => Database::postgres(&postgres::shared().await).await,
        };
        self.keep(database.clone());
        database
    }

    /// A new and empty database on a server of the scenario's own.
    pub async fn database_on(&self, cluster: &Cluster) -> Database {
        let database = Database::postgres(cluster).await;
        self.keep(database.clone());
        database
    }

    fn keep(&self, database: Database) {
        self.0.databases.lock().unwrap_or_else(PoisonError::into_inner).push(database);
    }

    fn databases(&self) -> Vec<Database> {
        self.0.databases.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A gateway with a database of its own; `flags` as `--challenge-ttl 1s`.
    pub async fn gateway(&self, flags: &[&str]) -> Gateway {
        let database = self.database("gateway").await;
        Gateway::start(self, database, flags).await
    }

    /// A gateway on a database that is there already.
    pub async fn gateway_on(&self, database: Database, flags: &[&str]) -> Gateway {
        Gateway::start(self, database, flags).await
    }

    /// A gateway and a service registered with it: enough for what the gateway alone decides.
    pub async fn gateway_and_service(&self, flags: &[&str]) -> (Gateway, Service) {
        let gateway = self.gateway(flags).await;
        let service = gateway.add_service("demo-shop", &[]).await;
        (gateway, service)
    }

    /// A gateway and the demo's own service backend.
    pub async fn gateway_and_shop(&self, flags: &[&str]) -> (Gateway, Shop) {
        let gateway = self.gateway(flags).await;
        self.shop_of(gateway, &[]).await
    }

    /// Another gateway, which has nothing to do with the first.
    pub async fn other_gateway(&self, name: &str) -> Gateway {
        let database = self.database(name).await;
        Gateway::start_as(self, name, database, &[]).await
    }

    /// The demo's own service backend at this gateway; `flags` of its registration.
    pub async fn shop_of(&self, gateway: Gateway, flags: &[&str]) -> (Gateway, Shop) {
        // Its port first: where a linked sign-in returns to is registered.
        let port = Port::take();
        let return_url = format!("{}{}", port.origin(), paths::AUTH_RETURN);
        let service =
            gateway.add_service("demo-shop", &[flags, &["--return-url", &return_url]].concat()).await;
        let shop = Shop::start_on(self, port, &gateway, &service, &[]).await;
        (gateway, shop)
    }

    /// A wallet with a fresh key.
    pub fn wallet(&self) -> Wallet {
        Wallet::new(self)
    }

    /// A browser without cookies that looks at `shop`.
    pub fn browser(&self, shop: &Shop) -> Browser {
        Browser::new(self, shop.origin())
    }

    /// Fails where a secret lies in the clear: in a log, a data dir or a file of SQLite.
    pub fn keeps_its_secrets(&self) {
        self.secrets().must_not_be_below(self.folder());
    }

    /// The same for what an operator's dump of each database holds.
    pub async fn keeps_its_secrets_in_dumps(&self) {
        for database in self.databases() {
            let dump = database.dump().await;
            assert!(dump.len() > 1000, "a dump has something in it");
            if let Some(secret) = self.secrets().found_in(&dump) {
                panic!("a secret lies in the clear in a database: {secret}");
            }
        }
    }

    /// A panic that a server turns into a 500, or a task dies of, stands in its log.
    fn nothing_panicked(&self) {
        for entry in std::fs::read_dir(self.logs()).expect("logs").flatten() {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()).into_owned();
            assert!(!text.contains("panicked at"), "a panic in {}", entry.path().display());
        }
    }

    fn print_logs(&self) {
        const LINES: usize = 80;
        let mut logs: Vec<_> = std::fs::read_dir(self.logs())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        logs.sort();
        for log in logs {
            let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            if !lines.is_empty() {
                let name = log.file_name().unwrap_or_default().display();
                eprintln!("--- {name}, its last lines of {}", lines.len());
                eprintln!("{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
            }
        }
    }
}

/// A client that follows nothing and keeps no connection, so that no answer depends on what a connection to
/// a program that is gone by now would do.
pub(crate) fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client is made of nothing that can fail")
}

/// Runs a scenario in a world of its own.
///
/// # Panics
/// When the scenario does, when it takes too long, or when it leaves a secret in the clear.
pub fn run<F, Fut>(kind: Kind, scenario: F)
where
    F: FnOnce(World) -> Fut,
    Fut: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::new(kind);
    let body = async {
        let over = tokio::time::timeout(LIMIT, scenario(world.clone())).await;
        assert!(over.is_ok(), "the scenario was not over within {} s", LIMIT.as_secs());
        world.keeps_its_secrets();
        world.nothing_panicked();
    };
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(body)));
    runtime.block_on(async {
        for database in world.databases() {
            database.remove().await;
        }
    });
    if let Err(panic) = outcome {
        world.print_logs();
        // Once more, below the logs: whoever keeps only the end of what was printed keeps the reason.
        eprintln!("--- what failed: {}", said(&*panic));
        std::panic::resume_unwind(panic);
    }
}

/// What a panic says.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}
