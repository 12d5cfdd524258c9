//! Secrets (section 1): 256 random bits, base64url, behind a prefix that secret scanners find. In
//! the clear once, at the holder; a [`SecretHash`] everywhere else. No `Debug` shows one.

use std::fmt;
use std::marker::PhantomData;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::ids::ParseError;
use crate::jws;

/// What a secret is for; the prefix says it on the wire.
pub trait Kind {
    /// For example `miid_ac_`.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name {}
            impl Kind for $name {
                const PREFIX: &'static str = $prefix;
            }
        )*
    };
}

kinds! {
    /// What a service exchanges for tokens.
    AuthorizationCode = "miid_ac_";
    /// What comes back through the person's own browser (linked challenges).
    ResponseCode = "miid_rc_";
    /// What a wallet claims a linked challenge with.
    LinkSecret = "miid_ls_";
    /// The cookie of one login at a service.
    LoginCookie = "miid_ln_";
    /// The cookie that says this browser has signed in before.
    KnownBrowser = "miid_kb_";
    /// What a service gets new access tokens with.
    RefreshToken = "miid_rt_";
    /// A service's password towards the gateway.
    ClientSecret = "miid_cs_";
    /// A browser's session at a service.
    BrowserSession = "miid_sid_";
}

/// 256 bits that only their holder keeps in the clear.
pub struct Secret<K> {
    text: Zeroizing<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Secret<K> {
    /// From 32 fresh random bytes, or bytes derived from a server key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self { text: Zeroizing::new(format!("{}{}", K::PREFIX, jws::encode(&*bytes))), kind: PhantomData }
    }

    /// Parses one that somebody presents.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let body = text.strip_prefix(K::PREFIX).ok_or(ParseError("not a secret of this kind"))?;
        match jws::decode(body) {
            Some(bytes) if bytes.len() == 32 => {
                Ok(Self { text: Zeroizing::new(text.to_owned()), kind: PhantomData })
            }
            _ => Err(ParseError("not a secret of this kind")),
        }
    }

    /// In the clear: for the one place that hands it to its holder.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The 32 bytes behind the prefix.
    pub fn bytes(&self) -> Option<[u8; 32]> {
        jws::decode(self.text.strip_prefix(K::PREFIX)?)?.try_into().ok()
    }

    /// What may be stored and compared.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.text.as_bytes()).into())
    }
}

impl<K> Clone for Secret<K> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), kind: PhantomData }
    }
}

impl<K: Kind> fmt::Debug for Secret<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", K::PREFIX)
    }
}

/// SHA-256 of a secret: full entropy went in, so a plain hash is enough.
#[derive(Debug, Clone, Copy, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// As the stores keep it: base64url.
    pub fn to_text(self) -> String {
        jws::encode(&self.0)
    }

    /// From a store.
    pub fn from_text(text: &str) -> Option<Self> {
        jws::decode(text)?.try_into().ok().map(Self)
    }
}

impl PartialEq for SecretHash {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_parsed_strictly_and_never_shown() {
        let secret = Secret::<AuthorizationCode>::from_bytes([7; 32]);
        assert_eq!(secret.expose().len(), "miid_ac_".len() + 43);
        assert_eq!(
            Secret::<AuthorizationCode>::parse(secret.expose()).expect("parses").hash(),
            secret.hash()
        );
        assert_eq!(format!("{secret:?}"), "miid_ac_…");
        assert!(Secret::<RefreshToken>::parse(secret.expose()).is_err());
        assert!(Secret::<AuthorizationCode>::parse("miid_ac_").is_err());
        assert!(Secret::<AuthorizationCode>::parse(&format!("{}=", secret.expose())).is_err());
        assert_eq!(SecretHash::from_text(&secret.hash().to_text()), Some(secret.hash()));
    }
}
