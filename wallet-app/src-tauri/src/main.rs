//! `miid-wallet-app`: the wallet on the desktop. It forwards and draws; `miid_wallet::desk` decides.
//!
//! 1. [`arguments`]: which folder. A second start for the same folder hands over and ends.
//! 2. The desk is opened, the [`tray`] put up, the [`window`] made (with `--hidden` only once it is wanted).
//! 3. [`events`] carries what the desk says to page, tray and desktop; [`bridge`] carries commands back.
//! 4. Quit, Ctrl-C or a signal: streams are closed, keys wiped.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod arguments;
mod autostart;
mod bridge;
mod browser;
mod clipboard;
#[cfg(test)]
mod commands;
mod deep_link;
mod early;
mod events;
mod forward;
mod handover;
mod notify;
mod panel;
mod run;
mod standing;
mod tray;
mod window;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let began = bridge::Began::now();
    run::log();
    match run::run(arguments::Arguments::parse(), began) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miid-wallet-app: {error}");
            ExitCode::FAILURE
        }
    }
}
