//! Settings: flags, `MIID_GATEWAY_…` in the environment, a TOML file, and defaults, in this order.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _};
use miid_protocol::{Issuer, Lifetime};

use crate::cli::Cli;
use crate::store::{Options, Quota, Retention};
use crate::streams::Limits;

/// Where the data is; shared by `serve` and the commands beside it.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder of the key file and, unless told otherwise, of the database
    #[arg(long, env = "MIID_GATEWAY_DATA_DIR", default_value = "data/gateway", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// sqlite://PATH or postgres://USER@HOST/NAME [default: SQLite in the data dir]
    #[arg(long, env = "MIID_GATEWAY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Key file, the same for all instances [default: gateway.keys in the data dir]
    #[arg(long, env = "MIID_GATEWAY_KEYS_FILE", value_name = "FILE")]
    pub keys_file: Option<PathBuf>,
}

impl Place {
    /// How to open the database.
    pub fn options(&self, serve: bool) -> Options {
        let url = self
            .database_url
            .clone()
            .unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("gateway.db").display()));
        Options { url, serve, sqlite_normal: false }
    }

    /// The key file.
    pub fn keys_path(&self) -> PathBuf {
        self.keys_file.clone().unwrap_or_else(|| self.data_dir.join("gateway.keys"))
    }
}

/// What `serve` needs to know.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: Place,
    /// Address to serve on
    #[arg(long, env = "MIID_GATEWAY_LISTEN", default_value = "127.0.0.1:14000", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// This gateway's name, the same for all its instances: scheme://host[:port] [default: http:// and the
    /// address it listens on]
    #[arg(long, env = "MIID_GATEWAY_ISSUER", value_name = "ORIGIN")]
    pub issuer: Option<Issuer>,
    /// Address to serve metrics on (Prometheus)
    #[arg(long, env = "MIID_GATEWAY_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
    /// Address to let API calls through on, by the routes in the configuration file
    #[arg(long, env = "MIID_GATEWAY_EDGE_LISTEN", value_name = "ADDR")]
    pub edge_listen: Option<SocketAddr>,
    /// The configuration file, read again on SIGHUP for its routes.
    #[arg(skip)]
    pub config_file: Option<PathBuf>,
    /// Write logs as JSON
    #[arg(long, env = "MIID_GATEWAY_LOG_JSON")]
    pub log_json: bool,
    /// Proxies whose X-Forwarded-For is believed
    #[arg(long, env = "MIID_GATEWAY_TRUSTED_PROXIES", value_delimiter = ',', value_name = "IP")]
    pub trusted_proxies: Vec<IpAddr>,
    /// How long requests in flight may take to end at shutdown
    #[arg(long, env = "MIID_GATEWAY_SHUTDOWN_GRACE", default_value = "10s", value_name = "TIME")]
    pub shutdown_grace: Lifetime,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub lifetimes: Lifetimes,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub bounds: Bounds,
    /// SQLite with synchronous=NORMAL: for benches only, a power cut may lose answered requests
    #[arg(long, env = "MIID_GATEWAY_SQLITE_NORMAL", hide = true)]
    pub sqlite_normal: bool,
}

/// How long things live (protocol, section 3).
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Lifetimes")]
pub struct Lifetimes {
    /// A challenge can be answered
    #[arg(long, env = "MIID_GATEWAY_CHALLENGE_TTL", default_value = "5m", value_name = "TIME")]
    pub challenge_ttl: Lifetime,
    /// An authorization code can be exchanged
    #[arg(long, env = "MIID_GATEWAY_CODE_TTL", default_value = "2m", value_name = "TIME")]
    pub code_ttl: Lifetime,
    /// An access token is valid
    #[arg(long, env = "MIID_GATEWAY_ACCESS_TTL", default_value = "10m", value_name = "TIME")]
    pub access_ttl: Lifetime,
    /// The access token of a step-up is valid
    #[arg(long, env = "MIID_GATEWAY_STEP_UP_TTL", default_value = "5m", value_name = "TIME")]
    pub step_up_ttl: Lifetime,
    /// A session lives without a refresh
    #[arg(long, env = "MIID_GATEWAY_REFRESH_IDLE", default_value = "30d", value_name = "TIME")]
    pub refresh_idle: Lifetime,
    /// A session lives at most
    #[arg(long, env = "MIID_GATEWAY_SESSION_TTL", default_value = "30d", value_name = "TIME")]
    pub session_ttl: Lifetime,
    /// A spent refresh token gives the same successor once more
    #[arg(long, env = "MIID_GATEWAY_RETRY_WINDOW", default_value = "60s", value_name = "TIME")]
    pub retry_window: Lifetime,
    /// A token signing key signs, before the next takes over
    #[arg(long, env = "MIID_GATEWAY_KEY_LIFETIME", default_value = "90d", value_name = "TIME")]
    pub key_lifetime: Lifetime,
    /// Events are kept for readers that were away
    #[arg(long, env = "MIID_GATEWAY_EVENT_RETENTION", default_value = "1d", value_name = "TIME")]
    pub event_retention: Lifetime,
    /// Ended challenges and sessions are kept, so that a late reuse is recognised
    #[arg(long, env = "MIID_GATEWAY_ENDED_RETENTION", default_value = "31d", value_name = "TIME")]
    pub ended_retention: Lifetime,
    /// A stream stays open, before its reader must prove itself again
    #[arg(long, env = "MIID_GATEWAY_STREAM_MAX_AGE", default_value = "1h", value_name = "TIME")]
    pub stream_max_age: Lifetime,
}

