//! The command line: arguments in, words out. It decides nothing that the [`Wallet`](crate::Wallet) does not.

mod args;
mod browser;
mod chosen;
mod commands;
mod device;
mod dialogue;
mod driver;
mod failure;
mod identities;
mod link;
mod open;
mod record;
mod retire;
mod run;
mod typed;
mod words;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};
use failure::Failure;
use run::Ended;
use words::Words;

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
        Command::Init(init) => identities::init(args, init, words)?,
        Command::Restore(init) => identities::restore(args, init, words)?,
        Command::Enrol { issuer, leave } => identities::enrol(args, issuer, *leave, words)?,
        Command::Sheet(sheet) => identities::sheet(args, sheet, words)?,
        Command::Did { all } => identities::did(args, *all)?,
        Command::Retire(retire) => retire::retire(args, retire, words)?,
        Command::Profile { command } => commands::profile(args, command.as_ref(), words)?,
        Command::Settings { command } => commands::settings(args, command.as_ref())?,
        Command::History(history) => record::history(args, history, words)?,
        Command::Rules { command } => chosen::rules(args, command.as_ref(), words)?,
        Command::Mute { service, minutes, json } => {
            chosen::mute(args, service.as_ref(), *minutes, *json, words)?;
        }
        Command::Unmute { service } => chosen::unmute(args, service, words)?,
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
        Command::Open(open) => return link::open(args, open, words),
    }
    Ok(Ended::Well)
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
