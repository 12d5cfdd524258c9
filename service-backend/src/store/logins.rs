//! Sign-ins: see [`crate::logins`] for the states.

use miid_protocol::secret::SecretHash;
use miid_protocol::service::{Binding, DenyReason, ExpireReason};
use miid_protocol::{ChallengeId, Did, SessionId, Timestamp};

use super::db::{Row, StoreError, values};
use super::{SWEEP_BATCH, Store};
use crate::finish::Claim;
use crate::logins::{Approved, CODE_LIFETIME, Exchange, GRACE, Login, LoginState};
use crate::sessions::NewSession;

/// A sign-in that begins.
pub(crate) struct NewLogin {
    pub(crate) challenge_id: ChallengeId,
    pub(crate) cookie_hash: SecretHash,
    pub(crate) seed: String,
    pub(crate) hint_digest: String,
    pub(crate) binding: Binding,
    /// What it is for, where it is a step-up.
    pub(crate) step_up: Option<SessionId>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// What an exchange needs: an approval and, for a linked login, what its browser came back with.
pub(crate) struct Approval {
    pub(crate) did: Did,
    pub(crate) code_sealed: String,
    pub(crate) code_expires_at: Timestamp,
    /// Present for a linked login, absent for an addressed one; one never passes for the other.
    pub(crate) response_sealed: Option<String>,
}

impl Approval {
    const fn binding(&self) -> Binding {
        if self.response_sealed.is_some() { Binding::Linked } else { Binding::Addressed }
    }
}

impl Store {
    pub(crate) async fn open_login(&self, login: &NewLogin) -> Result<(), StoreError> {
        self.db
            .execute(
                "-- open_login
                 INSERT INTO logins (challenge_id, cookie_hash, seed, hint_digest, binding, state,
                                     created_at, expires_at, step_up_session)
                 VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $7, $8)",
                values![
                    login.challenge_id.to_string(),
                    login.cookie_hash.to_text(),
                    login.seed.as_str(),
                    login.hint_digest.as_str(),
                    binding_text(login.binding),
                    login.created_at,
                    login.expires_at,
                    login.step_up.map(|id| id.to_string()),
                ],
            )
            .await?;
        Ok(())
    }

