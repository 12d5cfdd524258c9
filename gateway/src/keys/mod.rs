//! The server's keys. One key file holds one master secret; every other key is derived from it
//! under a label of its own (HKDF, RFC 5869), so that instances which share the file share them all
//! and nothing that must be shown again is ever stored.

mod file;
mod fixed;
mod jwt;
mod ring;

use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use miid_protocol::secret::{AuthorizationCode, Kind, LinkSecret, RefreshToken, ResponseCode, Secret};
use miid_protocol::{ChallengeId, Did, SessionId, SigningKey, jws};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use file::{KeyFileError, load_or_create};
pub use jwt::{AccessClaims, install_provider};
pub use ring::{KeyRing, KeyRow, NEXT_KEY_LEAD, PREVIOUS_KEY_TAIL, TokenFault};

/// How far back a refresh token is looked for; an older one is as spent as the oldest.
const RECENT_GENERATIONS: usize = 64;

/// Everything that is derived from the key file.
pub struct ServerKeys {
    master: Zeroizing<[u8; 32]>,
    codes: Locator,
    numbers: Zeroizing<[u8; 32]>,
    refresh: Locator,
    links: Zeroizing<[u8; 32]>,
    responses: Zeroizing<[u8; 32]>,
    hints: Zeroizing<[u8; 32]>,
}

impl ServerKeys {
    /// From the master secret.
    pub fn new(master: Zeroizing<[u8; 32]>) -> Self {
        let sub = |label: &[u8]| derive(&master, label);
        Self {
            codes: Locator::new(&master, "miid/authorization-code/1"),
            numbers: sub(b"miid/match-code/1"),
            refresh: Locator::new(&master, "miid/refresh-token/1"),
            links: sub(b"miid/link-secret/1"),
            responses: sub(b"miid/response-code/1"),
            hints: sub(b"miid/hint/1"),
            master,
        }
    }

    /// The authorization code of a challenge's so-manieth approval.
    pub fn code(&self, challenge: ChallengeId, approval: i64) -> Secret<AuthorizationCode> {
        self.codes.secret(challenge.uuid(), approval)
    }

    /// The challenge that a code would be of. Whether it is, [`Self::code`] says.
    pub fn challenge_of(&self, code: &Secret<AuthorizationCode>) -> Option<ChallengeId> {
        ChallengeId::parse(&self.codes.locate(code)?.to_string()).ok()
    }

    /// The number that the page of an addressed challenge shows: two digits.
    pub fn match_code(&self, challenge: ChallengeId) -> String {
        let bytes = mac(&self.numbers, &[challenge.uuid().as_bytes()]);
        let number = bytes[..8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b)) % 100;
        format!("{number:02}")
    }

    /// What a wallet claims a linked challenge with.
    pub fn link_secret(&self, challenge: ChallengeId) -> Secret<LinkSecret> {
        Secret::from_bytes(mac(&self.links, &[challenge.uuid().as_bytes()]))
    }

    /// What the exchange of a linked challenge's so-manieth approval needs from the person's browser.
    pub fn response_code(&self, challenge: ChallengeId, approval: i64) -> Secret<ResponseCode> {
        Secret::from_bytes(mac(&self.responses, &[challenge.uuid().as_bytes(), &approval.to_be_bytes()]))
    }

    /// Whether somebody's text is that response code. Compared by hash, in constant time.
    pub fn is_response_code(&self, challenge: ChallengeId, approval: i64, text: &str) -> bool {
        let presented = Secret::<ResponseCode>::parse(text);
        presented.is_ok_and(|code| code.hash() == self.response_code(challenge, approval).hash())
    }

    /// The refresh token of a session's so-manieth generation.
    pub fn refresh_token(&self, session: SessionId, generation: i64) -> Secret<RefreshToken> {
        self.refresh.secret(session.uuid(), generation)
    }

    /// The session that a refresh token would be of. Whether it is, [`Self::generation_of`] says.
    pub fn session_of(&self, token: &Secret<RefreshToken>) -> Option<SessionId> {
        SessionId::parse(&self.refresh.locate(token)?.to_string()).ok()
    }

    /// Which generation of a session's refresh tokens this is, looking from the newest back.
    pub fn generation_of(
        &self,
        session: SessionId,
        newest: i64,
        token: &Secret<RefreshToken>,
    ) -> Option<i64> {
        let hash = token.hash();
        let recent = (1..=newest).rev().take(RECENT_GENERATIONS);
        let found =
            recent.into_iter().find(|generation| self.refresh_token(session, *generation).hash() == hash);
        // It named a session that exists, which nobody can make up: one of the first, then, long spent.
        found.or((newest > RECENT_GENERATIONS as i64).then_some(0))
    }

    /// What quotas count a hint by: keyed, so that a copy of the database names nobody who was only
    /// asked for.
    pub fn hint_key(&self, hint: &str) -> String {
        jws::encode(&mac(&self.hints, &[b"hint", hint.as_bytes()])[..16])
    }

    /// What quotas count a person by, whichever hint named them.
    pub fn person_key(&self, did: &Did) -> String {
        jws::encode(&mac(&self.hints, &[b"person", did.as_str().as_bytes()])[..16])
    }

    /// The private half of a token signing key.
    pub fn signing_key(&self, kid: &str) -> SigningKey {
        SigningKey::from_bytes(&derive(&self.master, format!("miid/signing/1/{kid}").as_bytes()))
    }

    /// What a database remembers of the keys that it belongs to.
    pub fn fingerprint(&self) -> String {
        jws::encode(&derive(&self.master, b"miid/fingerprint/1")[..16])
    }
}

