//! A short run of every fuzz target in `protocol/fuzz`.
//!
//! Without a sanitizer, so that the toolchain which builds the rest will do and no nightly is needed: what
//! is fuzzed is safe Rust, where panics, overflows and broken promises are what there is to find, and it
//! tries three times as many inputs a second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{path, process, say};

/// How long each target runs: enough to notice a new parser that falls over, not a search.
const SECONDS_EACH: u32 = 15;
const TARGETS: [&str; 5] = ["did", "edge", "jws", "proof", "statement"];

/// Installs cargo-fuzz below `target/tools`, unless it is there.
pub(crate) fn install() -> Result<()> {
    let own = tools();
    if path::program(&["cargo-fuzz"]).is_some() || own.join("bin/cargo-fuzz").exists() {
        return Ok(());
    }
    say::step("Installing cargo-fuzz below target/tools");
    process::run(
        process::command("cargo").args(["install", "--locked", "cargo-fuzz@0.13.2", "--root"]).arg(own),
    )
}

/// Runs every target. What it finds is left in `protocol/fuzz/artifacts`.
pub(crate) fn run() -> Result<()> {
    // All at once and first: a target that does not compile is not one that fell over.
    process::run(&mut cargo_fuzz("build"))?;
    let mut fell = Vec::new();
    for target in TARGETS {
        say::step(&format!("{target}, for {SECONDS_EACH} s"));
        let corpus = seeds(target)?;
        let outcome = process::run(
            cargo_fuzz("run")
                .arg(target)
                .arg(&corpus)
                .args(["--", "-verbosity=0", "-print_funcs=0", "-print_final_stats=1"])
                .args(["-timeout=5", "-max_len=8192", &format!("-max_total_time={SECONDS_EACH}")]),
        );
        process::go_on()?;
        if let Err(error) = outcome {
            say::loud(&format!("{target}: {error:#}"));
            fell.push(target);
        }
    }
    if !fell.is_empty() {
        bail!("{} fell over; the inputs are in protocol/fuzz/artifacts", fell.join(", "));
    }
    Ok(())
}

fn cargo_fuzz(verb: &str) -> Command {
    let mut command = process::command("cargo");
    command
        .args(["fuzz", verb, "--sanitizer", "none", "--fuzz-dir", "protocol/fuzz"])
        .env("PATH", path::with_program_dir(&tools().join("bin")))
        .env("CARGO_TARGET_DIR", path::target().join("fuzz"));
    command
}

/// The folder that a target's corpus grows in, with the protocol's test vectors put there first: every
/// text in them, since what is a token for one target is good noise for another, and the payload of every
/// token, which the targets sign themselves. Beside them what lies in `protocol/fuzz/seeds` for this target.
fn seeds(target: &str) -> Result<PathBuf> {
    let corpus = path::target().join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", process::shown(&corpus)))?;
    let vectors = path::root().join("protocol/tests/vectors");
    let files =
        std::fs::read_dir(&vectors).with_context(|| format!("cannot read {}", process::shown(&vectors)))?;
    let mut texts = BTreeSet::new();
    for file in files.flatten().filter(|file| file.path().extension().is_some_and(|end| end == "json")) {
        collect(&read_json(&file.path())?, &mut texts);
    }
    for (number, text) in texts.iter().enumerate() {
        let file = corpus.join(format!("vector-{number:04}"));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", process::shown(&file)))?;
    }
    let own = path::root().join("protocol/fuzz/seeds").join(target);
    for seed in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let file = corpus.join(seed.file_name());
        std::fs::copy(seed.path(), &file)
            .with_context(|| format!("cannot write {}", process::shown(&file)))?;
    }
    Ok(corpus)
}

fn collect(value: &serde_json::Value, texts: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            texts.extend(text.split('.').nth(1).and_then(base64url));
            texts.insert(text.clone());
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        serde_json::Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        _ => {}
    }
}

/// The text behind base64url, where it is one. A seed that is lost here would only be found later.
fn base64url(encoded: &str) -> Option<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0u32);
    for digit in encoded.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

fn read_json(file: &Path) -> Result<serde_json::Value> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", process::shown(file)))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", process::shown(file)))
}

fn tools() -> PathBuf {
    path::target().join("tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_gives_the_text_behind_it() {
        assert_eq!(base64url("eyJpc3MiOiJ4In0").as_deref(), Some(r#"{"iss":"x"}"#));
        assert_eq!(base64url("not base64url"), None);
    }
}
