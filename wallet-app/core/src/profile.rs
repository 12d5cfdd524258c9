//! What a person says about themselves. Self-attested: a service finds its account by (`iss`, `sub`) and
//! never by any of this (protocol, section 4).

use std::collections::BTreeMap;

use miid_protocol::text;
use serde::{Deserialize, Serialize};

/// Most fields in one profile.
pub const MAX_FIELDS: usize = 64;

/// Fields that every wallet offers, in the order in which they are shown. Others are the person's own.
pub const USUAL_FIELDS: &[&str] = &["name", "email", "nickname"];

/// Why a field cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// `[a-z0-9_]{1,32}`
    #[error("a field's name has 1 to 32 of a-z 0-9 _")]
    Name,
    /// At most 1,024 characters on one line.
    #[error("a value has 1 to 1,024 characters on one line, none of them hidden")]
    Value,
    /// Enough is enough.
    #[error("a profile has at most 64 fields")]
    Full,
}

/// Names and values, each checked when it was set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile(BTreeMap<String, String>);

impl Profile {
    /// Sets a field.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ProfileError> {
        if !text::is_claim_name(name) {
            return Err(ProfileError::Name);
        }
        let value = value.trim();
        if value.is_empty() || !text::is_displayable(value, text::MAX_CLAIM_VALUE) {
            return Err(ProfileError::Value);
        }
        if self.0.len() >= MAX_FIELDS && !self.0.contains_key(name) {
            return Err(ProfileError::Full);
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Takes a field out; says whether there was one.
    pub fn unset(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// All of it anew; nothing changes where one field cannot be kept. An empty value is a field that goes.
    pub fn replace<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), ProfileError> {
        let mut fresh = Self::default();
        for (name, value) in fields {
            if !value.trim().is_empty() {
                fresh.set(name, value)?;
            }
        }
        *self = fresh;
        Ok(())
    }

    /// One value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of it, the usual fields first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let usual = USUAL_FIELDS.iter().filter_map(|name| self.0.get_key_value(*name));
        let own = self.0.iter().filter(|(name, _)| !USUAL_FIELDS.contains(&name.as_str()));
        usual.chain(own).map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_plainly_and_its_value_hides_nothing() {
        let mut profile = Profile::default();
        assert_eq!(profile.set("name", " 김앨리스 "), Ok(()));
        assert_eq!(profile.value("name"), Some("김앨리스"));
        assert_eq!(profile.set("Name", "x"), Err(ProfileError::Name));
        assert_eq!(profile.set("name", "a\u{202e}b"), Err(ProfileError::Value));
        assert_eq!(profile.set("name", ""), Err(ProfileError::Value));
        assert_eq!(profile.set("about", &"가".repeat(1024)), Ok(()));
        assert_eq!(profile.set("about", &"가".repeat(1025)), Err(ProfileError::Value));
        assert_eq!(profile.set("a_first", "x"), Ok(()));
        let names: Vec<_> = profile.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["name", "a_first", "about"]);
    }

    #[test]
    fn a_profile_is_replaced_as_a_whole_or_not_at_all() {
        let mut profile = Profile::default();
        profile.set("name", "Alice").expect("set");
        let before = profile.clone();
        assert_eq!(profile.replace([("email", "a@example.com"), ("Bad Name", "x")]), Err(ProfileError::Name));
        assert_eq!(profile, before);
        assert_eq!(profile.replace([("email", "a@example.com"), ("shoe_size", " ")]), Ok(()));
        assert_eq!(profile.iter().collect::<Vec<_>>(), [("email", "a@example.com")]);
    }

    #[test]
    fn a_profile_is_bounded() {
        let mut profile = Profile::default();
        for i in 0..MAX_FIELDS {
            assert_eq!(profile.set(&format!("f{i}"), "x"), Ok(()));
        }
        assert_eq!(profile.set("one_more", "x"), Err(ProfileError::Full));
        assert_eq!(profile.set("f0", "y"), Ok(()));
    }
}
