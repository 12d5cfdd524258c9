//! Carrying out decisions: sending one until it is clear what became of it.

use std::time::Duration;

use miid_protocol::events::{SessionRevoked, WalletEvent};
use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{ChallengeStatus, DenyReason, ExpireReason, RevokeReason};
use miid_protocol::wallet::{DecisionOutcome, RevokeOutcome, WalletChallenge};
use miid_protocol::{ChallengeId, SessionId, Timestamp};

use super::Inner;
use crate::client::{ClientError, SignedDecision};
use crate::memory::MemoryError;
use crate::policy::{self, Fate, PolicyError, Wanted};
use crate::queue::Finish;
use crate::request::{Request, Unshowable};
use crate::rules::RuleError;
use crate::stream::Backoff;
use crate::vault::VaultError;

/// How often a decision is sent before the person is told that it did not work.
const ATTEMPTS: u32 = 5;
/// The longest pause between two of them; a gateway that wants more is left alone, and the person is told.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Why a decision did not come about.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// The wallet knows no such request that this could be decided of.
    #[error("there is no such request waiting")]
    UnknownRequest,
    /// The gateway knows no such session.
    #[error("there is no such session")]
    UnknownSession,
    /// A decision about this request is on its way already.
    #[error("a decision about this request is on its way")]
    InProgress,
    /// The request ended meanwhile, in another way.
    #[error("the request ended before the decision arrived")]
    Over,
    /// The link brought a request that cannot be shown.
    #[error("the link's request is not shown, since {0}")]
    Unshowable(#[from] Unshowable),
    /// The link asks somebody else: a step-up is for the identity of its session.
    #[error("that link asks another identity: the one that is signed in there")]
    OtherIdentity,
    /// There is no address to open: only a linked request that stands approved has one.
    #[error("there is no page to go back to")]
    NoReturn,
    /// A rule that cannot be kept.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Something is missing in a yes.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The gateway refused it or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// This computer's own files.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl DecisionError {
    /// One word for a program: the gateway's error code where there is one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRequest => "unknown_request",
            Self::UnknownSession => "unknown_session",
            Self::InProgress => "in_progress",
            Self::Over => "over",
            Self::Unshowable(_) => "unshowable",
            Self::OtherIdentity => ErrorCode::DidMismatch.as_str(),
            Self::NoReturn => "no_return",
            Self::Rule(_) => "bad_rule",
            Self::Policy(_) => "not_complete",
            Self::Memory(MemoryError::Vault(VaultError::Locked)) => "locked",
            Self::Memory(_) => "not_kept",
            Self::Client(error) => match error {
                ClientError::Locked => "locked",
                ClientError::OtherGateway(_) => "not_ours",
                ClientError::Refused(refusal) => refusal.problem.code.as_str(),
                ClientError::Unreachable { .. } => "unreachable",
                ClientError::AnswerLost(_) | ClientError::NoAnswer(_) => "answer_lost",
                ClientError::Clock(_) => "clock",
                _ => "unexpected",
            },
        }
    }
}

impl Inner {
    /// Sends a decision until it is clear what became of it. Each attempt has the same statement under a fresh
    /// proof; after a lost answer the list is asked first (protocol, section 5).
    pub(super) async fn carry_out(
        &self,
        request: &Request,
        wanted: Wanted,
        decision: &SignedDecision,
    ) -> Result<DecisionOutcome, DecisionError> {
        let mut outcome = self.send_until_clear(request, wanted, decision).await?;
        // Nobody opens an address that was not looked at.
        let state = self.state();
        let kept = state.queue.find(request.id()).and_then(|waiting| waiting.return_to.as_ref());
        outcome.return_to = kept.map(|address| address.as_str().to_owned());
        drop(state);
        Ok(outcome)
    }

