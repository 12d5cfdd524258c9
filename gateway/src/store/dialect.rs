//! What SQLite and PostgreSQL do not say alike: how a list travels in one argument, and locks.

use super::db::{Conn, Row, values};

/// Moves the heads of streams forward. `$1` is a JSON list of `[stream, how many]`, sorted by stream so
/// that two transactions take the row locks in one order; `$2` is now.
pub async fn advance_heads(conn: &mut Conn<'_>, list: &str, now: i64) -> sqlx::Result<Vec<Row>> {
    let sql = if conn.is_postgres() {
        "-- advance_heads
         INSERT INTO streams (stream, head, pruned_to, touched_at)
         SELECT e->>0, $2 + (e->>1)::bigint, $2, $2 FROM json_array_elements($1::json) AS e
         ON CONFLICT (stream) DO UPDATE SET head = streams.head + (excluded.head - $2), touched_at = $2
         RETURNING stream, head"
    } else {
        "-- advance_heads
         INSERT INTO streams (stream, head, pruned_to, touched_at)
         SELECT value->>0, $2 + (value->>1), $2, $2 FROM json_each($1) WHERE true
         ON CONFLICT (stream) DO UPDATE SET head = streams.head + (excluded.head - $2), touched_at = $2
         RETURNING stream, head"
    };
    conn.all(sql, values![list, now]).await
}

/// Appends events. `$1` is a JSON list of `[stream, seq, name, data, about, approval]`.
pub async fn insert_events(conn: &mut Conn<'_>, list: &str, now: i64) -> sqlx::Result<()> {
    let sql = if conn.is_postgres() {
        "-- insert_events
         INSERT INTO events (stream, seq, at, name, data, about, approval)
         SELECT e->>0, (e->>1)::bigint, $2, e->>2, e->>3, e->>4, (e->>5)::bigint
         FROM json_array_elements($1::json) AS e"
    } else {
        "-- insert_events
         INSERT INTO events (stream, seq, at, name, data, about, approval)
         SELECT value->>0, value->>1, $2, value->>2, value->>3, value->>4, value->>5 FROM json_each($1)"
    };
    conn.execute(sql, values![list, now]).await.map(drop)
}

/// Appends to the audit log. `$1` is a JSON list of
/// `[id, action, client_id, did, challenge_id, session_id, reason, jti_key, statement]`.
pub async fn insert_audit(conn: &mut Conn<'_>, list: &str, now: i64) -> sqlx::Result<()> {
    let sql = if conn.is_postgres() {
        "-- insert_audit
         INSERT INTO audit (id, at, action, client_id, did, challenge_id, session_id, reason, jti_key, statement)
         SELECT e->>0, $2, e->>1, e->>2, e->>3, e->>4, e->>5, e->>6, e->>7, e->>8
         FROM json_array_elements($1::json) AS e"
    } else {
        "-- insert_audit
         INSERT INTO audit (id, at, action, client_id, did, challenge_id, session_id, reason, jti_key, statement)
         SELECT value->>0, $2, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7,
                value->>8
         FROM json_each($1)"
    };
    conn.execute(sql, values![list, now]).await.map(drop)
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

/// Until the transaction ends, nobody else holds the lock of this name. SQLite has one writer anyway.
pub async fn lock(conn: &mut Conn<'_>, name: &str) -> sqlx::Result<()> {
    if conn.is_postgres() {
        conn.execute("-- lock\nSELECT pg_advisory_xact_lock(hashtextextended($1, 0))", values![name]).await?;
    }
    Ok(())
}
