//! One wallet for each pair of identity and gateway: who works is who lives in the vault. What they tell
//! becomes notices and calls for the person.

use std::collections::HashMap;
use std::sync::Arc;

use miid_protocol::service::{Binding, Risk};
use miid_protocol::{ChallengeId, Did, Issuer, Timestamp};

use super::door::{Written, written_at};
use super::fault::Fault;
use super::state::{Enrolled, Person, Running, State, wallet_id};
use super::view::Notice;
use super::{Call, Inner, blocking};
use crate::client::GatewayClient;
use crate::identity::Identity;
use crate::memory::VaultMemory;
use crate::update::{Updates, WalletUpdate};
use crate::vault::{Vault, VaultError};
use crate::wallet::Wallet;

/// How many requests' services a watcher remembers, to say whose came to an end.
const REMEMBERED: usize = 128;

impl Inner {
    /// Reads who lives in the vault, and has one wallet at work for each pair: new ones start, all at once, and
    /// those whose pair is gone stop.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<(), Fault> {
        let _turn = self.reading.lock().await;
        let (vault, turn) = {
            let state = self.state();
            (state.vault.clone().ok_or(Fault::Locked)?, state.turn)
        };
        let known: Vec<_> = self.state().crew.iter().map(|running| running.id.clone()).collect();
        let (path, now) = (self.dir.join("vault"), self.now());
        let read = blocking(move || {
            // Before the reading: a change in between is read once more, and not missed.
            let read_at = written_at(&path);
            let people = people(&vault, now)?;
            let fresh = fresh(&vault, &people, &known)?;
            Ok::<_, VaultError>((read_at, people, fresh))
        });
        let (read_at, people, fresh) = read.await?.map_err(|error| self.learn_from(error))?;
        let mut begun = Vec::new();
        for (name, identity, issuer) in fresh {
            match self.begin(&name, identity, issuer) {
                Ok(running) => begun.push(running),
                Err(error) => tracing::error!(%error, "a wallet could not be set up"),
            }
        }
        let gone = self.change(|state| {
            if state.turn != turn {
                // Locked meanwhile: these never begin.
                for running in &begun {
                    running.wallet.lock();
                }
                return Err(Fault::Locked);
            }
            Ok(self.settle(state, people, read_at, begun))
        })?;
        for wallet in gone {
            tokio::spawn(wallet.stop());
        }
        Ok(())
    }

    /// Everybody who lives here is at work, and nobody else.
    fn settle(
        self: &Arc<Self>,
        state: &mut State,
        people: Vec<Person>,
        read_at: Option<Written>,
        begun: Vec<Running>,
    ) -> Vec<Wallet> {
        state.outline = people
            .iter()
            .map(|person| crate::vault::Outline { name: person.name.clone(), did: person.did.clone() })
            .collect();
        state.people = people;
        state.read_at = read_at;
        for running in begun {
            if state.running(&running.id).is_none() {
                let updates = running.wallet.subscribe();
                self.listen(&running, updates);
                running.wallet.follow();
                state.crew.push(running);
            }
        }
        let (stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut state.crew)
            .into_iter()
            .partition(|running| state.enrolled(&running.did, &running.issuer).is_some());
        state.crew = stay;
        for running in &mut state.crew {
            if let Some(person) = state.people.iter().find(|person| person.did == running.did) {
                running.name.clone_from(&person.name);
            }
        }
        gone.into_iter().map(|running| running.wallet).collect()
    }

    fn begin(&self, name: &str, identity: Arc<Identity>, issuer: Issuer) -> Result<Running, Fault> {
        let vault = self.state().vault.clone().ok_or(Fault::Locked)?;
        let did = identity.did().clone();
        let (clock, entropy) = (self.options.clock.clone(), self.options.entropy.clone());
        let client = GatewayClient::with(identity, issuer.clone(), issuer.clone(), clock, entropy)
            .map_err(crate::wallet::DecisionError::from)?;
        let wallet = Wallet::new(client, Arc::new(VaultMemory::new(vault, name)), self.options.stream);
        Ok(Running { id: wallet_id(&did, &issuer), name: name.to_owned(), did, issuer, wallet })
    }

    /// Watches one wallet until it is gone. The watcher does not hold the wallet: it would live for ever.
    fn listen(self: &Arc<Self>, running: &Running, updates: Updates) {
        let watcher = Watcher {
            id: running.id.clone(),
            did: running.did.clone(),
            issuer: running.issuer.clone(),
            asked: HashMap::new(),
        };
        self.spawn(|inner| watcher.watch(inner, updates));
    }

    /// Reads every gateway's lists anew, side by side; the first that could not be read is told.
    pub(super) async fn read_lists(&self) -> Result<(), Fault> {
        let crew = self.state().crew.clone();
        let reads: Vec<_> = crew
            .into_iter()
            .map(|running| tokio::spawn(async move { running.wallet.refresh().await }))
            .collect();
        let mut failed = None;
        for read in reads {
            let read = read.await.map_err(|_| Fault::Internal)?;
            failed = failed.or(read.err());
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// What is said of a request when it is over.
struct Asked {
    service: String,
    is_step_up: bool,
}

/// One wallet's watcher.
struct Watcher {
    id: String,
    did: Did,
    issuer: Issuer,
    asked: HashMap<ChallengeId, Asked>,
}

impl Watcher {
    async fn watch(mut self, inner: Arc<Inner>, mut updates: Updates) {
        while let Some(update) = updates.next().await {
            self.heed(&inner, &update);
            inner.redraw();
            let changes_the_vault =
                matches!(update, WalletUpdate::OneClick { .. } | WalletUpdate::Stopped { .. });
            if changes_the_vault && let Err(error) = inner.reload().await {
                tracing::info!(%error, "the vault could not be read anew");
            }
        }
    }

    fn heed(&mut self, inner: &Inner, update: &WalletUpdate) {
        match update {
            WalletUpdate::ChallengeCreated { challenge_id, request } => {
                let service = &request.service;
                self.remember(*challenge_id, service.name.clone(), request.risk == Risk::StepUp);
                let now = inner.now();
                let mut state = inner.state();
                let is_ours = state.running(&self.id).is_some();
                // A link that was claimed here: who claimed it knows whether there is something to ask (`links`).
                let is_called_elsewhere = request.binding == Binding::Linked;
                if is_ours
                    && !is_called_elsewhere
                    && !state.is_muted(&self.did, &self.issuer, &service.id, now)
                {
                    state.call(Call::of(self.id.clone(), request));
                }
            }
            WalletUpdate::Unseen { .. } => {
                let now = inner.now();
                inner.state().call_unseen(now);
            }
            WalletUpdate::Denied { challenge_id, reason } => {
                self.say_over(inner, *challenge_id, "denied", reason.as_str());
            }
            WalletUpdate::Expired { challenge_id, reason } => {
                self.say_over(inner, *challenge_id, "expired", reason.as_str());
            }
            WalletUpdate::Active { challenge_id, .. } => {
                let asked = self.asked.remove(challenge_id);
                self.tell(inner, "signed_in", asked.map(|asked| asked.service), None);
            }
            WalletUpdate::Confirmed { challenge_id, .. } => {
                let asked = self.asked.remove(challenge_id);
                self.tell(inner, "confirmed", asked.map(|asked| asked.service), None);
            }
            WalletUpdate::OneClick { service, .. } => {
                self.tell(inner, "one_click", Some(service.clone()), None)
            }
            WalletUpdate::SessionRevoked { service, reason, .. } => {
                self.tell(inner, "session_ended", service.clone(), Some(reason.as_str()));
            }
            WalletUpdate::NotKept { what } => self.tell(inner, "not_kept", None, Some(what)),
            WalletUpdate::ChallengeRefused { .. } => self.tell(inner, "unshowable", None, None),
            _ => {}
        }
    }

    /// Says that nothing came of a request: of one to sign in by how it ended, of a step-up that it is not confirmed.
    fn say_over(&mut self, inner: &Inner, id: ChallengeId, kind: &str, reason: &str) {
        let asked = self.asked.remove(&id);
        let is_step_up = asked.as_ref().is_some_and(|asked| asked.is_step_up);
        let service = asked.map(|asked| asked.service);
        match reason {
            _ if is_step_up => self.tell(inner, "not_confirmed", service, Some(reason)),
            // Somebody else's doing has a kind of its own.
            "other_browser" => self.tell(inner, reason, service, None),
            _ => self.tell(inner, kind, service, Some(reason)),
        }
    }

    /// Says something, unless it was locked meanwhile: then nobody's name is said any more.
    fn tell(&self, inner: &Inner, kind: &str, service: Option<String>, reason: Option<&str>) {
        let identity = inner.state().running(&self.id).map(|running| running.name.clone());
        if identity.is_some() {
            let (kind, reason) = (kind.to_owned(), reason.map(str::to_owned));
            inner.notice(Notice { kind, service, identity, reason });
        }
    }

    fn remember(&mut self, id: ChallengeId, service: String, is_step_up: bool) {
        if self.asked.len() >= REMEMBERED {
            self.asked.clear();
        }
        self.asked.insert(id, Asked { service, is_step_up });
    }
}

/// Everybody in the vault.
fn people(vault: &Vault, now: Timestamp) -> Result<Vec<Person>, VaultError> {
    let outlines = vault.identities()?;
    let person = |outline: crate::vault::Outline| {
        vault.look(&outline.name, |record| Person {
            name: outline.name.clone(),
            did: outline.did.clone(),
            retired_at: record.retired_at(),
            has_sheet: record.sheet_kept_at.is_some(),
            gateways: record
                .gateways
                .iter()
                .map(|enrolment| Enrolled {
                    enrolment: enrolment.clone(),
                    rules: record.services.rules_at(&enrolment.issuer),
                    mutes: record.services.mutes_at(&enrolment.issuer, now),
                })
                .collect(),
        })
    };
    outlines.into_iter().map(person).collect()
}

/// Pairs that have no wallet yet, with what they sign with.
fn fresh(
    vault: &Vault,
    people: &[Person],
    known: &[String],
) -> Result<Vec<(String, Arc<Identity>, Issuer)>, VaultError> {
    let mut fresh = Vec::new();
    for person in people {
        for Enrolled { enrolment, .. } in &person.gateways {
            let is_known = known.contains(&wallet_id(&person.did, &enrolment.issuer));
            if !is_known && enrolment.retired_at.is_none() {
                let identity = Arc::new(vault.identity(&person.name)?);
                fresh.push((person.name.clone(), identity, enrolment.issuer.clone()));
            }
        }
    }
    Ok(fresh)
}
