//! What a person keeps on paper, for the day on which the computer is gone: the key as words ([`words`]), and
//! statements that end the identity should somebody else have found it ([`retire`](self::retire)).
//!
//! Whoever has the sheet has the identity. So it is made only when it is asked for, is wiped with its last use,
//! and has no `Debug`.

mod retire;
mod sheet;
mod words;

use miid_protocol::{Did, Issuer, Timestamp};
use serde::Serialize;

pub use retire::{CannotSign, NoRetirement, RetireStatement};
pub use words::{RecoveryWords, WORDS, WordsError};

/// One identity, ready to be printed.
#[derive(Serialize)]
pub struct RecoverySheet {
    /// What the person calls it.
    pub name: String,
    /// Its DID.
    pub did: Did,
    /// Where it is enrolled.
    pub gateways: Vec<Issuer>,
    /// The key.
    pub words: RecoveryWords,
    /// One per gateway.
    pub retire: Vec<RetireStatement>,
    /// When the sheet was made.
    pub made_at: Timestamp,
}
