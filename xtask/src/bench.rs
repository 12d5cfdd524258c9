//! `cargo xtask bench`: release builds, then the load generator of `e2e`, which pins itself and the
//! server it measures to a core each. `cargo xtask bench desktop` measures the wallet's window instead.

use anyhow::{Context, Result};

use crate::setup::Purpose;
use crate::{pages, path, process, say, setup};

/// What `bench` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on to the load generator as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.arguments.iter().any(|argument| argument == "desktop") {
        return desktop(&options.arguments);
    }
    setup::run(&[Purpose::Build, Purpose::Database, Purpose::Bench])?;
    say::step("Building the release programs");
    process::run(process::command("cargo").args([
        "build",
        "--release",
        "-p",
        "miid-gateway",
        "-p",
        "miid-e2e",
    ]))?;
    let release = path::target().join("release");
    let postgres =
        path::postgres_bin().context("PostgreSQL's server programs are gone since setup saw them")?;
    process::run(
        process::command(release.join("miid-bench"))
            .args(&options.arguments)
            .env("MIID_BIN_DIR", &release)
            .env("MIID_PG_BIN_DIR", postgres),
    )
}

/// The wallet's window, as it is released and as the tests run it.
fn desktop(arguments: &[String]) -> Result<()> {
    setup::run(&[Purpose::Build, Purpose::Window, Purpose::Pages, Purpose::Desktop])?;
    pages::WINDOW.build()?;
    let packages = ["-p", "miid-wallet-app", "-p", "miid-wallet", "-p", "miid-gateway"];
    say::step("Building the programs, release and debug");
    process::run(process::command("cargo").args(["build", "--release", "-p", "miid-e2e"]).args(packages))?;
    process::run(process::command("cargo").arg("build").args(packages))?;
    process::run(
        process::command(path::target().join("release/miid-bench"))
            .args(arguments)
            .env("MIID_BIN_DIR", path::target().join("release"))
            .env("MIID_DEBUG_BIN_DIR", path::target().join("debug")),
    )
}
