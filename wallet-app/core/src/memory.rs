//! What a running wallet knows about its person and writes down: the seam between [`Wallet`] and the disk.
//!
//! [`Wallet`]: crate::Wallet

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miid_protocol::{Handle, Issuer, Timestamp};

use crate::files::FileError;
use crate::history::{Entry, History};
use crate::profile::Profile;
use crate::vault::{Services, Vault, VaultError};

/// Something could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// In the vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// In the history.
    #[error(transparent)]
    File(#[from] FileError),
}

/// One identity's memory. The calls may touch the disk, for milliseconds.
pub trait Memory: Send + Sync {
    /// What the person says about themselves, now.
    fn profile(&self) -> Result<Profile, MemoryError>;
    /// What they chose at each service, now.
    fn services(&self) -> Result<Services, MemoryError>;
    /// Changes what they chose, in one step that no other program comes between.
    fn change_services(&self, change: &mut dyn FnMut(&mut Services)) -> Result<(), MemoryError>;
    /// Remembers the handle held at a gateway.
    fn hold(&self, issuer: &Issuer, handle: Option<Handle>) -> Result<(), MemoryError>;
    /// Remembers that a gateway knows the identity as ended.
    fn retired(&self, issuer: &Issuer, at: Timestamp) -> Result<(), MemoryError>;
    /// Writes a line of history.
    fn record(&self, entry: &Entry) -> Result<(), MemoryError>;
}

/// In the vault and the history of a folder.
pub struct VaultMemory {
    vault: Arc<Vault>,
    history: History,
    name: String,
}

impl VaultMemory {
    /// Of the identity with this name.
    pub fn new(vault: Arc<Vault>, name: &str) -> Self {
        let history = History::new(vault.dir());
        Self { vault, history, name: name.to_owned() }
    }
}

impl Memory for VaultMemory {
    fn profile(&self) -> Result<Profile, MemoryError> {
        Ok(self.vault.look(&self.name, |record| record.profile.clone())?)
    }

    fn services(&self) -> Result<Services, MemoryError> {
        Ok(self.vault.look(&self.name, |record| record.services.clone())?)
    }

    fn change_services(&self, change: &mut dyn FnMut(&mut Services)) -> Result<(), MemoryError> {
        self.vault.update(&self.name, |record| {
            change(&mut record.services);
            Ok(())
        })
    }

    fn hold(&self, issuer: &Issuer, handle: Option<Handle>) -> Result<(), MemoryError> {
        self.vault.update(&self.name, |record| {
            if let Some(enrolment) = record.enrolment(issuer) {
                enrolment.handle = handle;
            }
            Ok(())
        })
    }

    fn retired(&self, issuer: &Issuer, at: Timestamp) -> Result<(), MemoryError> {
        self.vault.update(&self.name, |record| {
            if let Some(enrolment) = record.enrolment(issuer) {
                enrolment.retired_at.get_or_insert(at);
            }
            Ok(())
        })
    }

    fn record(&self, entry: &Entry) -> Result<(), MemoryError> {
        Ok(self.history.append(entry)?)
    }
}

/// Nowhere: for tests and benches, and for an identity that lives as long as its program.
#[derive(Default)]
pub struct PassingMemory(Mutex<Passing>);

#[derive(Default)]
struct Passing {
    profile: Profile,
    services: Services,
    history: Vec<Entry>,
    retired: Vec<(Issuer, Timestamp)>,
}

impl PassingMemory {
    /// Begins with a profile.
    pub fn new(profile: Profile) -> Self {
        Self(Mutex::new(Passing { profile, ..Passing::default() }))
    }

    /// What was recorded.
    pub fn history(&self) -> Vec<Entry> {
        self.lock().history.clone()
    }

    /// Which gateways know the identity as ended, and since when.
    pub fn retirements(&self) -> Vec<(Issuer, Timestamp)> {
        self.lock().retired.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Passing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory for PassingMemory {
    fn profile(&self) -> Result<Profile, MemoryError> {
        Ok(self.lock().profile.clone())
    }

    fn services(&self) -> Result<Services, MemoryError> {
        Ok(self.lock().services.clone())
    }

    fn change_services(&self, change: &mut dyn FnMut(&mut Services)) -> Result<(), MemoryError> {
        change(&mut self.lock().services);
        Ok(())
    }

    fn hold(&self, _: &Issuer, _: Option<Handle>) -> Result<(), MemoryError> {
        Ok(())
    }

    fn retired(&self, issuer: &Issuer, at: Timestamp) -> Result<(), MemoryError> {
        self.lock().retired.push((issuer.clone(), at));
        Ok(())
    }

    fn record(&self, entry: &Entry) -> Result<(), MemoryError> {
        self.lock().history.push(entry.clone());
        Ok(())
    }
}