    async fn send_until_clear(
        &self,
        request: &Request,
        wanted: Wanted,
        decision: &SignedDecision,
    ) -> Result<DecisionOutcome, DecisionError> {
        let mut backoff = Backoff::new(self.settings);
        let mut may_be_done = false;
        for attempt in 1.. {
            let error = match self.client.decide(decision).await {
                Ok(outcome) => {
                    self.apply(|queue| queue.apply_outcome(&outcome));
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            may_be_done |= error.may_have_been_done();
            let is_final = !error.is_passing();
            if may_be_done && let Ok(listed) = self.look_up(request).await {
                match policy::fate(wanted, listed.as_ref().map(|listed| listed.status)) {
                    Fate::Done => return Ok(self.found(request, wanted, listed)),
                    Fate::NotArrived => {}
                    Fate::Over => return self.over(request, wanted),
                }
            }
            let pause = backoff.wait(error.retry_after(), self.client.entropy());
            if is_final || attempt >= ATTEMPTS || pause > MAX_PAUSE {
                self.learn_from(request, &error).await;
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop has no other end")
    }

    /// The challenge in the gateway's list.
    async fn look_up(&self, request: &Request) -> Result<Option<WalletChallenge>, ClientError> {
        let list = self.client.challenges().await?;
        Ok(list.into_iter().find(|listed| listed.challenge_id == request.id()))
    }

    /// A decision whose answer was lost was found to be done.
    fn found(&self, request: &Request, wanted: Wanted, listed: Option<WalletChallenge>) -> DecisionOutcome {
        let (status, return_to) = match (listed, wanted) {
            (Some(listed), _) => (listed.status, listed.return_to),
            (None, Wanted::Deny) => (ChallengeStatus::Denied, None),
            (None, Wanted::Approve | Wanted::Cancel) => (ChallengeStatus::Expired, None),
        };
        let (challenge_id, at) = (request.id(), self.client.now());
        let outcome = DecisionOutcome { challenge_id, status, reason: None, at, return_to };
        self.apply(|queue| queue.apply_outcome(&outcome));
        outcome
    }

    /// The request is in the list no more. If something came of it, a yes did arrive.
    fn over(&self, request: &Request, wanted: Wanted) -> Result<DecisionOutcome, DecisionError> {
        let finish = self.state().queue.finish(request.id());
        if let (Some(Finish::Active(_) | Finish::Confirmed(_)), Wanted::Approve) = (finish, wanted) {
            let (challenge_id, at) = (request.id(), self.client.now());
            let status = ChallengeStatus::Active;
            return Ok(DecisionOutcome { challenge_id, status, reason: None, at, return_to: None });
        }
        self.apply(|queue| queue.end(request.id(), Finish::Gone));
        Err(DecisionError::Over)
    }

    /// A refusal says something about the request, too.
    async fn learn_from(&self, request: &Request, error: &ClientError) {
        self.heed_refusal(error).await;
        let finish = match error.code() {
            Some(ErrorCode::WrongMatchCode) => Finish::Denied(DenyReason::WrongMatchCode),
            Some(ErrorCode::ChallengeExpired) => Finish::Expired(self.why_expired(request).await),
            Some(ErrorCode::ChallengeNotFound) => Finish::Gone,
            Some(ErrorCode::ChallengeNotPending | ErrorCode::ChallengeNotApproved) => {
                // Somebody was first, perhaps the same person elsewhere: what they did stands in the list.
                if let Err(error) = self.read_lists().await {
                    tracing::info!(%error, "the lists could not be read");
                }
                return;
            }
            _ => return,
        };
        self.apply(|queue| queue.end(request.id(), finish));
    }

    /// The refusal of a decision does not say why the request is over. A step-up ends with its session, too.
    async fn why_expired(&self, request: &Request) -> ExpireReason {
        let Some(session) = request.says().step_up_session else { return ExpireReason::Timeout };
        let is_read = self.read_sessions().await.is_ok();
        if is_read && self.session(session).is_none() {
            ExpireReason::SessionEnded
        } else {
            ExpireReason::Timeout
        }
    }

    pub(super) async fn end_session(
        &self,
        id: SessionId,
        decision: &SignedDecision,
    ) -> Result<RevokeOutcome, DecisionError> {
        match self.repeat(|| self.client.revoke(decision)).await {
            Ok(outcome) => Ok(outcome),
            Err(error) if error.code() == Some(ErrorCode::SessionNotFound) => {
                self.tell_session_ended(id, self.client.now());
                Err(DecisionError::UnknownSession)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what may be sent again, since the same again repeats its answer: until there is one.
    pub(super) async fn repeat<T, F>(&self, send: impl Fn() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut backoff = Backoff::new(self.settings);
        for attempt in 1.. {
            let error = match send().await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            let pause = backoff.wait(error.retry_after(), self.client.entropy());
            if !error.is_passing() || attempt >= ATTEMPTS || pause > MAX_PAUSE {
                self.heed_refusal(&error).await;
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop has no other end")
    }

    pub(super) fn tell_session_ended(&self, id: SessionId, at: Timestamp) {
        let event = WalletEvent::SessionRevoked(SessionRevoked {
            session_id: id,
            sub: String::new(),
            reason: RevokeReason::User,
            at,
        });
        self.apply(|queue| queue.apply_event(&event, at));
    }

    pub(super) fn take_turn(&self, id: ChallengeId) -> Result<Turn<'_>, DecisionError> {
        if self.state().deciding.insert(id) {
            Ok(Turn { inner: self, id })
        } else {
            Err(DecisionError::InProgress)
        }
    }
}

/// One decision at a time about one request: a double click is one yes.
pub(super) struct Turn<'a> {
    inner: &'a Inner,
    id: ChallengeId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.inner.state().deciding.remove(&self.id);
    }
}
