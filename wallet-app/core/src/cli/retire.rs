//! `retire`: an identity ends, by the key in this wallet, by the words of a sheet, or by a statement that was
//! printed when the key was still there. The latter two need no wallet at all.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use miid_protocol::wallet::RetireOutcome;
use miid_protocol::{Did, Issuer, Timestamp};
use serde::Serialize;
use zeroize::Zeroizing;

use super::args::{Args, RetireArgs};
use super::failure::Failure;
use super::open::{self, Opened};
use super::run::print_json;
use super::words::Words;
use super::{block_on, typed};
use crate::client::retire_with;
use crate::recovery::RetireStatement;

/// Longest file that is looked at: a sheet with many gateways.
const MAX_FILE: u64 = 256 * 1024;

/// What ended.
#[derive(Serialize)]
struct Over {
    did: Did,
    gateway: Issuer,
    at: Timestamp,
}

pub(crate) fn retire(args: &Args, retire: &RetireArgs, words: Words) -> Result<(), Failure> {
    let (over, failed) = match (&retire.statement_file, retire.words) {
        (Some(file), _) => by_statements(args, &statements(file)?)?,
        (None, true) => by_statements(args, &[of_words(args, words)?])?,
        (None, false) => from_vault(args, retire.confirm.as_deref(), words)?,
    };
    if retire.json {
        print_json(&over)?;
    } else {
        for one in &over {
            println!("{}", words.retired(&crate::identity::short(&one.did), one.gateway.as_str()));
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Each gateway is tried: one that fails must not keep the identity alive at the others.
type Outcome = (Vec<Over>, Option<Failure>);

fn by_statements(args: &Args, statements: &[RetireStatement]) -> Result<Outcome, Failure> {
    let wanted: Vec<_> = statements
        .iter()
        .filter(|one| args.gateway.as_ref().is_none_or(|gateway| one.gateway == *gateway))
        .collect();
    if wanted.is_empty() {
        return Err(Failure::usage(
            "there is no signed statement in it that ends an identity",
            "give the lines of the sheet that begin with eyJ, each whole and on one line",
        ));
    }
    block_on(async {
        let (mut over, mut failed) = (Vec::new(), None);
        for one in wanted {
            match retire_with(one, args.gateway_address.as_ref()).await {
                Ok(RetireOutcome { did, at }) => over.push(Over { did, gateway: one.gateway.clone(), at }),
                Err(error) => failed = Some(error.into()),
            }
        }
        Ok((over, failed))
    })
}

/// In a file, or on standard input.
fn statements(file: &Path) -> Result<Vec<RetireStatement>, Failure> {
    let text = if file == Path::new("-") {
        typed::everything()?
    } else {
        let cannot = |e: std::io::Error| {
            Failure::usage(
                format!("cannot read {}: {e}", open::shown(file)),
                "nothing was sent; it is named by --statement-file",
            )
        };
        let mut bytes = Zeroizing::new(Vec::new());
        let opened = fs::File::open(file).map_err(cannot)?;
        opened.take(MAX_FILE).read_to_end(&mut bytes).map_err(cannot)?;
        Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(RetireStatement::find(&text))
}

/// Signed here and now by the key that the words are; the key is gone with this function.
fn of_words(args: &Args, words: Words) -> Result<RetireStatement, Failure> {
    let gateway = args
        .gateway
        .as_ref()
        .ok_or_else(|| Failure::usage("which gateway?", "the sheet names it: --gateway ISSUER"))?;
    let recovery = typed::recovery_words(words.type_the_words())?;
    Ok(recovery.retirement(gateway)?)
}

fn from_vault(args: &Args, confirm: Option<&str>, words: Words) -> Result<Outcome, Failure> {
    let vault = Arc::new(open::vault(args, words)?);
    let outline = open::choose(&vault.identities()?, args.identity.as_deref())?;
    let gateways = vault.look(&outline.name, |record| record.gateways.clone())?;
    let wanted: Vec<_> = match &args.gateway {
        Some(_) => vec![open::choose_gateway(&gateways, args.gateway.as_ref())?],
        None => gateways,
    };
    let typed = match confirm {
        Some(name) => Some(name.to_owned()),
        None => typed::line(&words.confirm_retire(&outline.name))?,
    };
    if typed.as_deref() != Some(outline.name.as_str()) {
        return Err(Failure::usage("the name was not typed", "nothing was ended"));
    }
    let opened: Result<Vec<Opened>, Failure> =
        wanted.into_iter().map(|enrolment| open::at(args, &vault, outline.clone(), enrolment)).collect();
    let opened = opened?;
    block_on(async {
        let (mut over, mut failed) = (Vec::new(), None);
        for one in &opened {
            match one.wallet().retire().await {
                Ok(retired) => {
                    let (did, gateway) = (one.outline.did.clone(), one.enrolment.issuer.clone());
                    over.push(Over { did, gateway, at: retired.at });
                }
                Err(error) => failed = Some(error.into()),
            }
        }
        Ok((over, failed))
    })
}
