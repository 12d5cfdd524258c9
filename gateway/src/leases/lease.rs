//! One hold on a session: whose it is, whether it was closed and why, and what was signed about it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use http::HeaderValue;
use miid_protocol::service::RevokeReason;
use miid_protocol::{ClientId, SessionId, Timestamp};
use tokio_util::sync::CancellationToken;

use super::lock;
use crate::domain::Session;

/// Why a lease was closed, and so what its holder does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The session ended: give up.
    Ended(RevokeReason),
    /// What it was opened with is over: refresh, then retry.
    Expired,
    /// This instance cannot say any more: retry.
    Unknown,
}

impl CloseReason {
    /// Whether it stays so whatever is read later: only an end that was told, or that stands in the row.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// What a client does about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Ended(_) => "give_up",
            Self::Expired => "refresh",
            Self::Unknown => "retry",
        }
    }
}

/// A hold on a session. Cheap to clone behind its [`Arc`].
#[derive(Debug)]
pub struct Lease {
    /// The session.
    pub session: SessionId,
    /// At which service.
    pub client_id: ClientId,
    /// Whose, at this service.
    pub sub: Arc<str>,
    /// What was granted.
    pub scopes: Vec<String>,
    /// Since when the session is there.
    pub since: Timestamp,
    /// As headers say it; `None` where the row holds what none can.
    pub(crate) shown: Option<Arc<Shown>>,
    pub(super) known_until: AtomicI64,
    /// Its row was read since it has its place here: no end fell between the two.
    pub(super) is_proven: AtomicBool,
    pub(super) touched: AtomicI64,
    pub(super) end: OnceLock<CloseReason>,
    pub(super) closed: CancellationToken,
    /// What was signed about it, for whom, and until when it is shown: signing costs more than forwarding.
    pub(super) signed: Mutex<Vec<Signed>>,
}

/// Whose a session is, as headers say it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) subject: HeaderValue,
    pub(crate) session: HeaderValue,
    pub(crate) client: HeaderValue,
}

impl Shown {
    fn of(session: &Session) -> Option<Self> {
        Some(Self {
            subject: HeaderValue::from_str(&session.sub).ok()?,
            session: HeaderValue::from_str(&session.id.to_string()).ok()?,
            client: HeaderValue::from_str(session.client_id.as_str()).ok()?,
        })
    }
}

/// Something that was signed about a session.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// For whom, and what of a token it says.
    pub(crate) about: Box<str>,
    /// As a header says it.
    pub(crate) value: HeaderValue,
    /// Made anew from then on.
    pub(crate) fresh_until: Timestamp,
    /// Not shown with a token that is over before.
    pub(crate) expires_at: Timestamp,
}

/// Kept of one session.
const MAX_SIGNED: usize = 64;

impl Lease {
    /// What was signed, if it is fresh and over no later than `by`; else what `sign` gives, which is kept. With it
    /// until when it is fresh.
    pub(crate) fn signed(
        &self,
        about: &str,
        now: Timestamp,
        by: Timestamp,
        sign: impl FnOnce() -> Option<Signed>,
    ) -> Option<(HeaderValue, Timestamp)> {
        let mut signed = lock(&self.signed);
        let usable = |s: &&Signed| *s.about == *about && now < s.fresh_until && s.expires_at <= by;
        if let Some(known) = signed.iter().find(usable) {
            return Some((known.value.clone(), known.fresh_until));
        }
        let fresh = sign()?;
        signed.retain(|s| *s.about != *about && now < s.fresh_until);
        if signed.len() < MAX_SIGNED {
            signed.push(fresh.clone());
        }
        Some((fresh.value, fresh.fresh_until))
    }

    pub(super) fn of(session: &Session, now: Timestamp) -> Self {
        Self {
            session: session.id,
            client_id: session.client_id.clone(),
            sub: session.sub.as_str().into(),
            scopes: session.scopes.clone(),
            since: session.created_at,
            shown: Shown::of(session).map(Arc::new),
            known_until: AtomicI64::new(session.idle_until.min(session.expires_at).millis()),
            is_proven: AtomicBool::new(false),
            touched: AtomicI64::new(now.millis()),
            end: OnceLock::new(),
            closed: CancellationToken::new(),
            signed: Mutex::default(),
        }
    }

    /// Whether the session lives, as far as this instance has heard.
    pub fn check(&self) -> Result<(), CloseReason> {
        match self.end.get() {
            None => Ok(()),
            Some(reason) => Err(*reason),
        }
    }

    /// Ends when the session does.
    pub async fn closed(&self) -> CloseReason {
        self.closed.cancelled().await;
        self.end.get().copied().unwrap_or(CloseReason::Unknown)
    }

    /// The same, to be kept apart from the lease.
    pub fn closing(&self) -> CancellationToken {
        self.closed.clone()
    }

    pub(super) fn close(&self, reason: CloseReason) -> bool {
        let first = self.end.set(reason).is_ok();
        self.closed.cancel();
        first
    }

    /// False where it was closed without an end for good: the row is asked anew.
    pub(crate) fn is_settled(&self) -> bool {
        !self.check().is_err_and(|reason| !reason.is_final())
    }

    /// Past this the session may have run out, unless it was refreshed since: it must be looked at again.
    pub(super) fn is_known(&self, now: Timestamp) -> bool {
        now.millis() < self.known_until.load(Ordering::Relaxed)
    }
}
