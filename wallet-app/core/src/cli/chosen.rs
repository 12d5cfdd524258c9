//! `rules`, `mute`, `unmute`: what was chosen at services, straight in the vault. No gateway is asked.

use miid_protocol::{ClientId, Issuer};
use serde_json::json;

use super::args::{Args, RuleArgs, RuleKind, RulesCommand};
use super::failure::Failure;
use super::open;
use super::run::print_json;
use super::words::Words;
use crate::clock::{Clock as _, SystemClock};
use crate::request::plain;
use crate::rules::{Kind, Mute, NewRule, RuleError};
use crate::vault::{Services, Vault, VaultError};

/// The services of one identity at one gateway.
struct Chosen {
    vault: Vault,
    identity: String,
    issuer: Issuer,
}

impl Chosen {
    fn open(args: &Args, words: Words) -> Result<Self, Failure> {
        let vault = open::vault(args, words)?;
        let (outline, enrolment) = open::choose_both(args, &vault)?;
        Ok(Self { vault, identity: outline.name, issuer: enrolment.issuer })
    }

    fn look<T>(&self, look: impl FnOnce(&Services, &Issuer) -> T) -> Result<T, VaultError> {
        self.vault.look(&self.identity, |record| look(&record.services, &self.issuer))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Services, &Issuer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.vault.update(&self.identity, |record| change(&mut record.services, &self.issuer))
    }
}

pub(crate) fn rules(args: &Args, command: Option<&RulesCommand>, words: Words) -> Result<(), Failure> {
    let chosen = Chosen::open(args, words)?;
    match command {
        None | Some(RulesCommand::List { json: false }) => list(&chosen, words),
        Some(RulesCommand::List { json: true }) => {
            let rules = chosen.look(|services, issuer| services.rules_at(issuer))?;
            let rules: Vec<_> =
                rules.iter().map(|(service, rule)| json!({"service_id": service, "rule": rule})).collect();
            print_json(&rules)
        }
        Some(RulesCommand::Add(rule)) => add(&chosen, rule, words),
        Some(RulesCommand::Remove { service }) => {
            if !chosen.change(|services, issuer| Ok(services.remove_rule(issuer, service)))? {
                return Err(no_such(words.no_rule_for(service.as_str())));
            }
            println!("{}", words.rule_removed(service.as_str()));
            Ok(())
        }
    }
}

fn list(chosen: &Chosen, words: Words) -> Result<(), Failure> {
    let now = SystemClock.now();
    let rules = chosen.look(|services, issuer| services.rules_at(issuer))?;
    if rules.is_empty() {
        println!("{}", words.no_rules());
    }
    for (service, rule) in rules {
        println!("{} ({service})", plain(&rule.service_name));
        let until = words.day(rule.until);
        let names: Vec<&str> = rule.scopes.iter().chain(&rule.claims).map(String::as_str).collect();
        println!("  {}", words.rule_row(rule.kind, &names, &until, rule.holds(now), rule.used));
    }
    Ok(())
}

fn add(chosen: &Chosen, rule: &RuleArgs, words: Words) -> Result<(), Failure> {
    let kind = match rule.kind {
        RuleKind::OneClick => Kind::OneClick,
        RuleKind::Prefill => Kind::Prefill,
    };
    let new = NewRule {
        kind,
        service_name: rule.name.clone().unwrap_or_else(|| rule.service.to_string()),
        scopes: rule.scopes.iter().cloned().collect(),
        claims: rule.claims.iter().cloned().collect(),
        withheld: rule.withheld.iter().cloned().collect(),
        days: rule.days,
    };
    let made = new.made(SystemClock.now())?;
    let until = words.day(made.until);
    let known = chosen.change(|services, issuer| {
        services.set_rule(issuer, &rule.service, made)?;
        Ok(services.has_signed_in(issuer, &rule.service))
    })?;
    println!("{}", words.rule_made(rule.service.as_str(), &until));
    if kind == Kind::OneClick && !known {
        println!("  {}", words.rule_waits());
    }
    Ok(())
}

pub(crate) fn mute(
    args: &Args,
    service: Option<&ClientId>,
    minutes: u32,
    json: bool,
    words: Words,
) -> Result<(), Failure> {
    let chosen = Chosen::open(args, words)?;
    let now = SystemClock.now();
    let Some(service) = service else {
        let mutes = chosen.look(|services, issuer| services.mutes_at(issuer, now))?;
        if json {
            let list: Vec<_> =
                mutes.iter().map(|(service, mute)| json!({"service_id": service, "mute": mute})).collect();
            return print_json(&list);
        }
        if mutes.is_empty() {
            println!("{}", words.no_mutes());
        }
        for (service, mute) in mutes {
            println!("{} ({service})  {}", plain(&mute.service_name), words.until(&words.moment(mute.until)));
        }
        return Ok(());
    };
    let until = chosen.change(|services, issuer| {
        let mute = Mute::made(service.as_str(), minutes, now)?;
        let until = mute.until;
        services.mute(issuer, service, mute, now)?;
        Ok(until)
    })?;
    println!("{}", words.muted(service.as_str(), &words.moment(until)));
    Ok(())
}

pub(crate) fn unmute(args: &Args, service: &ClientId, words: Words) -> Result<(), Failure> {
    let chosen = Chosen::open(args, words)?;
    if !chosen.change(|services, issuer| Ok(services.unmute(issuer, service)))? {
        return Err(no_such(words.not_muted(service.as_str())));
    }
    println!("{}", words.heard_again(service.as_str()));
    Ok(())
}

fn no_such(line: String) -> Failure {
    Failure::usage(line, "see them all: miid-wallet rules, miid-wallet mute")
}

impl From<RuleError> for Failure {
    fn from(error: RuleError) -> Self {
        Self::usage(error.to_string(), "nothing was changed")
    }
}
