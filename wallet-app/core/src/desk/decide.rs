//! What the person decides about requests and sessions.

use std::collections::BTreeMap;

use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, Risk};
use miid_protocol::{ChallengeId, ClientId, SessionId};
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::state::Running;
use super::view::{Notice, RuleKind};
use super::{Desk, Inner, blocking};
use crate::policy::Approval;
use crate::rules::{Kind, NewRule};

/// What to offer for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Proposal {
    /// In the order in which the service asks.
    pub claims: Vec<ProposedClaim>,
    /// Whether the person has signed in there before.
    pub known_service: bool,
}

/// One claim that a service asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ProposedClaim {
    /// Its name.
    pub name: String,
    /// What the profile says.
    pub value: Option<String>,
    /// Whether it is ticked.
    pub ticked: bool,
}

/// Yes, as the window sends it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Yes {
    /// Which text was shown: the request's own digest.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub digest: Option<String>,
    /// The number that was typed.
    #[serde(default)]
    pub match_code: Option<String>,
    /// What is allowed.
    pub scopes: Vec<String>,
    /// What is shared: names and values.
    #[serde(default)]
    pub share: BTreeMap<String, String>,
    /// Names whose values go into the profile, too.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(optional, as = "Option<Vec<String>>"))]
    pub remember: Vec<String>,
    /// A rule for this service from now on.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub rule: Option<RuleWish>,
}

/// A rule that is made along with a yes: for what that yes allows and shares.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct RuleWish {
    /// What it does.
    pub kind: RuleKind,
    /// For how long.
    pub days: u32,
}

/// What became of a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Approved {
    /// Where the request stands.
    pub status: String,
    /// Whether the browser was opened.
    pub return_to: bool,
}

/// How many sessions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Ended {
    /// How many.
    pub ended: u32,
}

impl Desk {
    /// What to offer for a request.
    pub async fn proposal(&self, wallet: &str, challenge_id: &str) -> Result<Proposal, Fault> {
        let proposal = self.inner.running(wallet)?.wallet.proposal(challenge(challenge_id)?).await?;
        let claims = proposal.claims.into_iter();
        Ok(Proposal {
            claims: claims
                .map(|claim| ProposedClaim { name: claim.name, value: claim.value, ticked: claim.share })
                .collect(),
            known_service: proposal.known_service,
        })
    }

    /// Yes. For a linked request the browser that asked is opened again.
    pub async fn approve(&self, wallet: &str, challenge_id: &str, yes: Yes) -> Result<Approved, Fault> {
        let inner = &self.inner;
        let (running, id, turn) = (inner.running(wallet)?, challenge(challenge_id)?, inner.state().turn);
        let shown = running.wallet.snapshot().requests;
        let is_shown = |text: &str| yes.digest.as_deref().is_none_or(|digest| digest == text);
        let shown =
            shown.into_iter().find(|shown| shown.request.challenge_id == id && is_shown(&shown.digest));
        let asked = shown.ok_or(Fault::UnknownRequest)?.request;
        if asked.risk == Risk::StepUp && yes.rule.is_some() {
            return Err(Fault::BadValue("no rule comes of confirming something".into()));
        }
        let is_one_click = yes.rule.as_ref().is_some_and(|rule| rule.kind == RuleKind::OneClick);
        if is_one_click && asked.binding != Binding::Linked {
            return Err(Fault::BadValue("what came from another computer is asked about every time".into()));
        }
        let service = asked.service;
        let approval = Approval {
            match_code: yes.match_code.clone(),
            scopes: Some(yes.scopes.clone()),
            share: yes.share.keys().cloned().collect(),
            values: yes.share.clone(),
        };
        let outcome = running.wallet.approve_shown(id, yes.digest.as_deref(), &approval).await;
        inner.redraw();
        let outcome = outcome?;
        let status = status_word(outcome.status);
        // It is approved: what follows is told where it fails, and undoes nothing.
        let return_to = match inner.come_back(turn, outcome.return_to.as_deref()) {
            Err(Fault::Locked) => return Ok(Approved { status, return_to: false }),
            opened => opened.unwrap_or(false),
        };
        if let Err(error) = inner.keep(&running, &yes).await {
            inner.not_kept(&running, &error);
        }
        if let Some(wish) = yes.rule {
            let withheld = asked.claims.into_iter().filter(|name| !yes.share.contains_key(name)).collect();
            let rule = NewRule {
                kind: match wish.kind {
                    RuleKind::OneClick => Kind::OneClick,
                    RuleKind::Prefill => Kind::Prefill,
                },
                service_name: service.name,
                scopes: yes.scopes.into_iter().collect(),
                claims: yes.share.into_keys().collect(),
                withheld,
                days: wish.days,
            };
            if let Err(error) = inner.add_rule(&running, &service.id, rule).await {
                inner.not_kept(&running, &error);
            }
        }
        Ok(Approved { status, return_to })
    }

