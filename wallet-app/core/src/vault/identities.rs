//! Who lives in a vault: made, restored from a sheet, enrolled, removed.

use miid_protocol::{Issuer, Timestamp, text};
use zeroize::Zeroizing;

use super::record::{Record, Seed};
use super::{Content, Enrolment, Outline, Services, Vault, VaultError};
use crate::identity::Identity;
use crate::profile::Profile;
use crate::recovery::{CannotSign, RecoverySheet, RecoveryWords, RetireStatement};
use crate::scrub::scrubbed;

/// Most identities in one vault.
pub const MAX_IDENTITIES: usize = 64;
/// Longest name of an identity, in characters.
pub const MAX_NAME: usize = 60;

impl Vault {
    /// Makes a new identity, enrolled with one gateway.
    pub fn add_identity(&self, name: &str, gateway: &Issuer) -> Result<Outline, VaultError> {
        scrubbed(|| {
            let mut seed = Box::new(Zeroizing::new([0; 32]));
            self.entropy.fill(&mut **seed)?;
            self.add(name, seed, gateway, None)
        })
    }

    /// Brings an identity back from its words: the same DID, with nothing but one gateway. Its profile, its
    /// choices and its rules were on the other computer. Whoever types the words has its sheet.
    pub fn restore_identity(
        &self,
        name: &str,
        words: &RecoveryWords,
        gateway: &Issuer,
    ) -> Result<Outline, VaultError> {
        scrubbed(|| self.add(name, Box::new(words.seed()), gateway, Some(self.clock.now())))
    }

    fn add(
        &self,
        name: &str,
        seed: Box<Zeroizing<[u8; 32]>>,
        gateway: &Issuer,
        sheet_kept_at: Option<Timestamp>,
    ) -> Result<Outline, VaultError> {
        let name = name.trim();
        if name.is_empty() || name.starts_with("did:") || !text::is_displayable(name, MAX_NAME) {
            return Err(VaultError::BadName);
        }
        let did = Identity::from_seed(&seed).did().clone();
        let created_at = self.clock.now();
        self.change(|content: &mut Content| {
            let outlines: Vec<_> = content.identities.iter().map(Record::outline).collect();
            if outlines.iter().any(|outline| outline.name == name) {
                return Err(VaultError::NameTaken(name.to_owned()));
            }
            if let Some(same) = outlines.into_iter().find(|outline| outline.did == did) {
                return Err(VaultError::SameKey(same.name));
            }
            if content.identities.len() >= MAX_IDENTITIES {
                return Err(VaultError::Full);
            }
            content.identities.push(Record {
                name: name.to_owned(),
                created_at,
                seed: Seed(seed),
                sheet_kept_at,
                gateways: vec![Enrolment::new(gateway.clone())],
                profile: Profile::default(),
                services: Services::default(),
            });
            Ok(())
        })?;
        Ok(Outline { name: name.to_owned(), did })
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
