//! What the person allows in advance, and whom they do not want to hear.

use std::collections::BTreeSet;

use miid_protocol::ClientId;
use serde::Deserialize;

use super::fault::Fault;
use super::state::Running;
use super::view::RuleKind;
use super::{Desk, Inner};
use crate::rules::{Kind, NewRule};

/// A rule, as the window sends it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct RuleDraft {
    /// For which service.
    pub service_id: String,
    /// What it does.
    pub kind: RuleKind,
    /// For no more than these.
    pub scopes: Vec<String>,
    /// For no more than these.
    pub claims: Vec<String>,
    /// For how long.
    pub days: u32,
}

impl Desk {
    /// Makes a rule, in place of an earlier one for the same service.
    pub async fn add_rule(&self, wallet: &str, draft: RuleDraft) -> Result<(), Fault> {
        let running = self.inner.running(wallet)?;
        self.inner.set_rule(&running, None, draft, BTreeSet::new()).await
    }

    /// Takes a rule away; none there is fine.
    pub async fn remove_rule(&self, wallet: &str, service_id: &str) -> Result<(), Fault> {
        self.inner.running(wallet)?.wallet.remove_rule(&service(service_id)?).await?;
        self.inner.reload().await
    }

    /// Hears a service again; one that was not silenced is fine.
    pub async fn unmute(&self, wallet: &str, service_id: &str) -> Result<(), Fault> {
        self.inner.running(wallet)?.wallet.unmute(&service(service_id)?).await?;
        self.inner.reload().await
    }
}

impl Inner {
    /// Makes a rule. `name` is what the service is called, where the caller knows; `withheld` is what the person
    /// was asked for and left out.
    pub(super) async fn set_rule(
        self: &std::sync::Arc<Self>,
        running: &Running,
        name: Option<String>,
        draft: RuleDraft,
        withheld: BTreeSet<String>,
    ) -> Result<(), Fault> {
        let id = service(&draft.service_id)?;
        let service_name = name.unwrap_or_else(|| self.name_of(running, &id));
        let rule = NewRule {
            kind: match draft.kind {
                RuleKind::OneClick => Kind::OneClick,
                RuleKind::Prefill => Kind::Prefill,
            },
            service_name,
            scopes: draft.scopes.into_iter().collect(),
            claims: draft.claims.into_iter().collect(),
            withheld,
            days: draft.days,
        };
        running.wallet.add_rule(&id, rule).await?;
        self.reload().await
    }

    /// What a service is called: by its sessions, its requests, an earlier rule, or else by its id.
    fn name_of(&self, running: &Running, id: &ClientId) -> String {
        let snapshot = running.wallet.snapshot();
        let session = snapshot.sessions.iter().find(|session| session.service.id == *id);
        let request = snapshot.requests.iter().find(|shown| shown.request.service.id == *id);
        let state = self.state();
        let rules = state.enrolled(&running.did, &running.issuer).map(|enrolled| &enrolled.rules);
        let rule = rules.and_then(|rules| rules.iter().find(|(service, _)| service == id));
        session
            .map(|session| crate::request::plain(&session.service.name))
            .or_else(|| request.map(|shown| shown.request.service.name.clone()))
            .or_else(|| rule.map(|(_, rule)| rule.service_name.clone()))
            .unwrap_or_else(|| id.to_string())
    }
}

fn service(id: &str) -> Result<ClientId, Fault> {
    ClientId::parse(id).map_err(|_| Fault::BadValue("there is no such service".into()))
}
