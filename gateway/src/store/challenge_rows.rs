//! How a challenge stands in its row: its columns, reading one, and writing many at once.

use miid_protocol::service::{Binding, DenyReason, ExpireReason};
use miid_protocol::{ChallengeId, ClientId, Did, SessionId, Timestamp};
use uuid::Uuid;

use super::StoreError;
use super::db::{Conn, Row, Value, parsed};
use super::rows::{Column, Rows};
use crate::domain::challenge::{Active, Approved, Grant};
use crate::domain::{Challenge, State, StepUp};

/// The columns of a challenge, in the order in which [`from_row`] reads them.
macro_rules! columns {
    () => {
        "c.id, c.version, c.client_id, c.did, c.hint_key, c.person_key, c.known_browser, c.binding, c.nonce,
         c.request, c.code_challenge, c.state, c.reason, c.created_at, c.expires_at, c.changed_at, c.approvals,
         c.code_expires_at, c.scopes, c.grant_id, a.statement, d.disclosure, c.session_id, c.return_url,
         c.step_up_session, u.did, u.idle_until, u.revoked_at"
    };
}
pub(super) use columns;

/// What stands beside a challenge: what was granted, and the session that a step-up is for.
macro_rules! joins {
    () => {
        " LEFT JOIN audit a ON a.id = c.grant_id LEFT JOIN disclosures d ON d.grant_id = c.grant_id
          LEFT JOIN sessions u ON u.id = c.step_up_session "
    };
}
pub(super) use joins;

/// A challenge, found by the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            $crate::store::challenge_rows::columns!(),
            " FROM challenges c",
            $crate::store::challenge_rows::joins!(),
            $rest
        )
    };
}
pub(super) use select;

static OPENED: Rows = Rows::new(
    "-- insert_challenges
     INSERT INTO challenges
         (id, version, client_id, did, hint_key, person_key, known_browser, binding, nonce, request,
          code_challenge, idempotency_key, state, created_at, expires_at, changed_at, deadline,
          approvals, return_url, step_up_session)",
    &[
        Column::Text,
        Column::Int,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Int,
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
        Column::Text,
        Column::Text,
    ],
    "",
);

pub(super) async fn write_opened(conn: &mut Conn<'_>, opened: &[Challenge]) -> Result<(), StoreError> {
    let texts: Vec<(String, String, Option<String>)> = opened
        .iter()
        .map(|challenge| {
            let session = challenge.step_up.as_ref().map(|step_up| step_up.session_id.to_string());
            (challenge.id.to_string(), idempotency_key(challenge), session)
        })
        .collect();
    let rows = opened.iter().zip(&texts).map(|(challenge, (id, key, session))| {
        vec![
            Value::from(id),
            Value::from(challenge.version),
            Value::from(challenge.client_id.as_str()),
            Value::from(challenge.did.as_ref().map(Did::as_str)),
            Value::from(&challenge.hint_key),
            Value::from(&challenge.person_key),
            Value::from(i64::from(challenge.known_browser)),
            Value::from(binding_text(challenge.binding)),
            Value::from(&challenge.nonce),
            Value::from(&challenge.request),
            Value::from(&challenge.code_challenge),
            Value::from(key),
            Value::from(Columns::of(&challenge.state).state),
            Value::from(challenge.created_at),
            Value::from(challenge.expires_at),
            Value::from(challenge.changed_at),
            Value::from(challenge.deadline().map(Timestamp::millis)),
            Value::from(challenge.approvals),
            Value::from(challenge.return_url.as_deref()),
            Value::from(session.as_deref()),
        ]
    });
    OPENED.execute(conn, rows).await?;
    Ok(())
}

static MOVED: Rows = Rows::new(
    "-- advance
     WITH v (id, version, did, person_key, state, reason, changed_at, deadline, approvals, code_expires_at, scopes,
             grant_id, session_id) AS (",
    &[
        Column::Text,
        Column::Int,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Text,
        Column::Int,
        Column::Int,
        Column::Int,
        Column::Int,
        Column::Text,
        Column::Text,
        Column::Text,
    ],
    ")
     UPDATE challenges
     SET version = v.version, did = v.did, person_key = v.person_key, state = v.state, reason = v.reason,
         changed_at = v.changed_at, deadline = v.deadline, approvals = v.approvals, code_expires_at = v.code_expires_at,
         scopes = v.scopes, grant_id = v.grant_id, session_id = v.session_id
     FROM v WHERE challenges.id = v.id AND challenges.version = v.version - 1",
);

pub(super) async fn write_moved(conn: &mut Conn<'_>, moved: &[Challenge]) -> Result<(), StoreError> {
    let columns: Vec<(String, Columns)> =
        moved.iter().map(|challenge| (challenge.id.to_string(), Columns::of(&challenge.state))).collect();
    let rows = moved.iter().zip(&columns).map(|(challenge, (id, columns))| {
        vec![
            Value::from(id),
            Value::from(challenge.version),
            Value::from(challenge.did.as_ref().map(Did::as_str)),
            Value::from(&challenge.person_key),
            Value::from(columns.state),
            Value::from(columns.reason),
            Value::from(challenge.changed_at),
            Value::from(challenge.deadline().map(Timestamp::millis)),
            Value::from(challenge.approvals),
            Value::from(columns.code_expires_at),
            Value::from(columns.scopes.as_deref()),
            Value::from(columns.grant_id.as_deref()),
            Value::from(columns.session_id.as_deref()),
        ]
    });
    let changed = MOVED.execute(conn, rows).await?;
    if changed == moved.len() as u64 { Ok(()) } else { Err(StoreError::Lost) }
}

/// What makes the same request of the same service the same challenge.
pub(super) fn idempotency_key(challenge: &Challenge) -> String {
    format!("{}/{}", challenge.client_id, challenge.code_challenge)
}

fn binding_text(binding: Binding) -> &'static str {
    match binding {
        Binding::Addressed => "addressed",
        Binding::Linked => "linked",
    }
}