impl Lifetimes {
    /// What no access token outlives, of a step-up or not.
    pub fn longest_token(&self) -> Lifetime {
        self.access_ttl.max(self.step_up_ttl)
    }
}

/// How much there may be of everything that grows.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Bounds")]
pub struct Bounds {
    /// Pending challenges per service and hint, from browsers that the service does not know
    #[arg(long, env = "MIID_GATEWAY_PENDING_PER_HINT", default_value_t = 3, value_name = "N")]
    pub pending_per_hint: i64,
    /// Pending challenges per service and person, from browsers that have signed in before
    #[arg(long, env = "MIID_GATEWAY_PENDING_PER_KNOWN", default_value_t = 3, value_name = "N")]
    pub pending_per_known: i64,
    /// Pending challenges per person, over all services; and as many links that the person has claimed
    #[arg(long, env = "MIID_GATEWAY_PENDING_PER_PERSON", default_value_t = 10, value_name = "N")]
    pub pending_per_person: i64,
    /// Pending step-ups per session
    #[arg(long, env = "MIID_GATEWAY_PENDING_PER_SESSION", default_value_t = 3, value_name = "N")]
    pub pending_per_session: i64,
    /// Wallet requests per second from one address
    #[arg(long, env = "MIID_GATEWAY_REQUESTS_PER_ADDRESS", default_value_t = 200, value_name = "N")]
    pub requests_per_address: u32,
    /// Service logins per second from one address that are wrong, or of a service registered this second
    #[arg(long, env = "MIID_GATEWAY_WRONG_LOGINS_PER_ADDRESS", default_value_t = 20, value_name = "N")]
    pub wrong_logins_per_address: u32,
    /// DIDs never seen before, per minute from one address
    #[arg(long, env = "MIID_GATEWAY_NEW_DIDS_PER_ADDRESS", default_value_t = 600, value_name = "N")]
    pub new_dids_per_address: u32,
    /// Identities retired, per minute from one address: each is remembered for ever
    #[arg(long, env = "MIID_GATEWAY_RETIREMENTS_PER_ADDRESS", default_value_t = 10, value_name = "N")]
    pub retirements_per_address: u32,
    /// Live sessions per service and person, where a service allows several: the next ends the oldest
    #[arg(long, env = "MIID_GATEWAY_SESSIONS_PER_PERSON", default_value_t = 100, value_name = "N")]
    pub sessions_per_person: u32,
    /// Open streams from one address
    #[arg(long, env = "MIID_GATEWAY_STREAMS_PER_ADDRESS", default_value_t = 200, value_name = "N")]
    pub streams_per_address: usize,
    /// Open streams per DID or service: a person's devices, a service's instances
    #[arg(long, env = "MIID_GATEWAY_STREAMS_PER_KEY", default_value_t = 64, value_name = "N")]
    pub streams_per_key: usize,
    /// Open streams in all: each holds a socket
    #[arg(long, env = "MIID_GATEWAY_MAX_STREAMS", default_value_t = 16_000, value_name = "N")]
    pub max_streams: usize,
    /// Open connections in all
    #[arg(long, env = "MIID_GATEWAY_MAX_CONNECTIONS", default_value_t = 18_000, value_name = "N")]
    pub max_connections: usize,
    /// Open connections at the edge
    #[arg(long, env = "MIID_GATEWAY_EDGE_CONNECTIONS", default_value_t = 10_000, value_name = "N")]
    pub edge_connections: usize,
    /// Proofs remembered; at the bound wallets are told to come back, and none is forgotten early
    #[arg(long, env = "MIID_GATEWAY_MAX_PROOFS", default_value_t = 5_000_000, value_name = "N")]
    pub max_proofs: i64,
    /// Events kept per stream, whatever their age
    #[arg(long, env = "MIID_GATEWAY_EVENTS_PER_STREAM", default_value_t = 100_000, value_name = "N")]
    pub events_per_stream: i64,
}

