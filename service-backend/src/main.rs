//! `miid-service`: the demo shop, and its API server. Configure, open, serve until told to stop.

mod cli;

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser as _;
use miid_service::{SignIn, demo};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command, DemoApi, Serve};

fn main() -> std::process::ExitCode {
    let command = Cli::parse().command;
    match &command {
        Command::Serve(serve) => serve.logging.start(),
        Command::DemoApi(api) => api.logging.start(),
    }
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run(&command)));
    match ran {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miid-service: {}", in_one_line(&error));
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(command: &Command) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    match command {
        Command::Serve(serve) => run_shop(serve, stop).await,
        Command::DemoApi(api) => run_api(api, stop).await,
    }
}

async fn run_shop(serve: &Serve, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let (listener, local) = listen(serve.listen).await?;
    let config = serve.config(local)?;
    let pages = serve.pages()?;
    let miid = SignIn::connect(config).await?;
    let app = demo::app(&miid, pages, serve.edge_url.clone())?;
    println!("listening on http://{local}");
    miid.serve(listener, app, stop).await?;
    Ok(())
}

async fn run_api(api: &DemoApi, stop: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let config = api.config()?;
    let (listener, local) = listen(api.listen).await?;
    println!("listening on http://{local}");
    demo::api::serve(config, listener, stop).await?;
    Ok(())
}

async fn listen(at: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await.with_context(|| format!("cannot listen on {at}"))?;
    let local = listener.local_addr()?;
    Ok((listener, local))
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
