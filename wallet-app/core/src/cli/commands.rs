//! Commands about what a person is at a gateway and in general: `handle`, `profile`, `sessions`, `revoke`,
//! `settings`. Each does one thing, says it, and goes.

use miid_protocol::wallet::WalletSession;
use miid_protocol::{Handle, SessionId};
use serde_json::{Map, Value};

use super::args::{Args, HandleArgs, ProfileCommand, SettingsCommand};
use super::failure::Failure;
use super::open::{self, Opened};
use super::run::print_json;
use super::words::Words;
use crate::clock::{Clock as _, SystemClock};
use crate::request::plain;
use crate::settings::{Settings, SettingsChange, SettingsError};
use crate::wallet::{DecisionError, Wallet};

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

pub(crate) fn settings(args: &Args, command: Option<&SettingsCommand>) -> Result<(), Failure> {
    let dir = open::dir(args)?;
    match command {
        None | Some(SettingsCommand::Show { json: false }) => {
            let Value::Object(settings) = as_json(&open::settings(args)?)? else { return Ok(()) };
            for (name, value) in settings {
                println!("{name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        Some(SettingsCommand::Show { json: true }) => print_json(&open::settings(args)?)?,
        Some(SettingsCommand::Set { settings }) => {
            let mut change = Map::new();
            for setting in settings {
                let example = "for example: miid-wallet settings set theme=dark lock_after_min=5";
                let (name, text) = setting
                    .split_once('=')
                    .ok_or_else(|| Failure::usage("a setting is set as name=value", example))?;
                // Numbers, true and false are themselves; everything else is text.
                let value = serde_json::from_str(text)
                    .ok()
                    .filter(|value| matches!(value, Value::Number(_) | Value::Bool(_)));
                change.insert(name.to_owned(), value.unwrap_or_else(|| Value::String(text.to_owned())));
            }
            let change: SettingsChange = serde_json::from_value(Value::Object(change))
                .map_err(|error| Failure::usage(plain(&error.to_string()), "nothing was changed"))?;
            Settings::change(&dir, &SystemClock, &change)?;
        }
    }
    Ok(())
}

fn as_json(settings: &Settings) -> Result<Value, Failure> {
    serde_json::to_value(settings).map_err(|error| Failure::new(error.to_string()))
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            SettingsError::Newer { .. } => failure.code(6).hint("update miid-wallet"),
            SettingsError::BadValue(_) => failure.code(2),
            SettingsError::File(error) => error.into(),
        }
    }
}
