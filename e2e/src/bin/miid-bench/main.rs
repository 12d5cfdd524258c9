//! `cargo xtask bench`: how fast sign-ins are, what an idle wallet costs, and what the edge costs each request.
//!
//! The gateway runs on the first core, this generator on the second (and PostgreSQL, where it is asked,
//! on the second, too). With `desktop` it is the wallet's window that is measured, on no core in particular.
//! Figures are of one run on one machine: compare within it.

mod desktop;
mod edge;
mod haproxy;
mod http;
mod idle;
mod load;
mod numbers;
mod server;
mod sign_in;

use miid_e2e::postgres::Cluster;
use server::{Server, Store};

/// Result of everything here: a bench that fails says why and ends.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str =
    "miid-bench [sign-ins] [idle] [edge [--only WORD]] | desktop [--seconds N] [--streams N,N] [--rounds N]";

struct Options {
    sign_ins: bool,
    idle: bool,
    edge: bool,
    seconds: u64,
    rounds: usize,
    streams: Vec<usize>,
    /// Of the edge's lines, those that hold this.
    only: String,
}

fn options() -> Result<Options> {
    let mut options = Options {
        sign_ins: false,
        idle: false,
        edge: false,
        seconds: 5,
        rounds: 3,
        streams: vec![1_000, 10_000],
        only: String::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match arg.as_str() {
            "sign-ins" => options.sign_ins = true,
            "idle" => options.idle = true,
            "edge" => options.edge = true,
            "--seconds" => options.seconds = value()?.parse()?,
            "--only" => options.only = value()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--streams" => {
                options.streams =
                    value()?.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
            }
            _ => return Err(USAGE.into()),
        }
    }
    if !options.sign_ins && !options.idle && !options.edge {
        (options.sign_ins, options.idle, options.edge) = (true, true, true);
    }
    Ok(options)
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("desktop") {
        miid_e2e::run(miid_e2e::Kind::Sqlite, desktop::measure);
        return Ok(());
    }
    let options = options()?;
    server::pin_to(1)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    println!("gateway on core 0, load on core 1; {} rounds of {} s each", options.rounds, options.seconds);
    if options.sign_ins {
        println!(
            "\nComplete sign-ins: challenge, event, approval, event, exchange (supersedes the one before)"
        );
        println!("{}", sign_in::HEADING);
        let postgres = Cluster::start_durable().await;
        let stores = [
            ("SQLite, FULL", Store::Sqlite { normal: false }),
            ("SQLite, NORMAL", Store::Sqlite { normal: true }),
            ("PostgreSQL", Store::Postgres(postgres.clone())),
        ];
        for (name, store) in stores {
            for at_once in [1, 8, 32] {
                let mut rounds = Vec::new();
                for _ in 0..options.rounds {
                    let server = Server::start(&store).await?;
                    rounds.push(sign_in::round(&server, at_once, options.seconds).await?);
                }
                println!("{}", sign_in::line(name, at_once, &mut rounds));
            }
        }
    }
    if options.idle {
        println!("\nIdle wallet streams, and one event among them");
        println!("{}", idle::HEADING);
        for &streams in &options.streams {
            let server = Server::start(&Store::Sqlite { normal: false }).await?;
            println!("{}", idle::round(&server, streams).await?);
        }
    }
    if options.edge {
        edge::run(options.rounds, options.seconds, &options.only).await?;
    }
    Ok(())
}
