//! A service looks at what it asked for, and gives it up (section 4).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use miid_protocol::link::WalletLink;
use miid_protocol::service::{Binding, Challenge as ChallengeBody, ChallengeStatus, ExpireReason, Withdraw};
use miid_protocol::{ChallengeId, ErrorCode, Problem, Timestamp};

use super::extract::{Body, Caller, PathId};
use super::{ApiError, App, AppState};
use crate::domain::{Challenge, State as ChallengeState};
use crate::store::{Service, StoreError, Tx};

/// Look at a challenge
#[utoipa::path(get, path = "/v1/auth/challenges/{id}", tag = "service", params(("id" = String, Path)),
    responses((status = 200, body = ChallengeBody), (status = 404, body = Problem)))]
pub(super) async fn show(
    State(app): State<App>,
    Caller(service): Caller,
    PathId(id): PathId,
) -> Result<Json<ChallengeBody>, ApiError> {
    let id = ChallengeId::parse(&id).map_err(|_| ErrorCode::ChallengeNotFound)?;
    let found = app.store.read().await?.challenge_of_service(id, &service.client_id).await?;
    let challenge = found.ok_or(ErrorCode::ChallengeNotFound)?;
    let mut body = app.show(&challenge);
    if let ChallengeState::Active(active) = &challenge.state {
        let session = app.store.read().await?.session(active.session_id).await?;
        let now = app.clock.now();
        if session.is_none_or(|session| !session.is_live(now)) {
            body.status = ChallengeStatus::Revoked;
        }
    }
    Ok(Json(body))
}

/// Give a challenge up
#[utoipa::path(post, path = "/v1/auth/challenges/{id}/withdraw", tag = "service", params(("id" = String, Path)),
    request_body = Withdraw,
    responses((status = 200, body = ChallengeBody), (status = 400, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn withdraw(
    State(app): State<App>,
    Caller(service): Caller,
    PathId(id): PathId,
    body: Body,
) -> Result<Json<ChallengeBody>, ApiError> {
    let id = ChallengeId::parse(&id).map_err(|_| ErrorCode::ChallengeNotFound)?;
    let asked: Withdraw = if body.bytes.is_empty() { Withdraw::default() } else { body.json()? };
    let withdrawing = Arc::new(Withdrawing { app: app.clone(), id, service, asked });
    let result = app
        .store
        .write("withdraw", move |tx| {
            let withdrawing = withdrawing.clone();
            Box::pin(async move { withdrawing.run(tx).await })
        })
        .await?;
    result.map(|challenge| Json(app.show(&challenge)))
}

/// Everything that giving a challenge up needs, so that it can run again.
struct Withdrawing {
    app: App,
    id: ChallengeId,
    service: Service,
    asked: Withdraw,
}

impl Withdrawing {
    async fn run(&self, tx: &mut Tx) -> Result<Result<Challenge, ApiError>, StoreError> {
        let now = tx.now;
        let Some(challenge) = tx.challenge_of_service(self.id, &self.service.client_id).await? else {
            return Ok(Err(ErrorCode::ChallengeNotFound.into()));
        };
        let reason = match self.asked.response_code.as_deref() {
            None => ExpireReason::Withdrawn,
            // It came back through a browser that did not begin this sign-in.
            Some(code) if self.is_right(&challenge, code, now) => ExpireReason::OtherBrowser,
            Some(_) => return Ok(Err(ErrorCode::WrongResponseCode.into())),
        };
        Ok(match challenge.withdraw(reason, now) {
            Err(refusal) => Err(refusal.into()),
            Ok(None) => Ok(challenge),
            Ok(Some(step)) => {
                let next = step.next.clone();
                tx.advance(step, None);
                Ok(next)
            }
        })
    }

    fn is_right(&self, challenge: &Challenge, code: &str, now: Timestamp) -> bool {
        challenge.has_response_code(now)
            && self.app.keys.is_response_code(challenge.id, challenge.approvals, code)
    }
}

impl AppState {
    /// A challenge as its service sees it now.
    pub(super) fn show(&self, challenge: &Challenge) -> ChallengeBody {
        let (status, reason) = challenge.standing(self.clock.now());
        let approved = match &challenge.state {
            ChallengeState::Approved(approved) if status == ChallengeStatus::Approved => Some(approved),
            _ => None,
        };
        let code = approved.map(|_| self.keys.code(challenge.id, challenge.approvals));
        ChallengeBody {
            challenge_id: challenge.id,
            nonce: challenge.nonce.clone(),
            request: challenge.request.clone(),
            status,
            reason,
            binding: challenge.binding,
            expires_at: challenge.expires_at,
            match_code: (challenge.binding == Binding::Addressed).then(|| self.keys.match_code(challenge.id)),
            wallet_link: (challenge.binding == Binding::Linked).then(|| self.wallet_link(challenge)),
            claimed: challenge.binding == Binding::Linked && challenge.did.is_some(),
            authorization_code: code.map(|code| code.expose().to_owned()),
            code_expires_at: approved.map(|approved| approved.code_expires_at),
            did: approved.and(challenge.did.clone()),
        }
    }
    /// What a page opens in the wallet. Nothing of it is stored.
    fn wallet_link(&self, challenge: &Challenge) -> String {
        let secret = self.keys.link_secret(challenge.id);
        WalletLink { challenge_id: challenge.id, issuer: self.issuer.clone(), secret }.to_text()
    }
}
