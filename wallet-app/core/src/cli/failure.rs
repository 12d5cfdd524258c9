//! What goes wrong on the command line: one line, a hint, and an exit code that means something.

use std::process::ExitCode;

use crate::client::ClientError;
use crate::entropy::EntropyError;
use crate::files::FileError;
use crate::keychain::KeychainError;
use crate::memory::MemoryError;
use crate::profile::ProfileError;
use crate::recovery::CannotSign;
use crate::vault::VaultError;
use crate::wallet::DecisionError;

use super::words::Words;

/// For `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 something failed; 2 wrong usage; 3 wrong passphrase; 4 the gateway cannot be reached;
5 the gateway refused; 6 the wallet's file is damaged, or newer than this program; 7 no such wallet or identity.";

/// One failure.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    kind: &'static str,
    line: String,
    hint: Option<String>,
}

impl Failure {
    /// Something failed.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self { code: 1, kind: "", line: line.into(), hint: None }
    }

    /// It was called wrongly.
    pub(crate) fn usage(line: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(line) }.hint(hint)
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on standard error.
    pub(crate) fn report(self, words: Words) -> ExitCode {
        match (words.failure(self.kind), self.hint) {
            (Some((line, hint)), _) => eprintln!("miid-wallet: {line}\n  {hint}"),
            (None, Some(hint)) => eprintln!("miid-wallet: {}\n  {hint}", self.line),
            (None, None) => eprintln!("miid-wallet: {}", self.line),
        }
        ExitCode::from(self.code)
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            VaultError::NotFound { .. } => {
                failure.code(7).kind("no_wallet").hint("make one: miid-wallet init --name <NAME>")
            }
            VaultError::WrongPassphrase => {
                failure.code(3).kind("wrong_passphrase").hint("try again; nothing was changed")
            }
            VaultError::WrongKey => {
                failure.code(3).hint("was the wallet's folder copied from another computer?")
            }
            VaultError::Damaged { .. } | VaultError::WasDamaged { .. } => failure
                .code(6)
                .hint("restore the folder from a backup, or make a new wallet with miid-wallet init"),
            VaultError::Newer { .. } => {
                failure.code(6).hint("update miid-wallet; the file was left as it is")
            }
            VaultError::NoSuchIdentity(_) => failure.code(7).hint("see them all: miid-wallet did --all"),
            VaultError::NameTaken(_) => failure.hint("choose another with --name"),
            VaultError::PassphraseTooShort | VaultError::BadName => failure.code(2),
            VaultError::SameKey(_) => failure.code(2).hint("see them all: miid-wallet did --all"),
            VaultError::NotEnrolled(_) | VaultError::LastGateway | VaultError::TooManyGateways => {
                failure.code(2)
            }
            VaultError::OtherLid(_) => failure.code(2).hint("leave --keychain and --passphrase-file away"),
            VaultError::File(error) => error.into(),
            VaultError::Keychain(error) => error.into(),
            _ => failure,
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            FileError::DiskFull { .. } => failure.hint("make room and try again"),
            FileError::NotAllowed { .. } => {
                failure.hint("does the folder belong to you? another one: --dir DIR")
            }
            FileError::Exists { .. } => failure.code(2).hint("nothing was written over; name another file"),
            FileError::NotPrivate { path } => failure.hint(format!("chmod 700 {}", path.display())),
            FileError::Io { .. } => failure,
        }
    }
}

impl From<KeychainError> for Failure {
    fn from(error: KeychainError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            KeychainError::None => failure.hint("use a passphrase: leave --keychain away"),
            KeychainError::Locked => failure.hint("unlock it and try again"),
            KeychainError::Missing => failure.hint("was the wallet's folder copied from another computer?"),
            KeychainError::Failed(source) => failure.hint(source.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(error.to_string());
        match &error {
            ClientError::Unreachable { .. } | ClientError::AnswerLost(_) | ClientError::NoAnswer(_) => {
                failure.code(4).kind("unreachable").hint("is it running, and is its name right? (--gateway)")
            }
            ClientError::Unexpected { .. } => failure.code(4).hint("is that the right address? (--gateway)"),
            ClientError::Refused(refusal) => {
                let code = refusal.problem.code;
                match refusal.retry_after {
                    Some(wait) => {
                        failure.code(5).hint(format!("{code}; try again in {} s", wait.as_secs().max(1)))
                    }
                    None => failure.code(5).hint(code.as_str()),
                }
            }
            ClientError::OtherGateway(_) => failure.code(2).kind("not_ours").hint("nothing was sent"),
            ClientError::Clock(_) => failure.hint("set this computer's clock"),
            _ => failure,
        }
    }
}

impl From<DecisionError> for Failure {
    fn from(error: DecisionError) -> Self {
        match error {
            DecisionError::Client(error) => error.into(),
            DecisionError::Memory(MemoryError::Vault(error)) => error.into(),
            DecisionError::Memory(MemoryError::File(error)) => error.into(),
            DecisionError::OtherIdentity => Self::new(error.to_string())
                .code(5)
                .hint("nothing was sent to it; open the link again with --identity NAME"),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        DecisionError::from(error).into()
    }
}

impl From<CannotSign> for Failure {
    fn from(error: CannotSign) -> Self {
        Self::new(error.to_string())
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        Self::new(error.to_string()).code(2)
    }
}

impl From<EntropyError> for Failure {
    fn from(error: EntropyError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
