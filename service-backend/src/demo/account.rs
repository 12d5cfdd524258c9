//! What the demo's pages, the service behind them and the API server behind the edge say to one another.

use miid_protocol::{Timestamp, text};
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// From here on a transfer wants a step-up.
pub(super) const LARGE: u64 = 100;
const MOST: u64 = 1_000_000;
/// Of a name, in characters.
const LONGEST_NAME: usize = 40;

/// The API server's paths, and the names of the routes that lead to them. The edge's file says the same.
pub(super) mod api {
    pub(in crate::demo) const BALANCE: (&str, &str) = ("/api/balance", "balance");
    pub(in crate::demo) const TRANSFERS: (&str, &str) = ("/api/transfers", "transfers");
    pub(in crate::demo) const LARGE_TRANSFERS: (&str, &str) = ("/api/transfers/large", "transfers-large");
}

/// What somebody wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) to: String,
    pub(super) amount: u64,
}

impl Transfer {
    pub(super) fn check(&self) -> Result<(), Problem> {
        // A digit in it could pass for the number that a wallet asks for beside it.
        let is_name = text::is_displayable(&self.to, LONGEST_NAME) && !self.to.contains(char::is_numeric);
        if self.to.trim().is_empty() || !is_name {
            return Err(Problem::InvalidRequest(
                "to must be a name of 1 to 40 characters, none of them a digit.",
            ));
        }
        if !(1..=MOST).contains(&self.amount) {
            return Err(Problem::InvalidRequest("amount must be a whole number from 1 to 1000000."));
        }
        Ok(())
    }

    pub(super) const fn is_large(&self) -> bool {
        self.amount >= LARGE
    }
}

/// What was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transferred {
    pub(super) to: String,
    pub(super) amount: u64,
    pub(super) at: Timestamp,
    pub(super) id: String,
}

/// `200` of a transfer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) transferred: Transferred,
    pub(super) balance: u64,
}

/// `200` of a look at the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Balance {
    pub(super) balance: u64,
}
