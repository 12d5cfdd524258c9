//! The database of one program in one world, as an operator sees it from outside.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};

use crate::clock;
use crate::cut::Cable;
use crate::postgres::Cluster;
use crate::program;

/// Which store a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A private server.
    Postgres,
}

/// A database. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Sqlite { path: PathBuf, url: String },
    Postgres { cluster: Cluster, name: String, url: String },
}

impl Database {
    /// One in a file.
    pub(crate) fn sqlite(path: PathBuf) -> Self {
        let url = format!("sqlite://{}", path.display());
        Self(Arc::new(Inner::Sqlite { path, url }))
    }

    /// A new and empty one on a server.
    pub async fn postgres(cluster: &Cluster) -> Self {
        let name = format!("miid_{}", clock::hex_name());
        cluster.execute(&format!("CREATE DATABASE {name}")).await;
        let url = cluster.url(&name);
        Self(Arc::new(Inner::Postgres { cluster: cluster.clone(), name, url }))
    }

    /// The same one on a server, over a cable.
    pub async fn over_a_cable(&self) -> (Self, Cable) {
        let Inner::Postgres { cluster, name, url } = &*self.0 else { panic!("a file has no cable") };
        let rest = url.split_once('@').expect("a URL with a user").1;
        let server = rest.split('/').next().expect("host and port");
        let cable = Cable::new(server.to_owned()).await;
        let url = url.replace(server, &cable.address());
        (Self(Arc::new(Inner::Postgres { cluster: cluster.clone(), name: name.clone(), url })), cable)
    }

    /// For `--database-url`.
    pub fn url(&self) -> &str {
        match &*self.0 {
            Inner::Sqlite { url, .. } | Inner::Postgres { url, .. } => url,
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match &*self.0 {
            Inner::Sqlite { .. } => Kind::Sqlite,
            Inner::Postgres { .. } => Kind::Postgres,
        }
    }

    /// Changes something that only an operator could.
    pub async fn execute(&self, sql: &str) {
        match &*self.0 {
            Inner::Sqlite { url, .. } => {
                let mut connection = SqliteConnection::connect(url).await.expect("the file opens");
                connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
                connection.close().await.expect("the file closes");
            }
            Inner::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.expect("the server answers");
                connection.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
                connection.close().await.expect("the connection closes");
            }
        }
    }

    /// How many rows each table has.
    pub async fn row_counts(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for table in self.names(TABLES).await {
            let count = self.names(&format!("SELECT CAST(count(*) AS TEXT) FROM \"{table}\"")).await;
            counts.insert(table, count[0].parse().expect("a count is a number"));
        }
        counts
    }

    /// The first column of a query, as text.
    pub async fn names(&self, sql: &str) -> Vec<String> {
        match &*self.0 {
            Inner::Sqlite { url, .. } => {
                let sql = sql.replace(TABLES, SQLITE_TABLES);
                let mut connection = SqliteConnection::connect(url).await.expect("the file opens");
                let rows = connection.fetch_all(AssertSqlSafe(sql)).await.expect("the query runs");
                rows.iter().map(|row| row.get::<String, _>(0)).collect()
            }
            Inner::Postgres { url, .. } => {
                let sql = sql.replace(TABLES, POSTGRES_TABLES);
                let mut connection = PgConnection::connect(url).await.expect("the server answers");
                let rows = connection.fetch_all(AssertSqlSafe(sql)).await.expect("the query runs");
                rows.iter().map(|row| row.get::<String, _>(0)).collect()
            }
        }
    }

    /// Everything in it: what `pg_dump` writes, or the file with its log.
    pub async fn dump(&self) -> Vec<u8> {
        match &*self.0 {
            Inner::Sqlite { path, .. } => {
                let beside = |end: &str| {
                    let mut name = path.clone().into_os_string();
                    name.push(end);
                    std::fs::read(name).unwrap_or_default()
                };
                [beside(""), beside("-wal"), beside("-journal")].concat()
            }
            Inner::Postgres { url, .. } => {
                let mut command = Command::new(crate::postgres::bin("pg_dump"));
                command.args(["--dbname", url]);
                program::capture(command).await.ok().into_bytes()
            }
        }
    }

    /// Removes a database that lies on a server; a file goes with its folder.
    pub(crate) async fn remove(&self) {
        if let Inner::Postgres { cluster, name, .. } = &*self.0 {
            cluster.try_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
    }
}

const TABLES: &str = "<tables>";
const SQLITE_TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
const POSTGRES_TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
