//! The key as 24 words of BIP-39, English list: 256 bits and a checksum of 8, so that one wrong word is noticed.
//! The words *are* the seed; there is no second passphrase that one could forget.

use bip39::{Language, Mnemonic};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

/// How many.
pub const WORDS: usize = 24;
/// Longest text that is looked at: 24 words with numbers, several times over.
const MAX_TEXT: usize = 4096;

/// Why words are no key. None of these says what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Too few or too many.
    #[error("there are 24 words, and {0} were given")]
    Count(usize),
    /// Not a word of the list.
    #[error("word {position} is not one of the list; look for a slip of the pen")]
    Unknown {
        /// Which, from 1.
        position: usize,
    },
    /// All of them exist, and together they are no key.
    #[error("each of the words exists, but together they fit no key: one is another, or two changed places")]
    Checksum,
}

/// A key that can be written down. Wiped when it goes; no `Debug`.
pub struct RecoveryWords(Mnemonic);

impl RecoveryWords {
    /// Reads what somebody typed or pasted: any case, any space, with or without numbers and commas.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let text = Zeroizing::new(text.get(..MAX_TEXT.min(text.len())).unwrap_or_default().to_lowercase());
        let is_mark =
            |c: char| c.is_whitespace() || c.is_ascii_digit() || ".,;:)(-–—_|\u{200b}\u{feff}".contains(c);
        let words = || text.split(is_mark).filter(|word| !word.is_empty());
        let count = words().count();
        if count != WORDS {
            return Err(WordsError::Count(count));
        }
        // Of its final size from the start: one that grows leaves copies behind.
        let mut joined = Zeroizing::new(String::with_capacity(text.len() + WORDS));
        for word in words() {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(word);
        }
        match Mnemonic::parse_in_normalized(Language::English, &joined) {
            Ok(mnemonic) => Ok(Self(mnemonic)),
            Err(bip39::Error::UnknownWord(index)) => Err(WordsError::Unknown { position: index + 1 }),
            Err(bip39::Error::BadWordCount(count)) => Err(WordsError::Count(count)),
            Err(_) => Err(WordsError::Checksum),
        }
    }

    /// Of this key.
    pub(crate) fn of_seed(seed: &[u8; 32]) -> Self {
        match Mnemonic::from_entropy_in(Language::English, seed) {
            Ok(mnemonic) => Self(mnemonic),
            Err(_) => unreachable!("256 bits are 24 words"),
        }
    }

    /// The key again.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        let (mut entropy, _) = self.0.to_entropy_array();
        let mut seed = Zeroizing::new([0; 32]);
        if let Some(bytes) = entropy.first_chunk::<32>() {
            seed.copy_from_slice(bytes);
        }
        entropy.zeroize();
        seed
    }

    /// The words, in their order.
    pub fn list(&self) -> Vec<&'static str> {
        self.0.words().collect()
    }
}

impl Serialize for RecoveryWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(WORDS))?;
        for word in self.0.words() {
            list.serialize_element(word)?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    /// The list's own vector for 256 zero bits.
    fn zeros() -> String {
        format!("{}art", "abandon ".repeat(23))
    }

    fn refused(text: &str) -> WordsError {
        RecoveryWords::parse(text).err().expect("refused")
    }

    #[test]
    fn words_are_those_of_bip39_and_give_the_same_key_back() {
        assert_eq!(RecoveryWords::of_seed(&[0; 32]).list().join(" "), zeros());
        // The second vector of the list: 7f…7f.
        let legal = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage \
                     worth useful legal winner thank year wave sausage worth title";
        assert_eq!(RecoveryWords::of_seed(&[0x7f; 32]).list().join(" "), legal);
        for seed in [[0; 32], [0x7f; 32], [0xff; 32]] {
            let words = RecoveryWords::of_seed(&seed).list().join(" ");
            let read = RecoveryWords::parse(&words).expect("reads");
            assert_eq!(*read.seed(), seed);
            assert_eq!(Identity::from_seed(&read.seed()).did(), Identity::from_seed(&seed).did());
        }
    }

    #[test]
    fn what_people_type_is_read() {
        let numbered: String = zeros()
            .split(' ')
            .enumerate()
            .map(|(i, word)| format!("{}. {}\n", i + 1, word.to_uppercase()))
            .collect();
        for text in
            [numbered, zeros().replace(' ', ",  "), format!("\u{feff}\t{}\r\n", zeros().replace(' ', "\r\n"))]
        {
            assert_eq!(*RecoveryWords::parse(&text).expect("reads").seed(), [0; 32], "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_found_and_named_by_its_place() {
        assert_eq!(refused(""), WordsError::Count(0));
        assert_eq!(refused(&zeros().replacen("abandon ", "", 1)), WordsError::Count(23));
        assert_eq!(refused(&format!("{} art", zeros())), WordsError::Count(25));
        assert_eq!(
            refused(&zeros().replacen("abandon art", "abandn art", 1)),
            WordsError::Unknown { position: 23 }
        );
        assert_eq!(refused(&zeros().replacen("art", "가나다", 1)), WordsError::Unknown { position: 24 });
        assert_eq!(refused(&zeros().replacen("art", "about", 1)), WordsError::Checksum);
        let swapped =
            RecoveryWords::of_seed(&[0x7f; 32]).list().join(" ").replacen("legal winner", "winner legal", 1);
        assert_eq!(refused(&swapped), WordsError::Checksum);
        assert!(matches!(refused(&"zoo ".repeat(100_000)), WordsError::Count(_)));
    }

    #[test]
    fn an_error_does_not_repeat_what_was_typed() {
        let error = refused(&zeros().replacen("art", "secretword", 1));
        assert!(!format!("{error} {error:?}").contains("secretword"));
    }
}
