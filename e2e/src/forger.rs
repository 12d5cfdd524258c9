//! Somebody who has a gateway's key file, and signs tokens as the gateway does.

use std::path::Path;

use ed25519_dalek::Signer as _;
use hkdf::Hkdf;
use miid_protocol::{SigningKey, jws};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clock;

/// The key of one token of the gateway's, and what that token says.
pub struct Forger {
    key: SigningKey,
    kid: String,
    payload: Value,
}

impl Forger {
    /// From a gateway's data dir and a token of its own.
    pub fn new(data_dir: &Path, token: &str) -> Self {
        let part = |i: usize| -> Value {
            let bytes = jws::decode(token.split('.').nth(i).expect("three parts")).expect("base64url");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let kid = part(0)["kid"].as_str().expect("a kid").to_owned();
        Self { key: derive(&master(data_dir), &kid), kid, payload: part(1) }
    }

    /// The same with another key of that gateway.
    pub fn with_key(data_dir: &Path, token: &str, kid: &str) -> Self {
        Self { key: derive(&master(data_dir), kid), kid: kid.to_owned(), ..Self::new(data_dir, token) }
    }

    /// A token that says something else.
    pub fn forge(&self, head: Value, change: impl FnOnce(&mut Value)) -> String {
        let mut whole = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": self.kid });
        for (name, value) in head.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        let mut payload = self.payload.clone();
        change(&mut payload);
        let text = [whole, payload].map(|part| jws::encode(part.to_string().as_bytes())).join(".");
        let signature = self.key.sign(text.as_bytes());
        format!("{text}.{}", jws::encode(&signature.to_bytes()))
    }

    /// When its token was issued.
    pub fn issued_at(&self) -> i64 {
        self.payload["iat"].as_i64().expect("a time")
    }

    /// The same with another `jti`.
    pub fn another(&self) -> String {
        self.forge(json!({}), |payload| payload["jti"] = clock::name().into())
    }
}

fn master(data_dir: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(data_dir.join("gateway.keys")).expect("the key file");
    jws::decode(text.trim_end().rsplit(' ').next().expect("a secret")).expect("base64url")
}

fn derive(master: &[u8], kid: &str) -> SigningKey {
    let mut seed = [0; 32];
    let label = format!("miid/signing/1/{kid}");
    Hkdf::<Sha256>::new(None, master).expand(label.as_bytes(), &mut seed).expect("32 bytes");
    SigningKey::from_bytes(&seed)
}
