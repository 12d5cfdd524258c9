//! A session of one browser: whether it still lives, and what has to happen when it ends.
//!
//! The gateway decides when a session ends and says so on the event stream. A service that does not
//! hear the stream must not go on believing (threat 20): after a minute it asks about each session
//! before it trusts it, and once nothing was heard for ten minutes it trusts none.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use miid_protocol::browser::SessionInfo;
use miid_protocol::problem::ErrorCode;
use miid_protocol::service::{Binding, RevokeReason, TokenRequest};
use miid_protocol::{Did, Issuer, Lifetime, SessionId, Timestamp};
use zeroize::Zeroizing;

use crate::refusal::Refusal;
use crate::sign_in::Core;
use crate::store::StoreError;

/// How long a request waits for the gateway to hear that a session ended; after that it is told in the
/// background, until it has heard.
const TELL_PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to tell it.
pub(crate) const TELL_AGAIN: Lifetime = Lifetime::from_secs(3);
/// An access token is renewed when it has no more than this left.
const ACCESS_MARGIN: Lifetime = Lifetime::from_secs(30);
/// After an introspection that failed nobody tries again for so long.
const ASK_AGAIN: Lifetime = Lifetime::from_secs(2);

/// Clocks of machines that share a database may differ by this.
const CLOCKS_DIFFER: Lifetime = Lifetime::from_secs(5);

/// What is said where the gateway's lists or an introspection show that a session ended while nobody
/// listened, but not why. Nearly always the person ended it in the wallet.
pub(crate) const UNTOLD: RevokeReason = RevokeReason::User;

/// When and why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: Timestamp,
    pub(crate) reason: RevokeReason,
}

/// A session that an exchange just gave.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) session_id: SessionId,
    pub(crate) iss: Issuer,
    pub(crate) sub: String,
    pub(crate) did: Did,
    pub(crate) scope: String,
    pub(crate) requested_claims: Vec<String>,
    pub(crate) claims: BTreeMap<String, String>,
    pub(crate) access_sealed: String,
    pub(crate) access_expires_at: Timestamp,
    pub(crate) refresh_sealed: String,
    /// How the person signed in.
    pub(crate) binding: Binding,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// The token of a session's last step-up.
#[derive(Debug, Clone)]
pub(crate) struct SteppedUp {
    pub(crate) sealed: String,
    pub(crate) until: Timestamp,
}

/// A session as remembered.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) session_id: SessionId,
    pub(crate) iss: Issuer,
    pub(crate) sub: String,
    pub(crate) did: Did,
    pub(crate) scope: String,
    pub(crate) requested_claims: Vec<String>,
    pub(crate) claims: BTreeMap<String, String>,
    pub(crate) access_sealed: String,
    pub(crate) access_expires_at: Timestamp,
    pub(crate) refresh_sealed: String,
    pub(crate) token_version: i64,
    pub(crate) binding: Binding,
    pub(crate) created_at: Timestamp,
    pub(crate) checked_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) stepped_up: Option<SteppedUp>,
    pub(crate) end: Option<End>,
}

impl Session {
    /// How it ended, if it has by now.
    pub(crate) fn end_at(&self, now: Timestamp) -> Option<End> {
        let expired = End { at: self.expires_at, reason: RevokeReason::Expired };
        self.end.or((self.expires_at <= now).then_some(expired))
    }

    /// Its step-up, as long as that counts.
    pub(crate) fn stepped_up_at(&self, now: Timestamp) -> Option<&SteppedUp> {
        self.stepped_up.as_ref().filter(|stepped_up| now < stepped_up.until)
    }

    /// What its browser may see of it.
    pub(crate) fn info(&self, now: Timestamp) -> SessionInfo {
        SessionInfo {
            sub: self.sub.clone(),
            did: self.did.clone(),
            session_id: self.session_id,
            requested_claims: self.requested_claims.clone(),
            approved_claims: self.claims.keys().cloned().collect(),
            claims: self.claims.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            stepped_up_until: self.stepped_up_at(now).map(|stepped_up| stepped_up.until),
        }
    }
}

