//! Token signing keys over time: next, current and previous (section 4). The rows say when a key
//! counts; the private halves are derived from the key file.

use std::sync::OnceLock;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use miid_protocol::{ClientId, Issuer, Lifetime, Timestamp, json, jws};
use serde_json::{Value, json as object};

use super::fixed::FixedKey;
use super::jwt::AccessClaims;
use super::{ServerKeys, install_provider};

/// How long a key is published before anything is signed with it.
pub const NEXT_KEY_LEAD: Lifetime = Lifetime::from_secs(10 * 60);
/// How long a key stays published beyond the last token that it signed.
pub const PREVIOUS_KEY_TAIL: Lifetime = Lifetime::from_secs(5 * 60);

/// No access token lives longer, whatever it says, unless the operator gives them more.
const LONGEST_TOKEN: Lifetime = Lifetime::from_secs(3600);

/// What is wrong with an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It is none, or says what none of ours says.
    Malformed,
    /// Signed with a key that does not count, or not any more.
    UnknownKey,
    /// The signature does not hold.
    Signature,
    /// It is another issuer's.
    Issuer,
    /// Its time is over.
    Expired,
}

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
    /// For the edge, which checks many signatures of one key.
    fixed: Option<FixedKey>,
    /// A header over which a signature of this key held: what says the same is not read again.
    head: OnceLock<Box<str>>,
    /// When the next one took over, also where that one was retired since: a key that was relieved does not
    /// come back.
    relieved_at: Option<Timestamp>,
}

/// The keys of one moment's rows.
pub struct KeyRing {
    keys: Vec<Key>,
    /// What no access token outlives.
    longest_token: Lifetime,
    issuer: Issuer,
}

