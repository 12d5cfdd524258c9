//! Every command but `run`: do one thing, say it, go.

use std::collections::HashSet;

use miid_protocol::wallet::WalletSession;
use miid_protocol::{Handle, Issuer, SessionId};

use super::failure::Failure;
use super::open::{self, Opened};
use super::run::print_json;
use super::words::Words;
use super::{Args, HandleArgs, InitArgs, ProfileCommand};
use crate::clock::{Clock as _, SystemClock};
use crate::history::{History, What};
use crate::request::plain;
use crate::vault::{Enrolment, Vault, VaultError};
use crate::wallet::{DecisionError, Wallet};

/// Where a new identity is enrolled when nothing is said.
const DEFAULT_GATEWAY: &str = "http://127.0.0.1:14000";
/// What a new identity is called when nothing is said.
const DEFAULT_NAME: &str = "Me";

pub(crate) fn init(args: &Args, init: &InitArgs, words: Words) -> Result<(), Failure> {
    let gateway = match &args.gateway {
        Some(gateway) => gateway.clone(),
        None => Issuer::parse(DEFAULT_GATEWAY).map_err(|e| Failure::new(e.to_string()))?,
    };
    let name = init.name.as_deref().unwrap_or(DEFAULT_NAME).trim();
    let (vault, sealed) = match Vault::outline(&open::dir(args)?, &SystemClock) {
        Ok(_) => (open::vault(args, words)?, None),
        Err(VaultError::NotFound { .. }) => {
            let (vault, by_keychain) = open::new_vault(args, init.keychain, words)?;
            (vault, Some(by_keychain))
        }
        Err(error) => return Err(error.into()),
    };
    if vault.identities()?.iter().any(|identity| identity.name == name) {
        return enrol(&vault, name, &gateway, args.gateway.is_some(), words);
    }
    let made = vault.add_identity(name, &gateway)?;
    println!("{}", words.made(&made.name));
    println!("  {}", made.did);
    if let Some(by_keychain) = sealed {
        println!("  {}", words.sealed(by_keychain, &open::shown(vault.dir())));
    }
    println!("  {gateway}");
    println!("{}", words.next_step());
    Ok(())
}

/// A name that exists with a gateway that is new to it: one more enrolment.
fn enrol(
    vault: &Vault,
    name: &str,
    gateway: &Issuer,
    gateway_was_named: bool,
    words: Words,
) -> Result<(), Failure> {
    vault.update(name, |record| {
        if !gateway_was_named || record.enrolment(gateway).is_some() {
            return Err(VaultError::NameTaken(name.to_owned()));
        }
        record.gateways.push(Enrolment { issuer: gateway.clone(), handle: None });
        Ok(())
    })?;
    println!("{}", words.enrolled(name, gateway.as_str()));
    Ok(())
}

/// Needs no key: who lives here stands in the clear.
pub(crate) fn did(args: &Args, all: bool) -> Result<(), Failure> {
    let (_, identities) = Vault::outline(&open::dir(args)?, &SystemClock)?;
    if all {
        for identity in &identities {
            println!("{}  {}", identity.did, plain(&identity.name));
        }
        return Ok(());
    }
    println!("{}", open::choose(&identities, args.identity.as_deref())?.did);
    Ok(())
}

pub(crate) async fn handle(opened: &Opened, handle: &HandleArgs, words: Words) -> Result<(), Failure> {
    let gateway = opened.enrolment.issuer.as_str();
    let wanted = match (handle.action.as_deref(), handle.name.as_deref()) {
        (None, _) => {
            let held = opened.enrolment.handle.as_ref();
            println!(
                "{}",
                held.map_or_else(|| words.no_handle(gateway), |held| words.handle_is(held.as_str(), gateway))
            );
            return Ok(());
        }
        (Some("release"), None) => None,
        (Some("claim"), Some(name)) => Some(name),
        (Some("claim"), None) | (Some(_), Some(_)) => {
            return Err(Failure::usage(
                "which handle?",
                "miid-wallet handle claim <NAME>, or handle release",
            ));
        }
        (Some(name), None) => Some(name),
    };
    let wanted = match wanted {
        Some(name) => {
            Some(Handle::parse(name).map_err(|e| Failure::usage(e.to_string(), "choose another name"))?)
        }
        None => None,
    };
    match opened.wallet().set_handle(wanted.as_ref()).await? {
        Some(held) => println!("{}", words.handle_is(held.as_str(), gateway)),
        None => println!("{}", words.no_handle(gateway)),
    }
    Ok(())
}

