//! Sessions and their refresh tokens.

use miid_protocol::events::{ServiceEvent, SessionRevoked, WalletEvent};
use miid_protocol::service::RevokeReason;
use miid_protocol::statement::Made;
use miid_protocol::{ChallengeId, ClientId, Did, SessionId, Timestamp};
use uuid::Uuid;

use super::db::{Conn, Row, Value, parsed, values};
use super::rows::{Column, Rows};
use super::{AuditRow, Reader, StoreError, Tx};
use crate::domain::Session;
use crate::streams::StreamKey;

/// The columns of a session, in the order in which [`from_row`] reads them.
macro_rules! columns {
    () => {
        "s.id, s.challenge_id, s.client_id, s.did, s.sub, s.scopes, d.disclosure, a.statement, s.created_at,
         s.last_used_at, s.expires_at, s.idle_until, s.generation, s.rotated_at, s.revoked_at, s.reason,
         s.grant_id"
    };
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM sessions s LEFT JOIN audit a ON a.id = s.grant_id
              LEFT JOIN disclosures d ON d.grant_id = s.grant_id ",
            $rest
        )
    };
}

/// A session that ends, as far as everyone must be told.
struct Ending {
    id: SessionId,
    client_id: ClientId,
    did: Did,
    sub: String,
    reason: RevokeReason,
}

impl Tx {
    /// Makes a person known at a service, at the first sign-in there.
    pub fn add_subject(&mut self, client_id: &ClientId, did: &Did, sub: &str) {
        self.touch(format!("subject/{client_id}/{did}"));
        self.pending.subjects.push((client_id.to_string(), did.to_string(), sub.to_owned()));
    }

    /// Opens a session. `session_created` was announced by the step that led here.
    pub fn open_session(&mut self, session: &Session) {
        self.touch(format!("sessions/{}/{}", session.client_id, session.did));
        self.touch(format!("session/{}", session.id));
        self.pending.sessions.push(session.clone());
    }

    /// Keeps what ends a person's sessions, and what makes a new one, apart from others that do.
    pub async fn lock_sessions(&mut self, did: &Did) -> Result<(), StoreError> {
        self.lock(&format!("sessions/{did}")).await
    }

    /// Ends the sessions of a person at a service but the newest `others`, because there is going to be a new one.
    pub async fn supersede(
        &mut self,
        client_id: &ClientId,
        did: &Did,
        others: u32,
    ) -> Result<(), StoreError> {
        self.about_to_read(&[format!("sessions/{client_id}/{did}")]).await?;
        let now = self.now;
        let rows = self
            .conn()
            .all(
                "-- supersede
                 UPDATE sessions SET revoked_at = $3, reason = 'superseded'
                 WHERE revoked_at IS NULL AND id IN
                     (SELECT id FROM sessions WHERE did = $1 AND client_id = $2 AND revoked_at IS NULL
                      ORDER BY id DESC LIMIT 1000000000 OFFSET $4)
                 RETURNING id, client_id, sub",
                values![did.as_str(), client_id.as_str(), now, i64::from(others)],
            )
            .await?;
        let ended = self.announce_ends(did, RevokeReason::Superseded, &rows)?;
        self.end_step_ups(&ended).await
    }

    /// Ends every session of an identity that is over, at every service, however many they are; says how many.
    /// Everything that is kept back has been written.
    pub(super) async fn retire_sessions(&mut self, did: &Did) -> Result<usize, StoreError> {
        let now = self.now;
        let rows = self
            .conn()
            .all(
                "-- retire_sessions
                 UPDATE sessions SET revoked_at = $2, reason = 'retired'
                 WHERE did = $1 AND revoked_at IS NULL RETURNING id, client_id, sub",
                values![did.as_str(), now],
            )
            .await?;
        let ended = self.announce_ends(did, RevokeReason::Retired, &rows)?;
        self.end_step_ups(&ended).await?;
        Ok(ended.len())
    }

    fn announce_ends(
        &mut self,
        did: &Did,
        reason: RevokeReason,
        ended: &[Row],
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut ids = Vec::with_capacity(ended.len());
        for row in ended {
            let ending = Ending {
                id: parsed(&row.text(0)?, SessionId::parse)?,
                client_id: parsed(&row.text(1)?, ClientId::parse)?,
                did: did.clone(),
                sub: row.text(2)?,
                reason,
            };
            self.announce_end(&ending, None);
            ids.push(ending.id);
        }
        Ok(ids)
    }

