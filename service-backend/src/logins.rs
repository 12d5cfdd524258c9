//! One sign-in, or one step-up of a session, as this service knows it. Pure: no clock, no database, no gateway.
//!
//! ```text
//! waiting ──approved──▶ exchanging ──tokens──▶ active
//!    ▲  │                  │   │
//!    │  └─▶ denied         │   └─▶ expired      (the code cannot be used any more)
//!    └──── taken back ─────┘
//!       └─▶ expired
//! ```
//!
//! An addressed login is exchanged the moment it is approved. A linked one stays in waiting, approved, until
//! its own browser comes back with the response code: only whoever holds login cookie *and* code moves it on.
//!
//! Each arrow is one compare-and-set in the store. The arrow into `exchanging` is the one that makes
//! an exchange happen once although every instance hears of every approval, and hears it at least
//! once (section 4, threat 5).

use miid_protocol::browser::LoginStatus;
use miid_protocol::secret::SecretHash;
use miid_protocol::service::{Binding, ChallengeStatus, DenyReason, EndReason, ExpireReason};
use miid_protocol::{ChallengeId, Did, Lifetime, SessionId, Timestamp};

/// An approval in the last moment still has to travel here, and two clocks differ a little: so long
/// after `expires_at` the browser is still told to wait.
pub(crate) const GRACE: Lifetime = Lifetime::from_secs(1);

/// As long as a code lives at the gateway, and a little more where its operator made that longer: so long after
/// `expires_at` a linked login can be approved without our having heard of it.
pub(crate) const CODE_LIFETIME: Lifetime = Lifetime::from_secs(300);

/// One sign-in of one browser.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) challenge_id: ChallengeId,
    /// Of the cookie that alone may watch and finish it.
    pub(crate) cookie_hash: SecretHash,
    /// The `code_verifier` is derived from it.
    pub(crate) seed: String,
    /// Who was asked for, as a keyed digest; empty for a linked one, which asks for nobody.
    pub(crate) hint_digest: String,
    pub(crate) binding: Binding,
    /// The session that it is for, where it is a step-up: that one goes on, and no other comes of it.
    pub(crate) step_up: Option<SessionId>,
    /// A wallet has taken its link.
    pub(crate) claimed: bool,
    pub(crate) state: LoginState,
    pub(crate) expires_at: Timestamp,
}

/// Where it stands, and exactly what exists then.
#[derive(Debug, Clone)]
pub(crate) enum LoginState {
    /// For the person. A linked challenge stays here when approved, until its browser comes back.
    Waiting {
        approved: Option<Approved>,
    },
    /// Approved, and one instance has the tokens made.
    Exchanging(Exchange),
    /// There is a session, or the token of a step-up for it.
    Active {
        session_id: SessionId,
        did: Option<Did>,
    },
    Denied(DenyReason),
    Expired(ExpireReason),
}

/// A linked login's approval, which waits for the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approved {
    pub(crate) did: Did,
    pub(crate) code_expires_at: Timestamp,
}

/// An exchange under way.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) did: Did,
    pub(crate) code_sealed: String,
    /// What its browser came back with (linked).
    pub(crate) response_sealed: Option<String>,
    pub(crate) code_expires_at: Timestamp,
    /// The instance that does it …
    pub(crate) owner: String,
    /// … and until when the others leave it alone.
    pub(crate) until: Timestamp,
    /// How often an instance has begun it; a second time means that the first died on the way.
    pub(crate) tries: i64,
}

