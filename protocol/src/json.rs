//! Strict JSON (section 1): a member that stands twice is refused, at any depth, also where the
//! member is unknown and would be ignored. Two readers of one text must not see two values.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};

/// Why a text was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(#[from] serde_json::Error);

impl JsonError {
    /// Whether the text was JSON with nothing twice, and only did not fit the expected shape.
    pub fn is_shape(&self) -> bool {
        self.0.is_data()
    }
}

/// Parses a whole JSON text. Nesting is bounded (128 levels, by serde_json).
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    serde_json::from_slice::<NothingTwice>(bytes)?;
    Ok(serde_json::from_slice(bytes)?)
}

/// [`from_slice`] for text.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    from_slice(text.as_bytes())
}

/// Reads any JSON value, keeps nothing, and fails at the first member that stands twice.
struct NothingTwice;

impl<'de> Deserialize<'de> for NothingTwice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NothingTwiceVisitor)
    }
}

struct NothingTwiceVisitor;

impl<'de> Visitor<'de> for NothingTwiceVisitor {
    type Value = NothingTwice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<NothingTwice, E> {
        Ok(NothingTwice)
    }
    fn visit_i64<E>(self, _: i64) -> Result<NothingTwice, E> {
        Ok(NothingTwice)
    }
    fn visit_u64<E>(self, _: u64) -> Result<NothingTwice, E> {
        Ok(NothingTwice)
    }
    fn visit_f64<E>(self, _: f64) -> Result<NothingTwice, E> {
        Ok(NothingTwice)
    }
    fn visit_str<E>(self, _: &str) -> Result<NothingTwice, E> {
        Ok(NothingTwice)
    }
    fn visit_unit<E>(self) -> Result<NothingTwice, E> {
        Ok(NothingTwice)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NothingTwice, A::Error> {
        while seq.next_element::<NothingTwice>()?.is_some() {}
        Ok(NothingTwice)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NothingTwice, A::Error> {
        let mut seen = Names::default();
        while let Some(Name(name)) = map.next_key()? {
            if !seen.insert(name) {
                return Err(serde::de::Error::custom("a member stands twice"));
            }
            map.next_value::<NothingTwice>()?;
        }
        Ok(NothingTwice)
    }
}

/// A member's name, as it stands in the text where nothing in it is escaped.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }
    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// The names of one object's members.
#[derive(Default)]
struct Names<'de> {
    /// The first ones, which are all there are nearly always.
    few: Vec<Cow<'de, str>>,
    /// The others, so that many are not compared with all before them.
    more: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    const FEW: usize = 16;

    /// False where it was there.
    fn insert(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.reserve_exact(Self::FEW - self.few.len());
            self.few.push(name);
            return true;
        }
        self.more.insert(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct A {
        #[allow(dead_code)]
        a: Option<u8>,
    }

    #[test]
    fn a_member_twice_is_refused_known_or_not_at_any_depth() {
        assert!(from_str::<A>(r#"{"a":1,"b":{"c":1}}"#).is_ok());
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":1,"x":1}"#, r#"{"x":[{"y":1,"\u0079":2}]}"#] {
            assert!(from_str::<A>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn among_many_members_the_second_is_found_wherever_it_stands() {
        let text = |names: &mut dyn Iterator<Item = usize>| {
            let members: Vec<String> = names.map(|n| format!("\"m{n}\":{n}")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(from_str::<A>(&text(&mut (0..100))).is_ok());
        for twice in 0..100 {
            assert!(from_str::<A>(&text(&mut (0..100).chain([twice]))).is_err(), "{twice}");
            assert!(from_str::<A>(&text(&mut [twice].into_iter().chain(0..100))).is_err(), "{twice}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(from_str::<A>(&format!("{{\"x\":{}", "[".repeat(100_000))).is_err());
    }
}
