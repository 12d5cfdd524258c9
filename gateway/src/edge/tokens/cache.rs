//! Tokens that were found good, by their SHA-256: what a program's memory shows of them is worth nothing. Bounded,
//! in two generations: when the younger is full the older goes, and what is used is young again. Tokens that were
//! found bad are not kept, so nobody fills it with them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::access::Access;

/// Tokens kept at most.
pub(crate) const MOST: usize = 100_000;
const SHARDS: usize = 64;

/// What a token is kept by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// The key is a hash already, of something that nobody can choose freely.
#[derive(Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _: usize) {}
}

type Generation = HashMap<TokenHash, Arc<Access>, BuildHasherDefault<Prehashed>>;

/// The cache of one instance.
pub(crate) struct Cache {
    shards: [Mutex<[Generation; 2]>; SHARDS],
}

impl Default for Cache {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Cache {
    /// What is known of a token. Whether it still counts is the caller's to check.
    pub(crate) fn get(&self, hash: &TokenHash) -> Option<Arc<Access>> {
        let mut shard = self.shard(hash);
        if let Some(access) = shard[0].get(hash) {
            return Some(access.clone());
        }
        let access = shard[1].remove(hash)?;
        Self::put(&mut shard, *hash, access.clone());
        Some(access)
    }

    /// Keeps a token that was found good.
    pub(crate) fn insert(&self, hash: TokenHash, access: Arc<Access>) {
        Self::put(&mut self.shard(&hash), hash, access);
    }

    /// Forgets one.
    pub(crate) fn remove(&self, hash: &TokenHash) {
        for generation in self.shard(hash).iter_mut() {
            generation.remove(hash);
        }
    }

    /// Keeps only what `keep` says.
    pub(crate) fn retain(&self, keep: impl Fn(&Access) -> bool) {
        for shard in &self.shards {
            for generation in lock(shard).iter_mut() {
                generation.retain(|_, access| keep(access));
            }
        }
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).iter().map(HashMap::len).sum::<usize>()).sum()
    }

    fn put(shard: &mut [Generation; 2], hash: TokenHash, access: Arc<Access>) {
        if shard[0].len() >= MOST / SHARDS / 2 {
            shard.swap(0, 1);
            shard[0].clear();
        }
        shard[0].insert(hash, access);
    }

    fn shard(&self, hash: &TokenHash) -> MutexGuard<'_, [Generation; 2]> {
        // Other bytes than those that the map takes.
        lock(&self.shards[usize::from(hash.0[31]) % SHARDS])
    }
}

/// A thread that panicked while it held the lock left the map as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::access::tests::access;
    use super::*;

    #[test]
    fn a_flood_does_not_grow_it_and_what_is_used_stays() {
        let cache = Cache::default();
        let used = TokenHash::of("used");
        cache.insert(used, access(1000));
        for i in 0..3 * MOST {
            cache.insert(TokenHash::of(&i.to_string()), access(1000));
            if i % 100 == 0 {
                assert!(cache.get(&used).is_some(), "after {i}");
            }
        }
        assert!(cache.len() <= MOST, "{}", cache.len());
        cache.retain(|access| access.cached_until.millis() > 1000);
        assert_eq!(cache.len(), 0);
    }
}
