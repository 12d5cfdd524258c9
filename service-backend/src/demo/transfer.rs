//! The shop's own calls, which go through the edge to an API server: looking at an account, and sending something
//! from it. Small amounts need a page that is connected, large ones the person's approval as well.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method};
use miid_protocol::problem::ErrorCode;

use super::account::{Balance, Done, Transfer, api};
use super::edge::{Edge, Fault};
use super::problem::Problem;
use crate::refusal::Refusal;
use crate::routes::body;
use crate::sign_in::SignIn;
use crate::signed_in::SignedIn;
use crate::step_up::StepUp;

/// Who is signed in, and where the API is.
#[derive(Clone)]
struct Shop {
    sign_in: SignIn,
    edge: Option<Arc<Edge>>,
}

impl FromRef<Shop> for SignIn {
    fn from_ref(shop: &Shop) -> Self {
        shop.sign_in.clone()
    }
}

/// `edge` is where the API is; without one both calls say that there is none.
pub(super) fn routes(sign_in: &SignIn, edge: Option<Edge>) -> Router {
    let shop = Shop { sign_in: sign_in.clone(), edge: edge.map(Arc::new) };
    Router::new()
        .route("/demo/balance", get(balance))
        .route("/demo/transfer", post(transfer))
        .method_not_allowed_fallback(async || Refusal::new(ErrorCode::MethodNotAllowed))
        .layer(from_fn(kept_by_nobody))
        .with_state(shop)
}

async fn kept_by_nobody(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route); // for a log line around all of this
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `GET /demo/balance`: a general call.
async fn balance(State(shop): State<Shop>, user: SignedIn) -> Result<Json<Balance>, No> {
    let edge = shop.edge()?;
    let token = shop.sign_in.access_token(&user).await?;
    Ok(Json(edge.call(Method::GET, api::BALANCE.0, &token, None::<&()>).await?))
}

/// `POST /demo/transfer`: a critical call.
async fn transfer(
    State(shop): State<Shop>,
    user: SignedIn,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Done>, No> {
    let edge = shop.edge()?;
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::InvalidRequest("Encoded bodies are not accepted.").into());
    }
    let wanted: Transfer = body::json(&headers, body).await?;
    wanted.check()?;
    if wanted.is_large() {
        return shop.transfer_large(edge, &user, &wanted).await.map(Json);
    }
    let token = shop.sign_in.access_token(&user).await?;
    Ok(Json(edge.call(Method::POST, api::TRANSFERS.0, &token, Some(&wanted)).await?))
}

impl Shop {
    fn edge(&self) -> Result<&Edge, Problem> {
        self.edge.as_deref().ok_or(Problem::ApiAway)
    }

    /// With the token of a step-up where there is one. Whether that is young enough the edge says; where it says
    /// no, the person is asked.
    async fn transfer_large(&self, edge: &Edge, user: &SignedIn, wanted: &Transfer) -> Result<Done, No> {
        let token = match self.sign_in.step_up_token(user).await? {
            Some(token) => token,
            None => self.sign_in.access_token(user).await?,
        };
        match edge.call(Method::POST, api::LARGE_TRANSFERS.0, &token, Some(wanted)).await {
            Ok(done) => Ok(done),
            Err(Fault::StepUp | Fault::Expired) => {
                let message = format!("Send {} to {}", wanted.amount, wanted.to);
                Err(self.sign_in.step_up(user, &message).await?.into())
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

/// The answer where nothing was done, or nobody knows. Boxed: most calls succeed.
struct No(Box<Response>);

impl IntoResponse for No {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(refusal.into_response()))
    }
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem.into_response()))
    }
}

/// 401, and what the page needs so that the person can approve.
impl From<StepUp> for No {
    fn from(step_up: StepUp) -> Self {
        let (started, cookies) = step_up.into_parts();
        Self(Box::new((cookies, Problem::StepUpRequired.with(Some(&started))).into_response()))
    }
}

impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::SignedOut => Refusal::new(ErrorCode::NotAuthenticated).into(),
            Fault::NotActive => Problem::ActiveSessionRequired.into(),
            Fault::InsufficientFunds => Problem::InsufficientFunds.into(),
            Fault::StepUp | Fault::Expired | Fault::Away => Problem::ApiAway.into(),
            Fault::Lost => Problem::ApiLost.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_in_a_wallet_is_not_sent() {
        let transfer = |to: &str, amount| Transfer { to: to.to_owned(), amount }.check().is_ok();
        assert!(transfer("Bob", 1) && transfer("밥", 1_000_000));
        for to in ["", "  ", "Bob\u{202e}", "Bob\nto Eve", "the desk. Type 47", "Bob ٤٧", &"B".repeat(41)] {
            assert!(!transfer(to, 1), "{to:?}");
        }
        assert!(!transfer("Bob", 0) && !transfer("Bob", 1_000_001));
    }
}
