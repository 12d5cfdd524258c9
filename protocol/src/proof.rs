//! The proof that a wallet sends with every request (section 2; the shape follows RFC 9449):
//! `Authorization: DIDProof <JWS>`, fresh for each attempt.

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use crate::did::Did;
use crate::ids::Issuer;
use crate::jws;

/// `typ` of the JWS.
pub const TYP: &str = "miid-proof+jwt";
/// The scheme in `Authorization`.
pub const SCHEME: &str = "DIDProof";
/// How far `iat` may be from the gateway's clock, either way, in seconds.
pub const MAX_SKEW_S: i64 = 60;
/// How long after `iat` a proof is remembered, in seconds: past the last moment it could be accepted.
pub const REMEMBER_S: i64 = 120;

/// Why a proof was refused, in the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Shape, header, DID, signature, or what was signed is not this request (`invalid_proof`).
    #[error("the proof does not belong to this request")]
    Invalid,
    /// `iat` is more than 60 s away (`stale_proof`).
    #[error("the proof is too old or from the future")]
    Stale,
}

/// The request that a proof must belong to, as it was received.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Method, in capitals.
    pub method: &'a str,
    /// Path exactly as sent, without the query.
    pub path: &'a str,
    /// Body as received; empty means that there was none.
    pub body: &'a [u8],
}

/// A proof that belongs to its request. Whether it was seen before is the store's to say.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Who proved.
    pub did: Did,
    /// Its name, unique per DID.
    pub jti: String,
    /// When it was made, NumericDate.
    pub iat: i64,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    htm: String,
    htu: String,
    iat: i64,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bd: Option<String>,
}

/// Checks everything about a proof but whether it was seen before. `now_s` is NumericDate.
pub fn verify(token: &str, request: Request<'_>, issuer: &Issuer, now_s: i64) -> Result<Proof, ProofError> {
    let verified = jws::verify(token, TYP).map_err(|_| ProofError::Invalid)?;
    let payload: Payload = verified.json().map_err(|_| ProofError::Invalid)?;
    let htu_path = payload.htu.strip_prefix(issuer.as_str());
    let body_digest = (!request.body.is_empty()).then(|| jws::digest(request.body));
    let belongs = payload.iss == verified.did.as_str()
        && payload.aud == issuer.as_str()
        && payload.htm == request.method
        && htu_path == Some(request.path)
        && payload.bd == body_digest
        && is_jti(&payload.jti);
    if !belongs {
        return Err(ProofError::Invalid);
    }
    // abs_diff: `iat` is any i64 that somebody signed.
    if payload.iat.abs_diff(now_s) > MAX_SKEW_S.unsigned_abs() {
        return Err(ProofError::Stale);
    }
    Ok(Proof { did: verified.did, jti: payload.jti, iat: payload.iat })
}

/// Makes a proof. `jti` must be fresh; `now_s` is NumericDate by the gateway's clock.
pub fn sign(key: &SigningKey, request: Request<'_>, issuer: &Issuer, jti: &str, now_s: i64) -> String {
    let payload = Payload {
        iss: Did::of(&key.verifying_key()).as_str().to_owned(),
        aud: issuer.as_str().to_owned(),
        htm: request.method.to_owned(),
        htu: format!("{}{}", issuer.as_str(), request.path),
        iat: now_s,
        jti: jti.to_owned(),
        bd: (!request.body.is_empty()).then(|| jws::digest(request.body)),
    };
    jws::sign(key, TYP, &to_json(&payload))
}

/// 1 to 128 visible ASCII characters.
pub(crate) fn is_jti(jti: &str) -> bool {
    (1..=128).contains(&jti.len()) && jti.bytes().all(|b| b.is_ascii_graphic())
}

/// JSON of a value that always serialises (plain structs with text members).
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(bytes) => bytes,
        Err(_) => unreachable!("plain structs serialise"),
    }
}
