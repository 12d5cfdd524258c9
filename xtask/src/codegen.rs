//! `cargo xtask codegen`: the tests that say whether a generated file is fresh also write it when asked.

use anyhow::Result;

use crate::{process, say};

/// Writes every generated file anew.
pub(crate) fn run() -> Result<()> {
    say::step("TypeScript types, from protocol");
    process::run(
        process::command("cargo")
            .args(["test", "-p", "miid-protocol", "--features", "typescript", "--test", "typescript"])
            .env("MIID_UPDATE", "1"),
    )?;
    say::step("TypeScript types, from the wallet");
    process::run(
        process::command("cargo")
            .args(["test", "-p", "miid-wallet", "--features", "typescript", "--test", "typescript"])
            .env("MIID_UPDATE", "1"),
    )?;
    say::step("OpenAPI document, from gateway");
    process::run(
        process::command("cargo").args(["test", "-p", "miid-gateway", "openapi"]).env("MIID_UPDATE", "1"),
    )
}
