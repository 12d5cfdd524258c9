//! The command line: `serve`, and what an operator does beside running instances.

mod services;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use serde_json::json;

use crate::clock::{self, Clock};
use crate::config::{Place, Settings};
use crate::keys::{self, NEXT_KEY_LEAD};
use crate::store::Store;

pub use services::{ServiceCommand, service};

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
    /// Relying parties: add, list, update, rotate-secret, remove
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
    let table = crate::edge::routes::config::read(file)?;
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

/// One line on standard output; a closed pipe is an error, not a panic.
fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
