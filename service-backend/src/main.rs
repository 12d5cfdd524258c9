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
            eprintln!("miid-service: {error:#}");
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
