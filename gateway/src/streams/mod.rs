//! Event streams (SSE). The log in the store is the truth; what goes through the [`Hub`] is a hint
//! that saves the readers of this instance from asking: a committed event that fits on to what a
//! reader has seen is written at once, and anything else makes it read the log.

mod body;
mod cluster;
mod hub;
mod tail;

use std::borrow::Cow;
use std::sync::Arc;

use miid_protocol::service::Binding;
use miid_protocol::{ClientId, Did};

pub use body::{EventStream, Filter, Start};
pub use cluster::{listen, poll_heads};
pub use hub::{Guard, Hub, Limits, TooMany};
pub use tail::{Heard, Tail};

use crate::domain::Challenge;

/// What stands in a log where it ends for its readers. It is no event: nobody is shown it.
pub const END_OF_STREAM: &str = "end";

/// The name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<str>);

impl StreamKey {
    /// What a wallet is told.
    pub fn wallet(did: &Did) -> Self {
        Self(format!("w/{did}").into())
    }

    /// What a service is told.
    pub fn service(client_id: &ClientId) -> Self {
        Self(format!("s/{client_id}").into())
    }

    /// Where the wallet's side of a challenge is told: to its wallet, or, where the hint named nobody,
    /// to a stream that nobody can open, so that the same is written either way (threats 17). Of a linked one
    /// that nobody has claimed there is nobody to tell.
    pub fn of_challenge(challenge: &Challenge) -> Option<Self> {
        match (&challenge.did, challenge.binding) {
            (Some(did), _) => Some(Self::wallet(did)),
            (None, Binding::Addressed) => Some(Self(format!("n/{}", challenge.person_key).into())),
            (None, Binding::Linked) => None,
        }
    }

    /// Whether a service reads it.
    pub fn is_service(&self) -> bool {
        self.0.starts_with("s/")
    }

    /// From the store.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// As in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One event of a log.
#[derive(Debug)]
pub struct LogEvent {
    /// Which log.
    pub stream: StreamKey,
    /// Its number: the `id` on the wire.
    pub seq: i64,
    /// `event:`
    pub name: Cow<'static, str>,
    /// `data:`, without a code.
    pub data: String,
    /// The challenge, in a service's log.
    pub about: Option<String>,
    /// Which approval's code belongs into it.
    pub approval: Option<i64>,
}

impl LogEvent {
    /// Whether the log ends here for its readers.
    pub fn is_end(&self) -> bool {
        self.name == END_OF_STREAM
    }
}
