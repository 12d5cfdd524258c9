//! One SQL text, two databases. What differs between SQLite and PostgreSQL is in this file and in
//! the migrations' folders, and nowhere else.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::time::timeout;

static SQLITE: Migrator = sqlx::migrate!("../migrations/service/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/service/postgres");

/// Connections to PostgreSQL from one instance; each waits at the server while it works.
const POSTGRES_CONNECTIONS: u32 = 16;
/// Readers of SQLite beside its one writer.
const SQLITE_READERS: u32 = 4;
/// Nobody waits longer for a connection before hearing that the store is not available.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a database could not be opened; the text is for whoever started the program.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL says nothing usable.
    #[error("--database-url must be sqlite://<file> or postgres://…: {0}")]
    Url(String),
    /// Another process has the SQLite file.
    #[error("the database {0} is in use by another miid-service; several instances need PostgreSQL")]
    InUse(PathBuf),
    /// The folder or file cannot be written.
    #[error("the database {path} cannot be opened for writing")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It does not answer, or not as a database.
    #[error("the database cannot be opened")]
    Unusable(#[source] sqlx::Error),
    /// A later version of this program made it.
    #[error("the database is newer than this program (it has migration {0}); start the newer program")]
    Newer(i64),
    /// The schema could not be brought up to date.
    #[error("the database could not be brought up to date")]
    Migrate(#[source] MigrateError),
    /// It was made with another key file.
    #[error("the key file {0} is not the one that this database was made with")]
    OtherKey(PathBuf),
    /// The first reads failed.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
}

/// Why the store gave no answer. Never "not found": that is an answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached now; another try may succeed.
    #[error("the database cannot be reached")]
    Unavailable(#[source] sqlx::Error),
    /// It answered something that this program never wrote.
    #[error("the database holds what it should not: {0}")]
    Corrupt(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt("a column of another kind")
            }
            error => Self::Unavailable(error),
        }
    }
}

/// What is bound to `$1`, `$2`, ….
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}
impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}
impl From<miid_protocol::Timestamp> for Value {
    fn from(at: miid_protocol::Timestamp) -> Self {
        Self::Int(Some(at.millis()))
    }
}

/// `values![a, b]`: a list of [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::db::Value::from($value)),*] };
}
pub(crate) use values;

/// One row of either database.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn text(&self, column: &str) -> Result<String, StoreError> {
        self.opt_text(column)?.ok_or(StoreError::Corrupt("a text is missing"))
    }

    pub(crate) fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.opt_int(column)?.ok_or(StoreError::Corrupt("a number is missing"))
    }

    pub(crate) fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn opt_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// An open database.
#[derive(Debug)]
pub(crate) enum Db {
    /// One writer, since SQLite has one; reads have their own connections and never wait for it (WAL).
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
        /// Held until closed: the sign for a second process that this file is taken.
        lock: std::fs::File,
    },
    Postgres(PgPool),
}

/// A transaction on either.
pub(crate) enum Tx {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// Binds every value and calls a method of the query.
macro_rules! run {
    ($sql:expr, $values:expr, $executor:expr, $method:ident) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Int(number) => query.bind(number),
            };
        }
        query.$method($executor).await
    }};
}

impl Db {
    /// Opens by URL and brings the schema up to date.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Self::open_postgres(url).await
        } else if url.starts_with("sqlite:") {
            Self::open_sqlite(url).await
        } else {
            Err(OpenError::Url("it begins with neither".into()))
        }
    }

    /// Whether nobody else can write to it while we live.
    pub(crate) const fn is_exclusive(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    async fn open_sqlite(url: &str) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| OpenError::Url(error.to_string()))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let path = options.get_filename().to_owned();
        if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
            return Err(OpenError::Url(
                "SQLite needs a file: what was remembered must survive a restart".into(),
            ));
        }
        let lock = lock_beside(&path)?;
        let unwritable = |source| OpenError::Unwritable { path: path.clone(), source };
        std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(unwritable)?;
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await
            .map_err(OpenError::Unusable)?;
        SQLITE.run(&write).await.map_err(migrate_error)?;
        let read = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await
            .map_err(OpenError::Unusable)?;
        Ok(Self::Sqlite { write, read, lock })
    }

    async fn open_postgres(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| OpenError::Url("it cannot be read".into()))? // the error could repeat the password
            .application_name("miid-service")
            .options([("statement_timeout", "5000"), ("idle_in_transaction_session_timeout", "10000")]);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await;
        let pool = match pool {
            // The pool waited and does not say for what; one more connection, alone, does.
            Err(sqlx::Error::PoolTimedOut) => {
                return Err(OpenError::Unusable(match timeout(ACQUIRE_TIMEOUT, options.connect()).await {
                    Ok(Err(why)) => why,
                    _ => sqlx::Error::PoolTimedOut,
                }));
            }
            pool => pool.map_err(OpenError::Unusable)?,
        };
        POSTGRES.run(&pool).await.map_err(migrate_error)?;
        Ok(Self::Postgres(pool))
    }

    /// Runs one statement; says how many rows it changed.
    pub(crate) async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite { write, .. } => run!(sql, values, write, execute)?.rows_affected(),
            Self::Postgres(pool) => run!(sql, values, pool, execute)?.rows_affected(),
        })
    }

    /// A statement that only reads.
    pub(crate) async fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite { read, .. } => {
                run!(sql, values, read, fetch_all)?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(pool) => {
                run!(sql, values, pool, fetch_all)?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// The first row of [`Db::read`].
    pub(crate) async fn read_one(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.read(sql, values).await?.into_iter().next())
    }

    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { write, read, lock } => {
                read.close().await;
                write.close().await;
                let _ = lock.unlock();
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

#[cfg(test)]
impl Db {
    /// A PostgreSQL server, to make databases on.
    pub(crate) async fn open_bare(url: &str) -> Self {
        Self::Postgres(PgPool::connect(url).await.expect("MIID_TEST_POSTGRES_URL answers"))
    }

    /// A statement of a test's own making.
    pub(crate) async fn run(&self, sql: &str) {
        let Self::Postgres(pool) = self else { unreachable!("open_bare made it") };
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("runs");
    }
}

impl Tx {
    pub(crate) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => run!(sql, values, &mut **tx, execute)?.rows_affected(),
            Self::Postgres(tx) => run!(sql, values, &mut **tx, execute)?.rows_affected(),
        })
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

fn migrate_error(error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            OpenError::Newer(version)
        }
        error => OpenError::Migrate(error),
    }
}

/// Takes `<database>.lock` for as long as the file stays open. A lock of the system, so a killed
/// process leaves nothing behind.
fn lock_beside(path: &Path) -> Result<std::fs::File, OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        crate::seal::private_folder(folder)
            .map_err(|source| OpenError::Unwritable { path: folder.to_owned(), source })?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&lock_path)
        .map_err(|source| OpenError::Unwritable { path: path.to_owned(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(OpenError::Unwritable { path: path.to_owned(), source })
        }
    }
}
