//! A session: what an approval became. `Active → Revoked`, and nothing outlives `expires_at`.

use std::collections::BTreeMap;

use miid_protocol::service::RevokeReason;
use miid_protocol::statement::Disclosure;
use miid_protocol::{ChallengeId, ClientId, Did, Lifetime, SessionId, Timestamp};
use uuid::Uuid;

/// One session of a person at a service.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What it came from.
    pub challenge_id: ChallengeId,
    /// Where.
    pub client_id: ClientId,
    /// Whose wallet.
    pub did: Did,
    /// The person, at this service.
    pub sub: String,
    /// Granted.
    pub scopes: Vec<String>,
    /// The approval that it came from.
    pub grant_id: Uuid,
    /// Shared, as the text that the statement signs.
    pub disclosure: Option<String>,
    /// The signed approval.
    pub statement: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Last refresh.
    pub last_used_at: Timestamp,
    /// Absolute end.
    pub expires_at: Timestamp,
    /// End unless refreshed before.
    pub idle_until: Timestamp,
    /// Which refresh token counts.
    pub generation: i64,
    /// When it began to.
    pub rotated_at: Timestamp,
    /// When and why it ended.
    pub revoked: Option<(Timestamp, RevokeReason)>,
}

/// What a refresh token that is presented leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// The next generation.
    Rotate,
    /// The same successor once more: its answer was lost (threats 18).
    Repeat,
    /// It was spent before: the session must end.
    Reuse,
    /// The session is over.
    Dead,
}

impl Session {
    /// Whether it is live at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires_at && now < self.idle_until
    }

    /// What presenting the refresh token of `generation` leads to. A spent one gives the same
    /// successor for `window`, and only while that successor is unused: once it was used, the
    /// current generation is two ahead.
    pub fn refresh(&self, generation: i64, now: Timestamp, window: Lifetime) -> Refresh {
        if !self.is_live(now) {
            Refresh::Dead
        } else if generation == self.generation {
            Refresh::Rotate
        } else if generation + 1 == self.generation && now < self.rotated_at.plus(window) {
            Refresh::Repeat
        } else {
            Refresh::Reuse
        }
    }

    /// What the person shared.
    pub fn claims(&self) -> BTreeMap<String, String> {
        self.disclosure
            .as_deref()
            .and_then(|text| miid_protocol::json::from_str::<Disclosure>(text).ok())
            .map(|disclosure| disclosure.claims)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miid_protocol::SigningKey;

    fn session() -> Session {
        let at = Timestamp::from_millis;
        Session {
            id: SessionId::parse("0198e0a0-0000-7000-8000-00000000000a").expect("id"),
            challenge_id: ChallengeId::parse("0198e0a0-0000-7000-8000-00000000000b").expect("id"),
            client_id: ClientId::parse("demo-shop").expect("id"),
            did: Did::of(&SigningKey::from_bytes(&[1; 32]).verifying_key()),
            sub: "s".into(),
            scopes: vec![],
            grant_id: Uuid::nil(),
            disclosure: None,
            statement: String::new(),
            created_at: at(0),
            last_used_at: at(0),
            expires_at: at(1_000_000),
            idle_until: at(500_000),
            generation: 5,
            rotated_at: at(100_000),
            revoked: None,
        }
    }

    #[test]
    fn a_spent_refresh_token_repeats_for_the_window_and_then_ends_the_session() {
        let window = Lifetime::from_secs(60);
        let at = Timestamp::from_millis;
        let session = session();
        assert_eq!(session.refresh(5, at(100_001), window), Refresh::Rotate);
        assert_eq!(session.refresh(4, at(159_999), window), Refresh::Repeat);
        assert_eq!(session.refresh(4, at(160_000), window), Refresh::Reuse);
        assert_eq!(session.refresh(3, at(100_001), window), Refresh::Reuse);
        assert_eq!(session.refresh(5, at(500_000), window), Refresh::Dead);
    }
}