impl Core {
    /// Who this request's browser is signed in as.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Session, Refusal> {
        let Some(sid) = self.cookies.sid(headers) else { return Err(ErrorCode::NotAuthenticated.into()) };
        match self.store.session_of(sid.hash()).await? {
            Some(session) => self.trusted(session).await,
            None => Err(ErrorCode::NotAuthenticated.into()),
        }
    }

    /// The session, if it lives and the gateway was heard of recently enough to say so.
    pub(crate) async fn trusted(&self, session: Session) -> Result<Session, Refusal> {
        let now = self.now();
        if let Some(end) = session.end_at(now) {
            return Err(Refusal::session_ended(end.reason, end.at));
        }
        let mut confirmed_at = latest([self.link.heard_at(now), session.checked_at], now);
        if is_within(confirmed_at, now, self.config.introspect_after) {
            return Ok(session);
        }
        // Another instance on this database may hear the stream, and end sessions for all of us.
        confirmed_at = latest([confirmed_at, self.store.heard_at().await?.unwrap_or(confirmed_at)], now);
        if is_within(confirmed_at, now, self.config.introspect_after) {
            return Ok(session);
        }
        let id = session.session_id;
        let _alone = self.one_at_a_time.lock(id).await;
        let Some(session) = self.store.session(id).await? else {
            return Err(ErrorCode::NotAuthenticated.into());
        };
        if let Some(end) = session.end {
            return Err(Refusal::session_ended(end.reason, end.at));
        }
        if is_within(session.checked_at, now, self.config.introspect_after) {
            return Ok(session);
        }
        self.introspected(session, confirmed_at).await
    }

    /// Asks the gateway; where it does not answer, what it said last holds until `fail_closed_after`.
    async fn introspected(&self, session: Session, confirmed_at: Timestamp) -> Result<Session, Refusal> {
        let id = session.session_id;
        if self.link.may_ask(self.now()) {
            let token = self.opened("refresh", id, &session.refresh_sealed)?;
            match self.gateway.introspect(&token).await {
                Ok(answer) if answer.active && answer.sid.is_none_or(|sid| sid == id) => {
                    self.store.session_checked(id, self.now()).await?;
                    return Ok(session);
                }
                Ok(_) => {
                    let end = End { at: self.now(), reason: UNTOLD };
                    self.end_here(id, end).await?;
                    return Err(Refusal::session_ended(end.reason, end.at));
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a session cannot be introspected"
                    );
                    self.link.ask_not_before(self.now().plus(ASK_AGAIN));
                }
            }
        }
        if is_within(confirmed_at, self.now(), self.config.fail_closed_after) {
            Ok(session)
        } else {
            Err(Refusal::new(ErrorCode::GatewayUnavailable)
                .detail("Whether this session still lives cannot be found out now."))
        }
    }

    /// Ends a session because the gateway says so. Says whether it lived.
    pub(crate) async fn end_here(&self, id: SessionId, end: End) -> Result<bool, StoreError> {
        let ended = self.store.end_session(id, end, None).await?;
        self.session_wakes.wake(id);
        if ended {
            tracing::info!(session_id = %id, reason = end.reason.as_str(), "session ended");
        }
        Ok(ended)
    }

    /// Ends a session because this service says so. Here it ends at once, whatever the gateway does;
    /// the gateway hears of it now, or as soon as it can.
    pub(crate) async fn end_everywhere(&self, id: SessionId, reason: RevokeReason) -> Result<(), StoreError> {
        let now = self.now();
        let ended = self.store.end_session(id, End { at: now, reason }, Some(now.plus(TELL_AGAIN))).await?;
        self.session_wakes.wake(id);
        if ended {
            tracing::info!(session_id = %id, reason = reason.as_str(), "session ended");
            let _ = tokio::time::timeout(TELL_PATIENCE, self.tell_session_end(id)).await;
        }
        Ok(())
    }

    /// Tells the gateway once; what fails stays due in the store.
    pub(crate) async fn tell_session_end(&self, id: SessionId) {
        match self.gateway.end_session(id).await {
            Ok(()) => {
                if let Err(error) = self.store.session_end_next(id, None).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "will tell the gateway again");
                }
            }
            Err(error) => {
                tracing::warn!(session_id = %id, error = &error as &dyn std::error::Error, "the gateway has yet to hear that a session ended");
            }
        }
    }

    /// An access token with some life left. One refresh at a time for each session, and the successor is
    /// stored before anybody uses it: a refresh token that was lost after use would end the session.
    pub(crate) async fn access_token(&self, id: SessionId) -> Result<Zeroizing<String>, Refusal> {
        let _alone = self.one_at_a_time.lock(id).await;
        let Some(session) = self.store.session(id).await? else {
            return Err(ErrorCode::NotAuthenticated.into());
        };
        if let Some(end) = session.end_at(self.now()) {
            return Err(Refusal::session_ended(end.reason, end.at));
        }
        if self.now().plus(ACCESS_MARGIN) < session.access_expires_at {
            return Ok(self.opened("access", id, &session.access_sealed)?);
        }
        let refresh_token = self.opened("refresh", id, &session.refresh_sealed)?;
        let request = TokenRequest {
            grant_type: "refresh_token".into(),
            refresh_token: Some(refresh_token.to_string()),
            ..TokenRequest::default()
        };
        let asked_at = self.now();
        let mut answer = self.gateway.exchange(&request).await;
        if matches!(&answer, Err(error) if error.code().is_none()) {
            answer = self.gateway.exchange(&request).await; // within the retry window: the same successor
        }
        let tokens = match answer {
            Err(error) if error.code() == Some(ErrorCode::InvalidGrant) => {
                let end = End { at: self.now(), reason: UNTOLD };
                self.end_here(id, end).await?;
                return Err(Refusal::session_ended(end.reason, end.at));
            }
            answer => answer?,
        };
        let access = self.keys.seal(&self.outside, "access", &id.to_string(), &tokens.access_token);
        // RFC 6749, section 6: where there is no other one it stays.
        let successor = tokens.refresh_token.as_deref().unwrap_or(&refresh_token);
        let refresh = self.keys.seal(&self.outside, "refresh", &id.to_string(), successor);
        let expires_at = asked_at.plus(Lifetime::from_secs(tokens.expires_in));
        // Where another instance refreshed at the same moment it got the same successor, and stored it.
        self.store.store_tokens(id, session.token_version, &access, expires_at, &refresh).await?;
        Ok(Zeroizing::new(tokens.access_token))
    }

    pub(crate) fn opened(
        &self,
        what: &str,
        id: SessionId,
        sealed: &str,
    ) -> Result<Zeroizing<String>, StoreError> {
        self.keys
            .open_sealed(what, &id.to_string(), sealed)
            .ok_or(StoreError::Corrupt("a seal that does not open"))
    }
}

