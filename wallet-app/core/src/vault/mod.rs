//! The vault: one file that holds every identity with its key, its gateways, its profile, and what it chose at
//! which service.
//!
//! ```text
//! {"format":"miid-vault","version":2,"lid":{…},"identities":[{"name":…,"did":…}]}   in the clear
//! base64url(nonce · XChaCha20-Poly1305(content; the line above as associated data))
//! base64url(SHA-256(both lines))
//! ```
//!
//! The first line says who lives here before anything is opened. The last one tells a damaged file from a
//! wrong passphrase, which no AEAD can; it protects from accidents, the seal protects from people.
//!
//! A change is: take the lock, read, change, write beside, rename. Nothing is kept in memory between two
//! changes but the key, so a command line beside a running wallet loses nothing.

mod error;
mod file;
mod identities;
mod record;
mod services;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miid_protocol::{Did, jws};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::entropy::{self, Entropy};
use crate::files::{self, Lock};
use crate::identity::Identity;
use crate::keychain::KeyStore;
use crate::scrub::scrubbed;
use crate::seal::{Cost, Lid, Passphrase, SealError, SealKey};
use file::{FILE, FORMAT, Header, VaultFile, damaged, migrate, read};
use record::Content;

pub use error::VaultError;
pub use file::VERSION;
pub use identities::{MAX_IDENTITIES, MAX_NAME, Newcomer};
pub use record::{Enrolment, MAX_GATEWAYS, Record};
pub use services::{Choice, MAX_CHOICES, MAX_KNOWN, MAX_MUTES, MAX_RULES, Services};

/// An identity as anybody who may read the file sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// What the person calls it.
    pub name: String,
    /// Its DID.
    pub did: Did,
}

/// What opens a vault, or will seal a new one.
pub enum Opener<'a> {
    /// What the person typed.
    Passphrase(&'a Passphrase),
    /// The desktop's keychain.
    Keychain(&'a dyn KeyStore),
}

/// How a vault is sealed, for who has to ask for the right thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedBy {
    /// A passphrase.
    Passphrase,
    /// The keychain.
    Keychain,
}

impl SealedBy {
    fn of(lid: &Lid) -> Self {
        match lid {
            Lid::Passphrase { .. } => Self::Passphrase,
            Lid::Keychain { .. } => Self::Keychain,
        }
    }
}

/// An open vault: the folder and the key. Nothing else that is sealed stays in memory.
pub struct Vault {
    dir: PathBuf,
    lid: Lid,
    /// `None` once it was [locked](Vault::lock). Boxed, so that it lies in one place and is wiped there.
    key: Mutex<Option<Box<SealKey>>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Vault {
    /// What can be said without opening it: how it is sealed and who lives there. Not yet protected by the
    /// seal, so nothing is decided by it.
    pub fn outline(dir: &Path, clock: &dyn Clock) -> Result<(SealedBy, Vec<Outline>), VaultError> {
        let file = read(dir, None, clock)?;
        Ok((SealedBy::of(&file.header.lid), file.header.identities))
    }

    /// Makes an empty vault, and never in the place of another.
    pub fn create(
        dir: &Path,
        opener: &Opener<'_>,
        cost: Cost,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        Self::make(dir, opener, cost, clock, entropy, |_, _| Ok(())).map(|(vault, ())| vault)
    }

    /// Makes a vault with somebody in it, in one step: where that fails there is none, and it can be tried again.
    pub fn create_with(
        dir: &Path,
        opener: &Opener<'_>,
        cost: Cost,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        first: &Newcomer<'_>,
    ) -> Result<(Self, Outline), VaultError> {
        Self::make(dir, opener, cost, clock, entropy, |vault, content| vault.newcomer(first)?.enter(content))
    }

    fn make<T>(
        dir: &Path,
        opener: &Opener<'_>,
        cost: Cost,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        fill: impl FnOnce(&Self, &mut Content) -> Result<T, VaultError>,
    ) -> Result<(Self, T), VaultError> {
        files::private_dir(dir)?;
        let lock = Lock::take(dir)?;
        if dir.join(FILE).exists() {
            return Err(VaultError::Exists { dir: dir.to_owned() });
        }
        let (lid, key) = match opener {
            Opener::Passphrase(passphrase) if passphrase.is_too_short() => {
                return Err(VaultError::PassphraseTooShort);
            }
            Opener::Passphrase(passphrase) => {
                let salt = jws::encode(&entropy::bytes::<16>(&*entropy)?);
                let key = SealKey::derive(passphrase, cost, &salt)?;
                (Lid::Passphrase { argon2id: cost, salt }, key)
            }
            Opener::Keychain(store) => {
                let entry = format!("vault {}", entropy::jti(&*entropy)?);
                let key = SealKey::generate(&*entropy)?;
                store.store(&entry, key.bytes())?;
                (Lid::Keychain { entry }, key)
            }
        };
        let key = Mutex::new(Some(Box::new(key)));
        let vault = Self { dir: dir.to_owned(), lid, key, clock, entropy };
        let filled = scrubbed(|| {
            let mut content = Content::default();
            let filled = fill(&vault, &mut content)?;
            vault.write(&lock, &content)?;
            Ok(filled)
        });
        match filled {
            Ok(filled) => Ok((vault, filled)),
            Err(error) => {
                vault.forget_key(opener);
                Err(error)
            }
        }
    }

    /// Nothing was sealed: the keychain does not keep a key to nothing.
    fn forget_key(&self, opener: &Opener<'_>) {
        let is_none_there = self.dir.join(FILE).try_exists().is_ok_and(|there| !there);
        if let (Lid::Keychain { entry }, Opener::Keychain(store), true) = (&self.lid, opener, is_none_there)
            && let Err(error) = store.remove(entry)
        {
            tracing::warn!(%error, "a key to nothing stays in the keychain");
        }
    }

    /// Opens a vault.
    pub fn open(
        dir: &Path,
        opener: &Opener<'_>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        let file = read(dir, None, &*clock)?;
        let key = match (&file.header.lid, opener) {
            (Lid::Passphrase { argon2id, salt }, Opener::Passphrase(passphrase)) => {
                SealKey::derive(passphrase, *argon2id, salt)?
            }
            (Lid::Keychain { entry }, Opener::Keychain(store)) => SealKey::new(store.load(entry)?),
            (Lid::Passphrase { .. }, _) => return Err(VaultError::OtherLid("a passphrase")),
            (Lid::Keychain { .. }, _) => return Err(VaultError::OtherLid("the desktop's keychain")),
        };
        let key = Mutex::new(Some(Box::new(key)));
        let vault = Self { dir: dir.to_owned(), lid: file.header.lid.clone(), key, clock, entropy };
        scrubbed(|| vault.unseal(&file, None).map(drop))?;
        Ok(vault)
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Wipes the key. What was sealed stays sealed, every further call is [`VaultError::Locked`], and there is no
    /// way back but to [`open`](Self::open) it again.
    pub fn lock(&self) {
        *self.key() = None;
    }

    /// Whether the key was wiped.
    pub fn is_locked(&self) -> bool {
        self.key().is_none()
    }

    /// What opens it.
    pub fn sealed_by(&self) -> SealedBy {
        SealedBy::of(&self.lid)
    }

    /// Whether that is the passphrase: "type it again" before the key is shown or ended. A vault that the keychain
    /// opens has none.
    pub fn verify(&self, passphrase: &Passphrase) -> Result<(), VaultError> {
        let Lid::Passphrase { argon2id, salt } = &self.lid else {
            return Err(VaultError::OtherLid("the desktop's keychain"));
        };
        let derived = SealKey::derive(passphrase, *argon2id, salt)?;
        match &*self.key() {
            None => Err(VaultError::Locked),
            Some(key) if key.is(&derived) => Ok(()),
            Some(_) => Err(VaultError::WrongPassphrase),
        }
    }

    /// Who lives here.
    pub fn identities(&self) -> Result<Vec<Outline>, VaultError> {
        scrubbed(|| Ok(self.content()?.identities.iter().map(Record::outline).collect()))
    }

    /// The identity of that name, ready to sign.
    pub fn identity(&self, name: &str) -> Result<Identity, VaultError> {
        scrubbed(|| Ok(self.content()?.record(name)?.identity()))
    }

    /// Looks at what belongs to an identity.
    pub fn look<T>(&self, name: &str, look: impl FnOnce(&Record) -> T) -> Result<T, VaultError> {
        scrubbed(|| Ok(look(self.content()?.record(name)?)))
    }

    /// Changes what belongs to an identity; nothing is written where `change` refuses.
    pub fn update<T, E: From<VaultError>>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Record) -> Result<T, E>,
    ) -> Result<T, E> {
        self.change(|content| {
            let found = content.identities.iter_mut().find(|record| record.name == name);
            change(found.ok_or_else(|| VaultError::NoSuchIdentity(name.to_owned()))?)
        })
    }

