//! All of MiID, really running.
//!
//! A scenario gets a [`World`]: a folder and a database of its own, on SQLite or on PostgreSQL. In it
//!
//! 1. programs are started ([`program`]): gateways ([`gateway`]), shops ([`shop`]) and wallets with a
//!    terminal ([`terminal`]), on ports that stay theirs over restarts ([`port`]);
//! 2. people and services act: a [`wallet`] that signs whatever a scenario wants, a [`service`] that talks to
//!    the gateway itself, a [`browser`] with cookies, and a real one ([`chromium`]);
//! 3. what they are told is read from streams ([`sse`]) and answers ([`answer`]);
//! 4. nothing sleeps: a scenario waits for a state with a bound ([`wait`]), so it is as fast as the programs
//!    are and fails where they hang;
//! 5. in the end no secret that anybody was handed may lie about in the clear ([`secrets`]).
//!
//! When a scenario fails, the tails of all logs are printed below its message.

pub mod answer;
pub mod browser;
pub mod chromium;
pub mod clock;
pub mod cut;
pub mod database;
pub mod demo;
pub mod desktop;
pub mod edge;
pub mod forger;
pub mod frames;
pub mod gateway;
pub mod port;
pub mod postgres;
pub mod program;
pub mod secrets;
pub mod service;
pub mod shop;
pub mod sse;
pub mod terminal;
pub mod upstream;
pub mod wait;
pub mod wallet;
pub mod world;

pub use answer::Answer;
pub use browser::Browser;
pub use cut::Cable;
pub use database::Kind;
pub use demo::Demo;
pub use edge::Edge;
pub use forger::Forger;
pub use frames::Frames;
pub use gateway::Gateway;
pub use service::{Login, Renewable, Service};
pub use shop::Shop;
pub use sse::{Event, Stream};
pub use terminal::Terminal;
pub use upstream::Upstream;
pub use wait::eventually;
pub use wallet::Wallet;
pub use world::{World, run};

/// Makes a test on SQLite and one on PostgreSQL of an `async fn name(world: World)`.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[test]
            fn sqlite() {
                $crate::run($crate::Kind::Sqlite, super::$name);
            }
            #[test]
            fn postgres() {
                $crate::run($crate::Kind::Postgres, super::$name);
            }
        }
    )* };
}

/// Makes a test on SQLite of an `async fn name(world: World)` whose claim has nothing to do with the store.
#[macro_export]
macro_rules! on_sqlite {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[test]
            fn sqlite() {
                $crate::run($crate::Kind::Sqlite, super::$name);
            }
        }
    )* };
}

/// Makes a test on PostgreSQL of an `async fn name(world: World)` that needs more than one instance.
#[macro_export]
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => { $(
        mod $name {
            #[test]
            fn postgres() {
                $crate::run($crate::Kind::Postgres, super::$name);
            }
        }
    )* };
}
