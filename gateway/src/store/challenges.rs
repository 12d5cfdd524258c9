//! Challenges: opened within quotas, found by whoever may see them, and moved on by compare-and-set.

use miid_protocol::events::ServiceEvent;
use miid_protocol::service::Binding;
use miid_protocol::statement::Made;
use miid_protocol::{ChallengeId, ClientId, Did, Handle, Timestamp};

use super::challenge_rows::{Columns, columns, from_row, idempotency_key, joins, select};
use super::db::{Row, parsed, values};
use super::proofs::proof_id;
use super::step_ups::{Room, step_ups_of};
use super::{AuditRow, Reader, StoreError, Tx};
use crate::domain::challenge::Approved;
use crate::domain::{Challenge, State, Step};
use crate::streams::StreamKey;
use crate::verify::HeldProof;

/// A challenge to be opened.
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// As it will stand: pending. Whom a handle names is filled in here.
    pub challenge: Challenge,
    /// The handle to resolve, where the hint was one.
    pub handle: Option<Handle>,
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
    /// Step-ups, per session.
    pub session: i64,
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
    /// A step-up of a session that is over.
    SessionOver,
    /// A step-up whose hint names somebody else than the session's person.
    AnotherPerson,
}

/// What a wallet's decision is about.
#[derive(Debug)]
pub enum ForDecision {
    /// The proof was seen before.
    Replayed,
    /// The identity is over.
    Retired,
    /// No challenge of this wallet.
    NotFound,
    /// This one; and whether the statement's name was used before.
    Found {
        /// The challenge.
        challenge: Box<Challenge>,
        /// Whether the statement's name was used before.
        statement_used: bool,
    },
}

/// What a wallet's claim is about.
#[derive(Debug)]
pub enum ForClaim {
    /// The proof was seen before.
    Replayed,
    /// The identity is over.
    Retired,
    /// No linked challenge.
    NotFound,
    /// This one.
    Found {
        /// The challenge.
        challenge: Box<Challenge>,
        /// How many the person has claimed that are still pending.
        claimed: i64,
        /// When the first of these ends.
        first_ends: Timestamp,
    },
}

