//! What a person may decide, and what a decision becomes. Pure: no clock, no network, no key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use miid_protocol::service::{Binding, ChallengeStatus};
use miid_protocol::{Timestamp, text};
use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::request::Request;

/// Shared by a tick that is there from the start, until the person has chosen once for a service. An address
/// that mail reaches is not among them.
const SHARED_AT_FIRST: &[&str] = &["name", "nickname"];

/// One claim that a service asks for, as it is offered to the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProposedClaim {
    /// Its name.
    pub name: String,
    /// What would be shared; `None` where the profile does not say.
    pub value: Option<String>,
    /// Whether it is ticked.
    pub share: bool,
}

/// What to offer for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// In the order in which the service asks.
    pub claims: Vec<ProposedClaim>,
    /// What the service wants to be allowed.
    pub scopes: Vec<String>,
    /// Whether the number on the page has to be typed.
    pub needs_number: bool,
    /// Whether this identity has signed in there before.
    pub known_service: bool,
    /// Since when the session of a step-up is there, where this wallet knows it.
    pub session_since: Option<Timestamp>,
}

/// Where the ticks of a proposal come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticks<'a> {
    /// A rule of the person's names these.
    Rule(&'a BTreeSet<String>),
    /// These were shared last time.
    LastTime(&'a BTreeSet<String>),
    /// There was no last time: the harmless part.
    First,
}

/// Proposes what is shared.
pub fn propose(request: &Request, profile: &Profile, ticks: Ticks<'_>, known_service: bool) -> Proposal {
    let says = request.says();
    let claims = says.claims.iter().map(|name| {
        let value = profile.value(name).map(str::to_owned);
        let wanted = match ticks {
            Ticks::Rule(shared) | Ticks::LastTime(shared) => shared.contains(name),
            Ticks::First => SHARED_AT_FIRST.contains(&name.as_str()),
        };
        ProposedClaim { name: name.clone(), share: wanted && value.is_some(), value }
    });
    Proposal {
        claims: claims.collect(),
        scopes: says.scopes.clone(),
        needs_number: says.binding == Binding::Addressed,
        known_service,
        session_since: None,
    }
}

/// Yes, as the person said it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The number that they typed.
    #[serde(default)]
    pub match_code: Option<String>,
    /// What they allow; `None` is all that was asked.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// Names of what they share.
    #[serde(default)]
    pub share: BTreeSet<String>,
    /// Values for this once, in place of the profile's; only of what is shared. The profile stays as it is.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

impl fmt::Debug for Approval {
    /// Without the number and the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approval")
            .field("scopes", &self.scopes)
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

/// Why a yes cannot be signed as it is. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// An addressed challenge is never approved without it.
    #[error("type the number that the page shows")]
    NumberMissing,
    /// It cannot be the number.
    #[error("the number on the page has two digits")]
    NotTwoDigits,
    /// A linked challenge has none.
    #[error("this request has no number")]
    NoNumberAsked,
    /// Nobody asked for that.
    #[error("{0} was not asked for")]
    NotAsked(String),
    /// It cannot be shared, since the profile does not have it.
    #[error("the profile has no {0}")]
    NotInProfile(String),
    /// A value for this once that cannot be shared.
    #[error("{0} has 1 to 1,024 characters on one line, none of them hidden")]
    BadValue(String),
}

/// A yes that can be signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// The number, two digits; addressed challenges only.
    pub match_code: Option<String>,
    /// Allowed: some of what was asked.
    pub scopes: Vec<String>,
    /// Shared: names and values.
    pub claims: BTreeMap<String, String>,
}

impl fmt::Debug for Granted {
    /// Without the number and the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.claims.keys().collect();
        f.debug_struct("Granted")
            .field("scopes", &self.scopes)
            .field("claims", &names)
            .finish_non_exhaustive()
    }
}

