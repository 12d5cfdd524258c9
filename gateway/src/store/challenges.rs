//! Challenges: opened within quotas, found by whoever may see them, and moved on by compare-and-set.

use miid_protocol::secret::SecretHash;
use miid_protocol::service::{Binding, DenyReason, ExpireReason};
use miid_protocol::{ChallengeId, ClientId, Did, SessionId, Timestamp};

use super::db::{Row, parsed, values};
use super::{AuditRow, Reader, StoreError, Tx};
use crate::domain::challenge::{Active, Approved, Grant};
use crate::domain::{Challenge, State, Step};
use crate::streams::StreamKey;

/// The columns of a challenge, in the order in which [`from_row`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, client_id, did, hint_key, person_key, known_browser, binding, nonce, request,
                    code_challenge, state, reason, created_at, expires_at, changed_at, approvals, code_hash,
                    code_expires_at, scopes, disclosure, statement, session_id
             FROM challenges ",
            $rest
        )
    };
}

/// A challenge to be opened.
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// As it will stand: pending.
    pub challenge: Challenge,
    /// A challenge of the same service and browser, to be ended.
    pub replaces: Option<ChallengeId>,
    /// What may be pending at the same time.
    pub quota: Quota,
}

/// How many challenges may be pending (section 4).
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Per service and hint, from browsers that the service does not know.
    pub unknown_browsers: i64,
    /// Per service and person, from browsers that have signed in as this person.
    pub known_browsers: i64,
    /// Per person, over all services.
    pub person: i64,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Created {
    /// It is new.
    New(Challenge),
    /// The same service asked with the same `code_challenge` before.
    Same(Challenge),
    /// Too many are pending; the first of them ends then.
    TooMany(Timestamp),
}

impl Tx {
    /// Opens a challenge, or gives the one that this service opened with the same `code_challenge`.
    pub async fn open_challenge(&mut self, new: &NewChallenge) -> Result<Created, StoreError> {
        let now = self.now;
        let mut challenge = new.challenge.clone();
        // Counting and inserting must not interleave with another instance's.
        self.lock(&format!("pending:{}", challenge.person_key)).await?;

        let key = idempotency_key(&challenge);
        if let Some(same) = self.one_challenge(select!("WHERE idempotency_key = $1"), values![&key]).await? {
            if now < same.expires_at {
                return Ok(Created::Same(same));
            }
            self.conn()
                .execute(
                    "-- release_idempotency_key
                     UPDATE challenges SET idempotency_key = id WHERE id = $1",
                    values![&same.id.to_string()],
                )
                .await?;
        }
        if let Some(replaced) = new.replaces {
            self.replace(replaced, &challenge).await?;
        }

        let row = self
            .conn()
            .one(
                "-- count_pending
                 SELECT count(CASE WHEN client_id = $2 AND hint_key = $3 AND known_browser = 0 THEN 1 END),
                        count(CASE WHEN client_id = $2 AND known_browser = 1 THEN 1 END),
                        count(*), min(expires_at)
                 FROM challenges WHERE person_key = $1 AND state = 'pending' AND expires_at > $4",
                values![&challenge.person_key, challenge.client_id.as_str(), &challenge.hint_key, now],
            )
            .await?;
        let own = if challenge.known_browser {
            row.int(1)? >= new.quota.known_browsers
        } else {
            row.int(0)? >= new.quota.unknown_browsers
        };
        if own || row.int(2)? >= new.quota.person {
            let ends = row.opt_int(3)?.unwrap_or(now.millis());
            return Ok(Created::TooMany(Timestamp::from_millis(ends)));
        }

        // The same writes for a hint that names nobody: its events go to a stream that nobody reads.
        self.conn()
            .execute(
                "-- open_challenge
                 INSERT INTO challenges
                     (id, version, client_id, did, hint_key, person_key, known_browser, binding, nonce, request,
                      code_challenge, idempotency_key, state, created_at, expires_at, changed_at, approvals)
                 VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', $12, $13, $12, 0)",
                values![
                    &challenge.id.to_string(),
                    challenge.client_id.as_str(),
                    challenge.did.as_ref().map(Did::as_str),
                    &challenge.hint_key,
                    &challenge.person_key,
                    i64::from(challenge.known_browser),
                    binding_text(challenge.binding),
                    &challenge.nonce,
                    &challenge.request,
                    &challenge.code_challenge,
                    &key,
                    now,
                    challenge.expires_at,
                ],
            )
            .await?;
        challenge.version = 1;
        self.tell_wallet(StreamKey::of_challenge(&challenge), &challenge.created());
        self.audit(AuditRow {
            action: "challenge_created",
            client_id: Some(challenge.client_id.to_string()),
            did: challenge.did.as_ref().map(Did::to_string),
            challenge_id: Some(challenge.id.to_string()),
            ..AuditRow::default()
        });
        Ok(Created::New(challenge))
    }

