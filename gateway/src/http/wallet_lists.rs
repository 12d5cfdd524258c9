//! What a wallet can look at and call itself (section 5). Each call uses up its proof.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use miid_protocol::link::Returned;
use miid_protocol::service::ChallengeStatus;
use miid_protocol::wallet::{
    ClaimHandle, HandleClaimed, SessionService, WalletChallenge, WalletChallengeList, WalletSession,
    WalletSessionList,
};
use miid_protocol::{ErrorCode, Handle, Problem, Timestamp};

use super::extract::{Proved, accepted};
use super::{ApiError, App, AppState};
use crate::domain::Challenge;
use crate::store::Claim;
use crate::verify::HeldProof;

/// Most challenges in a list; quotas keep them below.
const MAX_CHALLENGES: i64 = 200;
/// Most sessions in a list.
const MAX_SESSIONS: i64 = 1000;

impl AppState {
    /// A challenge as its wallet sees it at `now`.
    pub(super) fn show_wallet(&self, challenge: &Challenge, now: Timestamp) -> WalletChallenge {
        WalletChallenge {
            challenge_id: challenge.id,
            status: challenge.standing(now).0,
            request: challenge.request.clone(),
            expires_at: challenge.expires_at,
            return_to: self.return_to(challenge, now),
        }
    }

    /// What a wallet opens in the person's browser: while a linked challenge waits for its exchange.
    pub(super) fn return_to(&self, challenge: &Challenge, now: Timestamp) -> Option<String> {
        let url = challenge.return_url.as_deref()?;
        let approved = challenge.standing(now).0 == ChallengeStatus::Approved;
        let returned = Returned {
            challenge_id: challenge.id,
            response_code: self.keys.response_code(challenge.id, challenge.approvals),
            issuer: self.issuer.clone(),
            // Only the browser that comes back learns it: whoever merely made the link does not.
            did: challenge.did.clone(),
        };
        approved.then(|| returned.to_address(url))
    }

    /// Uses up a proof that no other transaction carries.
    async fn use_up(&self, proof: HeldProof) -> Result<HeldProof, ApiError> {
        let shared = Arc::new(proof);
        let proof = shared.clone();
        let remembered = self
            .store
            .write("remember_proof", move |tx| {
                let proof = proof.clone();
                Box::pin(async move { tx.remember_proof(&proof).await })
            })
            .await?;
        accepted(remembered)?;
        Ok((*shared).clone())
    }
}

/// Pending and approved challenges, newest first
#[utoipa::path(get, path = "/v1/wallet/challenges", tag = "wallet",
    responses((status = 200, body = WalletChallengeList), (status = 401, body = Problem),
              (status = 403, body = Problem)))]
pub(super) async fn challenges(
    State(app): State<App>,
    proved: Proved,
) -> Result<Json<WalletChallengeList>, ApiError> {
    let proof = app.use_up(proved.proof).await?;
    let open = app
        .store
        .read()
        .await?
        .open_challenges_of_wallet(proof.did(), &app.keys.person_key(proof.did()), MAX_CHALLENGES)
        .await?;
    let now = app.clock.now();
    let challenges = open
        .iter()
        .map(|challenge| app.show_wallet(challenge, now))
        .filter(|challenge| !challenge.status.is_final());
    Ok(Json(WalletChallengeList { challenges: challenges.collect() }))
}

/// Live sessions, newest first
#[utoipa::path(get, path = "/v1/wallet/sessions", tag = "wallet",
    responses((status = 200, body = WalletSessionList), (status = 401, body = Problem),
              (status = 403, body = Problem)))]
pub(super) async fn sessions(
    State(app): State<App>,
    proved: Proved,
) -> Result<Json<WalletSessionList>, ApiError> {
    let proof = app.use_up(proved.proof).await?;
    let now = app.clock.now();
    let mut reader = app.store.read().await?;
    let live = reader.live_sessions_of_wallet(proof.did(), MAX_SESSIONS, now).await?;
    let control = app.control();
    let known = live.iter().all(|session| control.services.contains_key(&session.client_id));
    // Registered within the last second: the store knows its name.
    let fresh = if known { HashMap::new() } else { reader.services().await? };
    let sessions = live.into_iter().map(|session| {
        let service = control.services.get(&session.client_id).or_else(|| fresh.get(&session.client_id));
        let name = service.map(|service| service.name.clone());
        WalletSession {
            session_id: session.id,
            claims: session.claims().into_keys().collect(),
            service: SessionService {
                name: name.unwrap_or_else(|| session.client_id.to_string()),
                id: session.client_id,
            },
            scopes: session.scopes,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
        }
    });
    Ok(Json(WalletSessionList { sessions: sessions.collect() }))
}

/// Claim a handle, or release the one held
#[utoipa::path(put, path = "/v1/wallet/handle", tag = "wallet", request_body = ClaimHandle,
    responses((status = 200, body = HandleClaimed), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn claim_handle(
    State(app): State<App>,
    proved: Proved,
) -> Result<Json<HandleClaimed>, ApiError> {
    let asked: ClaimHandle = proved.body.json()?;
    let handle = asked.handle.as_deref().map(Handle::parse).transpose().map_err(|_| {
        ApiError::detail(
            ErrorCode::InvalidRequest,
            "a handle has 3 to 32 of a-z 0-9 _ - between letters or digits",
        )
    })?;
    let person_key = app.keys.person_key(proved.proof.did());
    let turn = app.turns.enter(proved.proof.did().as_str()).await?;
    let inputs = Arc::new((proved.proof, handle.clone(), person_key, turn));
    let claimed = app
        .store
        .write("claim_handle", move |tx| {
            let inputs = inputs.clone();
            Box::pin(async move {
                let (proof, handle, person_key, _) = &*inputs;
                // A retirement lets go of the handle, and none may be claimed behind its back.
                tx.lock_person(person_key).await?;
                if let Err(refused) = accepted(tx.remember_proof(proof).await?) {
                    return Ok(Err(refused));
                }
                match handle {
                    None => tx.release_handle(proof.did()).await.map(Ok),
                    Some(handle) => Ok(match tx.claim_handle(proof.did(), person_key, handle).await? {
                        Claim::Held => Ok(()),
                        Claim::Taken => Err(ErrorCode::HandleTaken),
                    }),
                }
            })
        })
        .await?;
    claimed?;
    Ok(Json(HandleClaimed { handle: handle.map(|handle| handle.to_string()) }))
}
