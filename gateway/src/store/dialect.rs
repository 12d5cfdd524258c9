//! What SQLite and PostgreSQL do not say alike: how a list travels in one argument, and locks.

use super::challenge_rows::select;
use super::db::{Conn, Row, values};

/// Moves the heads of streams forward. `$1` is a JSON list of `[stream, how many, id if it is new]`, sorted
/// by stream so that two transactions take the row locks in one order; `$2` is now.
pub async fn advance_heads(conn: &mut Conn<'_>, list: &str, now: i64) -> sqlx::Result<Vec<Row>> {
    let sql = if conn.is_postgres() {
        "-- advance_heads
         INSERT INTO streams (stream, id, head, pruned_to, touched_at)
         SELECT e->>0, (e->>2)::bigint, $2 + (e->>1)::bigint, $2, $2 FROM json_array_elements($1::json) AS e
         ON CONFLICT (stream) DO UPDATE SET head = streams.head + (excluded.head - $2), touched_at = $2
         RETURNING stream, head, id"
    } else {
        "-- advance_heads
         INSERT INTO streams (stream, id, head, pruned_to, touched_at)
         SELECT value->>0, value->>2, $2 + (value->>1), $2, $2 FROM json_each($1) WHERE true
         ON CONFLICT (stream) DO UPDATE SET head = streams.head + (excluded.head - $2), touched_at = $2
         RETURNING stream, head, id"
    };
    conn.all(sql, values![list, now]).await
}

/// Heads of the streams in a JSON list.
pub async fn heads(conn: &mut Conn<'_>, list: &str) -> sqlx::Result<Vec<Row>> {
    let sql = if conn.is_postgres() {
        "-- heads
         SELECT stream, head FROM streams
         WHERE stream IN (SELECT json_array_elements_text($1::json))"
    } else {
        "-- heads
         SELECT stream, head FROM streams WHERE stream IN (SELECT value FROM json_each($1))"
    };
    conn.all(sql, values![list]).await
}

/// Until the transaction ends, nobody else changes what is open for a person; whoever is changing it at this moment
/// is waited for. By id, so that two transactions take the row locks in one order.
pub async fn lock_open_challenges(conn: &mut Conn<'_>, person_key: &str, did: &str) -> sqlx::Result<()> {
    if conn.is_postgres() {
        let sql = "-- lock_open_challenges
             SELECT id FROM challenges WHERE person_key = $1 AND did = $2 AND deadline IS NOT NULL
             ORDER BY id FOR UPDATE";
        conn.all(sql, values![person_key, did]).await?;
    }
    Ok(())
}

/// Until the transaction ends, nobody else changes this session; whoever is changing it at this moment is waited for.
pub async fn lock_session(conn: &mut Conn<'_>, id: &str) -> sqlx::Result<()> {
    if conn.is_postgres() {
        conn.execute("-- lock_session\nSELECT id FROM sessions WHERE id = $1 FOR UPDATE", values![id])
            .await?;
    }
    Ok(())
}

/// The same for all that live of a person's. Whoever ends a session takes its row before those of its step-ups, so
/// whoever is going to end both takes them in this order.
pub async fn lock_sessions_of(conn: &mut Conn<'_>, did: &str) -> sqlx::Result<()> {
    if conn.is_postgres() {
        let sql = "-- lock_sessions_of
             SELECT id FROM sessions WHERE did = $1 AND revoked_at IS NULL ORDER BY id FOR UPDATE";
        conn.all(sql, values![did]).await?;
    }
    Ok(())
}

/// What is pending or approved in the sessions of a JSON list. Whoever is changing it at this moment is waited for, so
/// that nobody who changes it again and again keeps a session from ending; by id, so that two transactions take the row
/// locks in one order. The rows are read afterwards: most often there are none.
pub async fn step_ups_of_sessions(conn: &mut Conn<'_>, list: &str) -> sqlx::Result<Vec<Row>> {
    if !conn.is_postgres() {
        let sql = select!(
            "WHERE c.step_up_session IN (SELECT value FROM json_each($1))
               AND c.step_up_session IS NOT NULL AND c.deadline IS NOT NULL ORDER BY c.id"
        );
        return conn.all(sql, values![list]).await;
    }
    let sql = "-- lock_step_ups
         SELECT id FROM challenges
         WHERE step_up_session IN (SELECT json_array_elements_text($1::json))
           AND step_up_session IS NOT NULL AND deadline IS NOT NULL ORDER BY id FOR UPDATE";
    if conn.all(sql, values![list]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let sql = select!(
        "WHERE c.step_up_session IN (SELECT json_array_elements_text($1::json))
           AND c.step_up_session IS NOT NULL AND c.deadline IS NOT NULL ORDER BY c.id"
    );
    conn.all(sql, values![list]).await
}

/// Until the transaction ends, nobody else holds the lock of this name. SQLite has one writer anyway.
pub async fn lock(conn: &mut Conn<'_>, name: &str) -> sqlx::Result<()> {
    if conn.is_postgres() {
        conn.execute("-- lock\nSELECT pg_advisory_xact_lock(hashtextextended($1, 0))", values![name]).await?;
    }
    Ok(())
}
