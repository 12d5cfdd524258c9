//! Who calls, as the gateway's edge says it: `X-MiID-Identity`, a JWT of a minute for one route (`docs/edge.md`).
//! Nothing else that a caller sends is believed.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use miid_protocol::{ClientId, Issuer, Lifetime, SessionId, Signature, Timestamp, VerifyingKey, json, jws};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::problem::Problem;
use crate::gateway::{Gateway, Jwks};
use crate::outside::Outside;

const HEADER: &str = "x-miid-identity";
const TYP: &str = "miid-identity+jwt";
/// Keys are read again after so long: one that was retired must be gone here, too.
const KEYS_FOR: Lifetime = Lifetime::from_secs(60);
/// And for a `kid` that is not there, at most so often.
const KEYS_AGAIN: Lifetime = Lifetime::from_secs(5);
/// Clocks of two machines may differ by this.
const CLOCKS_DIFFER_S: i64 = 5;
/// Longest life of an identity, in seconds.
const LONGEST_S: i64 = 60;

/// A person in a session, vouched for.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    iss: String,
    aud: String,
    client_id: String,
    pub(super) sub: String,
    pub(super) sid: SessionId,
    iat: i64,
    exp: i64,
    #[serde(default)]
    pub(super) acr: Option<String>,
    #[serde(default)]
    pub(super) auth_time: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    alg: String,
    typ: String,
    kid: String,
}

/// Reads identities of one gateway for one service.
pub(super) struct Identities {
    pub(super) gateway: Arc<Gateway>,
    pub(super) issuer: Issuer,
    pub(super) client_id: ClientId,
    pub(super) outside: Outside,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, VerifyingKey>,
    read_at: Option<Timestamp>,
}

impl Identities {
    pub(super) fn new(gateway: Arc<Gateway>, issuer: Issuer, client_id: ClientId, outside: Outside) -> Self {
        Self { gateway, issuer, client_id, outside, known: Mutex::default() }
    }

    /// Who calls `route`.
    pub(super) async fn of(&self, headers: &HeaderMap, route: &str) -> Result<Identity, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let (Some(token), None) = (values.next(), values.next()) else {
            return Err(Problem::InvalidIdentity);
        };
        let token = token.to_str().map_err(|_| Problem::InvalidIdentity)?;
        let kid = kid_of(token).ok_or(Problem::InvalidIdentity)?;
        let key = self.key(&kid).await?;
        let identity = verified(token, &key).ok_or(Problem::InvalidIdentity)?;
        if self.accepts(&identity, route) { Ok(identity) } else { Err(Problem::InvalidIdentity) }
    }

    fn accepts(&self, identity: &Identity, route: &str) -> bool {
        let now_s = self.outside.now().seconds();
        identity.iss == self.issuer.as_str()
            && identity.aud == route
            && identity.client_id == self.client_id.as_str()
            && identity.iat <= now_s + CLOCKS_DIFFER_S
            && now_s < identity.exp.saturating_add(CLOCKS_DIFFER_S)
            && identity.exp.saturating_sub(identity.iat) <= LONGEST_S
    }

    /// One that cannot be read now counts for nothing.
    async fn key(&self, kid: &str) -> Result<VerifyingKey, Problem> {
        let mut known = self.known.lock().await;
        let now = self.outside.now();
        let is_young = |lifetime| known.read_at.is_some_and(|at| at <= now && now < at.plus(lifetime));
        let found = known.keys.get(kid).copied();
        let is_enough = if found.is_some() { is_young(KEYS_FOR) } else { is_young(KEYS_AGAIN) };
        if !is_enough {
            let keys = self.gateway.keys().await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "the gateway's keys cannot be read");
                Problem::GatewayAway
            })?;
            *known = Known { keys: usable(keys), read_at: Some(now) };
        }
        known.keys.get(kid).copied().ok_or(Problem::InvalidIdentity)
    }
}

fn usable(keys: Jwks) -> HashMap<String, VerifyingKey> {
    let key = |x: &str| VerifyingKey::from_bytes(&jws::decode(x)?.try_into().ok()?).ok();
    let ours = keys.keys.into_iter().filter(|key| key.kty == "OKP" && key.crv == "Ed25519");
    ours.filter_map(|one| Some((one.kid, key(&one.x)?))).collect()
}

