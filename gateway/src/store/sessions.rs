//! Sessions and their refresh tokens.

use miid_protocol::events::{ServiceEvent, WalletEvent};
use miid_protocol::secret::{RefreshToken, Secret, SecretHash};
use miid_protocol::service::RevokeReason;
use miid_protocol::{ChallengeId, ClientId, Did, SessionId, Timestamp};

use super::db::{Row, parsed, values};
use super::{AuditRow, Reader, StoreError, Tx};
use crate::domain::Session;
use crate::streams::StreamKey;

/// The columns of a session, in the order in which [`from_row`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, challenge_id, client_id, did, sub, scopes, disclosure, statement, created_at,
                    last_used_at, expires_at, idle_until, generation, rotated_at, revoked_at, reason
             FROM sessions ",
            $rest
        )
    };
}

impl Tx {
    /// Who this person is at this service: found, or made of `fresh` at the first sign-in.
    pub async fn subject(
        &mut self,
        client_id: &ClientId,
        did: &Did,
        fresh: &str,
    ) -> Result<String, StoreError> {
        let row = self
            .conn()
            .one(
                "-- subject
                 INSERT INTO subjects (client_id, did, sub) VALUES ($1, $2, $3)
                 ON CONFLICT (client_id, did) DO UPDATE SET did = excluded.did RETURNING sub",
                values![client_id.as_str(), did.as_str(), fresh],
            )
            .await?;
        Ok(row.text(0)?)
    }

    /// Opens a session with its first refresh token. `session_created` was announced by the step
    /// that led here.
    pub async fn open_session(
        &mut self,
        session: &Session,
        refresh: &Secret<RefreshToken>,
    ) -> Result<(), StoreError> {
        self.conn()
            .execute(
                "-- open_session
                 INSERT INTO sessions
                     (id, challenge_id, client_id, did, sub, scopes, disclosure, statement, created_at,
                      last_used_at, expires_at, idle_until, generation, rotated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $9)",
                values![
                    &session.id.to_string(),
                    &session.challenge_id.to_string(),
                    session.client_id.as_str(),
                    session.did.as_str(),
                    &session.sub,
                    &list_text(&session.scopes),
                    session.disclosure.as_deref(),
                    &session.statement,
                    session.created_at,
                    session.expires_at,
                    session.idle_until,
                    session.generation,
                ],
            )
            .await?;
        self.keep_refresh_token(session.id, session.generation, refresh).await
    }

    async fn keep_refresh_token(
        &mut self,
        session: SessionId,
        generation: i64,
        token: &Secret<RefreshToken>,
    ) -> Result<(), StoreError> {
        self.conn()
            .execute(
                "-- keep_refresh_token
                 INSERT INTO refresh_tokens (hash, session_id, generation) VALUES ($1, $2, $3)",
                values![&token.hash().to_text(), &session.to_string(), generation],
            )
            .await?;
        Ok(())
    }

    /// The session that a refresh token belongs to, and the token's generation.
    pub async fn session_of_refresh_token(
        &mut self,
        hash: SecretHash,
    ) -> Result<Option<(Session, i64)>, StoreError> {
        let token = self
            .conn()
            .optional(
                "-- session_of_refresh_token
                 SELECT session_id, generation FROM refresh_tokens WHERE hash = $1",
                values![&hash.to_text()],
            )
            .await?;
        let Some(token) = token else { return Ok(None) };
        let (id, generation) = (token.text(0)?, token.int(1)?);
        let row = self.conn().optional(select!("WHERE id = $1"), values![&id]).await?;
        Ok(row.as_ref().map(from_row).transpose()?.map(|session| (session, generation)))
    }

    /// Moves a session to its next refresh token. False where somebody else did.
    pub async fn rotate(
        &mut self,
        session: &Session,
        idle_until: Timestamp,
        successor: &Secret<RefreshToken>,
    ) -> Result<bool, StoreError> {
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
        if rows == 0 {
            return Ok(false);
        }
        self.keep_refresh_token(session.id, session.generation + 1, successor).await?;
        Ok(true)
    }

