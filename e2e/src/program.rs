//! A program that runs: started in a process group of its own with its output in files, killed when dropped,
//! and killed by the kernel should this process end without dropping anything.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::wait::eventually;

/// Where the programs under test are: `MIID_BIN_DIR`, or beside this test's own program.
pub fn bin(name: &str) -> PathBuf {
    let folder = match std::env::var_os("MIID_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe().expect("this program has a path");
            let folder = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
            folder.to_owned()
        }
    };
    let path = folder.join(name);
    assert!(path.is_file(), "{name} was not built: cargo build --workspace --bins (or set MIID_BIN_DIR)");
    path
}

/// A command that dies with us. The kernel sends the signal when the *thread* that started the program ends,
/// hence [`SPAWNER`].
pub fn command(program: impl AsRef<std::ffi::OsStr>, death: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--pdeathsig={death}")).arg("--").arg(program);
    command
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// One thread that starts every program and lives as long as this process.
static SPAWNER: LazyLock<std::sync::Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (sender, orders) = mpsc::channel::<Order>();
    std::thread::Builder::new()
        .name("spawner".into())
        .spawn(move || {
            for (mut command, answer) in orders {
                // Whoever ordered may be gone; its program then dies by being dropped here.
                let _ = answer.send(command.spawn());
            }
        })
        .expect("a thread");
    std::sync::Mutex::new(sender)
});

fn spawn(command: Command) -> Child {
    let (answer, child) = mpsc::channel();
    SPAWNER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .send((command, answer))
        .expect("the spawner lives");
    child.recv().expect("the spawner answers").expect("a program starts (is setpriv of util-linux there?)")
}

/// A program that runs.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    /// Where this run's output begins: a restarted program writes on in the same files.
    stdout_from: u64,
    stderr_from: u64,
}

impl Program {
    /// Starts `command`; its output goes to `<logs>/<name>.out` and `.err`, behind what is there.
    pub fn start(mut command: Command, logs: &Path, name: &str) -> Self {
        let open = |path: &Path| {
            let file = std::fs::File::options().create(true).append(true).open(path).expect("a log file");
            let from = file.metadata().expect("a log file has a length").len();
            (file, from)
        };
        let (stdout, stderr) = (logs.join(format!("{name}.out")), logs.join(format!("{name}.err")));
        let ((out, stdout_from), (err, stderr_from)) = (open(&stdout), open(&stderr));
        command.process_group(0).stdin(Stdio::piped()).stdout(out).stderr(err);
        let child = spawn(command);
        Self { name: name.to_owned(), child, stdout, stderr, stdout_from, stderr_from }
    }

    /// What this run has written to standard output.
    pub fn output(&self) -> String {
        tail(&self.stdout, self.stdout_from)
    }

    /// What this run has written to standard error.
    pub fn errors(&self) -> String {
        tail(&self.stderr, self.stderr_from)
    }

    /// Writes one line to its standard input.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("standard input is a pipe");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the program reads its input");
    }

    /// Waits for a whole line of output that begins with `start`; gives the rest of it, or the exit status of
    /// a program that ended without having written one.
    pub async fn line(&mut self, start: &str) -> Result<String, ExitStatus> {
        let what = format!("{} writes \"{start}…\"", self.name);
        let (child, stdout, from) = (&mut self.child, &self.stdout, self.stdout_from);
        eventually(&what, || {
            // First whether it ended: what it wrote before that is then complete.
            let ended = child.try_wait().expect("a child can be waited for");
            let output = tail(stdout, from);
            let complete = output.rfind('\n').map_or("", |end| &output[..end]);
            let found = complete.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
            std::future::ready(match (found, ended) {
                (Some(rest), _) => Some(Ok(rest)),
                (None, Some(status)) => Some(Err(status)),
                (None, None) => None,
            })
        })
        .await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        eventually(&what, || std::future::ready(child.try_wait().expect("a child can be waited for"))).await
    }

    /// Its process id. What is started is `setpriv`, which becomes the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends a signal to it and its children.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        // It may have ended in this moment.
        let _ = killpg(Pid::from_raw(pid), signal);
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, and waits.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(path: &Path, from: u64) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let from = usize::try_from(from).expect("a log fits into memory");
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

/// What a command that ends by itself wrote.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Its output; fails where the command did.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }

    /// Its complaint; fails where the command did not.
    #[track_caller]
    pub fn complaint(self) -> String {
        assert!(!self.status.success(), "it should have failed:\n{}{}", self.stdout, self.stderr);
        assert!(self.status.code().is_some(), "it was killed: {}", self.status);
        assert!(!self.stderr.contains("panicked"), "it panicked:\n{}", self.stderr);
        self.stderr
    }
}

/// Runs a command that ends by itself.
pub async fn capture(command: Command) -> Ran {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = crate::wait::within("a command ends", command.output()).await.expect("a command runs");
    Ran {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
