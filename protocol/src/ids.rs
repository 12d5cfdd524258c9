//! Names of things: UUIDv7 resource ids, client ids, handles, the issuer (sections 1 and 5). Each is
//! a type of its own, made by parsing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::did::{Did, DidError};

/// A text that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) &'static str);

/// `Display`, `Debug`, `FromStr` and serde for a type with `as_str` and `parse`.
macro_rules! text_type {
    ($name:ty) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(s: &str) -> Result<Self, ParseError> {
                Self::parse(s)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! resource_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// From a fresh UUIDv7; whoever makes one passes in time and randomness.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Parses a UUIDv7, lower case and hyphenated, and nothing else.
            pub fn parse(text: &str) -> Result<Self, ParseError> {
                let uuid = Uuid::try_parse(text).map_err(|_| ParseError("not a UUIDv7"))?;
                let mut buffer = Uuid::encode_buffer();
                let exact = uuid.hyphenated().encode_lower(&mut buffer) == text;
                if exact && uuid.get_version_num() == 7 {
                    Ok(Self(uuid))
                } else {
                    Err(ParseError("not a UUIDv7, lower case and hyphenated"))
                }
            }

            /// The id as a UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(s: &str) -> Result<Self, ParseError> {
                Self::parse(s)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

resource_id!(
    /// One request to sign in.
    ChallengeId
);
resource_id!(
    /// One session of a person at a service.
    SessionId
);

/// A service's name towards the gateway: `[a-z0-9][a-z0-9._-]{1,63}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Parses a `client_id`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if first && (2..=64).contains(&text.len()) && text.bytes().all(inner) {
            Ok(Self(text.into()))
        } else {
            Err(ParseError("a client_id has 2 to 64 of a-z 0-9 . _ - and begins with a letter or digit"))
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_type!(ClientId);

/// What a person is called at a gateway (section 5). It is never resolved to a DID towards a service.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(Box<str>);

/// Names that would let somebody pass for the operator.
const RESERVED_HANDLES: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "anonymous",
    "api",
    "auth",
    "everyone",
    "gateway",
    "help",
    "hostmaster",
    "info",
    "login",
    "mail",
    "me",
    "miid",
    "moderator",
    "noreply",
    "nobody",
    "null",
    "official",
    "operator",
    "owner",
    "postmaster",
    "root",
    "security",
    "service",
    "signin",
    "staff",
    "support",
    "sysadmin",
    "system",
    "undefined",
    "unknown",
    "user",
    "wallet",
    "webmaster",
    "you",
];

impl Handle {
    /// Normalises and parses: a leading `@` is dropped, letters are lowered, then
    /// `[a-z0-9](?:[a-z0-9_-]{1,30})[a-z0-9]`. A reserved word still parses: nobody can claim it,
    /// but to ask for it must look like asking for any unknown handle.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.strip_prefix('@').unwrap_or(text);
        let lower = text.to_ascii_lowercase();
        let bytes = lower.as_bytes();
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = (3..=32).contains(&bytes.len())
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && bytes.iter().all(|&b| edge(b) || b == b'_' || b == b'-');
        if ok {
            Ok(Self(lower.into()))
        } else {
            Err(ParseError("a handle has 3 to 32 of a-z 0-9 _ - and begins and ends with a letter or digit"))
        }
    }

    /// Whether nobody may claim it, also under a look-alike.
    pub fn is_reserved(&self) -> bool {
        let skeleton = self.skeleton();
        RESERVED_HANDLES.iter().any(|word| skeleton == skeleton_of(word))
    }

    /// What it looks like at a glance: two handles with one skeleton cannot both be claimed.
    pub fn skeleton(&self) -> String {
        skeleton_of(&self.0)
    }

    /// As text, without the `@`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
text_type!(Handle);

fn skeleton_of(text: &str) -> String {
    let folded: String = text
        .chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .map(|c| match c {
            '0' => 'o',
            '1' | 'i' | 'j' => 'l',
            '5' => 's',
            '8' => 'b',
            '2' => 'z',
            '9' | 'q' => 'g',
            c => c,
        })
        .collect();
    folded.replace("rn", "m").replace("vv", "w").replace("cl", "d")
}

/// What somebody typed to say who they are: a DID or a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginHint {
    /// A wallet's own name.
    Did(Did),
    /// A handle, known or not.
    Handle(Handle),
}