    /// Ends an earlier challenge of the same service; an unknown, foreign or finished one is ignored.
    async fn replace(&mut self, id: ChallengeId, by: &Challenge) -> Result<(), StoreError> {
        let found = self.challenge_of_service(id, &by.client_id).await?;
        if let Some(step) = found.and_then(|challenge| challenge.replace(self.now)) {
            self.advance(&step, None).await?;
        }
        Ok(())
    }

    /// Saves a step by compare-and-set, and announces it. False where somebody else was first;
    /// then nothing was written, and the caller looks again.
    pub async fn advance(
        &mut self,
        step: &Step,
        decision: Option<(&Did, &miid_protocol::statement::Made)>,
    ) -> Result<bool, StoreError> {
        let next = &step.next;
        let columns = Columns::of(&next.state);
        let rows = self
            .conn()
            .execute(
                "-- advance
                 UPDATE challenges
                 SET version = version + 1, state = $3, reason = $4, changed_at = $5, approvals = $6,
                     code_hash = $7, code_expires_at = $8, scopes = $9, disclosure = $10, statement = $11,
                     session_id = $12
                 WHERE id = $1 AND version = $2",
                values![
                    &next.id.to_string(),
                    next.version - 1,
                    columns.state,
                    columns.reason,
                    next.changed_at,
                    next.approvals,
                    columns.code_hash.as_deref(),
                    columns.code_expires_at,
                    columns.scopes.as_deref(),
                    columns.disclosure,
                    columns.statement,
                    columns.session_id.as_deref(),
                ],
            )
            .await?;
        if rows == 0 {
            return Ok(false);
        }
        if let Some(event) = &step.wallet {
            self.tell_wallet(StreamKey::of_challenge(next), event);
        }
        if let Some(event) = &step.service {
            let approval = matches!(next.state, State::Approved(_)).then_some(next.approvals);
            let stream = StreamKey::service(&next.client_id);
            self.tell_service(stream, event, Some(next.id.to_string()), approval);
        }
        self.audit(AuditRow {
            action: action(step),
            client_id: Some(next.client_id.to_string()),
            did: next.did.as_ref().map(Did::to_string),
            challenge_id: Some(next.id.to_string()),
            session_id: columns.session_id,
            reason: columns.reason,
            jti_key: decision.map(|(did, made)| super::jti_key(did, made.jti())),
            statement: decision.map(|(_, made)| made.statement().to_owned()),
        });
        Ok(true)
    }

    /// A challenge, if it is this wallet's.
    pub async fn challenge_of_wallet(
        &mut self,
        id: ChallengeId,
        did: &Did,
    ) -> Result<Option<Challenge>, StoreError> {
        let sql = select!("WHERE id = $1 AND did = $2");
        self.one_challenge(sql, values![&id.to_string(), did.as_str()]).await
    }

    /// A challenge, if it is this service's.
    pub async fn challenge_of_service(
        &mut self,
        id: ChallengeId,
        client_id: &ClientId,
    ) -> Result<Option<Challenge>, StoreError> {
        let sql = select!("WHERE id = $1 AND client_id = $2");
        self.one_challenge(sql, values![&id.to_string(), client_id.as_str()]).await
    }

    /// The challenge that a code belongs to, whoever presents it.
    pub async fn challenge_of_code(&mut self, hash: SecretHash) -> Result<Option<Challenge>, StoreError> {
        self.one_challenge(select!("WHERE code_hash = $1"), values![&hash.to_text()]).await
    }