pub(crate) fn profile(args: &Args, command: Option<&ProfileCommand>, words: Words) -> Result<(), Failure> {
    let vault = open::vault(args, words)?;
    let name = open::choose(&vault.identities()?, args.identity.as_deref())?.name;
    match command {
        None | Some(ProfileCommand::Show { json: false }) => {
            let profile = vault.look(&name, |record| record.profile.clone())?;
            if profile.iter().next().is_none() {
                println!("{}", words.empty_profile());
            }
            for (field, value) in profile.iter() {
                println!("{field}: {}", plain(value));
            }
        }
        Some(ProfileCommand::Show { json: true }) => {
            print_json(&vault.look(&name, |record| record.profile.clone())?)?;
        }
        Some(ProfileCommand::Set { fields }) => {
            let mut pairs = Vec::new();
            for field in fields {
                let example =
                    "for example: miid-wallet profile set name=\"Alice Kim\" email=alice@example.com";
                pairs.push(
                    field
                        .split_once('=')
                        .ok_or_else(|| Failure::usage("a field is set as name=value", example))?,
                );
            }
            vault.update(&name, |record| {
                for (field, value) in pairs {
                    record.profile.set(field, value)?;
                }
                Ok::<_, Failure>(())
            })?;
        }
        Some(ProfileCommand::Unset { fields }) => vault.update(&name, |record| {
            for field in fields {
                if !record.profile.unset(field) {
                    return Err(Failure::new(format!("the profile has no {}", plain(field))));
                }
            }
            Ok(())
        })?,
    }
    Ok(())
}

pub(crate) async fn sessions(opened: &Opened, json: bool, words: Words) -> Result<(), Failure> {
    let sessions = opened.wallet().sessions().await?;
    if json {
        return print_json(&sessions);
    }
    if sessions.is_empty() {
        println!("{}", words.no_sessions());
    }
    let now = SystemClock.now();
    for session in sessions {
        println!("{}", plain(&session.service.name));
        let shared: Vec<_> = session.claims.iter().map(|claim| plain(claim)).collect();
        println!("  {}", words.session_row(&words.when(session.created_at, now), &shared));
        println!("  {}", session.session_id);
    }
    Ok(())
}

pub(crate) async fn revoke(opened: &Opened, one: Option<SessionId>, words: Words) -> Result<(), Failure> {
    let wallet = opened.wallet();
    let sessions = wallet.sessions().await?;
    match one {
        Some(id) => {
            let session = sessions.iter().find(|session| session.session_id == id);
            end(&wallet, session.ok_or(DecisionError::UnknownSession)?, words).await
        }
        None => {
            if sessions.is_empty() {
                println!("{}", words.no_sessions());
            }
            // Each is tried: one that fails must not keep the others alive.
            let mut failed = None;
            for session in &sessions {
                failed = end(&wallet, session, words).await.err().or(failed);
            }
            failed.map_or(Ok(()), Err)
        }
    }
}

async fn end(wallet: &Wallet, session: &WalletSession, words: Words) -> Result<(), Failure> {
    wallet.revoke(session.session_id).await?;
    println!("{}", words.ended(&plain(&session.service.name)));
    Ok(())
}

pub(crate) fn history(args: &Args, json: bool, words: Words) -> Result<(), Failure> {
    let dir = open::dir(args)?;
    let (_, identities) = Vault::outline(&dir, &SystemClock)?;
    let mut entries = History::new(&dir).read()?;
    if let Some(wanted) = &args.identity {
        let did = open::choose(&identities, Some(wanted))?.did;
        entries.retain(|entry| entry.did == did);
    }
    if json {
        return print_json(&entries);
    }
    if entries.is_empty() {
        println!("{}", words.no_history());
    }
    let now = SystemClock.now();
    // Ending a session here is followed by the gateway's word that it ended: one line says both.
    let ended_here: HashSet<_> = entries
        .iter()
        .filter(|entry| entry.what == What::Revoked && entry.outcome == "done")
        .filter_map(|entry| entry.session_id)
        .collect();
    for entry in entries {
        if entry.what == What::SessionEnded && entry.session_id.is_some_and(|id| ended_here.contains(&id)) {
            continue;
        }
        let service = entry.service_name.as_deref().map(plain).unwrap_or_default();
        let (when, what) = (words.when(entry.at, now), words.what(entry.what));
        let mut line = format!("{}  {}  {service}", padded(&when, 20), padded(what, 14));
        if !entry.shared.is_empty() {
            line.push_str(&format!("  ({})", plain(&entry.shared.join(", "))));
        }
        if let Some(reason) = &entry.reason {
            line.push_str(&format!("  ({})", plain(words.why(reason))));
        }
        if entry.outcome != "done" {
            line.push_str(&format!("  [{}]", plain(words.why(&entry.outcome))));
        }
        println!("{}", line.trim_end());
    }
    Ok(())
}

/// Filled up to a number of columns, of which Korean takes two per character.
fn padded(text: &str, columns: usize) -> String {
    let taken: usize = text.chars().map(|c| if c >= '\u{1100}' { 2 } else { 1 }).sum();
    format!("{text}{}", " ".repeat(columns.saturating_sub(taken)))
}
