//! What became of a request to the gateway that did not end well.

use std::time::Duration;

use miid_protocol::problem::ErrorCode;
use miid_protocol::{Issuer, Problem};

use crate::clock::ClockError;
use crate::entropy::EntropyError;
use crate::identity::Locked;

/// What became of a request that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection: the request was not sent.
    #[error("the gateway at {gateway} cannot be reached")]
    Unreachable {
        /// Which.
        gateway: Issuer,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke, or nothing came in time: the request may have been done.
    #[error("the gateway's answer was lost")]
    AnswerLost(#[source] reqwest::Error),
    /// Nothing came in time: the request may have been done.
    #[error("the gateway at {0} did not answer in time")]
    NoAnswer(Issuer),
    /// The gateway said no, and why.
    #[error("{}", .0.problem.detail.as_deref().unwrap_or(&.0.problem.title))]
    Refused(Box<Refusal>),
    /// Something between us and the gateway answered, or no gateway at all: a redirect, a page.
    #[error("what answers at {gateway} is no MiID gateway (status {status})")]
    Unexpected {
        /// Which.
        gateway: Issuer,
        /// HTTP status.
        status: u16,
    },
    /// A good status with a body that is none of ours, or too large.
    #[error("the gateway's answer could not be understood")]
    NotUnderstood,
    /// The clocks are too far apart.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The key was wiped: nothing can be signed until the wallet is opened again.
    #[error("the wallet is locked")]
    Locked,
    /// A link or a statement of another gateway came to this one's client. Nothing was sent.
    #[error("that belongs to {0}, another gateway")]
    OtherGateway(Issuer),
    /// No random bytes for a proof.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
}

/// A problem document, and how long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the gateway said.
    pub problem: Problem,
    /// `Retry-After`, at most five minutes.
    pub retry_after: Option<Duration>,
}

impl ClientError {
    /// The gateway's error code, where it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.problem.code),
            _ => None,
        }
    }

    /// Whether the request may have been done all the same.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::AnswerLost(_) | Self::NoAnswer(_) | Self::NotUnderstood => true,
            Self::Unexpected { status, .. } => *status >= 500,
            Self::Refused(refusal) => refusal.problem.status >= 500,
            _ => false,
        }
    }

    /// Whether the gateway is away, so that another attempt makes sense by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
            || self.may_have_been_done()
            || self.code() == Some(ErrorCode::RateLimited)
    }

    /// How long the gateway wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

impl From<Locked> for ClientError {
    fn from(_: Locked) -> Self {
        Self::Locked
    }
}
