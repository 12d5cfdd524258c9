//! What went wrong with a command, typed: the page has its own words for each code, in two languages, and
//! “wrong passphrase” is never “disk full”.

use miid_protocol::problem::ErrorCode;
use serde::{Serialize, Serializer};

use crate::client::ClientError;
use crate::entropy::EntropyError;
use crate::files::FileError;
use crate::keychain::KeychainError;
use crate::memory::MemoryError;
use crate::policy::PolicyError;
use crate::profile::ProfileError;
use crate::seal::SealError;
use crate::settings::SettingsError;
use crate::vault::VaultError;
use crate::wallet::DecisionError;

/// One word for each way in which a command fails. They do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FaultCode"))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The person mistyped.
    WrongPassphrase,
    /// Too short to protect anything.
    PassphraseTooShort,
    /// The file is not what was written; it was set aside.
    VaultDamaged,
    /// A later program wrote it.
    VaultNewer,
    /// There is one already.
    VaultExists,
    /// The wallet is locked.
    Locked,
    /// No keychain, or it does not give the key.
    KeychainUnavailable,
    /// No room left.
    DiskFull,
    /// The disk, in another way.
    Disk,
    /// Not a name.
    BadName,
    /// There is one of that name.
    NameTaken,
    /// Not a gateway's address.
    BadGateway,
    /// Nothing answers there; nothing was sent.
    GatewayUnreachable,
    /// Somebody has it.
    HandleTaken,
    /// Not a handle.
    BadHandle,
    /// The words are not a key, or another identity's.
    WrongWords,
    /// No such request.
    UnknownRequest,
    /// No such session.
    UnknownSession,
    /// The number has to be typed.
    NumberMissing,
    /// The number was another one; the request is over.
    WrongNumber,
    /// A value that cannot be taken.
    BadValue,
    /// A link of a gateway that nobody here is enrolled with.
    NotOurs,
    /// Not a link to a request.
    BadLink,
    /// Another identity or wallet took it.
    AlreadyClaimed,
    /// The link asks another identity of a step-up.
    OtherIdentity,
    /// The identity is over.
    DidRetired,
    /// Too much at once.
    RateLimited,
    /// It was sent; what became of it is not known.
    Unanswered,
    /// The gateway said no.
    Refused,
    /// The request ended before.
    TooLate,
    /// None of the above; a mistake of ours.
    Internal,
}

/// A fault as the page gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "Fault"))]
pub struct Told {
    /// For the page's own words.
    pub code: Code,
    /// What happened, in English.
    pub message: String,
    /// What to do, in English.
    pub hint: Option<String>,
    /// A file of the person's that was set aside: where it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub path: Option<String>,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The wallet is locked, or was locked meanwhile.
    #[error("the wallet is locked")]
    Locked,
    /// Another vault is here already.
    #[error("there is a wallet here already")]
    VaultExists,
    /// A passphrase is needed to seal a new vault, or the keychain.
    #[error("a new wallet is sealed by a passphrase or by the keychain")]
    NothingToSealWith,
    /// No identity of that name, or none at that gateway.
    #[error("there is no such identity here")]
    UnknownIdentity,
    /// Not a gateway's address.
    #[error("this is not the address of a gateway: https, or http on this computer alone, without a path")]
    BadGateway,
    /// Not a handle.
    #[error("a handle has 3 to 32 characters of a-z 0-9 _ -, and begins and ends with a letter or a digit")]
    BadHandle,
    /// The words are no key.
    #[error("these words are not the key of an identity: {0}")]
    WrongWords(String),
    /// Something that was typed cannot be taken.
    #[error("{0}")]
    BadValue(String),
    /// No such request.
    #[error("there is no such request waiting")]
    UnknownRequest,
    /// A link that is none.
    #[error("this is not a link to a request")]
    BadLink,
    /// A link of a gateway that nobody here is enrolled with.
    #[error("nobody here is enrolled with the gateway at {host}")]
    NotOurs {
        /// Whose.
        host: String,
    },
    /// The address to come back to is none that may be opened.
    #[error("the service's address to return to is none that can be opened")]
    NoReturn,
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A decision.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A worker of ours fell over.
    #[error("something went wrong inside the wallet; what was decided stands")]
    Internal,
}

