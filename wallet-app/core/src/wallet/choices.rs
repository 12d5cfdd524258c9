//! What the person chose at the services of this gateway: rules and mutes, and where they have signed in.

use miid_protocol::ClientId;
use miid_protocol::wallet::WalletSession;

use super::{DecisionError, Inner, Wallet};
use crate::rules::{Mute, NewRule, Rule};
use crate::update::WalletUpdate;
use crate::vault::Services;

impl Wallet {
    /// Every rule, by service.
    pub async fn rules(&self) -> Result<Vec<(ClientId, Rule)>, DecisionError> {
        let issuer = self.inner.client.issuer().clone();
        Ok(self.inner.remembering(move |memory| Ok(memory.services()?.rules_at(&issuer))).await?)
    }

    /// Makes a rule for a service, in place of an earlier one.
    pub async fn add_rule(&self, service: &ClientId, new: NewRule) -> Result<Rule, DecisionError> {
        let rule = new.made(self.now())?;
        let (issuer, service, kept) = (self.inner.client.issuer().clone(), service.clone(), rule.clone());
        self.choose(move |services| services.set_rule(&issuer, &service, kept)).await??;
        Ok(rule)
    }

    /// Takes the rule for a service away; says whether there was one.
    pub async fn remove_rule(&self, service: &ClientId) -> Result<bool, DecisionError> {
        let (issuer, service) = (self.inner.client.issuer().clone(), service.clone());
        self.choose(move |services| services.remove_rule(&issuer, &service)).await
    }

    /// Who is not heard for now.
    pub async fn mutes(&self) -> Result<Vec<(ClientId, Mute)>, DecisionError> {
        let (issuer, now) = (self.inner.client.issuer().clone(), self.now());
        Ok(self.inner.remembering(move |memory| Ok(memory.services()?.mutes_at(&issuer, now))).await?)
    }

    /// Does not hear a service for a while: its requests stand in the list, and come to no front.
    pub async fn mute(&self, service: &ClientId, name: &str, minutes: u32) -> Result<Mute, DecisionError> {
        let now = self.now();
        let mute = Mute::made(name, minutes, now)?;
        let (issuer, service, kept) = (self.inner.client.issuer().clone(), service.clone(), mute.clone());
        self.choose(move |services| services.mute(&issuer, &service, kept, now)).await??;
        Ok(mute)
    }

    /// Hears a service again; says whether it was silenced.
    pub async fn unmute(&self, service: &ClientId) -> Result<bool, DecisionError> {
        let (issuer, service) = (self.inner.client.issuer().clone(), service.clone());
        self.choose(move |services| services.unmute(&issuer, &service)).await
    }

    async fn choose<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Services) -> T + Send + 'static,
    ) -> Result<T, DecisionError> {
        let done = self.inner.remembering(move |memory| {
            let (mut change, mut result) = (Some(change), None);
            memory.change_services(&mut |services| result = change.take().map(|change| change(services)))?;
            Ok(result)
        });
        match done.await? {
            Some(result) => Ok(result),
            None => unreachable!("a memory that changes calls what changes it"),
        }
    }
}

impl Inner {
    /// A live session is a service that this identity has signed in at; the vault is written only for what is new.
    pub(super) async fn learn_where_signed_in(&self, sessions: &[WalletSession]) {
        if sessions.is_empty() || self.is_locked() {
            return;
        }
        let issuer = self.client.issuer().clone();
        let live: Vec<_> =
            sessions.iter().map(|session| (session.service.id.clone(), session.created_at)).collect();
        let kept = self.remembering(move |memory| {
            let known = memory.services()?;
            if live.iter().all(|(service, _)| known.has_signed_in(&issuer, service)) {
                return Ok(());
            }
            memory.change_services(&mut |services| {
                for (service, at) in &live {
                    if !services.has_signed_in(&issuer, service) {
                        services.signed_in(&issuer, service, *at);
                    }
                }
            })
        });
        if let Err(error) = kept.await {
            self.tell(WalletUpdate::NotKept { what: format!("where you have signed in: {error}") });
        }
    }

    /// A session was made of a request.
    pub(super) async fn signed_in(&self, service: ClientId) {
        let (issuer, at) = (self.client.issuer().clone(), self.client.now());
        let kept = self.remembering(move |memory| {
            memory.change_services(&mut |services| services.signed_in(&issuer, &service, at))
        });
        if let Err(error) = kept.await {
            self.tell(WalletUpdate::NotKept { what: format!("where you have signed in: {error}") });
        }
    }
}
