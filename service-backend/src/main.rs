//! `miid-service`: the demo shop. Configure, open, serve until told to stop.

mod cli;

use anyhow::Context as _;
use clap::Parser as _;
use miid_service::{SignIn, demo};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command, Serve};

fn main() -> std::process::ExitCode {
    let Command::Serve(serve) = Cli::parse().command;
    serve.start_logging();
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run(&serve)));
    match ran {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miid-service: {}", in_one_line(&error));
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(serve: &Serve) -> anyhow::Result<()> {
    let listener = TcpListener::bind(serve.listen)
        .await
        .with_context(|| format!("cannot listen on {}", serve.listen))?;
    let local = listener.local_addr()?;
    let config = serve.config(local)?;
    let pages = serve.pages()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let miid = SignIn::connect(config).await?;
    let app = demo::app(&miid, pages);
    println!("listening on http://{local}");
    miid.serve(listener, app, stop).await?;
    Ok(())
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
