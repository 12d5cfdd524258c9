//! What is sealed: identities with their keys, gateways, profiles and choices.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use miid_protocol::{ClientId, Handle, Issuer, Timestamp, jws};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Outline, VaultError};
use crate::identity::Identity;
use crate::profile::Profile;

/// Most services whose last choice one identity remembers; the one used longest ago goes first.
pub const MAX_CHOICES: usize = 500;

/// A gateway that an identity trusts with its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The gateway.
    pub issuer: Issuer,
    /// The handle held there, as far as this wallet knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
}

/// What was shared with a service last time: the proposal for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Names of the claims.
    pub shared: BTreeSet<String>,
    /// When.
    pub at: Timestamp,
}

/// One identity with all that belongs to it. Its key stays inside.
#[derive(Serialize, Deserialize)]
pub struct Record {
    /// What the person calls it.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
    pub(super) seed: Seed,
    /// Where it is enrolled.
    pub gateways: Vec<Enrolment>,
    /// What it says about itself.
    #[serde(default)]
    pub profile: Profile,
    #[serde(default)]
    pub(super) choices: BTreeMap<String, Choice>,
}

impl Record {
    /// What was shared with this service last time.
    pub fn choice(&self, issuer: &Issuer, service: &ClientId) -> Option<&Choice> {
        self.choices.get(&choice_key(issuer, service))
    }

    /// Remembers what was shared.
    pub fn remember(&mut self, issuer: &Issuer, service: &ClientId, choice: Choice) {
        self.choices.insert(choice_key(issuer, service), choice);
        while self.choices.len() > MAX_CHOICES {
            let oldest = self.choices.iter().min_by_key(|(_, choice)| choice.at).map(|(key, _)| key.clone());
            match oldest {
                Some(key) => self.choices.remove(&key),
                None => break,
            };
        }
    }

    /// The enrolment with a gateway.
    pub fn enrolment(&mut self, issuer: &Issuer) -> Option<&mut Enrolment> {
        self.gateways.iter_mut().find(|enrolment| enrolment.issuer == *issuer)
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::from_seed(&self.seed.0)
    }

    pub(super) fn outline(&self) -> Outline {
        Outline { name: self.name.clone(), did: self.identity().did().clone() }
    }
}

/// A space is in no issuer and in no `client_id`.
fn choice_key(issuer: &Issuer, service: &ClientId) -> String {
    format!("{issuer} {service}")
}

/// The seed of a key, base64url in the sealed content and nowhere else.
pub(super) struct Seed(pub(super) Zeroizing<[u8; 32]>);

impl Serialize for Seed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(jws::encode(&*self.0)))
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
        let seed: [u8; 32] = bytes.as_slice().try_into().map_err(|_| error())?;
        Ok(Self(Zeroizing::new(seed)))
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