    /// Ends a session, tells everyone, and gives back when it ended: now, or earlier by somebody else.
    pub async fn revoke_session(
        &mut self,
        session: &Session,
        reason: RevokeReason,
        decision: Option<&miid_protocol::statement::Made>,
    ) -> Result<Timestamp, StoreError> {
        let now = self.now;
        let rows = self
            .conn()
            .execute(
                "-- revoke_session
                 UPDATE sessions SET revoked_at = $2, reason = $3 WHERE id = $1 AND revoked_at IS NULL",
                values![&session.id.to_string(), now, reason.as_str()],
            )
            .await?;
        let at = if rows == 1 {
            let ended = session.ended(reason, now);
            self.tell_wallet(StreamKey::wallet(&session.did), &WalletEvent::SessionRevoked(ended.clone()));
            let stream = StreamKey::service(&session.client_id);
            self.tell_service(stream, &ServiceEvent::SessionRevoked(ended), None, None);
            now
        } else {
            let row = self
                .conn()
                .one(
                    "-- revoked_at\nSELECT revoked_at FROM sessions WHERE id = $1",
                    values![&session.id.to_string()],
                )
                .await?;
            Timestamp::from_millis(row.opt_int(0)?.unwrap_or(now.millis()))
        };
        if rows == 1 || decision.is_some() {
            self.audit(AuditRow {
                action: "session_revoked",
                client_id: Some(session.client_id.to_string()),
                did: Some(session.did.to_string()),
                session_id: Some(session.id.to_string()),
                reason: Some(reason.as_str()),
                jti_key: decision.map(|made| super::jti_key(&session.did, made.jti())),
                statement: decision.map(|made| made.statement().to_owned()),
                ..AuditRow::default()
            });
        }
        Ok(at)
    }

    /// Every session of a person at a service that was not revoked yet.
    pub async fn sessions_of_person(
        &mut self,
        client_id: &ClientId,
        did: &Did,
    ) -> Result<Vec<Session>, StoreError> {
        let sql = select!("WHERE did = $1 AND client_id = $2 AND revoked_at IS NULL ORDER BY id");
        self.many(sql, values![did.as_str(), client_id.as_str()]).await
    }

    /// A session by its id, whoever's it is.
    pub async fn session(&mut self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let row = self.conn().optional(select!("WHERE id = $1"), values![&id.to_string()]).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// At most `limit` sessions whose time is over.
    pub async fn lapsed_sessions(&mut self, limit: i64) -> Result<Vec<Session>, StoreError> {
        let now = self.now;
        // idle_until never lies beyond expires_at, so one index finds both.
        let sql = select!("WHERE revoked_at IS NULL AND idle_until <= $1 ORDER BY id LIMIT $2");
        self.many(sql, values![now, limit]).await
    }

    /// At most `limit` live sessions of a service.
    pub async fn some_sessions_of_service(
        &mut self,
        client_id: &ClientId,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        let sql = select!("WHERE client_id = $1 AND revoked_at IS NULL ORDER BY id LIMIT $2");
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
        let row = self.conn().optional(select!("WHERE id = $1"), values![&id.to_string()]).await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// The session that a refresh token belongs to, and the token's generation.
    pub async fn session_of_refresh_token(
        &mut self,
        hash: SecretHash,
    ) -> Result<Option<(Session, i64)>, StoreError> {
        let token = self
            .conn()
            .optional(
                "-- session_of_refresh_token
                 SELECT session_id, generation FROM refresh_tokens WHERE hash = $1",
                values![&hash.to_text()],
            )
            .await?;
        let Some(token) = token else { return Ok(None) };
        let (id, generation) = (parsed(&token.text(0)?, SessionId::parse)?, token.int(1)?);
        Ok(self.session(id).await?.map(|session| (session, generation)))
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
            "WHERE client_id = $1 AND id > $2 AND revoked_at IS NULL AND idle_until > $3 ORDER BY id LIMIT $4"
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
        let sql =
            select!("WHERE did = $1 AND revoked_at IS NULL AND idle_until > $2 ORDER BY id DESC LIMIT $3");
        let rows = self.conn().all(sql, values![did.as_str(), now, limit]).await?;
        Ok(rows.iter().map(from_row).collect::<sqlx::Result<_>>()?)
    }
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
        did: parsed(&row.text(3)?, Did::parse)?,
        sub: row.text(4)?,
        scopes: list_from(&row.text(5)?)?,
        disclosure: row.opt_text(6)?,
        statement: row.text(7)?,
        created_at: at(8)?,
        last_used_at: at(9)?,
        expires_at: at(10)?,
        idle_until: at(11)?,
        generation: row.int(12)?,
        rotated_at: at(13)?,
        revoked,
    })
}
