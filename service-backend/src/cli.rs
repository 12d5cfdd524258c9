//! The command line of `miid-service`: flags, environment, and what they mean.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use miid_protocol::secret::Secret;
use miid_protocol::{ClientId, Issuer, Lifetime};
use miid_service::demo::api::ApiConfig;
use miid_service::{
    Bindings, Config, DEFAULT_FAIL_CLOSED_AFTER, DEFAULT_INTROSPECT_AFTER, DEFAULT_START_RATE, Network,
    Outside,
};
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// Where the secret may stand instead of in a file. Never a flag: `ps` shows those to everybody.
const SECRET_ENV: &str = "MIID_SERVICE_CLIENT_SECRET";
const DEFAULT_PAGES: &str = "frontend/dist";

/// A demo shop that people sign in to with their wallet.
#[derive(Debug, Parser)]
#[command(name = "miid-service", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the sign-in routes and the shop's pages.
    Serve(Box<Serve>),
    /// Serve the demo's API, which stands behind the gateway's edge.
    DemoApi(DemoApi),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "MIID_SERVICE_LISTEN", default_value = "127.0.0.1:15000")]
    pub(crate) listen: SocketAddr,
    /// Where browsers find this service; by default the address it listens on.
    #[arg(long, env = "MIID_SERVICE_PUBLIC_URL")]
    public_url: Option<String>,
    #[command(flatten)]
    client: Client,
    /// Where the database and the key file are, unless said otherwise.
    #[arg(long, env = "MIID_SERVICE_DATA_DIR", default_value = "data/service")]
    data_dir: PathBuf,
    /// sqlite://<file> or postgres://…; by default service.db in the data dir. Several instances need PostgreSQL.
    #[arg(long, env = "MIID_SERVICE_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Made at the first start (mode 0600); by default service.key in the data dir. Instances that share a
    /// database share it.
    #[arg(long, env = "MIID_SERVICE_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// The built pages; by default frontend/dist.
    #[arg(long, env = "MIID_SERVICE_PAGES_DIR")]
    pages_dir: Option<PathBuf>,
    /// What the person reads in the wallet: "Sign in to …".
    #[arg(long, env = "MIID_SERVICE_NAME", default_value = "Demo Shop")]
    name: String,
    /// Where the wallet sends the browser back to; by default the public URL and /auth/return. Registered with
    /// the gateway byte for byte.
    #[arg(long, env = "MIID_SERVICE_RETURN_URL")]
    return_url: Option<String>,
    /// Where the gateway's edge is, with the demo's API behind it; without one nobody has an account.
    #[arg(long, env = "MIID_SERVICE_EDGE_URL")]
    pub(crate) edge_url: Option<Issuer>,
    /// How people may sign in: any, linked (open the wallet on the same machine) or addressed (type who they are).
    #[arg(long, env = "MIID_SERVICE_BINDING", default_value = "any", value_parser = Bindings::from_str)]
    binding: Bindings,
    /// How people are asked for a step-up: linked, addressed, or any (the way in which they signed in). All but
    /// linked must be registered with the gateway.
    #[arg(long, env = "MIID_SERVICE_STEP_UP", default_value = "linked", value_parser = Bindings::from_str)]
    step_up: Bindings,
    /// What the shop wants to know.
    #[arg(long, env = "MIID_SERVICE_CLAIMS", value_delimiter = ',', default_value = "name,email")]
    claims: Vec<String>,
    /// What the shop wants to be allowed.
    #[arg(long, env = "MIID_SERVICE_SCOPES", value_delimiter = ',', default_value = "profile,email")]
    scopes: Vec<String>,
    /// Proxies whose X-Forwarded-For counts: addresses or networks.
    #[arg(long, env = "MIID_SERVICE_TRUSTED_PROXIES", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// Sign-ins that one address may start each minute.
    #[arg(long, env = "MIID_SERVICE_START_RATE", default_value_t = DEFAULT_START_RATE)]
    start_rate: NonZeroU32,
    /// Without the gateway's event stream for so long, each session is introspected before it is trusted.
    #[arg(long, env = "MIID_SERVICE_INTROSPECT_AFTER", default_value_t = DEFAULT_INTROSPECT_AFTER)]
    introspect_after: Lifetime,
    /// Without a word from the gateway for so long, no session is trusted.
    #[arg(long, env = "MIID_SERVICE_FAIL_CLOSED_AFTER", default_value_t = DEFAULT_FAIL_CLOSED_AFTER)]
    fail_closed_after: Lifetime,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

