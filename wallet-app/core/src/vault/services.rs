//! What one identity keeps about services: what it shared last, where it has signed in, its rules, and whom it
//! does not want to hear. All of it is sealed: a rule that somebody could write into a file from outside would
//! sign by itself.

use std::collections::{BTreeMap, BTreeSet};

use miid_protocol::{ClientId, Issuer, Timestamp};
use serde::{Deserialize, Serialize};

use crate::rules::{Mute, Rule, RuleError};

/// Most services whose last choice one identity remembers; the one used longest ago goes first.
pub const MAX_CHOICES: usize = 500;
/// Most services that are known as signed in at before; the one longest ago goes first, and asks again.
pub const MAX_KNOWN: usize = 500;
/// Most rules of one identity.
pub const MAX_RULES: usize = 200;
/// Most services that one identity has silenced.
pub const MAX_MUTES: usize = 200;

/// What was shared with a service last time: the proposal for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Names of the claims.
    pub shared: BTreeSet<String>,
    /// When.
    pub at: Timestamp,
}

/// By service, each under its gateway: two gateways may know two services by one `client_id`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Services {
    choices: BTreeMap<String, Choice>,
    /// When a session was last made there.
    signed_in: BTreeMap<String, Timestamp>,
    rules: BTreeMap<String, Rule>,
    mutes: BTreeMap<String, Mute>,
}

impl Services {
    /// What was shared with this service last time.
    pub fn choice(&self, issuer: &Issuer, service: &ClientId) -> Option<&Choice> {
        self.choices.get(&key(issuer, service))
    }

    /// Remembers what was shared.
    pub fn remember(&mut self, issuer: &Issuer, service: &ClientId, choice: Choice) {
        self.choices.insert(key(issuer, service), choice);
        bound(&mut self.choices, MAX_CHOICES, |choice| choice.at);
    }

    /// Whether a session was ever made there, as far as is remembered.
    pub fn has_signed_in(&self, issuer: &Issuer, service: &ClientId) -> bool {
        self.signed_in.contains_key(&key(issuer, service))
    }

    /// Remembers that a session was made there.
    pub fn signed_in(&mut self, issuer: &Issuer, service: &ClientId, at: Timestamp) {
        self.signed_in.insert(key(issuer, service), at);
        bound(&mut self.signed_in, MAX_KNOWN, |at| *at);
    }

    /// The rule for a service.
    pub fn rule(&self, issuer: &Issuer, service: &ClientId) -> Option<&Rule> {
        self.rules.get(&key(issuer, service))
    }

    /// The rule for a service, to be counted.
    pub fn rule_mut(&mut self, issuer: &Issuer, service: &ClientId) -> Option<&mut Rule> {
        self.rules.get_mut(&key(issuer, service))
    }

    /// Every rule at a gateway.
    pub fn rules_at(&self, issuer: &Issuer) -> Vec<(ClientId, Rule)> {
        at(&self.rules, issuer)
    }

    /// Sets the rule for a service, in place of an earlier one.
    pub fn set_rule(&mut self, issuer: &Issuer, service: &ClientId, rule: Rule) -> Result<(), RuleError> {
        let key = key(issuer, service);
        if self.rules.len() >= MAX_RULES && !self.rules.contains_key(&key) {
            return Err(RuleError::TooMany);
        }
        self.rules.insert(key, rule);
        Ok(())
    }

    /// Takes the rule for a service away; says whether there was one.
    pub fn remove_rule(&mut self, issuer: &Issuer, service: &ClientId) -> bool {
        self.rules.remove(&key(issuer, service)).is_some()
    }

    /// Who is silenced at a gateway; those whose time is over are left out.
    pub fn mutes_at(&self, issuer: &Issuer, now: Timestamp) -> Vec<(ClientId, Mute)> {
        at(&self.mutes, issuer).into_iter().filter(|(_, mute)| mute.holds(now)).collect()
    }

    /// Silences a service.
    pub fn mute(
        &mut self,
        issuer: &Issuer,
        service: &ClientId,
        mute: Mute,
        now: Timestamp,
    ) -> Result<(), RuleError> {
        self.mutes.retain(|_, mute| mute.holds(now));
        let key = key(issuer, service);
        if self.mutes.len() >= MAX_MUTES && !self.mutes.contains_key(&key) {
            return Err(RuleError::TooMany);
        }
        self.mutes.insert(key, mute);
        Ok(())
    }

    /// Hears a service again; says whether it was silenced.
    pub fn unmute(&mut self, issuer: &Issuer, service: &ClientId) -> bool {
        self.mutes.remove(&key(issuer, service)).is_some()
    }

    pub(super) fn forget_gateway(&mut self, issuer: &Issuer) {
        fn forget<T>(map: &mut BTreeMap<String, T>, prefix: &str) {
            map.retain(|key, _| !key.starts_with(prefix));
        }
        let prefix = format!("{issuer} ");
        forget(&mut self.choices, &prefix);
        forget(&mut self.signed_in, &prefix);
        forget(&mut self.rules, &prefix);
        forget(&mut self.mutes, &prefix);
    }
}

/// A space is in no issuer and in no `client_id`.
fn key(issuer: &Issuer, service: &ClientId) -> String {
    format!("{issuer} {service}")
}

fn at<T: Clone>(map: &BTreeMap<String, T>, issuer: &Issuer) -> Vec<(ClientId, T)> {
    let own = map.iter().filter_map(|(key, value)| {
        let (gateway, service) = key.split_once(' ')?;
        (gateway == issuer.as_str()).then_some((ClientId::parse(service).ok()?, value.clone()))
    });
    own.collect()
}

fn bound<T>(map: &mut BTreeMap<String, T>, most: usize, at: impl Fn(&T) -> Timestamp) {
    while map.len() > most {
        let oldest = map.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone());
        match oldest {
            Some(key) => map.remove(&key),
            None => break,
        };
    }
}
