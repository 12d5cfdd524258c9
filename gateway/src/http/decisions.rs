//! A person decides in their wallet (section 5): approve, deny, cancel, revoke.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use miid_protocol::service::{Binding, ChallengeStatus, RevokeReason};
use miid_protocol::statement::{Made, Signed, StatementError};
use miid_protocol::wallet::{Decision, DecisionOutcome, RevokeOutcome};
use miid_protocol::{ChallengeId, Did, ErrorCode, Problem, SessionId};

use super::extract::{PathId, Proved, accepted};
use super::{ApiError, App};
use crate::clock;
use crate::domain::challenge::Approve;
use crate::domain::{Challenge, Step};
use crate::store::{ForDecision, StoreError, Tx, jti_key};
use crate::verify::{HeldProof, Received};

/// Approve
#[utoipa::path(post, path = "/v1/wallet/challenges/{id}/approve", tag = "wallet", params(("id" = String, Path)),
    request_body = Decision,
    responses((status = 200, body = DecisionOutcome), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem)))]
pub(super) async fn approve(
    State(app): State<App>,
    PathId(id): PathId,
    proved: Proved,
) -> Result<Json<DecisionOutcome>, ApiError> {
    decide(app, &id, proved, Kind::Approve).await
}

/// Deny
#[utoipa::path(post, path = "/v1/wallet/challenges/{id}/deny", tag = "wallet", params(("id" = String, Path)),
    request_body = Decision,
    responses((status = 200, body = DecisionOutcome), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem)))]
pub(super) async fn deny(
    State(app): State<App>,
    PathId(id): PathId,
    proved: Proved,
) -> Result<Json<DecisionOutcome>, ApiError> {
    decide(app, &id, proved, Kind::Deny).await
}

/// Take an approval back
#[utoipa::path(post, path = "/v1/wallet/challenges/{id}/cancel", tag = "wallet", params(("id" = String, Path)),
    request_body = Decision,
    responses((status = 200, body = DecisionOutcome), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem)))]
pub(super) async fn cancel(
    State(app): State<App>,
    PathId(id): PathId,
    proved: Proved,
) -> Result<Json<DecisionOutcome>, ApiError> {
    decide(app, &id, proved, Kind::Cancel).await
}

#[derive(Clone, Copy)]
enum Kind {
    Approve,
    Deny,
    Cancel,
}

async fn decide(app: App, id: &str, proved: Proved, kind: Kind) -> Result<Json<DecisionOutcome>, ApiError> {
    let sent: Decision = proved.body.json()?;
    let deciding = Arc::new(Deciding {
        app: app.clone(),
        // An id that does not parse is nobody's challenge, but the proof counts as used all the same.
        id: ChallengeId::parse(id).ok(),
        proof: proved.proof,
        // The costly part, before the transaction; its verdict is heard in its turn.
        signed: Signed::open(&sent.statement),
        disclosure: sent.disclosure,
        kind,
    });
    let outcome = app
        .store
        .write("decide", move |tx| {
            let deciding = deciding.clone();
            Box::pin(async move { deciding.run(tx).await })
        })
        .await??;
    metrics::counter!("miid_challenges_total", "outcome" => outcome.status.as_str()).increment(1);
    Ok(Json(outcome))
}

/// Everything that a decision needs, so that it can run again.
struct Deciding {
    app: App,
    id: Option<ChallengeId>,
    proof: HeldProof,
    signed: Result<Signed, StatementError>,
    disclosure: Option<String>,
    kind: Kind,
}

/// A step that a valid decision leads to, and what is answered once it is saved.
struct Taken {
    step: Step,
    made: Made,
    refused: Option<ErrorCode>,
}

impl Deciding {
    async fn run(&self, tx: &mut Tx) -> Result<Result<DecisionOutcome, ApiError>, StoreError> {
        let did = self.proof.did();
        let jti = self.signed.as_ref().ok().and_then(Signed::claimed_jti);
        let jti_key = jti.map(|jti| jti_key(did, jti));
        let found = tx.challenge_for_decision(self.id, &self.proof, jti_key.as_deref()).await?;
        let (challenge, statement_used) = match found {
            ForDecision::Replayed => return Ok(Err(ErrorCode::ReplayedProof.into())),
            ForDecision::Retired => return Ok(Err(ErrorCode::DidRetired.into())),
            ForDecision::NotFound => return Ok(Err(ErrorCode::ChallengeNotFound.into())),
            ForDecision::Found { challenge, statement_used } => (challenge, statement_used),
        };
        let taken = match self.take(&challenge, tx) {
            Ok(taken) => taken,
            Err(refused) => return Ok(Err(refused)),
        };
        if statement_used {
            return Ok(Err(ApiError::detail(ErrorCode::InvalidStatement, "jti was used before")));
        }
        let next = &taken.step.next;
        let (status, reason) = next.standing(tx.now);
        let return_to = self.app.return_to(next, tx.now);
        let outcome =
            DecisionOutcome { challenge_id: next.id, status, reason, at: next.changed_at, return_to };
        tx.advance(taken.step, Some((did, &taken.made)));
        Ok(match taken.refused {
            None => Ok(outcome),
            Some(code) => Err(code.into()),
        })
    }