/// Why a hint is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginHintError {
    /// It begins like a DID and is none that can be used.
    #[error(transparent)]
    Did(#[from] DidError),
    /// It cannot be a handle.
    #[error(transparent)]
    Handle(#[from] ParseError),
}

impl LoginHint {
    /// Parses a hint; surrounding white space is dropped, since people paste.
    pub fn parse(text: &str) -> Result<Self, LoginHintError> {
        let text = text.trim();
        if text.starts_with("did:") {
            Ok(Self::Did(Did::parse(text)?))
        } else {
            Ok(Self::Handle(Handle::parse(text)?))
        }
    }

    /// The hint as normalised: what quotas count.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Did(did) => did.as_str(),
            Self::Handle(handle) => handle.as_str(),
        }
    }
}

/// The gateway's name (section 1): an origin, and http only on loopback.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Issuer(Box<str>);

impl Issuer {
    /// Parses `scheme://host[:port]`: lower case, no default port, no path, no trailing slash.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        const SHAPE: ParseError = ParseError(
            "an origin is scheme://host[:port], lower case, without default port, path or trailing slash",
        );
        let (scheme, authority) = text.split_once("://").ok_or(SHAPE)?;
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (inner, after) = rest.split_once(']').ok_or(SHAPE)?;
            let address: std::net::Ipv6Addr = inner.parse().map_err(|_| SHAPE)?;
            if address.to_string() != inner {
                return Err(SHAPE);
            }
            (
                &authority[..inner.len() + 2],
                if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(SHAPE)?) },
            )
        } else {
            match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            }
        };
        let host_ok = host.starts_with('[')
            || (!host.is_empty()
                && host.len() <= 253
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                }));
        if !host_ok {
            return Err(SHAPE);
        }
        if let Some(port) = port {
            let number: u16 = port.parse().map_err(|_| SHAPE)?;
            let default = (scheme == "https" && number == 443) || (scheme == "http" && number == 80);
            if number == 0 || default || number.to_string() != port {
                return Err(SHAPE);
            }
        }
        match scheme {
            "https" => Ok(Self(text.into())),
            "http" if is_loopback(host) => Ok(Self(text.into())),
            "http" => Err(ParseError("http is for loopback hosts only; use https")),
            _ => Err(SHAPE),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `host[:port]`, what a `Host` header must say.
    pub fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// Whether cookies may be `Secure`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}
text_type!(Issuer);

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host == "[::1]"
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_id_has_one_spelling() {
        let text = "0198e0a0-0000-7000-8000-000000000001";
        assert_eq!(ChallengeId::parse(text).expect("v7").to_string(), text);
        for other in [
            "0198E0A0-0000-7000-8000-000000000001x",
            "0198e0a0000070008000000000000001",
            "{0198e0a0-0000-7000-8000-000000000001}",
            "urn:uuid:0198e0a0-0000-7000-8000-000000000001",
            "0198e0a0-0000-4000-8000-000000000001",
            "",
        ] {
            assert!(ChallengeId::parse(other).is_err(), "{other}");
        }
        assert!(ChallengeId::parse(&text.replace('a', "A")).is_err());
    }

    #[test]
    fn handles_are_normalised_and_look_alikes_share_a_skeleton() {
        assert_eq!(Handle::parse("@Alice").expect("handle").as_str(), "alice");
        for bad in ["", "a", "ab", "-alice", "alice-", "al ice", "앨리스", "a\u{0}ce", &"a".repeat(33)] {
            assert!(Handle::parse(bad).is_err(), "{bad}");
        }
        let skeleton = |text: &str| Handle::parse(text).expect(text).skeleton();
        assert_eq!(skeleton("alice"), skeleton("a1ice"));
        assert_eq!(skeleton("al-ice"), skeleton("al_ice"));
        assert_eq!(skeleton("bob"), skeleton("b0b"));
        assert_eq!(skeleton("modern"), skeleton("modem"));
        assert_ne!(skeleton("alice"), skeleton("bob"));
        assert!(Handle::parse("Adm1n").expect("handle").is_reserved());
        assert!(!Handle::parse("alice").expect("handle").is_reserved());
    }

    #[test]
    fn an_issuer_is_an_origin_and_http_is_for_loopback() {
        for good in [
            "https://gw.example",
            "https://gw.example:8443",
            "http://127.0.0.1:14000",
            "http://localhost:1",
            "http://[::1]:2",
        ] {
            assert_eq!(Issuer::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "https://gw.example/",
            "https://GW.example",
            "https://gw.example:443",
            "http://gw.example",
            "http://127.0.0.1.evil.example",
            "ftp://localhost",
            "https://",
            "https://a:b@gw.example",
            "https://gw.example:08443",
            "https://gw.example?x",
            "http://[::1",
            "https://gw..example",
            "gw.example",
            "https://gw.example:0",
            "http://[0::1]:2",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
    }
}
