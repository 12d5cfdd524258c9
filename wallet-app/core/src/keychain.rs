//! The desktop's own keychain (Secret Service, macOS Keychain, Windows Credential Manager), where there is
//! one. It keeps the key that seals the vault, never the identities themselves: those would otherwise be as
//! many entries as one has names, and could not move with the file.

use keyring::{Entry, Error};
use zeroize::Zeroizing;

/// What our entries are filed under.
const SERVICE: &str = "miid-wallet";

/// Why the keychain did not help.
#[derive(Debug, thiserror::Error)]
pub enum KeychainError {
    /// No keychain here: a server, a bare terminal. Use a passphrase.
    #[error("this desktop has no keychain that the wallet can use")]
    None,
    /// It is there and locked.
    #[error("the keychain is locked")]
    Locked,
    /// It has nothing under that name.
    #[error("the keychain does not hold this wallet's key")]
    Missing,
    /// Something else.
    #[error("the keychain failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Keeps one key of 32 bytes per name. A seam: tests and other stores come in here.
///
/// The calls block, also on a person who is asked to unlock their keychain: not for an async task.
pub trait KeyStore: Send + Sync {
    /// Keeps a key, in place of an earlier one.
    fn store(&self, entry: &str, key: &[u8; 32]) -> Result<(), KeychainError>;
    /// Gives it back.
    fn load(&self, entry: &str) -> Result<Zeroizing<[u8; 32]>, KeychainError>;
    /// Forgets it; nothing there is fine.
    fn remove(&self, entry: &str) -> Result<(), KeychainError>;
}

/// The platform's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemKeychain;

impl KeyStore for SystemKeychain {
    fn store(&self, entry: &str, key: &[u8; 32]) -> Result<(), KeychainError> {
        Ok(Entry::new(SERVICE, entry)?.set_secret(key)?)
    }

    fn load(&self, entry: &str) -> Result<Zeroizing<[u8; 32]>, KeychainError> {
        let secret = Zeroizing::new(Entry::new(SERVICE, entry)?.get_secret()?);
        let key: [u8; 32] = secret.as_slice().try_into().map_err(|_| KeychainError::Missing)?;
        Ok(Zeroizing::new(key))
    }

    fn remove(&self, entry: &str) -> Result<(), KeychainError> {
        match Entry::new(SERVICE, entry)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

impl From<Error> for KeychainError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoDefaultStore | Error::NotSupportedByStore(_) => Self::None,
            Error::NoStorageAccess(_) => Self::Locked,
            Error::NoEntry => Self::Missing,
            // These carry the secret's bytes: they end here.
            Error::BadEncoding(_) | Error::BadDataFormat(..) => Self::Missing,
            other => Self::Failed(Box::new(other)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    /// A keychain in memory, which can be locked.
    #[derive(Default)]
    pub(crate) struct Drawer {
        pub(crate) keys: Mutex<HashMap<String, [u8; 32]>>,
    }

    impl KeyStore for Drawer {
        fn store(&self, entry: &str, key: &[u8; 32]) -> Result<(), KeychainError> {
            self.keys.lock().expect("lock").insert(entry.to_owned(), *key);
            Ok(())
        }
        fn load(&self, entry: &str) -> Result<Zeroizing<[u8; 32]>, KeychainError> {
            let keys = self.keys.lock().expect("lock");
            keys.get(entry).map(|key| Zeroizing::new(*key)).ok_or(KeychainError::Missing)
        }
        fn remove(&self, entry: &str) -> Result<(), KeychainError> {
            self.keys.lock().expect("lock").remove(entry);
            Ok(())
        }
    }

    /// Where there is a keychain it must work, and where there is none it must say so cleanly. Which of the
    /// two holds depends on the machine, so nothing is stored in a real one: only a missing entry is asked for.
    #[test]
    fn the_platforms_keychain_answers_or_says_that_it_is_not_there() {
        let answer = SystemKeychain.load("a name that no wallet uses");
        assert!(
            matches!(answer, Err(KeychainError::None | KeychainError::Missing | KeychainError::Locked)),
            "{:?}",
            answer.err()
        );
    }
}
