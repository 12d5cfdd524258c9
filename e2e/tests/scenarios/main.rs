//! What MiID claims, each claim tried on the real programs. A file is about one subject; a test's name is its
//! claim, and its last word the database that it was tried on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scenario fails where it stands")]

mod bad_input;
mod bounds;
mod browsers;
mod crashes;
mod decisions;
mod edge;
mod edge_bounds;
mod edge_critical;
mod edge_forwarding;
mod edge_heads;
mod edge_http2;
mod edge_keys;
mod edge_operations;
mod edge_routes;
mod edge_silence;
mod edge_smuggling;
mod edge_tokens;
mod edge_trailers;
mod exchanges;
mod instances;
mod linked;
mod linked_browser;
mod linked_chromium;
mod linked_claims;
mod logouts;
mod operations;
mod pages;
mod presence;
mod proofs;
mod quotas;
mod restarts;
mod retire;
mod retire_bounds;
mod retire_races;
mod sessions;
mod sign_in;
mod step_up_edge;
mod step_up_ends;
mod step_up_gateway;
mod step_up_service;
mod streams;
mod terminals;
mod tokens;
mod transfer;
mod wallet_cli;