/// Secrets that say whose they are to the holder of the key, and nothing to anybody else: 128 bits that
/// authenticate, and the id encrypted under them (the SIV construction of RFC 5297, with HMAC-SHA-256). So a
/// code or a token is found by its row's id, and neither it nor its hash is stored anywhere.
struct Locator {
    tag: Zeroizing<[u8; 32]>,
    pad: Zeroizing<[u8; 32]>,
}

impl Locator {
    fn new(master: &[u8; 32], label: &str) -> Self {
        let sub = |part: &str| derive(master, format!("{label}/{part}").as_bytes());
        Self { tag: sub("tag"), pad: sub("pad") }
    }

    fn secret<K: Kind>(&self, id: Uuid, number: i64) -> Secret<K> {
        let tag = mac(&self.tag, &[id.as_bytes(), &number.to_be_bytes()]);
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&tag[..16]);
        bytes[16..].copy_from_slice(id.as_bytes());
        self.toggle(&mut bytes);
        Secret::from_bytes(bytes)
    }

    fn locate<K: Kind>(&self, secret: &Secret<K>) -> Option<Uuid> {
        let mut bytes = Zeroizing::new(secret.bytes()?);
        self.toggle(&mut bytes);
        Uuid::from_slice(&bytes[16..]).ok()
    }

    /// Encrypts or decrypts the id under the tag.
    fn toggle(&self, bytes: &mut [u8; 32]) {
        let (tag, id) = bytes.split_at_mut(16);
        let pad = mac(&self.pad, &[tag]);
        id.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    }
}

fn derive(master: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    match Hkdf::<Sha256>::new(None, master).expand(label, &mut *key) {
        Ok(()) => key,
        Err(_) => unreachable!("32 bytes is a length that HKDF can give"),
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    for part in parts {
        // Lengths first: no two lists of parts give one input.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_values_differ_by_purpose_and_input_and_come_again() {
        let keys = ServerKeys::new(Zeroizing::new([7; 32]));
        let again = ServerKeys::new(Zeroizing::new([7; 32]));
        let other = ServerKeys::new(Zeroizing::new([8; 32]));
        let id = ChallengeId::parse("0198e0a0-0000-7000-8000-000000000001").expect("id");
        assert_eq!(keys.code(id, 1).expose(), again.code(id, 1).expose());
        assert_ne!(keys.code(id, 1).expose(), keys.code(id, 2).expose());
        assert_ne!(keys.code(id, 1).expose(), other.code(id, 1).expose());
        assert_eq!(keys.challenge_of(&keys.code(id, 3)), Some(id));
        assert_ne!(other.challenge_of(&keys.code(id, 3)), Some(id));
        let other_id = ChallengeId::parse("0198e0a0-0000-7000-8000-000000000002").expect("id");
        assert_eq!(keys.link_secret(id).expose(), again.link_secret(id).expose());
        assert_ne!(keys.link_secret(id).expose(), other.link_secret(id).expose());
        assert_ne!(keys.link_secret(id).expose(), keys.link_secret(other_id).expose());
        let response = keys.response_code(id, 1);
        assert_ne!(response.bytes(), keys.link_secret(id).bytes());
        assert!(again.is_response_code(id, 1, response.expose()));
        for (keys, id, approval) in [(&keys, id, 2), (&keys, other_id, 1), (&other, id, 1)] {
            assert!(!keys.is_response_code(id, approval, response.expose()));
        }
        for text in
            ["", "miid_rc_", &response.expose().replace("_rc_", "_ac_"), &format!("{}=", response.expose())]
        {
            assert!(!keys.is_response_code(id, 1, text), "{text}");
        }
        let session = SessionId::from_uuid(id.uuid());
        let token = keys.refresh_token(session, 3);
        assert_eq!(keys.session_of(&token), Some(session));
        assert_eq!(keys.generation_of(session, 9, &token), Some(3));
        assert_eq!(keys.generation_of(session, 2, &token), None);
        assert_ne!(
            keys.challenge_of(&Secret::parse(&token.expose().replace("_rt_", "_ac_")).expect("a code")),
            Some(id)
        );
        assert_eq!(keys.match_code(id).len(), 2);
        assert_ne!(keys.fingerprint(), other.fingerprint());
        assert_ne!(keys.hint_key("alice"), keys.hint_key("bob"));
    }
}