impl Fault {
    /// The page's word for it.
    pub fn code(&self) -> Code {
        match self {
            Self::Locked => Code::Locked,
            Self::VaultExists => Code::VaultExists,
            Self::NothingToSealWith => Code::PassphraseTooShort,
            Self::UnknownIdentity => Code::BadName,
            Self::BadGateway => Code::BadGateway,
            Self::BadHandle => Code::BadHandle,
            Self::WrongWords(_) => Code::WrongWords,
            Self::BadValue(_) | Self::Profile(_) => Code::BadValue,
            Self::UnknownRequest => Code::UnknownRequest,
            Self::BadLink => Code::BadLink,
            Self::NotOurs { .. } => Code::NotOurs,
            Self::NoReturn => Code::Refused,
            Self::Vault(error) => of_vault(error),
            Self::Decision(error) => of_decision(error),
            Self::File(error) | Self::Settings(SettingsError::File(error)) => of_file(error),
            Self::Settings(SettingsError::Newer { .. }) => Code::VaultNewer,
            Self::Settings(SettingsError::BadValue(_)) => Code::BadValue,
            Self::Internal => Code::Internal,
        }
    }

    /// What to do about it.
    fn hint(&self) -> Option<&'static str> {
        Some(match self.code() {
            Code::WrongPassphrase => "Try again; nothing was changed.",
            Code::PassphraseTooShort => "Choose one with at least 8 characters.",
            Code::VaultDamaged => "Restore your identities from their recovery sheets.",
            Code::VaultNewer => "Update the wallet; the file was left as it is.",
            Code::Locked => "Unlock it and try again.",
            Code::KeychainUnavailable => "Unlock the keychain, or use a passphrase.",
            Code::DiskFull => "Make room and try again; what was there before is unharmed.",
            Code::GatewayUnreachable => "Nothing was sent. Try again in a moment.",
            Code::HandleTaken => "Choose another one.",
            Code::WrongWords => "Compare each word with your recovery sheet.",
            Code::WrongNumber => "This request is over. Start again on the page.",
            Code::Unanswered => "It may have been done: look at your sessions and at the page.",
            Code::OtherIdentity => "Continue as the identity that is signed in there.",
            Code::TooLate => "Start again on the page.",
            Code::RateLimited => "Wait a moment and try again.",
            _ => return None,
        })
    }

    /// Where a damaged file was put.
    fn path(&self) -> Option<String> {
        match self {
            Self::Vault(VaultError::Damaged { aside, .. } | VaultError::WasDamaged { aside }) => {
                Some(aside.display().to_string())
            }
            _ => None,
        }
    }

    /// As the page gets it.
    pub fn told(&self) -> Told {
        let (message, hint) = (self.to_string(), self.hint().map(str::to_owned));
        Told { code: self.code(), message, hint, path: self.path() }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.told().serialize(serializer)
    }
}

fn of_vault(error: &VaultError) -> Code {
    match error {
        VaultError::NotFound { .. } | VaultError::SealedAnew | VaultError::Locked => Code::Locked,
        VaultError::Exists { .. } => Code::VaultExists,
        VaultError::WrongPassphrase => Code::WrongPassphrase,
        VaultError::WrongKey => Code::KeychainUnavailable,
        VaultError::PassphraseTooShort => Code::PassphraseTooShort,
        VaultError::Damaged { .. } | VaultError::WasDamaged { .. } => Code::VaultDamaged,
        VaultError::Newer { .. } => Code::VaultNewer,
        VaultError::NoSuchIdentity(_) | VaultError::BadName => Code::BadName,
        VaultError::NameTaken(_) | VaultError::SameKey(_) => Code::NameTaken,
        VaultError::Full | VaultError::TooManyGateways | VaultError::LastGateway => Code::BadValue,
        VaultError::NotEnrolled(_) => Code::BadGateway,
        VaultError::File(error) => of_file(error),
        VaultError::Keychain(error) => of_keychain(error),
        VaultError::Seal(SealError::WrongKey) => Code::WrongPassphrase,
        VaultError::OtherLid(_) | VaultError::Seal(_) | VaultError::Entropy(EntropyError) => Code::Internal,
    }
}

