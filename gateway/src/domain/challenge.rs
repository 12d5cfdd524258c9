//! A request to sign in, or to confirm something, and its states:
//! `Pending → Approved → Active`, `Pending → Denied | Expired`, `Approved → Pending | Expired`.
//!
//! A step-up goes the same way, for a session that is there already: only that session's person answers it, its exchange
//! makes no session, and it is over when the session is.
//!
//! A linked one is pending for nobody until a wallet claims it; that is no other state, since nothing but who may
//! answer changes.

use miid_protocol::events::{
    ChallengeAt, ChallengeCreated, ChallengeDenied, ChallengeExchanged, ChallengeExpired, ChallengeVerified,
    ServiceEvent, SessionCreated, WalletEvent,
};
use miid_protocol::request::SignInRequest;
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::statement::{Approval, Cancellation, Denial, Retirement};
use miid_protocol::{ChallengeId, ClientId, Did, SessionId, Timestamp};
use uuid::Uuid;

/// One request to sign in. What never changes stands beside [`State`], which does.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// Its id.
    pub id: ChallengeId,
    /// Counts the changes; a change names the version that it saw.
    pub version: i64,
    /// Who asked.
    pub client_id: ClientId,
    /// Who is asked; `None` where the hint named nobody, or nobody has claimed it yet.
    pub did: Option<Did>,
    /// Keyed hash of the hint.
    pub hint_key: String,
    /// Keyed hash of whom the hint named, known or not.
    pub person_key: String,
    /// Whether the browser had signed in as this person before.
    pub known_browser: bool,
    /// The session that it is for, where it is a step-up.
    pub step_up: Option<StepUp>,
    /// How it is tied to the browser.
    pub binding: Binding,
    /// Where the person's browser returns to after an approval; linked only.
    pub return_url: Option<String>,
    /// Repeated in the statement.
    pub nonce: String,
    /// The text that is shown and signed.
    pub request: String,
    /// PKCE.
    pub code_challenge: String,
    /// When it was asked.
    pub created_at: Timestamp,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
    /// When it came into its state.
    pub changed_at: Timestamp,
    /// How often it was approved: each approval has a code of its own.
    pub approvals: i64,
    /// Where it stands.
    pub state: State,
}

/// A session that a step-up is for, as it stands now: it may be refreshed, and it may end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// Which one.
    pub session_id: SessionId,
    /// Whose it is; `None` where it is not there any more.
    pub did: Option<Did>,
    /// Until when it lives, or since when it does not.
    pub session_until: Timestamp,
}

/// Where a challenge stands, with exactly what exists then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waiting for the person.
    Pending,
    /// The person said yes.
    Approved(Approved),
    /// Exchanged.
    Active(Active),
    /// The person said no.
    Denied(DenyReason),
    /// Over.
    Expired(ExpireReason),
}

/// A yes that waits for its exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Until when its code can be exchanged.
    pub code_expires_at: Timestamp,
    /// What was granted.
    pub grant: Grant,
}

/// What the person granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its line in the audit log.
    pub id: Uuid,
    /// A subset of what was asked.
    pub scopes: Vec<String>,
    /// What is shared, as the text that the statement signs.
    pub disclosure: Option<String>,
    /// The signed approval.
    pub statement: String,
}

/// A spent approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// What it became, or what it was a step-up of.
    pub session_id: SessionId,
    /// What was granted.
    pub grant: Grant,
}

/// What comes next, and who is told.
#[derive(Debug, Clone)]
pub struct Step {
    /// The challenge afterwards, its version one higher.
    pub next: Challenge,
    /// For the person's wallets.
    pub wallet: Option<WalletEvent>,
    /// For the service; a `challenge_verified` without its code, which is never stored.
    pub service: Option<ServiceEvent>,
}

/// Why nothing comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was already answered.
    #[error("the challenge is not pending")]
    NotPending,
    /// It is not approved.
    #[error("the challenge is not approved")]
    NotApproved,
    /// It is over.
    #[error("the challenge has expired")]
    Expired,
    /// Another wallet took it first.
    #[error("the challenge was claimed by another wallet")]
    AlreadyClaimed,
    /// It is a step-up of somebody else's session.
    #[error("the challenge is for another person's session")]
    AnotherPerson,
}

/// What became of an approval: the number is looked at last, and a wrong one is a denial.
#[derive(Debug, Clone)]
pub enum Approve {
    /// The number was right, or none was asked for.
    Approved(Step),
    /// It was wrong or missing.
    WrongNumber(Step),
}