    pub(crate) async fn login(&self, id: ChallengeId) -> Result<Option<Login>, StoreError> {
        let row = self
            .db
            .read_one("-- login\n SELECT * FROM logins WHERE challenge_id = $1", values![id.to_string()])
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// A wallet took the link. Says whether that is news.
    pub(crate) async fn claimed(&self, id: ChallengeId, at: Timestamp) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- claimed
                 UPDATE logins SET claimed_at = $2
                 WHERE challenge_id = $1 AND state = 'waiting' AND claimed_at IS NULL",
                values![id.to_string(), at],
            )
            .await?;
        Ok(changed == 1)
    }

    /// A linked login is approved and waits for its browser. Says whether it waited.
    pub(crate) async fn approved(
        &self,
        id: ChallengeId,
        approved: &Approved,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- approved
                 UPDATE logins SET approved_did = $2, code_expires_at = $3, claimed_at = COALESCE(claimed_at, $4)
                 WHERE challenge_id = $1 AND state = 'waiting' AND binding = 'linked'",
                values![id.to_string(), approved.did.as_str(), approved.code_expires_at, at],
            )
            .await?;
        Ok(changed == 1)
    }

    /// The approval of a linked login was taken back before its browser came: only the one that ends at `which`,
    /// where that is said.
    pub(crate) async fn taken_back(
        &self,
        id: ChallengeId,
        which: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- taken_back
                 UPDATE logins SET approved_did = NULL, code_expires_at = NULL
                 WHERE challenge_id = $1 AND state = 'waiting' AND approved_did IS NOT NULL
                   AND code_expires_at = COALESCE($2, code_expires_at)",
                values![id.to_string(), which.map(Timestamp::millis)],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Everything that still waits for the person, with the approval that is known of it. A linked one may have
    /// been approved in its last moment without our hearing of it: its code still lives.
    pub(crate) async fn waiting_logins(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(ChallengeId, Option<Timestamp>)>, StoreError> {
        let since = now.millis() - GRACE.millis();
        let rows = self
            .db
            .read(
                "-- waiting_logins
                 SELECT * FROM logins
                 WHERE state = 'waiting'
                   AND (expires_at > $1 OR code_expires_at > $1 OR (binding = 'linked' AND expires_at > $2))",
                values![since, since - CODE_LIFETIME.millis()],
            )
            .await?;
        rows.iter().map(|row| from_row(row).map(|login| (login.challenge_id, login.approval()))).collect()
    }

    /// waiting → exchanging. Whoever gets `true`, and nobody else, exchanges the code. A linked login may be
    /// past the time in which it could be answered: it was, and its code lives longer.
    pub(crate) async fn begin_exchange(
        &self,
        claim: &Claim,
        approval: &Approval,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- begin_exchange
                 UPDATE logins SET state = 'exchanging', approved_did = $2, code_sealed = $3, code_expires_at = $4,
                                   exchange_owner = $5, exchange_until = $6, exchange_tries = 1,
                                   response_sealed = $8
                 WHERE challenge_id = $1 AND state = 'waiting' AND binding = $9
                   AND (expires_at > $7 OR binding = 'linked')",
                values![
                    claim.id.to_string(),
                    approval.did.as_str(),
                    approval.code_sealed.as_str(),
                    approval.code_expires_at,
                    claim.owner.as_str(),
                    until,
                    now.millis() - GRACE.millis(),
                    approval.response_sealed.clone(),
                    binding_text(approval.binding()),
                ],
            )
            .await?;
        Ok(changed == 1)
    }

    /// The owner of an exchange says that it lives; `false` means that somebody took over.
    pub(crate) async fn renew_exchange(&self, claim: &Claim, until: Timestamp) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- renew_exchange
                 UPDATE logins SET exchange_until = $3
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2",
                values![claim.id.to_string(), claim.owner.as_str(), until],
            )
            .await?;
        Ok(changed == 1)
    }

    /// A second approval, after the first was taken back during its exchange.
    pub(crate) async fn replace_code(&self, claim: &Claim, approval: &Approval) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- replace_code
                 UPDATE logins SET approved_did = $3, code_sealed = $4, code_expires_at = $5
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2",
                values![
                    claim.id.to_string(),
                    claim.owner.as_str(),
                    approval.did.as_str(),
                    approval.code_sealed.as_str(),
                    approval.code_expires_at,
                ],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Exchanges whose owner has not been heard of since `before`.
    pub(crate) async fn orphaned_exchanges(&self, before: Timestamp) -> Result<Vec<Login>, StoreError> {
        let rows = self
            .db
            .read(
                "-- orphaned_exchanges
                 SELECT * FROM logins WHERE state = 'exchanging' AND exchange_until < $1
                 ORDER BY exchange_until LIMIT 100",
                values![before],
            )
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Takes an orphan over; of several instances one succeeds.
    pub(crate) async fn adopt_exchange(
        &self,
        claim: &Claim,
        orphan: &Exchange,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- adopt_exchange
                 UPDATE logins SET exchange_owner = $4, exchange_until = $5, exchange_tries = exchange_tries + 1
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2 AND exchange_until = $3",
                values![claim.id.to_string(), orphan.owner.as_str(), orphan.until, claim.owner.as_str(), until],
            )
            .await?;
        Ok(changed == 1)
    }

    /// exchanging → waiting: the approval was taken back, or (`approved`) it stands and what the browser
    /// came back with was wrong.
    pub(crate) async fn release_exchange(&self, claim: &Claim, approved: bool) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- release_exchange
                 UPDATE logins SET state = 'waiting', code_sealed = NULL, response_sealed = NULL,
                                   approved_did = CASE WHEN $3 = 1 THEN approved_did END,
                                   code_expires_at = CASE WHEN $3 = 1 THEN code_expires_at END,
                                   exchange_owner = NULL, exchange_until = NULL
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2",
                values![claim.id.to_string(), claim.owner.as_str(), i64::from(approved)],
            )
            .await?;
        Ok(changed == 1)
    }

    /// exchanging → expired or denied: nothing can come of it.
    pub(crate) async fn fail_exchange(&self, claim: &Claim, state: &LoginState) -> Result<bool, StoreError> {
        let (state, reason) = ended(state)?;
        let changed = self
            .db
            .execute(
                "-- fail_exchange
                 UPDATE logins SET state = $3, reason = $4, code_sealed = NULL, response_sealed = NULL,
                                   exchange_owner = NULL, exchange_until = NULL
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2",
                values![claim.id.to_string(), claim.owner.as_str(), state, reason],
            )
            .await?;
        Ok(changed == 1)
    }

    /// exchanging → active, and the session, in one transaction.
    pub(crate) async fn activate(&self, claim: &Claim, session: &NewSession) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let changed = tx
            .execute(
                "-- activate
                 UPDATE logins SET state = 'active', session_id = $3, code_sealed = NULL, response_sealed = NULL,
                                   exchange_owner = NULL, exchange_until = NULL
                 WHERE challenge_id = $1 AND state = 'exchanging' AND exchange_owner = $2
                   AND step_up_session IS NULL",
                values![claim.id.to_string(), claim.owner.as_str(), session.session_id.to_string()],
            )
            .await?;
        if changed == 0 {
            return Ok(false);
        }
        super::sessions::insert(&mut tx, session).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// waiting → denied or expired.
    pub(crate) async fn end_login(&self, id: ChallengeId, state: &LoginState) -> Result<bool, StoreError> {
        let (state, reason) = ended(state)?;
        let changed = self
            .db
            .execute(
                "-- end_login
                 UPDATE logins SET state = $2, reason = $3 WHERE challenge_id = $1 AND state = 'waiting'",
                values![id.to_string(), state, reason],
            )
            .await?;
        Ok(changed == 1)
    }

    /// waiting → expired, by the browser's own wish; the gateway hears of it, sooner or later. A linked login
    /// may be approved by now: it is over all the same, as long as its browser has not come back. So is one that
    /// somebody said was not theirs: its browser takes it for waiting, and must not see a difference.
    pub(crate) async fn give_up(&self, id: ChallengeId, retry_at: Timestamp) -> Result<bool, StoreError> {
        let changed = self
            .db
            .execute(
                "-- give_up
                 UPDATE logins SET state = 'expired', reason = 'withdrawn', withdraw_due_at = $2
                 WHERE challenge_id = $1 AND (state = 'waiting' OR (state = 'denied' AND reason = 'not_me'))",
                values![id.to_string(), retry_at],
            )
            .await?;
        Ok(changed == 1)
    }

    /// What the gateway has yet to hear was given up; pointless once it expired there anyway.
    pub(crate) async fn withdrawals_due(&self, now: Timestamp) -> Result<Vec<ChallengeId>, StoreError> {
        let rows = self
            .db
            .read(
                "-- withdrawals_due
                 SELECT challenge_id FROM logins WHERE withdraw_due_at <= $1 ORDER BY withdraw_due_at LIMIT 50",
                values![now],
            )
            .await?;
        rows.iter().map(challenge_id).collect()
    }

    /// When to tell the gateway next; `None` when it has heard.
    pub(crate) async fn withdraw_next(
        &self,
        id: ChallengeId,
        due: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.db
            .execute(
                "-- withdraw_next
                 UPDATE logins SET withdraw_due_at = $2 WHERE challenge_id = $1",
                values![id.to_string(), due.map(Timestamp::millis)],
            )
            .await?;
        Ok(())
    }

    /// Forgets sign-ins that expired before; says how many, at most [`SWEEP_BATCH`].
    pub(crate) async fn sweep_logins(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.db
            .execute(
                "-- sweep_logins
                 DELETE FROM logins WHERE challenge_id IN
                     (SELECT challenge_id FROM logins WHERE expires_at < $1 LIMIT $2)",
                values![before, SWEEP_BATCH],
            )
            .await
    }
}