impl Tx {
    /// Opens a challenge, or gives the one that this service opened with the same `code_challenge`.
    pub async fn open_challenge(&mut self, new: &NewChallenge) -> Result<Created, StoreError> {
        let now = self.now;
        let mut challenge = new.challenge.clone();
        let key = idempotency_key(&challenge);
        let handle = new.handle.as_ref().map_or("", Handle::as_str);
        if let Some(replaced) = new.replaces {
            self.replace(replaced, &challenge).await?;
        }
        // Counting and inserting must not interleave with another instance's: by the hint first, then by
        // whom it names, always in this order.
        self.lock(&format!("hint/{}", challenge.hint_key)).await?;
        let mut row = self.for_opening(&challenge, handle, &key).await?;
        if let (Some(did), Some(person_key)) = (row.opt_text(4)?, row.opt_text(5)?) {
            challenge.did = Some(parsed(&did, Did::from_stored)?);
            challenge.person_key = person_key;
        }
        // Under the lock of whom it names it is counted again, also where it names nobody: how long this
        // takes must not say which (threats 17).
        let again = self.conn().is_postgres() && new.handle.is_some();
        if again || self.is_touched(&format!("person/{}", challenge.person_key)) {
            row = self.for_opening(&challenge, handle, &key).await?;
        }
        if row.opt_text(6)?.is_some() {
            let same = from_row(&row, 6)?;
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
        if let Some(refused) = self.refused_step_up(&challenge, new.quota.session).await? {
            return Ok(refused);
        }
        // A browser that has signed in as this person before counts for itself: strangers at other services
        // must not use up what is left for it (threats 2).
        let full = match challenge.binding {
            // Nobody is asked yet: it counts for whoever claims it.
            Binding::Linked => false,
            Binding::Addressed if challenge.known_browser => row.int(0)? >= new.quota.known_browsers,
            Binding::Addressed => {
                row.int(1)? >= new.quota.unknown_browsers || row.int(2)? >= new.quota.person
            }
        };
        if full {
            let ends = row.opt_int(3)?.unwrap_or(now.millis());
            return Ok(Created::TooMany(Timestamp::from_millis(ends)));
        }

        challenge.version = 1;
        if let Some(stream) = StreamKey::of_challenge(&challenge) {
            self.tell_wallet(stream, &challenge.created());
        }
        self.audit(AuditRow {
            action: "challenge_created",
            client_id: Some(challenge.client_id.to_string()),
            did: challenge.did.as_ref().map(Did::to_string),
            challenge_id: Some(challenge.id.to_string()),
            ..AuditRow::default()
        });
        self.touch(format!("idempotency/{key}"));
        self.touch_challenge(&challenge);
        self.pending.opened.push(challenge.clone());
        Ok(Created::New(challenge))
    }

    /// Why a step-up is not opened in its session: at last, since from here on the session is held.
    async fn refused_step_up(
        &mut self,
        challenge: &Challenge,
        most: i64,
    ) -> Result<Option<Created>, StoreError> {
        let Some(step_up) = &challenge.step_up else { return Ok(None) };
        if challenge.binding == Binding::Addressed && challenge.did != step_up.did {
            return Ok(Some(Created::AnotherPerson));
        }
        Ok(match self.room_for_step_up(step_up.session_id, most).await? {
            Room::Free => None,
            Room::Full(ends) => Some(Created::TooMany(ends)),
            Room::Over => Some(Created::SessionOver),
        })
    }

    /// What is pending for the person, whom the handle names, and the challenge that was asked for in the
    /// same words before. One statement, the same for a hint that names somebody and one that does not.
    async fn for_opening(
        &mut self,
        challenge: &Challenge,
        handle: &str,
        key: &str,
    ) -> Result<Row, StoreError> {
        self.lock_person(&challenge.person_key).await?;
        self.about_to_read(&[
            format!("idempotency/{key}"),
            format!("hint/{}", challenge.hint_key),
            format!("person/{}", challenge.person_key),
        ])
        .await?;
        let now = self.now;
        let row = self
            .conn()
            .one(
                concat!(
                    "-- for_opening
                     SELECT n.known, n.unknown, n.pending, n.first_ends, h.did, h.person_key, ",
                    columns!(),
                    " FROM (SELECT count(CASE WHEN client_id = $2 AND known_browser = 1 THEN 1 END) AS known,
                                   count(CASE WHEN client_id = $2 AND hint_key = $3 AND known_browser = 0
                                              THEN 1 END) AS unknown,
                                   count(CASE WHEN known_browser = 0 THEN 1 END) AS pending,
                                   min(expires_at) AS first_ends
                            FROM challenges
                            WHERE state = 'pending' AND deadline > $4 AND person_key =
                                COALESCE((SELECT person_key FROM handles
                                          WHERE handle = $1 AND frozen_until IS NULL), $5)) AS n
                      LEFT JOIN handles h ON h.handle = $1 AND h.frozen_until IS NULL
                      LEFT JOIN challenges c ON c.idempotency_key = $6",
                    joins!()
                ),
                values![
                    handle,
                    challenge.client_id.as_str(),
                    &challenge.hint_key,
                    now,
                    &challenge.person_key,
                    key,
                ],
            )
            .await?;
        Ok(row)
    }

    /// Ends an earlier challenge of the same service; an unknown, foreign or finished one is ignored.
    async fn replace(&mut self, id: ChallengeId, by: &Challenge) -> Result<(), StoreError> {
        let found = self.challenge_of_service(id, &by.client_id).await?;
        if let Some(step) = found.and_then(|challenge| challenge.replace(self.now)) {
            self.advance(step, None);
        }
        Ok(())
    }

    /// Saves a step, and announces it. It is a compare-and-set on the version that the step saw: where
    /// somebody else was first, the transaction fails and its operations look again.
    pub fn advance(&mut self, step: Step, decision: Option<(&Did, &Made)>) {
        let next = step.next;
        if let (Some(event), Some(stream)) = (&step.wallet, StreamKey::of_challenge(&next)) {
            self.tell_wallet(stream, event);
        }
        if let Some(event) = &step.service {
            let approval = matches!(next.state, State::Approved(_)).then_some(next.approvals);
            let stream = StreamKey::service(&next.client_id);
            self.tell_service(stream, event, Some(next.id.to_string()), approval);
        }
        let columns = Columns::of(&next.state);
        let mut approved = None;
        if let State::Approved(Approved { grant, .. }) = &next.state {
            approved = Some(grant.id);
            if let Some(disclosure) = &grant.disclosure {
                self.pending.disclosures.push((grant.id, disclosure.clone()));
            }
        }
        self.audit(AuditRow {
            id: approved,
            action: action(&next.state, step.service.as_ref()),
            client_id: Some(next.client_id.to_string()),
            did: next.did.as_ref().map(Did::to_string),
            challenge_id: Some(next.id.to_string()),
            session_id: columns.session_id,
            reason: columns.reason,
            jti_key: decision.map(|(did, made)| super::jti_key(did, made.jti())),
            statement: decision.map(|(_, made)| made.statement().to_owned()),
        });
        self.touch_challenge(&next);
        self.pending.moved.push(next);
    }

