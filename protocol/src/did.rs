//! `did:key` with Ed25519 (section 1): the name of a wallet, and the key that it signs with.
//!
//! A [`Did`] is made by parsing only, so whoever holds one holds a usable key: the point is on the
//! curve, canonically encoded and not of small order. Other methods will come through a resolver
//! registry; nothing that a caller sends ever chooses where a key is fetched.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest text that is looked at. An RSA `did:key` of 2,048 bits (which gets the answer
/// "unsupported", not "invalid") has about 380 characters; base58 decoding is quadratic.
const MAX_LENGTH: usize = 512;

/// Multicodec of Ed25519 public keys, as its varint (`0xed`).
const ED25519: u64 = 0xed;

/// Multicodecs registered for other kinds of public key: known, but not ours.
const OTHER_KEYS: &[u64] = &[
    0xe7, 0xea, 0xeb, 0xec, 0xee, 0xef, 0x1200, 0x1201, 0x1202, 0x1203, 0x1204, 0x1205, 0x1206, 0x120a,
    0x120b, 0x120c, 0x1210, 0x1211, 0x1212,
];

/// Why a text is no DID that we can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DidError {
    /// Not a DID at all, or a `did:key` whose key cannot be used (`invalid_did`).
    #[error("not a valid DID")]
    Invalid,
    /// A DID of another method, or a key of another kind (`unsupported_did_method`).
    #[error("only did:key with Ed25519 is supported")]
    Unsupported,
}

/// The DID of a wallet, with its key already checked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Did {
    text: Box<str>,
    key: [u8; 32],
}

impl Did {
    /// Parses a DID (section 1). Exact: no white space, no query, no fragment.
    pub fn parse(text: &str) -> Result<Self, DidError> {
        let did = Self::read(text)?;
        did.checked_key()?;
        Ok(did)
    }

    /// Everything but the point.
    fn read(text: &str) -> Result<Self, DidError> {
        if text.len() > MAX_LENGTH {
            return Err(DidError::Invalid);
        }
        let rest = text.strip_prefix("did:").ok_or(DidError::Invalid)?;
        let (method, id) = rest.split_once(':').ok_or(DidError::Invalid)?;
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(DidError::Invalid);
        }
        if method != "key" {
            return Err(if is_method_specific_id(id) { DidError::Unsupported } else { DidError::Invalid });
        }
        let encoded = id.strip_prefix('z').ok_or(DidError::Invalid)?;
        let bytes = bs58::decode(encoded).into_vec().map_err(|_| DidError::Invalid)?;
        let (codec, key) = split_varint(&bytes).ok_or(DidError::Invalid)?;
        if codec != ED25519 {
            return Err(if OTHER_KEYS.contains(&codec) { DidError::Unsupported } else { DidError::Invalid });
        }
        let key: [u8; 32] = key.try_into().map_err(|_| DidError::Invalid)?;
        Ok(Self { text: text.into(), key })
    }

    /// Reads back a DID that was parsed before it was stored: everything but the point is checked again.
    pub fn from_stored(text: &str) -> Result<Self, DidError> {
        Self::read(text)
    }

    /// The DID in a `kid` and its key, which costs no more than the DID alone.
    pub(crate) fn and_key(kid: &str) -> Result<(Self, VerifyingKey), DidError> {
        let (did, fragment) = kid.split_once('#').ok_or(DidError::Invalid)?;
        let did = Self::read(did)?;
        let key = did.checked_key()?;
        if did.fragment() == fragment { Ok((did, key)) } else { Err(DidError::Invalid) }
    }

    /// The key, if it is one: on the curve, written in the one canonical way, not of small order.
    fn checked_key(&self) -> Result<VerifyingKey, DidError> {
        let key = VerifyingKey::from_bytes(&self.key).map_err(|_| DidError::Invalid)?;
        if is_canonical(&self.key) && !key.is_weak() { Ok(key) } else { Err(DidError::Invalid) }
    }

    /// The DID of a public key that we made ourselves.
    pub fn of(key: &VerifyingKey) -> Self {
        let mut bytes = vec![0xed, 0x01];
        bytes.extend_from_slice(key.as_bytes());
        let text = format!("did:key:z{}", bs58::encode(bytes).into_string());
        Self { text: text.into(), key: key.to_bytes() }
    }

    /// The key that signatures of this DID are checked with.
    ///
    /// # Panics
    /// Never: the constructor checked that these bytes are a point.
    pub fn verifying_key(&self) -> VerifyingKey {
        match VerifyingKey::from_bytes(&self.key) {
            Ok(key) => key,
            Err(_) => unreachable!("a Did holds a checked point"),
        }
    }

    /// The `kid` of this DID's one key: `did:key:z6Mk…#z6Mk…`.
    pub fn key_id(&self) -> String {
        format!("{}#{}", self.text, self.fragment())
    }

    /// Parses a `kid`, whose fragment must repeat the DID's own identifier.
    pub fn from_key_id(kid: &str) -> Result<Self, DidError> {
        Self::and_key(kid).map(|(did, _)| did)
    }

    /// The DID as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn fragment(&self) -> &str {
        &self.text["did:key:".len()..]
    }
}

/// Whether the y coordinate is below p = 2^255 - 19. (The sign of an x that is zero is the other way to
/// write a point twice, but those points are of small order.)
fn is_canonical(key: &[u8; 32]) -> bool {
    let high = key[1..31].iter().all(|byte| *byte == 0xff) && key[31] & 0x7f == 0x7f;
    !(high && key[0] >= 0xed)
}

/// An unsigned varint of at most three bytes, minimally encoded, and what follows it.
fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(3).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let minimal = i == 0 || *byte != 0;
            return minimal.then_some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// `method-specific-id` of DID Core, section 3.1, roughly: enough to tell a DID from noise.
fn is_method_specific_id(id: &str) -> bool {
    !id.is_empty()
        && !id.ends_with(':')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%'))
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Did {
    type Err = DidError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::parse(s)
    }
}

impl Serialize for Did {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
