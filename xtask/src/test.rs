//! `cargo xtask test`: every check there is, part by part. A part that fails does not keep the next ones
//! from running; the table at the end says what became of each.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::postgres::Postgres;
use crate::setup::Purpose;
use crate::{fuzz, package, pages, path, process, say, setup};

/// What `test` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only these parts (and the set-up they need).
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1.., value_name = "PART")]
    only: Vec<Part>,
    /// Say which parts there are, and run none.
    #[arg(long)]
    list: bool,
}

/// The parts in their order: what fails quickly comes first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// rustfmt changes nothing
    Fmt,
    /// the login page and the wallet's window: format, types, tests, build
    Pages,
    /// no lint warns, in any target
    Clippy,
    /// Rust tests, with the stores on SQLite and on PostgreSQL
    Rust,
    /// scenarios with real processes, databases and a browser
    E2e,
    /// scenarios with the wallet's real window, on a desktop of their own
    Desktop,
    /// the .deb is made, installed, used and removed, in a copy of this system
    Package,
    /// a picture of every state of the pages
    Pictures,
    /// a short run of every fuzz target
    Fuzz,
}

/// What became of one part.
struct Line {
    name: String,
    took: Duration,
    outcome: Result<()>,
}

/// Runs the parts; an error unless all of them passed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let parts: Vec<Part> = Part::value_variants()
        .iter()
        .copied()
        .filter(|part| options.only.is_empty() || options.only.contains(part))
        .collect();
    if options.list {
        for part in Part::value_variants() {
            println!("{:<10}{}", part.name(), part.about());
        }
        return Ok(());
    }

    let start = Instant::now();
    let mut purposes: Vec<Purpose> = parts.iter().flat_map(|part| part.purposes()).copied().collect();
    purposes.dedup();
    say::headline("set-up");
    // Not a part: without it the others would fail for reasons that are not theirs.
    setup::run(&purposes)?;

    let mut database = None;
    let mut lines = Vec::new();
    for part in parts {
        say::headline(&format!("{}: {}", part.name(), part.about()));
        let start = Instant::now();
        let outcome = part.run(&mut database);
        process::go_on()?;
        let line = Line { name: part.name(), took: start.elapsed(), outcome };
        line.announce();
        lines.push(line);
    }
    drop(database);
    sum_up(&lines, start.elapsed())
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn about(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    fn purposes(self) -> &'static [Purpose] {
        match self {
            Self::Fmt => &[],
            Self::Clippy => &[Purpose::Build, Purpose::Window, Purpose::Pages],
            Self::Pages => &[Purpose::Pages],
            Self::Rust => &[Purpose::Build, Purpose::Window, Purpose::Pages, Purpose::Database],
            Self::E2e => {
                &[Purpose::Build, Purpose::Window, Purpose::Pages, Purpose::Browser, Purpose::Database]
            }
            Self::Desktop => {
                &[Purpose::Build, Purpose::Window, Purpose::Pages, Purpose::Browser, Purpose::Desktop]
            }
            Self::Package => {
                &[Purpose::Build, Purpose::Window, Purpose::Pages, Purpose::Desktop, Purpose::Package]
            }
            Self::Pictures => &[Purpose::Pages, Purpose::Browser],
            Self::Fuzz => &[Purpose::Build, Purpose::Fuzz],
        }
    }

    fn run(self, database: &mut Option<Postgres>) -> Result<()> {
        match self {
            Self::Fmt => process::run(process::command("cargo").args(["fmt", "--all", "--check"])),
            Self::Pages => check_pages(),
            Self::Clippy => {
                pages::WINDOW.build()?;
                cargo(&["clippy"], &["--all-targets", "--", "-D", "warnings"])
            }
            Self::Rust => rust(database),
            Self::E2e => end_to_end(database),
            Self::Desktop => desktop(),
            Self::Package => package::try_out(),
            Self::Pictures => {
                pages::ALL.iter().try_for_each(pages::Pages::build)?;
                all_of(pages::ALL.iter().map(|pages| pages.script("pictures")))
            }
            Self::Fuzz => fuzz::run(),
        }
    }
}

fn check_pages() -> Result<()> {
    pages::ALL.iter().try_for_each(pages::Pages::install)?;
    let scripts = ["format:check", "check", "test", "build"];
    all_of(pages::ALL.iter().flat_map(|pages| scripts.map(|script| pages.script(script))))
}