fn of_keychain(_: &KeychainError) -> Code {
    Code::KeychainUnavailable
}

fn of_file(error: &FileError) -> Code {
    match error {
        FileError::DiskFull { .. } => Code::DiskFull,
        _ => Code::Disk,
    }
}

fn of_decision(error: &DecisionError) -> Code {
    match error {
        DecisionError::UnknownRequest => Code::UnknownRequest,
        DecisionError::UnknownSession => Code::UnknownSession,
        // Another click's decision is on its way.
        DecisionError::InProgress => Code::Unanswered,
        DecisionError::Over => Code::TooLate,
        DecisionError::OtherIdentity => Code::OtherIdentity,
        DecisionError::Policy(PolicyError::NumberMissing | PolicyError::NotTwoDigits) => Code::NumberMissing,
        DecisionError::Policy(_) | DecisionError::Rule(_) => Code::BadValue,
        DecisionError::Unshowable(_) | DecisionError::NoReturn => Code::Refused,
        DecisionError::Client(error) => of_client(error),
        DecisionError::Memory(MemoryError::Vault(error)) => of_vault(error),
        DecisionError::Memory(MemoryError::File(error)) => of_file(error),
    }
}

fn of_client(error: &ClientError) -> Code {
    match error.code() {
        Some(ErrorCode::HandleTaken) => return Code::HandleTaken,
        Some(ErrorCode::AlreadyClaimed) => return Code::AlreadyClaimed,
        Some(ErrorCode::DidRetired) => return Code::DidRetired,
        Some(ErrorCode::RateLimited | ErrorCode::TooManyChallenges | ErrorCode::Busy) => {
            return Code::RateLimited;
        }
        Some(ErrorCode::WrongMatchCode) => return Code::WrongNumber,
        Some(ErrorCode::SessionNotFound) => return Code::UnknownSession,
        Some(
            ErrorCode::ChallengeNotPending
            | ErrorCode::ChallengeNotApproved
            | ErrorCode::ChallengeNotFound
            | ErrorCode::ChallengeExpired,
        ) => return Code::TooLate,
        _ => {}
    }
    match error {
        error if error.may_have_been_done() => Code::Unanswered,
        ClientError::Refused(_) => Code::Refused,
        ClientError::Unreachable { .. } | ClientError::Unexpected { .. } => Code::GatewayUnreachable,
        ClientError::Clock(_) => Code::Refused,
        ClientError::Locked => Code::Locked,
        ClientError::OtherGateway(_) => Code::NotOurs,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_passphrase_is_not_a_full_disk() {
        let path = std::path::PathBuf::from("vault");
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = Fault::from(VaultError::from(FileError::DiskFull { path, source }));
        let wrong = Fault::from(VaultError::WrongPassphrase);
        assert_eq!((full.code(), wrong.code()), (Code::DiskFull, Code::WrongPassphrase));
    }

    #[test]
    fn a_fault_is_an_object_with_a_stable_code() {
        let json = serde_json::to_value(Fault::Locked).expect("json");
        assert_eq!(json["code"], "locked");
        assert_eq!(json["message"], "the wallet is locked");
        assert_eq!(json["hint"], "Unlock it and try again.");
        assert!(serde_json::to_value(Fault::BadLink).expect("json")["hint"].is_null());
    }

    #[test]
    fn a_damaged_vault_says_where_its_file_is_now() {
        let aside = std::path::PathBuf::from("/home/alice/vault.damaged");
        let json = serde_json::to_value(Fault::from(VaultError::Damaged { what: "no JSON", aside }));
        assert_eq!(json.expect("json")["path"], "/home/alice/vault.damaged");
        let other = serde_json::to_value(Fault::Locked).expect("json");
        assert!(other.get("path").is_none());
    }
}
