//! The demo's API server, which stands behind the gateway's edge. It knows no token: the edge says who calls, and
//! before anything critical the gateway says whether that person's page is connected right now.

mod accounts;
mod identity;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::HeaderMap;
use miid_protocol::problem::ErrorCode;
use miid_protocol::secret::{ClientSecret, Secret};
use miid_protocol::service::{ACR_STEP_UP, AskActive};
use miid_protocol::{ClientId, Issuer, Lifetime, paths};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::accounts::Accounts;
use self::identity::{Identities, Identity};
use super::account::{Balance, Done, Transfer, Transferred, api};
use super::problem::Problem;
use crate::gateway::Gateway;
use crate::outside::Outside;
use crate::refusal::Refusal;
use crate::routes::body;
use crate::serve;

/// How long ago a large transfer's approval may be, whatever the edge lets through.
const STEP_UP_FOR: Lifetime = Lifetime::from_secs(300);
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// What the API server is told.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Where the gateway is.
    pub gateway_url: Issuer,
    /// What the gateway calls itself.
    pub issuer: Issuer,
    /// The service whose people call.
    pub client_id: ClientId,
    /// And its password at the gateway.
    pub client_secret: Secret<ClientSecret>,
    /// Time and randomness.
    pub outside: Outside,
}

/// Serves the API until `signal`.
///
/// # Errors
/// Where no HTTP client can be made, or the listener fails for good.
pub async fn serve(
    config: ApiConfig,
    listener: TcpListener,
    signal: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let gateway = Gateway::new(&config.gateway_url, config.client_id.clone(), config.client_secret)
        .map_err(std::io::Error::other)?;
    let (gateway, outside) = (Arc::new(gateway), config.outside);
    let identities = Identities::new(gateway, config.issuer, config.client_id, outside);
    let api = Arc::new(Api { identities, accounts: Accounts::default() });
    serve::serve(listener, router(api), &CancellationToken::new(), signal, SHUTDOWN_PATIENCE).await
}

struct Api {
    identities: Identities,
    accounts: Accounts,
}

fn router(api: Arc<Api>) -> Router {
    let ok = async || Json(serde_json::json!({ "status": "ok" }));
    Router::new()
        .route(api::BALANCE.0, get(balance))
        .route(api::TRANSFERS.0, post(transfer))
        .route(api::LARGE_TRANSFERS.0, post(transfer_large))
        .route(paths::HEALTHZ, get(ok))
        .route(paths::READYZ, get(ok))
        .method_not_allowed_fallback(async || Refusal::new(ErrorCode::MethodNotAllowed))
        .fallback(async || Refusal::new(ErrorCode::NotFound))
        .with_state(api)
}

async fn balance(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Json<Balance>, Problem> {
    let who = api.identities.of(&headers, api::BALANCE.1).await?;
    Ok(Json(Balance { balance: api.accounts.balance(&who.sub) }))
}

async fn transfer(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    api.transfer(api::TRANSFERS.1, &headers, body).await
}

async fn transfer_large(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, Problem> {
    api.transfer(api::LARGE_TRANSFERS.1, &headers, body).await
}

impl Api {
    /// 15a, or 15b.
    async fn transfer(&self, route: &str, headers: &HeaderMap, body: Body) -> Result<Json<Done>, Problem> {
        let who = self.identities.of(headers, route).await?;
        let unreadable = |_| Problem::InvalidRequest("The body is not the expected JSON object.");
        let wanted: Transfer = body::json(headers, body).await.map_err(unreadable)?;
        self.decide(&who, wanted).await.map(Json)
    }

    async fn decide(&self, who: &Identity, wanted: Transfer) -> Result<Done, Problem> {
        wanted.check()?;
        if wanted.is_large() && !self.is_stepped_up(who) {
            return Err(Problem::StepUpMissing);
        }
        if !self.is_active(who).await? {
            return Err(Problem::ActiveSessionRequired);
        }
        let outside = &self.identities.outside;
        let balance = self.accounts.take(&who.sub, wanted.amount)?;
        let id = format!("{:032x}", u128::from_le_bytes(outside.random()));
        tracing::info!(amount = wanted.amount, id, "transferred");
        let transferred = Transferred { to: wanted.to, amount: wanted.amount, at: outside.now(), id };
        Ok(Done { transferred, balance })
    }

    /// Once more, so that no mistake in the edge's file lets a large transfer through on the small ones' path.
    fn is_stepped_up(&self, who: &Identity) -> bool {
        let now_s = self.identities.outside.now().seconds();
        who.acr.as_deref() == Some(ACR_STEP_UP)
            && who.auth_time.is_some_and(|at_s| now_s.saturating_sub(at_s) <= STEP_UP_FOR.seconds())
    }

    /// Arrows 13 and 14: this very session must have a page open. What cannot be found out is no.
    async fn is_active(&self, who: &Identity) -> Result<bool, Problem> {
        let asked = AskActive { session_id: Some(who.sid), ..AskActive::default() };
        match self.identities.gateway.activity(&asked).await {
            Ok(activity) => Ok(activity.active),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "whether a person is connected cannot be found out"
                );
                Err(Problem::GatewayAway)
            }
        }
    }
}
