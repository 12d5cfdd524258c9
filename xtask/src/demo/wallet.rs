//! The demo's wallet: in its window, on the demo's terminal, and from another terminal.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{DEFAULT_PORTS, data_of, program};
use crate::process::{Foreground, Server};
use crate::{path, process};

/// Seals the demo's vault. No secret: the identity in there is worth nothing beyond this demo, and a
/// person who tries the wallet's other commands on it needs something to type.
pub(super) const PASSPHRASE: &str = "only-for-the-demo";

/// The wallet that runs, one way or the other.
pub(super) enum Running {
    Terminal(Foreground),
    Window(Server),
}

impl Running {
    /// Whether the person has left it.
    pub(super) fn ended(&mut self) -> Result<bool> {
        match self {
            Self::Terminal(wallet) => Ok(wallet.ended()?.is_some()),
            Self::Window(wallet) => wallet.ended(),
        }
    }
}

/// What `wallet` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Port of the demo's gateway.
    #[arg(long, default_value_t = DEFAULT_PORTS.0)]
    gateway_port: u16,
    /// Port of the demo's service.
    #[arg(long, default_value_t = DEFAULT_PORTS.1)]
    service_port: u16,
    /// What `miid-wallet` is told, such as `sessions`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    words: Vec<String>,
}

/// Runs one command of the demo's wallet, which needs neither its folder nor its passphrase named.
pub(crate) fn run(options: &Options) -> Result<()> {
    let data = data_of(options.gateway_port, options.service_port);
    let is_there = program("miid-wallet").is_file() && path::root().join(&data).join("wallet").is_dir();
    if !is_there {
        bail!("there is no demo's wallet in {} yet\n  make one: cargo xtask demo", data.display());
    }
    // Its exit code is to be this command's own.
    let mut command = wallet_in(&data);
    let error = command.args(&options.words).exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::in_words(&command)))
}

/// The passphrase is given, so the wallet seals a file and never asks the desktop's keychain.
pub(super) fn wallet_in(data: &Path) -> Command {
    let mut command = process::command(program("miid-wallet"));
    command.arg("--dir").arg(data.join("wallet")).env("MIID_WALLET_PASSPHRASE", PASSPHRASE);
    command
}

/// Whether a window could be seen.
pub(super) fn has_display() -> bool {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(is_set)
}
