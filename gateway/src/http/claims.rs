//! A wallet takes a linked challenge (section 5): once, by one identity, with the secret out of the link.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use miid_protocol::secret::{LinkSecret, Secret};
use miid_protocol::service::Binding;
use miid_protocol::wallet::{ClaimChallenge, WalletChallenge};
use miid_protocol::{ChallengeId, ErrorCode, Problem};
use uuid::Uuid;

use super::extract::{PathId, Proved};
use super::turns::Turn;
use super::{ApiError, App};
use crate::domain::Challenge;
use crate::store::{ForClaim, StoreError, Tx};
use crate::verify::HeldProof;

/// Take a linked challenge
#[utoipa::path(post, path = "/v1/wallet/challenges/{id}/claim", tag = "wallet", params(("id" = String, Path)),
    request_body = ClaimChallenge,
    responses((status = 200, body = WalletChallenge), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem),
              (status = 429, body = Problem)))]
pub(super) async fn claim(
    State(app): State<App>,
    PathId(id): PathId,
    proved: Proved,
) -> Result<Json<WalletChallenge>, ApiError> {
    let sent: ClaimChallenge = proved.body.json()?;
    let id = ChallengeId::parse(&id).ok();
    let turn = app.turns.enter(proved.proof.did().as_str()).await?;
    let claiming = Arc::new(Claiming {
        app: app.clone(),
        id,
        person_key: app.keys.person_key(proved.proof.did()),
        // For an id that is none as well: a wrong secret and an unknown challenge cost the same.
        right: is_right(&app, id.unwrap_or(ChallengeId::from_uuid(Uuid::nil())), &sent.secret),
        proof: proved.proof,
        _turn: turn,
    });
    let challenge = app
        .store
        .write("claim", move |tx| {
            let claiming = claiming.clone();
            Box::pin(async move { claiming.run(tx).await })
        })
        .await??;
    metrics::counter!("miid_challenges_total", "outcome" => "claimed").increment(1);
    Ok(Json(app.show_wallet(&challenge, app.clock.now())))
}

/// Compared by hash, in constant time; what is no secret at all is a wrong one.
fn is_right(app: &App, id: ChallengeId, secret: &str) -> bool {
    let right = app.keys.link_secret(id).hash();
    Secret::<LinkSecret>::parse(secret).is_ok_and(|secret| secret.hash() == right)
}

/// Everything that a claim needs, so that it can run again.
struct Claiming {
    app: App,
    id: Option<ChallengeId>,
    person_key: String,
    right: bool,
    proof: HeldProof,
    _turn: Turn,
}

impl Claiming {
    /// Proof, secret, then whose it is and where it stands: without the secret nobody learns that it exists.
    async fn run(&self, tx: &mut Tx) -> Result<Result<Challenge, ApiError>, StoreError> {
        let found = tx.challenge_for_claim(self.id, &self.proof, &self.person_key).await?;
        let (challenge, claimed, first_ends) = match found {
            ForClaim::Replayed => return Ok(Err(ErrorCode::ReplayedProof.into())),
            ForClaim::Retired => return Ok(Err(ErrorCode::DidRetired.into())),
            ForClaim::NotFound => return Ok(Err(ErrorCode::ChallengeNotFound.into())),
            ForClaim::Found { challenge, claimed, first_ends } => (challenge, claimed, first_ends),
        };
        if !self.right || challenge.binding != Binding::Linked {
            return Ok(Err(ErrorCode::ChallengeNotFound.into()));
        }
        Ok(match challenge.claim(self.proof.did(), &self.person_key, tx.now) {
            Err(refusal) => Err(refusal.into()),
            Ok(None) => Ok(*challenge),
            // Only what this person has claimed counts: what strangers ask them must not shut them out.
            Ok(Some(_)) if claimed >= self.app.settings.bounds.pending_per_person => {
                let wait_s = (first_ends.millis() - tx.now.millis()) / 1000 + 1;
                Err(ApiError::new(ErrorCode::TooManyChallenges).retry_after_s(wait_s))
            }
            Ok(Some(step)) => {
                let next = step.next.clone();
                tx.advance(step, None);
                Ok(next)
            }
        })
    }
}
