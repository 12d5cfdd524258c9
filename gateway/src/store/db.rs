//! Both databases behind one small face: SQL with `$1`, text and bigint columns, rows read by
//! position. The statements themselves stand once, in the modules beside this one; what differs
//! between the dialects stands in `dialect.rs`.

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor as _, Row as _};

/// What goes into a statement.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A bigint.
    Int(i64),
    /// Text or null.
    OptText(Option<&'a str>),
    /// A bigint or null.
    OptInt(Option<i64>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}
impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}
impl From<miid_protocol::Timestamp> for Value<'_> {
    fn from(at: miid_protocol::Timestamp) -> Self {
        Self::Int(at.millis())
    }
}
impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::OptText(text)
    }
}
impl From<Option<i64>> for Value<'_> {
    fn from(int: Option<i64>) -> Self {
        Self::OptInt(int)
    }
}

/// Arguments of a statement: anything that [`Value`] is made from.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::db::Value::from($value)),*] };
}
pub(crate) use values;

/// A row, read by position.
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// A text column.
    pub fn text(&self, i: usize) -> sqlx::Result<String> {
        match self {
            Self::Sqlite(row) => row.try_get(i),
            Self::Postgres(row) => row.try_get(i),
        }
    }

    /// A text column that may be null.
    pub fn opt_text(&self, i: usize) -> sqlx::Result<Option<String>> {
        match self {
            Self::Sqlite(row) => row.try_get(i),
            Self::Postgres(row) => row.try_get(i),
        }
    }

    /// A bigint column.
    pub fn int(&self, i: usize) -> sqlx::Result<i64> {
        match self {
            Self::Sqlite(row) => row.try_get(i),
            Self::Postgres(row) => row.try_get(i),
        }
    }

    /// A bigint column that may be null.
    pub fn opt_int(&self, i: usize) -> sqlx::Result<Option<i64>> {
        match self {
            Self::Sqlite(row) => row.try_get(i),
            Self::Postgres(row) => row.try_get(i),
        }
    }
}

/// A text column that is parsed into a type of its own; a row that does not parse was not written
/// by this program.
pub fn parsed<T, E: std::fmt::Display>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> sqlx::Result<T> {
    parse(text).map_err(|e| sqlx::Error::Decode(format!("a stored value is not readable: {e}").into()))
}

/// One connection of either kind, borrowed.
pub enum Conn<'c> {
    /// To SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// To PostgreSQL.
    Postgres(&'c mut PgConnection),
}

/// PostgreSQL ends a statement after less than that (`statement_timeout`): who has said nothing until then is gone.
const SILENT: Duration = Duration::from_secs(7);

/// What a server answers, or that it fell silent: a connection does not notice that by itself for many minutes.
pub async fn in_time<T>(asked: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(SILENT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

macro_rules! bound {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $args {
            query = match *value {
                Value::Text(text) => query.bind(text.to_owned()),
                Value::Int(int) => query.bind(int),
                Value::OptText(text) => query.bind(text.map(str::to_owned)),
                Value::OptInt(int) => query.bind(int),
            };
        }
        query
    }};
}

impl Conn<'_> {
    /// Runs a statement and says how many rows it changed.
    pub async fn execute(&mut self, sql: &'static str, args: &[Value<'_>]) -> sqlx::Result<u64> {
        Ok(match self {
            Self::Sqlite(conn) => conn.execute(bound!(sql, args)).await?.rows_affected(),
            Self::Postgres(conn) => in_time(conn.execute(bound!(sql, args))).await?.rows_affected(),
        })
    }

    /// The first row, if there is one.
    pub async fn optional(&mut self, sql: &'static str, args: &[Value<'_>]) -> sqlx::Result<Option<Row>> {
        Ok(match self {
            Self::Sqlite(conn) => conn.fetch_optional(bound!(sql, args)).await?.map(Row::Sqlite),
            Self::Postgres(conn) => in_time(conn.fetch_optional(bound!(sql, args))).await?.map(Row::Postgres),
        })
    }

    /// The one row that there must be.
    pub async fn one(&mut self, sql: &'static str, args: &[Value<'_>]) -> sqlx::Result<Row> {
        self.optional(sql, args).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Every row; the statement bounds how many.
    pub async fn all(&mut self, sql: &'static str, args: &[Value<'_>]) -> sqlx::Result<Vec<Row>> {
        Ok(match self {
            Self::Sqlite(conn) => {
                conn.fetch_all(bound!(sql, args)).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(conn) => {
                in_time(conn.fetch_all(bound!(sql, args))).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Whether this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}
