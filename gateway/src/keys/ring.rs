//! Token signing keys over time: next, current and previous (section 4). The rows say when a key
//! counts; the private halves are derived from the key file.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use miid_protocol::{ClientId, Issuer, Lifetime, Timestamp, jws};
use serde_json::{Value, json};

use super::jwt::AccessClaims;
use super::{ServerKeys, install_provider};

/// How long a key is published before anything is signed with it.
pub const NEXT_KEY_LEAD: Lifetime = Lifetime::from_secs(10 * 60);
/// How long a key stays published beyond the last token that it signed.
pub const PREVIOUS_KEY_TAIL: Lifetime = Lifetime::from_secs(5 * 60);

/// When a signing key counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its name, in token headers.
    pub kid: String,
    /// Published since.
    pub created_at: Timestamp,
    /// Signs since, unless a later one does.
    pub active_from: Timestamp,
    /// Neither signs nor verifies since.
    pub retired_at: Option<Timestamp>,
}

struct Key {
    row: KeyRow,
    signing: EncodingKey,
    verifying: DecodingKey,
    public: [u8; 32],
    /// When the next one took over, also where that one was retired since: a key that was relieved does not
    /// come back.
    relieved_at: Option<Timestamp>,
}

/// The keys of one moment's rows.
pub struct KeyRing {
    keys: Vec<Key>,
    access_ttl: Lifetime,
    issuer: Issuer,
}

impl KeyRing {
    /// From the rows; retired ones stay out.
    pub fn new(keys: &ServerKeys, mut rows: Vec<KeyRow>, issuer: &Issuer, access_ttl: Lifetime) -> Self {
        install_provider();
        rows.sort_by_key(|row| row.active_from);
        let successors: Vec<Option<Timestamp>> =
            (1..=rows.len()).map(|i| rows.get(i).map(|next| next.active_from)).collect();
        let keys: Vec<Key> = rows
            .into_iter()
            .zip(successors)
            .filter(|(row, _)| row.retired_at.is_none())
            .map(|(row, relieved_at)| {
                let key = keys.signing_key(&row.kid);
                let public = key.verifying_key().to_bytes();
                Key {
                    row,
                    signing: EncodingKey::from_ed_der(key.as_bytes()),
                    verifying: DecodingKey::from_ed_der(&public),
                    public,
                    relieved_at,
                }
            })
            .collect();
        Self { keys, access_ttl, issuer: issuer.clone() }
    }

    /// Signs an access token; `None` only where every key was retired.
    pub fn sign(&self, claims: &AccessClaims, now: Timestamp) -> Option<String> {
        let key = self.keys.iter().rev().find(|key| key.row.active_from <= now)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".into());
        header.kid = Some(key.row.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.signing).ok()
    }

