//! Who is connected: which sessions have an open page or socket at which instance of their service. An instance
//! says what opened and closed, and that it is there; one row keeps all of its sessions alive, and when it dies
//! they are over together.

use miid_protocol::service::PRESENCE_TTL_S;
use miid_protocol::{ClientId, Lifetime, SessionId, Timestamp};

use super::db::{Conn, parsed, values};
use super::{Reader, Store, StoreError, Tx};

/// What one instance of a service reports.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Whose.
    pub client_id: ClientId,
    /// Which.
    pub holder: String,
    /// Which of its reports: they grow.
    pub seq: i64,
    /// Everything earlier is over.
    pub reset: bool,
    /// Connected since now.
    pub opened: Vec<SessionId>,
    /// Not any more.
    pub closed: Vec<SessionId>,
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// It counts.
    Taken,
    /// The instance is not known any more and does not begin anew, or has said something later: nothing changed.
    Unknown,
    /// So many instances of this service report already that there is no room for another.
    TooMany,
}

/// A session that is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Which.
    pub session: SessionId,
    /// Since when.
    pub since: Timestamp,
}

/// Rows per sweep.
const BATCH: i64 = 200;
/// Instances of one service that report at once.
const HOLDERS: i64 = 256;
/// How long it is known what an instance said last, when it is not heard of any more: longer than any of its reports
/// may be on its way, so that none of them counts afterwards.
const REMEMBERED: Lifetime = Lifetime::from_secs(600);

impl Tx {
    /// Takes a report, unless it comes too late. Whoever sent it may have given up on it long ago, and what it says
    /// was opened may be closed by now.
    pub async fn report_presence(&mut self, report: &Reported) -> Result<Reporting, StoreError> {
        let (now, holder, client_id) = (self.now, report.holder.as_str(), report.client_id.as_str());
        self.lock(&format!("presence:{holder}")).await?;
        let known = self
            .conn()
            .optional(
                "-- presence_holder
                 SELECT client_id, expires_at, seq FROM presence_holders WHERE holder = $1",
                values![holder],
            )
            .await?;
        let lives = match known {
            Some(row) if row.text(0)? != client_id || report.seq <= row.int(2)? => {
                return Ok(Reporting::Unknown);
            }
            Some(row) => row.int(1)? > now.millis(),
            None => false,
        };
        if !lives && !report.reset {
            return Ok(Reporting::Unknown);
        }
        if !lives && !self.has_room_for_a_holder(client_id).await? {
            return Ok(Reporting::TooMany);
        }
        let mut conn = self.conn();
        if report.reset {
            conn.execute("-- presence_reset\nDELETE FROM presence WHERE holder = $1", values![holder])
                .await?;
        }
        conn.execute(
            "-- presence_renew
             INSERT INTO presence_holders (holder, client_id, seq, expires_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (holder) DO UPDATE SET seq = $3, expires_at = $4",
            values![holder, client_id, report.seq, now.plus(Lifetime::from_secs(PRESENCE_TTL_S))],
        )
        .await?;
        for session in &report.closed {
            conn.execute(
                "-- presence_closed
                 DELETE FROM presence WHERE session_id = $1 AND holder = $2",
                values![&session.to_string(), holder],
            )
            .await?;
        }
        for session in &report.opened {
            // Nobody reports another service's sessions.
            conn.execute(
                "-- presence_opened
                 INSERT INTO presence (session_id, holder, since)
                 SELECT id, $2, $3 FROM sessions WHERE id = $1 AND client_id = $4
                 ON CONFLICT (session_id, holder) DO NOTHING",
                values![&session.to_string(), holder, now, client_id],
            )
            .await?;
        }
        Ok(Reporting::Taken)
    }

    async fn has_room_for_a_holder(&mut self, client_id: &str) -> Result<bool, StoreError> {
        self.lock(&format!("presence-of:{client_id}")).await?;
        let now = self.now;
        let row = self
            .conn()
            .one(
                "-- presence_holders_of_service
                 SELECT count(*) FROM presence_holders WHERE client_id = $1 AND expires_at > $2",
                values![client_id, now],
            )
            .await?;
        Ok(row.int(0)? < HOLDERS)
    }
}

impl Reader {
    /// Whether this session lives and is connected.
    pub async fn presence_of_session(
        &mut self,
        client_id: &ClientId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Present>, StoreError> {
        let row = self
            .conn()
            .optional(
                "-- presence_of_session
                 SELECT p.session_id, p.since FROM presence p
                 JOIN presence_holders h ON h.holder = p.holder
                 JOIN sessions s ON s.id = p.session_id
                 WHERE p.session_id = $1 AND s.client_id = $2 AND h.expires_at > $3
                   AND s.revoked_at IS NULL AND s.idle_until > $3
                 ORDER BY p.since LIMIT 1",
                values![&session.to_string(), client_id.as_str(), now],
            )
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Whether any live session of a person is connected; and whether there is one at all.
    pub async fn presence_of_person(
        &mut self,
        client_id: &ClientId,
        sub: &str,
        now: Timestamp,
    ) -> Result<(bool, Option<Present>), StoreError> {
        let mut conn = self.conn();
        let row = conn
            .optional(
                "-- presence_of_person
                 SELECT p.session_id, p.since FROM sessions s
                 JOIN presence p ON p.session_id = s.id
                 JOIN presence_holders h ON h.holder = p.holder
                 WHERE s.client_id = $1 AND s.sub = $2 AND h.expires_at > $3
                   AND s.revoked_at IS NULL AND s.idle_until > $3
                 ORDER BY p.since LIMIT 1",
                values![client_id.as_str(), sub, now],
            )
            .await?;
        if let Some(row) = row {
            return Ok((true, Some(from_row(&row)?)));
        }
        let lives = session_of_person(&mut conn, client_id, sub, now).await?;
        Ok((lives, None))
    }
}

async fn session_of_person(
    conn: &mut Conn<'_>,
    client_id: &ClientId,
    sub: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row = conn
        .optional(
            "-- session_of_person
             SELECT id FROM sessions
             WHERE client_id = $1 AND sub = $2 AND revoked_at IS NULL AND idle_until > $3 LIMIT 1",
            values![client_id.as_str(), sub, now],
        )
        .await?;
    Ok(row.is_some())
}

fn from_row(row: &super::db::Row) -> Result<Present, StoreError> {
    Ok(Present {
        session: parsed(&row.text(0)?, SessionId::parse)?,
        since: Timestamp::from_millis(row.int(1)?),
    })
}

impl Store {
    /// Forgets instances that have not been heard of, and what they said; a bounded number at a time.
    pub async fn sweep_presence(&self) -> Result<(), StoreError> {
        self.write("sweep_presence", |tx| {
            Box::pin(async move {
                let now = tx.now;
                let mut conn = tx.conn();
                conn.execute(
                    "-- forget_presence
                     DELETE FROM presence WHERE (session_id, holder) IN
                         (SELECT p.session_id, p.holder FROM presence p
                          LEFT JOIN presence_holders h ON h.holder = p.holder
                          WHERE h.holder IS NULL OR h.expires_at < $1 LIMIT $2)",
                    values![now, BATCH * 10],
                )
                .await?;
                conn.execute(
                    "-- forget_holders
                     DELETE FROM presence_holders WHERE holder IN
                         (SELECT h.holder FROM presence_holders h LEFT JOIN presence p ON p.holder = h.holder
                          WHERE h.expires_at < $1 AND p.holder IS NULL LIMIT $2)",
                    values![now.millis() - REMEMBERED.millis(), BATCH],
                )
                .await?;
                Ok(())
            })
        })
        .await
    }
}
