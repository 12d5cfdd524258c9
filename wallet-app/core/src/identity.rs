//! An identity: one Ed25519 key and the DID that names it. The key is made here, wiped from memory when it
//! goes, and has no way out of this crate; there is no `Debug` that could show it.

use ed25519_dalek::SigningKey;
use miid_protocol::statement::{self, Decision};
use miid_protocol::{Did, Issuer, Timestamp, proof};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};

/// A key and its name.
pub struct Identity {
    key: SigningKey,
    did: Did,
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
        let key = SigningKey::from_bytes(seed);
        let did = Did::of(&key.verifying_key());
        Self { key, did }
    }

    /// To be sealed.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// Its public name.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// A proof for one request, and for that one only.
    pub(crate) fn prove(
        &self,
        request: proof::Request<'_>,
        issuer: &Issuer,
        jti: &str,
        now: Timestamp,
    ) -> String {
        proof::sign(&self.key, request, issuer, jti, now.seconds())
    }

    /// A statement of one decision.
    pub(crate) fn state(
        &self,
        decision: Decision<'_>,
        gateway: &Issuer,
        jti: &str,
        now: Timestamp,
    ) -> String {
        statement::sign(&self.key, decision, gateway, jti, now.seconds())
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

    #[test]
    fn an_identity_comes_back_from_its_seed() {
        let identity = Identity::generate(&SystemEntropy).expect("random");
        assert_eq!(Identity::from_seed(&identity.seed()).did(), identity.did());
        let short = short(identity.did());
        assert!(short.starts_with("did:key:z6Mk…") && short.chars().count() == 17, "{short}");
    }
}
