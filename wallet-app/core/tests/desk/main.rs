//! A whole desk against gateways that a test plays: first run, locked and open, links, rules, decisions, and what
//! happens when two of these happen at once.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod decisions;
mod door;
mod links;
mod people;
mod play;
mod quiet;
mod step_up;
