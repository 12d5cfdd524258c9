//! What is said about rules and mutes. In English alone.

use miid_protocol::Timestamp;

use super::Words;
use crate::rules::Kind;

impl Words {
    pub(crate) fn no_rules(self) -> &'static str {
        "No rules: every request asks you. A rule for a service: miid-wallet rules add --help"
    }

    pub(crate) fn rule_row(self, kind: Kind, names: &[&str], until: &str, holds: bool, used: u64) -> String {
        let does = match kind {
            Kind::OneClick => "approves its links without asking",
            Kind::Prefill => "fills in what is shared",
        };
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let until = if holds { format!("until {until}") } else { format!("not in force (until {until})") };
        format!("{does}: {names} · {until} · used {used} times")
    }

    pub(crate) fn rule_made(self, service: &str, until: &str) -> String {
        format!("There is a rule for {service} until {until}.")
    }

    pub(crate) fn rule_waits(self) -> &'static str {
        "It counts once you have signed in there; until then you are asked."
    }

    pub(crate) fn rule_removed(self, service: &str) -> String {
        format!("No rule for {service} any more.")
    }

    pub(crate) fn no_rule_for(self, service: &str) -> String {
        format!("there is no rule for {service}")
    }

    pub(crate) fn no_mutes(self) -> &'static str {
        "Nobody is muted."
    }

    pub(crate) fn muted(self, service: &str, until: &str) -> String {
        format!("{service} is muted until {until}; its requests still stand in the list.")
    }

    pub(crate) fn heard_again(self, service: &str) -> String {
        format!("{service} is heard again.")
    }

    pub(crate) fn not_muted(self, service: &str) -> String {
        format!("{service} is not muted")
    }

    pub(crate) fn until(self, moment: &str) -> String {
        format!("until {moment}")
    }

    /// A day, where the hour does not matter.
    pub(crate) fn day(self, at: Timestamp) -> String {
        let text = at.to_string();
        text.get(..10).unwrap_or(&text).to_owned()
    }

    /// A minute.
    pub(crate) fn moment(self, at: Timestamp) -> String {
        let text = at.to_string();
        format!("{} UTC", text.get(..16).unwrap_or(&text).replace('T', " "))
    }
}
