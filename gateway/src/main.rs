//! The gateway's program: settings, logging, store, server.

use std::process::ExitCode;

use miid_gateway::cli::{self, Command};
use miid_gateway::{config, server};

/// Most of what is allocated is small, short-lived and freed by the thread that asked for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
            Command::Serve(mut settings) => {
                settings.config_file = cli.config;
                server::serve(*settings, server::stop_signal()).await
            }
            Command::Service(command) => cli::service(command).await,
            Command::Keys(command) => cli::keys(command).await,
            Command::Config(command) => cli::config(command, cli.config.as_deref()),
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
    eprintln!("miid-gateway: {}", in_one_line(error));
    ExitCode::FAILURE
}

/// An error and its causes on one line. Some of them repeat the next one in their own words: what was just
/// said is not said again.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        let cause = cause.trim_end();
        if !line.ends_with(cause) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(cause);
        }
    }
    line
}
