//! The protocol over HTTP. A handler parses, loads, steps and saves; branching belongs to the domain,
//! words to [`error`]. The whole route table is on this page.

mod challenges;
mod claims;
mod control;
mod decisions;
mod error;
mod extract;
mod limits;
mod metrics;
mod opening;
mod presence;
mod retirement;
mod service_lists;
mod sessions;
mod streams;
mod tokens;
mod turns;
mod wallet_lists;
mod well_known;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use axum::Router;
use axum::routing::get;
use miid_protocol::{Issuer, paths};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use control::Control;
pub use error::ApiError;
pub use extract::Peer;
pub use limits::AddressLimits;
pub use metrics::{install as install_metrics, router as metrics_router};
pub use turns::{Turn, Turns};

use crate::clock::Clock;
use crate::config::Settings;
use crate::keys::ServerKeys;
use crate::store::{Store, StoreError};
use control::Current;

/// What every handler is given.
pub type App = Arc<AppState>;

/// The parts of a running gateway.
pub struct AppState {
    /// What is remembered.
    pub store: Store,
    /// What is derived.
    pub keys: Arc<ServerKeys>,
    /// This gateway's name.
    pub issuer: Issuer,
    /// What the operator chose.
    pub settings: Settings,
    /// Time.
    pub clock: Clock,
    /// Bounds per address.
    pub limits: AddressLimits,
    /// Bounds per identity.
    pub turns: Turns,
    /// About how many proofs are remembered.
    pub proofs: AtomicI64,
    /// Whether no more traffic is wanted.
    pub draining: AtomicBool,
    control: Current<Control>,
}

impl AppState {
    /// Puts the parts together.
    pub fn new(
        store: Store,
        keys: Arc<ServerKeys>,
        issuer: Issuer,
        settings: Settings,
        control: Control,
    ) -> App {
        let limits = AddressLimits::new(&settings.bounds);
        let clock = store.clock().clone();
        Arc::new(Self {
            store,
            keys,
            issuer,
            settings,
            clock,
            limits,
            turns: Turns::default(),
            proofs: AtomicI64::new(0),
            draining: AtomicBool::new(false),
            control: Current::new(control),
        })
    }

    /// Services and keys as they are now.
    pub fn control(&self) -> Arc<Control> {
        self.control.get()
    }

    /// Reads them again, when nobody else is reading them; `None` leaves them as they are.
    pub async fn renew_control(
        &self,
        read: impl Future<Output = Result<Option<Control>, StoreError>>,
    ) -> Result<(), StoreError> {
        self.control.renew(read).await
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "MiID auth gateway",
        description = "Sign in by approving in a wallet. The protocol is docs/protocol.md; errors are RFC 9457 problems.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(miid_protocol::Problem)),
    tags(
        (name = "service", description = "Service to gateway; HTTP Basic with client_id and client_secret"),
        (name = "token", description = "Tokens; JSON or form; HTTP Basic"),
        (name = "wallet", description = "Wallet to gateway; Authorization: DIDProof"),
        (name = "public", description = "Anyone"),
    )
)]
struct ApiDoc;

/// The routes with their description.
fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        // Service
        .routes(routes!(opening::create))
        .routes(routes!(challenges::show))
        .routes(routes!(challenges::withdraw))
        .routes(routes!(streams::service_events))
        .routes(routes!(service_lists::challenges))
        .routes(routes!(service_lists::sessions))
        // Tokens and sessions
        .routes(routes!(tokens::exchange))
        .routes(routes!(sessions::introspect))
        .routes(routes!(sessions::revoke_token))
        .routes(routes!(sessions::userinfo))
        .routes(routes!(sessions::end))
        .routes(routes!(presence::report))
        .routes(routes!(presence::active))
        // Wallet
        .routes(routes!(streams::wallet_events))
        .routes(routes!(wallet_lists::challenges))
        .routes(routes!(claims::claim))
        .routes(routes!(decisions::approve))
        .routes(routes!(decisions::deny))
        .routes(routes!(decisions::cancel))
        .routes(routes!(wallet_lists::sessions))
        .routes(routes!(decisions::revoke))
        .routes(routes!(wallet_lists::claim_handle))
        .routes(routes!(retirement::retire))
        // Anyone
        .routes(routes!(well_known::jwks))
        .routes(routes!(well_known::metadata))
        .routes(routes!(well_known::healthz))
        .routes(routes!(well_known::readyz))
}

/// The gateway's description of itself, as JSON text.
pub fn openapi() -> String {
    described().into_openapi().to_pretty_json().unwrap_or_default()
}

/// Every route.
pub fn router(app: App) -> Router {
    let (router, api) = described().split_for_parts();
    let description: Arc<str> = api.to_json().unwrap_or_default().into();
    router
        .route(
            paths::OPENAPI,
            get(move || {
                let description = description.clone();
                async move { ([(http::header::CONTENT_TYPE, "application/json")], description.to_string()) }
            }),
        )
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn(metrics::count))
        .with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_openapi_description_has_every_route() {
        let description: serde_json::Value = serde_json::from_str(&openapi()).expect("JSON");
        let described = description["paths"].as_object().expect("paths");
        let routes = [
            paths::CHALLENGE,
            paths::CHALLENGE_BY_ID,
            paths::CHALLENGE_WITHDRAW,
            paths::SERVICE_EVENTS,
            paths::SERVICE_CHALLENGES,
            paths::SERVICE_SESSIONS,
            paths::TOKEN_EXCHANGE,
            paths::TOKEN_INTROSPECT,
            paths::TOKEN_REVOKE,
            paths::USERINFO,
            paths::SESSION_BY_ID,
            paths::SERVICE_PRESENCE,
            paths::SESSIONS_ACTIVE,
            paths::JWKS,
            paths::METADATA,
            paths::WALLET_EVENTS,
            paths::WALLET_CHALLENGES,
            paths::WALLET_CLAIM,
            paths::WALLET_APPROVE,
            paths::WALLET_DENY,
            paths::WALLET_CANCEL,
            paths::WALLET_SESSIONS,
            paths::WALLET_REVOKE,
            paths::WALLET_HANDLE,
            paths::WALLET_RETIRE,
            paths::HEALTHZ,
            paths::READYZ,
        ];
        for route in routes {
            assert!(described.contains_key(route), "{route} is not described");
        }
        assert_eq!(described.len(), routes.len(), "a route that the protocol's paths do not name");
    }

    #[test]
    fn the_committed_openapi_document_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let text = openapi() + "\n";
        if std::env::var_os("MIID_UPDATE").is_some() {
            std::fs::write(path, &text).expect("written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == text, "docs/openapi.json is stale: run `cargo xtask codegen`");
    }
}