/// What became of a code that was presented rightly.
#[derive(Debug, Clone)]
pub enum Redeem<'a> {
    /// The first use of a sign-in's.
    SignIn(Redeemable<'a>),
    /// The first use of a step-up's.
    StepUp(Confirmed<'a>),
    /// A second use: what the first gave must end, or what it was given for.
    Again(SessionId),
    /// It is dead.
    Dead,
}

/// A live code of a sign-in, presented rightly: a session can be made of it.
#[derive(Debug, Clone)]
pub struct Redeemable<'a> {
    challenge: &'a Challenge,
    approved: &'a Approved,
    did: &'a Did,
}

impl Redeemable<'_> {
    /// Who approved.
    pub fn did(&self) -> &Did {
        self.did
    }

    /// What was granted.
    pub fn grant(&self) -> &Grant {
        &self.approved.grant
    }

    /// `Approved → Active`.
    pub fn activate(&self, session_id: SessionId, sub: &str, now: Timestamp) -> Step {
        let challenge = self.challenge;
        let grant = self.approved.grant.clone();
        let state = State::Active(Active { session_id, grant });
        let mut step = challenge.step(state, now);
        let created = SessionCreated { challenge_id: challenge.id, session_id, sub: sub.to_owned(), at: now };
        step.wallet = Some(WalletEvent::SessionCreated(created.clone()));
        step.service = Some(ServiceEvent::SessionCreated(created));
        step
    }
}

/// A live code of a step-up, presented rightly: no session can be made of it.
#[derive(Debug, Clone)]
pub struct Confirmed<'a> {
    challenge: &'a Challenge,
    approved: &'a Approved,
    session_id: SessionId,
}

impl Confirmed<'_> {
    /// What it is for.
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// What was granted.
    pub fn grant(&self) -> &Grant {
        &self.approved.grant
    }

    /// When the person approved: nothing else brings a challenge into the state that it is in.
    pub fn approved_at(&self) -> Timestamp {
        self.challenge.changed_at
    }

    /// `Approved → Active`, and the session stays as it is.
    pub fn spend(&self, now: Timestamp) -> Step {
        let (challenge, session_id) = (self.challenge, self.session_id);
        let mut step =
            challenge.step(State::Active(Active { session_id, grant: self.approved.grant.clone() }), now);
        let exchanged = ChallengeExchanged { challenge_id: challenge.id, session_id, at: now };
        step.wallet = Some(WalletEvent::ChallengeExchanged(exchanged.clone()));
        step.service = Some(ServiceEvent::ChallengeExchanged(exchanged));
        step
    }
}

impl Challenge {
    /// The event that announces a new one to the wallet that is asked. Nobody else is told.
    pub fn created(&self) -> WalletEvent {
        WalletEvent::ChallengeCreated(ChallengeCreated {
            challenge_id: self.id,
            request: self.request.clone(),
        })
    }

    /// What the request text says. It was written by [`SignInRequest::to_text`].
    pub fn parsed_request(&self) -> Option<SignInRequest> {
        SignInRequest::parse(&self.request).ok()
    }

