//! The gateway's program: settings, logging, store, server.

use std::process::ExitCode;

use miid_gateway::cli::{self, Command};
use miid_gateway::{config, server};

fn main() -> ExitCode {
    let cli = match config::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return fail(&error.into()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(settings) => server::serve(*settings, server::stop_signal()).await,
            Command::Service(command) => cli::service(command).await,
            Command::Keys(command) => cli::keys(command).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// One line on standard error, and a non-zero exit.
#[expect(clippy::print_stderr, reason = "what the operator reads when nothing else runs")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("miid-gateway: {error:#}");
    ExitCode::FAILURE
}
