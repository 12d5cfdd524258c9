//! How to run MiID: `cargo xtask demo`, `cargo xtask test`, and what they are made of.
//!
//! 1. [`setup`] looks for what the rest needs and installs what is missing, or says what to type.
//! 2. [`pages`] keeps the pages' packages and their builds fresh.
//! 3. [`demo`] starts the gateway, the demo service and a wallet, and stops them again.
//! 4. [`test`] runs every check, one part after another, with a private [`postgres`].
//! 5. [`package`] makes the wallet's packages.
//! 6. [`bench`] builds release programs and starts the load generator.
//!
//! Everything these start goes through [`process`], so that nothing outlives them.

mod bench;
mod codegen;
mod demo;
mod fuzz;
mod package;
mod pages;
mod path;
mod postgres;
mod process;
mod ready;
mod say;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "How to run MiID.", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check what is missing on this machine and install it, or say exactly what to type.
    Setup,
    /// Run gateway, demo service and a wallet on this machine; Ctrl-C stops all of it.
    Demo(demo::Options),
    /// The demo's wallet in another terminal: `cargo xtask wallet sessions`, `cargo xtask wallet revoke --all`, …
    Wallet(demo::WalletOptions),
    /// Run every check: format, lints, tests on both databases, end to end, pictures, fuzzing.
    Test(test::Options),
    /// Make the wallet's packages: a .deb, and an AppImage where its tools can be had.
    Package(package::Options),
    /// Measure sign-ins per second, memory per stream and delivery time, on release builds; with `desktop`,
    /// how long the wallet takes to its icon in the tray, and what it costs when idle.
    Bench(bench::Options),
    /// Refresh the generated files: TypeScript types and the OpenAPI document.
    Codegen,
}

fn main() -> ExitCode {
    if let Some(code) = process::act_as_launcher() {
        return code;
    }
    let cli = Cli::parse();
    let outcome = process::catch_signals().and_then(|()| match cli.task {
        Task::Setup => setup::run(&setup::Purpose::ALL),
        Task::Demo(options) => demo::run(&options),
        Task::Wallet(options) => demo::wallet(&options),
        Task::Test(options) => test::run(&options),
        Task::Package(options) => package::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Codegen => codegen::run(),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            match process::stop_asked() {
                // What a shell reports for a program that a signal ended.
                Some(signal) => ExitCode::from(128u8.saturating_add(signal as u8)),
                None => ExitCode::FAILURE,
            }
        }
    }
}
