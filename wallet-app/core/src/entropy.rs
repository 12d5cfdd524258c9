//! Randomness, passed in like time, so that a test can say what came out.

use miid_protocol::jws;

/// The operating system has no random bytes to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError;

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with fresh random bytes, or fails; never half.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|_| EntropyError)
    }
}

/// `N` fresh bytes.
pub(crate) fn bytes<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

/// A `jti`: 128 random bits as base64url, so unique for ever.
pub(crate) fn jti(entropy: &dyn Entropy) -> Result<String, EntropyError> {
    Ok(jws::encode(&bytes::<16>(entropy)?))
}

/// A number in `[0, 1)`; where there is no randomness the middle will do, since it only spreads load.
pub(crate) fn fraction(entropy: &dyn Entropy) -> f64 {
    bytes::<4>(entropy)
        .map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jti_is_fresh_and_long_enough() {
        let first = jti(&SystemEntropy).expect("random");
        assert_eq!(first.len(), 22);
        assert_ne!(first, jti(&SystemEntropy).expect("random"));
    }
}
