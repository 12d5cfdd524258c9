//! The auth gateway: who decides. It issues challenges, tells wallets, verifies what they signed,
//! hands out codes and tokens, and ends sessions.
//!
//! How one request flows, by the example of an approval:
//!
//! 1. [`http`] parses: path, body, proof and statement become types.
//! 2. [`verify`] checks what was signed; only it and the protocol crate can make a decision.
//! 3. [`domain`] says what comes next: a pure step, or a named refusal.
//! 4. [`store`] saves it in one transaction: compare-and-set, events, audit row; then commits.
//! 5. [`streams`] hands the committed events to whoever reads: wallets and services.
//!
//! What hangs on a session holds a lease on it ([`leases`]); with one of those, API calls go through the
//! [`edge`] to the servers behind.
//!
//! Around them: [`keys`] derives every secret that is shown again, [`config`] and [`cli`] are the
//! operator's side, [`server`] starts and stops it all, [`takeover`] frees event
//! streams of HTTP's buffers, [`upkeep`] does what time demands.

pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod edge;
pub mod http;
pub mod keys;
pub mod leases;
pub mod server;
pub mod store;
pub mod streams;
mod takeover;
pub mod upkeep;
pub mod verify;