    /// No; with `mute_minutes` the service stays quiet for so long. `digest` says which text was shown.
    pub async fn deny(
        &self,
        wallet: &str,
        challenge_id: &str,
        digest: Option<&str>,
        reason: DenyReason,
        mute_minutes: Option<u32>,
    ) -> Result<(), Fault> {
        if reason == DenyReason::WrongMatchCode {
            return Err(Fault::BadValue("that is not a reason that a person gives".into()));
        }
        let inner = &self.inner;
        let (running, id) = (inner.running(wallet)?, challenge(challenge_id)?);
        let shown = running.wallet.snapshot().requests;
        let is_shown = |text: &str| digest.is_none_or(|digest| digest == text);
        let service =
            shown.into_iter().find(|shown| shown.request.challenge_id == id && is_shown(&shown.digest));
        let service = service.ok_or(Fault::UnknownRequest)?.request.service;
        // First: a service that asks again at once is to be quiet already.
        if let Some(minutes) = mute_minutes {
            running.wallet.mute(&service.id, &service.name, minutes).await?;
            inner.reload().await?;
        }
        let done = running.wallet.deny_shown(id, digest, reason).await;
        inner.redraw();
        done?;
        Ok(())
    }

    /// Takes a yes back.
    pub async fn cancel(&self, wallet: &str, challenge_id: &str) -> Result<(), Fault> {
        let done = self.inner.running(wallet)?.wallet.cancel(challenge(challenge_id)?).await;
        self.inner.redraw();
        done?;
        Ok(())
    }

    /// Opens the browser again, for who lost the page.
    pub async fn open_return(&self, wallet: &str, challenge_id: &str) -> Result<(), Fault> {
        let (running, turn) = (self.inner.running(wallet)?, self.inner.state().turn);
        let address = running.wallet.return_to(challenge(challenge_id)?)?;
        if self.inner.come_back(turn, Some(address.as_str()))? { Ok(()) } else { Err(Fault::NoReturn) }
    }

    /// Ends a session.
    pub async fn end_session(&self, wallet: &str, session_id: &str) -> Result<(), Fault> {
        let id = SessionId::parse(session_id);
        let id = id.map_err(|_| crate::wallet::DecisionError::UnknownSession)?;
        let done = self.inner.running(wallet)?.wallet.revoke(id).await;
        self.inner.redraw();
        done?;
        Ok(())
    }

    /// Ends every session of everybody. Each is tried: one that fails keeps no other alive.
    pub async fn end_all_sessions(&self) -> Result<Ended, Fault> {
        let crew = self.inner.crew()?;
        let ends: Vec<_> = crew.into_iter().map(|running| tokio::spawn(end_all(running))).collect();
        let (mut ended, mut failed) = (0, None);
        for end in ends {
            let (some, error) = end.await.map_err(|_| Fault::Internal)?;
            ended += some;
            failed = failed.or(error);
        }
        self.inner.redraw();
        match failed {
            Some(fault) => Err(fault),
            None => Ok(Ended { ended }),
        }
    }
}

/// Each identity's, one after the other: a gateway is not to be flooded.
async fn end_all(running: Running) -> (u32, Option<Fault>) {
    let sessions = match running.wallet.sessions().await {
        Ok(sessions) => sessions,
        Err(error) => return (0, Some(error.into())),
    };
    let (mut ended, mut failed) = (0, None);
    for session in sessions {
        match running.wallet.revoke(session.session_id).await {
            Ok(_) => ended += 1,
            // It ended by itself meanwhile, which is what was wanted.
            Err(crate::wallet::DecisionError::UnknownSession) => {}
            Err(error) => failed = failed.or(Some(error.into())),
        }
    }
    (ended, failed)
}

impl Inner {
    /// The wallet that the page named. None while it is locked.
    pub(super) fn running(&self, id: &str) -> Result<Running, Fault> {
        self.lock_if_idle();
        let state = self.state();
        if state.vault.is_none() {
            return Err(Fault::Locked);
        }
        state.running(id).cloned().ok_or(Fault::UnknownIdentity)
    }

    /// All of them.
    pub(super) fn crew(&self) -> Result<Vec<Running>, Fault> {
        self.lock_if_idle();
        let state = self.state();
        if state.vault.is_none() { Err(Fault::Locked) } else { Ok(state.crew.clone()) }
    }

    /// Opens the address in the person's browser, unless it was locked meanwhile: locked is locked. The wallet
    /// gives no address out that is not this request's own, over https or on this computer.
    pub(super) fn come_back(&self, turn: u64, address: Option<&str>) -> Result<bool, Fault> {
        if self.state().turn != turn {
            return Err(Fault::Locked);
        }
        let Some(address) = address else { return Ok(false) };
        Ok(self.options.browser.open(address))
    }

    /// Values that are to go into the profile.
    async fn keep(&self, running: &Running, yes: &Yes) -> Result<(), Fault> {
        let new: Vec<_> = yes
            .remember
            .iter()
            .filter_map(|name| Some((name.clone(), yes.share.get(name)?.clone())))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let vault = self.vault()?;
        let name = running.name.clone();
        blocking(move || {
            vault.update(&name, |record| {
                for (field, value) in &new {
                    record.profile.set(field, value)?;
                }
                Ok::<_, Fault>(())
            })
        })
        .await?
    }

    async fn add_rule(
        self: &std::sync::Arc<Self>,
        running: &Running,
        service: &ClientId,
        rule: NewRule,
    ) -> Result<(), Fault> {
        running.wallet.add_rule(service, rule).await?;
        self.reload().await
    }

    fn not_kept(&self, running: &Running, error: &Fault) {
        let (identity, reason) = (Some(running.name.clone()), Some(error.to_string()));
        self.notice(Notice { kind: "not_kept".into(), identity, reason, ..Notice::default() });
    }
}

fn challenge(id: &str) -> Result<ChallengeId, Fault> {
    ChallengeId::parse(id).map_err(|_| Fault::UnknownRequest)
}

fn status_word(status: ChallengeStatus) -> String {
    serde_json::to_value(status).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