    /// Statement, then state, then the number (section 2).
    fn take(&self, challenge: &Challenge, tx: &Tx) -> Result<Taken, ApiError> {
        let (did, now): (&Did, _) = (self.proof.did(), tx.now);
        let signed = self.signed.as_ref().map_err(|error| ApiError::from(*error))?;
        let received = Received { issuer: &self.app.issuer, now, did };
        Ok(match self.kind {
            Kind::Approve => {
                let request = challenge.parsed_request().ok_or(ErrorCode::InternalError)?;
                let disclosure = self.disclosure.as_deref();
                let approval = received.approval(signed, challenge, &request, disclosure)?;
                let grant = (clock::uuid_v7(now), now.plus(self.app.settings.lifetimes.code_ttl));
                // A linked one needs none: the exchange needs what comes back through the person's browser.
                let number = match challenge.binding {
                    Binding::Addressed => Some(self.app.keys.match_code(challenge.id)),
                    Binding::Linked => None,
                };
                let (step, refused) =
                    match challenge.approve(&approval, disclosure, number.as_deref(), grant, now)? {
                        Approve::Approved(step) => (step, None),
                        Approve::WrongNumber(step) => (step, Some(ErrorCode::WrongMatchCode)),
                    };
                Taken { step, made: approval.made, refused }
            }
            Kind::Deny => {
                self.nothing_disclosed()?;
                let denial = received.denial(signed, challenge)?;
                Taken { step: challenge.deny(&denial, now)?, made: denial.made, refused: None }
            }
            Kind::Cancel => {
                self.nothing_disclosed()?;
                let cancellation = received.cancellation(signed, challenge)?;
                Taken {
                    step: challenge.cancel(&cancellation, now)?,
                    made: cancellation.into_made(),
                    refused: None,
                }
            }
        })
    }

    fn nothing_disclosed(&self) -> Result<(), ApiError> {
        match self.disclosure {
            None => Ok(()),
            Some(_) => {
                let why = "a disclosure goes with an approval only";
                Err(ApiError::detail(ErrorCode::InvalidStatement, why))
            }
        }
    }
}

/// End a session
#[utoipa::path(post, path = "/v1/wallet/sessions/{id}/revoke", tag = "wallet", params(("id" = String, Path)),
    request_body = Decision,
    responses((status = 200, body = RevokeOutcome), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn revoke(
    State(app): State<App>,
    PathId(id): PathId,
    proved: Proved,
) -> Result<Json<RevokeOutcome>, ApiError> {
    let sent: Decision = proved.body.json()?;
    let revoking = Arc::new(Revoking {
        app: app.clone(),
        id: SessionId::parse(&id).ok(),
        proof: proved.proof,
        signed: Signed::open(&sent.statement),
    });
    let outcome = app
        .store
        .write("revoke", move |tx| {
            let revoking = revoking.clone();
            Box::pin(async move { revoking.run(tx).await })
        })
        .await??;
    metrics::counter!("miid_sessions_revoked_total", "by" => "wallet").increment(1);
    Ok(Json(outcome))
}

struct Revoking {
    app: App,
    id: Option<SessionId>,
    proof: HeldProof,
    signed: Result<Signed, StatementError>,
}

impl Revoking {
    async fn run(&self, tx: &mut Tx) -> Result<Result<RevokeOutcome, ApiError>, StoreError> {
        if let Err(refused) = accepted(tx.remember_proof(&self.proof).await?) {
            return Ok(Err(refused.into()));
        }
        let did = self.proof.did();
        let found = match self.id {
            Some(id) => tx.session(id).await?.filter(|session| session.did == *did),
            None => None,
        };
        let Some(session) = found else { return Ok(Err(ErrorCode::SessionNotFound.into())) };
        let received = Received { issuer: &self.app.issuer, now: tx.now, did };
        let checked = match &self.signed {
            Ok(signed) => received.revocation(signed, &session),
            Err(error) => Err(*error),
        };
        let made = match checked {
            Ok(revocation) => revocation.into_made(),
            Err(error) => return Ok(Err(error.into())),
        };
        // The same bytes again repeat the answer; another statement under the same name is refused.
        let decision = match tx.statement_named(&jti_key(did, made.jti())).await? {
            Some(known) if known == made.statement() => None,
            Some(_) => {
                let why = "jti was used before";
                return Ok(Err(ApiError::detail(ErrorCode::InvalidStatement, why)));
            }
            None => Some(&made),
        };
        let at = tx.revoke_session(&session, RevokeReason::User, decision).await?;
        Ok(Ok(RevokeOutcome { session_id: session.id, status: ChallengeStatus::Revoked, at }))
    }
}