/// Runs all of them even where one fails, so that one run shows everything that is wrong.
fn all_of(commands: impl IntoIterator<Item = Command>) -> Result<()> {
    let mut failed = Vec::new();
    for mut command in commands {
        if let Err(error) = process::run(&mut command) {
            process::go_on()?;
            failed.push(format!("{error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!(failed.join("; "));
    }
    Ok(())
}

// One selection of packages and features for every build: cargo unifies features over what is selected, so
// another selection would compile most dependencies a second time.
const ALL: [&str; 2] = ["--workspace", "--all-features"];

fn cargo(verb: &[&str], words: &[&str]) -> Result<()> {
    process::run(process::command("cargo").args(verb).args(ALL).args(words))
}

/// Every program, with the window's pages in it.
pub(crate) fn build_programs() -> Result<()> {
    pages::WINDOW.build()?;
    cargo(&["build"], &["--bins"])
}

fn rust(database: &mut Option<Postgres>) -> Result<()> {
    /// The scenarios have parts of their own.
    const NOT_SCENARIOS: &str = "not (package(miid-e2e) & kind(test))";
    let postgres = started(database)?;
    pages::WINDOW.build()?;
    let mut documentation = process::command("cargo");
    documentation.args(["test", "--doc"]).args(ALL).args(["--", "--quiet"]);
    let mut tests = process::command("cargo");
    if has_nextest() {
        tests.args(["nextest", "run"]).args(ALL).args(["--no-fail-fast", "-E", NOT_SCENARIOS]);
    } else {
        tests
            .args(["test", "--no-fail-fast", "--lib", "--bins", "--tests", "--exclude", "miid-e2e"])
            .args(ALL);
    }
    tests.env("MIID_TEST_POSTGRES_URL", postgres.url());
    all_of([documentation, tests])
}

fn end_to_end(database: &mut Option<Postgres>) -> Result<()> {
    /// Each scenario starts several processes; more at once only makes all of them slow on two cores.
    const AT_ONCE: usize = 4;
    let postgres = started(database)?;
    pages::LOGIN.build()?;
    build_programs()?;
    let mut command = scenarios("scenarios", AT_ONCE);
    let programs =
        path::postgres_bin().context("PostgreSQL's server programs are gone since setup saw them")?;
    process::run(command.env("MIID_TEST_POSTGRES_URL", postgres.url()).env("MIID_PG_BIN_DIR", programs))
}

fn desktop() -> Result<()> {
    /// Each has an X server, a panel, a web view and a browser of its own.
    const AT_ONCE: usize = 2;
    pages::LOGIN.build()?;
    build_programs()?;
    process::run(&mut scenarios("desktop", AT_ONCE))
}

/// The command that runs one of the test programs of `e2e`, on the programs that were built.
pub(crate) fn scenarios(program: &str, at_once: usize) -> Command {
    let at_once = at_once.to_string();
    let mut command = process::command("cargo");
    if has_nextest() {
        let chosen = format!("package(miid-e2e) & binary(={program})");
        command.args(["nextest", "run"]).args(ALL).args(["--no-fail-fast", "-j", &at_once, "-E", &chosen]);
    } else {
        command.args(["test", "--no-fail-fast", "-p", "miid-e2e", "--test", program]);
        command.args(["--", "--test-threads", &at_once]);
    }
    command.env("MIID_BIN_DIR", path::target().join("debug"));
    command
}

/// The one database server of this run, started for the first part that asks.
fn started(database: &mut Option<Postgres>) -> Result<&Postgres> {
    match database {
        Some(running) => Ok(running),
        None => {
            say::step("Starting a private PostgreSQL");
            Ok(database.insert(Postgres::start()?))
        }
    }
}

fn has_nextest() -> bool {
    path::program(&["cargo-nextest"]).is_some()
}

impl Line {
    /// One line at the end of a part.
    fn announce(&self) {
        let time = say::duration(self.took);
        match &self.outcome {
            Ok(()) => eprintln!("{} {} in {time}", say::good("ok"), self.name),
            Err(error) => eprintln!(
                "{} {} after {time}: {error:#}\n   again, alone: cargo xtask test --only {}",
                say::bad("FAILED"),
                self.name,
                self.name
            ),
        }
    }
}

fn sum_up(lines: &[Line], took: Duration) -> Result<()> {
    say::headline(&format!("all of it, in {}", say::duration(took)));
    let (mut passed, mut failed) = (0, 0);
    for line in lines {
        let (result, more) = match &line.outcome {
            Ok(()) => {
                passed += 1;
                (say::good("passed "), String::new())
            }
            Err(error) => {
                failed += 1;
                (say::bad("FAILED "), error.to_string().lines().next().unwrap_or_default().to_owned())
            }
        };
        eprintln!("{:<10}{result}{:>14}   {more}", line.name, say::duration(line.took));
    }
    // The plain closing line, for programs that read it.
    println!("parts: {passed} passed, {failed} failed");
    if failed > 0 {
        bail!("{failed} of {} parts failed; the table above says which", lines.len());
    }
    Ok(())
}
