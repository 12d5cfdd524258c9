//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use miid_protocol::{ClientId, Issuer, SessionId};

use super::failure::EXIT_CODES;

/// Your wallet for signing in with MiID: it holds your identities and asks you before it signs.
#[derive(Debug, Parser)]
#[command(name = "miid-wallet", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The wallet's folder [default: where your system keeps application data]
    #[arg(long, global = true, env = "MIID_WALLET_DIR", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Which identity, by name or DID, where there are several
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// Which gateway, where an identity is enrolled with several; for init, the one to enrol with
    #[arg(long, global = true, value_name = "ISSUER")]
    pub(crate) gateway: Option<Issuer>,
    /// Reads the passphrase from the first line of a file [else MIID_WALLET_PASSPHRASE, else it is asked for]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// For tests: where on loopback the gateway is reached, should that not be its name
    #[arg(long, global = true, hide = true, value_name = "ORIGIN")]
    pub(crate) gateway_address: Option<Issuer>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes an identity, and the wallet where there is none; or enrols an identity with one more gateway
    Init(InitArgs),
    /// Prints your DID, which is your public name
    Did {
        /// Every identity with its name
        #[arg(long)]
        all: bool,
    },
    /// Shows, claims or releases the name that you type on sign-in pages: handle [claim NAME | release]
    Handle(HandleArgs),
    /// Shows or changes what you can share: profile [show | set name=value … | unset name …]
    Profile {
        #[command(subcommand)]
        command: Option<ProfileCommand>,
    },
    /// Enrols an identity with one more gateway, or leaves one
    Enrol {
        /// The gateway, as its operator names it
        issuer: Issuer,
        /// Leaves it, with all that was chosen at its services
        #[arg(long)]
        leave: bool,
    },
    /// Connects, and asks you here when a service wants to sign you in, or to confirm something
    Run(RunArgs),
    /// Opens the link of a page on this computer, and asks you
    Open(OpenArgs),
    /// Lists where you are signed in
    Sessions {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ends a session; whoever uses it is out at once
    Revoke {
        /// Which, as `sessions` lists it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        session_id: Option<SessionId>,
        /// Every one
        #[arg(long)]
        all: bool,
    },
    /// Lists what was asked and what you decided
    History(HistoryArgs),
    /// Shows what is answered or filled in for you, or changes it
    Rules {
        #[command(subcommand)]
        command: Option<RulesCommand>,
    },
    /// Does not ask about a service's requests for a while; without a service it lists those
    Mute {
        /// The service, as `sessions` and `history --json` name it
        service: Option<ClientId>,
        /// For how long, in minutes
        #[arg(long, default_value_t = 60, value_name = "MINUTES")]
        minutes: u32,
        /// The list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Hears a service again
    Unmute {
        /// The service
        service: ClientId,
    },
    /// Prints the recovery sheet: your key in 24 words, to be kept on paper. Asks for the passphrase again
    Sheet(SheetArgs),
    /// Brings an identity back: the 24 words come on standard input
    Restore(InitArgs),
    /// Ends an identity for good, with every session: from this wallet, or from a sheet without any wallet
    Retire(RetireArgs),
    /// Shows the settings, or changes some: settings [set name=value …]
    Settings {
        #[command(subcommand)]
        command: Option<SettingsCommand>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct OpenArgs {
    /// The link, miid://…; `-` reads it from standard input
    #[arg(value_name = "LINK")]
    pub(crate) link: String,
    /// For scripts: prints the address to go back to, and ends, instead of opening a browser
    #[arg(long)]
    pub(crate) print_return: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// As JSON, with the signed statements
    #[arg(long)]
    pub(crate) json: bool,
    /// Only what has all of these words in it: a service, an identity, what happened, why
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Writes all of it as JSON into a new file; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "search", "limit"])]
    pub(crate) export: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Lists them
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Makes one. It says nothing about addressed requests but what is filled in
    Add(RuleArgs),
    /// Takes one away
    Remove {
        /// The service
        service: ClientId,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RuleArgs {
    /// The service
    pub(crate) service: ClientId,
    /// What it does
    #[arg(long, value_enum)]
    pub(crate) kind: RuleKind,
    /// What may be allowed, with commas
    #[arg(long, value_delimiter = ',', value_name = "SCOPES")]
    pub(crate) scopes: Vec<String>,
    /// What may be shared, with commas
    #[arg(long, value_delimiter = ',', value_name = "CLAIMS")]
    pub(crate) claims: Vec<String>,
    /// What may be asked for and stays unshared, with commas
    #[arg(long, value_delimiter = ',', value_name = "CLAIMS")]
    pub(crate) withheld: Vec<String>,
    /// For how long, in days
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    pub(crate) days: u32,
    /// What you call the service
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RuleKind {
    /// Answers links of this service without asking, where you have signed in before
    OneClick,
    /// Fills in what is shared
    Prefill,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SheetArgs {
    /// Writes it into a new file instead, which only you can read
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetireArgs {
    /// A file with the statement, or the whole sheet; `-` is standard input. Needs no wallet
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    pub(crate) statement_file: Option<PathBuf>,
    /// Takes the 24 words on standard input, for the gateway that --gateway names. Needs no wallet
    #[arg(long)]
    pub(crate) words: bool,
    /// The identity's name, typed again, for scripts
    #[arg(long, value_name = "NAME", conflicts_with_all = ["statement_file", "words"])]
    pub(crate) confirm: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Shows them
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Changes some: language, theme, text_size, lock_after_min, notifications, start_at_login, gateway
    Set {
        /// For example lock_after_min=5
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// What you call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Seal the wallet with the desktop's keychain, and fail where there is none
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) keychain: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HandleArgs {
    /// `claim`, `release`, or the handle to claim
    pub(crate) action: Option<String>,
    /// The handle to claim
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Shows it
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Sets fields: name, email, nickname, or any of your own
    Set {
        /// For example name="Alice Kim"
        #[arg(required = true, value_name = "NAME=VALUE")]
        fields: Vec<String>,
    },
    /// Takes fields out
    Unset {
        /// Names of fields
        #[arg(required = true, value_name = "NAME")]
        fields: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Stop after one request is settled: exit code 0 when the service has what you approved, else 1
    #[arg(long)]
    pub(crate) once: bool,
    /// FOR TESTS ONLY: who decides instead of you. `stdin` takes JSON commands, one per line
    #[arg(long, value_enum, value_name = "RULE")]
    pub(crate) approve_with: Option<Driver>,
    /// Prints what happens as JSON, one object per line; words go to standard error then
    #[arg(long)]
    pub(crate) events_json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Driver {
    /// JSON commands on standard input
    Stdin,
}