    /// When it is over of itself unless something happens; `None` where nothing can happen any more.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Pending => Some(self.expires_at),
            State::Approved(approved) => Some(approved.code_expires_at),
            State::Active(_) | State::Denied(_) | State::Expired(_) => None,
        }
    }

    /// Where it stands at `now`: what is past its deadline counts as expired, swept or not.
    pub fn standing(&self, now: Timestamp) -> (ChallengeStatus, Option<EndReason>) {
        match &self.state {
            _ if let Some(reason) = self.lapsed(now) => {
                (ChallengeStatus::Expired, Some(EndReason::Expired(reason)))
            }
            State::Pending => (ChallengeStatus::Pending, None),
            State::Approved(_) => (ChallengeStatus::Approved, None),
            State::Active(_) => (ChallengeStatus::Active, None),
            State::Denied(reason) => (ChallengeStatus::Denied, Some(EndReason::Denied(*reason))),
            State::Expired(reason) => (ChallengeStatus::Expired, Some(EndReason::Expired(*reason))),
        }
    }

    /// A wallet takes a linked challenge: it is still pending, and from now on for this person alone, who is counted
    /// by `person_key`. Nothing where the wallet has it already. The request text stays as it is, since it is signed.
    /// A step-up is its session's person's alone, whoever else holds the link.
    pub fn claim(&self, did: &Did, person_key: &str, now: Timestamp) -> Result<Option<Step>, Refusal> {
        if self.step_up.as_ref().is_some_and(|step_up| step_up.did.as_ref() != Some(did)) {
            return Err(Refusal::AnotherPerson);
        }
        if let Some(holder) = &self.did {
            if holder != did {
                return Err(Refusal::AlreadyClaimed);
            }
            return match self.standing(now).0 {
                ChallengeStatus::Pending | ChallengeStatus::Approved => Ok(None),
                ChallengeStatus::Expired => Err(Refusal::Expired),
                _ => Err(Refusal::NotPending),
            };
        }
        self.must_be_pending(now)?;
        let mut step = self.step(State::Pending, now);
        step.next.did = Some(did.clone());
        person_key.clone_into(&mut step.next.person_key);
        step.wallet = Some(self.created());
        let at = ChallengeAt { challenge_id: self.id, at: now };
        step.service = Some(ServiceEvent::ChallengeClaimed(at));
        Ok(Some(step))
    }

    /// `Pending → Approved`, or `Pending → Denied` where the number is wrong. `number` is what the
    /// page shows; `None` for a linked challenge. The grant gets this id, its code lives until then.
    pub fn approve(
        &self,
        approval: &Approval,
        disclosure: Option<&str>,
        number: Option<&str>,
        (grant_id, code_expires_at): (Uuid, Timestamp),
        now: Timestamp,
    ) -> Result<Approve, Refusal> {
        self.must_be_pending(now)?;
        if number.is_some_and(|number| !approval.match_code().is(number)) {
            return Ok(Approve::WrongNumber(self.denied(DenyReason::WrongMatchCode, now)));
        }
        let Some(did) = self.did.clone() else { return Err(Refusal::NotPending) };
        let state = State::Approved(Approved {
            code_expires_at,
            grant: Grant {
                id: grant_id,
                scopes: approval.scopes().to_vec(),
                disclosure: disclosure.map(str::to_owned),
                statement: approval.made.statement().to_owned(),
            },
        });
        let mut step = self.step(state, now);
        step.next.approvals = self.approvals + 1;
        step.wallet = Some(WalletEvent::ChallengeApproved(ChallengeAt { challenge_id: self.id, at: now }));
        step.service = Some(ServiceEvent::ChallengeVerified(ChallengeVerified {
            challenge_id: self.id,
            authorization_code: None,
            code_expires_at,
            binding: self.binding,
            did,
            at: now,
        }));
        Ok(Approve::Approved(step))
    }

    /// `Pending → Denied`.
    pub fn deny(&self, denial: &Denial, now: Timestamp) -> Result<Step, Refusal> {
        self.must_be_pending(now)?;
        Ok(self.denied(denial.reason(), now))
    }

    /// `Approved → Pending`, and the code is dead; past the challenge's own time `Approved → Expired`.
    pub fn cancel(&self, _: &Cancellation, now: Timestamp) -> Result<Step, Refusal> {
        match &self.state {
            State::Approved(_) if self.lapsed(now).is_some() => Err(Refusal::Expired),
            State::Approved(_) if now >= self.expires_at => Ok(self.expired(ExpireReason::Timeout, now)),
            State::Approved(_) => {
                let mut step = self.step(State::Pending, now);
                let at = ChallengeAt { challenge_id: self.id, at: now };
                step.wallet = Some(WalletEvent::ApprovalCancelled(at.clone()));
                step.service = Some(ServiceEvent::ApprovalCancelled(at));
                Ok(step)
            }
            State::Expired(_) => Err(Refusal::Expired),
            State::Pending if self.lapsed(now).is_some() => Err(Refusal::Expired),
            _ => Err(Refusal::NotApproved),
        }
    }

    /// Whether the last approval's response code is right: where it waits for its exchange, and where nothing can
    /// come of it any more but the answer that it was used. One of an approval that was taken back is dead.
    pub fn has_response_code(&self, now: Timestamp) -> bool {
        self.binding == Binding::Linked
            && match &self.state {
                State::Approved(_) => self.lapsed(now).is_none(),
                State::Active(_) | State::Expired(ExpireReason::OtherBrowser) => true,
                State::Pending | State::Denied(_) | State::Expired(_) => false,
            }
    }

    /// `Pending | Approved → Expired`, by the service. Nothing where it is over already.
    pub fn withdraw(&self, reason: ExpireReason, now: Timestamp) -> Result<Option<Step>, Refusal> {
        match &self.state {
            State::Pending | State::Approved(_) if self.lapsed(now).is_none() => {
                Ok(Some(self.expired(reason, now)))
            }
            State::Pending | State::Approved(_) | State::Expired(_) => Ok(None),
            State::Active(_) | State::Denied(_) => Err(Refusal::NotPending),
        }
    }

    /// `Pending → Expired`, by a newer challenge of the same browser. Nothing in any other state.
    pub fn replace(&self, now: Timestamp) -> Option<Step> {
        let open = matches!(self.state, State::Pending) && self.lapsed(now).is_none();
        open.then(|| self.expired(ExpireReason::Replaced, now))
    }

    /// `Pending | Approved → Expired`: the session that a step-up is for has ended. Nothing where this is over, too, and
    /// nothing where it is for none.
    pub fn end_with_session(&self, now: Timestamp) -> Option<Step> {
        self.step_up.as_ref()?;
        match &self.state {
            State::Pending | State::Approved(_) => {
                Some(self.expired(self.lapsed(now).unwrap_or(ExpireReason::SessionEnded), now))
            }
            State::Active(_) | State::Denied(_) | State::Expired(_) => None,
        }
    }

    /// `Pending → Denied`, `Approved → Expired`: the person's identity is over. Nothing where this is, too. A step-up
    /// ends as it does whenever its session ends.
    pub fn retire(&self, _: &Retirement, now: Timestamp) -> Option<Step> {
        match &self.state {
            State::Pending | State::Approved(_) if self.lapsed(now).is_some() => self.lapse(now),
            State::Pending | State::Approved(_) if self.step_up.is_some() => self.end_with_session(now),
            State::Pending => Some(self.denied(DenyReason::NotMe, now)),
            State::Approved(_) => Some(self.expired(ExpireReason::Withdrawn, now)),
            State::Active(_) | State::Denied(_) | State::Expired(_) => None,
        }
    }

    /// `Pending | Approved → Expired`, where the deadline has passed.
    pub fn lapse(&self, now: Timestamp) -> Option<Step> {
        self.lapsed(now).map(|reason| self.expired(reason, now))
    }

    /// What a code leads to that was presented with all that belongs to it.
    pub fn redeem(&self, now: Timestamp) -> Redeem<'_> {
        match (&self.state, &self.did) {
            (State::Approved(approved), Some(did)) if self.lapsed(now).is_none() => match &self.step_up {
                None => Redeem::SignIn(Redeemable { challenge: self, approved, did }),
                Some(step_up) => {
                    Redeem::StepUp(Confirmed { challenge: self, approved, session_id: step_up.session_id })
                }
            },
            (State::Active(active), _) => Redeem::Again(active.session_id),
            _ => Redeem::Dead,
        }
    }

    /// The deadline that has passed, if one has; of two the earlier. A session's end is one for its step-ups, whether
    /// anybody has said so or not.
    fn lapsed(&self, now: Timestamp) -> Option<ExpireReason> {
        let own = self.deadline()?;
        match &self.step_up {
            Some(step_up) if step_up.session_until <= own.min(now) => Some(ExpireReason::SessionEnded),
            _ if now < own => None,
            _ if matches!(self.state, State::Approved(_)) => Some(ExpireReason::CodeTimeout),
            _ => Some(ExpireReason::Timeout),
        }
    }

    fn must_be_pending(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.standing(now).0 {
            ChallengeStatus::Pending => Ok(()),
            ChallengeStatus::Expired => Err(Refusal::Expired),
            _ => Err(Refusal::NotPending),
        }
    }

    fn denied(&self, reason: DenyReason, now: Timestamp) -> Step {
        let mut step = self.step(State::Denied(reason), now);
        let denied = ChallengeDenied { challenge_id: self.id, reason, at: now };
        step.wallet = Some(WalletEvent::ChallengeDenied(denied.clone()));
        step.service = Some(ServiceEvent::ChallengeDenied(denied));
        step
    }

    fn expired(&self, reason: ExpireReason, now: Timestamp) -> Step {
        let mut step = self.step(State::Expired(reason), now);
        let expired = ChallengeExpired { challenge_id: self.id, reason, at: now };
        step.wallet = Some(WalletEvent::ChallengeExpired(expired.clone()));
        step.service = Some(ServiceEvent::ChallengeExpired(expired));
        step
    }

    fn step(&self, state: State, now: Timestamp) -> Step {
        let next = Self { state, version: self.version + 1, changed_at: now, ..self.clone() };
        Step { next, wallet: None, service: None }
    }
}
