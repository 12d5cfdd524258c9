//! Access tokens (RFC 9068) through jsonwebtoken, with a provider of our own that knows EdDSA over
//! Ed25519 and nothing else: there is no other `alg` to be confused with, and neither the `rsa` crate
//! nor a second cryptographic library in the program.

use ed25519_dalek::ed25519::signature::{Error as SignatureError, Signer, Verifier};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, new_error};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use miid_protocol::SessionId;
use serde::{Deserialize, Serialize};

/// What an access token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessClaims {
    /// This gateway.
    pub iss: String,
    /// The service.
    pub aud: String,
    /// The service.
    pub client_id: String,
    /// The person, at this service.
    pub sub: String,
    /// The session.
    pub sid: SessionId,
    /// Space-separated.
    pub scope: String,
    /// NumericDate.
    pub iat: i64,
    /// NumericDate.
    pub exp: i64,
    /// Unique.
    pub jti: String,
    /// How the person approved: `step_up`, where it was for this token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// NumericDate of that approval; `iat` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
}

/// Tells jsonwebtoken to use the provider below. Called once, at start; again does nothing.
pub fn install_provider() {
    let _ = PROVIDER.install_default();
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA if key.family() == AlgorithmFamily::Ed => Ok(Box::new(DalekSigner::new(key)?)),
        _ => Err(new_error(ErrorKind::InvalidAlgorithm)),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA if key.family() == AlgorithmFamily::Ed => Ok(Box::new(DalekVerifier::new(key)?)),
        _ => Err(new_error(ErrorKind::InvalidAlgorithm)),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Made from the 32 bytes of a seed, which is what our [`EncodingKey`]s hold.
struct DalekSigner(SigningKey);

impl DalekSigner {
    fn new(key: &EncodingKey) -> jsonwebtoken::errors::Result<Self> {
        let seed = key.as_bytes().try_into().map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?;
        Ok(Self(SigningKey::from_bytes(seed)))
    }
}

impl Signer<Vec<u8>> for DalekSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let signature: Signature = self.0.try_sign(message)?;
        Ok(signature.to_bytes().to_vec())
    }
}

impl JwtSigner for DalekSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct DalekVerifier(VerifyingKey);

impl DalekVerifier {
    fn new(key: &DecodingKey) -> jsonwebtoken::errors::Result<Self> {
        let bytes = key.try_get_as_bytes()?;
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?;
        VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| new_error(ErrorKind::InvalidEddsaKey))
    }
}

impl Verifier<Vec<u8>> for DalekVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        self.0.verify_strict(message, &Signature::from_slice(signature)?)
    }
}

impl JwtVerifier for DalekVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
