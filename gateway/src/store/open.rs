//! Opening either database: options, migrations, and the checks that keep a start from damaging
//! what is there.

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Kind, Store, StoreError, WriterTask, writer};
use crate::clock::Clock;
use crate::streams::Hub;

static SQLITE: Migrator = sqlx::migrate!("../migrations/gateway/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/gateway/postgres");

/// Connections to PostgreSQL of one instance. More than the cores of its server do not help.
const POSTGRES_CONNECTIONS: u32 = 16;
/// Connections that read SQLite. Each is a thread.
const SQLITE_READERS: u32 = 4;
/// How long a caller waits for a connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection that is given back in the middle of an answer may take to its end.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// How long a start waits for PostgreSQL to say anything.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the store could not be opened. Every text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither `sqlite:` nor `postgres:`.
    #[error("the database URL must begin with sqlite:// or postgres://")]
    Scheme,
    /// The URL does not parse, or the database cannot be reached.
    #[error("cannot open the database: {0}")]
    Connect(#[source] sqlx::Error),
    /// It accepts connections and says nothing.
    #[error("the database did not answer within {0:?}")]
    Silent(Duration),
    /// The folder of the SQLite file is missing or not writable.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another gateway serves from this file.
    #[error("another gateway already serves from {path}; several instances need PostgreSQL")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error("the database was written by a newer version of this program (schema {0}); nothing was changed")]
    Newer(i64),
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[source] MigrateError),
    /// It belongs to other keys.
    #[error("this database belongs to another key file; give the one it was made with (--keys-file)")]
    OtherKeys,
    /// Reading it failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How to open.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite://PATH` or `postgres://…`.
    pub url: String,
    /// Whether this program is going to serve: one at a time may, on one SQLite file.
    pub serve: bool,
    /// `synchronous=FULL` unless a bench says otherwise.
    pub sqlite_normal: bool,
}

impl Store {
    /// Opens the database, makes it where there is none, and brings it up to date.
    pub async fn open(options: &Options, clock: Clock) -> Result<Self, OpenError> {
        if options.url.starts_with("sqlite:") {
            open_sqlite(options, clock).await
        } else if options.url.starts_with("postgres:") || options.url.starts_with("postgresql:") {
            open_postgres(options, clock).await
        } else {
            Err(OpenError::Scheme)
        }
    }

    /// Remembers which keys this database belongs to, or refuses others.
    pub async fn bind_keys(&self, fingerprint: String) -> Result<(), OpenError> {
        let known = self
            .write("bind_keys", move |tx| {
                let fingerprint = fingerprint.clone();
                Box::pin(async move {
                    let mut conn = tx.conn();
                    conn.execute(
                        "-- bind_keys
                         INSERT INTO meta (name, value) VALUES ('keys', $1) ON CONFLICT (name) DO NOTHING",
                        super::db::values![&fingerprint],
                    )
                    .await?;
                    let row = conn.one("SELECT value FROM meta WHERE name = 'keys'", &[]).await?;
                    Ok(row.text(0)? == fingerprint)
                })
            })
            .await?;
        if known { Ok(()) } else { Err(OpenError::OtherKeys) }
    }
}

async fn open_sqlite(options: &Options, clock: Clock) -> Result<Store, OpenError> {
    let connect = SqliteConnectOptions::from_str(&options.url)
        .map_err(OpenError::Connect)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if options.sqlite_normal { SqliteSynchronous::Normal } else { SqliteSynchronous::Full })
        .busy_timeout(Duration::from_secs(5))
        // 32 MiB of pages instead of 2, and a checkpoint every 16 MiB instead of every 4: both are read and
        // written through system calls that cost more than the rows.
        .pragma("cache_size", "-32768")
        .pragma("wal_autocheckpoint", "4096")
        .statement_cache_capacity(512)
        .disable_statement_logging();
    let path = connect.get_filename().to_owned();
    prepare_folder(&path)?;
    let lock = if options.serve { Some(lock_beside(&path)?) } else { None };

    let mut connection = connect.connect().await.map_err(OpenError::Connect)?;
    SQLITE.run(&mut connection).await.map_err(migrate_error)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_with(connect.create_if_missing(false).read_only(true))
        .await
        .map_err(OpenError::Connect)?;

    let hub = Hub::new();
    let (writer, waiting) = mpsc::channel(writer::MAX_WAITING);
    let task = WriterTask { stop: CancellationToken::new(), ended: TaskTracker::new() };
    let (stop, task_hub, task_clock) = (task.stop.clone(), hub.clone(), clock.clone());
    task.ended.spawn(async move {
        writer::run(connection, waiting, stop, task_hub, task_clock).await;
        drop(lock);
    });
    task.ended.close();
    Ok(Store { kind: Kind::Sqlite { writer, readers, task }, hub, clock })
}

async fn open_postgres(options: &Options, clock: Clock) -> Result<Store, OpenError> {
    let connect = PgConnectOptions::from_str(&options.url)
        .map_err(OpenError::Connect)?
        .application_name("miid-gateway")
        // A statement that waits longer than this is worth less than an answer.
        .options([
            ("statement_timeout", "5s"),
            ("lock_timeout", "3s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ])
        .disable_statement_logging();
    let connecting = timeout(CONNECT_TIMEOUT, connect.connect()).await;
    let mut connection =
        connecting.map_err(|_| OpenError::Silent(CONNECT_TIMEOUT))?.map_err(OpenError::Connect)?;
    POSTGRES.run(&mut connection).await.map_err(migrate_error)?;
    let _ = connection.close().await;
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_release(|conn, _| {
            Box::pin(async { Ok(matches!(timeout(LEFT_OVER, settle(conn)).await, Ok(Ok(())))) })
        })
        .connect_with(connect)
        .await
        .map_err(OpenError::Connect)?;
    Ok(Store { kind: Kind::Postgres { pool }, hub: Hub::new(), clock })
}

/// Who gave up on an answer leaves it on the connection. It is waited for a little; a connection on which it does not
/// come is closed, since the pool would wait on it for as long as TCP does.
async fn settle(conn: &mut PgConnection) -> sqlx::Result<()> {
    if let Some(settled) = conn.flush().now_or_never() {
        return settled;
    }
    conn.flush().await?;
    // It may have been that of a BEGIN. Asked first, since a ROLLBACK too many is a warning in everybody's log; outside
    // a transaction both are the same moment, where it is one simple statement.
    let asked = sqlx::raw_sql("SELECT (transaction_timestamp() = statement_timestamp())::int4::text");
    let is_outside =
        asked.fetch_one(&mut *conn).await.is_ok_and(|row| row.try_get(0).is_ok_and(|is: &str| is == "1"));
    if is_outside { Ok(()) } else { conn.execute("ROLLBACK").await.map(drop) }
}

fn prepare_folder(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What is shared with services stands in there in the clear: nobody else's to read.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| OpenError::File { path: folder.to_owned(), source })
}

/// Held as long as the program serves: the system lets go of it however the program ends.
fn lock_beside(path: &Path) -> Result<Arc<File>, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let file =
        File::create(&lock_path).map_err(|source| OpenError::File { path: lock_path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path: lock_path, source }),
    }
}

fn migrate_error(error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            OpenError::Newer(version)
        }
        other => OpenError::Migrate(other),
    }
}
