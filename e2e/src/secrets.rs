//! Every secret that somebody was handed in a scenario, and the search for them where they must not be
//! (protocol, section 1; threats 24).

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The secrets of one world. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// Remembers one.
    pub fn add(&self, secret: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.into());
    }

    /// Remembers every secret of the protocol's kinds, and every token, in a text.
    pub fn add_all_in(&self, text: &str) {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        for word in text.split(|c: char| !is_inner(c)) {
            let is_secret =
                word.starts_with("miid_") && random_part(word).is_some_and(|part| part.len() == 43);
            // A JWT's signature is its secret part; statements are no secrets and are told by their type.
            let is_token = word.starts_with("eyJ") && word.matches('.').count() == 2 && is_access_token(word);
            if is_secret || is_token {
                self.add(word);
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The first secret found in `bytes`, shortened to what is no secret.
    pub fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What to look for: the random part as text, and the bytes it stands for.
        let mut needles: HashMap<[u8; 8], Vec<(Vec<u8>, &str)>> = HashMap::new();
        let mut first = vec![false; 1 << 16];
        for secret in secrets.iter() {
            let part = random_part(secret).unwrap_or(secret);
            let decoded = miid_protocol::jws::decode(part);
            for needle in [Some(part.as_bytes().to_vec()), decoded].into_iter().flatten() {
                let Some(head) = needle.first_chunk::<8>() else { continue };
                first[pair(head[0], head[1])] = true;
                needles.entry(*head).or_default().push((needle, secret));
            }
        }
        bytes.windows(8).enumerate().find_map(|(at, window)| {
            // Nearly every place is ruled out here, by a look-up in a table.
            if !first[pair(window[0], window[1])] {
                return None;
            }
            let candidates = needles.get(window)?;
            candidates
                .iter()
                .find(|(needle, _)| bytes[at..].starts_with(needle))
                .map(|(_, secret)| format!("{}…", secret.chars().take(12).collect::<String>()))
        })
    }

    /// Fails where a file below `folder` holds one.
    pub fn must_not_be_below(&self, folder: &Path) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("the world's folder can be read") {
                let path = entry.expect("the world's folder can be read").path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = std::fs::read(&path)
                    && let Some(secret) = self.found_in(&bytes)
                {
                    panic!("a secret lies in the clear: {secret} in {}", path.display());
                }
            }
        }
    }
}

fn pair(a: u8, b: u8) -> usize {
    usize::from(a) << 8 | usize::from(b)
}

/// What is random about a secret: what follows its prefix, or a token's signature.
fn random_part(secret: &str) -> Option<&str> {
    if let Some(rest) = secret.strip_prefix("miid_") {
        return rest.split_once('_').map(|(_, random)| random);
    }
    secret.rsplit_once('.').map(|(_, signature)| signature)
}

fn is_access_token(token: &str) -> bool {
    let header = token.split('.').next().and_then(miid_protocol::jws::decode).unwrap_or_default();
    String::from_utf8_lossy(&header).contains("at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_as_text_and_as_bytes_and_not_by_its_prefix() {
        let secrets = Secrets::default();
        let body = miid_protocol::jws::encode(&[7; 32]);
        secrets.add_all_in(&format!("{{\"code\":\"miid_ac_{body}\",\"name\":\"miid_ac_short\"}}"));
        assert_eq!(secrets.count(), 1);
        assert!(secrets.found_in(format!("x{body}y").as_bytes()).is_some());
        assert!(secrets.found_in(&[0, 7, 7, 7, 7, 7]).is_none());
        assert!(secrets.found_in(&[7; 40]).is_some());
        assert!(secrets.found_in(b"miid_ac_").is_none());
    }
}
