//! What is sealed: identities with their keys, gateways and profiles, and what they chose at each service.

use std::io;

use miid_protocol::{Handle, Issuer, Timestamp, jws};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::services::Services;
use super::{Outline, VaultError};
use crate::identity::Identity;
use crate::profile::Profile;

/// Most gateways of one identity.
pub const MAX_GATEWAYS: usize = 16;

/// A gateway that an identity trusts with its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The gateway.
    pub issuer: Issuer,
    /// The handle held there, as far as this wallet knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Since when this gateway knows the identity as ended. Kept per gateway: one of them must not be able to end
    /// an identity at the others by saying so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
}

impl Enrolment {
    /// A fresh one.
    pub fn new(issuer: Issuer) -> Self {
        Self { issuer, handle: None, retired_at: None }
    }
}

/// One identity with all that belongs to it. Its key stays inside.
#[derive(Serialize, Deserialize)]
pub struct Record {
    /// What the person calls it.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
    pub(super) seed: Seed,
    /// When its owner last showed that they have its recovery sheet; absent is “not yet”.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet_kept_at: Option<Timestamp>,
    /// Where it is enrolled.
    pub gateways: Vec<Enrolment>,
    /// What it says about itself.
    #[serde(default)]
    pub profile: Profile,
    /// What it chose at each service.
    #[serde(default)]
    pub services: Services,
}

impl Record {
    /// The enrolment with a gateway.
    pub fn enrolment(&mut self, issuer: &Issuer) -> Option<&mut Enrolment> {
        self.gateways.iter_mut().find(|enrolment| enrolment.issuer == *issuer)
    }

    /// Enrols with one more gateway; one that is there already stays as it is.
    pub fn enrol(&mut self, issuer: &Issuer) -> Result<(), VaultError> {
        if self.enrolment(issuer).is_some() {
            return Ok(());
        }
        if self.gateways.len() >= MAX_GATEWAYS {
            return Err(VaultError::TooManyGateways);
        }
        self.gateways.push(Enrolment::new(issuer.clone()));
        Ok(())
    }

    /// Leaves a gateway, with all that was chosen at its services. Not the last one.
    pub fn unenrol(&mut self, issuer: &Issuer) -> Result<(), VaultError> {
        if self.enrolment(issuer).is_none() {
            return Err(VaultError::NotEnrolled(issuer.clone()));
        }
        if self.gateways.len() == 1 {
            return Err(VaultError::LastGateway);
        }
        self.gateways.retain(|enrolment| enrolment.issuer != *issuer);
        self.services.forget_gateway(issuer);
        Ok(())
    }

    /// Since when the identity is over: when the last of its gateways said so.
    pub fn retired_at(&self) -> Option<Timestamp> {
        let times: Option<Vec<_>> = self.gateways.iter().map(|enrolment| enrolment.retired_at).collect();
        times?.into_iter().max()
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::from_seed(&self.seed.0)
    }

    pub(super) fn outline(&self) -> Outline {
        Outline { name: self.name.clone(), did: self.identity().did().clone() }
    }
}

/// The seed of a key, base64url in the sealed content and nowhere else. Boxed: a list of records that grows moves
/// them, and would leave copies.
pub(super) struct Seed(pub(super) Box<Zeroizing<[u8; 32]>>);

impl Serialize for Seed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(jws::encode(&**self.0)))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let error = || serde::de::Error::custom("not a key");
        let mut text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = Zeroizing::new(jws::decode(&text).ok_or_else(error)?);
        if let std::borrow::Cow::Owned(text) = &mut text {
            text.zeroize();
        }
        let mut seed = Box::new(Zeroizing::new([0; 32]));
        if bytes.len() != seed.len() {
            return Err(error());
        }
        seed.copy_from_slice(&bytes);
        Ok(Self(seed))
    }
}

/// What is sealed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) identities: Vec<Record>,
}

impl Content {
    pub(super) fn record(&self, name: &str) -> Result<&Record, VaultError> {
        let found = self.identities.iter().find(|record| record.name == name);
        found.ok_or_else(|| VaultError::NoSuchIdentity(name.to_owned()))
    }

    /// JSON in a buffer that is wiped, and of the right size from the start: one that grows would leave
    /// copies of the keys behind.
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut counter = Counter(0);
        let mut json = Zeroizing::new(Vec::new());
        if serde_json::to_writer(&mut counter, self).is_ok() {
            json.reserve_exact(counter.0);
        }
        match serde_json::to_writer(&mut *json, self) {
            Ok(()) => json,
            Err(_) => unreachable!("plain structs serialise"),
        }
    }
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
