//! Other programs: started so that they end when this one does, whichever way it ends.
//!
//! Signals are blocked in every thread and waited for by one, which only notes them; whoever waits for a
//! child looks at the note. Children inherit a blocked mask, and between fork and exec safe Rust has no
//! say, so each child starts as this program again ([`act_as_launcher`]), puts the signals right, asks the
//! kernel to be told when its parent dies, and becomes the program it was meant to be.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

/// How long a child may take to end after it was asked to; after that it is killed.
const GRACE: Duration = Duration::from_secs(8);
/// How often a child is looked at: short against what a person notices, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The hidden first argument that makes this program a launcher of something that ends with it.
const LAUNCHER: &str = "__launch";
/// The same, for something that goes on.
const LEAVER: &str = "__leave";

static ASKED_TO_STOP: AtomicI32 = AtomicI32::new(0);

/// From here on Ctrl-C, SIGTERM and SIGHUP are noted instead of ending this program. Call it first.
pub(crate) fn catch_signals() -> Result<()> {
    let signals = stop_signals();
    signals.thread_block().context("cannot block signals")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while let Ok(signal) = signals.wait() {
                ASKED_TO_STOP.store(signal as i32, Ordering::SeqCst);
            }
        })
        .context("cannot start the thread that waits for signals")?;
    Ok(())
}

/// The signal that asked this program to stop, once there was one.
pub(crate) fn stop_asked() -> Option<Signal> {
    Signal::try_from(ASKED_TO_STOP.load(Ordering::SeqCst)).ok()
}

/// An error once somebody asked this program to stop. To be called between steps and in loops.
pub(crate) fn go_on() -> Result<()> {
    match stop_asked() {
        Some(signal) => bail!("stopped by {signal}"),
        None => Ok(()),
    }
}

/// Waits a moment within a loop that has its own bound, or ends early when somebody asks to stop.
pub(crate) fn pause() -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "std has no wait with a time limit for a child or a port")]
    std::thread::sleep(LOOK_EVERY);
    go_on()
}

/// A command that ends with this program. It runs in the workspace's root unless told otherwise.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    launched(LAUNCHER, program.as_ref())
}

/// Starts a program of the person's own, such as a browser, that may go on when this one has ended.
pub(crate) fn leave(program: impl AsRef<OsStr>, argument: &str) -> Result<()> {
    launched(LEAVER, program.as_ref())
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", Path::new(program.as_ref()).display()))?;
    Ok(())
}

fn launched(mode: &str, program: &OsStr) -> Command {
    // Cargo may replace this program's file while it runs; the link still leads to what is running.
    let own = Path::new("/proc/self/exe");
    let mut command = match std::env::current_exe() {
        Ok(exe) if !own.exists() => Command::new(exe),
        _ => Command::new(own),
    };
    command.arg(mode).arg(program).current_dir(crate::path::root());
    // Cargo sets these for this program alone; a cargo started from here must not take them for its own.
    for name in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"] {
        command.env_remove(name);
    }
    command
}

/// `Some` when this program was started to become another one and could not.
pub(crate) fn act_as_launcher() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let mode = words.next()?;
    if mode != LAUNCHER && mode != LEAVER {
        return None;
    }
    let program = words.next()?;
    // Should either fail, the program still runs; it is only less sure to end with its parent.
    let _ = stop_signals().thread_unblock();
    #[cfg(target_os = "linux")]
    if mode == LAUNCHER {
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
    }
    let error = Command::new(&program).args(words).exec();
    eprintln!("cannot start {}: {error}", Path::new(&program).display());
    Some(ExitCode::from(127))
}

/// Runs a command in the foreground to its end, its output being the terminal's. Anything but success is
/// an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = in_words(command);
    let mut child = command.spawn().with_context(|| format!("cannot start `{words}`"))?;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for `{words}`"))? {
            break status;
        }
        if let Err(stopped) = pause() {
            end_foreground(&mut child);
            return Err(stopped);
        }
    };
    go_on()?;
    succeeded(status, &words)
}

