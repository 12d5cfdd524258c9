//! Links: taking the request of one, answering it where a rule of the person's says so, and where to send their
//! browser then.

use std::fmt;

use miid_protocol::ChallengeId;
use miid_protocol::link::WalletLink;
use miid_protocol::problem::ErrorCode;
use miid_protocol::wallet::DecisionOutcome;

use super::{DecisionError, Wallet};
use crate::client::ClientError;
use crate::history::What;
use crate::memory::{Memory, MemoryError};
use crate::policy::Approval;
use crate::profile::Profile;
use crate::queue::Standing;
use crate::request::Request;
use crate::return_to::ReturnTo;
use crate::rules::{self, Circumstances, Verdict};
use crate::update::WalletUpdate;

/// What became of a link that a rule might answer.
#[derive(Clone, PartialEq, Eq)]
pub enum OneClick {
    /// A rule said yes; [`Wallet::return_to`] says where the browser goes.
    Approved(DecisionOutcome),
    /// No rule holds for it: it stands among the requests and asks.
    Ask(ChallengeId),
}

impl fmt::Debug for OneClick {
    /// Without the address, which holds the response code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approved(outcome) => f.debug_tuple("Approved").field(&outcome.status).finish(),
            Self::Ask(id) => f.debug_tuple("Ask").field(id).finish(),
        }
    }
}

impl Wallet {
    /// Takes a link's request, for this identity alone; it stands among the requests then. Ask the person first, or
    /// see [`one_click`](Self::one_click). The same link again gives the same request.
    pub async fn claim(&self, link: &WalletLink) -> Result<ChallengeId, DecisionError> {
        let claimed = self.inner.repeat(|| self.inner.client.claim(link)).await.map_err(of_claim)?;
        if claimed.challenge_id != link.challenge_id {
            return Err(ClientError::NotUnderstood.into());
        }
        let (id, now) = (link.challenge_id, self.now());
        let mut shown = Ok(());
        self.inner.apply(|queue| match queue.apply_claimed(&claimed, now) {
            Ok(updates) => updates,
            Err(reason) => {
                shown = Err(reason);
                Vec::new()
            }
        });
        shown?;
        if self.inner.lacks_session_of(id) {
            // It can be answered all the same; only since when the session is there is not said then.
            let _ = self.inner.read_sessions().await;
        }
        if self.inner.state().queue.find(id).is_some() { Ok(id) } else { Err(DecisionError::Over) }
    }

    /// Whether a rule of this identity may answer a link here. Only then is a link taken without asking, since what
    /// it is about is known only to who has taken it.
    pub async fn may_act_alone(&self) -> Result<bool, DecisionError> {
        let (issuer, now) = (self.inner.client.issuer().clone(), self.now());
        let services = self.inner.remembering(|memory| memory.services()).await?;
        let alone = |(service, rule): &(_, rules::Rule)| {
            rule.acts_alone(now) && services.has_signed_in(&issuer, service)
        };
        Ok(services.rules_at(&issuer).iter().any(alone))
    }

    /// Takes a link's request, and says yes where a one-click rule holds for exactly what it asks. Everything else
    /// is left for the person to answer.
    pub async fn one_click(&self, link: &WalletLink) -> Result<OneClick, DecisionError> {
        let id = self.claim(link).await?;
        let Ok(request) = self.inner.waiting(id, Standing::Pending) else { return Ok(OneClick::Ask(id)) };
        let _turn = self.inner.take_turn(id)?;
        let (issuer, now, asked) = (self.inner.client.issuer().clone(), self.now(), request.clone());
        let counted = self.inner.remembering(move |memory| count_use(memory, &issuer, &asked, now)).await;
        let (approval, profile) = match counted {
            Ok(Some(allowed)) => allowed,
            Ok(None) => return Ok(OneClick::Ask(id)),
            Err(error) => {
                // A rule that cannot be read or counted is none.
                self.inner.tell(WalletUpdate::NotKept { what: format!("the use of a rule: {error}") });
                return Ok(OneClick::Ask(id));
            }
        };
        let outcome = self.sign_yes(What::OneClick, &request, &profile, &approval).await?;
        let service = request.says().service.name.clone();
        self.inner.tell(WalletUpdate::OneClick { challenge_id: id, service });
        Ok(OneClick::Approved(outcome))
    }

    /// What the rules say about a request that waits.
    pub async fn verdict(&self, id: ChallengeId) -> Result<Verdict, DecisionError> {
        let request = self.inner.waiting(id, Standing::Pending)?;
        let (issuer, now) = (self.inner.client.issuer().clone(), self.now());
        let read =
            move |memory: &dyn Memory| judge(memory, &issuer, &request, now).map(|(verdict, _)| verdict);
        Ok(self.inner.remembering(read).await?)
    }

    /// Where to send the person's browser, for a linked request that stands approved.
    pub fn return_to(&self, id: ChallengeId) -> Result<ReturnTo, DecisionError> {
        let state = self.inner.state();
        let waiting = state.queue.find(id).ok_or(DecisionError::UnknownRequest)?;
        waiting.return_to.clone().ok_or(DecisionError::NoReturn)
    }
}

/// A step-up is its session's identity's alone.
fn of_claim(error: ClientError) -> DecisionError {
    match error.code() {
        Some(ErrorCode::DidMismatch) => DecisionError::OtherIdentity,
        _ => error.into(),
    }
}

fn judge(
    memory: &dyn Memory,
    issuer: &miid_protocol::Issuer,
    request: &Request,
    now: miid_protocol::Timestamp,
) -> Result<(Verdict, Profile), MemoryError> {
    let (profile, services) = (memory.profile()?, memory.services()?);
    let service = &request.says().service.id;
    let verdict = rules::decide(
        request,
        Circumstances {
            rule: services.rule(issuer, service),
            signed_in_before: services.has_signed_in(issuer, service),
            profile: &profile,
            now,
        },
    );
    Ok((verdict, profile))
}

/// Counts the use before anything is signed, under the vault's own lock: a rule that is taken away at the same
/// moment is either gone before, and then nothing is signed, or it was still in force.
fn count_use(
    memory: &dyn Memory,
    issuer: &miid_protocol::Issuer,
    request: &Request,
    now: miid_protocol::Timestamp,
) -> Result<Option<(Approval, Profile)>, MemoryError> {
    let (Verdict::ApproveAlone(_), profile) = judge(memory, issuer, request, now)? else { return Ok(None) };
    let service = &request.says().service.id;
    let mut allowed = None;
    memory.change_services(&mut |services| {
        let signed_in_before = services.has_signed_in(issuer, service);
        let known =
            Circumstances { rule: services.rule(issuer, service), signed_in_before, profile: &profile, now };
        let Verdict::ApproveAlone(approval) = rules::decide(request, known) else { return };
        if let Some(rule) = services.rule_mut(issuer, service) {
            rule.used = rule.used.saturating_add(1);
            rule.last_used_at = Some(now);
            allowed = Some(approval);
        }
    })?;
    Ok(allowed.map(|approval| (approval, profile)))
}
