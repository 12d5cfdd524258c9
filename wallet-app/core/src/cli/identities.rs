//! `init`, `restore`, `did`, `enrol`, `sheet`: who lives in the wallet, and how they would come back.

use std::io::Write as _;

use miid_protocol::Issuer;
use zeroize::Zeroizing;

use super::args::{Args, InitArgs, SheetArgs};
use super::failure::Failure;
use super::open;
use super::typed;
use super::words::Words;
use crate::clock::SystemClock;
use crate::files;
use crate::vault::{Newcomer, Outline, SealedBy, Vault, VaultError};

/// What a new identity is called when nothing is said.
const DEFAULT_NAME: &str = "Me";

pub(crate) fn init(args: &Args, init: &InitArgs, words: Words) -> Result<(), Failure> {
    let gateway = gateway(args)?;
    let name = init.name.as_deref().unwrap_or(DEFAULT_NAME).trim();
    let newcomer = Newcomer { name, words: None, gateway: &gateway };
    let Some(vault) = vault(args, words)? else {
        let (vault, made) = open::new_vault(args, init.keychain, &newcomer, words)?;
        say_made(&words.made(&made.name), &made, &vault, true, &gateway, words);
        return Ok(());
    };
    if vault.identities()?.iter().any(|identity| identity.name == name) {
        // A name that exists with a gateway that is new to it: one more enrolment.
        let is_new = args.gateway.is_some()
            && !vault.look(name, |record| record.gateways.iter().any(|one| one.issuer == gateway))?;
        if !is_new {
            return Err(VaultError::NameTaken(name.to_owned()).into());
        }
        vault.enrol(name, &gateway)?;
        println!("{}", words.enrolled(name, gateway.as_str()));
        return Ok(());
    }
    let made = vault.admit(&newcomer)?;
    say_made(&words.made(&made.name), &made, &vault, false, &gateway, words);
    Ok(())
}

/// The words come on standard input: an argument would be seen by everybody on this computer.
pub(crate) fn restore(args: &Args, init: &InitArgs, words: Words) -> Result<(), Failure> {
    let gateway = gateway(args)?;
    let name = init.name.as_deref().unwrap_or(DEFAULT_NAME).trim();
    let recovery = typed::recovery_words(words.type_the_words())?;
    let newcomer = Newcomer { name, words: Some(&recovery), gateway: &gateway };
    let (vault, restored, is_new) = match vault(args, words)? {
        Some(vault) => {
            let restored = vault.admit(&newcomer)?;
            (vault, restored, false)
        }
        None => {
            let (vault, restored) = open::new_vault(args, init.keychain, &newcomer, words)?;
            (vault, restored, true)
        }
    };
    say_made(&words.restored(&restored.name), &restored, &vault, is_new, &gateway, words);
    Ok(())
}

/// Where a new identity is enrolled: what was said, or what the settings say.
fn gateway(args: &Args) -> Result<Issuer, Failure> {
    match &args.gateway {
        Some(gateway) => Ok(gateway.clone()),
        None => Ok(open::settings(args)?.gateway),
    }
}

/// The vault that is there, if any. One that was damaged and set aside is none, and a new one can be made beside it; it
/// is said, since it may have been another program that found it.
fn vault(args: &Args, words: Words) -> Result<Option<Vault>, Failure> {
    match Vault::outline(&open::dir(args)?, &SystemClock) {
        Ok(_) => Ok(Some(open::vault(args, words)?)),
        Err(VaultError::NotFound { .. }) => Ok(None),
        Err(error @ VaultError::WasDamaged { .. }) => {
            eprintln!("{error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn say_made(line: &str, made: &Outline, vault: &Vault, is_new: bool, gateway: &Issuer, words: Words) {
    println!("{line}");
    println!("  {}", made.did);
    if is_new {
        let by_keychain = vault.sealed_by() == SealedBy::Keychain;
        println!("  {}", words.sealed(by_keychain, &open::shown(vault.dir())));
    }
    println!("  {gateway}");
    println!("{}", words.next_step());
}

/// Needs no key: who lives here stands in the clear.
pub(crate) fn did(args: &Args, all: bool) -> Result<(), Failure> {
    let (_, identities) = Vault::outline(&open::dir(args)?, &SystemClock)?;
    if all {
        for identity in &identities {
            println!("{}  {}", identity.did, crate::request::plain(&identity.name));
        }
        return Ok(());
    }
    println!("{}", open::choose(&identities, args.identity.as_deref())?.did);
    Ok(())
}

pub(crate) fn enrol(args: &Args, issuer: &Issuer, leave: bool, words: Words) -> Result<(), Failure> {
    let vault = open::vault(args, words)?;
    let name = open::choose(&vault.identities()?, args.identity.as_deref())?.name;
    if leave {
        vault.unenrol(&name, issuer)?;
        println!("{}", words.left(&name, issuer.as_str()));
    } else {
        vault.enrol(&name, issuer)?;
        println!("{}", words.enrolled(&name, issuer.as_str()));
    }
    Ok(())
}

/// Whoever sits at an open wallet for a moment must not walk away with the key: the passphrase is asked for again.
pub(crate) fn sheet(args: &Args, sheet: &SheetArgs, words: Words) -> Result<(), Failure> {
    let vault = open::vault(args, words)?;
    let name = open::choose(&vault.identities()?, args.identity.as_deref())?.name;
    open::ask_again(args, &vault, words)?;
    let made = vault.recovery_sheet(&name)?;
    let text = if sheet.json {
        let mut json = Zeroizing::new(Vec::with_capacity(8192));
        serde_json::to_writer_pretty(&mut *json, &made).map_err(|error| Failure::new(error.to_string()))?;
        json.push(b'\n');
        json
    } else {
        Zeroizing::new(made.to_text(words.spoken()).as_bytes().to_vec())
    };
    match &sheet.output {
        Some(path) => {
            files::create(path, &text)?;
            println!("{}", words.sheet_written(&open::shown(path)));
        }
        None => std::io::stdout().lock().write_all(&text)?,
    }
    Ok(())
}
