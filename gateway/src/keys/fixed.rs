//! A public key that many signatures are checked against. The same equation as `verify_strict` of ed25519-dalek,
//! with a table of the key's multiples that is made once, as there is one for the base point.

use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsBasepointTable};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{BasepointTable as _, IsIdentity as _};
use sha2::{Digest as _, Sha512};

/// A key to check signatures with.
pub struct FixedKey {
    public: [u8; 32],
    /// Multiples of the key's negative.
    negative: Box<EdwardsBasepointTable>,
}

impl FixedKey {
    /// `None` where the bytes are no point, or one of small order, under which signatures prove nothing.
    pub fn new(public: [u8; 32]) -> Option<Self> {
        let point = CompressedEdwardsY(public).decompress()?;
        if point.is_small_order() || point.compress().to_bytes() != public {
            return None;
        }
        Some(Self { public, negative: Box::new(EdwardsBasepointTable::create(&-point)) })
    }

    /// Whether this is the key's signature of the message (RFC 8032, section 5.1.7, without cofactor): the scalar
    /// in its one form, the commitment in its one form and not of small order.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let (commitment, scalar) = signature.split_at(32);
        let scalar = <[u8; 32]>::try_from(scalar).ok().and_then(|s| Scalar::from_canonical_bytes(s).into());
        let Some(scalar): Option<Scalar> = scalar else { return false };
        let digest = Sha512::new().chain_update(commitment).chain_update(self.public).chain_update(message);
        let challenge = Scalar::from_bytes_mod_order_wide(&digest.finalize().into());
        let point = &scalar * ED25519_BASEPOINT_TABLE + &challenge * &*self.negative;
        // Compared as bytes, so no other form of the same point is taken.
        point.compress().as_bytes() == commitment && !point.mul_by_cofactor().is_identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Signer as _, SigningKey};
    use proptest::prelude::*;

    fn both(key: &SigningKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let fixed = FixedKey::new(key.verifying_key().to_bytes()).expect("a key of ours is a good one");
        let ours = fixed.verifies(message, signature);
        let theirs = key.verifying_key().verify_strict(message, &Signature::from_bytes(signature)).is_ok();
        assert_eq!(ours, theirs, "both say the same");
        ours
    }

    proptest! {
        #[test]
        fn it_says_what_the_library_says(seed: [u8; 32], message: Vec<u8>, at in 0usize..64, bit in 0u8..8) {
            let key = SigningKey::from_bytes(&seed);
            let mut signature = key.sign(&message).to_bytes();
            prop_assert!(both(&key, &message, &signature));
            signature[at] ^= 1 << bit;
            prop_assert!(!both(&key, &message, &signature));
        }
    }

    #[test]
    fn another_form_of_the_scalar_is_refused() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut signature = key.sign(b"message").to_bytes();
        // Plus the order of the group: the same number, another text.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0u16;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        assert!(!both(&key, b"message", &signature));
    }

    #[test]
    fn a_key_or_commitment_of_small_order_proves_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(FixedKey::new(identity).is_none() && FixedKey::new([0; 32]).is_none());
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!both(&key, b"message", &signature));
    }
}
