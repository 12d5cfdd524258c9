//! Who relies on MiID: sign-in routes and a [`SignedIn`] extractor for an axum service, and the demo
//! shop that is built from them ([`demo`]).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use miid_service::{Config, ReturnPage, SignIn, SignedIn};
//!
//! async fn hello(user: SignedIn) -> String {
//!     format!("Hello, {}", user.sub)
//! }
//!
//! let secret = std::env::var("MIID_SERVICE_CLIENT_SECRET")?;
//! let config = Config::new("https://gateway.example", "my-shop", &secret, "https://shop.example")?;
//! let miid = SignIn::connect(config).await?;
//! let app = Router::new()
//!     .route("/", get(hello))
//!     .merge(miid.routes())
//!     .merge(miid.return_page(ReturnPage::file("pages/index.html")))
//!     .with_state(miid.clone());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:15000").await?;
//! miid.serve(listener, app, async { let _ = tokio::signal::ctrl_c().await; }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A sign-in, step by step:
//!
//! 1. `POST /auth/start` (`routes::start`): the service asks the gateway for a challenge and gives this
//!    browser a cookie for it. The row of this login (`logins`) is waiting. With a hint the challenge is
//!    *addressed* to a person and the page shows a number; without one it is *linked*: the page opens the
//!    wallet on the same machine.
//! 2. The page watches (`routes::login`); the person decides in the wallet.
//! 3. The gateway tells every instance of this service on its one event stream (`events`). The first
//!    that moves the row from waiting to exchanging exchanges the code (`finish`); the others do nothing.
//!    A linked login waits for its own browser first: the wallet opens `GET /auth/return` in it
//!    ([`ReturnPage`]), whose script posts the response code (`routes::returned`). Without the login cookie
//!    that code ends the sign-in instead of finishing it.
//! 4. The tokens stay here, sealed (`seal`); the row is active, and whoever watches is told (`wakes`).
//! 5. `POST /auth/complete` gives the browser its `sid`: from here on [`SignedIn`] finds a session
//!    (`sessions`), for as long as the gateway vouches for it.
//! 6. When the session ends, anywhere, the stream says so and every page that watches is told at once.
//!
//! Before something critical [`SignIn::step_up`] asks the person once more, on the same way (`step_up`): what comes
//! of it is a short token for the session that is there already, [`SignIn::step_up_token`].
//!
//! The browser never holds a token or a key; the database holds no secret in the clear; what a process
//! leaves undone when it dies is found in the store and taken up (`housekeeping`).
//!
//! Sections named in the documentation are those of `docs/protocol.md`.

mod config;
mod outside;
mod return_page;
mod sign_in;
mod signed_in;
mod step_up;

mod routes;

mod address;
mod agent;
mod cookies;
mod refusal;
mod same_origin;
mod serve;

mod events;
mod finish;
mod gateway;
mod housekeeping;
mod link;
mod logins;
mod presence;
mod seal;
mod sessions;
mod store;
mod wakes;

pub mod demo;

pub use address::{Network, NetworkError};
pub use config::{
    Bindings, Config, ConfigError, DEFAULT_FAIL_CLOSED_AFTER, DEFAULT_INTROSPECT_AFTER, DEFAULT_START_RATE,
};
pub use outside::Outside;
pub use refusal::Refusal;
pub use return_page::ReturnPage;
pub use seal::KeyError;
pub use sign_in::{ConnectError, SignIn};
pub use signed_in::{AccessToken, SignedIn};
pub use step_up::StepUp;
pub use store::{OpenError, StoreError};
