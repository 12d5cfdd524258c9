//! `miid-wallet`: the wallet on the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    miid_wallet::cli::main()
}
