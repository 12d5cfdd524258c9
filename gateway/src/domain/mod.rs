//! What may follow what (section 3). Pure: no await, no clock, no randomness, and of the other
//! crates only the protocol. A step takes what is, an approval where it needs one, and the time,
//! and gives what comes next with the events that announce it, or a named refusal.

pub mod challenge;
pub mod session;

pub use challenge::{Challenge, Refusal, State, Step, StepUp};
pub use session::{Refresh, Session};