/// Runs a short command and gives what it wrote to its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let words = in_words(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{words}` {}: {}", ending(output.status), complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a short command succeeds, whatever it prints.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A program in the background, in a process group of its own so that the terminal's Ctrl-C reaches it
/// through us, in our order. Dropping it stops it.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stop_with: Signal,
}

impl Server {
    /// Starts it with its output going to `log`, which begins anew. `stop_with` is the signal it takes as
    /// a request to end.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        stop_with: Signal,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log: log.to_path_buf(), stop_with })
    }

    /// An error with the end of its log when it is no longer running.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait().with_context(|| format!("cannot look after {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} is gone: it {}; {}", self.name, ending(status), self.last_words()),
        }
    }

    /// Whether it has ended, and well: a program that a person may leave. An error where it ended badly.
    pub(crate) fn ended(&mut self) -> Result<bool> {
        match self.child.try_wait().with_context(|| format!("cannot look after {}", self.name))? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("{} is gone: it {}; {}", self.name, ending(status), self.last_words()),
        }
    }

    /// The end of its log, to be shown with what went wrong.
    pub(crate) fn last_words(&self) -> String {
        format!("the end of {}:\n{}", shown(&self.log), tail(&self.log))
    }

    /// Asks it to end; kills it when it has not after [`GRACE`].
    pub(crate) fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let group = pid(&self.child);
        // "No such process" is what we want anyway.
        let _ = killpg(group, self.stop_with);
        if !ends_within(&mut self.child, GRACE) {
            crate::say::loud(&format!("{} did not end when asked; killing it", self.name));
            let _ = killpg(group, Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program in the foreground, with the terminal, beside servers in the background.
pub(crate) struct Foreground {
    child: Child,
    words: String,
}

impl Foreground {
    /// Starts it in our own process group: only that may read the terminal.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let words = in_words(command);
        let child = command.spawn().with_context(|| format!("cannot start `{words}`"))?;
        Ok(Self { child, words })
    }

    /// `Some` once it has ended; its failure is an error.
    pub(crate) fn ended(&mut self) -> Result<Option<()>> {
        match self.child.try_wait().with_context(|| format!("cannot wait for `{}`", self.words))? {
            None => Ok(None),
            Some(status) => succeeded(status, &self.words).map(Some),
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        end_foreground(&mut self.child);
    }
}

/// `command` as somebody would type it.
pub(crate) fn in_words(command: &Command) -> String {
    let words: Vec<_> = command.get_args().skip(1).map(|word| word.to_string_lossy()).collect();
    shown_words(&words.join(" "))
}

/// A path as it looks from the workspace's root.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(crate::path::root()).unwrap_or(path).display().to_string()
}

fn shown_words(words: &str) -> String {
    words.replace(&format!("{}/", crate::path::root().display()), "")
}

fn stop_signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

/// Ends a child that shares our process group, so that after a Ctrl-C the terminal has told it already.
fn end_foreground(child: &mut Child) {
    // A second SIGINT makes cargo-nextest kill its tests at once; let the first one work for a while.
    if stop_asked() == Some(Signal::SIGINT) && ends_within(child, GRACE) {
        return;
    }
    if matches!(child.try_wait(), Ok(None)) {
        let _ = nix::sys::signal::kill(pid(child), Signal::SIGTERM);
        if !ends_within(child, GRACE) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ends_within(child: &mut Child, bound: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < bound {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        // It is no matter here that somebody asked to stop: that is what this is about.
        let _ = pause();
    }
    false
}

fn pid(child: &Child) -> Pid {
    // A pid is at most 2^22 on Linux, and a pid_t is what it was before std made it unsigned.
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn succeeded(status: ExitStatus, words: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{words}` {}", ending(status))
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal().and_then(|number| Signal::try_from(number).ok())) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by {signal}"),
        (None, None) => format!("ended ({status})"),
    }
}

/// The last lines of a log, indented.
fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    if last.is_empty() {
        return "  (it wrote nothing)".to_owned();
    }
    last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