/// A state as it stands in its columns.
pub(super) struct Columns {
    pub(super) state: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) code_expires_at: Option<i64>,
    pub(super) scopes: Option<String>,
    pub(super) grant_id: Option<String>,
    pub(super) session_id: Option<String>,
}

impl Columns {
    pub(super) fn of(state: &State) -> Self {
        let mut columns = Self {
            state: "pending",
            reason: None,
            code_expires_at: None,
            scopes: None,
            grant_id: None,
            session_id: None,
        };
        match state {
            State::Pending => {}
            State::Approved(approved) => {
                columns.state = "approved";
                columns.code_expires_at = Some(approved.code_expires_at.millis());
                columns.grant(&approved.grant);
            }
            State::Active(active) => {
                columns.state = "active";
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

    fn grant(&mut self, grant: &Grant) {
        self.scopes = Some(super::sessions::list_text(&grant.scopes));
        self.grant_id = Some(grant.id.to_string());
    }
}

/// A challenge whose columns begin at `i`.
pub(super) fn from_row(row: &Row, i: usize) -> sqlx::Result<Challenge> {
    let damaged = |what: &'static str| sqlx::Error::Decode(what.into());
    let reason = row.opt_text(i + 12)?;
    let reason = reason.as_deref().unwrap_or_default();
    let grant = || -> sqlx::Result<Grant> {
        Ok(Grant {
            scopes: super::sessions::list_from(&row.opt_text(i + 18)?.unwrap_or_default())?,
            id: parsed(&row.opt_text(i + 19)?.unwrap_or_default(), Uuid::parse_str)?,
            statement: row.opt_text(i + 20)?.unwrap_or_default(),
            disclosure: row.opt_text(i + 21)?,
        })
    };
    let state = match row.text(i + 11)?.as_str() {
        "pending" => State::Pending,
        "approved" => State::Approved(Approved {
            code_expires_at: Timestamp::from_millis(row.opt_int(i + 17)?.unwrap_or_default()),
            grant: grant()?,
        }),
        "active" => State::Active(Active {
            session_id: parsed(&row.opt_text(i + 22)?.unwrap_or_default(), SessionId::parse)?,
            grant: grant()?,
        }),
        "denied" => State::Denied(DenyReason::parse(reason).ok_or(damaged("a denial without its reason"))?),
        "expired" => {
            State::Expired(ExpireReason::parse(reason).ok_or(damaged("an expiry without its reason"))?)
        }
        _ => return Err(damaged("a challenge in an unknown state")),
    };
    Ok(Challenge {
        id: parsed(&row.text(i)?, ChallengeId::parse)?,
        version: row.int(i + 1)?,
        client_id: parsed(&row.text(i + 2)?, ClientId::parse)?,
        did: row.opt_text(i + 3)?.map(|text| parsed(&text, Did::from_stored)).transpose()?,
        hint_key: row.text(i + 4)?,
        person_key: row.text(i + 5)?,
        known_browser: row.int(i + 6)? != 0,
        binding: match row.text(i + 7)?.as_str() {
            "addressed" => Binding::Addressed,
            "linked" => Binding::Linked,
            _ => return Err(damaged("an unknown binding")),
        },
        step_up: step_up(row, i + 24)?,
        return_url: row.opt_text(i + 23)?,
        nonce: row.text(i + 8)?,
        request: row.text(i + 9)?,
        code_challenge: row.text(i + 10)?,
        created_at: Timestamp::from_millis(row.int(i + 13)?),
        expires_at: Timestamp::from_millis(row.int(i + 14)?),
        changed_at: Timestamp::from_millis(row.int(i + 15)?),
        approvals: row.int(i + 16)?,
        state,
    })
}

/// What a step-up is for. A session whose row is gone is over.
fn step_up(row: &Row, i: usize) -> sqlx::Result<Option<StepUp>> {
    let Some(session_id) = row.opt_text(i)? else { return Ok(None) };
    let (idle_until, revoked_at) = (row.opt_int(i + 2)?.unwrap_or_default(), row.opt_int(i + 3)?);
    Ok(Some(StepUp {
        session_id: parsed(&session_id, SessionId::parse)?,
        did: row.opt_text(i + 1)?.map(|text| parsed(&text, Did::from_stored)).transpose()?,
        // idle_until never lies beyond expires_at.
        session_until: Timestamp::from_millis(revoked_at.map_or(idle_until, |at| at.min(idle_until))),
    }))
}
