//! The commands about relying parties.

use anyhow::bail;
use clap::Subcommand;
use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::service::RevokeReason;
use miid_protocol::{ClientId, Lifetime, text};
use serde_json::json;

use super::{open, print};
use crate::clock;
use crate::config::Place;
use crate::store::{BindingRule, Service, ServiceChange, SessionPolicy, StepUpRule, Store};

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
        /// Ways in which it may ask for a step-up, of those that it accepts
        #[arg(long, value_enum, default_value = "linked")]
        step_up: StepUpRule,
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
    /// Change what is named about a service, and print what stands now
    ///
    /// What was begun before goes on as it began.
    Update {
        /// Which one
        client_id: ClientId,
        #[command(flatten)]
        #[allow(missing_docs)]
        changes: Changes,
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

/// What is to be different; what is not named stays.
#[derive(Debug, clap::Args)]
pub struct Changes {
    /// Its name, as people read it in their wallets
    #[arg(long)]
    name: Option<String>,
    /// Where linked sign-ins may return, instead of where they may now; may be given more than once
    #[arg(long = "return-url", value_name = "URL", conflicts_with = "add_return_urls")]
    return_urls: Vec<String>,
    /// Where linked sign-ins may return, too; may be given more than once
    #[arg(long = "add-return-url", value_name = "URL")]
    add_return_urls: Vec<String>,
    /// What it may ask for, instead of what it may now
    #[arg(long, value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    /// Sessions that one person may have there
    #[arg(long, value_enum)]
    session_policy: Option<SessionPolicy>,
    /// Ways of signing in that it accepts
    #[arg(long, value_enum)]
    binding: Option<BindingRule>,
    /// Ways in which it may ask for a step-up, of those that it accepts
    #[arg(long, value_enum)]
    step_up: Option<StepUpRule>,
}

impl Changes {
    fn check(self) -> anyhow::Result<ServiceChange> {
        let change = ServiceChange {
            name: self.name,
            return_urls: (!self.return_urls.is_empty()).then_some(self.return_urls),
            add_return_urls: self.add_return_urls,
            scopes: self.scopes,
            session_policy: self.session_policy,
            binding: self.binding,
            step_up: self.step_up,
        };
        if change == ServiceChange::default() {
            bail!(
                "nothing to change; say what: --name, --return-url, --add-return-url, --scopes, --session-policy, \
                 --binding or --step-up"
            );
        }
        change.name.as_deref().map_or(Ok(()), check_name)?;
        change.scopes.as_deref().map_or(Ok(()), check_scopes)?;
        let urls = change.return_urls.iter().flatten().chain(&change.add_return_urls);
        urls.into_iter().try_for_each(|url| check_return_url(url))?;
        Ok(change)
    }
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
            step_up,
            json,
            place,
        } => {
            check_name(&name)?;
            check_scopes(&scopes)?;
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
                step_up,
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
        ServiceCommand::Update { client_id, changes, json, place } => {
            let change = changes.check()?;
            update_service(&open(&place).await?, client_id, change, json).await
        }
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
        let list: Vec<_> = services.iter().map(in_json).collect();
        return print(&serde_json::to_string_pretty(&list)?);
    }
    if services.is_empty() {
        return print("No services yet. Add one: miid-gateway service add shop --name \"My Shop\"");
    }
    for s in services {
        print(&format!(
            "{:<24} {}  (sessions: {}, binding: {}, step-up: {}, scopes: {})",
            s.client_id.as_str(),
            s.name,
            s.session_policy.as_str(),
            s.binding.as_str(),
            s.step_up.as_str(),
            s.scopes.join(" ")
        ))?;
    }
    Ok(())
}

fn in_json(s: &Service) -> serde_json::Value {
    json!({
        "client_id": s.client_id, "name": s.name, "return_urls": s.return_urls, "scopes": s.scopes,
        "session_policy": s.session_policy.as_str(), "binding": s.binding.as_str(), "step_up": s.step_up.as_str(),
        "created_at": s.created_at,
    })
}

async fn update_service(
    store: &Store,
    client_id: ClientId,
    change: ServiceChange,
    as_json: bool,
) -> anyhow::Result<()> {
    let id = client_id.clone();
    let updated = store
        .write("update_service", move |tx| {
            let (id, change) = (id.clone(), change.clone());
            Box::pin(async move { tx.update_service(&id, &change).await })
        })
        .await?;
    let Some(service) = updated else {
        bail!("there is no service called {client_id}; see: miid-gateway service list");
    };
    if as_json {
        return print(&serde_json::to_string_pretty(&in_json(&service))?);
    }
    print(&format!("client_id       {client_id}"))?;
    print(&format!("name            {}", service.name))?;
    for url in &service.return_urls {
        print(&format!("return_url      {url}"))?;
    }
    print(&format!("scopes          {}", service.scopes.join(" ")))?;
    print(&format!("session_policy  {}", service.session_policy.as_str()))?;
    print(&format!("binding         {}", service.binding.as_str()))?;
    print(&format!("step_up         {}", service.step_up.as_str()))
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

fn fresh_secret() -> Secret<ClientSecret> {
    Secret::from_bytes(clock::random())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    if !text::is_displayable(name, 64) || name.trim().is_empty() {
        bail!("a name has 1 to 64 visible characters");
    }
    Ok(())
}

fn check_scopes(scopes: &[String]) -> anyhow::Result<()> {
    if let Some(scope) = scopes.iter().find(|scope| !text::is_scope(scope)) {
        bail!("{scope:?} is no scope; scopes have 1 to 64 of a-z 0-9 : . _ -");
    }
    Ok(())
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
