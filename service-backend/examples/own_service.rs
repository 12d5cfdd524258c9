//! A service of one's own, signed in to with a wallet:
//! `MIID_SERVICE_CLIENT_SECRET=miid_cs_… cargo run -p miid-service --example own_service`
//!
//! The gateway has to know it, and where its browsers come back to:
//! `miid-gateway service add demo-shop --name "My Shop" --return-url http://127.0.0.1:15001/auth/return`

use axum::Router;
use axum::routing::{get, post};
use miid_service::{Bindings, Config, ReturnPage, SignIn, SignedIn};

/// Anyone; who is signed in gets more.
async fn front(user: Option<SignedIn>) -> String {
    match user {
        Some(user) => format!("Welcome back, {}.", user.claims.get("name").unwrap_or(&user.sub)),
        None => "Welcome. POST /auth/start signs you in: {} opens your wallet here, \
                 {\"login_hint\": \"alice\"} asks Alice's, wherever it is."
            .to_owned(),
    }
}

/// Only who is signed in. The account is (iss, sub); what stands in the claims is their own word.
async fn buy(user: SignedIn) -> String {
    format!("Sold to {} of {}.", user.sub, user.iss)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("MIID_SERVICE_CLIENT_SECRET")?;
    let mut config = Config::new("http://127.0.0.1:14000", "demo-shop", &secret, "http://127.0.0.1:15001")?;
    // Both ways of signing in, which is also what nobody says; `Linked` alone is what no page can relay.
    config.bindings = Bindings::Any;
    let miid = SignIn::connect(config).await?;

    let app = Router::new()
        .route("/", get(front))
        .route("/buy", post(buy))
        .merge(miid.routes())
        // What the wallet opens; a page of yours, here the demo's (`npm run build` in frontend/).
        .merge(miid.return_page(ReturnPage::file("frontend/dist/index.html")))
        .nest_service("/assets", tower_http::services::ServeDir::new("frontend/dist/assets"))
        .with_state(miid.clone());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:15001").await?;
    let stop = async { _ = tokio::signal::ctrl_c().await };
    Ok(miid.serve(listener, app, stop).await?)
}