    /// Whoever is about to read this challenge, or to count it, must see what is kept back. By its code it
    /// is found through its id, see [`Self::challenge_of_code`].
    fn touch_challenge(&mut self, challenge: &Challenge) {
        self.touch(format!("challenge/{}", challenge.id));
        self.touch(format!("hint/{}", challenge.hint_key));
        self.touch(format!("person/{}", challenge.person_key));
        if let Some(step_up) = &challenge.step_up {
            self.touch(step_ups_of(&step_up.session_id.to_string()));
        }
    }

    /// A challenge for a wallet's decision on it, which uses up the proof and names a statement.
    pub async fn challenge_for_decision(
        &mut self,
        id: Option<ChallengeId>,
        proof: &HeldProof,
        jti_key: Option<&str>,
    ) -> Result<ForDecision, StoreError> {
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let jti_key = jti_key.unwrap_or_default();
        let proof_id = proof_id(proof);
        self.about_to_read(&[
            format!("proof/{proof_id}"),
            format!("challenge/{id}"),
            format!("jti/{jti_key}"),
        ])
        .await?;
        let row = self
            .conn()
            .one(
                concat!(
                    "-- challenge_for_decision
                     SELECT (SELECT count(*) FROM proofs WHERE id = $3),
                            (SELECT count(*) FROM audit WHERE jti_key = $4),
                            (SELECT count(*) FROM retired WHERE did = $2), ",
                    columns!(),
                    " FROM (SELECT 1 AS one) AS one LEFT JOIN challenges c ON c.id = $1 AND c.did = $2",
                    joins!()
                ),
                values![&id, proof.did().as_str(), &proof_id, jti_key],
            )
            .await?;
        if row.int(0)? > 0 {
            return Ok(ForDecision::Replayed);
        }
        self.keep_proof(proof_id, proof);
        if row.int(2)? > 0 {
            return Ok(ForDecision::Retired);
        }
        if row.opt_text(3)?.is_none() {
            return Ok(ForDecision::NotFound);
        }
        Ok(ForDecision::Found { challenge: Box::new(from_row(&row, 3)?), statement_used: row.int(1)? > 0 })
    }

