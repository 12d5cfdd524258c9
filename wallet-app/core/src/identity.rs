//! An identity: one Ed25519 key and the DID that names it. The key is made here, wiped from memory when it
//! goes or is [locked](Identity::lock), and has no way out of this crate but as the words of a recovery sheet;
//! there is no `Debug` that could show it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ed25519_dalek::SigningKey;
use miid_protocol::statement::{self, Decision};
use miid_protocol::{Did, Issuer, Timestamp, proof};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};

/// The key was wiped: open the wallet again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wallet is locked")]
pub struct Locked;

/// A key and its name.
pub struct Identity {
    key: Mutex<Key>,
    did: Did,
}

/// The place of the key. It is overwritten where it lies, and boxed so that it lies in one place only.
struct Key {
    signing: Box<SigningKey>,
    is_open: bool,
}

impl Identity {
    /// Makes a new one.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(&mut *seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// The one that was sealed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = Box::new(SigningKey::from_bytes(seed));
        let did = Did::of(&signing.verifying_key());
        Self { key: Mutex::new(Key { signing, is_open: true }), did }
    }

    /// Its public name.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// Wipes the key. There is no way back but to open the vault again.
    pub fn lock(&self) {
        let mut key = self.key();
        // The old one is zeroized as it is dropped, and then written over by a key of zeros.
        *key.signing = SigningKey::from_bytes(&[0; 32]);
        key.is_open = false;
    }

    /// Whether the key was wiped.
    pub fn is_locked(&self) -> bool {
        !self.key().is_open
    }

    /// A proof for one request, and for that one only.
    pub(crate) fn prove(
        &self,
        request: proof::Request<'_>,
        issuer: &Issuer,
        jti: &str,
        now: Timestamp,
    ) -> Result<String, Locked> {
        let key = self.open_key()?;
        Ok(proof::sign(&key.signing, request, issuer, jti, now.seconds()))
    }

    /// A statement of one decision.
    pub(crate) fn state(
        &self,
        decision: Decision<'_>,
        gateway: &Issuer,
        jti: &str,
        now: Timestamp,
    ) -> Result<String, Locked> {
        let key = self.open_key()?;
        Ok(statement::sign(&key.signing, decision, gateway, jti, now.seconds()))
    }

    fn open_key(&self) -> Result<MutexGuard<'_, Key>, Locked> {
        let key = self.key();
        if key.is_open { Ok(key) } else { Err(Locked) }
    }

    fn key(&self) -> MutexGuard<'_, Key> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A DID as people compare it: `did:key:z6Mk…abcd`.
pub fn short(did: &Did) -> String {
    let text = did.as_str();
    // A did:key is ASCII and much longer than what is shown.
    match (text.get(..12), text.get(text.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) => format!("{head}…{tail}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::vault::tests::gateway;

    #[test]
    fn a_did_is_shortened_to_what_people_compare() {
        let identity = Identity::generate(&SystemEntropy).expect("random");
        let short = short(identity.did());
        assert!(short.starts_with("did:key:z6Mk…") && short.chars().count() == 17, "{short}");
    }

    #[test]
    fn a_locked_identity_has_no_key_in_its_place_and_signs_nothing() {
        let identity = Identity::from_seed(&[7; 32]);
        let now = Timestamp::from_millis(1_800_000_000_000);
        let prove = || {
            let request = proof::Request { method: "GET", path: "/v1/wallet/events", body: &[] };
            identity.prove(request, &gateway(), "jti", now)
        };
        assert!(prove().is_ok() && !identity.is_locked());
        let place = || std::ptr::from_ref::<SigningKey>(&identity.key().signing);
        let before = place();
        identity.lock();
        assert!(identity.is_locked());
        assert_eq!(prove(), Err(Locked));
        assert_eq!(identity.state(Decision::Retire, &gateway(), "jti", now), Err(Locked));
        // The same place in memory, and other bytes in it.
        assert_eq!(place(), before);
        assert_eq!(identity.key().signing.to_bytes(), [0; 32]);
    }
}