impl KeyRing {
    /// From the rows; retired ones stay out.
    pub fn new(keys: &ServerKeys, mut rows: Vec<KeyRow>, issuer: &Issuer, longest_token: Lifetime) -> Self {
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
                    fixed: FixedKey::new(public),
                    head: OnceLock::new(),
                    relieved_at,
                }
            })
            .collect();
        Self { keys, longest_token, issuer: issuer.clone() }
    }

    /// Signs an access token; `None` only where every key was retired.
    pub fn sign(&self, claims: &AccessClaims, now: Timestamp) -> Option<String> {
        self.sign_as("at+jwt", claims, now)
    }

    /// Signs anything else, under a `typ` of its own so that nobody takes it for an access token.
    pub fn sign_as(&self, typ: &str, claims: &impl serde::Serialize, now: Timestamp) -> Option<String> {
        let key = self.keys.iter().rev().find(|key| key.row.active_from <= now)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.into());
        header.kid = Some(key.row.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.signing).ok()
    }

    /// The same checks as [`Self::verify`] but for the audience, and says which of them failed; for who checks
    /// many. What `claims` say of their time is also bounded: a stolen key signs no token for a year.
    pub fn examine(&self, token: &str, now: Timestamp) -> Result<(AccessClaims, &str), TokenFault> {
        let mut parts = token.split('.');
        let (Some(head), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Malformed);
        };
        let malformed = TokenFault::Malformed;
        let known = self.published(now).find(|key| key.head.get().is_some_and(|known| **known == *head));
        let key = match known {
            Some(key) => key,
            None => self.key_of(head, now)?,
        };
        let signature: [u8; 64] =
            jws::decode(signature).and_then(|s| s.try_into().ok()).ok_or(TokenFault::Malformed)?;
        let signed = &token.as_bytes()[..token.rfind('.').unwrap_or_default()];
        if !key.fixed.as_ref().is_some_and(|fixed| fixed.verifies(signed, &signature)) {
            return Err(TokenFault::Signature);
        }
        if known.is_none() {
            key.head.get_or_init(|| head.into());
        }
        let claims: AccessClaims =
            jws::decode(payload).and_then(|claims| json::from_slice(&claims).ok()).ok_or(malformed)?;
        if claims.iss != self.issuer.as_str() {
            return Err(TokenFault::Issuer);
        }
        let longest = self.longest_token.max(LONGEST_TOKEN).seconds();
        let (now_s, skew) = (now.seconds(), 60);
        if claims.iat > now_s + skew || claims.exp <= claims.iat || claims.exp - claims.iat > longest {
            return Err(TokenFault::Malformed);
        }
        if now_s >= claims.exp {
            return Err(TokenFault::Expired);
        }
        Ok((claims, &key.row.kid))
    }

    /// The key that the header of an access token names.
    fn key_of(&self, head: &str, now: Timestamp) -> Result<&Key, TokenFault> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Head {
            alg: String,
            typ: String,
            kid: String,
        }
        let head: Option<Head> = jws::decode(head).and_then(|head| json::from_slice(&head).ok());
        let head = head.filter(|head| head.alg == "EdDSA" && head.typ == "at+jwt");
        let kid = head.ok_or(TokenFault::Malformed)?.kid;
        self.published(now).find(|key| key.row.kid == kid).ok_or(TokenFault::UnknownKey)
    }

    /// Whether what this key signed still counts.
    pub fn honours(&self, kid: &str, now: Timestamp) -> bool {
        self.published(now).any(|key| key.row.kid == kid)
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
                object!({
                    "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                    "kid": key.row.kid, "x": jws::encode(&key.public),
                })
            })
            .collect();
        object!({ "keys": keys })
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
            let last = key.relieved_at.map(|at| at.plus(self.longest_token).plus(PREVIOUS_KEY_TAIL));
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
            acr: None,
            auth_time: None,
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

    #[test]
    fn an_examination_says_what_is_wrong() {
        let ring = ring(&[("a", 0, None)]);
        let token = ring.sign(&claims(600), at(1)).expect("signed");
        assert!(ring.examine(&token, at(1)).is_ok_and(|(claims, kid)| claims.sub == "s" && kid == "a"));
        assert_eq!(ring.examine(&token, at(600)).err(), Some(TokenFault::Expired));
        let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts")
        };
        let with_head = |text: &str| format!("{}.{payload}.{signature}", jws::encode(text.as_bytes()));
        for (text, fault) in [
            (r#"{"alg":"none","typ":"at+jwt","kid":"a"}"#, TokenFault::Malformed),
            (r#"{"alg":"HS256","typ":"at+jwt","kid":"a"}"#, TokenFault::Malformed),
            (r#"{"alg":"EdDSA","typ":"JWT","kid":"a"}"#, TokenFault::Malformed),
            (r#"{"alg":"EdDSA","typ":"at+jwt"}"#, TokenFault::Malformed),
            (r#"{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":"a"}"#, TokenFault::Malformed),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"a","jwk":{}}"#, TokenFault::Malformed),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"a","crit":["x"]}"#, TokenFault::Malformed),
            (r#"{"alg":"EdDSA","typ":"at+jwt","kid":"../../etc/passwd"}"#, TokenFault::UnknownKey),
            (r#"{"kid":"a","alg":"EdDSA","typ":"at+jwt"}"#, TokenFault::Signature),
        ] {
            assert_eq!(ring.examine(&with_head(text), at(1)).err(), Some(fault), "{text}");
        }
        for text in ["", ".", "..", "a.b", "a.b.c", &format!("{token}."), &format!("{head}.{payload}.AAAA")] {
            assert_eq!(ring.examine(text, at(1)).err(), Some(TokenFault::Malformed), "{text:?}");
        }
        // Signed by the right key and saying what no token of ours says.
        let signed = |change: fn(&mut AccessClaims)| {
            let mut claims = claims(600);
            change(&mut claims);
            ring.sign(&claims, at(1)).expect("signed")
        };
        for (token, fault) in [
            (signed(|claims| claims.iss = "http://127.0.0.1:2".into()), TokenFault::Issuer),
            (signed(|claims| claims.exp = 4_000_000_000), TokenFault::Malformed),
            (
                signed(|claims| (claims.iat, claims.exp) = (4_000_000_000, 4_000_000_600)),
                TokenFault::Malformed,
            ),
            (signed(|claims| claims.exp = claims.iat), TokenFault::Malformed),
        ] {
            assert_eq!(ring.examine(&token, at(1)).err(), Some(fault));
        }
    }
}
