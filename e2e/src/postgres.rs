//! A private PostgreSQL: a cluster in a temporary folder, on a port of loopback, run by a user that is not root,
//! and gone when this process is, however it ends.
//!
//! `MIID_TEST_POSTGRES_URL` names one that runs already; where every test is a process of its own (nextest), that
//! saves each of them an `initdb`.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::sync::OnceCell;

use crate::clock;
use crate::port::Port;
use crate::program::{self, Program};
use crate::wait::{eventually, within};

/// A server. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Up to the database's name.
    url: String,
    own: Option<Own>,
}

/// What there is to a server that we started ourselves.
#[derive(Debug)]
struct Own {
    server: Mutex<Option<Program>>,
    folder: PathBuf,
    port: Port,
    /// Whether a commit reaches the disk before it is answered; scenarios do without, benches do not.
    durable: bool,
    // Its standard input is a pipe from us: when that ends, it ends the server and removes the folder.
    _guard: Child,
}

/// Waits for the end of whoever started it, then ends the server, gives it a bounded time, and cleans up.
const GUARD: &str = r#"
cat >/dev/null
pid="$1/data/postmaster.pid"
if [ -e "$pid" ]; then
    server="$(head -n 1 "$pid")"
    kill -INT "$server" 2>/dev/null
    # Whoever is held hears of nothing.
    kill -CONT "$server" 2>/dev/null
    pkill -CONT -P "$server" 2>/dev/null
fi
n=0; while [ -e "$pid" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
rm -rf -- "$1"
"#;

/// The cluster that the scenarios of this process share.
pub async fn shared() -> Cluster {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            match std::env::var("MIID_TEST_POSTGRES_URL") {
                Ok(url) => {
                    let (url, _database) = url.rsplit_once('/').expect("a URL ends in a database's name");
                    Cluster(Arc::new(Inner { url: url.to_owned(), own: None }))
                }
                Err(_) => Cluster::start().await,
            }
        })
        .await
        .clone()
}

impl Cluster {
    /// Starts one of its own.
    pub async fn start() -> Self {
        Self::started(false).await
    }

    /// Starts one of its own whose commits reach the disk, to be measured.
    pub async fn start_durable() -> Self {
        Self::started(true).await
    }

    async fn started(durable: bool) -> Self {
        let folder = make_folder();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&folder).stdin(Stdio::piped());
        // It outlives this process a little; whoever reads our output must not wait for it.
        guard.stdout(Stdio::null()).stderr(Stdio::null());
        // Its own group: Ctrl-C must not end it before it has cleaned up.
        std::os::unix::process::CommandExt::process_group(&mut guard, 0);
        let guard = guard.spawn().expect("sh runs");

        let mut initdb = unprivileged(bin("initdb"), "KILL");
        initdb.arg("-D").arg(folder.join("data")).current_dir(&folder);
        initdb.args(["-U", "miid", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        program::capture(initdb).await.ok();

        let port = Port::take();
        let url = format!("postgres://miid@127.0.0.1:{}", port.number());
        let own = Own { server: Mutex::new(None), folder, port, durable, _guard: guard };
        let cluster = Self(Arc::new(Inner { url, own: Some(own) }));
        cluster.resume().await;
        cluster
    }

    fn own(&self) -> &Own {
        self.0.own.as_ref().expect("only a server of our own is stopped")
    }

    /// Starts the server (again) on its port.
    pub async fn resume(&self) {
        let own = self.own();
        let mut command = unprivileged(bin("postgres"), "INT");
        command.arg("-D").arg(own.folder.join("data")).current_dir(&own.folder);
        for setting in [
            format!("port={}", own.port.number()),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", own.folder.display()),
            "max_connections=400".to_owned(),
            // What a crash of the machine would cost a scenario is nothing: the folder goes anyway.
            format!("fsync={}", if own.durable { "on" } else { "off" }),
            format!("full_page_writes={}", if own.durable { "on" } else { "off" }),
        ] {
            command.args(["-c", &setting]);
        }
        let program = Program::start(command, &own.folder, "postgres");
        *own.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(program);
        eventually("PostgreSQL accepts connections", || async {
            let connection = PgConnection::connect(&self.url("postgres")).await.ok()?;
            connection.close().await.ok()
        })
        .await;
    }

    /// Stops the server as an operator's restart does: open connections are ended.
    pub async fn stop(&self) {
        let server = self.own().server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut server = server.expect("a server that runs is stopped");
        server.signal(Signal::SIGINT);
        server.ended().await;
    }

    /// The server falls silent, with all that serves for it, until what this gives is dropped: connections stay
    /// open, new ones come about, and nobody answers.
    pub fn hold(&self) -> Held {
        let server = self.own().server.lock().unwrap_or_else(PoisonError::into_inner);
        let server = server.as_ref().expect("a server that runs is held").id();
        let server = Pid::from_raw(i32::try_from(server).expect("a pid fits"));
        // First who would start another.
        kill(server, Signal::SIGSTOP).expect("the server is held");
        let mut processes = vec![server];
        for child in children(server) {
            // It may have ended in this moment.
            if kill(child, Signal::SIGSTOP).is_ok() {
                processes.push(child);
            }
        }
        Held(processes)
    }

    /// The address of one database.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.0.url)
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let run = async {
            let mut connection = PgConnection::connect(&self.url("postgres")).await?;
            connection.execute(AssertSqlSafe(sql.to_owned())).await?;
            connection.close().await
        };
        within("PostgreSQL makes a database", run).await.expect("PostgreSQL makes a database");
    }

