//! A service of one's own, signed in to with a wallet:
//! `MIID_SERVICE_CLIENT_SECRET=miid_cs_… cargo run -p miid-service --example own_service`

use axum::Router;
use axum::routing::{get, post};
use miid_service::{Config, SignIn, SignedIn};

/// Anyone; who is signed in gets more.
async fn front(user: Option<SignedIn>) -> String {
    match user {
        Some(user) => format!("Welcome back, {}.", user.claims.get("name").unwrap_or(&user.sub)),
        None => "Welcome. POST /auth/start signs you in.".to_owned(),
    }
}

/// Only who is signed in. The account is (iss, sub); what stands in the claims is their own word.
async fn buy(user: SignedIn) -> String {
    format!("Sold to {} of {}.", user.sub, user.iss)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("MIID_SERVICE_CLIENT_SECRET")?;
    let config = Config::new("http://127.0.0.1:14000", "demo-shop", &secret, "http://127.0.0.1:15001")?;
    let miid = SignIn::connect(config).await?;

    let app = Router::new()
        .route("/", get(front))
        .route("/buy", post(buy))
        .merge(miid.routes())
        .with_state(miid.clone());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:15001").await?;
    let stop = async { _ = tokio::signal::ctrl_c().await };
    Ok(miid.serve(listener, app, stop).await?)
}