#[derive(Debug, Args)]
pub(crate) struct DemoApi {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "MIID_DEMO_API_LISTEN", default_value = "127.0.0.1:15080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// Which service at which gateway.
#[derive(Debug, Args)]
struct Client {
    /// Where the gateway is.
    #[arg(long, env = "MIID_SERVICE_GATEWAY_URL", default_value = "http://127.0.0.1:14000")]
    gateway_url: String,
    /// What the gateway calls itself, where that is not its URL.
    #[arg(long, env = "MIID_SERVICE_ISSUER")]
    issuer: Option<Issuer>,
    /// This service's name at the gateway.
    #[arg(long, env = "MIID_SERVICE_CLIENT_ID", default_value = "demo-shop")]
    client_id: String,
    /// A file with the client secret; or the secret in MIID_SERVICE_CLIENT_SECRET.
    #[arg(long, env = "MIID_SERVICE_CLIENT_SECRET_FILE")]
    client_secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Logging {
    /// Log lines as JSON.
    #[arg(long, env = "MIID_SERVICE_LOG_JSON")]
    log_json: bool,
}

impl Logging {
    /// Log lines go to stderr; stdout belongs to the one line that says where we listen.
    pub(crate) fn start(&self) {
        let filter = EnvFilter::try_from_env("MIID_SERVICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let colour = std::io::stderr().is_terminal();
        let builder =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
        if self.log_json { builder.json().init() } else { builder.init() }
    }
}

impl DemoApi {
    pub(crate) fn config(&self) -> anyhow::Result<ApiConfig> {
        let client = &self.client;
        let gateway_url: Issuer = client.gateway_url.parse().context("--gateway-url cannot be used")?;
        Ok(ApiConfig {
            issuer: client.issuer.clone().unwrap_or_else(|| gateway_url.clone()),
            gateway_url,
            client_id: ClientId::parse(&client.client_id).context("--client-id cannot be used")?,
            client_secret: Secret::parse(client.secret()?.trim())
                .context("the client secret does not look like miid_cs_…")?,
            outside: Outside::real(),
        })
    }
}

impl Serve {
    /// What the library is told, now that it is known where we listen.
    pub(crate) fn config(&self, local: SocketAddr) -> anyhow::Result<Config> {
        let public_url = match &self.public_url {
            Some(url) => url.clone(),
            None if local.ip().is_loopback() => format!("http://{local}"),
            None => bail!(
                "--public-url is missing: say how browsers reach this service, such as https://shop.example"
            ),
        };
        let client = &self.client;
        let secret = client.secret()?;
        let mut config = Config::new(&client.gateway_url, &client.client_id, &secret, &public_url)?;
        if let Some(issuer) = &client.issuer {
            config.issuer = issuer.clone();
        }
        config.database_url = match &self.database_url {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.data_dir.join("service.db").display()),
        };
        config.key_file = self.key_file.clone().unwrap_or_else(|| self.data_dir.join("service.key"));
        config.name.clone_from(&self.name);
        if let Some(return_url) = &self.return_url {
            config.return_url.clone_from(return_url);
        }
        config.bindings = self.binding;
        config.step_up = self.step_up;
        config.claims = without_empty(&self.claims);
        config.scopes = without_empty(&self.scopes);
        config.trusted_proxies.clone_from(&self.trusted_proxies);
        config.start_rate = self.start_rate;
        config.introspect_after = self.introspect_after;
        config.fail_closed_after = self.fail_closed_after;
        Ok(config)
    }

    /// The built pages. Without them the routes still work, which is all that some need.
    pub(crate) fn pages(&self) -> anyhow::Result<&Path> {
        match &self.pages_dir {
            Some(folder) if !folder.join("index.html").is_file() => {
                bail!(
                    "--pages-dir {} holds no index.html; build the pages in frontend/ first",
                    folder.display()
                )
            }
            Some(folder) => Ok(folder),
            None => {
                if !Path::new(DEFAULT_PAGES).join("index.html").is_file() {
                    tracing::warn!("there are no pages in {DEFAULT_PAGES}; serving the sign-in routes only");
                }
                Ok(Path::new(DEFAULT_PAGES))
            }
        }
    }
}

impl Client {
    fn secret(&self) -> anyhow::Result<Zeroizing<String>> {
        if let Some(file) = &self.client_secret_file {
            let secret = std::fs::read_to_string(file)
                .with_context(|| format!("the client secret file {} cannot be read", file.display()))?;
            if is_open(file) {
                tracing::warn!("the client secret file {} can be read by others", file.display());
            }
            return Ok(Zeroizing::new(secret));
        }
        match std::env::var(SECRET_ENV) {
            Ok(secret) => Ok(Zeroizing::new(secret)),
            Err(_) => bail!(
                "no client secret: give --client-secret-file or {SECRET_ENV}; `miid-gateway service add {}` makes one",
                self.client_id
            ),
        }
    }
}

/// Whether others than its owner may read a file. Said and not refused: a secret that a container mounts
/// often is.
fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

/// `--claims ""` asks for nothing.
fn without_empty(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.is_empty()).cloned().collect()
}
