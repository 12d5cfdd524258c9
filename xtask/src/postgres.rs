//! A private PostgreSQL for the tests: in a temporary folder, on a free port of loopback, as a user that
//! is not root, and gone afterwards.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::process::Server;
use crate::{path, process};

/// How long `initdb` and the first start may take together; 1.5 s on two shared cores.
const BOUND: Duration = Duration::from_secs(60);
/// Between looking for a free port and PostgreSQL taking it somebody else may be faster.
const TRIES: usize = 5;
const USER: &str = "miid";

/// A running server. Dropping it stops it and removes its folder.
pub(crate) struct Postgres {
    // Order matters: the server stops before its folder goes.
    _server: Server,
    _folder: Folder,
    url: String,
}

impl Postgres {
    /// Starts one.
    pub(crate) fn start() -> Result<Self> {
        let bin =
            path::postgres_bin().context("PostgreSQL's server programs were not found: cargo xtask setup")?;
        let account = Account::choose()?;
        let folder = Folder::make(&account)?;
        let password = random_hex(16)?;
        initdb(&bin, &account, &folder, &password)?;
        for _ in 0..TRIES {
            let port = free_port()?;
            match serve(&bin, &account, &folder, port) {
                Ok(server) => {
                    let url = format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres");
                    return Ok(Self { _server: server, _folder: folder, url });
                }
                Err(error) if format!("{error:#}").contains("Address already in use") => continue,
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for PostgreSQL in {TRIES} tries")
    }

    /// Where a test connects to make a database of its own.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn initdb(bin: &Path, account: &Account, folder: &Folder, password: &str) -> Result<()> {
    let password_file = folder.path.join("password");
    write_private(&password_file, password)?;
    account.gives(&password_file)?;
    process::capture(
        account
            .command(bin.join("initdb"))
            .arg("-D")
            .arg(folder.data())
            .args(["-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", "--auth=password"])
            .arg("--pwfile")
            .arg(&password_file)
            .current_dir(&folder.path),
    )?;
    std::fs::remove_file(&password_file).context("cannot remove the password file of initdb")
}

fn serve(bin: &Path, account: &Account, folder: &Folder, port: u16) -> Result<Server> {
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", folder.path.display()),
        // Every test has a pool or two of its own, and many run at once.
        "max_connections=400".to_owned(),
        // What a crash of the machine would cost is nothing: the folder goes anyway.
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
    ];
    let mut command = account.command(bin.join("postgres"));
    command.arg("-D").arg(folder.data()).current_dir(&folder.path);
    for setting in &settings {
        command.args(["-c", setting]);
    }
    // SIGINT is its "fast shutdown": it ends connections instead of waiting for them.
    let mut server = Server::start("PostgreSQL", &mut command, &folder.log, Signal::SIGINT)?;
    let start = Instant::now();
    while start.elapsed() < BOUND {
        server.check()?;
        if is_ready(folder) {
            return Ok(server);
        }
        process::pause()?;
    }
    bail!("PostgreSQL did not become ready within {} s; {}", BOUND.as_secs(), server.last_words())
}

/// The last line of `postmaster.pid` says so, and `pg_ctl -w` reads it there too.
fn is_ready(folder: &Folder) -> bool {
    std::fs::read_to_string(folder.data().join("postmaster.pid"))
        .is_ok_and(|text| text.lines().nth(7).is_some_and(|status| status.trim() == "ready"))
}

/// Who runs the server: PostgreSQL refuses root.
enum Account {
    Ourselves,
    Other { name: &'static str, uid: nix::unistd::Uid, gid: nix::unistd::Gid },
}

impl Account {
    fn choose() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = nix::unistd::User::from_name(name).context("cannot read the list of users")? {
                return Ok(Self::Other { name, uid: user.uid, gid: user.gid });
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`; run this as another user"
        )
    }

    fn command(&self, program: PathBuf) -> Command {
        match self {
            Self::Ourselves => process::command(program),
            Self::Other { name, gid, .. } => {
                let mut command = process::command("setpriv");
                command
                    .arg(format!("--reuid={name}"))
                    .arg(format!("--regid={gid}"))
                    // A change of user clears the wish to be told of the parent's death; wish again.
                    .args(["--clear-groups", "--pdeathsig=INT", "--"])
                    .arg(program);
                command
            }
        }
    }

    /// Makes it the owner of `path`.
    fn gives(&self, path: &Path) -> Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { name, uid, gid } => nix::unistd::chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("cannot give {} to user {name}", path.display())),
        }
    }
}

/// The server's own folder, removed when dropped.
struct Folder {
    path: PathBuf,
    log: PathBuf,
}

impl Folder {
    fn make(account: &Account) -> Result<Self> {
        let own_temporary = std::env::temp_dir();
        let places = [own_temporary.as_path(), Path::new("/tmp"), Path::new("/var/tmp")];
        let place = match account {
            Account::Ourselves => places[0],
            // The other user must be able to walk there; a TMPDIR below a home folder is often closed.
            Account::Other { .. } => places
                .into_iter()
                .find(|place| is_open_to_all(place))
                .context("no temporary folder that another user may enter; set TMPDIR to one")?,
        };
        let name = format!("miid-postgres-{}-{}", std::process::id(), random_hex(4)?);
        let path = place.join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let folder = Self { log: path.join("log"), path };
        account.gives(&folder.path)?;
        Ok(folder)
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            crate::say::loud(&format!("cannot remove {}: {error}", self.path.display()));
        }
    }
}

fn is_open_to_all(place: &Path) -> bool {
    place.canonicalize().is_ok_and(|place| {
        place
            .ancestors()
            .all(|dir| std::fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0))
    })
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot read random bytes")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