pub(super) const fn binding_text(binding: Binding) -> &'static str {
    match binding {
        Binding::Addressed => "addressed",
        Binding::Linked => "linked",
    }
}

pub(super) fn binding_of(text: &str) -> Result<Binding, StoreError> {
    match text {
        "addressed" => Ok(Binding::Addressed),
        "linked" => Ok(Binding::Linked),
        _ => Err(StoreError::Corrupt("a binding")),
    }
}

fn ended(state: &LoginState) -> Result<(&'static str, &'static str), StoreError> {
    match state {
        LoginState::Denied(reason) => Ok(("denied", reason.as_str())),
        LoginState::Expired(reason) => Ok(("expired", reason.as_str())),
        _ => Err(StoreError::Corrupt("an end that is none")),
    }
}

fn challenge_id(row: &Row) -> Result<ChallengeId, StoreError> {
    ChallengeId::parse(&row.text("challenge_id")?).map_err(|_| StoreError::Corrupt("a challenge_id"))
}

fn from_row(row: &Row) -> Result<Login, StoreError> {
    let at = |column| Ok::<_, StoreError>(Timestamp::from_millis(row.int(column)?));
    let did = || {
        row.opt_text("approved_did")?
            .map(|did| Did::parse(&did).map_err(|_| StoreError::Corrupt("a DID")))
            .transpose()
    };
    let reason = row.opt_text("reason")?.unwrap_or_default();
    let state = match row.text("state")?.as_str() {
        "waiting" => LoginState::Waiting {
            approved: match did()? {
                Some(did) => Some(Approved { did, code_expires_at: at("code_expires_at")? }),
                None => None,
            },
        },
        "exchanging" => LoginState::Exchanging(Exchange {
            did: did()?.ok_or(StoreError::Corrupt("an exchange without a DID"))?,
            code_sealed: row.text("code_sealed")?,
            response_sealed: row.opt_text("response_sealed")?,
            code_expires_at: at("code_expires_at")?,
            owner: row.text("exchange_owner")?,
            until: at("exchange_until")?,
            tries: row.int("exchange_tries")?,
        }),
        "active" => LoginState::Active {
            session_id: SessionId::parse(&row.text("session_id")?)
                .map_err(|_| StoreError::Corrupt("a session_id"))?,
            did: did()?,
        },
        "denied" => LoginState::Denied(DenyReason::parse(&reason).ok_or(StoreError::Corrupt("a reason"))?),
        "expired" => {
            LoginState::Expired(ExpireReason::parse(&reason).ok_or(StoreError::Corrupt("a reason"))?)
        }
        _ => return Err(StoreError::Corrupt("a state")),
    };
    let step_up = row.opt_text("step_up_session")?.map(|id| SessionId::parse(&id));
    let step_up = step_up.transpose().map_err(|_| StoreError::Corrupt("a session_id"))?;
    Ok(Login {
        challenge_id: challenge_id(row)?,
        cookie_hash: SecretHash::from_text(&row.text("cookie_hash")?).ok_or(StoreError::Corrupt("a hash"))?,
        seed: row.text("seed")?,
        hint_digest: row.text("hint_digest")?,
        binding: binding_of(&row.text("binding")?)?,
        step_up,
        claimed: row.opt_int("claimed_at")?.is_some(),
        state,
        expires_at: at("expires_at")?,
    })
}