    fn announce_end(&mut self, ending: &Ending, decision: Option<&Made>) {
        let (reason, at) = (ending.reason, self.now);
        let ended = SessionRevoked { session_id: ending.id, sub: ending.sub.clone(), reason, at };
        self.tell_wallet(StreamKey::wallet(&ending.did), &WalletEvent::SessionRevoked(ended.clone()));
        let stream = StreamKey::service(&ending.client_id);
        self.tell_service(stream, &ServiceEvent::SessionRevoked(ended), None, None);
        self.audit_end(ending, decision);
    }

    fn audit_end(&mut self, ending: &Ending, decision: Option<&Made>) {
        self.audit(AuditRow {
            action: "session_revoked",
            client_id: Some(ending.client_id.to_string()),
            did: Some(ending.did.to_string()),
            session_id: Some(ending.id.to_string()),
            reason: Some(ending.reason.as_str()),
            jti_key: decision.map(|made| super::jti_key(&ending.did, made.jti())),
            statement: decision.map(|made| made.statement().to_owned()),
            ..AuditRow::default()
        });
    }

    /// Moves a session to its next refresh token. False where somebody else did.
    pub async fn rotate(&mut self, session: &Session, idle_until: Timestamp) -> Result<bool, StoreError> {
        let now = self.now;
        let rows = self
            .conn()
            .execute(
                "-- rotate
                 UPDATE sessions SET generation = generation + 1, rotated_at = $3, last_used_at = $3, idle_until = $4
                 WHERE id = $1 AND generation = $2 AND revoked_at IS NULL",
                values![&session.id.to_string(), session.generation, now, idle_until],
            )
            .await?;
        Ok(rows == 1)
    }

    /// Ends a session, tells everyone, and gives back when it ended: now, or earlier by somebody else.
    pub async fn revoke_session(
        &mut self,
        session: &Session,
        reason: RevokeReason,
        decision: Option<&Made>,
    ) -> Result<Timestamp, StoreError> {
        let now = self.now;
        let rows = self
            .conn()
            .execute(
                "-- revoke_session
                 UPDATE sessions SET revoked_at = $2, reason = $3
                 WHERE id = $1 AND revoked_at IS NULL AND (idle_until <= $2 OR $3 <> 'expired')",
                values![&session.id.to_string(), now, reason.as_str()],
            )
            .await?;
        let ending = Ending {
            id: session.id,
            client_id: session.client_id.clone(),
            did: session.did.clone(),
            sub: session.sub.clone(),
            reason,
        };
        if rows == 1 {
            self.announce_end(&ending, decision);
            self.end_step_ups(&[session.id]).await?;
            return Ok(now);
        }
        let row = self
            .conn()
            .one(
                "-- revoked_at
                 SELECT revoked_at FROM sessions WHERE id = $1",
                values![&session.id.to_string()],
            )
            .await?;
        if decision.is_some() {
            self.audit_end(&ending, decision);
        }
        Ok(Timestamp::from_millis(row.opt_int(0)?.unwrap_or(now.millis())))
    }

    /// A session by its id, whoever's it is.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<Session>, StoreError> {
        self.about_to_read(&[format!("session/{id}")]).await?;
        let row = self.conn().optional(select!("WHERE s.id = $1"), values![&id.to_string()]).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// At most `limit` sessions whose time is over.
    pub async fn lapsed_sessions(&mut self, limit: i64) -> Result<Vec<Session>, StoreError> {
        let now = self.now;
        // idle_until never lies beyond expires_at, so one index finds both.
        let sql = select!("WHERE s.revoked_at IS NULL AND s.idle_until <= $1 ORDER BY s.id LIMIT $2");
        self.many(sql, values![now, limit]).await
    }

    /// At most `limit` live sessions of a service.
    pub async fn some_sessions_of_service(
        &mut self,
        client_id: &ClientId,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        let sql = select!("WHERE s.client_id = $1 AND s.revoked_at IS NULL ORDER BY s.id LIMIT $2");
        self.many(sql, values![client_id.as_str(), limit]).await
    }