impl Settings {
    /// Bounds of the streams.
    pub fn stream_limits(&self) -> Limits {
        Limits {
            per_key: self.bounds.streams_per_key,
            per_address: self.bounds.streams_per_address,
            total: self.bounds.max_streams,
            max_age: self.lifetimes.stream_max_age.duration(),
        }
    }

    /// Bounds of pending challenges.
    pub fn quota(&self) -> Quota {
        Quota {
            unknown_browsers: self.bounds.pending_per_hint,
            known_browsers: self.bounds.pending_per_known,
            person: self.bounds.pending_per_person,
            session: self.bounds.pending_per_session,
        }
    }

    /// How long what is over is kept.
    pub fn retention(&self) -> Retention {
        Retention {
            events: self.lifetimes.event_retention,
            events_per_stream: self.bounds.events_per_stream,
            // What a session came from and what was shared with it stay at least as long as it can live.
            ended: self.lifetimes.ended_retention.max(self.lifetimes.session_ttl),
        }
    }

    /// How long requests in flight may take at shutdown.
    pub fn grace(&self) -> Duration {
        self.shutdown_grace.duration()
    }
}

/// Why the settings cannot be used. Every text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{path} is not TOML: {source}")]
    Toml {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It names a setting that there is not.
    #[error(
        "{path}: there is no setting called {name:?}; names are those of the flags, see miid-gateway serve --help"
    )]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A value has a shape that no flag takes.
    #[error("{path}: {name} must be a text, a number, true or false, or a list of these")]
    Shape {
        /// Which file.
        path: PathBuf,
        /// The name.
        name: String,
    },
}

/// Parses the command line, with the TOML file's values as defaults beneath flags and environment.
/// Ends the process where clap would: on `--help` and on a wrong flag.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ConfigError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = Cli::command();
    if let Some(path) = config_path(&args) {
        command = with_defaults(command, &path)?;
    }
    let matches = command.get_matches_from(args);
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok(cli),
        Err(error) => error.exit(),
    }
}

/// `--config FILE`, `--config=FILE`, or the environment; looked for before clap parses, since it
/// changes what clap's defaults are.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else { continue };
        if text == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(path.into());
        }
    }
    std::env::var_os("MIID_GATEWAY_CONFIG").map(PathBuf::from)
}

fn with_defaults(command: clap::Command, path: &std::path::Path) -> Result<clap::Command, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let table: toml::Table = text
        .parse()
        .map_err(|source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) })?;
    let mut defaults: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in table {
        // The edge's routes are a table of their own: crate::edge::routes::config.
        if name == "edge" {
            continue;
        }
        let name = name.replace('_', "-");
        let known = command
            .find_subcommand("serve")
            .is_some_and(|serve| serve.get_arguments().any(|arg| arg.get_long() == Some(&name)));
        if !known {
            return Err(ConfigError::Unknown { path: path.to_owned(), name });
        }
        let values = match &value {
            toml::Value::Array(list) => list.iter().map(plain).collect::<Option<Vec<_>>>(),
            value => plain(value).map(|value| vec![value]),
        };
        let values =
            values.ok_or_else(|| ConfigError::Shape { path: path.to_owned(), name: name.clone() })?;
        defaults.push((name, values));
    }
    Ok(set_defaults(command, &defaults))
}

fn set_defaults(command: clap::Command, defaults: &[(String, Vec<String>)]) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| {
        let default = defaults.iter().find(|(name, _)| arg.get_long() == Some(name));
        match default {
            Some((_, values)) => arg.default_values(values.clone()),
            None => arg,
        }
    });
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |sub| set_defaults(sub, defaults)))
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
