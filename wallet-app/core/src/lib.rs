//! The MiID wallet without a window: it holds a person's keys and asks them before it signs.
//!
//! 1. A [`vault`] keeps identities ([`identity`], [`profile`]) sealed: by the desktop's [`keychain`], or by a
//!    passphrase ([`seal`]); [`files`] says how anything gets to the disk.
//! 2. A [`client`] calls the gateway. Each request carries a fresh proof, made with [`entropy`] and by the
//!    gateway's [`clock`]; the key does not leave this crate.
//! 3. A [`wallet`] follows the event [`stream`] and keeps the [`queue`] of what waits. A [`request`] is shown
//!    only as it was parsed from the text whose digest is signed.
//! 4. The person decides, or decided in advance ([`rules`]); [`policy`] says what can be signed; the wallet sends it
//!    until it is clear what became of it, tells its watchers ([`update`]) and writes it down ([`memory`],
//!    [`history`]). A linked yes sends their browser back ([`return_to`]).
//! 5. What must outlive the computer goes on paper ([`recovery`]); what the wallet itself is to be like is kept in
//!    [`settings`].
//!
//! A window and the command line ([`cli`]) are equals: both forward commands to a [`Wallet`] and draw what it
//! says. Nothing listens on a port. Sections named in the documentation are those of `docs/protocol.md`.

pub mod clock;
pub mod entropy;
pub mod files;
pub mod identity;
pub mod profile;

pub mod keychain;
pub mod recovery;
mod scrub;
pub mod seal;
pub mod settings;
pub mod vault;

pub mod client;
mod sse;
pub mod stream;

pub mod history;
pub mod memory;
pub mod policy;
pub mod queue;
pub mod request;
pub mod return_to;
pub mod rules;
pub mod update;
pub mod wallet;

pub mod cli;
pub mod desk;

pub use client::{ClientError, GatewayClient};
pub use identity::Identity;
pub use policy::Approval;
pub use update::{Updates, WalletUpdate};
pub use vault::Vault;
pub use wallet::{Connection, DecisionError, Snapshot, Wallet};