    async fn many(
        &mut self,
        sql: &'static str,
        args: &[super::db::Value<'_>],
    ) -> Result<Vec<Session>, StoreError> {
        let rows = self.conn().all(sql, args).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }
}

impl Reader {
    /// A session by its id, whoever's it is.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let row = self.conn().optional(select!("WHERE s.id = $1"), values![&id.to_string()]).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// A page of a service's live sessions, oldest first, after `after`.
    pub async fn live_sessions_of_service(
        &mut self,
        client_id: &ClientId,
        after: Option<SessionId>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let sql = select!(
            "WHERE s.client_id = $1 AND s.id > $2 AND s.revoked_at IS NULL AND s.idle_until > $3
             ORDER BY s.id LIMIT $4"
        );
        let rows = self.conn().all(sql, values![client_id.as_str(), &after, now, limit]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }

    /// A wallet's live sessions, newest first; at most `limit`.
    pub async fn live_sessions_of_wallet(
        &mut self,
        did: &Did,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        let sql = select!(
            "WHERE s.did = $1 AND s.revoked_at IS NULL AND s.idle_until > $2
             ORDER BY s.id DESC LIMIT $3"
        );
        let rows = self.conn().all(sql, values![did.as_str(), now, limit]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }
}

static SUBJECTS: Rows = Rows::new(
    "-- insert_subjects
     INSERT INTO subjects (client_id, did, sub)",
    &[Column::Text, Column::Text, Column::Text],
    "",
);

pub(super) async fn write_subjects(
    conn: &mut Conn<'_>,
    subjects: &[(String, String, String)],
) -> Result<(), StoreError> {
    let rows = subjects
        .iter()
        .map(|(client_id, did, sub)| vec![Value::from(client_id), Value::from(did), Value::from(sub)]);
    SUBJECTS.execute(conn, rows).await?;
    Ok(())
}

static SESSIONS: Rows = Rows::new(
    "-- insert_sessions
     INSERT INTO sessions
         (id, challenge_id, client_id, did, sub, scopes, grant_id, created_at, last_used_at,
          expires_at, idle_until, generation, rotated_at)",
    &[
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Int,
        Column::Int,
        Column::Int,
        Column::Int,
        Column::Int,
        Column::Int,
    ],
    "",
);

pub(super) async fn write_sessions(conn: &mut Conn<'_>, sessions: &[Session]) -> Result<(), StoreError> {
    let texts: Vec<[String; 4]> = sessions
        .iter()
        .map(|session| {
            [
                session.id.to_string(),
                session.challenge_id.to_string(),
                list_text(&session.scopes),
                session.grant_id.to_string(),
            ]
        })
        .collect();
    let rows = sessions.iter().zip(&texts).map(|(session, [id, challenge_id, scopes, grant_id])| {
        vec![
            Value::from(id),
            Value::from(challenge_id),
            Value::from(session.client_id.as_str()),
            Value::from(session.did.as_str()),
            Value::from(&session.sub),
            Value::from(scopes),
            Value::from(grant_id),
            Value::from(session.created_at),
            Value::from(session.last_used_at),
            Value::from(session.expires_at),
            Value::from(session.idle_until),
            Value::from(session.generation),
            Value::from(session.rotated_at),
        ]
    });
    SESSIONS.execute(conn, rows).await?;
    Ok(())
}

/// A list of names, as one text column.
pub(super) fn list_text(names: &[String]) -> String {
    match serde_json::to_string(names) {
        Ok(text) => text,
        Err(_) => unreachable!("a list of text serialises"),
    }
}

/// And back.
pub(super) fn list_from(text: &str) -> sqlx::Result<Vec<String>> {
    serde_json::from_str(text).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn from_row(row: &Row) -> sqlx::Result<Session> {
    let at = |i| -> sqlx::Result<Timestamp> { Ok(Timestamp::from_millis(row.int(i)?)) };
    let revoked = match (row.opt_int(14)?, row.opt_text(15)?) {
        (None, _) => None,
        (Some(at), reason) => {
            let reason = reason.as_deref().and_then(RevokeReason::parse);
            let reason = reason.ok_or(sqlx::Error::Decode("an ended session without its reason".into()))?;
            Some((Timestamp::from_millis(at), reason))
        }
    };
    Ok(Session {
        id: parsed(&row.text(0)?, SessionId::parse)?,
        challenge_id: parsed(&row.text(1)?, ChallengeId::parse)?,
        client_id: parsed(&row.text(2)?, ClientId::parse)?,
        did: parsed(&row.text(3)?, Did::from_stored)?,
        sub: row.text(4)?,
        scopes: list_from(&row.text(5)?)?,
        disclosure: row.opt_text(6)?,
        grant_id: parsed(&row.text(16)?, Uuid::parse_str)?,
        statement: row.opt_text(7)?.unwrap_or_default(),
        created_at: at(8)?,
        last_used_at: at(9)?,
        expires_at: at(10)?,
        idle_until: at(11)?,
        generation: row.int(12)?,
        rotated_at: at(13)?,
        revoked,
    })
}