    /// A challenge that a wallet wants to claim, whoever's it is, which uses up the proof; and how many others the
    /// person, counted by `person_key`, has claimed and not answered. What is found is nobody's business but that of
    /// who holds the link's secret.
    pub async fn challenge_for_claim(
        &mut self,
        id: Option<ChallengeId>,
        proof: &HeldProof,
        person_key: &str,
    ) -> Result<ForClaim, StoreError> {
        // Counting and claiming must not interleave with another instance's, nor with a retirement.
        self.lock_person(person_key).await?;
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let proof_id = proof_id(proof);
        self.about_to_read(&[
            format!("proof/{proof_id}"),
            format!("challenge/{id}"),
            format!("person/{person_key}"),
        ])
        .await?;
        let now = self.now;
        let row = self
            .conn()
            .one(
                concat!(
                    "-- challenge_for_claim
                     SELECT (SELECT count(*) FROM proofs WHERE id = $3),
                            (SELECT count(*) FROM retired WHERE did = $2),
                            n.claimed, n.first_ends, ",
                    columns!(),
                    " FROM (SELECT count(*) AS claimed, min(expires_at) AS first_ends FROM challenges
                            WHERE person_key = $4 AND binding = 'linked' AND state = 'pending'
                              AND deadline > $5) AS n
                      LEFT JOIN challenges c ON c.id = $1 AND c.binding = 'linked'",
                    joins!()
                ),
                values![&id, proof.did().as_str(), &proof_id, person_key, now],
            )
            .await?;
        if row.int(0)? > 0 {
            return Ok(ForClaim::Replayed);
        }
        self.keep_proof(proof_id, proof);
        if row.int(1)? > 0 {
            return Ok(ForClaim::Retired);
        }
        if row.opt_text(4)?.is_none() {
            return Ok(ForClaim::NotFound);
        }
        Ok(ForClaim::Found {
            challenge: Box::new(from_row(&row, 4)?),
            claimed: row.int(2)?,
            first_ends: Timestamp::from_millis(row.opt_int(3)?.unwrap_or(now.millis())),
        })
    }

    /// A challenge, if it is this service's.
    pub async fn challenge_of_service(
        &mut self,
        id: ChallengeId,
        client_id: &ClientId,
    ) -> Result<Option<Challenge>, StoreError> {
        self.about_to_read(&[format!("challenge/{id}")]).await?;
        let sql = select!("WHERE c.id = $1 AND c.client_id = $2");
        let row = self.conn().optional(sql, values![&id.to_string(), client_id.as_str()]).await?;
        Ok(row.as_ref().map(|row| from_row(row, 0)).transpose()?)
    }

    /// A challenge whose code somebody presents, and who its person is at its service, if the person has
    /// been there before.
    pub async fn challenge_for_exchange(
        &mut self,
        id: ChallengeId,
    ) -> Result<Option<(Challenge, Option<String>)>, StoreError> {
        let sql = concat!(
            "-- challenge_for_exchange
             SELECT (SELECT sub FROM subjects s WHERE s.client_id = c.client_id AND s.did = c.did), ",
            columns!(),
            " FROM challenges c",
            joins!(),
            "WHERE c.id = $1"
        );
        self.about_to_read(&[format!("challenge/{id}")]).await?;
        loop {
            let row = self.conn().optional(sql, values![&id.to_string()]).await?;
            let Some(row) = row else { return Ok(None) };
            let (challenge, sub) = (from_row(&row, 1)?, row.opt_text(0)?);
            // Whose it is, only the row says; the person's first sign-in there may be kept back.
            let person = challenge.did.as_ref().map(Did::as_str).unwrap_or_default();
            let name = format!("subject/{}/{person}", challenge.client_id);
            if !self.is_touched(&name) {
                return Ok(Some((challenge, sub)));
            }
            self.about_to_read(&[name]).await?;
        }
    }

    /// At most `limit` challenges that are past a deadline.
    pub async fn lapsed_challenges(&mut self, limit: i64) -> Result<Vec<Challenge>, StoreError> {
        self.write_pending().await?;
        let now = self.now;
        let sql = select!("WHERE c.deadline <= $1 ORDER BY c.deadline LIMIT $2");
        let rows = self.conn().all(sql, values![now, limit]).await?;
        Ok(rows.iter().map(|row| from_row(row, 0)).collect::<sqlx::Result<_>>()?)
    }
}

impl Reader {
    /// A challenge, if it is this service's.
    pub async fn challenge_of_service(
        &mut self,
        id: ChallengeId,
        client_id: &ClientId,
    ) -> Result<Option<Challenge>, StoreError> {
        let sql = select!("WHERE c.id = $1 AND c.client_id = $2");
        let row = self.conn().optional(sql, values![&id.to_string(), client_id.as_str()]).await?;
        Ok(row.as_ref().map(|row| from_row(row, 0)).transpose()?)
    }

    /// What is pending or approved at a service, newest first; at most `limit`.
    pub async fn open_challenges_of_service(
        &mut self,
        client_id: &ClientId,
        limit: i64,
    ) -> Result<Vec<Challenge>, StoreError> {
        let sql = select!("WHERE c.client_id = $1 AND c.deadline IS NOT NULL ORDER BY c.id DESC LIMIT $2");
        let rows = self.conn().all(sql, values![client_id.as_str(), limit]).await?;
        Ok(rows.iter().map(|row| from_row(row, 0)).collect::<sqlx::Result<_>>()?)
    }

    /// What is pending or approved for a wallet, newest first; at most `limit`.
    pub async fn open_challenges_of_wallet(
        &mut self,
        did: &Did,
        person_key: &str,
        limit: i64,
    ) -> Result<Vec<Challenge>, StoreError> {
        let sql = select!(
            "WHERE c.person_key = $1 AND c.did = $2 AND c.deadline IS NOT NULL ORDER BY c.id DESC LIMIT $3"
        );
        let rows = self.conn().all(sql, values![person_key, did.as_str(), limit]).await?;
        Ok(rows.iter().map(|row| from_row(row, 0)).collect::<sqlx::Result<_>>()?)
    }
}

/// What happened, for the audit log.
fn action(state: &State, told: Option<&ServiceEvent>) -> &'static str {
    match state {
        State::Pending if matches!(told, Some(ServiceEvent::ChallengeClaimed(_))) => "challenge_claimed",
        State::Pending => "approval_cancelled",
        State::Approved(_) => "challenge_approved",
        State::Active(_) => "challenge_exchanged",
        State::Denied(_) => "challenge_denied",
        State::Expired(_) => "challenge_expired",
    }
}
