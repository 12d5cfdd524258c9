//! An identity ends (section 5): by its wallet, or by whoever holds the sheet of paper with the statement on it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use miid_protocol::statement::{Retirement, Signed, StatementError};
use miid_protocol::wallet::{Retire, RetireOutcome};
use miid_protocol::{Did, ErrorCode, Problem, Timestamp};

use super::extract::{MaybeProved, claimed_key};
use super::turns::Turn;
use super::{ApiError, App};
use crate::store::{Remembered, Retired, StoreError, Tx};
use crate::verify::{HeldProof, Received};

/// Longest statement of a retirement (section 5).
const MAX_STATEMENT: usize = 1024;

/// End an identity, for ever
///
/// The statement may come without a proof: the identity itself has signed it, and what it does is final.
#[utoipa::path(post, path = "/v1/wallet/retire", tag = "wallet", request_body = Retire,
    responses((status = 200, body = RetireOutcome, description = "Again: the same answer"),
              (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn retire(
    State(app): State<App>,
    request: MaybeProved,
) -> Result<Json<RetireOutcome>, ApiError> {
    let MaybeProved { proof, body, address } = request;
    let sent = body.json::<Retire>().and_then(within_bounds);
    let (did, signed) = match (&proof, sent) {
        (Some(proof), sent) => (proof.did().clone(), Signed::open(&sent?.statement)),
        (None, sent) => {
            // Whoever proves nothing is answered as such, whatever is wrong.
            let statement = sent.map_err(|_| unproved())?.statement;
            let claimed = claimed_key(&statement).ok_or_else(unproved)?;
            app.limits.did(address, &claimed)?;
            let signed = Signed::open(&statement).map_err(|_| unproved())?;
            (signed.did().clone(), Ok(signed))
        }
    };
    let person_key = app.keys.person_key(&did);
    let mut retiring =
        Retiring { app: app.clone(), proof, signed, did: did.clone(), person_key, _turn: None };
    // Only what would count costs a place, and none that the identity's other calls could take: whoever has stolen
    // the key must not be able to keep its owner waiting.
    if retiring.retirement(app.clock.now()).is_ok() {
        app.limits.retirement(address)?;
        retiring._turn = Some(app.turns.enter(&format!("retire/{did}")).await?);
    }
    let retiring = Arc::new(retiring);
    let retired = app
        .store
        .write("retire", move |tx| {
            let retiring = retiring.clone();
            Box::pin(async move { retiring.run(tx).await })
        })
        .await??;
    if let Some(ended) = retired.ended {
        metrics::counter!("miid_identities_retired_total").increment(1);
        metrics::counter!("miid_sessions_revoked_total", "by" => "retire").increment(ended as u64);
        tracing::info!(sessions = ended, "an identity was retired");
    }
    Ok(Json(RetireOutcome { did, at: retired.at }))
}

/// It is kept for ever, so it holds no more than it needs.
fn within_bounds(sent: Retire) -> Result<Retire, ApiError> {
    if sent.statement.len() <= MAX_STATEMENT {
        return Ok(sent);
    }
    Err(ApiError::detail(ErrorCode::InvalidStatement, "it is longer than any retirement"))
}

fn unproved() -> ApiError {
    let why = "without a proof, a statement is needed that retires its signer at this gateway";
    ApiError::detail(ErrorCode::InvalidProof, why)
}

/// Everything that a retirement needs, so that it can run again.
struct Retiring {
    app: App,
    proof: Option<HeldProof>,
    signed: Result<Signed, StatementError>,
    /// Whose proof came, or, without one, who signed.
    did: Did,
    person_key: String,
    _turn: Option<Turn>,
}

impl Retiring {
    async fn run(&self, tx: &mut Tx) -> Result<Result<Retired, ApiError>, StoreError> {
        let remembered = match &self.proof {
            Some(proof) => Some(tx.remember_proof(proof).await?),
            None => None,
        };
        if remembered == Some(Remembered::Replayed) {
            return Ok(Err(ErrorCode::ReplayedProof.into()));
        }
        Ok(match (self.retirement(tx.now), remembered) {
            (Ok(retirement), _) => Ok(tx.retire(&self.did, &self.person_key, &retirement).await?),
            (Err(_), None) => Err(unproved()),
            (Err(_), Some(Remembered::Retired)) => Err(ErrorCode::DidRetired.into()),
            (Err(error), Some(_)) => Err(error.into()),
        })
    }

    fn retirement(&self, now: Timestamp) -> Result<Retirement, StatementError> {
        let received = Received { issuer: &self.app.issuer, now, did: &self.did };
        received.retirement(self.signed.as_ref().map_err(|error| *error)?)
    }
}