fn kid_of(token: &str) -> Option<String> {
    if token.len() > jws::MAX_LENGTH {
        return None;
    }
    let head: Head = json::from_slice(&jws::decode(token.split('.').next()?)?).ok()?;
    (head.alg == "EdDSA" && head.typ == TYP).then_some(head.kid)
}

fn verified(token: &str, key: &VerifyingKey) -> Option<Identity> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (_, payload) = signed.split_once('.')?;
    let signature: [u8; 64] = jws::decode(signature)?.try_into().ok()?;
    key.verify_strict(signed.as_bytes(), &Signature::from_bytes(&signature)).ok()?;
    json::from_slice(&jws::decode(payload)?).ok()
}

#[cfg(test)]
mod tests {
    use miid_protocol::SigningKey;
    use miid_protocol::secret::Secret;
    use serde_json::{Value, json};

    use super::*;

    const NOW_S: i64 = 1_000_000;

    /// With one key that was read just now, so that nobody is asked.
    fn identities() -> Identities {
        let issuer = Issuer::parse("http://127.0.0.1:1").expect("an origin");
        let client_id = ClientId::parse("demo-shop").expect("a client id");
        let gateway =
            Gateway::new(&issuer, client_id.clone(), Secret::from_bytes([1; 32])).expect("a client");
        let now = Timestamp::from_millis(NOW_S * 1000);
        let outside = Outside::real().with_clock(move || now);
        let mut identities = Identities::new(Arc::new(gateway), issuer, client_id, outside);
        let keys = HashMap::from([("a".to_owned(), key().verifying_key())]);
        *identities.known.get_mut() = Known { keys, read_at: Some(now) };
        identities
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn payload() -> Value {
        json!({"iss": "http://127.0.0.1:1", "aud": "transfers", "client_id": "demo-shop", "sub": "s",
            "sid": "0198e0a0-0000-7000-8000-000000000009", "scope": "", "iat": NOW_S, "exp": NOW_S + 60})
    }

    fn signed(key: &SigningKey, head: &Value, payload: &Value) -> String {
        use ed25519_dalek::Signer as _;
        let text = format!(
            "{}.{}",
            jws::encode(head.to_string().as_bytes()),
            jws::encode(payload.to_string().as_bytes())
        );
        format!("{text}.{}", jws::encode(&key.sign(text.as_bytes()).to_bytes()))
    }

    async fn asked(tokens: &[String]) -> Result<Identity, Problem> {
        let mut headers = HeaderMap::new();
        for token in tokens {
            headers.append(HEADER, token.parse().expect("a value"));
        }
        identities().of(&headers, "transfers").await
    }

    #[tokio::test]
    async fn only_what_the_gateway_signed_for_this_route_counts() {
        let head = json!({"alg": "EdDSA", "typ": TYP, "kid": "a"});
        let good = signed(&key(), &head, &payload());
        assert_eq!(asked(std::slice::from_ref(&good)).await.expect("accepted").sub, "s");
        let changed = |name: &str, value: Value| {
            let mut payload = payload();
            payload[name] = value;
            signed(&key(), &head, &payload)
        };
        let with_head = |name: &str, value: &str| {
            let mut head = head.clone();
            head[name] = value.into();
            signed(&key(), &head, &payload())
        };
        for (what, tokens) in [
            ("none", vec![]),
            ("two", vec![good.clone(), good.clone()]),
            ("another key's", vec![signed(&SigningKey::from_bytes(&[6; 32]), &head, &payload())]),
            ("an unknown key's", vec![with_head("kid", "b")]),
            ("an access token", vec![with_head("typ", "at+jwt")]),
            ("another algorithm", vec![with_head("alg", "none")]),
            ("another gateway's", vec![changed("iss", json!("http://127.0.0.1:2"))]),
            ("another route's", vec![changed("aud", json!("balance"))]),
            ("another service's", vec![changed("client_id", json!("other"))]),
            ("old", vec![changed("exp", json!(NOW_S - 6))]),
            ("of tomorrow", vec![changed("iat", json!(NOW_S + 6))]),
            ("for a year", vec![changed("exp", json!(NOW_S + 31_536_000))]),
            ("cut", vec![good[..good.len() - 2].to_owned()]),
            ("nonsense", vec!["a.b.c".into()]),
        ] {
            assert_eq!(asked(&tokens).await.err(), Some(Problem::InvalidIdentity), "{what}");
        }
    }
}