    /// At most `limit` challenges that are past a deadline.
    pub async fn lapsed_challenges(&mut self, limit: i64) -> Result<Vec<Challenge>, StoreError> {
        let now = self.now;
        let sql = select!(
            "WHERE (state = 'pending' AND expires_at <= $1) OR (state = 'approved' AND code_expires_at <= $1)
             ORDER BY id LIMIT $2"
        );
        let rows = self.conn().all(sql, values![now, limit]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }

    async fn one_challenge(
        &mut self,
        sql: &'static str,
        args: &[super::db::Value<'_>],
    ) -> Result<Option<Challenge>, StoreError> {
        let row = self.conn().optional(sql, args).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }
}

impl Reader {
    /// A challenge, if it is this service's.
    pub async fn challenge_of_service(
        &mut self,
        id: ChallengeId,
        client_id: &ClientId,
    ) -> Result<Option<Challenge>, StoreError> {
        let sql = select!("WHERE id = $1 AND client_id = $2");
        let row = self.conn().optional(sql, values![&id.to_string(), client_id.as_str()]).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// What is pending or approved at a service, newest first; at most `limit`.
    pub async fn open_challenges_of_service(
        &mut self,
        client_id: &ClientId,
        limit: i64,
    ) -> Result<Vec<Challenge>, StoreError> {
        let sql =
            select!("WHERE client_id = $1 AND state IN ('pending', 'approved') ORDER BY id DESC LIMIT $2");
        let rows = self.conn().all(sql, values![client_id.as_str(), limit]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }

    /// What is pending or approved for a wallet, newest first; at most `limit`.
    pub async fn open_challenges_of_wallet(
        &mut self,
        did: &Did,
        limit: i64,
    ) -> Result<Vec<Challenge>, StoreError> {
        let sql = select!("WHERE did = $1 AND state IN ('pending', 'approved') ORDER BY id DESC LIMIT $2");
        let rows = self.conn().all(sql, values![did.as_str(), limit]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }
}

fn idempotency_key(challenge: &Challenge) -> String {
    format!("{}/{}", challenge.client_id, challenge.code_challenge)
}

/// What happened, for the audit log.
fn action(step: &Step) -> &'static str {
    match &step.next.state {
        State::Pending => "approval_cancelled",
        State::Approved(_) => "challenge_approved",
        State::Active(_) => "challenge_exchanged",
        State::Denied(_) => "challenge_denied",
        State::Expired(_) => "challenge_expired",
    }
}

fn binding_text(binding: Binding) -> &'static str {
    match binding {
        Binding::Addressed => "addressed",
        Binding::Linked => "linked",
    }
}

/// A state as it stands in its columns.
struct Columns<'a> {
    state: &'static str,
    reason: Option<&'static str>,
    code_hash: Option<String>,
    code_expires_at: Option<i64>,
    scopes: Option<String>,
    disclosure: Option<&'a str>,
    statement: Option<&'a str>,
    session_id: Option<String>,
}

impl<'a> Columns<'a> {
    fn of(state: &'a State) -> Self {
        let mut columns = Self {
            state: "pending",
            reason: None,
            code_hash: None,
            code_expires_at: None,
            scopes: None,
            disclosure: None,
            statement: None,
            session_id: None,
        };
        match state {
            State::Pending => {}
            State::Approved(approved) => {
                columns.state = "approved";
                columns.code_hash = Some(approved.code_hash.to_text());
                columns.code_expires_at = Some(approved.code_expires_at.millis());
                columns.grant(&approved.grant);
            }
            State::Active(active) => {
                columns.state = "active";
                columns.code_hash = Some(active.code_hash.to_text());
                columns.session_id = Some(active.session_id.to_string());
                columns.grant(&active.grant);
            }
            State::Denied(reason) => {
                columns.state = "denied";
                columns.reason = Some(reason.as_str());
            }
            State::Expired(reason) => {
                columns.state = "expired";
                columns.reason = Some(reason.as_str());
            }
        }
        columns
    }

    fn grant(&mut self, grant: &'a Grant) {
        self.scopes = Some(super::sessions::list_text(&grant.scopes));
        self.disclosure = grant.disclosure.as_deref();
        self.statement = Some(&grant.statement);
    }
}

fn from_row(row: &Row) -> sqlx::Result<Challenge> {
    let damaged = |what: &'static str| sqlx::Error::Decode(what.into());
    let reason = row.opt_text(12)?;
    let reason = reason.as_deref().unwrap_or_default();
    let code_hash = || -> sqlx::Result<SecretHash> {
        let text = row.opt_text(17)?;
        text.as_deref().and_then(SecretHash::from_text).ok_or(damaged("a challenge without its code's hash"))
    };
    let grant = || -> sqlx::Result<Grant> {
        Ok(Grant {
            scopes: super::sessions::list_from(&row.opt_text(19)?.unwrap_or_default())?,
            disclosure: row.opt_text(20)?,
            statement: row.opt_text(21)?.unwrap_or_default(),
        })
    };
    let state = match row.text(11)?.as_str() {
        "pending" => State::Pending,
        "approved" => State::Approved(Approved {
            code_hash: code_hash()?,
            code_expires_at: Timestamp::from_millis(row.opt_int(18)?.unwrap_or_default()),
            grant: grant()?,
        }),
        "active" => State::Active(Active {
            code_hash: code_hash()?,
            session_id: parsed(&row.opt_text(22)?.unwrap_or_default(), SessionId::parse)?,
            grant: grant()?,
        }),
        "denied" => State::Denied(DenyReason::parse(reason).ok_or(damaged("a denial without its reason"))?),
        "expired" => {
            State::Expired(ExpireReason::parse(reason).ok_or(damaged("an expiry without its reason"))?)
        }
        _ => return Err(damaged("a challenge in an unknown state")),
    };
    Ok(Challenge {
        id: parsed(&row.text(0)?, ChallengeId::parse)?,
        version: row.int(1)?,
        client_id: parsed(&row.text(2)?, ClientId::parse)?,
        did: row.opt_text(3)?.map(|text| parsed(&text, Did::parse)).transpose()?,
        hint_key: row.text(4)?,
        person_key: row.text(5)?,
        known_browser: row.int(6)? != 0,
        binding: match row.text(7)?.as_str() {
            "addressed" => Binding::Addressed,
            "linked" => Binding::Linked,
            _ => return Err(damaged("an unknown binding")),
        },
        nonce: row.text(8)?,
        request: row.text(9)?,
        code_challenge: row.text(10)?,
        created_at: Timestamp::from_millis(row.int(13)?),
        expires_at: Timestamp::from_millis(row.int(14)?),
        changed_at: Timestamp::from_millis(row.int(15)?),
        approvals: row.int(16)?,
        state,
    })
}
