//! What goes wrong with a vault.

use std::path::PathBuf;

use miid_protocol::Issuer;

use crate::entropy::EntropyError;
use crate::files::FileError;
use crate::keychain::KeychainError;
use crate::seal::SealError;

/// What goes wrong with a vault, and whose doing it is.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nothing here yet.
    #[error("there is no wallet in {dir}")]
    NotFound {
        /// The wallet's folder.
        dir: PathBuf,
    },
    /// There is one already.
    #[error("there is a wallet in {dir} already")]
    Exists {
        /// The wallet's folder.
        dir: PathBuf,
    },
    /// The person mistyped.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The keychain's key does not open this file.
    #[error("the keychain holds another key than the one this wallet was sealed with")]
    WrongKey,
    /// It needs the other kind of key.
    #[error("this wallet is sealed by {0}")]
    OtherLid(&'static str),
    /// Too short to protect anything.
    #[error("a passphrase has at least 8 characters")]
    PassphraseTooShort,
    /// The file is not what was written.
    #[error("the wallet's file is damaged ({what}); it was set aside as {aside}, unchanged")]
    Damaged {
        /// What is wrong with it.
        what: &'static str,
        /// Where it is now.
        aside: PathBuf,
    },
    /// There is none, and one that was damaged lies beside: it was set aside before.
    #[error("the wallet's file was damaged; it was set aside as {aside}, unchanged, and there is no other")]
    WasDamaged {
        /// Where it is.
        aside: PathBuf,
    },
    /// A later program wrote it.
    #[error("the wallet's file has version {found}, and this program knows versions up to {known}")]
    Newer {
        /// Its version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Somebody sealed it anew while we had it open.
    #[error("the wallet was sealed with another key meanwhile")]
    SealedAnew,
    /// No identity of that name.
    #[error("there is no identity called {0}")]
    NoSuchIdentity(String),
    /// Its keys were wiped.
    #[error("the wallet is locked")]
    Locked,
    /// That key lives here under a name.
    #[error("that identity is in this wallet already, as {0}")]
    SameKey(String),
    /// Not enrolled there.
    #[error("this identity is not enrolled with {0}")]
    NotEnrolled(Issuer),
    /// An identity without a gateway could not be found again.
    #[error("an identity stays with one gateway at least")]
    LastGateway,
    /// Enough is enough.
    #[error("an identity is enrolled with at most 16 gateways")]
    TooManyGateways,
    /// Two identities cannot have one name.
    #[error("there is an identity called {0} already")]
    NameTaken(String),
    /// Not a name.
    #[error("a name has 1 to 60 characters on one line, none of them hidden")]
    BadName,
    /// Enough is enough.
    #[error("a wallet holds at most 64 identities")]
    Full,
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keychain.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// The seal itself.
    #[error(transparent)]
    Seal(SealError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl From<SealError> for VaultError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Entropy(error) => Self::Entropy(error),
            error => Self::Seal(error),
        }
    }
}
