//! What a person allows in advance, per service and off at first. Pure.
//!
//! A *one-click* rule answers a **linked** request without asking. That is safe where nothing else is: the
//! response code goes to this person's own browser, so whoever else began the request gains nothing by the yes.
//! An **addressed** request is never answered so: its number is what ties it to a page, and it is typed by a
//! person, always. Nor is a step-up, which asks whether the person is there.
//!
//! For everything else a rule fills in what is shared, no more.

use std::collections::BTreeSet;

use miid_protocol::service::{Binding, Risk};
use miid_protocol::{Lifetime, Timestamp, text};
use serde::{Deserialize, Serialize};

use crate::policy::Approval;
use crate::profile::Profile;
use crate::request::Request;

/// Longest time for which a rule is made, in days.
pub const MAX_RULE_DAYS: u32 = 365;
/// Longest time for which a service is silenced, in minutes: thirty days.
pub const MAX_MUTE_MINUTES: u32 = 30 * 24 * 60;
/// Longest name of a service that is kept with a rule.
const MAX_SERVICE_NAME: usize = 140;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Answers linked requests without asking.
    OneClick,
    /// Fills in what is shared.
    Prefill,
}

/// A rule for one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it does.
    pub kind: Kind,
    /// What the service was called when it was made.
    pub service_name: String,
    /// What may be allowed.
    pub scopes: BTreeSet<String>,
    /// What may be shared.
    pub claims: BTreeSet<String>,
    /// What may be asked for and stays unshared: the person saw it and left it out when the rule was made.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub withheld: BTreeSet<String>,
    /// Since when.
    pub made_at: Timestamp,
    /// Not at this moment any more.
    pub until: Timestamp,
    /// How often it answered.
    #[serde(default)]
    pub used: u64,
    /// When it did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// A rule, to be made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NewRule {
    /// What it does.
    pub kind: Kind,
    /// What the service is called.
    pub service_name: String,
    /// What may be allowed.
    pub scopes: BTreeSet<String>,
    /// What may be shared.
    pub claims: BTreeSet<String>,
    /// What may be asked for and stays unshared.
    #[serde(default)]
    pub withheld: BTreeSet<String>,
    /// For how long from now.
    pub days: u32,
}

/// Why a rule is not kept. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// For ever, or for nothing.
    #[error("a rule is made for 1 to 365 days")]
    Days,
    /// The same about silence.
    #[error("a service is silenced for 1 minute to 30 days")]
    Minutes,
    /// Not what a request can ask for.
    #[error("a rule names what a request can ask for, at most 20 of each")]
    Names,
    /// A name that hides something, or none.
    #[error("the service's name cannot be shown")]
    ServiceName,
    /// Enough is enough.
    #[error("there are 200 already; take one away first")]
    TooMany,
}

impl NewRule {
    /// From now on.
    pub fn made(self, now: Timestamp) -> Result<Rule, RuleError> {
        if !(1..=MAX_RULE_DAYS).contains(&self.days) {
            return Err(RuleError::Days);
        }
        let proper = |names: &BTreeSet<String>, is_name: fn(&str) -> bool| {
            names.len() <= text::MAX_NAMES && names.iter().all(|name| is_name(name))
        };
        let claims_are_proper =
            [&self.claims, &self.withheld].into_iter().all(|names| proper(names, text::is_claim_name));
        if !proper(&self.scopes, text::is_scope) || !claims_are_proper {
            return Err(RuleError::Names);
        }
        check_service_name(&self.service_name)?;
        Ok(Rule {
            kind: self.kind,
            service_name: self.service_name,
            scopes: self.scopes,
            withheld: self.withheld.difference(&self.claims).cloned().collect(),
            claims: self.claims,
            made_at: now,
            until: now.plus(Lifetime::from_secs(i64::from(self.days) * 86_400)),
            used: 0,
            last_used_at: None,
        })
    }
}

impl Rule {
    /// Whether it is in force: not before it was made, should the clock have been set back, and not after its end.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.made_at <= now && now < self.until
    }

    /// Whether it is one that answers by itself, and in force.
    pub fn acts_alone(&self, now: Timestamp) -> bool {
        self.kind == Kind::OneClick && self.holds(now)
    }
}

/// A service that is not to be heard for a while: its requests raise nothing and come to no front. They still
/// stand in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// What the service was called.
    pub service_name: String,
    /// Not at this moment any more.
    pub until: Timestamp,
}

impl Mute {
    /// From now on.
    pub fn made(service_name: &str, minutes: u32, now: Timestamp) -> Result<Self, RuleError> {
        if !(1..=MAX_MUTE_MINUTES).contains(&minutes) {
            return Err(RuleError::Minutes);
        }
        check_service_name(service_name)?;
        let until = now.plus(Lifetime::from_secs(i64::from(minutes) * 60));
        Ok(Self { service_name: service_name.to_owned(), until })
    }

    /// Whether it is in force.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

fn check_service_name(name: &str) -> Result<(), RuleError> {
    let is_good = !name.trim().is_empty() && text::is_displayable(name, MAX_SERVICE_NAME);
    if is_good { Ok(()) } else { Err(RuleError::ServiceName) }
}

/// What is known where a request is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The rule for its service, should there be one.
    pub rule: Option<&'a Rule>,
    /// Whether this identity has signed in at its service before.
    pub signed_in_before: bool,
    /// What the person says about themselves; a rule shares nothing else.
    pub profile: &'a Profile,
    /// This moment.
    pub now: Timestamp,
}

/// What the rules say about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Ask the person, as always.
    Ask,
    /// Ask the person, with these claims ticked: those that are asked for, allowed and in the profile.
    Prefill(BTreeSet<String>),
    /// Yes, without asking.
    ApproveAlone(Approval),
}

/// What the rules say about a request. Where anything is missing the answer is to ask.
pub fn decide(request: &Request, known: Circumstances<'_>) -> Verdict {
    let Some(rule) = known.rule.filter(|rule| rule.holds(known.now)) else { return Verdict::Ask };
    let says = request.says();
    if says.expires_at <= known.now {
        return Verdict::Ask;
    }
    let has_value = |claim: &&String| known.profile.value(claim).is_some();
    let shared: BTreeSet<String> =
        says.claims.iter().filter(|claim| rule.claims.contains(*claim)).cloned().collect();
    let may_act = rule.kind == Kind::OneClick
        && says.binding == Binding::Linked
        && says.risk == Risk::Normal
        && known.signed_in_before
        && says.scopes.iter().all(|scope| rule.scopes.contains(scope))
        && says.claims.iter().all(|claim| shared.contains(claim) || rule.withheld.contains(claim))
        && shared.iter().all(|claim| has_value(&claim));
    if may_act {
        return Verdict::ApproveAlone(Approval { share: shared, ..Approval::default() });
    }
    Verdict::Prefill(shared.iter().filter(has_value).cloned().collect())
}

#[cfg(test)]
mod tests;
