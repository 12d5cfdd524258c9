//! The gateway that is measured: a release build on a core of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use miid_e2e::database::Database;
use miid_e2e::postgres::Cluster;
use miid_protocol::Issuer;

use super::Result;

/// Which store it runs on.
pub enum Store {
    /// A fresh file each time.
    Sqlite {
        /// `synchronous=NORMAL` instead of `FULL`.
        normal: bool,
    },
    /// A fresh database on this server each time.
    Postgres(Cluster),
}

/// A running gateway with one service.
pub struct Server {
    child: Child,
    _database: Option<Database>,
    folder: tempfile::TempDir,
    /// `host:port`
    pub address: String,
    /// Its name.
    pub issuer: Issuer,
    /// The service's `Authorization` header.
    pub basic: String,
    /// Where its metrics are.
    pub metrics: String,
    /// Where its edge is, `host:port`, if it has one.
    pub edge: String,
}

/// Keeps this process on one core.
pub fn pin_to(core: usize) -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    Ok(nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?)
}

impl Server {
    /// Starts one with an empty store.
    pub async fn start(store: &Store) -> Result<Self> {
        Self::start_with(store, None).await
    }

    /// The same with an edge, by the routes that `edge` makes for a service's name.
    pub async fn start_with(store: &Store, edge: Option<&dyn Fn(&str) -> String>) -> Result<Self> {
        let program = std::path::PathBuf::from(std::env::var("MIID_BIN_DIR")?).join("miid-gateway");
        // Beside the build, not in /tmp: that may be memory, and a commit must reach a disk.
        let folder = tempfile::tempdir_in(std::env::var("MIID_BIN_DIR")?)?;
        let database = match store {
            Store::Sqlite { .. } => None,
            Store::Postgres(cluster) => Some(Database::postgres(cluster).await),
        };
        let url = match &database {
            None => format!("sqlite://{}", folder.path().join("gateway.db").display()),
            Some(database) => database.url().to_owned(),
        };
        let normal = matches!(store, Store::Sqlite { normal: true });
        let place = |command: &mut Command| {
            command.arg("--database-url").arg(&url).arg("--data-dir").arg(folder.path());
        };

        let mut serve = Command::new("taskset");
        serve.args(["-c", "0"]).arg(&program).args(["serve", "--listen", "127.0.0.1:0"]);
        serve.args(["--metrics-listen", "127.0.0.1:0"]);
        for bound in ["--requests-per-address", "--new-dids-per-address", "--streams-per-address"] {
            serve.args([bound, "1000000"]);
        }
        if normal {
            serve.arg("--sqlite-normal");
        }
        let client_id = format!("bench-{}", std::process::id());
        if let Some(edge) = edge {
            let config = folder.path().join("edge.toml");
            std::fs::write(&config, edge(&client_id))?;
            serve.args(["--edge-listen", "127.0.0.1:0", "--config"]).arg(config).stderr(Stdio::null());
        }
        place(&mut serve);
        let mut child = serve.env("MIID_GATEWAY_LOG", "warn").stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let address = value(&mut lines, "listening on http://")?;
        let metrics = value(&mut lines, "metrics on http://")?;
        let edge = match edge {
            Some(_) => value(&mut lines, "edge on http://")?,
            None => String::new(),
        };
        let mut add = Command::new(&program);
        add.args(["service", "add", &client_id, "--name", "Bench", "--json"]);
        place(&mut add);
        let answer = add.output()?;
        let secret: serde_json::Value = serde_json::from_slice(&answer.stdout)
            .map_err(|_| String::from_utf8_lossy(&answer.stderr).into_owned())?;
        let secret = secret["client_secret"].as_str().ok_or("no secret")?;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:{secret}"));
        let issuer = Issuer::parse(&format!("http://{address}"))?;
        Ok(Self {
            child,
            _database: database,
            folder,
            address,
            issuer,
            basic: format!("Basic {encoded}"),
            metrics,
            edge,
        })
    }

    /// CPU time used so far, in seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        cpu_s(self.child.id())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its key file is.
    pub fn data_dir(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

/// CPU time that a process has used so far, in seconds.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").ok_or("no stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(ticks as f64 / per_second as f64)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn value(lines: &mut impl Iterator<Item = std::io::Result<String>>, head: &str) -> Result<String> {
    let line = lines.next().ok_or("the gateway did not start")??;
    Ok(line.strip_prefix(head).ok_or("the gateway said something else")?.to_owned())
}
