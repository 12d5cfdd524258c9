//! Who lives in a vault: made, restored from a sheet, enrolled, removed.

use miid_protocol::{Issuer, text};
use zeroize::Zeroizing;

use super::record::{Record, Seed};
use super::{Content, Enrolment, Outline, Services, Vault, VaultError};
use crate::profile::Profile;
use crate::recovery::{CannotSign, RecoverySheet, RecoveryWords, RetireStatement};
use crate::scrub::scrubbed;

/// Most identities in one vault.
pub const MAX_IDENTITIES: usize = 64;
/// Longest name of an identity, in characters.
pub const MAX_NAME: usize = 60;

/// An identity that is to live in a vault.
#[derive(Clone, Copy)]
pub struct Newcomer<'a> {
    /// What the person calls it.
    pub name: &'a str,
    /// The words of its recovery sheet; absent for a new one.
    pub words: Option<&'a RecoveryWords>,
    /// Where it is enrolled.
    pub gateway: &'a Issuer,
}

impl Vault {
    /// Makes a new identity, enrolled with one gateway.
    pub fn add_identity(&self, name: &str, gateway: &Issuer) -> Result<Outline, VaultError> {
        self.admit(&Newcomer { name, words: None, gateway })
    }

    /// Brings an identity back from its words: the same DID, with nothing but one gateway. Its profile, its
    /// choices and its rules were on the other computer. Whoever types the words has its sheet.
    pub fn restore_identity(
        &self,
        name: &str,
        words: &RecoveryWords,
        gateway: &Issuer,
    ) -> Result<Outline, VaultError> {
        self.admit(&Newcomer { name, words: Some(words), gateway })
    }

    /// Takes an identity in, new or brought back.
    pub fn admit(&self, newcomer: &Newcomer<'_>) -> Result<Outline, VaultError> {
        scrubbed(|| {
            let record = self.newcomer(newcomer)?;
            self.change(|content| record.enter(content))
        })
    }

    /// Its record, which is in no vault yet.
    pub(super) fn newcomer(&self, newcomer: &Newcomer<'_>) -> Result<Record, VaultError> {
        let name = newcomer.name.trim();
        if name.is_empty() || name.starts_with("did:") || !text::is_displayable(name, MAX_NAME) {
            return Err(VaultError::BadName);
        }
        let created_at = self.clock.now();
        let seed = match newcomer.words {
            Some(words) => Box::new(words.seed()),
            None => {
                let mut seed = Box::new(Zeroizing::new([0; 32]));
                self.entropy.fill(&mut **seed)?;
                seed
            }
        };
        Ok(Record {
            name: name.to_owned(),
            created_at,
            seed: Seed(seed),
            sheet_kept_at: newcomer.words.map(|_| created_at),
            gateways: vec![Enrolment::new(newcomer.gateway.clone())],
            profile: Profile::default(),
            services: Services::default(),
        })
    }

    /// Enrols an identity with one more gateway.
    pub fn enrol(&self, name: &str, gateway: &Issuer) -> Result<(), VaultError> {
        self.update(name, |record| record.enrol(gateway))
    }

    /// Leaves a gateway, with all that was chosen at its services.
    pub fn unenrol(&self, name: &str, gateway: &Issuer) -> Result<(), VaultError> {
        self.update(name, |record| record.unenrol(gateway))
    }

    /// Takes an identity out, with its key: without its sheet nobody can bring it back.
    pub fn remove_identity(&self, name: &str) -> Result<(), VaultError> {
        self.change(|content| {
            let before = content.identities.len();
            content.identities.retain(|record| record.name != name);
            if content.identities.len() == before {
                return Err(VaultError::NoSuchIdentity(name.to_owned()));
            }
            Ok(())
        })
    }

    /// Notes that its owner has its recovery sheet.
    pub fn keep_sheet(&self, name: &str) -> Result<(), VaultError> {
        let now = self.clock.now();
        self.update(name, |record| {
            record.sheet_kept_at = Some(now);
            Ok(())
        })
    }

    /// Everything that goes on paper. Ask for the passphrase again first ([`verify`](Self::verify)).
    pub fn recovery_sheet(&self, name: &str) -> Result<RecoverySheet, VaultError> {
        scrubbed(|| self.make_sheet(name))
    }

    fn make_sheet(&self, name: &str) -> Result<RecoverySheet, VaultError> {
        let content = self.content()?;
        let record = content.record(name)?;
        let identity = record.identity();
        let gateways: Vec<Issuer> = record.gateways.iter().map(|one| one.issuer.clone()).collect();
        let made_at = self.clock.now();
        let mut retire = Vec::with_capacity(gateways.len());
        for gateway in &gateways {
            let signed = RetireStatement::sign(&identity, gateway, &*self.entropy, made_at);
            retire.push(signed.map_err(|error| match error {
                CannotSign::Locked(_) => VaultError::Locked,
                CannotSign::Entropy(error) => error.into(),
            })?);
        }
        let words = RecoveryWords::of_seed(&record.seed.0);
        let did = identity.did().clone();
        Ok(RecoverySheet { name: record.name.clone(), did, gateways, words, retire, made_at })
    }
}

impl Record {
    /// Moves in, where neither its name nor its key lives there.
    pub(super) fn enter(self, content: &mut Content) -> Result<Outline, VaultError> {
        let outline = self.outline();
        let outlines: Vec<_> = content.identities.iter().map(Record::outline).collect();
        if outlines.iter().any(|other| other.name == outline.name) {
            return Err(VaultError::NameTaken(outline.name));
        }
        if let Some(same) = outlines.into_iter().find(|other| other.did == outline.did) {
            return Err(VaultError::SameKey(same.name));
        }
        if content.identities.len() >= MAX_IDENTITIES {
            return Err(VaultError::Full);
        }
        content.identities.push(self);
        Ok(outline)
    }
}