/// Turns a yes into what will be signed, or says what is missing.
pub fn grant(request: &Request, profile: &Profile, approval: &Approval) -> Result<Granted, PolicyError> {
    let says = request.says();
    let match_code = match (says.binding, approval.match_code.as_deref().map(str::trim)) {
        (Binding::Addressed, None | Some("")) => return Err(PolicyError::NumberMissing),
        (Binding::Addressed, Some(typed)) => Some(two_digits(typed).ok_or(PolicyError::NotTwoDigits)?),
        (Binding::Linked, None | Some("")) => None,
        (Binding::Linked, Some(_)) => return Err(PolicyError::NoNumberAsked),
    };
    let scopes = match &approval.scopes {
        None => says.scopes.clone(),
        Some(chosen) => {
            if let Some(strange) = chosen.iter().find(|scope| !says.scopes.contains(scope)) {
                return Err(PolicyError::NotAsked(strange.clone()));
            }
            says.scopes.iter().filter(|scope| chosen.contains(scope)).cloned().collect()
        }
    };
    if let Some(strange) = approval.values.keys().find(|name| !approval.share.contains(*name)) {
        // A value that is not shared is a slip somewhere: better said than lost.
        return Err(PolicyError::NotAsked(strange.clone()));
    }
    let mut claims = BTreeMap::new();
    for name in &approval.share {
        if !says.claims.contains(name) {
            return Err(PolicyError::NotAsked(name.clone()));
        }
        let value = match approval.values.get(name).map(|value| value.trim()) {
            Some(value) if value.is_empty() || !text::is_displayable(value, text::MAX_CLAIM_VALUE) => {
                return Err(PolicyError::BadValue(name.clone()));
            }
            Some(value) => value,
            None => profile.value(name).ok_or_else(|| PolicyError::NotInProfile(name.clone()))?,
        };
        claims.insert(name.clone(), value.to_owned());
    }
    Ok(Granted { match_code, scopes, claims })
}

/// The number as people type it: `47`, `4 7`, or in the full-width digits of an East Asian keyboard.
pub fn two_digits(typed: &str) -> Option<String> {
    let digits: Option<String> = typed
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| match c {
            '0'..='9' => Some(c),
            '\u{ff10}'..='\u{ff19}' => char::from_digit(u32::from(c) - 0xff10, 10),
            _ => None,
        })
        .collect();
    digits.filter(|digits| digits.len() == 2)
}

/// What a decision wanted to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Approve,
    Deny,
    Cancel,
}

/// What the list says about a decision whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was done (perhaps by the same person on another device, which comes to the same).
    Done,
    /// It did not arrive: send the same statement again, under a fresh proof.
    NotArrived,
    /// The request is over; the list does not say how.
    Over,
}

