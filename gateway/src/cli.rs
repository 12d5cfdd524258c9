//! The command line: `serve`, and what an operator does beside running instances.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::service::RevokeReason;
use miid_protocol::{ClientId, Lifetime, text};
use serde_json::json;

use crate::clock::{self, Clock};
use crate::config::{Place, Settings};
use crate::keys::{self, NEXT_KEY_LEAD};
use crate::store::{BindingRule, Service, SessionPolicy, Store};

/// Decides who is signed in: challenges, approvals, tokens and sessions.
#[derive(Debug, Parser)]
#[command(name = "miid-gateway", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// TOML file with settings, named like the flags of serve
    #[arg(long, global = true, env = "MIID_GATEWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the protocol until told to stop
    Serve(Box<Settings>),
    /// Relying parties: add, list, rotate-secret, remove
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Token signing keys: list, rotate, retire
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The configuration file: check
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What to do with the configuration file.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Read the file as serve would, and say everything that is wrong with it
    Check,
}

/// What to do with a service.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Register a service and print its secret, once
    Add {
        /// 2 to 64 of a-z 0-9 . _ -
        client_id: ClientId,
        /// Its name, as people read it in their wallets
        #[arg(long)]
        name: String,
        /// Where linked sign-ins may return; may be given more than once
        #[arg(long = "return-url", value_name = "URL")]
        return_urls: Vec<String>,
        /// What it may ask for
        #[arg(long, value_delimiter = ',', default_value = "profile,email")]
        scopes: Vec<String>,
        /// Sessions that one person may have there
        #[arg(long, value_enum, default_value = "single")]
        session_policy: SessionPolicy,
        /// Ways of signing in that it accepts
        #[arg(long, value_enum, default_value = "any")]
        binding: BindingRule,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// List the services
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Give a service a new secret and print it, once
    RotateSecret {
        /// Which one
        client_id: ClientId,
        /// How long the old secret is still accepted
        #[arg(long, default_value = "1h", value_name = "TIME")]
        overlap: Lifetime,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Remove a service and end its sessions
    Remove {
        /// Which one
        client_id: ClientId,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
}

/// What to do with signing keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Publish a new key, which takes over in ten minutes
    Rotate {
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Stop honouring a key at once, and whatever it signed
    Retire {
        /// Which one
        kid: String,
        /// Yes, now: tokens that it signed are refused from this moment
        #[arg(long, required = true)]
        now: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
}

/// Runs a `config` command. The settings beside the edge were checked when the file became defaults.
pub fn config(command: ConfigCommand, file: Option<&std::path::Path>) -> anyhow::Result<()> {
    let ConfigCommand::Check = command;
    let file = file.context("name the file: miid-gateway --config FILE config check")?;
    let table = crate::edge::config::read(file)?;
    writeln!(std::io::stdout(), "{}: {} routes", file.display(), table.len())?;
    Ok(())
}

/// Opens the store beside whoever serves from it.
async fn open(place: &Place) -> anyhow::Result<Store> {
    let store = Store::open(&place.options(false), Clock::system()).await?;
    let keys = keys::load_or_create(&prepared(place)?)?;
    store.bind_keys(keys.fingerprint()).await?;
    Ok(store)
}

/// The key file's path, its folder made where it is missing.
pub fn prepared(place: &Place) -> anyhow::Result<PathBuf> {
    let path = place.keys_path();
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        // Other users must not look into what lies there.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .recursive(true)
            .create(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    Ok(path)
}

/// Runs a `service` command.
pub async fn service(command: ServiceCommand) -> anyhow::Result<()> {
    match command {
        ServiceCommand::Add {
            client_id,
            name,
            return_urls,
            scopes,
            session_policy,
            binding,
            json,
            place,
        } => {
            if !text::is_displayable(&name, 64) || name.trim().is_empty() {
                bail!("a name has 1 to 64 visible characters");
            }
            if let Some(scope) = scopes.iter().find(|scope| !text::is_scope(scope)) {
                bail!("{scope:?} is no scope; scopes have 1 to 64 of a-z 0-9 : . _ -");
            }
            return_urls.iter().try_for_each(|url| check_return_url(url))?;
            let store = open(&place).await?;
            let secret = fresh_secret();
            let service = Service {
                client_id: client_id.clone(),
                name,
                secret: secret.hash(),
                old_secret: None,
                return_urls,
                scopes,
                session_policy,
                binding,
                created_at: store.clock().now(),
            };
            let added = store
                .write("add_service", move |tx| {
                    let service = service.clone();
                    Box::pin(async move { tx.add_service(&service).await })
                })
                .await?;
            if !added {
                bail!("there is already a service called {client_id}; see: miid-gateway service list");
            }
            show_secret(&client_id, &secret, json)
        }
        ServiceCommand::List { json, place } => list_services(&open(&place).await?, json).await,
        ServiceCommand::RotateSecret { client_id, overlap, json, place } => {
            let store = open(&place).await?;
            let secret = fresh_secret();
            let (id, hash, until) = (client_id.clone(), secret.hash(), store.clock().now().plus(overlap));
            let rotated = store
                .write("rotate_secret", move |tx| {
                    let id = id.clone();
                    Box::pin(async move { tx.rotate_secret(&id, hash, until).await })
                })
                .await?;
            if !rotated {
                bail!("there is no service called {client_id}");
            }
            show_secret(&client_id, &secret, json)
        }
        ServiceCommand::Remove { client_id, place } => remove_service(&open(&place).await?, client_id).await,
    }
}

async fn list_services(store: &Store, as_json: bool) -> anyhow::Result<()> {
    let mut services: Vec<Service> = store.read().await?.services().await?.into_values().collect();
    services.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    if as_json {
        let list: Vec<_> = services
            .iter()
            .map(|s| {
                json!({
                    "client_id": s.client_id, "name": s.name, "return_urls": s.return_urls, "scopes": s.scopes,
                    "session_policy": s.session_policy.as_str(), "binding": s.binding.as_str(),
                    "created_at": s.created_at,
                })
            })
            .collect();
        return print(&serde_json::to_string_pretty(&list)?);
    }
    if services.is_empty() {
        return print("No services yet. Add one: miid-gateway service add shop --name \"My Shop\"");
    }
    for s in services {
        print(&format!(
            "{:<24} {}  (sessions: {}, binding: {}, scopes: {})",
            s.client_id.as_str(),
            s.name,
            s.session_policy.as_str(),
            s.binding.as_str(),
            s.scopes.join(" ")
        ))?;
    }
    Ok(())
}

async fn remove_service(store: &Store, client_id: ClientId) -> anyhow::Result<()> {
    let id = client_id.clone();
    let removed = store
        .write("remove_service", move |tx| {
            let id = id.clone();
            Box::pin(async move { tx.remove_service(&id).await })
        })
        .await?;
    let mut ended = 0;
    loop {
        let id = client_id.clone();
        let batch = store
            .write("end_sessions_of_service", move |tx| {
                let id = id.clone();
                Box::pin(async move {
                    let sessions = tx.some_sessions_of_service(&id, 100).await?;
                    for session in &sessions {
                        tx.revoke_session(session, RevokeReason::Admin, None).await?;
                    }
                    Ok(sessions.len())
                })
            })
            .await?;
        ended += batch;
        if batch == 0 {
            break;
        }
    }
    if !removed && ended == 0 {
        bail!("there is no service called {client_id}");
    }
    print(&format!("Removed {client_id} and ended {ended} sessions."))
}

/// Runs a `keys` command.
pub async fn keys(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::List { json, place } => {
            let rows = open(&place).await?.read().await?.signing_keys().await?;
            if json {
                let list: Vec<_> = rows
                    .iter()
                    .map(|k| json!({"kid": k.kid, "created_at": k.created_at, "active_from": k.active_from, "retired_at": k.retired_at}))
                    .collect();
                return print(&serde_json::to_string_pretty(&list)?);
            }
            for key in rows {
                let retired = key.retired_at.map(|at| format!("  retired {at}")).unwrap_or_default();
                print(&format!("{}  signs from {}{retired}", key.kid, key.active_from))?;
            }
            Ok(())
        }
        KeysCommand::Rotate { place } => {
            let store = open(&place).await?;
            let active_from = store.clock().now().plus(NEXT_KEY_LEAD);
            let kid = fresh_kid();
            add_key(&store, &kid, active_from).await?;
            print(&format!("Published {kid}; it signs from {active_from}."))
        }
        KeysCommand::Retire { kid, now: _, place } => {
            let store = open(&place).await?;
            let (retire, fresh) = (kid.clone(), fresh_kid());
            let retired = store
                .write("retire_signing_key", move |tx| {
                    let (retire, fresh) = (retire.clone(), fresh.clone());
                    Box::pin(async move {
                        let now = tx.now;
                        if !tx.retire_signing_key(&retire).await? {
                            return Ok(false);
                        }
                        let rows = tx.signing_keys().await?;
                        // Somebody must sign from now on.
                        // A key that was relieved earlier must not come back into its place.
                        let newest = rows.iter().rev().find(|key| key.active_from <= now);
                        if newest.is_none_or(|key| key.retired_at.is_some()) {
                            tx.add_signing_key(&fresh, now).await?;
                        }
                        Ok(true)
                    })
                })
                .await?;
            if !retired {
                bail!("there is no live key called {kid:?}; see: miid-gateway keys list");
            }
            print(&format!("Retired {kid}. Tokens that it signed are refused within a second."))
        }
    }
}

/// Adds a signing key.
pub async fn add_key(store: &Store, kid: &str, active_from: miid_protocol::Timestamp) -> anyhow::Result<()> {
    let kid = kid.to_owned();
    store
        .write("add_signing_key", move |tx| {
            let kid = kid.clone();
            Box::pin(async move { tx.add_signing_key(&kid, active_from).await })
        })
        .await?;
    Ok(())
}

/// A name for a key; it says nothing.
pub fn fresh_kid() -> String {
    miid_protocol::jws::encode(&clock::random::<12>())
}

fn fresh_secret() -> Secret<ClientSecret> {
    Secret::from_bytes(clock::random())
}

/// `https`, or `http` on loopback; no fragment, since the gateway adds its own.
fn check_return_url(url: &str) -> anyhow::Result<()> {
    let rest = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let origin_len = url.len() - rest.len() + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    miid_protocol::Issuer::parse(&url[..origin_len])
        .map_err(|e| anyhow::anyhow!("{url:?} is no return URL: {e}"))?;
    if url.contains('#') || !url.bytes().all(|b| b.is_ascii_graphic()) {
        bail!("{url:?} is no return URL: it must be visible ASCII without a fragment");
    }
    Ok(())
}

fn show_secret(client_id: &ClientId, secret: &Secret<ClientSecret>, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print(&json!({ "client_id": client_id, "client_secret": secret.expose() }).to_string());
    }
    print(&format!("client_id      {client_id}"))?;
    print(&format!("client_secret  {}", secret.expose()))?;
    print("Keep the secret now: it is stored as a hash and cannot be shown again.")
}

/// One line on standard output; a closed pipe is an error, not a panic.
fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