impl Login {
    /// Whether an approval still counts.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at.plus(GRACE)
    }

    /// What its browser may know of it now. `not_me` looks like waiting: whoever began a sign-in for
    /// somebody else does not learn that this was noticed (section 6).
    pub(crate) fn seen_at(&self, now: Timestamp) -> LoginStatus {
        let open = self.is_open(now);
        let is_linked = self.binding == Binding::Linked;
        let waiting = if open {
            (ChallengeStatus::Pending, None, None)
        } else {
            (ChallengeStatus::Expired, Some(EndReason::Expired(ExpireReason::Timeout)), None)
        };
        let (status, reason, did) = match &self.state {
            LoginState::Waiting { approved: Some(approved) } => {
                if now < approved.code_expires_at.plus(GRACE) {
                    (ChallengeStatus::Approved, None, Some(approved.did.clone()))
                } else {
                    (ChallengeStatus::Expired, Some(EndReason::Expired(ExpireReason::CodeTimeout)), None)
                }
            }
            LoginState::Waiting { approved: None } | LoginState::Denied(DenyReason::NotMe) => waiting,
            LoginState::Exchanging(exchange) => (ChallengeStatus::Approved, None, Some(exchange.did.clone())),
            LoginState::Active { did, .. } => (ChallengeStatus::Active, None, did.clone()),
            LoginState::Denied(reason) => (ChallengeStatus::Denied, Some(EndReason::Denied(*reason)), None),
            LoginState::Expired(reason) => {
                (ChallengeStatus::Expired, Some(EndReason::Expired(*reason)), None)
            }
        };
        // Whoever began a linked one and has only the cookie may have sent the link to somebody: they do not learn
        // who that was. The browser that comes back learns it from the wallet's address.
        let did = did.filter(|_| !is_linked || status == ChallengeStatus::Active);
        LoginStatus {
            challenge_id: self.challenge_id,
            status,
            expires_at: self.expires_at,
            claimed: self.claimed,
            reason,
            did,
        }
    }

    /// Whether its browser cannot tell it from one that waits: what waiting ones do and answer, it does and answers.
    pub(crate) fn seems_waiting(&self, now: Timestamp) -> bool {
        match self.state {
            LoginState::Waiting { .. } => true,
            LoginState::Denied(DenyReason::NotMe) => self.is_open(now),
            _ => false,
        }
    }

    /// Which approval is stored, if one waits for its browser. A later one has a later end.
    pub(crate) fn approval(&self) -> Option<Timestamp> {
        match &self.state {
            LoginState::Waiting { approved } => approved.as_ref().map(|approved| approved.code_expires_at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use miid_protocol::SigningKey;

    use super::*;

    fn login(state: LoginState) -> Login {
        Login {
            challenge_id: ChallengeId::parse("0198e0a0-0000-7000-8000-000000000001").expect("an id"),
            cookie_hash: miid_protocol::secret::Secret::<miid_protocol::secret::LoginCookie>::from_bytes(
                [1; 32],
            )
            .hash(),
            seed: "seed".into(),
            hint_digest: "digest".into(),
            binding: Binding::Linked,
            step_up: None,
            claimed: true,
            state,
            expires_at: Timestamp::from_millis(10_000),
        }
    }

    #[test]
    fn not_me_looks_like_waiting_until_it_looks_like_a_timeout() {
        for at in [0, 9_999, 10_000, 10_999, 11_000, 99_000] {
            let at = Timestamp::from_millis(at);
            let waiting = login(LoginState::Waiting { approved: None }).seen_at(at);
            assert_eq!(login(LoginState::Denied(DenyReason::NotMe)).seen_at(at), waiting);
            let open = at < Timestamp::from_millis(11_000);
            assert_eq!(
                waiting.status,
                if open { ChallengeStatus::Pending } else { ChallengeStatus::Expired }
            );
        }
    }

    #[test]
    fn an_approval_is_not_timed_out_while_it_is_exchanged() {
        let exchange = Exchange {
            did: Did::of(&SigningKey::from_bytes(&[3; 32]).verifying_key()),
            code_sealed: String::new(),
            response_sealed: None,
            code_expires_at: Timestamp::from_millis(60_000),
            owner: "a".into(),
            until: Timestamp::from_millis(20_000),
            tries: 1,
        };
        let seen = login(LoginState::Exchanging(exchange)).seen_at(Timestamp::from_millis(50_000));
        assert_eq!((seen.status, seen.did), (ChallengeStatus::Approved, None));
    }

    #[test]
    fn an_approval_waits_for_its_browser_as_long_as_the_code_lives() {
        let did = Did::of(&SigningKey::from_bytes(&[3; 32]).verifying_key());
        let approved = Approved { did, code_expires_at: Timestamp::from_millis(60_000) };
        let login = login(LoginState::Waiting { approved: Some(approved) });
        // Beyond the time in which it could be answered, which it was.
        let seen = login.seen_at(Timestamp::from_millis(60_999));
        assert_eq!((seen.status, seen.did, seen.claimed), (ChallengeStatus::Approved, None, true));
        let seen = login.seen_at(Timestamp::from_millis(61_000));
        assert_eq!(
            (seen.status, seen.reason, seen.did),
            (ChallengeStatus::Expired, Some(EndReason::Expired(ExpireReason::CodeTimeout)), None)
        );
    }

    #[test]
    fn who_approved_a_link_is_not_said_before_it_is_active() {
        let did = Did::of(&SigningKey::from_bytes(&[3; 32]).verifying_key());
        let states = || {
            let code_expires_at = Timestamp::from_millis(60_000);
            let approved = Approved { did: did.clone(), code_expires_at };
            let session_id = SessionId::parse("0198e0a0-0000-7000-8000-000000000009").expect("an id");
            [
                LoginState::Waiting { approved: Some(approved) },
                LoginState::Active { session_id, did: Some(did.clone()) },
            ]
        };
        let seen = |binding| {
            states().map(|state| Login { binding, ..login(state) }.seen_at(Timestamp::from_millis(0)).did)
        };
        assert_eq!(seen(Binding::Linked), [None, Some(did.clone())]);
        assert_eq!(seen(Binding::Addressed), [Some(did.clone()), Some(did.clone())]);
    }

    #[test]
    fn other_denials_are_told() {
        for reason in [DenyReason::Declined, DenyReason::WrongMatchCode] {
            let seen = login(LoginState::Denied(reason)).seen_at(Timestamp::from_millis(0));
            assert_eq!(
                (seen.status, seen.reason),
                (ChallengeStatus::Denied, Some(EndReason::Denied(reason)))
            );
        }
    }
}