    /// Checks signature, `typ`, issuer, audience (where one is expected) and time.
    pub fn verify(&self, token: &str, audience: Option<&ClientId>, now: Timestamp) -> Option<AccessClaims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let kid = header.kid?;
        if header.typ.as_deref() != Some("at+jwt") {
            return None;
        }
        let key = self.published(now).find(|key| key.row.kid == kid)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[self.issuer.as_str()]);
        match audience {
            Some(audience) => validation.set_audience(&[audience.as_str()]),
            None => validation.validate_aud = false,
        }
        // Our own clock decides, below: the library would ask the machine's.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<AccessClaims>(token, &key.verifying, &validation).ok()?.claims;
        (now.seconds() < claims.exp).then_some(claims)
    }

    /// RFC 7517; never a private member.
    pub fn jwks(&self, now: Timestamp) -> Value {
        let keys: Vec<Value> = self
            .published(now)
            .map(|key| {
                json!({
                    "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                    "kid": key.row.kid, "x": jws::encode(&key.public),
                })
            })
            .collect();
        json!({ "keys": keys })
    }

    /// The key that signs at `now`.
    pub fn current(&self, now: Timestamp) -> Option<&KeyRow> {
        self.keys.iter().rev().map(|key| &key.row).find(|row| row.active_from <= now)
    }

    /// Whether a key is waiting to take over.
    pub fn has_next(&self, now: Timestamp) -> bool {
        self.keys.last().is_some_and(|key| key.row.active_from > now)
    }

    /// Next, current, and those whose last token may still be live.
    fn published(&self, now: Timestamp) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            let last = key.relieved_at.map(|at| at.plus(self.access_ttl).plus(PREVIOUS_KEY_TAIL));
            last.is_none_or(|last| now < last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn ring(rows: &[(&str, i64, Option<i64>)]) -> KeyRing {
        let rows = rows
            .iter()
            .map(|(kid, active, retired)| KeyRow {
                kid: (*kid).to_owned(),
                created_at: at(active - 600),
                active_from: at(*active),
                retired_at: retired.map(at),
            })
            .collect();
        let issuer = Issuer::parse("http://127.0.0.1:1").expect("issuer");
        KeyRing::new(&ServerKeys::new(Zeroizing::new([1; 32])), rows, &issuer, Lifetime::from_secs(600))
    }

    fn claims(exp: i64) -> AccessClaims {
        AccessClaims {
            iss: "http://127.0.0.1:1".into(),
            aud: "demo-shop".into(),
            client_id: "demo-shop".into(),
            sub: "s".into(),
            sid: miid_protocol::SessionId::parse("0198e0a0-0000-7000-8000-00000000000a").expect("id"),
            scope: String::new(),
            iat: exp - 600,
            exp,
            jti: "j".into(),
        }
    }

    fn kids(ring: &KeyRing, now: i64) -> usize {
        ring.jwks(at(now))["keys"].as_array().expect("list").len()
    }

    #[test]
    fn a_rotation_publishes_early_keeps_late_and_never_breaks_a_live_token() {
        let before = ring(&[("a", 0, None)]);
        let rotated = ring(&[("a", 0, None), ("b", 1000, None)]);
        let audience = ClientId::parse("demo-shop").expect("id");
        let token = before.sign(&claims(1599), at(999)).expect("signed");
        assert_eq!(kids(&rotated, 500), 2, "the next key is published before it signs");
        assert!(rotated.verify(&token, Some(&audience), at(1598)).is_some());
        assert!(rotated.verify(&token, Some(&audience), at(1599)).is_none(), "expired");
        assert_eq!(kids(&rotated, 1000 + 600 + 299), 2);
        assert_eq!(kids(&rotated, 1000 + 600 + 300), 1);
        let other = ClientId::parse("other").expect("id");
        assert!(rotated.verify(&token, Some(&other), at(1200)).is_none());
    }

    #[test]
    fn a_retired_key_signs_and_verifies_nothing() {
        let token = ring(&[("a", 0, None)]).sign(&claims(600), at(1)).expect("signed");
        let retired = ring(&[("a", 0, Some(2)), ("b", 2, None)]);
        assert!(retired.verify(&token, None, at(3)).is_none());
        assert_eq!(retired.current(at(3)).expect("b").kid, "b");
    }

    #[test]
    fn a_key_that_was_relieved_does_not_come_back_when_its_successor_is_retired() {
        let old = ring(&[("a", 0, None)]).sign(&claims(99_999), at(1)).expect("signed");
        let retired = ring(&[("a", 0, None), ("b", 1000, Some(50_000)), ("c", 50_000, None)]);
        assert!(retired.verify(&old, None, at(50_001)).is_none());
        assert_eq!(kids(&retired, 50_001), 1, "only c is published");
    }

    #[test]
    fn other_algorithms_and_types_are_refused() {
        let ring = ring(&[("a", 0, None)]);
        let token = ring.sign(&claims(600), at(1)).expect("signed");
        let payload = token.split('.').nth(1).expect("payload");
        for header in [
            r#"{"alg":"none","typ":"at+jwt","kid":"a"}"#,
            r#"{"alg":"HS256","typ":"at+jwt","kid":"a"}"#,
            r#"{"alg":"EdDSA","typ":"JWT","kid":"a"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../a"}"#,
        ] {
            let signature = token.rsplit('.').next().expect("signature");
            let forged = format!("{}.{payload}.{signature}", jws::encode(header.as_bytes()));
            assert!(ring.verify(&forged, None, at(1)).is_none(), "{header}");
        }
        assert!(ring.verify(&token, None, at(1)).is_some());
    }
}
