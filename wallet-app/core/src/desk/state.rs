//! What a desk knows at one moment.

use std::sync::Arc;

use miid_protocol::{ClientId, Did, Issuer, Lifetime, Timestamp, jws};

use super::door::Written;
use super::fault::Told;
use super::inbox::Inbox;
use super::view::{Notice, Stage, View};
use super::{Attention, Call};
use crate::rules::{Mute, Rule};
use crate::settings::Settings;
use crate::vault::{Enrolment, Outline, SealedBy, Vault};
use crate::wallet::Wallet;

/// How often what comes while it is locked may call.
const UNSEEN_CALM: Lifetime = Lifetime::from_secs(60);

/// How many calls are kept until the next one is made: they only count as "more than one" by then.
const MAX_CALLS: usize = 64;

/// Everything behind the view.
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) fault: Option<Told>,
    pub(super) sealed_by: Option<SealedBy>,
    pub(super) keychain: bool,
    pub(super) tray: bool,
    pub(super) default_gateway: Issuer,
    pub(super) settings: Settings,
    /// Who lives here, as the file says it in the clear.
    pub(super) outline: Vec<Outline>,
    /// The vault, while open.
    pub(super) vault: Option<Arc<Vault>>,
    /// Who lives here, as the open vault says it.
    pub(super) people: Vec<Person>,
    /// One per identity and gateway, while open.
    pub(super) crew: Vec<Running>,
    /// Those of before it was locked: they hold their streams and count.
    pub(super) counting: Vec<Wallet>,
    pub(super) inbox: Inbox,
    /// What wants the person and was not said yet, newest last.
    pub(super) calls: Vec<Call>,
    /// Until when what comes while it is locked calls no more.
    pub(super) unseen_until: Option<Timestamp>,
    /// Something came meanwhile that has not called.
    pub(super) unseen_owed: bool,
    /// When the person last did something here.
    pub(super) touched: Timestamp,
    /// Goes up with every opening and locking: work that began before one is not finished after it.
    pub(super) turn: u64,
    /// When the vault's file was last changed, as far as we have read it.
    pub(super) read_at: Option<Written>,
    /// What is to be said of settings that could not be read.
    pub(super) of_settings: Option<Notice>,
}

/// An identity, as the open vault says it.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) did: Did,
    pub(super) gateways: Vec<Enrolled>,
    pub(super) retired_at: Option<Timestamp>,
    pub(super) has_sheet: bool,
}

/// An identity's place at one gateway.
#[derive(Debug, Clone)]
pub(super) struct Enrolled {
    pub(super) enrolment: Enrolment,
    pub(super) rules: Vec<(ClientId, Rule)>,
    pub(super) mutes: Vec<(ClientId, Mute)>,
}

/// A wallet at work.
#[derive(Clone)]
pub(super) struct Running {
    /// What the page calls it.
    pub(super) id: String,
    /// Whose.
    pub(super) name: String,
    pub(super) did: Did,
    pub(super) issuer: Issuer,
    pub(super) wallet: Wallet,
}

impl State {
    /// The wallet that the page calls so.
    pub(super) fn running(&self, id: &str) -> Option<&Running> {
        self.crew.iter().find(|running| running.id == id)
    }

    /// The identity of that name.
    pub(super) fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }

    /// An identity's place at a gateway.
    pub(super) fn enrolled(&self, did: &Did, issuer: &Issuer) -> Option<&Enrolled> {
        let person = self.people.iter().find(|person| person.did == *did)?;
        person.gateways.iter().find(|enrolled| enrolled.enrolment.issuer == *issuer)
    }

    /// Whether requests of this service stay quiet.
    pub(super) fn is_muted(&self, did: &Did, issuer: &Issuer, service: &ClientId, now: Timestamp) -> bool {
        self.enrolled(did, issuer).is_some_and(|enrolled| {
            enrolled.mutes.iter().any(|(muted, mute)| muted == service && mute.until > now)
        })
    }

    /// One more thing wants the person.
    pub(super) fn call(&mut self, call: Call) {
        if self.calls.contains(&call) {
            return;
        }
        if self.calls.len() >= MAX_CALLS {
            // What the person clicked is not pushed out by those who ask.
            let is_asked = |call: &Call| matches!(call, Call::Request { .. } | Call::Unseen);
            let oldest = self.calls.iter().position(is_asked).unwrap_or_default();
            self.calls.remove(oldest);
        }
        self.calls.push(call);
    }

    /// The one call for all that has come since the last, and that the view still shows: what was answered or
    /// went meanwhile wants nobody any more. A link that was just clicked outranks a request.
    pub(super) fn take_attention(&mut self, view: &View) -> Option<Attention> {
        let mut calls = std::mem::take(&mut self.calls);
        calls.retain(|call| call.is_shown_in(view));
        let count = calls.len();
        let newest = calls.pop()?;
        let clicked = calls.into_iter().rfind(|call| matches!(call, Call::Link { .. } | Call::Door));
        let call = match newest {
            Call::Request { .. } | Call::Unseen => clicked.unwrap_or(newest),
            Call::Link { .. } | Call::Door => newest,
        };
        Some(Attention { call, count })
    }

    /// Something came while it is locked. Whose it is cannot be known, so neither can it be muted: it calls once
    /// in a while, however much comes.
    pub(super) fn call_unseen(&mut self, now: Timestamp) {
        let is_calm = self.unseen_until.is_some_and(|until| now < until);
        self.unseen_owed = self.vault.is_none() && is_calm;
        if self.vault.is_none() && !is_calm {
            self.unseen_until = Some(now.plus(UNSEEN_CALM));
            self.call(Call::Unseen);
        }
    }

    /// What came too soon after another that called calls once the calm is over, where it waits until then. Says
    /// whether it does.
    pub(super) fn call_what_is_owed(&mut self, waits: bool, now: Timestamp) -> bool {
        self.unseen_owed &= waits && self.vault.is_none();
        let is_due = self.unseen_owed && self.unseen_until.is_none_or(|until| until <= now);
        if is_due {
            self.call_unseen(now);
        }
        is_due
    }

    /// All wallets, which are nobody's now.
    pub(super) fn dismiss(&mut self) -> Vec<Wallet> {
        let crew = std::mem::take(&mut self.crew).into_iter().map(|running| running.wallet);
        crew.chain(std::mem::take(&mut self.counting)).collect()
    }
}

/// What the page calls the pair of an identity and a gateway: short, the same after a restart, and nothing that
/// could be taken apart.
pub(super) fn wallet_id(did: &Did, issuer: &Issuer) -> String {
    jws::digest(format!("{did} {issuer}").as_bytes()).chars().take(16).collect()
}
