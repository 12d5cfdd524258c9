//! `cargo xtask bench`: release builds, then the load generator of `e2e`, which pins itself and the
//! server it measures to a core each.

use anyhow::{Context, Result};

use crate::setup::Purpose;
use crate::{path, process, say, setup};

/// What `bench` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Passed on to the load generator as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and measures.
pub(crate) fn run(options: &Options) -> Result<()> {
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