/// Whether `at` is no longer ago than `lifetime`. What lies ahead of the clock is not recent: the clock was
/// set back, and nobody knows how long ago that was.
pub(crate) fn is_within(at: Timestamp, now: Timestamp, lifetime: Lifetime) -> bool {
    let ago = now.millis().saturating_sub(at.millis());
    (-CLOCKS_DIFFER.millis()..=lifetime.millis()).contains(&ago)
}

/// The later of the two, of those that can be true.
fn latest(times: [Timestamp; 2], now: Timestamp) -> Timestamp {
    let never = Timestamp::from_millis(0);
    let can_be = |at: &Timestamp| *at <= now.plus(CLOCKS_DIFFER);
    times.into_iter().filter(can_be).max().unwrap_or(never)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_of_a_clock_that_was_set_back_is_not_recent() {
        let at = Timestamp::from_millis;
        let minute = Lifetime::from_secs(60);
        assert!(is_within(at(1_000_000), at(1_000_000), minute));
        assert!(is_within(at(1_000_000), at(1_060_000), minute));
        assert!(!is_within(at(1_000_000), at(1_060_001), minute));
        assert!(is_within(at(1_005_000), at(1_000_000), minute), "another machine's clock");
        for ahead in [1_005_001, 4_600_000, i64::MAX] {
            assert!(!is_within(at(ahead), at(1_000_000), minute), "{ahead}");
            assert_eq!(latest([at(ahead), at(900_000)], at(1_000_000)), at(900_000));
        }
        assert_eq!(latest([at(9), at(7)], at(10)), at(9));
    }
}
