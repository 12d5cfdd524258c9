//! How the vault is sealed: a key of 32 bytes, from a passphrase by Argon2id (RFC 9106) or from the
//! desktop's keychain, and XChaCha20-Poly1305 over the content with the header as associated data, so that
//! nobody can swap the header without it being noticed.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy, EntropyError};

/// What the person types. It has no `Debug` and is wiped when it goes.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes it over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether it is too short to seal anything; counted in characters.
    pub fn is_too_short(&self) -> bool {
        self.0.chars().count() < MIN_PASSPHRASE
    }

    /// Whether two are the same; for "once more, please".
    pub fn matches(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

/// Fewest characters of a new passphrase. Argon2id makes each guess cost 64 MiB and a tenth of a second; it
/// cannot make three letters a secret.
pub const MIN_PASSPHRASE: usize = 8;

/// What a guess costs (RFC 9106, section 4: the second recommended set, with one lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over it.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Cost {
    /// What new vaults get.
    pub const STANDARD: Self = Self { m_kib: 64 * 1024, t: 3, p: 1 };

    /// A file may ask for more or less, as machines change, but not for a wallet that never opens (a planted
    /// file could ask for a terabyte) or that anybody opens.
    fn is_reasonable(self) -> bool {
        (8 * 1024..=1024 * 1024).contains(&self.m_kib)
            && (1..=16).contains(&self.t)
            && (1..=8).contains(&self.p)
    }
}

/// Where the key comes from; stands in the header in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Lid {
    /// From a passphrase.
    Passphrase {
        /// What a guess costs.
        argon2id: Cost,
        /// base64url of 16 random bytes.
        salt: String,
    },
    /// From the desktop's keychain.
    Keychain {
        /// Its name there.
        entry: String,
    },
}

/// Why a seal does not open, or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is another one, or the content was changed.
    #[error("the key does not open it")]
    WrongKey,
    /// The header asks for something that no wallet of ours writes.
    #[error("its header asks for unreasonable settings")]
    Unreasonable,
    /// Argon2id wants more memory than there is.
    #[error("there is not enough memory to check the passphrase")]
    Memory,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The key that seals one vault. Wiped when it goes; no `Debug` and no `Clone`.
pub(crate) struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// The one that a keychain kept.
    pub(crate) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A fresh one, for a keychain to keep.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, for the keychain alone.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether two keys are one, in the same time either way.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).fold(0, |differs, (one, two)| differs | (one ^ two)) == 0
    }

    /// From a passphrase; `salt` as it stands in the header.
    pub(crate) fn derive(passphrase: &Passphrase, cost: Cost, salt: &str) -> Result<Self, SealError> {
        let salt = miid_protocol::jws::decode(salt).ok_or(SealError::Unreasonable)?;
        if !cost.is_reasonable() || !(16..=64).contains(&salt.len()) {
            return Err(SealError::Unreasonable);
        }
        let params =
            Params::new(cost.m_kib, cost.t, cost.p, Some(32)).map_err(|_| SealError::Unreasonable)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon2.hash_password_into(passphrase.0.as_bytes(), &salt, &mut *key).map_err(|e| match e {
            argon2::Error::OutOfMemory => SealError::Memory,
            _ => SealError::Unreasonable,
        })?;
        Ok(Self(key))
    }

    /// Seals `plain`. The nonce is random, 192 bits, fresh for each call, and comes first.
    pub(crate) fn seal(
        &self,
        header: &[u8],
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; 24] = entropy::bytes(entropy)?;
        let sealed = XChaCha20Poly1305::new((&*self.0).into())
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: header })
            .map_err(|_| SealError::Memory)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`seal`](Self::seal) made under the same header.
    pub(crate) fn open(&self, header: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or(SealError::WrongKey)?;
        XChaCha20Poly1305::new((&*self.0).into())
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: header })
            .map(Zeroizing::new)
            .map_err(|_| SealError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    const CHEAP: Cost = Cost { m_kib: 8 * 1024, t: 1, p: 1 };
    const SALT: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn key(text: &str) -> SealKey {
        SealKey::derive(&Passphrase::new(text.into()), CHEAP, SALT).expect("derived")
    }

    #[test]
    fn only_the_same_passphrase_and_header_open_it() {
        let sealed = key("correct horse").seal(b"header", b"content", &SystemEntropy).expect("sealed");
        assert_eq!(*key("correct horse").open(b"header", &sealed).expect("opened"), b"content");
        assert_eq!(key("wrong horse").open(b"header", &sealed).err(), Some(SealError::WrongKey));
        assert_eq!(key("correct horse").open(b"Header", &sealed).err(), Some(SealError::WrongKey));
        assert_eq!(key("correct horse").open(b"header", &sealed[..20]).err(), Some(SealError::WrongKey));
    }

    #[test]
    fn a_nonce_is_never_used_twice() {
        let key = key("correct horse");
        let seal = || key.seal(b"", b"content", &SystemEntropy).expect("sealed");
        assert_ne!(seal()[..24], seal()[..24]);
    }

    #[test]
    fn a_planted_file_cannot_ask_for_a_terabyte_or_for_nothing() {
        for cost in
            [Cost { m_kib: u32::MAX, ..CHEAP }, Cost { m_kib: 8, ..CHEAP }, Cost { t: 10_000, ..CHEAP }]
        {
            let derived = SealKey::derive(&Passphrase::new("x".into()), cost, SALT);
            assert_eq!(derived.err(), Some(SealError::Unreasonable));
        }
    }
}