/// Section 5: "own decision found there after a lost answer means success". `listed` is the state in which
/// the challenge stands in the list, `None` where it is not there.
pub(crate) fn fate(wanted: Wanted, listed: Option<ChallengeStatus>) -> Fate {
    use ChallengeStatus::{Approved, Pending};
    match (wanted, listed) {
        (Wanted::Approve, Some(Approved)) | (Wanted::Cancel, Some(Pending)) => Fate::Done,
        (Wanted::Approve | Wanted::Deny, Some(Pending)) | (Wanted::Cancel, Some(Approved)) => {
            Fate::NotArrived
        }
        // What is over cannot be approved by anybody, which is all that a denial wanted.
        (Wanted::Deny, None) => Fate::Done,
        _ => Fate::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{id, request, sample};

    fn profile() -> Profile {
        let mut profile = Profile::default();
        profile.set("name", "Alice Kim").expect("set");
        profile.set("email", "alice@example.com").expect("set");
        profile
    }

    fn yes(number: &str, share: &[&str]) -> Approval {
        let share = share.iter().map(|name| (*name).to_owned()).collect();
        Approval { match_code: Some(number.into()), share, ..Approval::default() }
    }

    #[test]
    fn the_first_proposal_is_cautious_and_the_next_is_what_was_chosen() {
        let ticks = |ticks: Ticks<'_>| {
            let claims = propose(&request(1), &profile(), ticks, false).claims;
            claims.into_iter().map(|claim| (claim.name, claim.share)).collect::<Vec<_>>()
        };
        let expected = |name, email| {
            vec![("name".to_owned(), name), ("email".to_owned(), email), ("age".to_owned(), false)]
        };
        assert_eq!(ticks(Ticks::First), expected(true, false));
        let shared = ["email".to_owned(), "age".to_owned()].into();
        assert_eq!(ticks(Ticks::LastTime(&shared)), expected(false, true));
        assert_eq!(ticks(Ticks::Rule(&shared)), expected(false, true));
        assert_eq!(ticks(Ticks::LastTime(&BTreeSet::new())), expected(false, false));
        assert_eq!(propose(&request(1), &profile(), Ticks::First, false).claims[2].value, None);
    }

    #[test]
    fn only_what_was_asked_and_ticked_is_granted() {
        let granted = grant(&request(1), &profile(), &yes(" 4 7 ", &["name"])).expect("granted");
        assert_eq!(granted.match_code.as_deref(), Some("47"));
        assert_eq!(granted.scopes, ["profile", "email"]);
        assert_eq!(granted.claims, BTreeMap::from([("name".to_owned(), "Alice Kim".to_owned())]));
        let refused = |approval: &Approval| grant(&request(1), &profile(), approval).expect_err("refused");
        assert_eq!(refused(&yes("47", &["nickname"])), PolicyError::NotAsked("nickname".into()));
        assert_eq!(refused(&yes("47", &["age"])), PolicyError::NotInProfile("age".into()));
        let scopes = Some(vec!["admin".to_owned()]);
        assert_eq!(refused(&Approval { scopes, ..yes("47", &[]) }), PolicyError::NotAsked("admin".into()));
        let scopes = Some(vec!["email".to_owned()]);
        let granted = grant(&request(1), &profile(), &Approval { scopes, ..yes("47", &[]) });
        assert_eq!(granted.expect("granted").scopes, ["email"]);
    }

    #[test]
    fn a_value_for_this_once_is_shared_and_checked_and_the_profile_stays() {
        let profile = profile();
        let with = |name: &str, value: &str, share: &[&str]| {
            let values = [(name.to_owned(), value.to_owned())].into();
            grant(&request(1), &profile, &Approval { values, ..yes("47", share) })
        };
        let granted = with("name", " Alice K. ", &["name", "email"]).expect("granted");
        assert_eq!(granted.claims["name"], "Alice K.");
        assert_eq!(granted.claims["email"], "alice@example.com");
        // Also for what the profile does not have.
        assert_eq!(with("age", "38", &["age"]).expect("granted").claims["age"], "38");
        assert_eq!(profile.value("name"), Some("Alice Kim"));
        for bad in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(1025)] {
            assert_eq!(with("name", bad, &["name"]), Err(PolicyError::BadValue("name".into())), "{bad:?}");
        }
        assert_eq!(with("name", "x", &["email"]), Err(PolicyError::NotAsked("name".into())));
        assert_eq!(with("nickname", "x", &["nickname"]), Err(PolicyError::NotAsked("nickname".into())));
        let debug = format!(
            "{:?} {granted:?}",
            Approval { values: [("name".into(), "Alice K.".into())].into(), ..yes("47", &["name"]) }
        );
        assert!(!debug.contains("Alice") && !debug.contains("47"), "{debug}");
    }

    #[test]
    fn an_addressed_request_is_never_approved_without_its_number() {
        for (typed, error) in [
            (None, PolicyError::NumberMissing),
            (Some(""), PolicyError::NumberMissing),
            (Some("4"), PolicyError::NotTwoDigits),
            (Some("477"), PolicyError::NotTwoDigits),
            (Some("4x"), PolicyError::NotTwoDigits),
            (Some("٤٧"), PolicyError::NotTwoDigits),
        ] {
            let approval = Approval { match_code: typed.map(str::to_owned), ..Approval::default() };
            assert_eq!(grant(&request(1), &profile(), &approval), Err(error));
        }
        assert_eq!(two_digits("４７").as_deref(), Some("47"));
        assert_eq!(two_digits("07").as_deref(), Some("07"));
    }

    #[test]
    fn a_linked_request_has_no_number() {
        let mut says = sample(1);
        says.binding = Binding::Linked;
        let request = Request::read(id(1), &says.to_text()).expect("showable");
        assert!(!propose(&request, &profile(), Ticks::First, false).needs_number);
        assert_eq!(grant(&request, &profile(), &yes("47", &[])), Err(PolicyError::NoNumberAsked));
        assert!(grant(&request, &profile(), &Approval::default()).is_ok());
    }

    #[test]
    fn a_lost_answer_is_found_in_the_list() {
        use ChallengeStatus::{Approved, Pending};
        assert_eq!(fate(Wanted::Approve, Some(Approved)), Fate::Done);
        assert_eq!(fate(Wanted::Approve, Some(Pending)), Fate::NotArrived);
        assert_eq!(fate(Wanted::Approve, None), Fate::Over);
        assert_eq!(fate(Wanted::Deny, Some(Pending)), Fate::NotArrived);
        assert_eq!(fate(Wanted::Deny, None), Fate::Done);
        assert_eq!(fate(Wanted::Deny, Some(Approved)), Fate::Over);
        assert_eq!(fate(Wanted::Cancel, Some(Pending)), Fate::Done);
        assert_eq!(fate(Wanted::Cancel, Some(Approved)), Fate::NotArrived);
        assert_eq!(fate(Wanted::Cancel, None), Fate::Over);
    }
}
