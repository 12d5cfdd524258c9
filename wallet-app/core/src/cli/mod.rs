//! The command line: arguments in, words out. It decides nothing that the [`Wallet`](crate::Wallet) does not.

mod commands;
mod device;
mod dialogue;
mod driver;
mod failure;
mod open;
mod run;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use miid_protocol::{Issuer, SessionId};
use tracing_subscriber::EnvFilter;

use failure::{EXIT_CODES, Failure};
use run::Ended;
use words::Words;

/// Your wallet for signing in with MiID: it holds your identities and asks you before it signs.
#[derive(Debug, Parser)]
#[command(name = "miid-wallet", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The wallet's folder [default: where your system keeps application data]
    #[arg(long, global = true, env = "MIID_WALLET_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Which identity, by name or DID, where there are several
    #[arg(long, global = true, value_name = "NAME")]
    identity: Option<String>,
    /// Which gateway, where an identity is enrolled with several; for init, the one to enrol with
    #[arg(long, global = true, value_name = "ISSUER")]
    gateway: Option<Issuer>,
    /// Reads the passphrase from the first line of a file [else MIID_WALLET_PASSPHRASE, else it is asked for]
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// For tests: where on loopback the gateway is reached, should that not be its name
    #[arg(long, global = true, hide = true, value_name = "ORIGIN")]
    gateway_address: Option<Issuer>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes an identity, and the wallet where there is none; or enrols an identity with one more gateway
    Init(InitArgs),
    /// Prints your DID, which is your public name
    Did {
        /// Every identity with its name
        #[arg(long)]
        all: bool,
    },
    /// Shows, claims or releases the name that you type on sign-in pages: handle [claim NAME | release]
    Handle(HandleArgs),
    /// Shows or changes what you can share: profile [show | set name=value … | unset name …]
    Profile {
        #[command(subcommand)]
        command: Option<ProfileCommand>,
    },
    /// Connects, and asks you here when a service wants to sign you in
    Run(RunArgs),
    /// Lists where you are signed in
    Sessions {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ends a session; whoever uses it is out at once
    Revoke {
        /// Which, as `sessions` lists it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        session_id: Option<SessionId>,
        /// Every one
        #[arg(long)]
        all: bool,
    },
    /// Lists what was asked and what you decided
    History {
        /// As JSON, with the signed statements
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// What you call it
    #[arg(long)]
    name: Option<String>,
    /// Seal the wallet with the desktop's keychain, and fail where there is none
    #[arg(long, conflicts_with = "passphrase_file")]
    keychain: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HandleArgs {
    /// `claim`, `release`, or the handle to claim
    action: Option<String>,
    /// The handle to claim
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Shows it
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Sets fields: name, email, nickname, or any of your own
    Set {
        /// For example name="Alice Kim"
        #[arg(required = true, value_name = "NAME=VALUE")]
        fields: Vec<String>,
    },
    /// Takes fields out
    Unset {
        /// Names of fields
        #[arg(required = true, value_name = "NAME")]
        fields: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Stop after one request is settled: exit code 0 when it ended in a session, else 1
    #[arg(long)]
    once: bool,
    /// FOR TESTS ONLY: who decides instead of you. `stdin` takes JSON commands, one per line
    #[arg(long, value_enum, value_name = "RULE")]
    approve_with: Option<Rule>,
    /// Prints what happens as JSON, one object per line; words go to standard error then
    #[arg(long)]
    events_json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rule {
    /// JSON commands on standard input
    Stdin,
}

/// The program.
pub fn main() -> ExitCode {
    let words = Words::from_environment();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way, too, and are no failures.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("MIID_WALLET_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    match perform(&args, words) {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::NotSignedIn) => ExitCode::from(1),
        Err(failure) => failure.report(words),
    }
}

/// The vault is opened here, outside of any runtime: a keychain may ask the person, and Argon2id takes its time.
fn perform(args: &Args, words: Words) -> Result<Ended, Failure> {
    match &args.command {
        Command::Init(init) => commands::init(args, init, words)?,
        Command::Did { all } => commands::did(args, *all)?,
        Command::Profile { command } => commands::profile(args, command.as_ref(), words)?,
        Command::History { json } => commands::history(args, *json, words)?,
        Command::Handle(handle) => {
            let opened = open::open(args, words)?;
            block_on(commands::handle(&opened, handle, words))?;
        }
        Command::Sessions { json } => {
            let opened = open::open(args, words)?;
            block_on(commands::sessions(&opened, *json, words))?;
        }
        Command::Revoke { session_id, all: _ } => {
            let opened = open::open(args, words)?;
            block_on(commands::revoke(&opened, *session_id, words))?;
        }
        Command::Run(run) => {
            let opened = open::open(args, words)?;
            return block_on(run::run(&opened, run, words));
        }
    }
    Ok(Ended::Well)
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