    pub(crate) async fn try_execute(&self, sql: &str) {
        if let Ok(mut connection) = PgConnection::connect(&self.url("postgres")).await {
            let _ = connection.execute(AssertSqlSafe(sql.to_owned())).await;
        }
    }
}

/// A server that answers nobody.
#[derive(Debug)]
#[must_use = "dropped, it answers again"]
pub struct Held(Vec<Pid>);

impl Drop for Held {
    fn drop(&mut self) {
        for process in &self.0 {
            let _ = kill(*process, Signal::SIGCONT);
        }
    }
}

/// PostgreSQL gives each process that serves a connection a group of its own.
fn children(of: Pid) -> Vec<Pid> {
    let is_child = |stat: &str| {
        // Behind the name, which may hold anything: its state, and its parent.
        let (_, rest) = stat.rsplit_once(") ")?;
        (rest.split(' ').nth(1)?.parse() == Ok(of.as_raw())).then_some(())
    };
    let processes = std::fs::read_dir("/proc").expect("processes are listed").flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            is_child(&stat).map(|()| Pid::from_raw(pid))
        })
        .collect()
}

/// A program of PostgreSQL: from `MIID_PG_BIN_DIR`, or the newest of Debian's.
pub fn bin(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("MIID_PG_BIN_DIR") {
        return PathBuf::from(folder).join(name);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            entry.file_name().to_str()?.parse::<u32>().ok().map(|version| (version, entry.path()))
        })
        .filter(|(_, path)| path.join("bin").join(name).is_file())
        .max();
    match newest {
        Some((_, path)) => path.join("bin").join(name),
        None => {
            panic!("{name} of PostgreSQL was not found: apt-get install postgresql, or set MIID_PG_BIN_DIR")
        }
    }
}

fn account() -> Option<nix::unistd::User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| nix::unistd::User::from_name(name).ok().flatten())
        .or_else(|| panic!("PostgreSQL refuses to run as root, and there is no user postgres or nobody"))
}

/// PostgreSQL refuses root.
fn unprivileged(program: PathBuf, death: &str) -> Command {
    let Some(user) = account() else { return program::command(program, death) };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={}", user.uid))
        .arg(format!("--regid={}", user.gid))
        // In this order: a change of user clears the wish to be told of the parent's death.
        .args(["--clear-groups", &format!("--pdeathsig={death}"), "--"])
        .arg(program);
    command
}

fn make_folder() -> PathBuf {
    let own = std::env::temp_dir();
    let places = [own.as_path(), Path::new("/tmp"), Path::new("/var/tmp")];
    // The other user must be able to walk there; a TMPDIR below a home folder is often closed.
    let is_open = |place: &&Path| {
        let open =
            |dir: &Path| std::fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
        account().is_none() || place.canonicalize().is_ok_and(|place| place.ancestors().all(open))
    };
    let place = places.into_iter().find(is_open).expect("a temporary folder that another user may enter");
    let folder = place.join(format!("miid-e2e-postgres-{}", clock::hex_name()));
    std::fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder for PostgreSQL");
    if let Some(user) = account() {
        nix::unistd::chown(&folder, Some(user.uid), Some(user.gid)).expect("the folder is given away");
    }
    folder
}