    fn change<T, E: From<VaultError>>(
        &self,
        change: impl FnOnce(&mut Content) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock = Lock::take(&self.dir).map_err(VaultError::from)?;
        scrubbed(|| {
            let mut content = self.content_under(Some(&lock))?;
            let result = change(&mut content)?;
            self.write(&lock, &content)?;
            Ok(result)
        })
    }

    fn content(&self) -> Result<Content, VaultError> {
        self.content_under(None)
    }

    fn content_under(&self, lock: Option<&Lock>) -> Result<Content, VaultError> {
        self.unseal(&read(&self.dir, lock, &*self.clock)?, lock)
    }

    fn unseal(&self, file: &VaultFile, lock: Option<&Lock>) -> Result<Content, VaultError> {
        if file.header.lid != self.lid {
            return Err(VaultError::SealedAnew);
        }
        let key = self.key();
        let key = key.as_ref().ok_or(VaultError::Locked)?;
        let plain = key.open(&file.header_line, &file.sealed).map_err(|e| match (e, &self.lid) {
            (SealError::WrongKey, Lid::Passphrase { .. }) => VaultError::WrongPassphrase,
            (SealError::WrongKey, Lid::Keychain { .. }) => VaultError::WrongKey,
            (e, _) => e.into(),
        })?;
        let damaged = |what| damaged(&self.dir, lock, what, file, &*self.clock);
        let content = migrate(&plain, file.header.version);
        let content = content.ok_or_else(|| damaged("its content is not what it should be"))?;
        if content.identities.iter().map(Record::outline).ne(file.header.identities.iter().cloned()) {
            return Err(damaged("its list of identities does not fit its content"));
        }
        Ok(content)
    }

    fn key(&self) -> MutexGuard<'_, Option<Box<SealKey>>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, _lock: &Lock, content: &Content) -> Result<(), VaultError> {
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            lid: self.lid.clone(),
            identities: content.identities.iter().map(Record::outline).collect(),
        };
        let Ok(header) = serde_json::to_string(&header) else { unreachable!("plain structs serialise") };
        let sealed = {
            let key = self.key();
            let key = key.as_ref().ok_or(VaultError::Locked)?;
            key.seal(header.as_bytes(), &content.to_json(), &*self.entropy)?
        };
        let mut text = format!("{header}\n{}\n", jws::encode(&sealed));
        let sum = jws::digest(text.as_bytes());
        text.push_str(&sum);
        text.push('\n');
        Ok(files::replace(&self.dir.join(FILE), text.as_bytes())?)
    }
}
