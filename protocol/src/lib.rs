//! What crosses a wire in MiID. No I/O, no clock, no randomness: bytes come in, values come out.
//!
//! One sign-in touches every module, in this order:
//!
//! 1. A browser asks its service to sign in ([`browser`]); the service asks the gateway for a
//!    challenge ([`service`]), which is one JSON text that the wallet will show ([`request`]).
//! 2. The gateway tells the wallet ([`events`]).
//! 3. The wallet, named by a DID ([`did`]), sends its decision ([`wallet`]). Each of its requests
//!    carries a fresh [`proof`], and the decision itself is a [`statement`]; both are strict compact
//!    JWS ([`jws`]) over strict JSON ([`json`]).
//!    A linked sign-in crosses from browser to wallet and back by two addresses ([`link`]).
//! 4. The service exchanges the code for tokens ([`service`], [`secret`]).
//! 5. Whatever goes wrong is a [`problem`] with one of the codes of section 8.
//!
//! Sections named in the documentation are those of `docs/protocol.md`.

pub mod browser;
pub mod did;
pub mod events;
pub mod ids;
pub mod json;
pub mod jws;
pub mod link;
pub mod paths;
pub mod problem;
pub mod proof;
pub mod request;
pub mod secret;
pub mod service;
pub mod statement;
pub mod text;
pub mod time;
pub mod wallet;

pub use did::Did;
pub use ids::{ChallengeId, ClientId, Handle, Issuer, LoginHint, SessionId};
pub use problem::{ErrorCode, Problem};
pub use time::{Lifetime, Timestamp};

/// Re-exported so that whoever signs or verifies uses the same generation of keys.
pub use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
