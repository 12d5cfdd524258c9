//! Compact JWS as MiID uses it (section 1): one algorithm, one shape of header, strict base64url,
//! strict verification, and the key from the DID in `kid` and nowhere else (RFC 7515, RFC 8037;
//! RFC 8725 for everything refused here).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::did::Did;
use crate::json;

/// Longest token that is looked at. A statement with its twenty longest scopes stays below it.
pub const MAX_LENGTH: usize = 8 * 1024;

/// Why a token was refused. It never says more to a caller than the one code that goes with its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three parts of strict base64url, or too long.
    #[error("not a compact JWS")]
    Shape,
    /// The header is not exactly `alg`, `typ` and `kid` with the values expected.
    #[error("header not accepted")]
    Header,
    /// `kid` names no DID that can be used.
    #[error("kid names no usable DID")]
    Did,
    /// The signature does not hold.
    #[error("signature does not hold")]
    Signature,
    /// The payload is not the JSON object expected.
    #[error("payload not accepted")]
    Payload,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A token whose signature held: who signed, and the bytes that were signed.
#[derive(Debug)]
pub struct Verified {
    /// The DID whose key signed.
    pub did: Did,
    /// The payload's bytes.
    pub payload: Vec<u8>,
}

impl Verified {
    /// The payload as JSON, with nothing twice.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        json::from_slice(&self.payload).map_err(|_| JwsError::Payload)
    }
}

/// Signs `payload` with the key of a wallet.
pub fn sign(key: &SigningKey, typ: &str, payload: &[u8]) -> String {
    let kid = Did::of(&key.verifying_key()).key_id();
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{kid}"}}"#);
    let mut token = encode(header.as_bytes());
    token.push('.');
    token.push_str(&encode(payload));
    let signature = key.sign(token.as_bytes());
    token.push('.');
    token.push_str(&encode(&signature.to_bytes()));
    token
}

/// Checks shape, header, DID and signature, in this order (section 2).
pub fn verify(token: &str, typ: &str) -> Result<Verified, JwsError> {
    if token.len() > MAX_LENGTH {
        return Err(JwsError::Shape);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Shape)?;
    let (header, payload) = signed.split_once('.').ok_or(JwsError::Shape)?;
    if payload.contains('.') {
        return Err(JwsError::Shape);
    }
    let header = decode(header).ok_or(JwsError::Shape)?;
    let payload = decode(payload).ok_or(JwsError::Shape)?;
    let signature: [u8; 64] =
        decode(signature).ok_or(JwsError::Shape)?.try_into().map_err(|_| JwsError::Shape)?;

    let header: Header = json::from_slice(&header).map_err(|_| JwsError::Header)?;
    if header.alg != "EdDSA" || header.typ != typ {
        return Err(JwsError::Header);
    }
    let (did, key) = Did::and_key(&header.kid).map_err(|_| JwsError::Did)?;
    key.verify_strict(signed.as_bytes(), &Signature::from_bytes(&signature))
        .map_err(|_| JwsError::Signature)?;
    Ok(Verified { did, payload })
}

/// base64url without padding (RFC 4648, section 5).
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Strict base64url: no padding, no loose bits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// base64url(SHA-256(bytes)): how a body, a request text and a disclosure are named.
pub fn digest(bytes: &[u8]) -> String {
    encode(&Sha256::digest(bytes))
}
